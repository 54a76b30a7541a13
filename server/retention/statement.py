"""The monthly statement: what came in, what was destroyed, what is left, and whether the three agree day by day."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from protocol import cbor, signed
from protocol.errors import ProtocolError
from server.ingest.models import Epoch, JournalRecord, RecordKind
from server.retention.destroying import PURPOSE, digest_of, fields_of
from server.retention.models import GENESIS, DayCount, Destruction

_FIRST = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Day:
    """One day of receipt."""

    day: date
    received: int
    destroyed: int  # by certificates
    open: int  # can still be opened by an approved query

    @property
    def difference(self) -> int:
        """0 when every passage that came in is either destroyed or still there."""
        return self.received - self.destroyed - self.open


@dataclass(frozen=True, slots=True)
class Statement:
    """One month."""

    month: str  # "2026-11"
    days: tuple[Day, ...]
    certificates: tuple[Destruction, ...]  # made in this month

    @property
    def agrees(self) -> bool:
        """Whether nothing is missing and nothing came back."""
        return all(day.difference == 0 for day in self.days)


def statement_of(reading: Session, month: str, now: datetime) -> Statement:
    """The statement of *month* ("YYYY-MM"); raises ValueError for another form. The day under way is left out."""
    first = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC).date()
    after = date(first.year + first.month // 12, first.month % 12 + 1, 1)
    from_day, to_day = (first - _FIRST).days, min((after - _FIRST).days, (now.astimezone(UTC).date() - _FIRST).days)
    counts = {
        row.day: row.passages
        for row in reading.scalars(select(DayCount).where(DayCount.day >= from_day, DayCount.day < to_day))
    }
    destroyed: Counter[int] = Counter()
    for row in reading.scalars(select(Destruction)):
        destroyed.update({int(day): count for day, count in row.by_day.items()})
    left = _open_by_day(reading, from_day, to_day)
    days_with_some = {*(day for day, count in counts.items() if count), *destroyed, *left}
    wanted = sorted(day for day in days_with_some if from_day <= day < to_day)
    days = tuple(
        Day(date.fromordinal(_FIRST.toordinal() + day), counts.get(day, 0), destroyed[day], left[day]) for day in wanted
    )
    start, end = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (first, after))
    made = reading.scalars(
        select(Destruction).where(Destruction.at >= start, Destruction.at < end).order_by(Destruction.number)
    ).all()
    return Statement(month, days, tuple(made))


def _open_by_day(reading: Session, from_day: int, to_day: int) -> Counter[int]:
    rows = reading.execute(
        select(JournalRecord.received_day, func.count())
        .join(Epoch, (Epoch.kiosk_id == JournalRecord.kiosk_id) & (Epoch.epoch == JournalRecord.epoch))
        .where(
            JournalRecord.received_day >= from_day,
            JournalRecord.received_day < to_day,
            JournalRecord.kind == RecordKind.PASSAGE.value,
            Epoch.destroyed_at.is_(None),
        )
        .group_by(JournalRecord.received_day)
    )
    return Counter({day: count for day, count in rows})


def first_wrong_certificate(reading: Session, key: Ed25519PublicKey) -> int | None:
    """The number of the first certificate whose signature, chain or list of epochs does not hold; None: all hold."""
    previous, expected = GENESIS, 1
    for row in reading.scalars(select(Destruction).order_by(Destruction.number)):
        fields = fields_of(row)
        try:
            said = signed.verify(PURPOSE, row.signed, key)
        except ProtocolError:
            return expected
        whole = hashlib.sha256(cbor.encode(fields)).digest()
        same = all(said.any(number) == value for number, value in fields.items())
        epochs = reading.execute(select(Epoch.kiosk_id, Epoch.epoch).where(Epoch.destroyed_at == row.at)).all()
        listed = digest_of([(epoch.kiosk_id, epoch.epoch) for epoch in epochs])
        if not (same and row.number == expected and row.previous_hash == previous and row.hash == whole):
            return expected
        if listed != row.epochs_digest:
            return expected
        previous, expected = row.hash, expected + 1
    return None
