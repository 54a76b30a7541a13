"""Run an entrance, or check its journal.

gatehouse kiosk --config kiosk.toml            run the entrance until Ctrl-C or SIGTERM
gatehouse kiosk enrol CODE --config kiosk.toml enrol by typing the server's code instead of showing it to the camera
gatehouse kiosk journal verify DIR [--json]    check a journal: chain, gaps, receipts, clock (exit 1 on findings)
gatehouse kiosk journal show DIR [--json]      what its headers tell: counts, shares, clock, receipts (same exit code)
gatehouse kiosk journal show DIR N [--json]    what became of record N, with times

Without a network the journal travels on a stick, while the kiosk is stopped:
gatehouse kiosk journal export DIR --out FILE [--all]     write what the server does not hold
gatehouse kiosk journal receipt FILE --config kiosk.toml  take the server's receipt (exit 1: it asks for another file)

A new version stands beside the old one, is tried, and is left again by itself when it is no good (exit 1):
gatehouse kiosk update install FILE.ghu --config kiosk.toml [--exported FILE]
gatehouse kiosk update show | settle | init --config kiosk.toml
gatehouse kiosk update key | pack               for who makes packages
"""

from __future__ import annotations

import argparse
from pathlib import Path

from config.errors import ConfigError
from config.kiosk import KioskSettings, load_kiosk
from gatehouse.commands import kiosk_journal, kiosk_update


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--config", type=Path, help="the kiosk's TOML file (default: ./kiosk.toml)")
    what = parser.add_subparsers(dest="what", metavar="[enrol | journal | update]")
    enrol = what.add_parser("enrol", help="enrol this kiosk by a typed code")
    enrol.add_argument("code", help="the text behind the QR code on the server's page, GHE1:...")
    enrol.add_argument("--config", type=Path, default=argparse.SUPPRESS, help="the kiosk's TOML file")
    journal = what.add_parser("journal", help="check a journal, or carry it by hand")
    kiosk_journal.configure(journal.add_subparsers(dest="action", metavar="ACTION", required=True))
    update = what.add_parser("update", help="install a new version, or look at those that are here")
    kiosk_update.configure(update.add_subparsers(dest="action", metavar="ACTION", required=True))


def run(args: argparse.Namespace) -> int:
    """Run, enrol, or work on a journal; 1 when a journal has findings or a receipt asks for more."""
    if args.what == "journal" and args.action == "verify":
        return kiosk_journal.verify(args.dir, as_json=args.json)
    if args.what == "journal" and args.action == "show" and args.record is not None:
        return kiosk_journal.show_record(args.dir, args.record, as_json=args.json)
    if args.what == "journal" and args.action == "show":
        return kiosk_journal.show(args.dir, as_json=args.json)
    if args.what == "journal" and args.action == "export":
        return kiosk_journal.export(args.dir, args.out, everything=args.all)
    if args.what == "update" and args.action in ("key", "pack"):
        return kiosk_update.run_maker(args)
    settings = _settings(args.config)
    if args.what == "update":
        return kiosk_update.run(args, settings, args.config or Path("kiosk.toml"))
    if args.what == "journal":
        return kiosk_journal.receipt(settings, args.file)
    if args.what == "enrol":
        from kiosk.enrol import enrol_by_text
        from kiosk.offline_test import begin

        enrolment = enrol_by_text(settings, args.code)
        begin(settings.data_dir)
        print(f"enrolled as kiosk {enrolment.kiosk.hex()} at {enrolment.server_url}")
        return 0
    from kiosk.app import run_kiosk

    return run_kiosk(settings)


def _settings(path: Path | None) -> KioskSettings:
    path = path or Path("kiosk.toml")
    if not path.exists():
        raise ConfigError(
            f"There is no settings file at {path}.",
            hint="Copy config/kiosk.example.toml, fill it in, and give its path with --config.",
        )
    return load_kiosk(path)
