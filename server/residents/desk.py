"""The register of residents on the console: find, register, import, change, state a fact, open an account, withdraw."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TypeVar

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.orm import Session
from wtforms.fields.choices import SelectChoice

from protocol.credentials.health_code import mask_name
from protocol.words import Colour
from server.accounts.rights import Person, Place, person, require, require_any
from server.accounts.roles import Act, Permission, Right
from server.areas.models import Area
from server.context import house
from server.db import session
from server.keystore import KeyStoreError
from server.papers.issuing import end_papers
from server.papers.models import PaperCode
from server.residents.codes import open_identity, standing
from server.residents.entries import read_entry, read_phone
from server.residents.errors import ResidentError
from server.residents.finding import matching
from server.residents.forms import (
    ChangeForm,
    FindResidentForm,
    ImportForm,
    ImportNowForm,
    ResidentForm,
    StatementForm,
    WithdrawForm,
)
from server.residents.importing import ImportPlan, judge, read_rows, read_text
from server.residents.models import Resident
from server.residents.registering import (
    HOME_LEVELS,
    STATEMENTS,
    change,
    open_account,
    register,
    registered,
    state_fact,
    withdraw,
)
from server.residents.words import CAUSE_NAMES, COLOUR_NAMES
from server.web.access import needs, needs_any, personal
from server.web.language import tell
from server.web.pages import PAGE_ROWS, page_of

AnyForm = TypeVar("AnyForm", ResidentForm, ChangeForm)

blueprint = Blueprint("desk", __name__, url_prefix="/residents")

ENTERS = (Permission.RESIDENTS, Act.CREATE)  # A.3: community worker F, grid worker and registrar C
WITHDRAWS = (Permission.RESIDENTS, Act.FULL)
# who reads the list: whoever enters it, and whoever reviews registrations in the street (masked for all of them)
READS = (Right(Permission.RESIDENTS, (Act.CREATE,)), Right(Permission.REGISTRATION_REVIEW, (Act.APPROVE,)))
STATES = (Right(Permission.RISK_LEVEL, (Act.CREATE,)), Right(Permission.RISK_LEVEL, (Act.APPROVE,)))
LIFTS_RED = (Permission.RISK_LEVEL, Act.APPROVE)  # a red that still runs is lifted by somebody above, never below
SEES = (*READS, STATES[1])
RED_STAYS = "A red code that still runs is lifted by the district or the city. Send them this address."
MOST_FOUND = 20
MOST_SHOWN_LINES = 50


@blueprint.get("/")
@needs_any(*READS)
@personal
def index() -> ResponseReturnValue:
    """The residents within reach, masked; `after` goes on."""
    return _list_page(FindResidentForm(formdata=None))


@blueprint.post("/")
@needs_any(*READS)
@personal
def found() -> ResponseReturnValue:
    """The residents within reach that fit the words. A POST, so that no name or number stands in an address or log."""
    form = FindResidentForm()
    if not form.validate_on_submit():
        return _list_page(form), 422
    fits = []
    for resident, area, _ in matching(session(), person().reach_any(READS), form.words.data.strip()):
        fits.append((resident, area))
        if len(fits) > MOST_FOUND:
            break
    return _list_page(form, fits)


@blueprint.get("/new")
@needs(*ENTERS)
@personal
def new() -> ResponseReturnValue:
    """The form for a new resident."""
    return _new_page(ResidentForm(formdata=None))


@blueprint.post("/new")
@needs(*ENTERS)
@personal
def create() -> ResponseReturnValue:
    """Register a resident; the number is checked first, and nobody is registered twice."""
    form = _with_areas(ResidentForm())
    if not form.validate_on_submit():
        return _new_page(form), 422
    try:
        who = read_entry(form.name.data, form.id_number.data, form.phone.data or "", _today())
        resident = register(session(), who, _chosen_area(form.area_code.data))
    except ResidentError as error:
        (form[error.field] if error.field else form.name).errors = [error.message]
        return _new_page(form), 422
    session().commit()
    tell("The resident was registered. There is no statement about them yet: record what is known.")
    return redirect(url_for("residents.desk.show", resident_id=resident.id), 303)


@blueprint.get("/import")
@needs(*ENTERS)
@personal
def import_form() -> ResponseReturnValue:
    """The form that takes a table."""
    return _import_page(ImportForm(formdata=None))


@blueprint.post("/import")
@needs(*ENTERS)
@personal
def look_at_import() -> ResponseReturnValue:
    """Say what an import of this table would do, line by line. Nothing is changed or kept."""
    form = ImportForm()
    if not form.validate_on_submit():
        return _import_page(form), 422
    try:
        text = read_text(form.table.data.read())
        plan = _plan(session(), text)
    except ResidentError as error:
        form.table.errors = [error.message]
        return _import_page(form), 422
    return _import_page(form, plan, ImportNowForm(formdata=None, text=text))


@blueprint.post("/import/now")
@needs(*ENTERS)
@personal
def import_now() -> ResponseReturnValue:
    """Register everybody of the table who is not registered yet; judged again, and all of them or nobody."""
    form = ImportNowForm()
    if not form.validate_on_submit():
        return _import_page(ImportForm(formdata=None)), 422
    try:
        plan = _plan(session(), form.text.data)
    except ResidentError as error:
        again = ImportForm(formdata=None)
        again.table.errors = [error.message]
        return _import_page(again), 422
    if plan.problems:
        return _import_page(ImportForm(formdata=None), plan), 422
    for line in plan.fresh:
        if line.who is not None and line.area is not None:
            register(session(), line.who, line.area, "import")
    session().commit()
    tell("%(n)s residents were registered.", n=len(plan.fresh))
    return redirect(url_for("residents.desk.index"), 303)


@blueprint.get("/<resident_id>")
@needs_any(*SEES)
@personal
def show(resident_id: str) -> ResponseReturnValue:
    """One resident: masked, with what is stated, paper codes, and what can be done."""
    resident, area = _find(session(), resident_id, *SEES)
    return _page(resident, area)


@blueprint.post("/<resident_id>/change")
@needs(*ENTERS)
@personal
def change_resident(resident_id: str) -> ResponseReturnValue:
    """Another community or another phone."""
    resident, area = _find(session(), resident_id, READS[0])
    form = _with_areas(ChangeForm())
    if not form.validate_on_submit():
        return _page(resident, area, change_form=form), 422
    try:
        is_changed = change(session(), resident, _chosen_area(form.area_code.data), read_phone(form.phone.data), area)
    except ResidentError as error:
        form[error.field].errors = [error.message]
        return _page(resident, area, change_form=form), 422
    except KeyStoreError:
        abort(503)
    session().commit()
    tell("The entry was changed." if is_changed else "Nothing was different.")
    return _back(resident)


@blueprint.post("/<resident_id>/statements")
@needs_any(*STATES)
@personal
def state(resident_id: str) -> ResponseReturnValue:
    """Record a fact; the colour follows from it. A red that still runs is only replaced by red, or from above."""
    resident, area = _find(session(), resident_id, *SEES)
    require_any(STATES, place=Place(area.path))
    form = StatementForm()
    if not form.validate_on_submit():
        return _page(resident, area, statement_form=form), 422
    before = standing(session(), resident.id, house().now())
    becomes = STATEMENTS[form.cause.data].colour  # the form offers nothing else
    lifts = before.colour is Colour.RED and becomes is not Colour.RED
    if lifts and not person().may_at(Place(area.path), *LIFTS_RED):
        form.cause.errors = [RED_STAYS]
        return _page(resident, area, statement_form=form), 422
    state_fact(session(), resident, area, form.cause.data, by=person().id)
    session().commit()
    tell("It was recorded. The resident's next code shows it, and entrances learn it for paper codes within minutes.")
    return _back(resident)


@blueprint.post("/<resident_id>/account")
@needs(*ENTERS)
@personal
def give_account(resident_id: str) -> ResponseReturnValue:
    """Open the resident's own page: a user name and a first password, shown in this answer and never again."""
    resident, area = _find(session(), resident_id, READS[0])
    name, password = open_account(session(), resident, area)
    session().commit()
    resident, area = _find(session(), resident_id, READS[0])
    return render_template(
        "residents/account.html",
        resident=resident,
        shown=_masked(resident),
        user_name=name,
        password=password,
        address=house().settings.public_url + url_for("residents.own_code"),
    )


