"""`gatehouse kiosk journal ...`: check, look into, and carry a journal by hand.

An action loads what it needs itself: these parsers are made at each start of a kiosk.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from config.kiosk import KioskSettings
from protocol.words import EntryMode


def configure(actions: Any) -> None:
    """Declare the arguments of each action."""
    verify = actions.add_parser("verify", help="check a journal without changing it")
    show = actions.add_parser("show", help="what its headers tell: counts, shares, clock, receipts; nothing personal")
    export = actions.add_parser("export", help="write what the server does not hold to a file for a stick")
    for parser in (verify, show, export):
        parser.add_argument("dir", type=Path, help="the kiosk's data folder, or its journal.db")
    show.add_argument("record", type=int, nargs="?", metavar="N", help="only what became of record N, step by step")
    for parser in (verify, show):
        parser.add_argument("--json", action="store_true", help="one JSON object instead of words")
    export.add_argument("--out", type=Path, required=True, metavar="FILE", help="the new file")
    export.add_argument("--all", action="store_true", help="every record still here, also those with a receipt")
    receipt = actions.add_parser("receipt", help="take the server's receipt for a carried journal")
    receipt.add_argument("file", type=Path, help="what gatehouse admin import-journal wrote")
    receipt.add_argument("--config", type=Path, default=argparse.SUPPRESS, help="the kiosk's TOML file")


def verify(where: Path, *, as_json: bool) -> int:
    """Print what a check of the journal found; 1 when there are findings."""
    from kiosk.verifying import verify_journal

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


def show(where: Path, *, as_json: bool) -> int:
    """Print what an inspector may see; 1 when there are findings."""
    from kiosk.inspection import inspect
    from kiosk.verifying import wall_text

    looked = inspect(where / "journal.db" if where.is_dir() else where)
    report = looked.report
    if as_json:
        print(json.dumps(looked.to_json(), ensure_ascii=False))
        return 0 if report.is_whole else 1

    def share(mode: EntryMode) -> str:
        value = looked.share(mode)
        return "–" if value is None else f"{value:.1%}"

    def listed(pairs: Iterable[tuple[str, int]]) -> str:
        return ", ".join(f"{name} {n}" for name, n in pairs) or "–"

    span = f", {wall_text(looked.from_ms)} – {wall_text(looked.to_ms)}" if looked.from_ms and looked.to_ms else ""
    chain = ("完整 whole" if report.is_chain_whole else "有疑点 BROKEN", f"{looked.boots} boots")
    lines = (
        ("终端 kiosk", report.kiosk.hex()),
        ("记录 records", f"{report.records} (#{report.first} – #{report.last}{span})"),
        ("记录链 chain", ", ".join(chain)),
        ("通行 passages", f"{looked.passages}: {listed(looked.outcomes)}"),
        ("方式 modes", listed(looked.modes)),
        ("人工登记 manual", share(EntryMode.MANUAL)),
        ("代扫 proxy", share(EntryMode.PROXY)),
        ("操作人 operators", listed(looked.operators)),
        ("事件 events", listed(looked.events)),
        ("时钟变动 clock", f"{len(report.clock_moves)} moved, {looked.clock_unsure} records unsure"),
        ("待上传 unsent", str(looked.unsent)),
        ("回执 receipts", ", ".join(f"#{n} {wall_text(ms)}" for n, ms in looked.receipts) or "–"),
        ("隔离 set aside", ", ".join(f"#{n} {reason}" for n, reason in looked.quarantined) or "–"),
    )
    for name, value in lines:
        print(f"{name}: {value}")
    for finding in report.findings:
        print(f"疑点 FINDING: {finding}")
    return 0 if report.is_whole else 1


def show_record(where: Path, number: int, *, as_json: bool) -> int:
    """Print the life line of one record."""
    from kiosk.lifeline import life_of
    from kiosk.verifying import wall_text

    moments = life_of(where / "journal.db" if where.is_dir() else where, number)
    if as_json:
        told = [
            {"stage": m.stage, "reach": m.reach.value, "what": m.text.en, "at_ms": m.at_ms, "note": m.note}
            for m in moments
        ]
        print(json.dumps({"record": number, "life": told}, ensure_ascii=False))
        return 0
    print(f"记录 record #{number}")
    for moment in moments:
        at = wall_text(moment.at_ms) if moment.at_ms is not None else "–"
        note = f"  [{moment.note}]" if moment.note else ""
        print(f"  {at}  {moment.name.zh} {moment.name.en}: {moment.text.zh}, {moment.text.en}{note}")
    return 0


def export(where: Path, out: Path, *, everything: bool) -> int:
    """Write the file for the stick."""
    from kiosk.carrying import export_journal

    folder = where if where.is_dir() else where.parent
    done = export_journal(folder, out, everything=everything)
    print(f"已导出 {done.records} 条记录（{done.first} 至 {done.last}），请把此文件带到服务器")
    print(
        f"{out}: {done.records} records ({done.first} to {done.last}), {done.size_bytes} bytes. Take it to the server:"
    )
    print(f"  gatehouse admin import-journal {out.name} --config server.toml, and bring its receipt back")
    return 0


def receipt(settings: KioskSettings, file: Path) -> int:
    """Take the receipt; 1 when the server asks for another file."""
    from kiosk.carrying import accept_receipt_file

    done = accept_receipt_file(settings.data_dir, file, keep_after_receipt_h=settings.sync.keep_after_receipt_h)
    print(f"服务器已保存至第 {done.through} 条：新确认 {done.newly_held} 条，待上传 {done.unsent} 条")
    print(
        f"the server holds records up to {done.through}: {done.newly_held} newly confirmed, {done.purged} purged,"
        f" {done.unsent} still to send, {done.quarantined} kept apart by the server"
    )
    if done.result == "gap":
        print("记录不连续，请重新导出 / the server lacks earlier records: export again (now it begins where it must)")
    return 0 if done.result == "ok" else 1
