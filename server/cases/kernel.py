"""Moves cases along their machines: each step checked, chained, audited and told of in one transaction.

    case = open_case(writing, machine, by=person(), at=now, title="...", place=Place(path, venue_id))
    take(writing, case.id, "acknowledge", by=person(), at=now, version=case.version)

Two people deciding at once: the write is a compare-and-set on `Case.version`, so exactly one wins, and the other gets
`Overtaken` with the entry that came first. Rows elsewhere that follow a case (a code, a kiosk, a query) are changed by
the step's `effect`, in the same transaction.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import g, has_request_context
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from config.errors import GatehouseError
from config.server import ServerSettings
from server.accounts.rights import Person, Place
from server.accounts.roles import Role
from server.audit import SYSTEM, Thing, audit
from server.cases import deadline
from server.cases.deadline import QuietHours
from server.cases.machine import ABOUT, OPENED, Attempt, Clock, Machine, Step
from server.cases.models import (
    GENESIS,
    REASON_CHARACTERS,
    SALT_BYTES,
    Case,
    CaseEntry,
    CaseNote,
    CasePlace,
    digest_of,
)
from server.cases.registry import machine_of
from server.context import house
from server.db import lock_chain

# Entries that move nothing; a step's name never begins with a plus.
ASSIGNED, REMARKED, HELD, RESUMED, ESCALATED = "+assigned", "+remarked", "+held", "+resumed", "+escalated"
ERASED = "+erased"

COMMAND = "command"  # `take(by=COMMAND)`: the operator of the server itself, at its command line; no role is asked


class CaseError(GatehouseError):
    """A step that was not taken; the message is one of the catalogue."""

    code = "case"


class NotPossible(CaseError):
    """The case's state has no such step, or a guard does not hold."""

    code = "case_not_possible"


class NotAllowed(CaseError):
    """Somebody's role, place or part in this case does not allow it."""

    code = "case_not_allowed"


class Overtaken(CaseError):
    """Somebody else was first. `first` is the newest entry."""

    code = "case_overtaken"

    def __init__(self, first: CaseEntry) -> None:
        super().__init__("Somebody else was first.", hint="Look at what they did before you go on.")
        self.first = first


# --- what may be done ---------------------------------------------------------------------------------------------


def places_of(reading: Session, case: Case) -> list[Place]:
    """Where *case* lies; one place for most."""
    if not case.is_spread:
        return [Place(case.area_path, case.venue_id)]
    rows = reading.scalars(select(CasePlace).where(CasePlace.case_id == case.id).order_by(CasePlace.number))
    return [Place(row.area_path, row.venue_id) for row in rows]


def holds_role(reading: Session, case: Case, somebody: Person, roles: frozenset[Role]) -> bool:
    """Whether *somebody* has one of *roles* at every place of *case*."""
    fitting = [grant for grant in somebody.grants if grant.role in roles]
    places = places_of(reading, case)
    return bool(fitting) and bool(places) and all(any(g.covers(place) for g in fitting) for place in places)


def is_own(case: Case, somebody: Person) -> bool:
    """Whether *somebody* opened *case*, or it is about them."""
    return somebody.id in {case.opened_by, case.person_id}


def may_see(reading: Session, case: Case, somebody: Person) -> bool:
    """Whether *case* exists for *somebody*: as a reader, as who it was assigned or escalated to, or as their own."""
    machine = machine_of(case.machine)
    if is_own(case, somebody) or case.assignee_id == somebody.id:
        return True
    return holds_role(reading, case, somebody, machine.readers_in(case.state) | roles_escalated_to(case))


def roles_escalated_to(case: Case) -> frozenset[Role]:
    """The roles that a clock has called in for this state."""
    return frozenset(Role(name) for name in case.escalated_to.split())


def refusal(attempt: Attempt) -> CaseError | None:
    """Why *attempt* cannot be made, or None. Steps:

    (1) the state has this step, (2) the role reaches the case, (3) it is theirs to do, (4) duties are separate,
    (5) the guards hold; those that need the form's values only when there are values.
    """
    case, step, somebody = attempt.case, attempt.step, attempt.person
    if case.state not in step.sources:  # (1)
        return NotPossible("This is not possible in the state the case is in.")
    if somebody is None:
        if (step.roles or step.is_own or step.is_about) and attempt.actor != COMMAND:
            return NotAllowed("A person has to decide this.")
    else:
        problem = _not_theirs(attempt.database, case, step, somebody)
        if problem is not None:
            return problem
    for guard in step.guards:  # (5)
        if (attempt.values or attempt.reason or not guard.needs_values) and not guard.holds(attempt):
            return NotPossible(guard.sentence)
    return None


