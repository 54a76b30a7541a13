"""Run an entrance, or check its journal.

gatehouse kiosk --config kiosk.toml            run the entrance until Ctrl-C or SIGTERM
gatehouse kiosk enrol CODE --config kiosk.toml enrol by typing the server's code instead of showing it to the camera
gatehouse kiosk journal verify DIR [--json]    check a journal: chain, gaps, receipts, clock (exit 1 on findings)
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from config.errors import ConfigError
from config.kiosk import KioskSettings, load_kiosk
from kiosk.store import verify_journal


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--config", type=Path, help="the kiosk's TOML file (default: ./kiosk.toml)")
    what = parser.add_subparsers(dest="what", metavar="[enrol | journal]")
    enrol = what.add_parser("enrol", help="enrol this kiosk by a typed code")
    enrol.add_argument("code", help="the text behind the QR code on the server's page, GHE1:...")
    journal = what.add_parser("journal", help="look at a journal")
    actions = journal.add_subparsers(dest="action", metavar="verify", required=True)
    verify = actions.add_parser("verify", help="check a journal without changing it")
    verify.add_argument("dir", type=Path, help="the kiosk's data folder, or its journal.db")
    verify.add_argument("--json", action="store_true", help="one JSON object instead of words")


def run(args: argparse.Namespace) -> int:
    """Run, enrol or verify; 1 when a journal has findings."""
    if args.what == "journal":
        return _verify(args.dir, as_json=args.json)
    settings = _settings(args.config)
    if args.what == "enrol":
        from kiosk.enrol import enrol_by_text

        enrolment = enrol_by_text(settings, args.code)
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


def _verify(where: Path, *, as_json: bool) -> int:
    report = verify_journal(where / "journal.db" if where.is_dir() else where)
    if as_json:
        print(
            json.dumps(
                {
                    "kiosk": report.kiosk.hex(),
                    "records": report.records,
                    "first": report.first,
                    "last": report.last,
                    "receipted": report.receipted,
                    "modes": dict(report.modes),
                    "whole": report.is_whole,
                    "findings": list(report.findings),
                },
                ensure_ascii=False,
            )
        )
        return 0 if report.is_whole else 1
    print(f"kiosk {report.kiosk.hex()}: {report.records} records held ({report.first} to {report.last}),")
    print(f"  the server confirmed up to {report.receipted}; " + ", ".join(f"{n} {name}" for name, n in report.modes))
    for finding in report.findings:
        print(f"  FINDING: {finding}")
    print("  the chain is whole" if report.is_whole else f"  {len(report.findings)} findings: keep this file as it is")
    return 0 if report.is_whole else 1
