"""Lists of cases, the same for every workflow: the inbox, the cases of one workflow, their export."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import CompoundSelect, Select, and_, or_, select, update
from sqlalchemy.orm import Session, joinedload

from server.accounts.rights import Person, person
from server.audit import Thing, audit
from server.cases.forms import shown_facts
from server.cases.inbox import how_many, ids_near, unread, visible_to, waiting
from server.cases.machine import Machine
from server.cases.models import Case, CaseNote
from server.cases.registry import machine_of, machines
from server.cases.sheets import cell
from server.cases.shown import Due, all_fields, due_of, entry_name, local_time, names_of
from server.console.board import Line, decisions
from server.context import house
from server.db import session
from server.web.access import signed_in
from server.web.pages import PAGE_ROWS, Page, page_of

blueprint = Blueprint("cases", __name__, url_prefix="/cases")  # views.py adds the pages of one case

NOTES_SHOWN = 10
MOST_EXPORTED = 10_000
MOST_GATHERED = 1000  # ids; a walk that seeks one case in a thousand for a page of 50 is as long


@dataclass(frozen=True, slots=True)
class Row:
    """One case in a list."""

    case: Case
    machine: Machine
    due: Due
    opener: str


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
        entry_name=entry_name,
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
    machine, somebody, reading = machine_asked(machine_name), person(), session()
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
        may_open=may_open(machine, somebody),
        at=house().now(),
    )


@blueprint.post("/<machine_name>/export")
@signed_in
def export(machine_name: str) -> ResponseReturnValue:
    """The list as CSV, with the page's filters; itself on record. No personal columns, no formulas."""
    machine, somebody, now = machine_asked(machine_name), person(), house().now()
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
    fields = [field for field in all_fields(machine) if not field.is_personal]
    columns = ("Case", "Title", "State", "Area", "Venue", "Opened", "Opened by", "Assigned to", "Due", "Closed")
    writer.writerow([cell(text) for text in (*columns, *(field.label for field in fields))])
    for row in found:
        case = row.case
        facts = dict(shown_facts(fields, case.facts))
        venue = case.venue.name_zh if case.venue else ""
        times = [local_time(at) for at in (case.opened_at, case.due_at, case.closed_at)]
        assignee = case.assignee.display_name if case.assignee else ""
        state = machine.state(case.state).label
        plain = (case.id, case.title, state, case.area_path, venue, times[0], row.opener, assignee, times[1], times[2])
        writer.writerow([cell(text) for text in (*plain, *(facts.get(field.label, "") for field in fields))])
    audit(session(), "case.exported", Thing("machine", machine.name), f"{len(found)} cases, filter {used or 'none'}")
    session().commit()
    answer = Response("\ufeff" + out.getvalue(), mimetype="text/csv")
    answer.headers["Content-Disposition"] = f'attachment; filename="{machine.name}-{now:%Y%m%d-%H%M}.csv"'
    return answer


@decisions
def _waiting_cases(reading: Session, somebody: Person) -> Iterable[Line]:
    """The inbox's count on the console's first page."""
    count, oldest = how_many(reading, somebody)
    is_over = oldest is not None and oldest <= house().now()
    label = "Cases that wait for you, some overdue" if is_over else "Cases that wait for you"
    yield Line(label, count, url_for("cases.inbox"), None, "bad" if is_over else "wait")


def machine_asked(name: str) -> Machine:
    """The workflow, if the signed-in person could ever see one of its cases; else 404."""
    if name not in machines() or machines()[name] not in _seen_by(person()):
        abort(404)
    return machines()[name]


def may_open(machine: Machine, somebody: Person) -> bool:
    """Whether *somebody* may open a case somewhere by the general form."""
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
    handles: list[Select[str] | CompoundSelect[str]] = [ids_near(somebody, machine)]
    ids = select(Case.id)
    state = request.args.get("state", "")
    if state in {one.name for one in machine.states}:
        rows = rows.where(Case.state == state)
    elif state == "open":
        rows = rows.where(Case.closed_at.is_(None))
    if request.args.get("mine"):
        rows = rows.where(or_(Case.assignee_id == somebody.id, Case.opened_by == somebody.id))
        handles.append(ids.where(Case.assignee_id == somebody.id).union_all(ids.where(Case.opened_by == somebody.id)))
    if request.args.get("due") == "over":
        is_over = Case.due_at <= house().now()
        rows = rows.where(is_over)
        handles.append(ids.where(is_over))
    words = request.args.get("q", "").strip()[:80]
    if words:
        is_named = Case.title.icontains(words, autoescape=True)
        rows = rows.where(is_named)
        handles.append(ids.where(Case.machine == machine.name, is_named))
    return _narrowed(session(), rows, handles)


def _narrowed(
    reading: Session, rows: Select[Case], handles: Iterable[Select[str] | CompoundSelect[str]]
) -> Select[Case]:
    """*rows*, gathered by the first of *handles* that holds few cases. Where each holds many, the list is walked in its
    own order and a page is soon full; where one holds few, the walk would go through everything for them."""
    for handle in handles:
        found = reading.scalars(handle.limit(MOST_GATHERED + 1)).all()
        if len(found) <= MOST_GATHERED:
            return rows.where(Case.id.in_(set(found)))
    return rows


def _rows(reading: Session, cases: Sequence[Case]) -> list[Row]:
    names = names_of(reading, {case.opened_by for case in cases})
    return [
        Row(case, machine_of(case.machine), due_of(case), names.get(case.opened_by, case.opened_by)) for case in cases
    ]