@blueprint.post("/<resident_id>/withdrawal")
@needs(*WITHDRAWS)
@personal
def end(resident_id: str) -> ResponseReturnValue:
    """End the registration: the person is deleted, the account and every paper code end."""
    resident, area = _find(session(), resident_id, Right(Permission.RESIDENTS, (Act.FULL,)))
    form = WithdrawForm()
    if not form.validate_on_submit():
        return _page(resident, area, withdraw_form=form), 422
    reason = form.reason.data.strip()
    end_papers(session(), resident, reason, area.path)
    withdraw(session(), resident, area, reason)
    session().commit()
    tell("The registration was ended. Name, number and phone are deleted; paper codes no longer hold.")
    return redirect(url_for("residents.desk.index"), 303)


def _find(reading: Session, resident_id: str, *rights: Right) -> tuple[Resident, Area]:
    """The resident and where they live, if the signed-in person has one of *rights* there; else 404."""
    resident = reading.get(Resident, resident_id)
    area = reading.get(Area, resident.area_code) if resident is not None and resident.area_code else None
    if resident is None or area is None or resident.withdrawn_at is not None:
        abort(404)
    require_any(rights, place=Place(area.path))
    return resident, area


def _homes(reading: Session, somebody: Person) -> Sequence[Area]:
    """The communities and grids in which *somebody* may register residents."""
    rows = select(Area).where(somebody.reach(*ENTERS).condition(Area.path), Area.level.in_(HOME_LEVELS))
    return reading.scalars(rows.order_by(Area.path).limit(1000)).all()