def refusal_of(reading: Session, case: Case, step: Step, somebody: Person, at: datetime) -> CaseError | None:
    """Why *somebody* cannot take *step* at *at*, before any form is filled in; or None."""
    return refusal(_attempt(reading, case, step, somebody, at))


def _not_theirs(reading: Session, case: Case, step: Step, somebody: Person) -> NotAllowed | None:
    if step.is_own or step.is_about:  # (2)
        if somebody.id != case.person_id and (step.is_about or somebody.id != case.opened_by):
            return NotAllowed("Only the person whose case it is may do this.")
        if step.roles and not any(grant.role in step.roles for grant in somebody.grants):
            return NotAllowed("Your role may not do this here.")
    elif not holds_role(reading, case, somebody, step.roles):
        return NotAllowed("Your role may not do this here.")
    if step.by_assignee and case.assignee_id not in {None, somebody.id}:  # (3)
        if not holds_role(reading, case, somebody, machine_of(case.machine).assigns):
            return NotAllowed("This case is assigned to somebody else.")
    if set(step.apart_from) & _parts(reading, case, somebody):  # (4)
        return NotAllowed("You had another part in this case, so somebody else has to decide it.")
    return None


def _parts(reading: Session, case: Case, somebody: Person) -> set[str]:
    """What *somebody* did in *case* so far, as names for `Step.apart_from`."""
    parts = set(
        reading.scalars(select(CaseEntry.step).where(CaseEntry.case_id == case.id, CaseEntry.actor == somebody.id))
    )
    if somebody.id == case.opened_by:
        parts.add(OPENED)
    if somebody.id == case.person_id:
        parts.add(ABOUT)
    return parts


@dataclass(frozen=True, slots=True)
class Choice:
    """One step that somebody sees on a case: possible, or visible with the reason why not."""

    step: Step
    problem: str = ""  # "": it can be taken


def choices(reading: Session, case: Case, somebody: Person, at: datetime) -> list[Choice]:
    """The steps *somebody* can take now, and those that only a guard stands against; others are not theirs to see."""
    found = []
    for step in machine_of(case.machine).steps_from(case.state):
        problem = refusal_of(reading, case, step, somebody, at)
        if problem is None or isinstance(problem, NotPossible):
            found.append(Choice(step, problem.message if problem else ""))
    return found


def may_assign(reading: Session, case: Case, somebody: Person) -> bool:
    """Whether *somebody* may assign *case*, hold its clock and resume it."""
    machine = machine_of(case.machine)
    return not machine.state(case.state).is_final and holds_role(reading, case, somebody, machine.assigns)


def acting() -> Person | str:
    """Who acts now: the signed-in person, or the operator at the command line."""
    somebody: Person | None = g.get("person") if has_request_context() else None
    return somebody or COMMAND


# --- moving -------------------------------------------------------------------------------------------------------


def case_about(
    writing: Session,
    machine: Machine,
    key: str,
    *,
    state: str,
    at: datetime,
    title: str,
    place: Place | Sequence[Place],
    facts: Mapping[str, Any] | None = None,
    opened_by: str = SYSTEM,
) -> Case:
    """The case about a row elsewhere; one that is older than its case begins in *state*, the row's own."""
    lock_chain(writing, f"case {machine.name} {key}")
    case = find(writing, machine.name, key)
    if case is None:
        case = open_case(
            writing, machine, by=opened_by, at=at, title=title, place=place, facts=facts, state=state, key=key
        )
    return case


def open_case(
    writing: Session,
    machine: Machine,
    *,
    by: Person | str,
    at: datetime,
    title: str,
    place: Place | Sequence[Place],
    facts: Mapping[str, Any] | None = None,
    reason: str = "",
    state: str = "",
    key: str | None = None,
    person_id: str | None = None,
    due_at: datetime | None = None,
) -> Case:
    """A new case in *state* (default: the machine's first), with its first entry. The caller has checked who may.

    *facts* are JSON values. With several places the case lies in the smallest area that holds them, and whoever
    decides must reach each one. Raises CaseError when *key* has a case already.
    """
    places = [place] if isinstance(place, Place) else list(place)
    state = state or machine.initial[0]
    if key is not None and find(writing, machine.name, key) is not None:
        raise CaseError("There is a case for this already.")
    case = Case(
        machine=machine.name,
        state=state,
        version=0,
        head=GENESIS,
        title=title[:200],
        area_path=common_path([p.area_path for p in places]),
        venue_id=places[0].venue_id if len(places) == 1 else None,
        is_spread=len(places) > 1,
        key=key,
        person_id=person_id,
        opened_by=by if isinstance(by, str) else by.id,
        opened_at=at,
        entered_at=at,
        facts=dict(facts or {}),
    )
    machine.state(state)
    writing.add(case)
    writing.flush()
    if case.is_spread:
        writing.add_all(
            CasePlace(case_id=case.id, number=n, area_path=p.area_path, venue_id=p.venue_id)
            for n, p in enumerate(places)
        )
    _set_clock(case, machine, at, due_at)
    if machine.state(state).is_final:
        case.closed_at = at
    _append(writing, case, OPENED, "", case.opened_by, at, reason, case.facts)
    return case


