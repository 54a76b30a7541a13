"""The one deadline clock: what is due escalates or steps on, each exactly once; run by the worker."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, or_, select

from server.audit import SYSTEM
from server.cases.kernel import CaseError, escalate, locked, take
from server.cases.models import Case
from server.cases.registry import machine_of, machines
from server.context import House

AT_ONCE = 200  # cases looked at in one run


@dataclass(frozen=True, slots=True)
class Ticked:
    """What one run did."""

    escalated: int = 0
    stepped: int = 0
    is_done: bool = True


def tick(house: House, at: datetime) -> Ticked:
    """Escalate and step on what is due at *at*. Each case in a transaction of its own; twice run is once done."""
    acts = [
        and_(Case.machine == machine.name, Case.clock == clock.name)
        for machine in machines().values()
        for clock in machine.clocks
        if clock.fires or clock.escalates_to
    ]
    if not acts:
        return Ticked()
    firing = [
        and_(Case.machine == machine.name, Case.clock == clock.name, Case.state.in_(machine.step(clock.fires).sources))
        for machine in machines().values()
        for clock in machine.clocks
        if clock.fires
    ]
    undone = or_(Case.escalated_at.is_(None), *firing)
    with house.database.reading() as reading:
        due = reading.scalars(
            select(Case.id).where(Case.due_at <= at, or_(*acts), undone).order_by(Case.due_at, Case.id).limit(AT_ONCE)
        ).all()
    escalated = stepped = 0
    for case_id in due:
        done = _ring(house, case_id, at)
        escalated += done.escalated
        stepped += done.stepped
    return Ticked(escalated, stepped, is_done=len(due) < AT_ONCE or escalated + stepped == 0)


def _ring(house: House, case_id: str, at: datetime) -> Ticked:
    """What the clock of one case does, looked at once more with the case locked."""
    with house.database.writing() as writing:
        case = locked(writing, case_id)
        machine = machine_of(case.machine)
        clock = machine.clock_in(case.state)
        if clock is None or clock.name != case.clock or case.due_at is None or case.due_at > at:
            return Ticked()
        escalated = stepped = 0
        if clock.escalates_to and case.escalated_at is None:
            escalate(writing, case, clock, at)
            escalated = 1
        if clock.fires and case.state in machine.step(clock.fires).sources:
            try:
                take(writing, case_id, clock.fires, by=SYSTEM, at=at)
                stepped = 1
            except CaseError:  # a guard stands against it; it stays due, and is tried again
                pass
        return Ticked(escalated, stepped)
