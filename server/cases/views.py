"""Pages of cases, the same for every workflow: the inbox, lists, one case, opening one, the export."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any

from flask import Blueprint, Response, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from sqlalchemy import Select, and_, or_, select, update
from sqlalchemy.orm import Session, joinedload

from server.accounts.models import RoleAssignment, User
from server.accounts.rights import Person, Place, Reach, person, person_of
from server.accounts.roles import ROLE_NAMES
from server.areas.models import Area
from server.audit import Thing, audit
from server.cases import deadline
from server.cases.forms import form_class, shown_facts, values_of
from server.cases.inbox import how_many, unread, visible_to, waiting
from server.cases.kernel import (
    ASSIGNED,
    ERASED,
    ESCALATED,
    HELD,
    REMARKED,
    RESUMED,
    CaseError,
    NotAllowed,
    Overtaken,
    assign,
    choices,
    entries_of,
    find,
    first_break,
    hold_clock,
    holds_role,
    may_assign,
    may_see,
    open_case,
    quiet_hours,
    refusal_of,
    remark,
    resume_clock,
    roles_escalated_to,
    take,
)
from server.cases.machine import OPENED, Field, Machine, Step
from server.cases.models import Case, CaseEntry, CaseNote
from server.cases.registry import machine_of, machines
from server.cases.sheets import cell
from server.console.board import Line, decisions
from server.context import house
from server.db import session
from server.venues.models import Venue
from server.web.access import signed_in
from server.web.language import chinese, tell
from server.web.pages import PAGE_ROWS, Page, page_of

blueprint = Blueprint("cases", __name__, url_prefix="/cases")

NOTES_SHOWN = 10
PLACES_SHOWN = 20
MOST_EXPORTED = 10_000
ASSIGNEES_SHOWN = 100

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


@dataclass(frozen=True, slots=True)
class Row:
    """One case in a list."""

    case: Case
    machine: Machine
    due: Due
    opener: str


@dataclass(frozen=True, slots=True)
class Told:
    """One entry of the history as the page shows it."""

    entry: CaseEntry
    who: str
    what: str
    facts: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Offer:
    """One step with its form, or with the reason why not."""

    step: Step
    form: FlaskForm
    problem: str
    is_tried: bool


# --- lists --------------------------------------------------------------------------------------------------------


@blueprint.get("/inbox")
@signed_in
def inbox() -> ResponseReturnValue:
    """What needs the signed-in person's decision, the oldest deadline first; and what they were told."""
    reading, somebody = session(), person()
    wanted = request.args.get("machine", "")
    wanted = wanted if wanted in machines() else ""
    rows = waiting(reading, somebody, limit=PAGE_ROWS + 1, machine=wanted, after=request.args.get("after", ""))
    cut = page_of(rows, lambda case: case.id)
    return render_template(
        "cases/inbox.html",
        page=Page(_rows(reading, cut.rows), cut.next_after),
        notes=unread(reading, somebody, NOTES_SHOWN),
        wanted=wanted,
        machines=_seen_by(somebody),
        machine_of=machine_of,
        entry_name=_entry_name,
        at=house().now(),
    )


@blueprint.post("/notes/read")
@signed_in
def read_notes() -> ResponseReturnValue:
    """The signed-in person has seen what they were told."""
    now = house().now()
    session().execute(
        update(CaseNote).where(CaseNote.user_id == person().id, CaseNote.read_at.is_(None)).values(read_at=now)
    )
    session().commit()
    return redirect(url_for("cases.inbox"), 303)


