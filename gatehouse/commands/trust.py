"""Make and show trust lists: which issuers' keys a door believes, and for what.

  gatehouse trust import SOURCE... --out trust.cbor
      SOURCE is a file or a folder: a DCC trust list (JSON, key id -> certificates), certificates (PEM, DER), a SMART
      Health Cards key set (JWKS) or card revocation list, a DID document, the published keys of a Gatehouse server, or
      another signed trust list. Everything is put on one list and signed. What is left out is named, with the reason.

  gatehouse trust show trust.cbor [--signer HEX]
      Verify a list and print what stands on it.

The list is signed with an Ed25519 key that is made on first use: trust-signing-key.pem beside the output, or --key.
Doors believe a list only when they were given the signer's public key, which `import` prints.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from config.errors import GatehouseError
from protocol.cose import Alg
from protocol.trust import TrustedKey, TrustError, TrustList, merge
from protocol.trust_sources import Found, from_certificate, from_json, settle_revocations

MAX_SOURCE_BYTES = 32 * 1024 * 1024
KEY_NAME = "trust-signing-key.pem"
COSE_TAG = 0xD2


class TrustCommandError(GatehouseError):
    """A source, key or list that cannot be used."""

    code = "trust"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `gatehouse trust`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    importing = actions.add_parser("import", help="read sources and write one signed trust list")
    importing.add_argument("sources", nargs="+", metavar="SOURCE", help="file or folder")
    importing.add_argument("--out", required=True, metavar="FILE", help="where to write the signed list")
    importing.add_argument(
        "--key", metavar="FILE", help=f"signing key, PEM; default {KEY_NAME} beside FILE, made if absent"
    )
    importing.add_argument("--issuer", metavar="URL", help="whose keys a key set holds that does not say so itself")
    showing = actions.add_parser("show", help="verify a list and print what stands on it")
    showing.add_argument("file", metavar="FILE")
    showing.add_argument("--signer", metavar="HEX", help="the public key that must have signed it (64 hex digits)")


def run(args: argparse.Namespace) -> int:
    """Run the chosen action; returns 0."""
    return _import(args) if args.action == "import" else _show(args)


def load(path: str, signer_hex: str | None) -> TrustList:
    """Read and verify a trust list from disk. Raises TrustCommandError with what to do."""
    try:
        signer = bytes.fromhex(signer_hex) if signer_hex else None
    except ValueError as error:
        raise TrustCommandError(
            "--signer is not hexadecimal.", hint="It is 64 digits, as trust import prints it."
        ) from error
    try:
        return TrustList.from_signed(_read(Path(path)), signer)
    except TrustError as error:
        raise TrustCommandError(
            f"{path}: {error.message}", hint="Make one with: gatehouse trust import SOURCE... --out FILE"
        ) from error


def _import(args: argparse.Namespace) -> int:
    now = datetime.now(UTC).replace(microsecond=0)
    found = Found()
    for source in map(Path, args.sources):
        for path in _files(source):
            try:
                part = _one_source(_read(path), issuer=args.issuer)
            except TrustError as error:
                if not source.is_dir():
                    raise TrustCommandError(f"{path}: {error.message}", hint="See: gatehouse trust --help") from error
                part = Found(notes=[f"left out: {error.message}"])
            part.notes = [f"{path.name}: {note}" for note in part.notes]
            found.add(part)
    if not found.keys:
        raise TrustCommandError(
            "No source gave a single key.", hint="\n  ".join(found.notes) or "See: gatehouse trust --help"
        )
    trust = merge([TrustList(tuple(found.keys), now, settle_revocations(found.revocations))], now)
    out = Path(args.out)
    key = _signing_key(Path(args.key) if args.key else out.parent / KEY_NAME)
    _write(out, trust.to_signed(key), mode=0o644)
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"{out}: {_summary(trust)}")
    print(f"signer {key.public_key().public_bytes_raw().hex()}")
    return 0


def _show(args: argparse.Namespace) -> int:
    trust = load(args.file, args.signer)
    assert trust.signer is not None
    print(f"{args.file}: {_summary(trust)}")
    pinned = "as asked" if args.signer else "not pinned: give --signer to be sure whose list this is"
    print(f"signer {trust.signer.hex()} ({pinned})\nissued {trust.issued_at.isoformat()}")
    for key in trust.keys:
        print("  " + _line(key))
    for entry in trust.revocations:
        state = "readable" if entry.readable else "NOT READABLE: its cards are marked"
        print(f"  revoked cards of key {entry.kid.decode(errors='replace')}: {len(entry.rids)} ({state})")
    return 0


def _line(key: TrustedKey) -> str:
    algorithm = Alg(key.alg).name if key.alg in Alg._value2member_map_ else str(key.alg)
    kid = key.kid.decode() if key.kid.isascii() and key.kid.decode("ascii").isprintable() else key.kid.hex()
    whose = key.issuer or key.country or ""
    until = f"until {key.not_after.date()}" if key.not_after else ""
    return " ".join(part for part in (kid, algorithm, "+".join(sorted(key.uses)), whose, until) if part)


def _summary(trust: TrustList) -> str:
    uses = Counter(use for key in trust.keys for use in key.uses)
    parts = [f"{count} for {use}" for use, count in sorted(uses.items())]
    revoked = sum(len(entry.rids) for entry in trust.revocations)
    return f"{len(trust.keys)} keys ({', '.join(parts)}), {revoked} revoked cards"


def _files(source: Path) -> Iterator[Path]:
    if not source.exists():
        raise TrustCommandError(f"{source} does not exist.", hint="Give files or folders that do.")
    if source.is_dir():
        yield from sorted(path for path in source.rglob("*") if path.is_file() and path.name != KEY_NAME)
    else:
        yield source


def _one_source(data: bytes, *, issuer: str | None) -> Found:
    if data[:1] and data[0] == COSE_TAG:
        signed = TrustList.from_signed(data, None)
        return Found(keys=list(signed.keys), revocations=list(signed.revocations))
    if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise TrustError("This JSON is not UTF-8.") from error
        return from_json(text, issuer=issuer)
    return Found(keys=from_certificate(data))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SOURCE_BYTES + 1)
    except OSError as error:
        raise TrustCommandError(f"{path} cannot be read: {error.strerror}.", hint="Check name and rights.") from error
    if len(data) > MAX_SOURCE_BYTES:
        raise TrustCommandError(f"{path} has more than 32 MiB.", hint="That is no trust source.")
    return data


def _signing_key(path: Path) -> Ed25519PrivateKey:
    if not path.exists():
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _write(path, pem, mode=0o600)
        return key
    try:
        loaded = serialization.load_pem_private_key(_read(path), None)
    except (ValueError, TypeError) as error:
        raise TrustCommandError(f"{path} is no unencrypted private key.", hint="Give another with --key.") from error
    if not isinstance(loaded, Ed25519PrivateKey):
        raise TrustCommandError(f"{path} is no Ed25519 key.", hint="Give another with --key.")
    return loaded


def _write(path: Path, data: bytes, *, mode: int) -> None:
    """Write through a temporary name, so that a half-written list or key never stands under the real one."""
    partial = path.with_name(path.name + ".partial")
    try:
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)  # also when a partial file of an earlier run lay there
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise TrustCommandError(
            f"{path} cannot be written: {error.strerror}.", hint="Check folder and rights."
        ) from error
