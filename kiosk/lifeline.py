"""One record's life as the kiosk's own journal knows it, stage by stage, and which stages only the server knows; no
person is in any of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from kiosk import texts
from kiosk.screen_state import Text
from kiosk.store import JournalError, quarantined_since
from protocol.errors import ProtocolError
from protocol.passage import Header

MOST_LOOKED_THROUGH = 2000  # records behind one page of the day's list: a look costs milliseconds, whatever the backlog


class Reach(Enum):
    """How far a stage has come, by what this kiosk knows."""

    DONE = "done"
    WAITING = "waiting"
    ASIDE = "aside"  # the server keeps it apart
    GONE = "gone"  # this kiosk's copy was purged, as its receipt allows
    ELSEWHERE = "elsewhere"  # only the server knows


@dataclass(frozen=True, slots=True)
class Moment:
    """One stage; `at_ms` is wall time in ms by the clock that `text` names, None when it is not known here."""

    stage: str  # a key of texts.LIFE
    reach: Reach
    text: Text
    at_ms: int | None = None
    note: str = ""

    @property
    def name(self) -> Text:
        """The stage in words."""
        return texts.LIFE[self.stage]


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of the day's list, from the open header."""

    sequence: int
    at_ms: int
    mode: str  # a value of EntryMode, or "event"
    outcome: str  # a value of Outcome, or the event's name


@dataclass(frozen=True, slots=True)
class RecordView:
    """What the panel's page of records shows."""

    listed: tuple[Listed, ...]  # the newest first
    older: int | None  # where the list goes on, None at its end
    number: int | None = None  # the record asked for
    life: tuple[Moment, ...] = ()


def life_of(journal: Path, sequence: int) -> tuple[Moment, ...]:
    """The life of record *sequence* in the journal at this path; opens read-only, beside a running kiosk.

    Eight stages, scanned to destroyed, and what else happened to it; one moment `unknown` for a record that was never
    written. Raises JournalError when the file is not a journal.
    """
    with _looking(journal) as db:
        return tuple(_moments(db, sequence))


def list_records(journal: Path, since_ms: int, before: int | None = None, most: int = 12) -> RecordView:
    """The records since *since_ms* by their own wall time, the newest first, those before record *before* only."""
    with _looking(journal) as db:
        newest = "SELECT sequence, at_ms, header FROM record WHERE sequence < ? ORDER BY sequence DESC LIMIT ?"
        rows = db.execute(
            f"SELECT * FROM ({newest}) WHERE at_ms >= ? ORDER BY sequence DESC LIMIT ?",  # noqa: S608  no value in it
            (before or 2**62, MOST_LOOKED_THROUGH, since_ms, most + 1),
        ).fetchall()
    listed = tuple(_listed(*row) for row in rows[:most])
    return RecordView(listed, listed[-1].sequence if len(rows) > most else None)


@contextmanager
def _looking(journal: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(f"{journal.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)) as db:
            db.execute("BEGIN")
            yield db
    except (sqlite3.Error, TypeError) as error:
        raise JournalError(
            f"{journal} is not a readable journal ({error}).", hint="Is it the kiosk's journal.db?"
        ) from error


def _moments(db: sqlite3.Connection, sequence: int) -> Iterator[Moment]:
    last, held = db.execute("SELECT sequence, held FROM head").fetchone()
    if not 1 <= sequence <= last:
        yield Moment("unknown", Reach.WAITING, Text("尚无此记录", "there is no such record yet"))
        return
    found = db.execute("SELECT header, at_ms FROM record WHERE sequence = ?", (sequence,)).fetchone()
    yield from _made(*found) if found is not None else _purged()
    yield from _sent(db, sequence, is_held=sequence <= held, is_here=found is not None)
    aside = db.execute("SELECT reason FROM quarantined WHERE sequence = ?", (sequence,)).fetchone()
    if aside is not None:
        said = Text("服务器单独存放，待重试（服务器时钟）", "the server keeps it apart until it is tried again")
        yield Moment("aside", Reach.ASIDE, said, quarantined_since(db, sequence), aside[0])
    for stage in ("indexed", "opened", "destroyed"):
        yield Moment(stage, Reach.ELSEWHERE, texts.LIFE_ELSEWHERE[stage])


def _made(header: bytes, at_ms: int) -> Iterator[Moment]:
    # one stamp for all three: it is taken when the verdict is there, and the gate opens only after the commit
    together = Text("与扫描同一时刻记下", "stamped together with the scan")
    sealed = Text("先加密写入本机，后放行", "sealed and on disk before any gate opens")
    yield Moment("scanned", Reach.DONE, Text("本机时钟", "by this kiosk's clock"), at_ms)
    yield Moment("decided", Reach.DONE, together, at_ms, _about(header))
    yield Moment("stored", Reach.DONE, sealed, at_ms)


def _purged() -> Iterator[Moment]:
    said = Text("本机副本已按回执清除，时间见服务器", "purged here as its receipt allows; the server has the time")
    for stage in ("scanned", "decided", "stored"):
        yield Moment(stage, Reach.GONE, said)


def _sent(db: sqlite3.Connection, sequence: int, *, is_held: bool, is_here: bool) -> Iterator[Moment]:
    if not is_held:
        yield Moment("sent", Reach.WAITING, Text("待上传，或待回执", "waits to be sent, or for its receipt"))
        yield Moment("received", Reach.WAITING, Text("尚无回执", "no receipt yet"))
        return
    receipt = db.execute(
        "SELECT sequence, at_ms FROM receipt WHERE sequence >= ? ORDER BY sequence LIMIT 1", (sequence,)
    ).fetchone()
    if receipt is None:
        said = Text("已有回执，回执已清除", "receipted; that receipt is purged")
        yield Moment("sent", Reach.DONE, said)
        yield Moment("received", Reach.DONE, said)
        return
    # the receipt that covered a purged record may itself be replaced by a later one
    at = (
        Text("（服务器时钟）", ", by the server's clock")
        if is_here
        else Text("不晚于此（服务器时钟）", ", at the latest")
    )
    yield Moment("sent", Reach.DONE, Text("不晚于此时", "at the latest then"), receipt[1])
    yield Moment("received", Reach.DONE, Text(f"已回执{at.zh}", f"receipted{at.en}"), receipt[1], f"#{receipt[0]}")


def _about(header: bytes) -> str:
    mode, outcome = _words_of(header)
    return outcome if mode == "event" else f"{mode} {outcome}".strip()


def _listed(sequence: int, at_ms: int, header: bytes) -> Listed:
    return Listed(sequence, at_ms, *_words_of(header))


def _words_of(header: bytes) -> tuple[str, str]:
    try:
        read = Header.from_bytes(header)
    except ProtocolError as error:
        return "event", error.code
    if read.facts is None:
        return "event", read.event or ""
    return read.facts.mode.value, read.facts.outcome.value