def take(
    writing: Session,
    case_id: str,
    step_name: str,
    *,
    by: Person | str,
    at: datetime,
    reason: str = "",
    values: Mapping[str, Any] | None = None,
    version: int | None = None,
) -> Case:
    """Take a step; *by* is a person, COMMAND, or "system" or "kiosk:HEX" for steps that no role may take.

    *version* is what the page was drawn from: when the case has moved since, Overtaken tells who was first.
    Raises NotPossible, NotAllowed or Overtaken, and LookupError for a case or step that does not exist.
    """
    case = locked(writing, case_id)
    machine = machine_of(case.machine)
    step = machine.step(step_name)
    if version is not None and version != case.version:
        raise _overtaken(writing, case)
    values = dict(values or {})
    somebody = None if isinstance(by, str) else by
    attempt = _attempt(writing, case, step, somebody, at, actor=by if isinstance(by, str) else by.id)
    attempt = Attempt(**{**_fields_of(attempt), "reason": reason.strip(), "values": values})
    problem = refusal(attempt)
    if problem is None and step.needs_reason and not attempt.reason:
        problem = NotPossible("Please say why.")
    if problem is not None:
        raise problem
    source, case.state = case.state, step.target
    case.entered_at = at
    case.facts = {**case.facts, **values}
    due_at = datetime.fromisoformat(str(values[step.due_from])) if step.due_from and values.get(step.due_from) else None
    if machine.state(step.target).is_final:
        case.closed_at = at
    if step.effect is not None:  # before the clock is set: it may need what the effect found out
        step.effect(attempt)
    _set_clock(case, machine, at, due_at)
    entry = _append(writing, case, step.name, source, attempt.actor, at, attempt.reason, values)
    _tell(writing, case, entry, step.tells)
    return case


def assign(writing: Session, case_id: str, to: Person, *, by: Person, at: datetime, version: int | None = None) -> Case:
    """Make *to* the one who works on the case. Raises NotAllowed when either may not, and Overtaken."""
    case = locked(writing, case_id)
    machine = machine_of(case.machine)
    if version is not None and version != case.version:
        raise _overtaken(writing, case)
    takes_itself = to.id == by.id and case.assignee_id is None
    if not may_assign(writing, case, by) and not takes_itself:
        raise NotAllowed("Your role may not do this here.")
    if not machine.assignees or not holds_role(writing, case, to, machine.assignees):
        raise NotAllowed("This person has no role that works on it here.")
    case.assignee_id = to.id
    entry = _append(writing, case, ASSIGNED, case.state, by.id, at, "", {"assignee": to.id})
    if to.id != by.id:
        _tell(writing, case, entry, ("assignee",))
    return case


def remark(writing: Session, case_id: str, *, by: Person, at: datetime, reason: str) -> Case:
    """Write a remark into the history; nothing moves. Raises NotAllowed for somebody who may not see the case."""
    case = locked(writing, case_id)
    if not may_see(writing, case, by):
        raise NotAllowed("Your role may not do this here.")
    if not reason.strip():
        raise NotPossible("Please say why.")
    _append(writing, case, REMARKED, case.state, by.id, at, reason.strip(), {})
    return case


def hold_clock(writing: Session, case_id: str, *, by: Person, at: datetime, reason: str) -> Case:
    """Let the clock stand still until `resume_clock`. Raises NotAllowed, or NotPossible when no clock runs."""
    case = locked(writing, case_id)
    if not may_assign(writing, case, by):
        raise NotAllowed("Your role may not do this here.")
    clock = machine_of(case.machine).clock_in(case.state)
    if clock is None or case.due_at is None or case.held_at is not None:
        raise NotPossible("No deadline runs here.")
    if not reason.strip():
        raise NotPossible("Please say why.")
    case.remaining_s = _seconds(deadline.counted(at, case.due_at, quiet_hours(clock)))
    case.due_at, case.held_at = None, at
    _append(writing, case, HELD, case.state, by.id, at, reason.strip(), {})
    return case