def _chosen_area(code: str) -> Area:
    area = session().get_one(Area, code)  # the form offered it
    require(*ENTERS, place=Place(area.path))
    return area


def _with_areas(form: AnyForm) -> AnyForm:
    form.area_code.choices = [
        SelectChoice(area.code, f"{area.name_zh} {area.name_en}".strip()) for area in _homes(session(), person())
    ]
    return form


def _plan(reading: Session, text: str) -> ImportPlan:
    rows = read_rows(text)
    areas = {area.code: area for area in _homes(reading, person())}
    first = judge(rows, areas, set(), _today())
    known = registered(reading, [line.who.id_number for line in first.lines if line.who is not None])
    return judge(rows, areas, known, _today()) if known else first


def _today() -> date:
    return house().now().astimezone(house().settings.zone).date()


def _back(resident: Resident) -> ResponseReturnValue:
    return redirect(url_for("residents.desk.show", resident_id=resident.id), 303)


def _list_page(form: FindResidentForm, fits: Sequence[tuple[Resident, Area]] | None = None) -> str:
    now, somebody = house().now(), person()
    page = None
    if fits is None:
        rows = (
            select(Resident, Area)
            .join(Area, Area.code == Resident.area_code)
            .where(somebody.reach_any(READS).condition(Area.path), Resident.withdrawn_at.is_(None))
        )
        if after := request.args.get("after", "")[:16]:
            rows = rows.where(Resident.id > after)
        found_rows = session().execute(rows.order_by(Resident.id).limit(PAGE_ROWS + 1)).all()
        page = page_of([(row.Resident, row.Area) for row in found_rows], lambda row: str(row[0].id))
    shown = page.rows if page is not None else (fits or [])[:MOST_FOUND]
    return render_template(
        "residents/index.html",
        form=form,
        rows=[(r, a, _masked(r), standing(session(), r.id, now).colour) for r, a in shown],
        page=page,
        is_search=fits is not None,
        is_cut=fits is not None and len(fits) > MOST_FOUND,
        may_enter=somebody.holds(*ENTERS),
        colour_names=COLOUR_NAMES,
    )


def _new_page(form: ResidentForm) -> str:
    return render_template("residents/new.html", form=_with_areas(form))


def _import_page(form: ImportForm, plan: ImportPlan | None = None, now_form: ImportNowForm | None = None) -> str:
    lines = [line for line in plan.lines if line.problem] or list(plan.lines) if plan is not None else []
    return render_template(
        "residents/import.html",
        form=form,
        plan=plan,
        lines=lines[:MOST_SHOWN_LINES],
        unseen=max(0, len(lines) - MOST_SHOWN_LINES),
        now_form=now_form,
    )


def _page(
    resident: Resident,
    area: Area,
    *,
    change_form: ChangeForm | None = None,
    statement_form: StatementForm | None = None,
    withdraw_form: WithdrawForm | None = None,
) -> str:
    now, place, somebody = house().now(), Place(area.path), person()
    if change_form is None:
        change_form = ChangeForm(formdata=None, area_code=area.code, phone=_phone(resident))
    papers = session().scalars(
        select(PaperCode).where(PaperCode.resident_id == resident.id).order_by(PaperCode.issued_at.desc()).limit(10)
    )
    return render_template(
        "residents/show.html",
        resident=resident,
        area=area,
        shown=_masked(resident),
        now=now,
        standing=standing(session(), resident.id, now),
        colour_names=COLOUR_NAMES,
        cause_names=CAUSE_NAMES,
        papers=papers.all(),
        change_form=_with_areas(change_form),
        statement_form=statement_form or StatementForm(formdata=None),
        withdraw_form=withdraw_form or WithdrawForm(formdata=None),
        may_enter=somebody.may_at(place, *ENTERS),
        may_withdraw=somebody.may_at(place, *WITHDRAWS),
        may_state=any(somebody.may_at(place, right.permission, *right.acts) for right in STATES),
    )


def _phone(resident: Resident) -> str:
    """In full, for the form that changes it: only whoever may enter residents gets that form."""
    try:
        return open_identity(resident).phone
    except KeyStoreError:
        return ""


def _masked(resident: Resident) -> str:
    try:
        return mask_name(open_identity(resident).name)
    except KeyStoreError:
        return "—"
