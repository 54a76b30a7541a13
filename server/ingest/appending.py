"""Appends an upload to a kiosk's journal: once, in order, beside nothing that is already there.

The database's transaction is the caller's: everything here stands or falls together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import cache
from itertools import chain
from typing import Any, NamedTuple, cast

from sqlalchemy import (
    BigInteger,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    bindparam,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.orm import Session

from protocol.exchange import Upload
from protocol.gist import Gist, read_gist
from protocol.journal import Record, genesis
from server.db import Base
from server.ingest.devices import to_ms
from server.ingest.early import settle
from server.ingest.models import (
    Epoch,
    Fork,
    ForkedRecord,
    Journal,
    JournalRecord,
    Quarantined,
    RecordKind,
)
from server.ingest.partitions import ensure_days
from server.ingest.prepared import EPOCH_TWICE, UNKNOWN_EPOCH, Prepared
from server.ingest.statements import Statement

DAY_MS = 86_400_000
MOST_FORKS = 20  # histories kept of one kiosk beside its own

# The columns of `_rows`; those of the header come as `Gist` has them.
_COLUMNS = (
    *("kiosk_id", "sequence", "received_day", "received_at_ms", "kind", "epoch", "header", "sealed", "hash"),
    *("venue_id", "entrance", "at_ms", "clock", "direction", "mode", "credential", "colour", "measured", "outcome"),
    *("operator", "event"),
)
_NO_GIST = (None,) * (len(Gist._fields) - 2)
_ALWAYS = len(_COLUMNS) - len(_NO_GIST)  # columns that have a value in each row; they come first
_journals, _epochs = cast(Table, Journal.__table__), cast(Table, Epoch.__table__)
HELD_COLUMNS = (_journals.c.kiosk_id, _journals.c.sequence, _journals.c.head, _journals.c.early)
_HELD = Statement(select(*HELD_COLUMNS).where(_journals.c.kiosk_id == bindparam("kiosk")).with_for_update())
MOVE = Statement(
    update(_journals)
    .where(_journals.c.kiosk_id == bindparam("kiosk"))
    .values(sequence=bindparam("sequence"), head=bindparam("its_hash"), changed_at=bindparam("now"))
)
_KNOWN_EPOCHS = select(_epochs.c.epoch).where(
    _epochs.c.kiosk_id == bindparam("kiosk"), _epochs.c.epoch.in_(bindparam("named", expanding=True))
)
_AT_ONCE = (50, 10, 1)  # SQLite: rows of one statement
_COPY = f"COPY journal_record ({', '.join(_COLUMNS)}) FROM STDIN (FORMAT BINARY)"
_POSTGRESQL_TYPES = {LargeBinary: "bytea", BigInteger: "int8", SmallInteger: "int2", Integer: "int4", String: "varchar"}
_COPY_TYPES = [_POSTGRESQL_TYPES[type(JournalRecord.__table__.c[name].type)] for name in _COLUMNS]


class Result(Enum):
    """What became of an upload; the value travels in the answer."""

    OK = "ok"  # all its records are held now, or were before
    GAP = "gap"  # it begins after what we hold; nothing was taken
    FORK = "fork"  # it tells another history than the one we hold; kept aside


class Held(NamedTuple):
    """How far we hold a journal, while its row is locked; the values of HELD_COLUMNS."""

    kiosk_id: bytes
    sequence: int
    head: bytes
    early: int  # records kept before the chain reached them


@dataclass(frozen=True, slots=True)
class Appended:
    """How far the journal is held after an upload."""

    result: Result
    sequence: int
    head: bytes
    quarantined: tuple[tuple[int, str], ...] = ()  # of this upload's records, also when they came before
    new_records: int = 0
    new_fork: Fork | None = None  # when this upload was the first to show it


def append(
    writing: Session,
    upload: Upload,
    prepared: Sequence[Prepared],
    now: datetime,
    *,
    as_sent: bytes,
    journal: Held | None = None,
    known_epochs: frozenset[bytes] = frozenset(),
) -> Appended:
    """Append the *prepared* records of *upload*; *as_sent* is kept when they prove a second history.

    *journal* is the kiosk's when the caller has locked it already; *known_epochs* are some that have a key for sure.

    The steps: (1) lock the kiosk's journal, (2) does the upload begin where we are or before, (3) does what it
    repeats agree with what we hold, (4) store the rest. (5) is the caller's: MOVE the head when there were new records.
    """
    journal = journal or _locked_journal(writing, upload.kiosk, now)  # (1)
    if upload.after_sequence > journal.sequence:  # (2)
        return Appended(Result.GAP, journal.sequence, journal.head)
    hashes = [upload.after_hash, *[p.hash for p in prepared]]  # from after_sequence on, without gaps
    held = _held_hashes(writing, journal, upload.after_sequence, upload.after_sequence + len(prepared))
    if upload.after_sequence not in held:  # so old that we dropped it; the receipt says where to go on
        return Appended(Result.GAP, journal.sequence, journal.head)
    for sequence in sorted(held):  # (3)
        place = sequence - upload.after_sequence
        if 0 <= place < len(hashes) and held[sequence] != hashes[place]:
            fork = _keep_fork(writing, upload, prepared, sequence, (held[sequence], hashes[place]), now, as_sent)
            return Appended(Result.FORK, journal.sequence, journal.head, new_fork=fork)
    fresh = prepared[max(0, journal.sequence - upload.after_sequence) :]
    stored: Sequence[Prepared] = ()
    new_fork: Fork | None = None
    if fresh:  # (4)
        stored = _with_epochs(writing, upload.kiosk, fresh, now, known_epochs)
        _store(writing, upload.kiosk, stored, now)
        if journal.early:
            new_fork = _settle_early(writing, upload, fresh, journal, now)
        journal = Held(journal.kiosk_id, fresh[-1].record.sequence, fresh[-1].hash, journal.early)
    is_all_new = len(fresh) == len(prepared)
    return Appended(
        Result.OK,
        journal.sequence,
        journal.head,
        _set_aside(stored) if is_all_new else _quarantined_between(writing, upload.kiosk, prepared),
        new_records=len(fresh),
        new_fork=new_fork,
    )


def append_own(writing: Session, journal_id: bytes, make: Callable[[int], Record], now: datetime) -> int:
    """Append one record to a journal that this server keeps itself; *make* seals it for the sequence it is told.

    Returns that sequence. The record is trusted, since we made it; ValueError says that its header is of another one.
    """
    journal = _locked_journal(writing, journal_id, now)
    record = make(journal.sequence + 1)
    chained = Prepared(record, record.hash_after(journal.head), read_gist(record.header), None)
    if chained.gist is None or (chained.gist.sequence, chained.gist.kiosk) != (record.sequence, journal_id):
        raise ValueError(f"our own record {record.sequence} carries the header of another one")
    (stored,) = _with_epochs(writing, journal_id, [chained], now, frozenset())
    if stored.kind is not RecordKind.PASSAGE:
        raise ValueError(f"our own record {record.sequence} cannot be stored: {stored.reason}")
    _store(writing, journal_id, [stored], now)
    values = {"kiosk": journal_id, "sequence": record.sequence, "its_hash": chained.hash, "now": now}
    MOVE.run(writing.connection(), values)
    return record.sequence


def _table(model: type[Base]) -> Table:
    """The bare table: an insert through it skips the mapper, which costs more than the insert itself."""
    return cast(Table, model.__table__)


def open_journal(writing: Session, kiosk: bytes, now: datetime) -> None:
    """Begin the journal of a kiosk that was just enrolled."""
    writing.add(Journal(kiosk_id=kiosk, sequence=0, head=genesis(kiosk), changed_at=now))


def _locked_journal(writing: Session, kiosk: bytes, now: datetime) -> Held:
    """The journal's row, locked until the transaction ends (SQLite: the whole database is).

    It is made here when the kiosk did not come by enrolment; the caller holds the kiosk's own row, so nobody else does.
    """
    connection = writing.connection()
    found = _HELD.row(connection, {"kiosk": kiosk})
    if found is None:
        open_journal(writing, kiosk, now)
        writing.flush()
        return Held(kiosk, 0, genesis(kiosk), 0)
    return Held(*found)


def _set_aside(stored: Sequence[Prepared]) -> tuple[tuple[int, str], ...]:
    """Which of the records that were stored just now are in quarantine, and why."""
    return tuple([(p.record.sequence, p.reason) for p in stored if p.gist is None and p.reason is not None])


def _held_hashes(writing: Session, journal: Held, first: int, last: int) -> dict[int, bytes]:
    """The chain hashes we hold from *first* to *last*, as far as we are."""
    held = {journal.sequence: journal.head}
    if first == 0:
        held[0] = genesis(journal.kiosk_id)
    if first < journal.sequence:
        rows = writing.execute(
            select(JournalRecord.sequence, JournalRecord.hash).where(
                JournalRecord.kiosk_id == journal.kiosk_id,
                JournalRecord.sequence.between(first, min(last, journal.sequence)),
            )
        )
        held |= {row.sequence: row.hash for row in rows}
    return held


def _with_epochs(
    writing: Session, kiosk: bytes, fresh: Sequence[Prepared], now: datetime, sure: frozenset[bytes]
) -> Sequence[Prepared]:
    """Store the epoch keys that *fresh* brings; sets aside what has no key or brings a second one."""
    known: set[bytes] | frozenset[bytes] = sure
    named = {p.record.epoch for p in fresh}
    if named != sure:
        known = set(writing.connection().scalars(_KNOWN_EPOCHS, {"kiosk": kiosk, "named": list(named)}))
    if known == named and not any(p.record.wrapped for p in fresh):
        return fresh
    checked, new_epochs = [], []
    for prepared in fresh:
        record = prepared.record
        if record.wrapped and record.epoch in known:
            prepared = prepared.set_aside(EPOCH_TWICE)
        elif record.wrapped:
            # also from a record with a bad header: its epoch's later records need the key
            known = known | {record.epoch}
            new_epochs.append(
                {
                    "kiosk_id": kiosk,
                    "epoch": record.epoch,
                    "first_sequence": record.sequence,
                    "wrapped": record.wrapped,
                    "wrapped_digest": hashlib.sha256(record.wrapped).digest(),
                    "received_at": now,
                }
            )
        elif record.epoch not in known:
            prepared = prepared.set_aside(UNKNOWN_EPOCH)
        checked.append(prepared)
    if new_epochs:
        writing.execute(insert(_table(Epoch)), new_epochs)
    return checked


def _store(writing: Session, kiosk: bytes, fresh: Sequence[Prepared], now: datetime) -> None:
    now_ms = to_ms(now)
    ensure_days(writing.connection().engine, now_ms // DAY_MS)
    _insert_records(writing, _rows(kiosk, fresh, now_ms))
    aside = [
        {
            "kiosk_id": kiosk,
            "sequence": p.record.sequence,
            "reason": p.reason,
            "wrapped": p.record.wrapped if p.reason == EPOCH_TWICE else b"",
            "noted_at": now,
        }
        for p in fresh
        if p.gist is None
    ]
    if aside:
        writing.execute(insert(_table(Quarantined)), aside)


def _insert_records(writing: Session, rows: list[tuple[Any, ...]]) -> None:
    """Insert many records at the driver's own speed: their values need no conversion on any database."""
    connection = writing.connection()
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "postgresql":
        with driver.cursor() as cursor, cursor.copy(_COPY) as copy:
            copy.set_types(_COPY_TYPES)
            for row in rows:
                copy.write_row(row)
        return
    while rows:
        # not one by one: sqlite3 lets go of the interpreter for each, and gets it back when another thread lets go
        at_once = next(number for number in _AT_ONCE if number <= len(rows))
        some, rows = rows[:at_once], rows[at_once:]
        # nor what it looks an adapter up for, 1 us each: byte strings, and the NULLs of columns that end the row
        columns = len(_COLUMNS)
        while columns > _ALWAYS and all([row[columns - 1] is None for row in some]):
            columns -= 1
        values = chain.from_iterable([row[:columns] for row in some])
        driver.execute(_insert(columns, at_once), [bytearray(v) if type(v) is bytes else v for v in values])


