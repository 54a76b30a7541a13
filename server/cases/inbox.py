"""What needs my decision: the open cases in which this person can take a step now, the oldest deadline first.

The rule is the kernel's own, said in SQL: the role reaches every place of the case, it is theirs to do, and duties
are separate. A case that a clock has escalated is in the inbox of those it was escalated to as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Select, and_, exists, false, func, or_, select
from sqlalchemy.orm import Session, joinedload

from server.accounts.rights import Person
from server.accounts.roles import Role
from server.areas.models import within
from server.cases.machine import ABOUT, OPENED, Machine, Step
from server.cases.models import Case, CaseEntry, CaseNote, CasePlace
from server.cases.registry import machines


def waits_for(somebody: Person, machine: str = "") -> ColumnElement[bool]:
    """The SQL condition over `Case`: it waits for *somebody*; with *machine* only cases of that one."""
    parts: list[ColumnElement[bool]] = []
    for one in machines().values():
        if machine in {"", one.name}:
            parts += [_by_step(one, step, somebody) for step in one.steps if _concerns(step, somebody)]
            parts += _by_escalation(one, somebody)
    return and_(Case.closed_at.is_(None), or_(false(), *parts))


def waiting(reading: Session, somebody: Person, *, limit: int, machine: str = "", after: str = "") -> Sequence[Case]:
    """The cases that wait for *somebody*, the oldest deadline first and those without one last, after case *after*."""
    rows = select(Case).where(waits_for(somebody, machine)).options(joinedload(Case.venue), joinedload(Case.assignee))
    last = reading.get(Case, after) if after else None
    if last is not None:
        rows = rows.where(_later(last))
    return reading.scalars(oldest_deadline_first(rows).limit(limit)).all()


def how_many(reading: Session, somebody: Person) -> tuple[int, datetime | None]:
    """How many cases wait for *somebody*, and the oldest deadline among them."""
    count, oldest = reading.execute(select(func.count(), func.min(Case.due_at)).where(waits_for(somebody))).one()
    return count, oldest


def unread(reading: Session, somebody: Person, limit: int) -> Sequence[CaseNote]:
    """What *somebody* was told and has not looked at yet, newest first."""
    return reading.scalars(
        select(CaseNote)
        .where(CaseNote.user_id == somebody.id, CaseNote.read_at.is_(None))
        .options(joinedload(CaseNote.case))
        .order_by(CaseNote.at.desc())
        .limit(limit)
    ).all()


def visible_to(somebody: Person, machine: str = "") -> ColumnElement[bool]:
    """The SQL condition over `Case`: `kernel.may_see` holds for *somebody*."""
    parts: list[ColumnElement[bool]] = [Case.assignee_id == somebody.id, _own(somebody)]
    for one in machines().values():
        if machine not in {"", one.name}:
            continue
        parts += _by_escalation(one, somebody)
        for narrower in {state.readers for state in one.states}:
            states = [state.name for state in one.states if state.readers == narrower]
            roles = one.readers if narrower is None else narrower
            if roles & _roles(somebody):
                parts.append(and_(Case.machine == one.name, Case.state.in_(states), reaches(somebody, roles)))
    found = or_(*parts)
    return and_(Case.machine == machine, found) if machine else found


def reaches(somebody: Person, roles: frozenset[Role]) -> ColumnElement[bool]:
    """The SQL condition over `Case`: one of *roles*, as *somebody* has them, covers every place of it."""
    grants = [grant for grant in somebody.grants if grant.role in roles]
    areas = tuple(grant.area_path for grant in grants if grant.area_path is not None)
    venues = [grant.venue_id for grant in grants if grant.venue_id is not None]
    if not areas and not venues:
        return false()
    one_place = or_(false(), *(within(Case.area_path, top) for top in areas))
    each_place = or_(false(), *(within(CasePlace.area_path, top) for top in areas))
    if venues:
        one_place = or_(one_place, Case.venue_id.in_(venues))
        each_place = or_(each_place, CasePlace.venue_id.in_(venues))
    outside = exists().where(CasePlace.case_id == Case.id).where(~func.coalesce(each_place, False))
    return or_(and_(Case.is_spread.is_(False), one_place), and_(Case.is_spread.is_(True), ~outside))


def oldest_deadline_first(rows: Select[Case]) -> Select[Case]:
    """*rows* in the inbox's order."""
    return rows.order_by(Case.due_at.is_(None), Case.due_at, Case.opened_at, Case.id)


def _later(last: Case) -> ColumnElement[bool]:
    behind = or_(Case.opened_at > last.opened_at, and_(Case.opened_at == last.opened_at, Case.id > last.id))
    if last.due_at is None:
        return and_(Case.due_at.is_(None), behind)
    return or_(Case.due_at > last.due_at, Case.due_at.is_(None), and_(Case.due_at == last.due_at, behind))


def _roles(somebody: Person) -> frozenset[Role]:
    return frozenset(grant.role for grant in somebody.grants)


def _concerns(step: Step, somebody: Person) -> bool:
    """Whether *somebody* could ever take *step*."""
    if not step.is_work:
        return False
    return bool(step.roles & _roles(somebody)) or ((step.is_own or step.is_about) and not step.roles)


def _by_step(machine: Machine, step: Step, somebody: Person) -> ColumnElement[bool]:
    parts: list[ColumnElement[bool]] = [Case.machine == machine.name, Case.state.in_(step.sources)]
    if step.is_about:
        parts.append(Case.person_id == somebody.id)
    else:
        parts.append(_own(somebody) if step.is_own else reaches(somebody, step.roles))
    if step.by_assignee:
        parts.append(or_(Case.assignee_id.is_(None), Case.assignee_id == somebody.id))
    if OPENED in step.apart_from:
        parts.append(Case.opened_by != somebody.id)
    if ABOUT in step.apart_from:
        parts.append(or_(Case.person_id.is_(None), Case.person_id != somebody.id))
    if earlier := [name for name in step.apart_from if name not in {OPENED, ABOUT}]:
        did = exists().where(CaseEntry.case_id == Case.id, CaseEntry.actor == somebody.id, CaseEntry.step.in_(earlier))
        parts.append(~did)
    return and_(*parts)


def _by_escalation(machine: Machine, somebody: Person) -> list[ColumnElement[bool]]:
    return [
        and_(
            Case.machine == machine.name,
            Case.clock == clock.name,
            Case.escalated_at.is_not(None),
            reaches(somebody, clock.escalates_to),
        )
        for clock in machine.clocks
        if clock.escalates_to & _roles(somebody)
    ]


def _own(somebody: Person) -> ColumnElement[bool]:
    return or_(Case.opened_by == somebody.id, Case.person_id == somebody.id)