@blueprint.get("/<machine_name>/")
@signed_in
def index(machine_name: str) -> ResponseReturnValue:
    """The cases of one workflow that the signed-in person may see, newest first, filtered."""
    machine, somebody, reading = _machine(machine_name), person(), session()
    rows = _listed(machine, somebody).options(joinedload(Case.venue), joinedload(Case.assignee))
    last = reading.get(Case, request.args.get("after", ""))
    if last is not None:
        rows = rows.where(
            or_(Case.opened_at < last.opened_at, and_(Case.opened_at == last.opened_at, Case.id < last.id))
        )
    found = reading.scalars(rows.order_by(Case.opened_at.desc(), Case.id.desc()).limit(PAGE_ROWS + 1)).all()
    cut = page_of(found, lambda case: case.id)
    return render_template(
        "cases/index.html",
        machine=machine,
        machines=_seen_by(somebody),
        page=Page(_rows(reading, cut.rows), cut.next_after),
        filters={name: request.args.get(name, "") for name in ("state", "due", "mine", "q")},
        may_open=_may_open(machine, somebody),
        at=house().now(),
    )


@blueprint.post("/<machine_name>/export")
@signed_in
def export(machine_name: str) -> ResponseReturnValue:
    """The list as CSV, with the page's filters; itself on record. No personal columns, no formulas."""
    machine, somebody, now = _machine(machine_name), person(), house().now()
    rows = session().scalars(
        _listed(machine, somebody)
        .options(joinedload(Case.venue), joinedload(Case.assignee))
        .order_by(Case.opened_at, Case.id)
        .limit(MOST_EXPORTED)
    )
    found = _rows(session(), rows.all())
    used = {name: request.args.get(name, "") for name in ("state", "due", "mine", "q") if request.args.get(name)}
    zone = house().settings.zone
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    head = f"{machine.name} · {now.astimezone(zone):%Y-%m-%d %H:%M} {house().settings.time_zone} · {used or 'all'}"
    writer.writerow([cell(head)])
    fields = [field for field in _all_fields(machine) if not field.is_personal]
    columns = ("Case", "Title", "State", "Area", "Venue", "Opened", "Opened by", "Assigned to", "Due", "Closed")
    writer.writerow([cell(text) for text in (*columns, *(field.label for field in fields))])
    for row in found:
        case = row.case
        facts = dict(shown_facts(fields, case.facts))
        venue = case.venue.name_zh if case.venue else ""
        times = [_local(at) for at in (case.opened_at, case.due_at, case.closed_at)]
        assignee = case.assignee.display_name if case.assignee else ""
        state = machine.state(case.state).label
        plain = (case.id, case.title, state, case.area_path, venue, times[0], row.opener, assignee, times[1], times[2])
        writer.writerow([cell(text) for text in (*plain, *(facts.get(field.label, "") for field in fields))])
    audit(session(), "case.exported", Thing("machine", machine.name), f"{len(found)} cases, filter {used or 'none'}")
    session().commit()
    answer = Response("\ufeff" + out.getvalue(), mimetype="text/csv")
    answer.headers["Content-Disposition"] = f'attachment; filename="{machine.name}-{now:%Y%m%d-%H%M}.csv"'
    return answer


# --- opening ------------------------------------------------------------------------------------------------------


@blueprint.get("/<machine_name>/new")
@signed_in
def new(machine_name: str) -> ResponseReturnValue:
    """The form for a new case; first the place, unless the address names it."""
    machine = _opened_by_form(machine_name)
    return _new_page(machine, _form_of(machine.form)(formdata=None))


@blueprint.post("/<machine_name>/new")
@signed_in
def create(machine_name: str) -> ResponseReturnValue:
    """Open a case."""
    machine = _opened_by_form(machine_name)
    form = _form_of(machine.form)()
    place, name = _chosen_place(machine, person(), request.form)
    if place is None or not form.validate_on_submit():
        return _new_page(machine, form, "Choose the place first." if place is None else ""), 422
    values = values_of(form, machine.form)
    person_id, problem = _person_in(machine, values, place)
    if problem:
        return _new_page(machine, form, problem), 422
    key = person_id if machine.one_per_person else None
    if key is not None and find(session(), machine.name, key) is not None:
        return _new_page(machine, form, "There is a case for this already."), 422
    words = dict(shown_facts(machine.form, values))
    named = next((words[f.label] for f in machine.form if f.name == machine.title_from and f.label in words), "")
    case = open_case(
        session(),
        machine,
        by=person(),
        at=house().now(),
        title=" · ".join(part for part in (name, named) if part) or chinese(machine.label),
        place=place,
        facts=values,
        key=key,
        person_id=person_id,
    )
    session().commit()
    tell("Noted. You find it in the list, with everything that is done about it.")
    return redirect(url_for("cases.show", case_id=case.id), 303)