def resume_clock(writing: Session, case_id: str, *, by: Person, at: datetime) -> Case:
    """Let the clock run on with what was left. Raises NotAllowed, or NotPossible when nobody held it."""
    case = locked(writing, case_id)
    if not may_assign(writing, case, by):
        raise NotAllowed("Your role may not do this here.")
    clock = machine_of(case.machine).clock_in(case.state)
    if clock is None or case.held_at is None or case.remaining_s is None:
        raise NotPossible("No deadline stands still here.")
    case.held_at = None
    if case.state in clock.runs_in:
        case.due_at = deadline.add(at, timedelta(seconds=case.remaining_s), quiet_hours(clock))
        case.remaining_s = None
    _append(writing, case, RESUMED, case.state, by.id, at, "", {})
    return case


def escalate(writing: Session, case: Case, clock: Clock, at: datetime) -> None:
    """Call in the roles that *clock* escalates to; the worker does it once for each running of a clock."""
    case.escalated_at = at
    case.escalated_to = " ".join(sorted(role.value for role in clock.escalates_to))
    entry = _append(writing, case, ESCALATED, case.state, SYSTEM, at, "", {"clock": clock.name})
    _tell(writing, case, entry, ("assignee",))


def erase_words(writing: Session, case: Case, *, at: datetime, why: str) -> None:
    """Forget what people wrote in a closed case; who did what when stays, and the chain still holds."""
    if case.closed_at is None:
        raise NotPossible("An open case keeps its words.")
    writing.execute(update(CaseEntry).where(CaseEntry.case_id == case.id).values(words=None, salt=None))
    writing.expire_all()
    case.facts = {}
    _append(writing, case, ERASED, case.state, SYSTEM, at, why, {})


# --- looking ------------------------------------------------------------------------------------------------------


def find(reading: Session, machine: str, key: str) -> Case | None:
    """The case of *machine* about *key*, or None."""
    return reading.scalar(select(Case).where(Case.machine == machine, Case.key == key))


def locked(writing: Session, case_id: str) -> Case:
    """The case as it is now, and nobody else's until the transaction ends. Raises LookupError."""
    case = writing.scalar(
        select(Case).where(Case.id == case_id).with_for_update(of=Case).execution_options(populate_existing=True)
    )
    if case is None:
        raise LookupError(f"there is no case {case_id}")
    return case


def newest_entry(reading: Session, case: Case) -> CaseEntry:
    """The newest entry of *case*."""
    return reading.scalars(
        select(CaseEntry).where(CaseEntry.case_id == case.id).order_by(CaseEntry.sequence.desc()).limit(1)
    ).one()


def entries_of(reading: Session, case: Case) -> list[CaseEntry]:
    """The whole history, oldest first."""
    return list(reading.scalars(select(CaseEntry).where(CaseEntry.case_id == case.id).order_by(CaseEntry.sequence)))


def first_break(case: Case, entries: Iterable[CaseEntry]) -> int | None:
    """The number of the first entry that does not fit the chain, or None when the whole case holds.

    A case whose row tells of another state, count or head than its newest entry breaks at the entry after it.
    """
    previous, expected, state = GENESIS, 1, ""
    for entry in entries:
        fits = entry.sequence == expected and entry.previous_hash == previous and entry.source == state
        if not fits or entry.hash != entry.computed_hash() or not entry.words_fit():
            return expected
        previous, expected, state = entry.hash, expected + 1, entry.target
    if (case.version, case.head, case.state) != (expected - 1, previous, state):
        return expected
    return None


def common_path(paths: Sequence[str]) -> str:
    """The smallest area that holds all of *paths*."""
    common = []
    for level in zip(*(path.rstrip("/").split("/") for path in paths), strict=False):
        if len(set(level)) > 1:
            break
        common.append(level[0])
    return "".join(f"{code}/" for code in common if code)


def quiet_hours(clock: Clock) -> QuietHours | None:
    """The hours in which *clock* stands still anyway."""
    settings = house().settings
    if not clock.quiet:
        return None
    return QuietHours(settings.cases.quiet_from_time, settings.cases.quiet_to_time, settings.zone)


# --- inside -------------------------------------------------------------------------------------------------------


def _overtaken(writing: Session, case: Case) -> Overtaken:
    first = newest_entry(writing, case)
    writing.expunge(first)  # it has to outlive the transaction, which is rolled back now
    return Overtaken(first)


