"""What needs my decision: the open cases in which this person can take a step now, the oldest deadline first.

The rule is the kernel's own, said in SQL: the role reaches every place of the case, it is theirs to do, and duties
are separate. A case that a clock has escalated is in the inbox of those it was escalated to as well.

Most open cases wait for nobody: a code in use, a kiosk at its door. So the inbox is gathered by looking up the states
in which somebody has something to do, and not by holding every case against every rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, CompoundSelect, Select, and_, exists, false, func, or_, select, union_all
from sqlalchemy.orm import InstrumentedAttribute, Session, joinedload

from server.accounts.rights import Person
from server.accounts.roles import Role
from server.areas.models import within
from server.cases.machine import ABOUT, OPENED, Machine, Step
from server.cases.models import Case, CaseEntry, CaseNote, CasePlace
from server.cases.registry import machines


def waits_for(somebody: Person, machine: str = "") -> ColumnElement[bool]:
    """The SQL condition over `Case`: it waits for *somebody*; with *machine* only cases of that one."""
    looked_at = [one for one in machines().values() if machine in {"", one.name}]
    # `correlate(None)`: each looks through the table by itself, whatever query it is that is narrowed by them
    found = [
        select(Case.id).where(Case.closed_at.is_(None), look_up).correlate(None)
        for look_up in _look_ups(looked_at, somebody)
    ]
    return Case.id.in_(union_all(*found)) if found else false()


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
    parts = [Case.assignee_id == somebody.id, Case.opened_by == somebody.id, Case.person_id == somebody.id]
    for one in machines().values():
        if machine in {"", one.name}:
            parts += [and_(part, reaches(somebody, roles)) for roles, part in _readable(one, somebody)]
    found = or_(*parts)
    return and_(Case.machine == machine, found) if machine else found


def ids_near(somebody: Person, machine: Machine) -> CompoundSelect[str]:
    """Look-ups that find every case of *machine* for which `visible_to` holds, some twice, and perhaps own cases of
    other machines: for somebody who sees little of much."""
    mine = (Case.assignee_id == somebody.id, Case.opened_by == somebody.id, Case.person_id == somebody.id)
    return union_all(
        *(select(Case.id).where(part) for part in (*mine, *_in_places(_readable(machine, somebody), somebody)))
    )


def reaches(somebody: Person, roles: frozenset[Role]) -> ColumnElement[bool]:
    """The SQL condition over `Case`: one of *roles*, as *somebody* has them, covers every place of it."""
    scope = _Scope.of(somebody, roles)
    if scope.is_empty:
        return false()
    at_one = or_(*scope.holds(Case.area_path, Case.venue_id))
    return or_(and_(Case.is_spread.is_(False), at_one), and_(Case.is_spread.is_(True), scope.holds_each_place()))


def oldest_deadline_first(rows: Select[Case]) -> Select[Case]:
    """*rows* in the inbox's order."""
    return rows.order_by(Case.due_at.is_(None), Case.due_at, Case.opened_at, Case.id)


def _later(last: Case) -> ColumnElement[bool]:
    behind = or_(Case.opened_at > last.opened_at, and_(Case.opened_at == last.opened_at, Case.id > last.id))
    if last.due_at is None:
        return and_(Case.due_at.is_(None), behind)
    return or_(Case.due_at > last.due_at, Case.due_at.is_(None), and_(Case.due_at == last.due_at, behind))


@dataclass(frozen=True, slots=True)
class _Scope:
    """Where somebody has one of some roles."""

    areas: tuple[str, ...]
    venues: tuple[bytes, ...]

    @classmethod
    def of(cls, somebody: Person, roles: frozenset[Role]) -> _Scope:
        grants = [grant for grant in somebody.grants if grant.role in roles]
        areas = {grant.area_path for grant in grants if grant.area_path is not None}
        return cls(
            tuple(sorted(areas)), tuple(sorted({grant.venue_id for grant in grants if grant.venue_id is not None}))
        )

    @property
    def is_empty(self) -> bool:
        return not self.areas and not self.venues

    def holds(
        self, path: InstrumentedAttribute[str], venue_id: InstrumentedAttribute[bytes | None]
    ) -> list[ColumnElement[bool]]:
        """What a place in the scope fulfils one of; by area and by venue, since each has an index of its own."""
        found = [or_(*(within(path, top) for top in self.areas))] if self.areas else []
        return [*found, venue_id.in_(self.venues)] if self.venues else found

    def holds_each_place(self) -> ColumnElement[bool]:
        """The SQL condition over a case of several places: none of them lies outside of the scope."""
        inside = or_(*self.holds(CasePlace.area_path, CasePlace.venue_id))
        return ~exists().where(CasePlace.case_id == Case.id).where(~func.coalesce(inside, False))


