"""Checks a journal file as an inspector would: chain, gaps, head, receipts and clock; reads only, changes nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from kiosk.store import JournalError
from protocol.journal import Record, genesis, header_of
from protocol.passage import Header, Stamp


@dataclass(frozen=True, slots=True)
class JournalReport:
    """What `verify_journal` found."""

    kiosk: bytes
    records: int
    first: int
    last: int
    receipted: int
    findings: tuple[str, ...] = ()
    modes: tuple[tuple[str, int], ...] = ()
    clock_moves: tuple[tuple[int, int], ...] = ()  # (record, by how many ms); each is a finding too

    @property
    def is_whole(self) -> bool:
        """Whether the chain holds without a finding."""
        return not self.findings

    @property
    def is_chain_whole(self) -> bool:
        """Whether no record is missing or changed; a moved clock alone leaves the chain whole."""
        return len(self.findings) == len(self.clock_moves)


def verify_journal(path: Path, on_header: Callable[[Header], None] = lambda header: None) -> JournalReport:
    """Check a journal: chain, gaps, head, receipts, clock (D-07). *on_header* is handed each header that can be read.

    Opens read-only, on one snapshot, and changes nothing; the kiosk may go on writing. Raises JournalError when the
    file is not a journal.
    """
    if not path.exists():
        raise JournalError(f"There is no journal at {path}.", hint="Give the kiosk's data folder or its journal.db.")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)) as db:
            db.execute("BEGIN")
            kiosk, head_sequence, head_hash = db.execute("SELECT kiosk, sequence, hash FROM head").fetchone()
            receipted = db.execute("SELECT coalesce(max(sequence), 0) FROM receipt").fetchone()[0]
            receipts = dict(db.execute("SELECT sequence, head FROM receipt"))
            report = _walk(db, kiosk, head_sequence, head_hash, receipts, on_header)
        return replace(report, receipted=receipted)
    except (sqlite3.Error, TypeError) as error:
        raise JournalError(
            f"{path} is not a readable journal ({error}).", hint="Is it the kiosk's journal.db?"
        ) from error


def read_receipts(path: Path) -> tuple[tuple[tuple[int, int], ...], tuple[tuple[int, str], ...]]:
    """The receipts still kept, newest first, as (sequence, server's time in ms), and what the server keeps apart.

    Opens read-only. Raises JournalError when the file is not a journal.
    """
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)) as db:
            receipts = db.execute("SELECT sequence, at_ms FROM receipt ORDER BY sequence DESC").fetchall()
            quarantined = db.execute("SELECT sequence, reason FROM quarantined ORDER BY sequence").fetchall()
    except sqlite3.Error as error:
        raise JournalError(
            f"{path} is not a readable journal ({error}).", hint="Is it the kiosk's journal.db?"
        ) from error
    return tuple(receipts), tuple(quarantined)


def _rows(db: sqlite3.Connection) -> Iterator[tuple[Record, bytes]]:
    for row in db.execute("SELECT sequence, epoch, wrapped, header, sealed, hash FROM record ORDER BY sequence"):
        yield Record(*row[:5]), row[5]


def _walk(
    db: sqlite3.Connection,
    kiosk: bytes,
    head_sequence: int,
    head_hash: bytes,
    receipts: dict[int, bytes],
    on_header: Callable[[Header], None],
) -> JournalReport:
    findings: list[str] = []
    clock_moves: list[tuple[int, int]] = []
    modes: dict[str, int] = {}
    first = last = records = 0
    previous: bytes | None = genesis(kiosk)
    stamp: Stamp | None = None
    for record, stored_hash in _rows(db):
        records += 1
        if not first:
            first = record.sequence
            if first > 1:  # earlier ones were purged after a receipt
                previous = receipts.get(first - 1)
                if previous is None:
                    findings.append(f"records 1 to {first - 1} are gone and no receipt covers their end")
        elif record.sequence != last + 1:
            findings.append(f"records {last + 1} to {record.sequence - 1} are missing")
            previous = None
        after = record.hash_after(previous) if previous is not None else stored_hash
        if after != stored_hash:
            findings.append(f"record {record.sequence} does not continue the chain: it or an earlier one was changed")
        try:
            header = header_of(record, kiosk)
        except ValueError as error:
            findings.append(f"record {record.sequence}: {error}")
        else:
            if (move := _clock_finding(stamp, header)) is not None:
                clock_moves.append((header.sequence, move[0]))
                findings.append(move[1])
            stamp = header.stamp
            on_header(header)
            name = header.facts.mode.value if header.facts else "event"
            modes[name] = modes.get(name, 0) + 1
        if record.sequence in receipts and receipts[record.sequence] != stored_hash:
            findings.append(f"record {record.sequence}: the server's receipt names another hash")
        last, previous = record.sequence, stored_hash
    if last != head_sequence and not (records == 0 and head_sequence in receipts):
        findings.append(f"the journal ends at record {last}, but {head_sequence} were written: the last ones are gone")
    elif records and previous != head_hash:
        findings.append("the head does not name the last record's hash")
    return JournalReport(
        kiosk, records, first, last, 0, tuple(findings), tuple(sorted(modes.items())), tuple(clock_moves)
    )


def _clock_finding(before: Stamp | None, header: Header) -> tuple[int, str] | None:
    """By how many ms the clock was moved before this record, and that in words; None when it was not."""
    if before is None:
        return None
    stamp = header.stamp
    wall, steady = stamp.at_ms - before.at_ms, stamp.mono_ms - before.mono_ms
    if stamp.boot == before.boot and abs(wall - steady) > 5000:
        moved = wall - steady
        return moved, f"record {header.sequence}: the clock was moved by {moved / 1000:+.0f} s"
    if stamp.boot != before.boot and wall < 0:
        return wall, f"record {header.sequence}: after a restart the clock stood {-wall / 1000:.0f} s behind"
    return None


def wall_text(at_ms: int) -> str:
    """A wall time in UTC for reports, to the second."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