@cache
def _insert(columns: int, rows: int) -> str:
    """For SQLite: so many rows at once, of the first so many columns."""
    row = f"({', '.join('?' * columns)})"
    return f"INSERT INTO journal_record ({', '.join(_COLUMNS[:columns])}) VALUES {', '.join([row] * rows)}"  # noqa: S608


def _rows(kiosk: bytes, fresh: Sequence[Prepared], now_ms: int) -> list[tuple[Any, ...]]:
    """The rows of *fresh*, each a tuple in the order of _COLUMNS."""
    day = now_ms // DAY_MS
    passage = int(RecordKind.PASSAGE)
    rows: list[tuple[Any, ...]] = []
    for record, chain_hash, gist, _ in fresh:
        open_columns = (kiosk, record.sequence, day, now_ms)
        sealed_columns = (record.epoch, record.header, record.sealed, chain_hash)
        if gist is None:
            rows.append((*open_columns, int(RecordKind.QUARANTINED), *sealed_columns, *_NO_GIST))
        else:
            kind = passage if gist.event is None else int(RecordKind.EVENT)
            rows.append((*open_columns, kind, *sealed_columns, *gist[2:]))  # the gist begins with sequence and kiosk
    return rows


def _settle_early(
    writing: Session, upload: Upload, fresh: Sequence[Prepared], journal: Held, now: datetime
) -> Fork | None:
    """Drop what came early and is in the chain now; another record under the same number is a second history."""
    differs = settle(writing, upload.kiosk, fresh)
    if differs is None:
        return None
    theirs, ours, envelope = differs
    before = {p.record.sequence + 1: p.hash for p in fresh} | {journal.sequence + 1: journal.head}
    their_hash = theirs.hash_after(before[theirs.sequence])
    told = Prepared(theirs, their_hash, None, None)
    evidence = len(envelope).to_bytes(4, "big") + envelope  # an upload whose records are all in its envelope
    return _keep_fork(writing, upload, [told], theirs.sequence, (ours.hash, their_hash), now, evidence)


