"""One record's life as the kiosk's own journal knows it: stamped, stored, receipted, set aside, purged; no person."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from kiosk.screen_state import Text
from kiosk.store import JournalError
from protocol.errors import ProtocolError
from protocol.passage import Header


@dataclass(frozen=True, slots=True)
class Moment:
    """One step; `at_ms` is wall time in ms by the clock that `text` names, None when nobody noted it."""

    text: Text
    at_ms: int | None = None
    note: str = ""


def life_of(journal: Path, sequence: int) -> tuple[Moment, ...]:
    """The life of record *sequence* in the journal at this path; opens read-only, beside a running kiosk.

    Raises JournalError when the file is not a journal.
    """
    try:
        with closing(sqlite3.connect(f"{journal.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)) as db:
            db.execute("BEGIN")
            return tuple(_moments(db, sequence))
    except (sqlite3.Error, TypeError) as error:
        raise JournalError(
            f"{journal} is not a readable journal ({error}).", hint="Is it the kiosk's journal.db?"
        ) from error


def _moments(db: sqlite3.Connection, sequence: int) -> list[Moment]:
    last, held = db.execute("SELECT sequence, held FROM head").fetchone()
    if not 1 <= sequence <= last:
        return [Moment(Text("尚无此记录", "There is no such record yet"))]
    found = db.execute("SELECT header, at_ms FROM record WHERE sequence = ?", (sequence,)).fetchone()
    moments = []
    if found is not None:
        # one stamp for all three: the verdict is there, and the gate opens only after the commit
        stamped = Text("扫描、判定并保存（本机时钟）", "Scanned, decided and stored, by this kiosk's clock")
        moments.append(Moment(stamped, found[1], _about(found[0])))
    if sequence > held:
        moments.append(Moment(Text("待上传", "Not sent, or not receipted yet")))
        return moments
    receipt = db.execute(
        "SELECT sequence, at_ms FROM receipt WHERE sequence >= ? ORDER BY sequence LIMIT 1", (sequence,)
    ).fetchone()
    sent = Text("已上传，服务器已接收并回执（服务器时钟）", "Sent; received and receipted, by the server's clock")
    moments.append(Moment(sent, receipt[1], f"#{receipt[0]}") if receipt else Moment(sent))
    aside = db.execute("SELECT reason FROM quarantined WHERE sequence = ?", (sequence,)).fetchone()
    if aside is not None:
        moments.append(Moment(Text("服务器隔离", "Set aside by the server"), None, aside[0]))
    if found is None:
        moments.append(Moment(Text("本机已清除", "Purged here, as its receipt allows")))
    moments.append(
        Moment(Text("索引、查阅与销毁见服务器", "Indexed, opened, destroyed: see the record's page on the server"))
    )
    return moments


def _about(header: bytes) -> str:
    try:
        read = Header.from_bytes(header)
    except ProtocolError as error:
        return error.code
    return read.event or ("" if read.facts is None else f"{read.facts.mode.value} {read.facts.outcome.value}")
