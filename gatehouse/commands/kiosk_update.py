"""`gatehouse kiosk update ...`: a new version beside the old one, tried, and left again when it is no good.

An action loads what it needs itself: `settle` runs before each start of a kiosk, and needs very little.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import os
import tarfile
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from config.files import write_whole
from config.kiosk import KioskSettings
from kiosk.slots import CURRENT, GOOD, Slots, UpdateError
from protocol import cose, signed
from protocol.errors import ProtocolError
from protocol.trust import UPDATE_USE, TrustedKey, spki_of
from protocol.trust_sources import to_own_keys
from protocol.update import LENGTH_BYTES, MAGIC, UpdateKind, UpdatePackage, version_key


def configure(actions: Any) -> None:
    """Declare the arguments of each action."""
    install = actions.add_parser("install", help="install a package, try it, and go back by itself if it is no good")
    install.add_argument("package", type=Path, help="the signed package (.ghu)")
    install.add_argument(
        "--exported", type=Path, metavar="FILE", help="the journal as exported: unsent passages lie safe in it"
    )
    actions.add_parser("settle", help="at each start: leave a version whose trial the power cut short")
    actions.add_parser("show", help="which versions stand here, and what became of the last update")
    init = actions.add_parser("init", help="once: let this version, in slots/a, be the first that runs")
    prove = actions.add_parser("prove", help="go through a first scan on a copy of the journal")
    prove.add_argument("--journal", type=Path, required=True, metavar="COPY", help="the copy; it is written to")
    for parser in (install, prove, init, *(actions.choices[name] for name in ("settle", "show"))):
        parser.add_argument("--config", type=Path, default=argparse.SUPPRESS, help="the kiosk's TOML file")
    key = actions.add_parser("key", help="for who makes packages: a signing key, and its public half for trust import")
    key.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="the private key (PEM); FILE.json beside it"
    )
    pack = actions.add_parser("pack", help="for who makes packages: sign a version")
    pack.add_argument("--key", type=Path, required=True, metavar="FILE", help="the signing key (PEM)")
    pack.add_argument("--version", required=True, help="like 1.2.0 or 1.2rc1")
    content = pack.add_mutually_exclusive_group(required=True)
    content.add_argument("--wheels", type=Path, metavar="DIR", help="our wheel and those of all it needs")
    content.add_argument("--folder", type=Path, metavar="DIR", help="a program that runs wherever it stands")
    pack.add_argument("--out", type=Path, required=True, metavar="FILE", help="the package (.ghu)")


def run_maker(args: argparse.Namespace) -> int:
    """The actions that need no kiosk: `key` and `pack`."""
    if args.action == "key":
        return _key(args.out)
    kind, folder = (UpdateKind.WHEELS, args.wheels) if args.wheels else (UpdateKind.FOLDER, args.folder)
    size = pack(args.key, args.version, kind, folder, args.out, made_at_ms=time.time_ns() // 1_000_000)
    print(f"{args.out}: version {args.version}, {size} bytes")
    return 0


def run(args: argparse.Namespace, settings: KioskSettings, config: Path) -> int:
    """The actions at a kiosk; 1 when the entrance is back at the version before."""
    slots = Slots(settings.program_dir)
    if args.action == "prove":
        from kiosk.enrol import app_version
        from kiosk.first_scan import prove_first_scan

        prove_first_scan(settings, args.journal)
        print(f"a first scan works with version {app_version()}")
        return 0
    if args.action == "settle":
        settled = slots.settle(time.time_ns() // 1_000_000)
        if settled is not None:
            print(f"update {settled.state}: {settled.before} -> {settled.after} {settled.why}".rstrip())
        return 0
    if args.action == "init":
        return _init(slots)
    if args.action == "show":
        return _show(slots)
    from kiosk.update import Updater

    note = Updater(settings, config, slots).install(args.package, exported=args.exported)
    if note.state == "done":
        print(f"已更新：{note.before} → {note.after}\nupdated from {note.before} to {note.after}")
        return 0
    print(f"更新未成功（{note.why}），已自动退回 {note.before}")
    print(f"version {note.after} is no good here ({note.why}): {note.before} runs again")
    return 1


def _init(slots: Slots) -> int:
    if slots.is_laid_out:
        raise UpdateError(f"{slots.root} is laid out already.", hint="See: gatehouse kiosk update show", code="busy")
    if not (slots.folder("a") / "bin" / "gatehouse").exists():
        raise UpdateError(
            f"There is no program in {slots.folder('a')}.",
            hint="Make the environment there first (docs/install-pi.md).",
            code="no_slots",
        )
    from kiosk.enrol import app_version

    slots.seal("a", app_version(), bytes(32))
    slots.point(CURRENT, "a")
    slots.point(GOOD, "a")
    print(f"{slots.root / CURRENT} leads to version {app_version()}")
    return 0


def _show(slots: Slots) -> int:
    note = slots.note()
    for name in ("a", "b"):
        marks = [link for link in (CURRENT, GOOD) if slots.linked(link) == name]
        print(f"{name}: {slots.version(name) or '–'}  {' '.join(marks)}".rstrip())
    if note is not None:
        print(f"{note.state}: {note.before} -> {note.after} {note.why}".rstrip())
    return 0


def _key(out: Path) -> int:
    if out.exists():
        raise UpdateError(f"{out} is there already.", hint="A signing key is never written over.", code="disk")
    key = Ed25519PrivateKey.generate()
    write_whole(out, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), mode=0o600)
    public = key.public_key()
    entry = TrustedKey(signed.key_id(public), int(cose.Alg.EDDSA), spki_of(public), frozenset({UPDATE_USE}))
    beside = out.with_name(out.name + ".json")
    write_whole(beside, json.dumps(to_own_keys([entry]), indent=1).encode(), mode=0o644)
    print(f"{out}: keep it off line. On the server: gatehouse trust import {beside.name} ...")
    return 0


def pack(key: Path, version: str, kind: UpdateKind, folder: Path, out: Path, *, made_at_ms: int) -> int:
    """Write the package of what is in *folder*, signed with *key*; returns its size in bytes. Raises UpdateError.

    The same files make the same payload: names are sorted, times and owners left out.
    """
    try:
        version_key(version)
        private = load_pem_private_key(key.read_bytes(), None)
    except (ProtocolError, ValueError, TypeError) as error:
        raise UpdateError(
            f"{error}", hint="Give a version like 1.2.0 and a key of `update key`.", code="damaged"
        ) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise UpdateError(f"{key} is not an Ed25519 key.", hint="Make one with: update key", code="damaged")
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(folder.rglob("*")):
            archive.add(path, arcname=str(path.relative_to(folder)), recursive=False, filter=_anonymous)
    payload = gzip.compress(plain.getvalue(), mtime=0)
    told = UpdatePackage(version, kind, hashlib.sha256(payload).digest(), len(payload), made_at_ms)
    statement = told.to_signed(private)
    write_whole(out, MAGIC + len(statement).to_bytes(LENGTH_BYTES, "big") + statement + payload, mode=0o644)
    return os.stat(out).st_size


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry
