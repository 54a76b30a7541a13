"""Say in plain words what is wrong here and what to do.

  gatehouse doctor --config kiosk.toml [--json]

Looks at disk, clock, decoders, voice, enrolment, journal, server, camera, thermometer and gate of one entrance. Run it
while the kiosk itself is stopped: camera and serial ports can be opened by one program at a time.
What was found goes into the journal of an enrolled kiosk as its opening test (--look only looks).
Exit code 0 when nothing needs anybody, 1 when something does.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from config.errors import GatehouseError
from config.kiosk import KioskSettings, load_kiosk
from kiosk.doctor import Finding, examine, record_opening_test


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--config", type=Path, default=Path("kiosk.toml"), help="the kiosk's TOML file")
    parser.add_argument("--json", action="store_true", help="one JSON line a finding")
    parser.add_argument("--look", action="store_true", help="only look: write no opening test into the journal")


def run(args: argparse.Namespace) -> int:
    """Examine; 1 when something needs a person."""
    is_well = True
    settings, findings = load_kiosk(args.config), []
    for finding in examine(settings):
        findings.append(finding)
        is_well = is_well and finding.ok
        if args.json:
            print(
                json.dumps(
                    {
                        "part": finding.part,
                        "ok": finding.ok,
                        "what": finding.what.en,
                        "why": finding.why.en,
                        "do": finding.do.en,
                        "what_zh": finding.what.zh,
                        "do_zh": finding.do.zh,
                    },
                    ensure_ascii=False,
                ),
                flush=True,
            )
            continue
        print(f"{'ok  ' if finding.ok else 'MEND'} {finding.part:<12} {finding.what.zh}  {finding.what.en}", flush=True)
        if not finding.ok:
            for text in (finding.why, finding.do):
                if text.en:
                    print(f"     {'':<12} {text.zh}  {text.en}", flush=True)
    if not args.look:
        _record(settings, findings)
    if args.json:
        return 0 if is_well else 1
    print("一切正常 nothing needs you" if is_well else "请处理以上标出的问题 please mend what is marked")
    return 0 if is_well else 1


def _record(settings: KioskSettings, findings: Sequence[Finding]) -> None:
    """Put the result on record; what stands in the way is said and changes no exit code."""
    try:
        test = record_opening_test(settings, findings)
    except GatehouseError as error:
        print(f"开门自检未记录 the opening test is not on record: {error}", file=sys.stderr)
        return
    if test is not None:
        print(f"开门自检已记录 opening test on record: {test.result}", file=sys.stderr)
