"""Hands the passages that the vault has not seen yet to its index; the vault itself knows how far it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.orm import Session

from server.ingest.models import Epoch, Journal, JournalRecord, RecordKind
from server.vault.client import VaultClient
from server.vault.wire import MAX_INDEXED, MAX_KIOSKS, MAX_RECORDS, SealedRecord

RECORDS_A_RUN = 100_000  # then others have their turn; the worker comes again at once
KIOSKS_AT_ONCE = 100  # in one question to the database
FRAME_BYTES = 7 * 1024 * 1024  # of records in one request; what the vault reads at most is in server/vault/wire.py
_RECORD_BYTES = 40  # around each, at most, besides header, sealed part and wrapped key


@dataclass(frozen=True, slots=True)
class IndexRun:
    """What one run did."""

    records: int
    problems: int
    is_done: bool  # False: there is more, come again at once
    behind: int = 0  # journal records that the vault has not dealt with
    oldest_ms: int | None = None  # when the oldest of these came in; None when nothing is behind


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of one kiosk's journal: after `mark`, up to `end`."""

    kiosk: bytes
    mark: int
    end: int


def index_new(session: Session, client: VaultClient) -> IndexRun:
    """Have everything indexed that came since the last run. Reads only; the marks are the vault's.

    Raises VaultAway; what was handed over until then stays indexed, and the next run goes on from there.
    """
    records = problems = dealt = behind = 0
    left: list[Stretch] = []
    for waiting in _waiting(session, client):
        behind += sum(stretch.end - stretch.mark for stretch in waiting)
        while waiting and dealt < RECORDS_A_RUN:
            some, waiting = _some(waiting)
            dealt += sum(stretch.end - stretch.mark for stretch in some)
            for batch, marks in _batches(session, some):
                indexed = client.index(batch, marks)
                records, problems = records + indexed.records, problems + len(indexed.problems)
        left += waiting
    return IndexRun(records, problems, not left, behind - dealt, _oldest(session, left))


def _waiting(session: Session, client: VaultClient) -> Iterator[list[Stretch]]:
    """What is not indexed, for some kiosks at a time."""
    kiosks = list(session.execute(select(Journal.kiosk_id, Journal.sequence).order_by(Journal.kiosk_id)))
    for start in range(0, len(kiosks), MAX_KIOSKS):
        held = {row.kiosk_id: row.sequence for row in kiosks[start : start + MAX_KIOSKS]}
        marks = client.marks(list(held)).items()
        yield [Stretch(kiosk, mark, held[kiosk]) for kiosk, mark in marks if mark < held[kiosk]]


def _some(waiting: Sequence[Stretch]) -> tuple[list[Stretch], list[Stretch]]:
    """As much of *waiting* as one question and one request hold, and the rest. Numbers in a journal have no gaps."""
    some: list[Stretch] = []
    room = MAX_INDEXED
    for number, stretch in enumerate(waiting):
        if not room or len(some) == KIOSKS_AT_ONCE:
            return some, list(waiting[number:])
        if stretch.end - stretch.mark > room:
            cut = stretch.mark + room
            rest = Stretch(stretch.kiosk, cut, stretch.end)
            return [*some, Stretch(stretch.kiosk, stretch.mark, cut)], [rest, *waiting[number + 1 :]]
        some.append(stretch)
        room -= stretch.end - stretch.mark
    return some, []


def _batches(session: Session, some: Sequence[Stretch]) -> Iterator[tuple[list[SealedRecord], dict[bytes, int]]]:
    """The passages of *some* as requests to the vault, each with how far it brings each kiosk.

    Events, quarantined records, destroyed ones and what retention has dropped hold nothing to index: the marks pass
    over them.
    """
    r = JournalRecord
    chosen = or_(*(and_(r.kiosk_id == one.kiosk, r.sequence > one.mark, r.sequence <= one.end) for one in some))
    rows = session.execute(
        select(r.kiosk_id, r.epoch, Epoch.wrapped, r.sequence, r.header, r.sealed)
        .join(Epoch, and_(Epoch.kiosk_id == r.kiosk_id, Epoch.epoch == r.epoch))
        .where(chosen, r.kind == RecordKind.PASSAGE, Epoch.wrapped.is_not(None))
        .order_by(r.kiosk_id, r.sequence)
    )
    batch: list[SealedRecord] = []
    marks: dict[bytes, int] = {}
    epochs: set[bytes] = set()
    size = 0
    for kiosk, epoch, wrapped, sequence, header, sealed in rows:
        assert wrapped is not None  # the question was for those that have a key
        record = SealedRecord(kiosk, epoch, wrapped, sequence, header, sealed)
        bytes_ = _RECORD_BYTES + len(record.header) + len(record.sealed)
        bytes_ += 0 if record.epoch in epochs else len(record.wrapped)
        if batch and size + bytes_ > FRAME_BYTES:
            yield batch, marks
            batch, marks, size, epochs = [], {}, 0, set()
        batch.append(record)
        marks[record.kiosk] = record.sequence
        epochs.add(record.epoch)
        size += bytes_
    yield batch, {one.kiosk: one.end for one in some}


def _oldest(session: Session, left: Sequence[Stretch]) -> int | None:
    """When the oldest record came in that is not indexed."""
    oldest: int | None = None
    r = JournalRecord
    for start in range(0, len(left), KIOSKS_AT_ONCE):
        some = left[start : start + KIOSKS_AT_ONCE]
        next_ones = or_(*(and_(r.kiosk_id == one.kiosk, r.sequence == one.mark + 1) for one in some))
        found = session.scalar(select(func.min(r.received_at_ms)).where(next_ones))
        if found is not None:
            oldest = found if oldest is None else min(oldest, found)
    return oldest


def sealed_records(session: Session, passages: Sequence[tuple[bytes, int]]) -> list[tuple[JournalRecord, SealedRecord]]:
    """The stored records of *passages* (kiosk, sequence), each as the vault takes it; destroyed ones are left out."""
    found: list[tuple[JournalRecord, SealedRecord]] = []
    by_kiosk: dict[bytes, list[int]] = {}
    for kiosk, sequence in passages:
        by_kiosk.setdefault(kiosk, []).append(sequence)
    parts = [
        and_(JournalRecord.kiosk_id == kiosk, JournalRecord.sequence.in_(sequences[start : start + MAX_RECORDS]))
        for kiosk, sequences in by_kiosk.items()
        for start in range(0, len(sequences), MAX_RECORDS)
    ]
    for start in range(0, len(parts), KIOSKS_AT_ONCE):
        rows = session.execute(_with_keys().where(or_(*parts[start : start + KIOSKS_AT_ONCE])))
        found += [(row[0], _sealed(row[0], row[1])) for row in rows]
    return found


def _with_keys() -> Select[JournalRecord, bytes | None]:
    return (
        select(JournalRecord, Epoch.wrapped)
        .join(Epoch, and_(Epoch.kiosk_id == JournalRecord.kiosk_id, Epoch.epoch == JournalRecord.epoch))
        .where(JournalRecord.kind == RecordKind.PASSAGE, Epoch.wrapped.is_not(None))
        .order_by(JournalRecord.kiosk_id, JournalRecord.sequence)
    )


def _sealed(record: JournalRecord, wrapped: bytes | None) -> SealedRecord:
    assert wrapped is not None  # _with_keys asks for records that still have a key
    return SealedRecord(record.kiosk_id, record.epoch, wrapped, record.sequence, record.header, record.sealed)
