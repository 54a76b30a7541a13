"""What the doors must know of papers that are out: colours and withdrawals as status lists, and whose each badge is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from protocol.status_list import BadgeStatus, StatusList, colour_status, status_list
from protocol.words import Colour
from server.bundles.models import KioskStaff
from server.papers.models import PaperCode, StaffBadge
from server.residents.models import HealthStatus


def paper_lists(reading: Session, *, at: datetime, valid_for: timedelta) -> Iterator[StatusList]:
    """Of each list with a paper code that is still out: the colours of now, and which codes were withdrawn."""
    live = select(PaperCode.list_number).where(PaperCode.expires_at > at).distinct()
    newest = (
        select(HealthStatus.resident_id, func.max(HealthStatus.since).label("since"))
        .where(HealthStatus.since <= at)
        .group_by(HealthStatus.resident_id)
        .subquery()
    )
    rows = (
        select(
            PaperCode.list_number,
            PaperCode.position,
            PaperCode.revoked_at.is_not(None),
            PaperCode.expires_at > at,
            HealthStatus.colour,
            HealthStatus.expires_at > at,
        )
        .join(newest, newest.c.resident_id == PaperCode.resident_id, isouter=True)
        .join(
            HealthStatus,
            and_(HealthStatus.resident_id == newest.c.resident_id, HealthStatus.since == newest.c.since),
            isouter=True,
        )
        .where(PaperCode.list_number.in_(live))
    )
    colours: dict[int, dict[int, int]] = {}
    withdrawn: dict[int, dict[int, int]] = {}
    for number, position, is_revoked, is_alive, colour, is_in_force in reading.execute(rows):
        is_known = is_alive and not is_revoked and is_in_force
        colours.setdefault(number, {})[position] = colour_status(Colour(colour) if is_known else Colour.GREY)
        withdrawn.setdefault(number, {})[position] = BadgeStatus.REVOKED if is_revoked else BadgeStatus.VALID
    for number in sorted(colours):
        yield status_list("paper", number, _dense(colours[number]), issued_at=at, expires_at=at + valid_for)
        yield status_list("paper_revoked", number, _dense(withdrawn[number]), issued_at=at, expires_at=at + valid_for)


def badge_lists(reading: Session, *, at: datetime, valid_for: timedelta) -> Iterator[StatusList]:
    """Of each list with a badge that is still out: which hold. A badge of somebody who is no longer staff does not."""
    live = select(StaffBadge.list_number).where(StaffBadge.expires_at > at).distinct()
    rows = (
        select(StaffBadge.list_number, StaffBadge.position, StaffBadge.revoked_at, KioskStaff.staff_id)
        .join(
            KioskStaff,
            and_(KioskStaff.venue_id == StaffBadge.venue_id, KioskStaff.staff_id == StaffBadge.staff_id),
            isouter=True,
        )
        .where(StaffBadge.list_number.in_(live))
    )
    lists: dict[int, dict[int, int]] = {}
    for number, position, revoked_at, staff_id in reading.execute(rows):
        holds = revoked_at is None and staff_id is not None
        lists.setdefault(number, {})[position] = BadgeStatus.VALID if holds else BadgeStatus.REVOKED
    for number in sorted(lists):
        yield status_list("badge", number, _dense(lists[number]), issued_at=at, expires_at=at + valid_for)


def badges_of(reading: Session, venue: bytes, at: datetime) -> dict[bytes, str]:
    """The badges of a venue that are out: the id on the badge -> the id of the member of staff."""
    rows = reading.scalars(
        select(StaffBadge).where(
            StaffBadge.venue_id == venue, StaffBadge.revoked_at.is_(None), StaffBadge.expires_at > at
        )
    )
    return {badge.ref.to_bytes(): badge.staff_id for badge in rows}


def _dense(statuses: dict[int, int]) -> list[int]:
    """The statuses in the order of their positions, which have no gaps since rows are never deleted."""
    return [statuses[position] for position in sorted(statuses)]
