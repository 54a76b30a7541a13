"""Say in plain words what is wrong here and what to do.

  gatehouse doctor --config kiosk.toml [--json]

Looks at disk, clock, decoders, voice, enrolment, journal, server, camera, thermometer and gate of one entrance. Run it
while the kiosk itself is stopped: camera and serial ports can be opened by one program at a time.
Exit code 0 when nothing needs anybody, 1 when something does.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from config.kiosk import load_kiosk
from kiosk.doctor import examine


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--config", type=Path, default=Path("kiosk.toml"), help="the kiosk's TOML file")
    parser.add_argument("--json", action="store_true", help="one JSON line a finding")


def run(args: argparse.Namespace) -> int:
    """Examine; 1 when something needs a person."""
    is_well = True
    for finding in examine(load_kiosk(args.config)):
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
    print("一切正常 nothing needs you" if is_well else "请处理以上标出的问题 please mend what is marked")
    return 0 if is_well else 1
