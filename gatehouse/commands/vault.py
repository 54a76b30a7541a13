"""The vault: its keys, its approvers, its access log, and the process itself.

    gatehouse vault init --dir DIR             make a vault; prints the fingerprint that kiosks pin
    gatehouse vault [run] --config FILE        run it (or --dir DIR for a small set-up)
    gatehouse vault run --standby --config FILE    wait until the vault that runs has ended, then take its place
    gatehouse vault status --dir DIR           ask the running vault how it is
    gatehouse vault approvers add NAME --key FILE.pub --purposes epi_trace,drill
    gatehouse vault approvers accept FILE --purposes epi_trace     take over a passkey that the console stored
    gatehouse vault approvers list | revoke NAME-OR-FINGERPRINT
    gatehouse vault rotate                     a new key in front; the old ones still open what was made for them
    gatehouse vault forget KEY_ID              destroy an old key, and with it everything sealed to it, in every backup
    gatehouse vault custody split | drill | recover | show     the keys in several hands: M of N sheets restore them
    gatehouse vault log verify [--head N:HASH] check the access log; needs no passphrase
    gatehouse vault log head | prove LINE | prove --from OLDHEAD   for gatehouse audit-log verify

The passphrase is read from --passphrase-file, else from GATEHOUSE_VAULT_PASSPHRASE, else it is asked for.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import getpass
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from config.errors import GatehouseError
from config.files import write_whole
from config.vault import VaultProcessSettings, load_vault_settings
from gatehouse.commands import vault_custody
from protocol import cbor
from protocol.errors import ProtocolError
from protocol.query import Purpose
from protocol.vault_keys import VaultKeys, claimed_fingerprint
from server.vault.approvals import ApproverKey, KeyKind, Offer
from server.vault.client import VaultClient
from server.vault.custody import SEALED_FILE, refresh
from server.vault.errors import VaultError
from server.vault.keyfile import (
    KEY_FILE,
    PUBLIC_FILE,
    VaultSecrets,
    new_secrets,
    read_keys,
    spoken,
    write_keys,
    write_public,
)
from server.vault.lease import wait_for_turn
from server.vault.log import LOG_FILE, AccessLog, Head, verify_log
from server.vault.opening import PasskeyRules, Vault
from server.vault.process import VaultProcess
from server.vault.roster import Approver, read_roster, write_roster

ENVIRONMENT = "GATEHOUSE_VAULT_PASSPHRASE"
SETTINGS_FILE = "vault.toml"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    _where(parser, default=None)
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    init = actions.add_parser("init", help="make a new vault's keys")
    _where(init)
    init.add_argument("--export", type=Path, help="write the public keys here as well (the server's vault-public.cbor)")
    run_ = actions.add_parser("run", help="run the vault")
    _where(run_)
    run_.add_argument("--socket", type=Path, help="the Unix socket; default DIR/vault.sock")
    run_.add_argument("--origin", action="append", help="the console's address, for passkeys; may be given again")
    run_.add_argument("--standby", action="store_true", help="wait for the running vault's end, then take its place")
    status = actions.add_parser("status", help="ask the running vault how it is")
    _where(status)
    status.add_argument("--socket", type=Path)
    for name, line in (
        ("keys", "list the keys"),
        ("rotate", "put new keys in front"),
        ("export", "write the public keys again"),
    ):
        one = actions.add_parser(name, help=line)
        _where(one)
        one.add_argument("--export", type=Path, help="write the public keys here as well")
    forget = actions.add_parser("forget", help="destroy an old key for ever")
    _where(forget)
    forget.add_argument("key_id")
    forget.add_argument("--yes", action="store_true", help="do not ask")
    _configure_approvers(actions.add_parser("approvers", help="who may approve, and with which key"))
    vault_custody.configure(actions.add_parser("custody", help="the keys in the hands of several people"), _where)
    logs = actions.add_parser("log", help="the access log").add_subparsers(dest="log_action", required=True)
    verify = logs.add_parser("verify", help="check the chain and every signature")
    _where(verify)
    verify.add_argument("--head", help="a head noted earlier, NUMBER:HASH; shows a log that was cut")
    verify.add_argument("--public", type=Path, help="the vault's public keys; default DIR/vault-public.cbor")
    head = logs.add_parser("head", help="a signed head over all lines so far; the vault runs")
    prove = logs.add_parser("prove", help="that a line stands in the log, or that it continues an older head")
    prove.add_argument("line", type=int, nargs="?", help="the number of the line")
    prove.add_argument("--from", dest="old", type=Path, help="a signed head: prove that the log continues it")
    for one in (head, prove):
        _where(one)
        one.add_argument("--socket", type=Path)
        one.add_argument("--out", type=Path, help="write it here instead of printing it")


def _configure_approvers(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="approvers_action", metavar="ACTION", required=True)
    purposes = ", ".join(p.value for p in Purpose)
    add = actions.add_parser("add", help="add an approval key made with: gatehouse approve keygen")
    add.add_argument("name", help="the user name in the console")
    add.add_argument("--key", type=Path, required=True, help="the public key file (.pub)")
    accept = actions.add_parser("accept", help="add a passkey that its owner registered in the console")
    accept.add_argument("file", type=Path, help="the file that the console offers")
    for one in (add, accept):
        one.add_argument("--purposes", required=True, help=f"comma-separated: {purposes}")
        one.add_argument("--yes", action="store_true", help="do not ask whether the fingerprint was compared")
        _where(one)
    _where(actions.add_parser("list", help="list the keys"))
    revoke = actions.add_parser("revoke", help="revoke every key of a name, or one key by its fingerprint")
    revoke.add_argument("which")
    _where(revoke)


def _where(parser: argparse.ArgumentParser, *, default: str | None = argparse.SUPPRESS) -> None:
    """The same three arguments before and after the action; what stands after it wins."""
    parser.add_argument("--config", type=Path, default=default, help="the vault's settings")
    parser.add_argument("--dir", type=Path, default=default, help="the vault's folder, where vault.toml is optional")
    parser.add_argument("--passphrase-file", type=Path, default=default)


def run(args: argparse.Namespace) -> int:
    """Do what was asked; 1 when the access log does not verify or the vault does not answer."""
    settings = _settings(args)
    if args.action == "approvers":
        return _approvers(args, settings)
    actions = {
        "init": _init,
        "run": _run,
        "status": _status,
        "keys": _keys,
        "rotate": _rotate,
        "export": _export,
        "forget": _forget,
        "log": _log,
        "custody": _custody,
    }
    return actions[args.action or "run"](args, settings)


def _init(args: argparse.Namespace, settings: VaultProcessSettings) -> int:
    folder = settings.folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    keys = new_secrets(_now_ms())
    write_keys(folder, keys, _passphrase(settings, is_new=True))
    _publish(args, folder, keys)
    with _stopped(folder, keys) as log:
        log.append(_now_ms(), "made", {"fingerprint": keys.fingerprint().hex()})
    print(f"A vault was made in {folder}.")
    print(f"Its fingerprint, which kiosks pin: {spoken(keys.fingerprint())}")
    print(f"Keep {folder / KEY_FILE} and its passphrase apart, each with a copy: without them nothing opens again.")
    print("Next: gatehouse vault approvers add NAME --key FILE.pub --purposes epi_trace")
    return 0


def _run(args: argparse.Namespace, settings: VaultProcessSettings) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash must not write the keys to the disk
    passphrase = _passphrase(settings)
    if getattr(args, "standby", False):
        read_keys(settings.folder, passphrase)  # a wrong passphrase shows now, and not in the night it is needed
        print("standing by", flush=True)
        wait_for_turn(settings.folder)
    keys = read_keys(settings.folder, passphrase)
    refresh(settings.folder, keys)  # a rotation that was cut off before its end
    party = settings.relying_party
    rules = PasskeyRules(party, settings.passkey_origins, settings.passkeys_may_unmask) if party else None
    vault = Vault(settings.folder, keys, now_ms=_now_ms, passkeys=rules)
    try:
        process = VaultProcess(vault, settings)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: process.stop())
        process.run()
    finally:
        vault.close()
    return 0


def _status(args: argparse.Namespace, settings: VaultProcessSettings) -> int:
    try:
        status = VaultClient(settings.socket_path, seconds=5.0).status()
    except GatehouseError as error:
        print(f"gatehouse: {error}", file=sys.stderr)
        return 1
    print(f"fingerprint       {spoken(status.fingerprint)}")
    print(f"access log head   {status.head}")
    print(f"tags              {status.tags}")
    print(f"not indexed       {status.problems}")
    print(f"epochs destroyed  {status.destroyed_epochs}")
    return 0


def _keys(args: argparse.Namespace, settings: VaultProcessSettings) -> int:
    keys = read_keys(settings.folder, _passphrase(settings))
    print(f"fingerprint  {spoken(keys.fingerprint())}")
    for number, seal in enumerate(keys.seal):
        print(
            f"seal      {seal.public().key_id.hex()}  made {_day(seal.made_ms)}  {'' if number else 'in use'}".rstrip()
        )
    for number, identity in enumerate(keys.identity):
        line = (
            f"identity  {identity.public().key_id.hex()}  made {_day(identity.made_ms)}  {'' if number else 'in use'}"
        )
        print(line.rstrip())
    for number, checkin in enumerate(keys.checkin):
        line = f"checkin   {checkin.public().key_id.hex()}  made {_day(checkin.made_ms)}  {'' if number else 'in use'}"
        print(line.rstrip())
    return 0


def _rotate(args: argparse.Namespace, settings: VaultProcessSettings) -> int:
    passphrase = _passphrase(settings)
    keys = read_keys(settings.folder, passphrase)
    with _stopped(settings.folder, keys) as log:
        fresh = keys.rotated(_now_ms())
        names = {
            "seal": fresh.seal[0].public().key_id.hex(),
            "identity": fresh.identity[0].public().key_id.hex(),
            "checkin": fresh.checkin[0].public().key_id.hex(),
        }
        log.append(_now_ms(), "rotated", names)
        write_keys(settings.folder, fresh, passphrase, replacing=True)
        refresh(settings.folder, fresh)
    _publish(args, settings.folder, fresh)
    print(f"New keys: {', '.join(f'{kind} {name}' for kind, name in names.items())}. The fingerprint stays.")
    print(
        "Start the vault again and give its public keys to the server; kiosks take the new key with their next bundle."
    )
    return 0


def _export(args: argparse.Namespace, settings: VaultProcessSettings) -> int:
    keys = read_keys(settings.folder, _passphrase(settings))
    _publish(args, settings.folder, keys)
    print(f"fingerprint  {spoken(keys.fingerprint())}")
    return 0


def _forget(args: argparse.Namespace, settings: VaultProcessSettings) -> int:
    passphrase = _passphrase(settings)
    keys = read_keys(settings.folder, passphrase)
    try:
        key_id = bytes.fromhex(args.key_id)
    except ValueError:
        raise VaultError(f"{args.key_id!r} is not a key id.", hint="See: gatehouse vault keys") from None
    kept = keys.forgetting(key_id)
    if not args.yes and not _agreed(f"Everything sealed to key {key_id.hex()} becomes unreadable for ever. Go on?"):
        return 1
    with _stopped(settings.folder, keys) as log:
        log.append(_now_ms(), "forgot", {"key": key_id.hex()})
        write_keys(settings.folder, kept, passphrase, replacing=True)
        refresh(settings.folder, kept)
    write_public(settings.folder, kept, _now_ms())
    print(
        f"Key {key_id.hex()} is gone from {settings.folder / KEY_FILE}. Destroy the copies of the older key file, and"
        f" of {SEALED_FILE}, too."
    )
    return 0


def _custody(args: argparse.Namespace, settings: VaultProcessSettings) -> int:
    def ask(is_new: bool) -> bytes:
        return _passphrase(settings, is_new=is_new)

    return vault_custody.run(args, vault_custody.Desk(settings.folder, ask, _stopped, _now_ms()))


def _approvers(args: argparse.Namespace, settings: VaultProcessSettings) -> int:
    folder = settings.folder
    if args.approvers_action == "list":
        roster, _ = read_roster(folder, _public_key(folder / PUBLIC_FILE))
        for a in roster.approvers:
            state = f"revoked {_day(a.revoked_ms)}" if a.revoked_ms is not None else "in force"
            listed = ",".join(p.value for p in a.purposes)
            print(f"{a.name}  {a.key.kind.name.lower()}  {spoken(a.key.fingerprint())}  {listed}  {state}")
        if not roster.approvers:
            print("Nobody may approve yet.")
        return 0
    keys = read_keys(folder, _passphrase(settings))
    roster, _ = read_roster(folder, keys.signing_key().public_key())
    if args.approvers_action == "revoke":
        fresh = roster.revoked(args.which, _now_ms())
    else:
        offer = _offer(args)
        purposes = _purposes(args.purposes)
        print(f"{offer.name}: {offer.key.kind.name.lower()} with fingerprint {spoken(offer.key.fingerprint())}")
        if not args.yes and not _agreed("Did you compare it with the approver, in person or by a known phone number?"):
            return 1
        fresh = roster.added(Approver(offer.name, offer.key, purposes, _now_ms()))
    write_roster(folder, fresh, keys.signing_key())
    print(f"The roster is now of version {fresh.version}; a running vault reads it before its next look.")
    return 0


def _log(args: argparse.Namespace, settings: VaultProcessSettings) -> int:
    if args.log_action != "verify":
        return _ask_log(args, settings)
    key = _public_key(args.public or settings.folder / PUBLIC_FILE)
    noted = None
    if args.head:
        number, _, digest = args.head.partition(":")
        if not number.isdecimal() or len(digest) != 64:
            raise VaultError(
                f"{args.head!r} is not a head.", hint="Give NUMBER:HASH as gatehouse vault status prints it."
            )
        noted = Head(int(number), digest.lower())
    path = settings.folder / LOG_FILE
    if not path.exists():
        raise VaultError(f"There is no access log at {path}.", hint="Give the vault's folder with --dir.")
    try:
        head = verify_log(path, key, noted)
    except VaultError as error:
        print(f"gatehouse: {error}", file=sys.stderr)
        return 1
    print(f"The access log holds: {head.sequence} lines, head {head}")
    if noted is None:
        print("Note this head elsewhere: only against a noted head does a cut tail show.")
    return 0


def _ask_log(args: argparse.Namespace, settings: VaultProcessSettings) -> int:
    """Have the running vault sign a head or prove something; check it with: gatehouse audit-log verify"""
    client = VaultClient(settings.socket_path)
    if args.log_action == "head":
        text = client.tree_head()
    elif args.old is None and args.line is not None:
        text = client.prove(args.line)
    elif args.old is not None and args.line is None:
        try:
            size = int(args.old.read_text(encoding="utf-8").splitlines()[1])
        except (ValueError, IndexError):
            raise VaultError(f"{args.old} is not a signed head.", hint="See: gatehouse vault log head") from None
        text = client.prove_growth(size)
    else:
        raise VaultError("What shall be proven?", hint="Give the number of one line, or --from with a signed head.")
    if args.out is None:
        print(text, end="")
    else:
        args.out.write_text(text, encoding="utf-8")
        print(f"Written: {args.out}")
    return 0


def _settings(args: argparse.Namespace) -> VaultProcessSettings:
    if args.config:
        settings = load_vault_settings(args.config)
    elif args.dir:
        folder = args.dir.resolve()
        file = folder / SETTINGS_FILE
        settings = load_vault_settings(file) if file.exists() else VaultProcessSettings(folder)
    else:
        raise VaultError("Which vault?", hint="Give --config FILE or --dir DIR.")
    changes: dict[str, object] = {}
    if args.passphrase_file:
        changes["passphrase_file"] = args.passphrase_file
    if getattr(args, "socket", None):
        changes["socket"] = args.socket.resolve()
    if getattr(args, "origin", None):
        changes["passkey_origins"] = tuple(args.origin)
    try:
        return dataclasses.replace(settings, **changes)  # type: ignore[arg-type]
    except ValueError as error:
        raise VaultError(str(error), hint="Mend that argument and try again.") from error


def _passphrase(settings: VaultProcessSettings, *, is_new: bool = False) -> bytes:
    if settings.passphrase_file:
        try:
            return settings.passphrase_file.read_bytes().strip()
        except OSError as error:
            raise VaultError(
                f"{settings.passphrase_file} cannot be read: {error.strerror}.",
                hint="Make one with: head -c 32 /dev/urandom | base64 > FILE; chmod 600 FILE",
            ) from error
    if from_environment := os.environ.get(ENVIRONMENT):
        return from_environment.encode()
    if not sys.stdin.isatty():
        raise VaultError("There is nobody to ask for the passphrase.", hint=f"Give --passphrase-file or {ENVIRONMENT}.")
    typed = getpass.getpass("Vault passphrase: ")
    if is_new and getpass.getpass("Once more: ") != typed:
        raise VaultError("The two passphrases differ.", hint="Nothing was made. Try again.")
    return typed.encode()


def _offer(args: argparse.Namespace) -> Offer:
    if args.approvers_action == "accept":
        try:
            return Offer.from_bytes(args.file.read_bytes())
        except OSError as error:
            raise VaultError(
                f"{args.file} cannot be read: {error.strerror}.", hint="Give the console's file."
            ) from error
        except ProtocolError as error:
            raise VaultError(
                f"{args.file} is not an offer: {error}.", hint="Fetch it again from the console."
            ) from error
    try:
        key = serialization.load_pem_public_key(args.key.read_bytes())
    except OSError as error:
        raise VaultError(
            f"{args.key} cannot be read: {error.strerror}.", hint="Give the approver's .pub file."
        ) from error
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise VaultError(
            f"{args.key} is not an Ed25519 public key.", hint="Make one with: gatehouse approve keygen --out FILE"
        )
    return Offer(args.name, ApproverKey(KeyKind.KEY, key.public_bytes_raw()))


def _purposes(text: str) -> tuple[Purpose, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    known = {p.value: p for p in Purpose}
    if unknown := [name for name in names if name not in known]:
        raise VaultError(f"{unknown[0]!r} is not a purpose.", hint=f"Purposes: {', '.join(known)}.")
    return tuple(dict.fromkeys(known[name] for name in names))


def _public_key(path: Path) -> Ed25519PublicKey:
    """The vault's signing key from its exported file, checked against that file's own signature."""
    try:
        data = path.read_bytes()
        VaultKeys.from_signed(data, claimed_fingerprint(data))
        item = cbor.decode_strict(data)
        assert isinstance(item, list)
        return Ed25519PublicKey.from_public_bytes(item[0])
    except OSError as error:
        raise VaultError(f"{path} cannot be read: {error.strerror}.", hint="Give --public FILE.") from error
    except ProtocolError as error:
        raise VaultError(f"{path} does not hold a vault's public keys: {error}.", hint="Export them again.") from error


@contextlib.contextmanager
def _stopped(folder: Path, keys: VaultSecrets) -> Iterator[AccessLog]:
    """The access log of a vault that is not running, read to its end; raises VaultError when it runs."""
    with AccessLog(folder, keys.signing_key()) as log:
        for _ in log.replay():
            pass
        yield log


def _publish(args: argparse.Namespace, folder: Path, keys: VaultSecrets) -> None:
    path = write_public(folder, keys, _now_ms())
    print(f"Public keys: {path}")
    if getattr(args, "export", None):
        write_whole(args.export.resolve(), keys.exported(_now_ms()), mode=0o644)
        print(f"Public keys: {args.export}")


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise VaultError("There is nobody to ask.", hint="Say --yes when it was checked.")
    return input(f"{question} [yes/no] ").strip().casefold() in {"yes", "y", "是"}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).date().isoformat()
