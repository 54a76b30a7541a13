"""`gatehouse vault custody`: put the vault's keys into several hands, prove that they come back, bring them back."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from protocol.sealing import EPOCH_ID_BYTES, EPOCH_KEY_BYTES, EpochOpener, EpochSealer
from server.vault.custody import CUSTODY_FILE, SEALED_FILE, Custody, combine, held, split
from server.vault.errors import VaultError
from server.vault.keyfile import VaultSecrets, read_keys, spoken, write_keys, write_public
from server.vault.log import AccessLog


def configure(parser: argparse.ArgumentParser, where: Callable[[argparse.ArgumentParser], None]) -> None:
    """Declare split, drill, recover and show."""
    actions = parser.add_subparsers(dest="custody_action", metavar="ACTION", required=True)
    one = actions.add_parser("split", help="make recovery sheets for several holders; earlier sheets become void")
    one.add_argument("--need", type=int, required=True, metavar="M", help="how many sheets bring the keys back")
    one.add_argument(
        "--holders", required=True, metavar="A,B,C", help="who gets a sheet each; names of people or offices"
    )
    one.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="a new folder for the sheets: print, then delete"
    )
    where(one)
    for name, line in (
        ("drill", "prove with M sheets that the keys come back; writes nothing but a line of the access log"),
        ("recover", "write the key file of a lost vault anew, from M sheets, under a new passphrase"),
    ):
        one = actions.add_parser(name, help=line)
        one.add_argument(
            "--sheets", type=Path, metavar="FILE", help="one sheet's words a line ('-': standard input); default: ask"
        )
        where(one)
    where(actions.add_parser("show", help="how many sheets there are, and who holds them"))


@dataclass(frozen=True, slots=True)
class Desk:
    """What every action needs of `gatehouse vault`."""

    folder: Path
    passphrase: Callable[[bool], bytes]  # asks for it; for a new one when it is given True
    stopped: Callable[[Path, VaultSecrets], AbstractContextManager[AccessLog]]  # the log of a vault that is not running
    now_ms: int


def run(args: argparse.Namespace, desk: Desk) -> int:
    """Do what was asked."""
    actions = {"split": _split, "drill": _drill, "recover": _recover, "show": _show}
    return actions[args.custody_action](args, desk)


def _split(args: argparse.Namespace, desk: Desk) -> int:
    from server.vault.sheets import draw_sheet  # a drawing library, which no other use of the vault loads

    holders = [name.strip() for name in args.holders.split(",")]
    keys = read_keys(desk.folder, desk.passphrase(False))
    try:
        args.out.mkdir(mode=0o700)
    except FileExistsError:
        raise VaultError(f"{args.out} exists.", hint="Name a new folder; sheets must not lie about.") from None
    with desk.stopped(desk.folder, keys) as log:
        custody, sheets = split(desk.folder, keys, args.need, holders, desk.now_ms)
        log.append(
            desk.now_ms, "custody_split", {"need": custody.need, "of": custody.of, "set": custody.key.key_id.hex()}
        )
    for sheet in sheets:
        path = args.out / f"sheet-{sheet.number}.pdf"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(draw_sheet(custody, sheet, keys.fingerprint()))
        print(f"{path}  for {sheet.holder}")
    print(
        f"Any {custody.need} of these {custody.of} sheets, with {CUSTODY_FILE} and {SEALED_FILE}, bring the vault back."
    )
    print("Print each alone, hand it over sealed, delete the folder, and prove it: gatehouse vault custody drill")
    return 0


def _drill(args: argparse.Namespace, desk: Desk) -> int:
    keys = read_keys(desk.folder, desk.passphrase(False))
    custody = _custody(desk.folder)
    again = combine(desk.folder, _sheets(args, custody))
    trouble = _difference(keys, again)
    with desk.stopped(desk.folder, keys) as log:
        told = {"set": custody.key.key_id.hex(), "result": "restored" if trouble is None else "not_the_same"}
        log.append(desk.now_ms, "custody_drill", told)
    if trouble is not None:
        print(f"gatehouse: {trouble}", file=sys.stderr)
        return 1
    print(
        f"The sheets bring this vault back: {spoken(again.fingerprint())}. A record sealed to it was opened with them."
    )
    return 0


def _recover(args: argparse.Namespace, desk: Desk) -> int:
    custody = _custody(desk.folder)
    keys = combine(desk.folder, _sheets(args, custody))
    write_keys(desk.folder, keys, desk.passphrase(True))
    write_public(desk.folder, keys, desk.now_ms)
    with desk.stopped(desk.folder, keys) as log:
        log.append(desk.now_ms, "recovered", {"set": custody.key.key_id.hex()})
    print(f"The vault's keys are back in {desk.folder}: {spoken(keys.fingerprint())}")
    print("Compare the fingerprint with a kiosk's, start the vault, and split anew: these sheets were seen.")
    return 0


def _show(args: argparse.Namespace, desk: Desk) -> int:
    custody = _custody(desk.folder)
    print(f"{custody.need} of {custody.of} sheets bring the keys back; set {custody.key.key_id.hex()}")
    for number, holder in enumerate(custody.holders, 1):
        print(f"sheet {number}  {holder}")
    return 0


def _custody(folder: Path) -> Custody:
    custody = held(folder)
    if custody is None:
        raise VaultError(
            f"The keys in {folder} were never split.",
            hint="gatehouse vault custody split --need 2 --holders A,B,C --out DIR",
        )
    return custody


def _sheets(args: argparse.Namespace, custody: Custody) -> list[str]:
    """The words of as many sheets as are needed: from a file, or typed without being shown."""
    if args.sheets is not None:
        text = sys.stdin.read() if str(args.sheets) == "-" else args.sheets.read_text(encoding="utf-8")
        return [line for line in text.splitlines() if line.strip()]
    return [getpass.getpass(f"Sheet {n + 1} of {custody.need}, all its words: ") for n in range(custody.need)]


def _difference(keys: VaultSecrets, again: VaultSecrets) -> str | None:
    """What does not come back, or None: every secret is the same, and a record sealed now opens with the copy."""
    if keys != again:
        return "What the sheets bring back is not what this vault has now. Split anew."
    kiosk, personal = bytes(8), b"custody drill"
    sealer = EpochSealer(kiosk, keys.seal[0].public().load(), os.urandom(EPOCH_ID_BYTES + EPOCH_KEY_BYTES))
    sealed = sealer.seal(1, b"header", personal)
    private = again.seal[0].load()
    opened = EpochOpener.unwrap(kiosk, sealer.epoch, sealer.wrapped, {private.key_id: private}).open(
        1, b"header", sealed
    )
    return None if opened == personal else "A record sealed to this vault did not open with what came back."