# --- one case -----------------------------------------------------------------------------------------------------


@blueprint.get("/case/<case_id>")
@signed_in
def show(case_id: str) -> ResponseReturnValue:
    """One case: where it stands, what can be done, who did what when and why, and whether its chain holds."""
    return _case_page(_find(session(), case_id))


@blueprint.post("/case/<case_id>/steps/<step_name>")
@signed_in
def step(case_id: str, step_name: str) -> ResponseReturnValue:
    """Take a step. When somebody else was first, the page says who, and nothing was done."""
    case = _find(session(), case_id)
    try:
        taken = machine_of(case.machine).step(step_name)
    except LookupError:
        abort(404)
    if taken.is_elsewhere:
        abort(404)
    form = _form_of(taken.fields, reason=True)()
    valid = form.validate_on_submit()
    problem = refusal_of(session(), case, taken, person(), house().now())
    if isinstance(problem, NotAllowed):  # before the form: who may not is not told what it wants
        abort(403)
    version = _version()
    if version == case.version and not valid:
        return _case_page(case, tried=(step_name, form)), 422
    try:
        case = take(
            session(),
            case_id,
            step_name,
            by=person(),
            at=house().now(),
            reason=form.reason.data or "",
            values=values_of(form, taken.fields) if valid else {},
            version=version,
        )
    except Overtaken as error:
        return _after(case_id, first=error.first), 409
    except CaseError as error:
        return _after(case_id, tried=(step_name, form), problem=error.message), 422
    session().commit()
    tell("It was done, and stands in the history.")
    if may_see(session(), case, person()):
        return redirect(url_for("cases.show", case_id=case_id), 303)
    return redirect(url_for("cases.inbox"), 303)


@blueprint.post("/case/<case_id>/remarks")
@signed_in
def add_remark(case_id: str) -> ResponseReturnValue:
    """Write a remark into the history."""
    return _small_act(case_id, lambda now, reason: remark(session(), case_id, by=person(), at=now, reason=reason))


@blueprint.post("/case/<case_id>/hold")
@signed_in
def hold(case_id: str) -> ResponseReturnValue:
    """Let the deadline stand still."""
    return _small_act(case_id, lambda now, reason: hold_clock(session(), case_id, by=person(), at=now, reason=reason))


@blueprint.post("/case/<case_id>/resume")
@signed_in
def resume(case_id: str) -> ResponseReturnValue:
    """Let the deadline run on."""
    return _small_act(case_id, lambda now, _reason: resume_clock(session(), case_id, by=person(), at=now))


@blueprint.post("/case/<case_id>/assignee")
@signed_in
def set_assignee(case_id: str) -> ResponseReturnValue:
    """Assign the case to somebody who works on such cases here."""
    case = _find(session(), case_id)
    user = session().get(User, request.form.get("assignee", ""))
    if user is None or not user.is_active:
        return _after(case_id, problem="Choose who is to work on it."), 422
    to = person_of(session(), user)
    version = _version()
    return _small_act(
        case.id, lambda now, _reason: assign(session(), case_id, to, by=person(), at=now, version=version)
    )


@decisions
def _waiting_cases(reading: Session, somebody: Person) -> Iterable[Line]:
    """The inbox's count on the console's first page."""
    count, oldest = how_many(reading, somebody)
    is_over = oldest is not None and oldest <= house().now()
    label = "Cases that wait for you, some overdue" if is_over else "Cases that wait for you"
    yield Line(label, count, url_for("cases.inbox"), None, "bad" if is_over else "wait")


