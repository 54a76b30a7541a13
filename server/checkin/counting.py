"""How many people checked in by phone at a venue, hour by hour: counts, and nobody behind them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import BigInteger, delete, func, select, type_coerce
from sqlalchemy.orm import Session

from protocol.words import EntryMode
from server.checkin.models import PhoneCheckin
from server.ingest.models import JournalRecord

HOUR_MS = 3_600_000
KEEP_REFERENCES = timedelta(days=2)  # they hold for two hours; the rest is for looking into a complaint


def by_hour(reading: Session, venue_id: bytes, now: datetime, hours: int = 24) -> list[tuple[datetime, int]]:
    """The last *hours* hours that had any, as (beginning of the hour, check-ins), newest first."""
    now_ms = int(now.timestamp() * 1000)
    first_ms = (now_ms // HOUR_MS - hours + 1) * HOUR_MS
    at_ms = type_coerce(JournalRecord.at_ms, BigInteger)  # None in quarantine only, and that has no mode
    hour = (at_ms - at_ms % HOUR_MS).label("hour")
    rows = reading.execute(
        select(hour, func.count())
        .where(
            JournalRecord.venue_id == venue_id,
            JournalRecord.at_ms >= first_ms,
            JournalRecord.mode == EntryMode.PHONE.value,
        )
        .group_by(hour)
        .order_by(hour.desc())
    )
    return [(datetime.fromtimestamp(began_ms / 1000, UTC), count) for began_ms, count in rows]


def drop_old_references(writing: Session, now: datetime) -> int:
    """Delete references that nobody needs any more; the sealed records stay as long as the law says."""
    gone = writing.execute(delete(PhoneCheckin).where(PhoneCheckin.at < now - KEEP_REFERENCES))
    return int(getattr(gone, "rowcount", 0))