def _quarantined_between(writing: Session, kiosk: bytes, prepared: Sequence[Prepared]) -> tuple[tuple[int, str], ...]:
    if not prepared:
        return ()
    rows = writing.execute(
        select(Quarantined.sequence, Quarantined.reason)
        .where(
            Quarantined.kiosk_id == kiosk,
            Quarantined.sequence.between(prepared[0].record.sequence, prepared[-1].record.sequence),
        )
        .order_by(Quarantined.sequence)
    )
    return tuple((row.sequence, row.reason) for row in rows)


def _keep_fork(
    writing: Session,
    upload: Upload,
    prepared: Sequence[Prepared],
    sequence: int,
    hashes: tuple[bytes, bytes],
    now: datetime,
    as_sent: bytes,
) -> Fork | None:
    """Keep the second history aside, each record once; returns the fork when it is seen for the first time.

    A cloned card makes one fork. A device that invents histories fills MOST_FORKS and then nothing more.
    """
    ours, theirs = hashes
    is_known = writing.get(Fork, (upload.kiosk, sequence, theirs)) is not None
    forks = writing.scalar(select(func.count()).select_from(Fork).where(Fork.kiosk_id == upload.kiosk)) or 0
    if not is_known and forks >= MOST_FORKS:
        return None
    told = {(p.record.sequence, p.hash): p.record for p in prepared if p.record.sequence >= sequence}
    if told:
        kept = {
            (row.sequence, row.hash)
            for row in writing.execute(
                select(ForkedRecord.sequence, ForkedRecord.hash).where(
                    ForkedRecord.kiosk_id == upload.kiosk,
                    ForkedRecord.sequence.between(min(s for s, _ in told), max(s for s, _ in told)),
                )
            )
        }
        rows = [
            {
                "kiosk_id": upload.kiosk,
                "sequence": record.sequence,
                "hash": chain_hash,
                "epoch": record.epoch,
                "wrapped": record.wrapped,
                "header": record.header,
                "sealed": record.sealed,
                "received_at": now,
            }
            for (_, chain_hash), record in told.items()
            if (record.sequence, chain_hash) not in kept
        ]
        if rows:
            writing.execute(insert(_table(ForkedRecord)), rows)
    if is_known:
        return None
    fork = Fork(
        kiosk_id=upload.kiosk,
        sequence=sequence,
        their_hash=theirs,
        our_hash=ours,
        boot=upload.boot,
        upload=as_sent,
        noted_at=now,
    )
    writing.add(fork)
    writing.flush()
    return fork
