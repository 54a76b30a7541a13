"""Pages of one case, the same for every workflow: opening it, where it stands, and every step with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from sqlalchemy import or_, select
from sqlalchemy.orm import Session, joinedload

from server.accounts.models import RoleAssignment, User
from server.accounts.rights import Person, Place, Reach, person, person_of
from server.accounts.roles import ROLE_NAMES
from server.areas.models import Area
from server.cases.forms import form_class, shown_facts, values_of
from server.cases.kernel import (
    ASSIGNED,
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
    refusal_of,
    remark,
    resume_clock,
    roles_escalated_to,
    take,
)
from server.cases.lists import blueprint, machine_asked, may_open
from server.cases.machine import Field, Machine, Step
from server.cases.models import Case, CaseEntry
from server.cases.registry import machine_of, machines
from server.cases.shown import all_fields, due_of, entry_name, names_of
from server.context import house
from server.db import session
from server.venues.models import Venue
from server.web.access import signed_in
from server.web.language import chinese, tell

PLACES_SHOWN = 20
ASSIGNEES_SHOWN = 100


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


def _opened_by_form(name: str) -> Machine:
    machine = machine_asked(name)
    if not may_open(machine, person()):
        abort(403)
    return machine


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
    names = names_of(reading, {entry.actor for entry in entries} | {str(e.values.get("assignee")) for e in entries})
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
        due=due_of(case),
        facts=shown_facts(all_fields(machine), case.facts),
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
        first_what=entry_name(machine, first.step) if first else "",
        problem=problem,
        at=house().now(),
    )


def _told(machine: Machine, entry: CaseEntry, names: dict[str, str]) -> Told:
    values = entry.values
    facts = shown_facts(all_fields(machine), values)
    if entry.step == ASSIGNED:
        facts = [("Assigned to", names.get(str(values.get("assignee")), "—"))]
    who = names.get(entry.actor, entry.actor)
    return Told(entry, who, entry_name(machine, entry.step), facts)


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