# --- inside -------------------------------------------------------------------------------------------------------


def _find(reading: Session, case_id: str) -> Case:
    """The case, if it exists for the signed-in person; else 404."""
    case = reading.scalar(
        select(Case)
        .where(Case.id == case_id)
        .options(joinedload(Case.venue), joinedload(Case.assignee), joinedload(Case.about))
    )
    if case is None or case.machine not in machines() or not may_see(reading, case, person()):
        abort(404)
    return case


def _machine(name: str) -> Machine:
    """The workflow, if the signed-in person could ever see one of its cases; else 404."""
    if name not in machines() or machines()[name] not in _seen_by(person()):
        abort(404)
    return machines()[name]


def _opened_by_form(name: str) -> Machine:
    machine = _machine(name)
    if not _may_open(machine, person()):
        abort(403)
    return machine


def _may_open(machine: Machine, somebody: Person) -> bool:
    return bool(machine.form) and any(grant.role in machine.opens for grant in somebody.grants)


def _seen_by(somebody: Person) -> list[Machine]:
    """The workflows that *somebody* has to do with."""
    roles = {grant.role for grant in somebody.grants}
    return [m for m in machines().values() if roles & _everybody_in(m)]


def _everybody_in(machine: Machine) -> frozenset[Any]:
    narrower = (state.readers or frozenset() for state in machine.states)
    return machine.readers.union(machine.opens, *narrower, *(step.roles for step in machine.steps))


def _listed(machine: Machine, somebody: Person) -> Select[Case]:
    """The cases of the list, with the address's filters."""
    rows = select(Case).where(visible_to(somebody, machine.name))
    state = request.args.get("state", "")
    if state in {one.name for one in machine.states}:
        rows = rows.where(Case.state == state)
    elif state == "open":
        rows = rows.where(Case.closed_at.is_(None))
    if request.args.get("due") == "over":
        rows = rows.where(Case.due_at <= house().now())
    if request.args.get("mine"):
        rows = rows.where(or_(Case.assignee_id == somebody.id, Case.opened_by == somebody.id))
    words = request.args.get("q", "").strip()[:80]
    if words:
        rows = rows.where(Case.title.icontains(words, autoescape=True))
    return rows


def _rows(reading: Session, cases: Sequence[Case]) -> list[Row]:
    names = _names(reading, {case.opened_by for case in cases})
    return [
        Row(case, machine_of(case.machine), _due(case), names.get(case.opened_by, case.opened_by)) for case in cases
    ]


def _names(reading: Session, ids: Iterable[str]) -> dict[str, str]:
    """Display names of the users among *ids*."""
    rows = reading.execute(select(User.id, User.display_name).where(User.id.in_(set(ids))))
    return {user_id: name for user_id, name in rows}


def _due(case: Case) -> Due:
    now = house().now()
    clock = machine_of(case.machine).clock_in(case.state)
    raw = counted = None
    if clock is not None and case.clock_since is not None:
        raw = int((now - case.clock_since).total_seconds())
        counted = int(deadline.counted(case.clock_since, now, quiet_hours(clock)).total_seconds())
    is_over = case.due_at is not None and case.due_at <= now
    return Due(case.due_at, is_over, case.held_at is not None, case.remaining_s, raw, counted)


def _form_of(fields: Sequence[Field], *, reason: bool = False) -> type[FlaskForm]:
    asked = (*fields, Field("reason", "Reason", "long", required=False, max_length=1000)) if reason else fields
    return form_class(asked)


def _version() -> int:
    given = request.form.get("version", "")
    if not (given.isascii() and given.isdigit() and len(given) < 10):
        abort(400)
    return int(given)


