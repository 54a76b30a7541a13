"""Hands the passages that the vault has not seen yet to its index; the vault itself knows how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, and_, select
from sqlalchemy.orm import Session

from server.ingest.models import Epoch, Journal, JournalRecord, RecordKind
from server.vault.client import VaultClient
from server.vault.wire import MAX_KIOSKS, MAX_RECORDS, SealedRecord

BATCHES_A_RUN = 40  # then others have their turn; the worker comes again soon


@dataclass(frozen=True, slots=True)
class IndexRun:
    """What one run did."""

    records: int
    problems: int
    is_done: bool  # False: there is more, come again at once


def index_new(session: Session, client: VaultClient) -> IndexRun:
    """Have everything indexed that came since the last run, kiosk by kiosk. Reads only; the marks are the vault's.

    Raises VaultAway; what was handed over until then stays indexed, and the next run goes on from there.
    """
    records = problems = batches = 0
    kiosks = list(session.execute(select(Journal.kiosk_id, Journal.sequence).order_by(Journal.kiosk_id)))
    for start in range(0, len(kiosks), MAX_KIOSKS):
        held = {row.kiosk_id: row.sequence for row in kiosks[start : start + MAX_KIOSKS]}
        for kiosk, mark in client.marks(list(held)).items():
            while mark < held[kiosk]:
                if batches == BATCHES_A_RUN:
                    return IndexRun(records, problems, False)
                batch, mark = _after(session, kiosk, mark)
                indexed = client.index(batch, {kiosk: mark})
                records, problems, batches = records + indexed.records, problems + len(indexed.problems), batches + 1
    return IndexRun(records, problems, True)


def sealed_records(session: Session, passages: Sequence[tuple[bytes, int]]) -> list[tuple[JournalRecord, SealedRecord]]:
    """The stored records of *passages* (kiosk, sequence), each as the vault takes it; destroyed ones are left out."""
    found: list[tuple[JournalRecord, SealedRecord]] = []
    by_kiosk: dict[bytes, list[int]] = {}
    for kiosk, sequence in passages:
        by_kiosk.setdefault(kiosk, []).append(sequence)
    for kiosk, sequences in by_kiosk.items():
        for start in range(0, len(sequences), MAX_RECORDS):
            some = sequences[start : start + MAX_RECORDS]
            rows = session.execute(
                _with_keys().where(JournalRecord.kiosk_id == kiosk, JournalRecord.sequence.in_(some))
            )
            found += [(row[0], _sealed(row[0], row[1])) for row in rows]
    return found


def _after(session: Session, kiosk: bytes, mark: int) -> tuple[list[SealedRecord], int]:
    """The next batch of one kiosk's passages after *mark*, and up to where it deals with the journal."""
    last = session.scalars(
        select(JournalRecord.sequence)
        .where(JournalRecord.kiosk_id == kiosk, JournalRecord.sequence > mark)
        .order_by(JournalRecord.sequence)
        .limit(MAX_RECORDS)
    ).all()
    if not last:  # the journal's older part was dropped, and nothing of it can be indexed any more
        held = session.scalars(select(Journal.sequence).where(Journal.kiosk_id == kiosk)).one()
        return [], held
    rows = session.execute(
        _with_keys().where(
            JournalRecord.kiosk_id == kiosk, JournalRecord.sequence > mark, JournalRecord.sequence <= last[-1]
        )
    )
    return [_sealed(row[0], row[1]) for row in rows], last[-1]


def _with_keys() -> Select[JournalRecord, bytes | None]:
    return (
        select(JournalRecord, Epoch.wrapped)
        .join(Epoch, and_(Epoch.kiosk_id == JournalRecord.kiosk_id, Epoch.epoch == JournalRecord.epoch))
        .where(JournalRecord.kind == RecordKind.PASSAGE, Epoch.wrapped.is_not(None))
        .order_by(JournalRecord.sequence)
    )


def _sealed(record: JournalRecord, wrapped: bytes | None) -> SealedRecord:
    assert wrapped is not None  # _with_keys asks for records that still have a key
    return SealedRecord(record.kiosk_id, record.epoch, wrapped, record.sequence, record.header, record.sealed)