def _attempt(
    database: Session, case: Case, step: Step, somebody: Person | None, at: datetime, *, actor: str = ""
) -> Attempt:
    return Attempt(database, case, step, somebody, actor or (somebody.id if somebody else SYSTEM), at, _settings())


def _fields_of(attempt: Attempt) -> dict[str, Any]:
    return {name: getattr(attempt, name) for name in Attempt.__slots__}


def _settings() -> ServerSettings:
    return house().settings


def _set_clock(case: Case, machine: Machine, at: datetime, due_at: datetime | None) -> None:
    """Start, stop, hold or go on with the case's clock, by the state it is in now."""
    clock = machine.clock_in(case.state)
    if clock is None:
        case.clock, case.clock_since, case.due_at, case.remaining_s, case.held_at = "", None, None, None, None
        case.escalated_at, case.escalated_to = None, ""
        return
    quiet = quiet_hours(clock)
    if case.clock != clock.name or due_at is not None:
        case.clock, case.clock_since, case.held_at, case.remaining_s = clock.name, at, None, None
        case.escalated_at, case.escalated_to = None, ""
        case.due_at = due_at.astimezone(UTC) if due_at is not None else _due(clock, case, at, quiet)
    if case.state in clock.stands_in:
        if case.due_at is not None:
            case.remaining_s, case.due_at = _seconds(deadline.counted(at, case.due_at, quiet)), None
    elif case.remaining_s is not None and case.held_at is None:
        case.due_at, case.remaining_s = deadline.add(at, timedelta(seconds=case.remaining_s), quiet), None


def _due(clock: Clock, case: Case, at: datetime, quiet: QuietHours | None) -> datetime | None:
    if clock.until is not None:
        return clock.until(case, _settings())
    assert clock.after is not None  # the machine was checked
    return deadline.add(at, clock.after(_settings()), quiet)


def _seconds(span: timedelta) -> int:
    return int(span.total_seconds())


def _append(
    writing: Session,
    case: Case,
    step: str,
    source: str,
    actor: str,
    at: datetime,
    reason: str,
    values: Mapping[str, Any],
) -> CaseEntry:
    """Chain one entry on, by compare-and-set on the case's version; audit it."""
    writing.flush()
    salt = secrets.token_bytes(SALT_BYTES)
    words = json.dumps(
        {"reason": reason[:REASON_CHARACTERS], "values": dict(values)},
        ensure_ascii=False,
        separators=(",", ":"),
        sort_keys=True,
    )
    entry = CaseEntry(
        case_id=case.id,
        sequence=case.version + 1,
        at=at.astimezone(UTC),
        actor=actor,
        step=step,
        source=source,
        target=case.state,
        words_digest=digest_of(salt, words),
        previous_hash=case.head,
        salt=salt,
        words=words,
    )
    entry.hash = entry.computed_hash()
    changed = writing.execute(
        update(Case)
        .where(Case.id == case.id, Case.version == case.version)
        .values(version=entry.sequence, head=entry.hash)
        .execution_options(synchronize_session=False)
    )
    if getattr(changed, "rowcount", 0) != 1:
        raise _overtaken(writing, case)
    case.version, case.head = entry.sequence, entry.hash
    writing.add(entry)
    writing.flush()
    machine = machine_of(case.machine)
    if machine.key_is_subject and (step == OPENED or (not step.startswith("+") and machine.step(step).is_elsewhere)):
        return entry  # the subject's own room writes its own line: "query.approved"
    # the trail keeps the entry's hash: a case that is cut or removed as a whole shows there
    mark = f"{case.machine}: {source or '-'} > {case.state} #{entry.sequence} {entry.hash.hex()[:16]}"
    action = {OPENED: "case.opened"}.get(step, f"case.{step[1:]}" if step.startswith("+") else "case.step")
    audit(writing, action, Thing("case", case.id, case.area_path), mark, actor=actor, at=at)
    return entry


def _tell(writing: Session, case: Case, entry: CaseEntry, who: Iterable[str]) -> None:
    """Leave a note for each of *who* but the actor."""
    people = {"opener": case.opened_by, "about": case.person_id, "assignee": case.assignee_id}
    told = {people[name] for name in who} - {None, entry.actor, SYSTEM}
    for user_id in sorted(name for name in told if name is not None and ":" not in name):
        writing.add(CaseNote(user_id=user_id, case_id=case.id, sequence=entry.sequence, at=entry.at, read_at=None))