def _small_act(case_id: str, act: Callable[[datetime, str], Case]) -> ResponseReturnValue:
    _find(session(), case_id)
    try:
        act(house().now(), request.form.get("reason", "")[:1000])
    except Overtaken as error:
        return _after(case_id, first=error.first), 409
    except NotAllowed:
        abort(403)
    except CaseError as error:
        return _after(case_id, problem=error.message), 422
    session().commit()
    return redirect(url_for("cases.show", case_id=case_id), 303)


def _after(
    case_id: str,
    *,
    first: CaseEntry | None = None,
    tried: tuple[str, FlaskForm] | None = None,
    problem: str = "",
) -> str:
    """The case as it is now, after a try that changed nothing."""
    session().rollback()
    session().expire_all()
    return _case_page(_find(session(), case_id), first=first, tried=tried, problem=problem)


def _case_page(
    case: Case,
    *,
    first: CaseEntry | None = None,
    tried: tuple[str, FlaskForm] | None = None,
    problem: str = "",
) -> str:
    reading, somebody, machine = session(), person(), machine_of(case.machine)
    entries = entries_of(reading, case)
    names = _names(reading, {entry.actor for entry in entries} | {str(e.values.get("assignee")) for e in entries})
    offers = []
    for choice in choices(reading, case, somebody, house().now()):
        is_tried = tried is not None and tried[0] == choice.step.name and first is None
        form = tried[1] if is_tried and tried else _form_of(choice.step.fields, reason=True)(formdata=None)
        if choice.step.needs_reason:
            form.reason.flags.required = True
        offers.append(Offer(choice.step, form, choice.problem, is_tried))
    assigns = may_assign(reading, case, somebody)
    return render_template(
        "cases/show.html",
        case=case,
        machine=machine,
        state=machine.state(case.state),
        due=_due(case),
        facts=shown_facts(_all_fields(machine), case.facts),
        told=[_told(machine, entry, names) for entry in entries],
        broken_at=first_break(case, entries),
        offers=[offer for offer in offers if not offer.step.is_elsewhere],
        elsewhere=[offer for offer in offers if offer.step.is_elsewhere],
        own_page=machine.page(case) if machine.page else None,
        escalated_to=[ROLE_NAMES[role] for role in sorted(roles_escalated_to(case), key=lambda role: role.value)],
        assigns=assigns,
        assignees=_assignees(reading, case) if assigns and machine.assignees else [],
        first=first,
        first_who=names.get(first.actor, first.actor) if first else "",
        first_what=_entry_name(machine, first.step) if first else "",
        problem=problem,
        at=house().now(),
    )


def _told(machine: Machine, entry: CaseEntry, names: dict[str, str]) -> Told:
    values = entry.values
    facts = shown_facts(_all_fields(machine), values)
    if entry.step == ASSIGNED:
        facts = [("Assigned to", names.get(str(values.get("assignee")), "—"))]
    who = names.get(entry.actor, entry.actor)
    return Told(entry, who, _entry_name(machine, entry.step), facts)


def _entry_name(machine: Machine, step_name: str) -> str:
    if step_name in ENTRY_NAMES:
        return ENTRY_NAMES[step_name]
    try:
        return machine.step(step_name).label
    except LookupError:
        return step_name


def _all_fields(machine: Machine) -> list[Field]:
    """Every field of the form and of the steps, each name once, the form's first."""
    found: dict[str, Field] = {}
    for field in chain(machine.form, *(step.fields for step in machine.steps)):
        found.setdefault(field.name, field)
    return list(found.values())


def _assignees(reading: Session, case: Case) -> list[User]:
    """Who may be assigned *case*; by name."""
    machine = machine_of(case.machine)
    users = reading.scalars(
        select(User)
        .join(RoleAssignment, RoleAssignment.user_id == User.id)
        .where(User.is_active, RoleAssignment.role.in_([role.value for role in machine.assignees]))
        .distinct()
        .order_by(User.display_name)
        .limit(10 * ASSIGNEES_SHOWN)
    ).all()
    fitting = (user for user in users if holds_role(reading, case, person_of(reading, user), machine.assignees))
    return [user for user, _ in zip(fitting, range(ASSIGNEES_SHOWN), strict=False)]


