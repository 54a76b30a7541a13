"""Back up the server's database and keys, encrypted for people who keep their key elsewhere; check and restore.

    gatehouse backup keygen OUT                          make a pair: OUT is the identity (keep it off this machine),
                                                         the printed recipient goes into [backup] of the settings
    gatehouse backup make --config FILE                  make one now and restore it aside; exit 1 when it is not whole
    gatehouse backup list --config FILE                  what was made, and what checking showed
    gatehouse backup check BACKUP --identity KEY --config FILE
                                                         restore BACKUP aside, follow every chain, leave nothing behind
    gatehouse backup restore BACKUP --identity KEY --config FILE
                                                         put BACKUP where the settings point; overwrites nothing

The worker makes one every day. The files are age (age-encryption.org/v1) over tar: `age -d -i KEY BACKUP | tar x`
opens one without us. The passphrase of the key store and the vault's keys are not in it: docs/deploy.md says how to
keep those.

Exit codes: 0 done and whole, 1 not whole, 2 wrong arguments, settings or surroundings.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pyrage
from sqlalchemy import make_url, select

from config.errors import GatehouseError
from config.server import ServerSettings, load_server_settings
from server import create_app
from server.backups.making import Found, check_file, identity, make_backup, restore
from server.backups.models import Backup
from server.context import House


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of every subcommand."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    keygen = actions.add_parser("keygen", help="make a pair of keys for backups")
    keygen.add_argument("out", type=Path, help="where the identity goes; it must not exist")
    for name, line in (
        ("make", "make a backup now and restore it aside"),
        ("list", "show what was made"),
        ("check", "restore a backup aside and look at all of it"),
        ("restore", "put a backup where the settings point"),
    ):
        sub = actions.add_parser(name, help=line, description=line)
        sub.add_argument(
            "--config", type=Path, default=Path("server.toml"), metavar="FILE", help="the server's settings"
        )
        if name in {"check", "restore"}:
            sub.add_argument("backup", type=Path, help="the file")
            sub.add_argument("--identity", type=Path, required=True, metavar="KEY", help="what keygen wrote")


def run(args: argparse.Namespace) -> int:
    """Run one subcommand."""
    if args.action == "keygen":
        return _keygen(args.out)
    settings = load_server_settings(args.config)
    if args.action in {"make", "list"}:
        return _with_house(args.action, settings)
    for path in (args.backup, args.identity):
        if not path.is_file():
            raise GatehouseError(f"{path} is not a file.", hint="Name the backup and the identity.", code="arguments")
    key = identity(args.identity.read_text(encoding="utf-8"))
    if args.action == "check":
        return _say(check_file(args.backup, key, make_url(settings.database)), "restored aside")
    return _say(restore(args.backup, key, settings), f"restored into {settings.data_dir}")


def _keygen(out: Path) -> int:
    pair = pyrage.x25519.Identity.generate()
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise GatehouseError(f"{out} exists.", hint="Name another file.", code="exists") from error
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"# Gatehouse backups. Whoever holds this reads them.\n# recipient: {pair.to_public()}\n{pair}\n")
        file.flush()
        os.fsync(file.fileno())
    print(f'[backup]\nrecipients = ["{pair.to_public()}"]')
    print(f"\n{out} is the identity. Keep it (and a copy on paper) away from this machine.")
    return 0


def _with_house(action: str, settings: ServerSettings) -> int:
    app = create_app(settings)
    house: House = app.extensions["gatehouse"]
    with app.app_context():
        if action == "make":
            row = make_backup(house)
            print(f"{house.settings.backup_dir / row.file}  {row.size_bytes} bytes  {row.rows} rows restored")
            if row.outcome:
                print(f"not whole: {row.outcome}")
            return 1 if row.outcome else 0
        with house.database.reading() as reading:
            rows = reading.scalars(select(Backup).order_by(Backup.made_at.desc(), Backup.id).limit(100)).all()
    if not rows:
        print("no backup was made yet")
        return 1
    for row in rows:
        state = row.outcome or ("removed, newer ones stand" if row.removed_at else "whole")
        print(f"{row.made_at:%Y-%m-%d %H:%M}Z  {row.file:44} {row.size_bytes:>12}  {state}")
    return 1 if rows[0].outcome else 0


def _say(found: Found, where: str) -> int:
    print(f"{where}: {found.rows} rows, {found.journals} journals followed from end to end")
    if found.trouble:
        print(f"not whole: {found.trouble}")
    return 1 if found.trouble else 0
