"""Which records an order holds back (legal hold, SM-21): the cases of the workflow `hold` that are in force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import exists, or_, select
from sqlalchemy.orm import Session

from server.areas.models import Area, within
from server.cases.kernel import places_of
from server.cases.models import Case
from server.ingest.models import Epoch, JournalRecord
from server.venues.models import Venue

IN_FORCE = "in_force"
MACHINE = "hold"


@dataclass(frozen=True, slots=True)
class Hold:
    """One order: the passages of these days at these places stay."""

    case_id: str
    from_ms: int  # by the passages' own times
    to_ms: int  # exclusive
    areas: tuple[str, ...]  # paths
    venues: tuple[bytes, ...]


def holds_in_force(reading: Session) -> list[Hold]:
    """Every order that is in force now."""
    found = []
    for case in reading.scalars(select(Case).where(Case.machine == MACHINE, Case.state == IN_FORCE)):
        places = places_of(reading, case)
        found.append(
            Hold(
                case.id,
                _ms(date.fromisoformat(str(case.facts["first_day"]))),
                _ms(date.fromisoformat(str(case.facts["last_day"])) + timedelta(days=1)),
                tuple(p.area_path for p in places if p.venue_id is None),
                tuple(p.venue_id for p in places if p.venue_id is not None),
            )
        )
    return found


def held_back(reading: Session, epochs: Sequence[Epoch], holds: Sequence[Hold]) -> set[tuple[bytes, bytes]]:
    """Those of *epochs*, as (kiosk, epoch), that hold a passage which an order is about."""
    return {
        (epoch.kiosk_id, epoch.epoch) for epoch in epochs if any(_has_passage(reading, epoch, hold) for hold in holds)
    }


def _has_passage(reading: Session, epoch: Epoch, hold: Hold) -> bool:
    record = JournalRecord
    in_areas = select(Venue.id).join(Area, Area.code == Venue.area_code)
    somewhere = [record.venue_id.in_(hold.venues)]
    if hold.areas:
        somewhere.append(record.venue_id.in_(in_areas.where(or_(*(within(Area.path, top) for top in hold.areas)))))
    held = (
        exists()
        .where(record.kiosk_id == epoch.kiosk_id, record.sequence >= epoch.first_sequence)
        .where(record.epoch == epoch.epoch, record.at_ms >= hold.from_ms, record.at_ms < hold.to_ms)
        .where(or_(*somewhere))
    )
    return bool(reading.scalar(select(held)))


def _ms(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)