def _person_in(machine: Machine, values: dict[str, Any], place: Place) -> tuple[str | None, str]:
    """The account that the form names, by its user name, and what is wrong with it."""
    field = next((field for field in machine.form if field.kind == "account"), None)
    if field is None or field.name not in values:
        return None, ""
    user = session().scalar(select(User).where(User.name == str(values[field.name]).lower()))
    if user is None or not user.is_active:
        return None, "There is no such account here."
    grants = person_of(session(), user).grants
    in_place = [
        grant
        for grant in grants
        if (grant.area_path or "").startswith(place.area_path) or (grant.venue_id and grant.venue_id == place.venue_id)
    ]
    at_venues = session().scalars(
        select(Area.path)
        .join(Venue, Venue.area_code == Area.code)
        .where(Venue.id.in_([g.venue_id for g in grants if g.venue_id is not None]))
    )
    if not in_place and not any(path.startswith(place.area_path) for path in at_venues):
        return None, "There is no such account here."
    return user.id, ""


def _chosen_place(machine: Machine, somebody: Person, given: Any) -> tuple[Place | None, str]:
    """The place that the request names, if *somebody* may open a case there, and its name."""
    grants = [grant for grant in somebody.grants if grant.role in machine.opens]
    if machine.place == "area":
        area = session().get(Area, str(given.get("area", "")))
        if area is None or not any(grant.covers(Place(area.path)) for grant in grants):
            return None, ""
        return Place(area.path), area.name_zh
    try:
        venue = session().get(Venue, bytes.fromhex(str(given.get("venue", ""))))
    except ValueError:
        return None, ""
    if venue is None:
        return None, ""
    place = Place(venue.area.path, venue.id)
    return (place, venue.name_zh) if any(grant.covers(place) for grant in grants) else (None, "")


def _new_page(machine: Machine, form: FlaskForm, problem: str = "") -> str:
    given: Any = request.form if request.method == "POST" else request.args
    place, name = _chosen_place(machine, person(), given)
    return render_template(
        "cases/new.html",
        machine=machine,
        form=form,
        place=place,
        place_name=name,
        offered=_places(machine, person()) if place is None else [],
        words=request.args.get("q", "").strip()[:80],
        problem=problem,
    )


def _places(machine: Machine, somebody: Person) -> list[tuple[str, str, str]]:
    """(parameter, value, name) of places where *somebody* may open one; narrowed by the words looked for."""
    words = request.args.get("q", "").strip()[:80]
    grants = [grant for grant in somebody.grants if grant.role in machine.opens]
    reach = Reach(
        tuple(grant.area_path for grant in grants if grant.area_path is not None),
        tuple(grant.venue_id for grant in grants if grant.venue_id is not None),
    )
    if machine.place == "area":
        areas = select(Area).where(reach.condition(Area.path)).order_by(Area.path).limit(PLACES_SHOWN)
        if words:
            areas = areas.where(or_(Area.name_zh.icontains(words, autoescape=True), Area.code == words))
        return [("area", area.code, area.name_zh) for area in session().scalars(areas)]
    venues = select(Venue).join(Venue.area).where(reach.condition(Area.path, Venue.id))
    if words:
        columns = (Venue.name_zh, Venue.name_en, Venue.address)
        venues = venues.where(or_(*(column.icontains(words, autoescape=True) for column in columns)))
    found = session().scalars(venues.order_by(Venue.name_zh, Venue.id).limit(PLACES_SHOWN))
    return [("venue", venue.id.hex(), venue.name_zh) for venue in found]


def _local(at: datetime | None) -> str:
    return at.astimezone(house().settings.zone).strftime("%Y-%m-%d %H:%M:%S") if at else ""
