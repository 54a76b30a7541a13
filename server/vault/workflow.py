"""An index that stays behind as a case: support looks into it, and it closes by itself once searches miss nothing."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from server.accounts.rights import Place
from server.accounts.roles import Act, Permission
from server.areas.models import Area
from server.audit import SYSTEM
from server.cases.alarms import alarm
from server.cases.kernel import open_case, take
from server.cases.machine import Field, holders
from server.cases.models import Case
from server.context import House
from server.vault.lag import how_late
from server.vault.models import IndexLag

INDEX_BEHIND = alarm(
    "index_lag",
    "Index behind",
    found=("behind", "Searches miss what came in"),
    close=("catch_up", "The index has caught up"),
    closed=("caught_up", "Caught up"),
    clock="mending",
    after=lambda settings: timedelta(hours=settings.cases.fault_response_hours),
    looks=holders(Permission.KIOSKS, Act.PERFORM),
    closes=frozenset(),  # the worker alone: nobody closes what goes on
    form=(Field("found", "What was found"),),
    needs_reason=False,
    title_from="found",
)
MACHINES = (INDEX_BEHIND,)


def follow_lag(house: House, bound: timedelta) -> bool | None:
    """Open a case when the index is behind for longer than *bound*, close it when it is not; True when one was opened,
    False when one was closed. Nothing where no area exists yet to answer for it."""
    at = house.now()
    with house.database.reading() as reading:
        if _is_as_it_should_be(reading, at, bound):
            return None
    with house.database.writing() as writing:
        if _is_as_it_should_be(writing, at, bound):  # another worker was quicker
            return None
        if (held := _held(writing)) is not None:
            take(writing, held, "catch_up", by=SYSTEM, at=at)
            return False
        root = writing.scalars(select(Area.path).order_by(func.length(Area.path)).limit(1)).first()
        late = how_late(writing.get(IndexLag, 1), at)
        if root is None or late is None:
            return None
        found = f"{late // timedelta(minutes=1)} min"
        open_case(writing, INDEX_BEHIND, by=SYSTEM, at=at, title=found, place=Place(root), facts={"found": found})
        return True


def _is_as_it_should_be(reading: Session, at: datetime, bound: timedelta) -> bool:
    late = how_late(reading.get(IndexLag, 1), at)
    return (late is not None and late > bound) == (_held(reading) is not None)


def _held(reading: Session) -> str | None:
    mine = select(Case.id).where(Case.machine == INDEX_BEHIND.name, Case.closed_at.is_(None))
    return reading.scalars(mine).first()
