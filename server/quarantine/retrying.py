"""Tries a record in quarantine once more: what a newer program or a corrected venue lets be believed joins the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from protocol.errors import ProtocolError
from protocol.gist import read_gist
from protocol.journal import Record
from server.audit import Thing, audit
from server.ingest.devices import to_ms
from server.ingest.models import Epoch, JournalRecord, Quarantined, RecordKind
from server.ingest.prepared import EPOCH_TWICE, UNKNOWN_EPOCH, why_aside
from server.kiosks.models import Kiosk

AT_ONCE = 200  # records tried again by one click; the oldest first
MOST_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Tried:
    """What one try came to."""

    tried: int
    released: tuple[int, ...]  # the sequences that are ordinary records now


def set_aside(reading: Session, kiosk: bytes, limit: int = MOST_SHOWN) -> Sequence[Quarantined]:
    """What is in quarantine of *kiosk*, the oldest first."""
    return reading.scalars(
        select(Quarantined).where(Quarantined.kiosk_id == kiosk).order_by(Quarantined.sequence).limit(limit)
    ).all()


def count_of(reading: Session, kiosk: bytes) -> int:
    """How many records of *kiosk* are in quarantine."""
    return reading.scalar(select(func.count()).select_from(Quarantined).where(Quarantined.kiosk_id == kiosk)) or 0


def try_again(writing: Session, kiosk: Kiosk, by: str, now: datetime) -> Tried:
    """Judge the oldest AT_ONCE records of *kiosk* by today's rules; those that can be believed leave quarantine.

    Bytes, number and chain hash of a record stay as they are: only what we read out of it is filled in. *by* is the
    account's id. The caller has checked the right, commits, and has the released ones indexed.
    """
    released = []
    waiting = set_aside(writing, kiosk.id, AT_ONCE)
    for one in waiting:
        row = writing.get_one(JournalRecord, (kiosk.id, one.sequence))
        values = _believed(writing, kiosk, row, one)
        if values is None:
            continue
        writing.execute(
            update(JournalRecord)
            .where(JournalRecord.kiosk_id == kiosk.id, JournalRecord.sequence == one.sequence)
            .values(**values)
        )
        writing.execute(
            delete(Quarantined).where(Quarantined.kiosk_id == kiosk.id, Quarantined.sequence == one.sequence)
        )
        released.append(one.sequence)
    words = f"{len(waiting)} tried, {len(released)} released"
    thing = Thing("kiosk", kiosk.id.hex(), kiosk.door.venue.area.path)
    audit(writing, "kiosk.quarantine_tried", thing, words, actor=by, at=now)
    return Tried(len(waiting), tuple(released))


def _believed(writing: Session, kiosk: Kiosk, row: JournalRecord, aside: Quarantined) -> dict[str, object] | None:
    """The columns of a record that can be believed now; None while it cannot."""
    if aside.reason == EPOCH_TWICE:  # two keys for one epoch: no rule of ours can tell which one is meant
        return None
    try:
        gist = read_gist(row.header)
    except ProtocolError:
        return None
    record = Record(row.sequence, row.epoch, b"", row.header, row.sealed)
    if why_aside(gist, record, kiosk.id, kiosk.venue_id) is not None:
        return None
    if aside.reason == UNKNOWN_EPOCH and writing.get(Epoch, (kiosk.id, row.epoch)) is None:
        return None
    columns = gist._asdict()
    columns["venue_id"] = columns.pop("venue")
    for of_the_row_itself in ("sequence", "kiosk"):
        del columns[of_the_row_itself]
    return {**columns, "kind": int(RecordKind.PASSAGE if gist.event is None else RecordKind.EVENT)}


def overdue(reading: Session, now: datetime, sits: timedelta) -> list[tuple[bytes, str, datetime, int]]:
    """What sits longer than *sits*: (kiosk, reason, since, first sequence) for each kiosk and reason."""
    rows = reading.execute(
        select(
            Quarantined.kiosk_id,
            Quarantined.reason,
            func.min(Quarantined.noted_at).label("since"),
            func.min(Quarantined.sequence).label("first"),
        )
        .where(Quarantined.noted_at <= now - sits)
        .group_by(Quarantined.kiosk_id, Quarantined.reason)
    )
    return [(row.kiosk_id, row.reason, row.since, row.first) for row in rows]


def exported(reading: Session, kiosk: bytes) -> dict[str, object]:
    """What quarantine holds of *kiosk* as plain JSON values: ciphertext and open headers, for technical support."""
    rows = reading.execute(
        select(Quarantined, JournalRecord)
        .join(
            JournalRecord,
            (JournalRecord.kiosk_id == Quarantined.kiosk_id) & (JournalRecord.sequence == Quarantined.sequence),
        )
        .where(Quarantined.kiosk_id == kiosk)
        .order_by(Quarantined.sequence)
        .limit(AT_ONCE)
    )
    return {
        "kiosk": kiosk.hex(),
        "records": [
            {
                "sequence": row.sequence,
                "reason": aside.reason,
                "noted_at_ms": to_ms(aside.noted_at),
                "received_at_ms": row.received_at_ms,
                "epoch": row.epoch.hex(),
                "wrapped": aside.wrapped.hex(),
                "header": row.header.hex(),
                "sealed": row.sealed.hex(),
                "hash": row.hash.hex(),
            }
            for aside, row in rows
        ],
    }
