"""Which notices the kiosks of a venue get: those of the venue and of areas around it, published and not yet over."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from protocol.notice import Notice, NoticeLevel
from server.areas.models import is_within
from server.notices.models import NoticeState, PublicNotice
from server.venues.models import Venue


def notices_for(reading: Session, venues: Iterable[Venue], now: datetime) -> dict[bytes, list[Notice]]:
    """The notices of each of *venues* (with their areas), by their ids.

    Those still to come are among them: a kiosk without network shows them when their time begins.
    """
    rows = list(
        reading.scalars(
            select(PublicNotice)
            .where(PublicNotice.state == NoticeState.PUBLISHED.value, PublicNotice.until_at > now)
            .options(joinedload(PublicNotice.area))
            .order_by(PublicNotice.from_at, PublicNotice.id)
        )
    )
    return {venue.id: [_as_sent(row) for row in rows if _concerns(row, venue)] for venue in venues}


def _concerns(row: PublicNotice, venue: Venue) -> bool:
    if row.venue_id is not None:
        return row.venue_id == venue.id
    return is_within(venue.area.path, row.area.path)


def _as_sent(row: PublicNotice) -> Notice:
    return Notice(
        row.id,
        NoticeLevel(row.level),
        row.title_zh,
        row.title_en,
        row.body_zh,
        row.body_en,
        int(row.from_at.timestamp() * 1000),
        int(row.until_at.timestamp() * 1000),
    )
