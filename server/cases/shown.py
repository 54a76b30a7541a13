"""What pages say of a case: its deadline, the names of its entries and of the people in it, its questions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.accounts.models import User
from server.cases import deadline
from server.cases.kernel import ASSIGNED, ERASED, ESCALATED, HELD, REMARKED, RESUMED, quiet_hours
from server.cases.machine import OPENED, Field, Machine
from server.cases.models import Case
from server.cases.registry import machine_of
from server.context import house

ENTRY_NAMES = {
    OPENED: "Opened",
    ASSIGNED: "Assigned",
    REMARKED: "Remark",
    HELD: "Deadline stopped",
    RESUMED: "Deadline runs on",
    ESCALATED: "Overdue: shown one level higher",
    ERASED: "Words erased, their time was over",
}


@dataclass(frozen=True, slots=True)
class Due:
    """A case's deadline as pages show it."""

    at: datetime | None
    is_over: bool
    is_held: bool
    left_s: int | None  # what is left on a clock that stands still
    raw_s: int | None = None  # since the clock was started
    counted_s: int | None = None  # of it, what counted


def names_of(reading: Session, ids: Iterable[str]) -> dict[str, str]:
    """Display names of the users among *ids*."""
    rows = reading.execute(select(User.id, User.display_name).where(User.id.in_(set(ids))))
    return {user_id: name for user_id, name in rows}


def due_of(case: Case) -> Due:
    """The deadline of *case*, now."""
    now = house().now()
    clock = machine_of(case.machine).clock_in(case.state)
    raw = counted = None
    if clock is not None and case.clock_since is not None:
        raw = int((now - case.clock_since).total_seconds())
        counted = int(deadline.counted(case.clock_since, now, quiet_hours(clock)).total_seconds())
    is_over = case.due_at is not None and case.due_at <= now
    return Due(case.due_at, is_over, case.held_at is not None, case.remaining_s, raw, counted)


def entry_name(machine: Machine, step_name: str) -> str:
    """What the history calls an entry; a step that the workflow no longer has keeps its code."""
    if step_name in ENTRY_NAMES:
        return ENTRY_NAMES[step_name]
    try:
        return machine.step(step_name).label
    except LookupError:
        return step_name


def all_fields(machine: Machine) -> list[Field]:
    """Every field of the form and of the steps, each name once, the form's first."""
    found: dict[str, Field] = {}
    for field in chain(machine.form, *(step.fields for step in machine.steps)):
        found.setdefault(field.name, field)
    return list(found.values())


def local_time(at: datetime | None) -> str:
    """*at* by the clock on the wall, for a sheet; empty for None."""
    return at.astimezone(house().settings.zone).strftime("%Y-%m-%d %H:%M:%S") if at else ""