def _look_ups(looked_at: Iterable[Machine], somebody: Person) -> Iterator[ColumnElement[bool]]:
    """The conditions over an open `Case` that together are the inbox; an index finds what each of them names."""
    for machine in looked_at:
        yield from _by_own_steps(machine, somebody)
    parts = (part for one in looked_at for part in (*_by_steps(one, somebody), *_by_escalation(one, somebody)))
    yield from _in_places(parts, somebody)


def _in_places(
    parts: Iterable[tuple[frozenset[Role], ColumnElement[bool]]], somebody: Person
) -> Iterator[ColumnElement[bool]]:
    """Each of *parts* where *somebody* has its roles: once for each way in which a case can lie there."""
    spread: list[ColumnElement[bool]] = []
    for roles, part in parts:
        scope = _Scope.of(somebody, roles)
        if not scope.is_empty:
            for place in scope.holds(Case.area_path, Case.venue_id):
                yield and_(part, Case.is_spread.is_(False), place)
            spread.append(and_(part, scope.holds_each_place()))
    if spread:  # few cases lie at several places; one look at all of them
        yield and_(Case.is_spread.is_(True), or_(*spread))


def _by_own_steps(machine: Machine, somebody: Person) -> Iterator[ColumnElement[bool]]:
    """What waits for somebody because it is theirs, wherever it lies."""
    for step in machine.steps:
        if (step.is_own or step.is_about) and _concerns(step, somebody):
            part = and_(Case.machine == machine.name, _turn(step, somebody))
            yield and_(part, Case.person_id == somebody.id)
            if not step.is_about:
                yield and_(part, Case.opened_by == somebody.id)


def _by_steps(machine: Machine, somebody: Person) -> list[tuple[frozenset[Role], ColumnElement[bool]]]:
    """What waits for roles that somebody has, with those roles; where they have them stands elsewhere."""
    work: dict[frozenset[Role], list[Step]] = {}
    for step in machine.steps:
        if not (step.is_own or step.is_about) and _concerns(step, somebody):
            work.setdefault(step.roles & _roles(somebody), []).append(step)
    found = []
    for roles, steps in work.items():
        states = sorted({state for step in steps for state in step.sources})
        by_index = and_(Case.machine == machine.name, Case.state.in_(states))
        if any(step.by_assignee or step.apart_from for step in steps):
            by_index = and_(by_index, or_(*(_turn(step, somebody) for step in steps)))
        found.append((roles, by_index))
    return found


def _readable(machine: Machine, somebody: Person) -> list[tuple[frozenset[Role], ColumnElement[bool]]]:
    """What roles that somebody has may read, with those roles."""
    readable: dict[frozenset[Role], list[str]] = {}
    for state in machine.states:
        if roles := machine.readers_in(state.name) & _roles(somebody):
            readable.setdefault(roles, []).append(state.name)
    found = [(roles, and_(Case.machine == machine.name, Case.state.in_(states))) for roles, states in readable.items()]
    return [*found, *_by_escalation(machine, somebody)]


def _by_escalation(machine: Machine, somebody: Person) -> list[tuple[frozenset[Role], ColumnElement[bool]]]:
    """What a clock has shown to roles that somebody has, with those roles."""
    return [
        (
            clock.escalates_to & _roles(somebody),
            and_(Case.machine == machine.name, Case.clock == clock.name, Case.escalated_at.is_not(None)),
        )
        for clock in machine.clocks
        if clock.escalates_to & _roles(somebody)
    ]


def _concerns(step: Step, somebody: Person) -> bool:
    """Whether *somebody* could ever take *step*."""
    if not step.is_work:
        return False
    return bool(step.roles & _roles(somebody)) or ((step.is_own or step.is_about) and not step.roles)


def _turn(step: Step, somebody: Person) -> ColumnElement[bool]:
    """The case is where *step* begins, and *somebody*'s part in it does not stand against it."""
    parts: list[ColumnElement[bool]] = [Case.state.in_(step.sources)]
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


def _roles(somebody: Person) -> frozenset[Role]:
    return frozenset(grant.role for grant in somebody.grants)
