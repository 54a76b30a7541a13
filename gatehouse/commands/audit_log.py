"""Check the vault's access log from outside: no vault, no passphrase, only signed heads and proofs.

    gatehouse audit-log verify --head FILE --public vault-public.cbor [--from OLDHEAD] [--proof FILE]... [--log FILE]
    gatehouse audit-log heads --config server.toml [--all]      print the signed heads that the server has kept
    gatehouse audit-log lines --config server.toml              print the server's copy of the log, for --log

A head is what the vault signed over all lines so far (gatehouse vault log head). Keep heads where neither the vault nor
the server reaches: on paper, in a mail, with the inspectors. A proof shows one line under a head, or that a head
continues an older one (gatehouse vault log prove); the console gives one with each look. With --log the whole log
is checked.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import select

from config.errors import GatehouseError
from config.server import load_server_settings
from protocol.errors import ProtocolError
from protocol.merkle import EMPTY_ROOT, Frontier
from protocol.tree_head import ConsistencyProof, InclusionProof, TreeHead, read_proof
from server.db import Database
from server.queries.models import VaultHead, VaultLine
from server.queries.trail import signing_key
from server.vault.errors import VaultError
from server.vault.keyfile import spoken
from server.vault.log import verified_lines
from server.vault_keys import read_vault_keys

T = TypeVar("T")


class DoesNotHold(GatehouseError):
    """What was to be shown is not shown."""

    code = "does_not_hold"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    verify = actions.add_parser("verify", help="hold proofs, or a whole log, against signed heads")
    verify.add_argument("--head", type=Path, required=True, help="the signed head that counts")
    verify.add_argument("--from", dest="old", type=Path, help="an older signed head, kept elsewhere")
    verify.add_argument("--proof", type=Path, action="append", default=[], help="a proof; may be given again")
    verify.add_argument("--log", type=Path, help="the whole log, or a copy of its beginning")
    verify.add_argument("--public", type=Path, required=True, help="the vault's public keys (vault-public.cbor)")
    verify.add_argument("--fingerprint", help="the vault's fingerprint as you know it from elsewhere")
    for name, line in (("heads", "print the heads that the server keeps"), ("lines", "print the server's copy")):
        one = actions.add_parser(name, help=line)
        one.add_argument("--config", type=Path, required=True, help="the server's settings")
        if name == "heads":
            one.add_argument("--all", action="store_true", help="every head, not only the newest")


def run(args: argparse.Namespace) -> int:
    """Do what was asked; 1 names what does not hold, or that there is nothing to print."""
    if args.action == "verify":
        return _verify(args)
    return _print(args)


def _verify(args: argparse.Namespace) -> int:
    """(1) the heads; (2) the whole log, if it was given; (3) growth from head to head; (4) each line's proof."""
    public = read_vault_keys(args.public)
    key, fingerprint = signing_key(public.signed), public.fingerprint
    said = "".join(args.fingerprint.split()).replace("-", "").lower() if args.fingerprint else fingerprint.hex()
    try:
        if said != fingerprint.hex():
            raise DoesNotHold(f"{args.public} is of another vault: {spoken(fingerprint)}.")
        print(f"vault    {spoken(fingerprint)}{'' if args.fingerprint else '   compare it with what you know'}")
        head = _head(args.head, key)  # (1)
        known = {head.size: head}
        old = _head(args.old, key) if args.old else None
        roots = _roots(args.log, key, {head.size} | ({old.size} if old else set())) if args.log else {}
        for one, path in ((head, args.head), (old, args.old)):  # (2)
            if one is not None and args.log and roots.get(one.size) != one.root:
                raise DoesNotHold(f"{args.log} does not hold the {one.size} lines that {path} was signed over.")
        proofs = [(path, _proof(path)) for path in args.proof]
        for path, proof in proofs:  # (3)
            if not isinstance(proof, InclusionProof):
                start = next((one for one in (old, head) if one and one.size == proof.old_size), None)
                if start is None:
                    raise DoesNotHold(f"{path} leads from a head of {proof.old_size} lines, and none was given.")
                grown = _named(path, partial(proof.check, start, key))
                if known.setdefault(grown.size, grown).root != grown.root:
                    raise DoesNotHold(f"{path} leads to another tree of {grown.size} lines than {args.head}.")
                known[start.size] = start
                print(f"growth   {start.size} lines are the beginning of {grown.size}")
        if old is not None and not args.log and old.size not in known and old.size:
            raise DoesNotHold(
                f"Nothing given shows that {args.head} continues {args.old}.",
                hint="Ask for: gatehouse vault log prove --from OLDHEAD; or give --log.",
            )
        if old is not None and old.size == head.size and old.root != head.root:
            raise DoesNotHold(f"The vault has signed two trees of {head.size} lines: two histories.")
        for path, proof in proofs:  # (4)
            if isinstance(proof, InclusionProof):
                under = _named(path, partial(proof.check, key))
                if under.size not in known or known[under.size].root != under.root:
                    raise DoesNotHold(
                        f"{path} is of a head of {under.size} lines that was not shown to continue {args.head}.",
                        hint=f"Give this as a --proof as well: gatehouse vault log prove --from {args.head}",
                    )
                print(f"line     {proof.index + 1} of {under.size}: {proof.line.decode('utf-8', 'backslashreplace')}")
    except DoesNotHold as error:
        print(f"gatehouse: does not hold: {error}", file=sys.stderr)
        return 1
    print(f"head     {head.size} lines: everything given holds")
    return 0


def _head(path: Path, key: Ed25519PublicKey) -> TreeHead:
    return _named(path, lambda: TreeHead.from_signed(_text(path), key))


def _proof(path: Path) -> InclusionProof | ConsistencyProof:
    return _named(path, lambda: read_proof(_text(path)))


def _named(path: Path, check: Callable[[], T]) -> T:
    """What *check* gives; what does not hold is told with the file's name."""
    try:
        return check()
    except ProtocolError as error:
        raise DoesNotHold(f"{path}: {error.message}.") from error


def _text(path: Path) -> str:
    """The file, whatever line ends a mail program gave it."""
    return path.read_bytes().decode("utf-8", "replace").replace("\r\n", "\n")


def _roots(path: Path, key: Ed25519PublicKey, sizes: set[int]) -> dict[int, bytes]:
    """The roots of the log's first so many lines, each line checked as `gatehouse vault log verify` does."""
    roots, frontier = {0: EMPTY_ROOT}, Frontier()
    try:
        for line in verified_lines(path, key, each_signature=False):
            frontier, _ = frontier.grown(line.leaf)
            if line.sequence in sizes:
                roots[line.sequence] = frontier.root()
    except VaultError as error:
        if error.code != "log_broken":
            raise
        raise DoesNotHold(error.message) from error
    print(f"log      {frontier.size} lines, every one in its chain")
    return roots


def _print(args: argparse.Namespace) -> int:
    """What the server keeps, from its database, which is read and never written."""
    database = Database(load_server_settings(args.config).database)
    is_empty = True
    with database.reading() as reading:
        if args.action == "lines":
            for raw in reading.scalars(
                select(VaultLine.raw).order_by(VaultLine.sequence).execution_options(yield_per=1000)
            ):
                sys.stdout.write(raw)
                is_empty = False
        else:
            for signed in reading.scalars(
                select(VaultHead.signed).order_by(VaultHead.size.desc()).limit(None if args.all else 1)
            ):
                sys.stdout.write(signed)
                is_empty = False
    if is_empty:
        print("gatehouse: the server keeps none yet; the worker fetches them each minute.", file=sys.stderr)
    return int(is_empty)
