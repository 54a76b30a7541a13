"""Opens each venue's daily check in the morning, and fills it in from what its kiosks found by testing themselves."""

from __future__ import annotations

from datetime import date, datetime, time

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session, joinedload

from server.accounts.rights import Place
from server.cases.kernel import open_case, take
from server.cases.models import Case
from server.checks.workflow import DAILY_CHECK, NOT_DONE
from server.context import House
from server.kiosks.models import MAY_EXCHANGE, Kiosk
from server.venues.models import Venue

AT_ONCE = 200
BEGINS = time(5, 0)  # in the pages' zone: before the first doors open
SERVING = tuple(state.value for state in MAY_EXCHANGE)


def open_checks(house: House, now: datetime) -> int:
    """Open today's check for venues with a kiosk at work that have none yet; at most AT_ONCE, returns how many."""
    local = now.astimezone(house.settings.zone)
    due_by = datetime.combine(local.date(), house.settings.cases.daily_check_time, house.settings.zone)
    if local.time() < BEGINS or local >= due_by:
        return 0
    day = local.date()
    with house.database.reading() as reading:
        opened = select(Case.venue_id).where(
            Case.machine == DAILY_CHECK.name, Case.opened_at >= _begin(house, day), Case.venue_id.is_not(None)
        )
        venues = reading.scalars(
            select(Venue)
            .where(exists().where(Kiosk.venue_id == Venue.id, Kiosk.state.in_(SERVING)), Venue.id.not_in(opened))
            .options(joinedload(Venue.area))
            .order_by(Venue.id)
            .limit(AT_ONCE)
        ).all()
    if not venues:
        return 0
    with house.database.writing() as writing:
        for venue in venues:
            open_case(
                writing,
                DAILY_CHECK,
                by="system",
                at=now,
                title=f"{venue.name_zh} · {day.isoformat()}",
                place=Place(venue.area.path, venue.id),
                facts={"due_by": due_by.isoformat()},
                key=key_of(venue.id, day),
            )
    return len(venues)


def fill_in(house: House, now: datetime) -> int:
    """Note today's checks as done where all kiosks of a venue have tested themselves; returns how many."""
    day = now.astimezone(house.settings.zone).date()
    begin = _begin(house, day)
    with house.database.reading() as reading:
        tested = reading.execute(
            select(Kiosk.venue_id, func.count(), func.count().filter(Kiosk.opening_test_at >= begin))
            .where(Kiosk.state.in_(SERVING))
            .group_by(Kiosk.venue_id)
            .having(func.count().filter(Kiosk.opening_test_at >= begin) > 0)
        ).all()
        waiting = _waiting(reading, {venue_id for venue_id, *_ in tested}, begin)
    done = 0
    for venue_id, kiosks, with_test in tested:
        case_id = waiting.get(venue_id)
        if case_id is not None:
            done += _fill_one(house, case_id, venue_id, kiosks == with_test, begin, now)
    return done


def key_of(venue_id: bytes, day: date) -> str:
    """What names one venue's check of one day."""
    return f"{venue_id.hex()}:{day.isoformat()}"


def _waiting(reading: Session, venues: set[bytes], begin: datetime) -> dict[bytes, str]:
    rows = reading.execute(
        select(Case.venue_id, Case.id).where(
            Case.machine == DAILY_CHECK.name, Case.state.in_(NOT_DONE), Case.opened_at >= begin
        )
    )
    return {venue_id: case_id for venue_id, case_id in rows if venue_id is not None and venue_id in venues}


def _fill_one(house: House, case_id: str, venue_id: bytes, all_tested: bool, begin: datetime, now: datetime) -> int:
    with house.database.writing() as writing:
        kiosks = writing.scalars(
            select(Kiosk).where(Kiosk.venue_id == venue_id, Kiosk.state.in_(SERVING), Kiosk.opening_test_at >= begin)
        ).all()
        failed = [kiosk for kiosk in kiosks if _result(kiosk) != "passed"]
        if not failed and not all_tested:
            return 0
        teller = (failed or kiosks)[0]
        step = "report_problem" if failed else "report_ok"
        names = ", ".join(kiosk.name for kiosk in (failed or kiosks))[:200]
        take(writing, case_id, step, by=f"kiosk:{teller.id.hex()}", at=now, values={"kiosks": names})
    return 1


def _result(kiosk: Kiosk) -> str:
    """What the kiosk's last opening test came to, in its own word: passed or failed."""
    return str(((kiosk.health or {}).get("parts") or {}).get("opening_test", ""))


def _begin(house: House, day: date) -> datetime:
    return datetime.combine(day, time(), house.settings.zone)
