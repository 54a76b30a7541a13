"""Pages of applications: fill in, upload, mark entrances on the plan, send; review, return, approve."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload
from wtforms.fields.choices import SelectChoice

from server.accounts.registering import Registered, registration_of
from server.accounts.rights import Person, Place, person
from server.accounts.roles import Act, Permission, Role
from server.applications.deciding import freeze, newest_version, problems_of
from server.applications.details import (
    APPLICANT_NAMES,
    MOST_ENTRANCES,
    WORDS,
    Applicant,
    Details,
    Door,
    changed,
    position,
)
from server.applications.forms import DetailsForm, DoorForm, FileForm
from server.applications.models import ApplicationVersion, CodeApplication
from server.applications.plans import draw_plan, shown_size
from server.applications.workflow import APPLICATION
from server.areas.models import Area, Level
from server.cases.forms import form_class, values_of
from server.cases.kernel import (
    CaseError,
    Choice,
    NotAllowed,
    Overtaken,
    choices,
    entries_of,
    find,
    may_see,
    open_case,
    take,
)
from server.cases.machine import Field
from server.cases.models import Case
from server.codes.models import STATE_NAMES, VenueCode
from server.context import house
from server.db import session
from server.keystore import KeyStoreError
from server.uploads.keeping import as_file, content_of, handed_out, keep, received
from server.uploads.models import Upload
from server.uploads.reading import FORM_BYTES, UploadError, read_document, read_picture
from server.venues.models import CATEGORY_NAMES, Category, Entrance, Venue
from server.web.access import needs, signed_in, takes_files
from server.web.language import tell

blueprint = Blueprint("applications", __name__, url_prefix="/applications")

AREAS_OFFERED = 2000
MINE_SHOWN = 100
EDITED_IN = frozenset({"draft"})
MOST_OPEN = 5  # applications of somebody who has no venue yet: whoever registers by themselves fills no shelves
_REASON = Field("reason", "Reason", "long", required=False, max_length=1000)


@blueprint.get("/")
@needs(Permission.CODE_APPLY, Act.CREATE)
def index() -> ResponseReturnValue:
    """The signed-in person's own applications, newest first, and the venues they can apply for."""
    somebody, reading = person(), session()
    rows = reading.execute(
        select(CodeApplication, Case)
        .join(Case, (Case.key == CodeApplication.id) & (Case.machine == APPLICATION.name))
        .where(CodeApplication.applicant_id == somebody.id)
        .order_by(CodeApplication.changed_at.desc())
        .limit(MINE_SHOWN)
    ).all()
    venues = reading.scalars(select(Venue).where(Venue.id.in_(_own_venues(somebody))).order_by(Venue.name_zh)).all()
    return render_template("applications/index.html", rows=rows, machine=APPLICATION, venues=venues)


@blueprint.get("/new")
@needs(Permission.CODE_APPLY, Act.CREATE)
def new() -> ResponseReturnValue:
    """The form for an application; `venue` names an own venue that gets further entrances."""
    venue = _asked_venue(session())
    form = _with_areas(DetailsForm(formdata=None, **_known(venue)))
    return render_template("applications/edit.html", form=form, application=None, venue=venue)


@blueprint.post("/new")
@needs(Permission.CODE_APPLY, Act.CREATE)
def create() -> ResponseReturnValue:
    """Begin a draft."""
    venue = _asked_venue(session())
    form = _with_areas(DetailsForm())
    if not form.validate_on_submit():
        return render_template("applications/edit.html", form=form, application=None, venue=venue), 422
    if _only_applies(person()) and _open_count(session(), person()) >= MOST_OPEN:
        tell("You have %(n)s open applications. Withdraw one, or wait until one is decided.", "error", n=MOST_OPEN)
        return redirect(url_for("applications.index"), 303)
    area = session().get_one(Area, venue.area_code if venue else form.area_code.data)
    row = CodeApplication(
        applicant_id=person().id,
        area_code=area.code,
        venue_id=venue.id if venue else None,
        content=_details(form, ()).to_json(),
        changed_at=house().now(),
    )
    session().add(row)
    session().flush()
    place = Place(area.path, venue.id if venue else None)
    open_case(
        session(), APPLICATION, by=person(), at=house().now(), title=form.name_zh.data.strip(), place=place, key=row.id
    )
    session().commit()
    tell("The draft is kept. Now add the two files and the entrances.")
    return redirect(url_for("applications.show", application_id=row.id), 303)


@blueprint.get("/<application_id>")
@signed_in
def show(application_id: str) -> ResponseReturnValue:
    """One application: what it says, its files and plan, what is missing, what was sent before, what can be done."""
    return _page(*_find(session(), application_id))


@blueprint.get("/<application_id>/edit")
@signed_in
def edit(application_id: str) -> ResponseReturnValue:
    """The form with the draft's data."""
    row, _case = _editable(session(), application_id)
    form = _with_areas(DetailsForm(formdata=None, area_code=row.area_code, **row.content))
    return render_template("applications/edit.html", form=form, application=row, venue=row.venue)


@blueprint.post("/<application_id>/edit")
@signed_in
def change(application_id: str) -> ResponseReturnValue:
    """Change the draft."""
    row, case = _editable(session(), application_id)
    form = _with_areas(DetailsForm())
    if not form.validate_on_submit():
        return render_template("applications/edit.html", form=form, application=row, venue=row.venue), 422
    row.content = _details(form, Details.from_json(row.content).entrances).to_json()
    if row.venue is None:
        area = session().get_one(Area, form.area_code.data)
        row.area_code, case.area_path = area.code, area.path
    case.title = form.name_zh.data.strip()[:200]
    return _kept(row)


@blueprint.post("/<application_id>/files/<any(proof, plan):which>")
@signed_in
@takes_files(FORM_BYTES)
def upload(application_id: str, which: str) -> ResponseReturnValue:
    """Take the proof (picture or PDF) or the floor plan (picture), in the place of an earlier one."""
    row, case = _editable(session(), application_id)
    form = FileForm()
    if not form.validate_on_submit():
        abort(400)
    try:
        data = received(form.file.data)
        judged = read_document(data) if which == "proof" else read_picture(data)
    except UploadError as error:
        return _page(row, case, problem=error.message), 422
    kept = keep(session(), judged, by=person().id)
    before = row.proof_id if which == "proof" else row.plan_id
    if which == "proof":
        row.proof_id = kept.id
    else:
        row.plan_id = kept.id
    session().flush()
    _drop_unsent(session(), row, before)
    return _kept(row)


@blueprint.get("/<application_id>/files/<any(proof, plan):which>")
@signed_in
def file(application_id: str, which: str) -> ResponseReturnValue:
    """The file as it was sent; `version` names an earlier sending. The plan carries its entrances."""
    row, case = _find(session(), application_id)
    source = _shown_version(session(), row, case)
    kept: Upload | None = (source or row).proof if which == "proof" else (source or row).plan
    if kept is None:
        abort(404)
    if which == "proof":
        return handed_out(kept, f"proof-{row.id}")
    doors = Details.from_json((source or row).content).entrances
    try:
        return as_file(draw_plan(content_of(kept), shown_size(kept), doors), "image/jpeg", f"plan-{row.id}")
    except KeyStoreError:
        abort(503)


@blueprint.post("/<application_id>/entrances")
@signed_in
def add_door(application_id: str) -> ResponseReturnValue:
    """Add an entrance where the plan was clicked, or where the typed numbers say."""
    row, case = _editable(session(), application_id)
    form = DoorForm()
    if row.plan is None:
        return _page(row, case, problem="Upload the floor plan first."), 422
    details = Details.from_json(row.content)
    if not form.validate_on_submit():
        return _page(row, case, door_form=form), 422
    name = form.name_zh.data.strip()
    typed = (form.across.data or "", form.down.data or "")
    at = position(request.form, shown_size(row.plan), typed)
    problem = ""
    if at is None:
        problem = "Click on the plan, or type two numbers between 0 and 100."
    elif not name or any(door.name_zh == name for door in details.entrances):
        problem = "Each entrance needs a name of its own."
    elif len(details.entrances) >= MOST_ENTRANCES:
        problem = "An application holds at most 30 entrances; send a second one for more."
    if at is None or problem:
        return _page(row, case, problem=problem, door_form=form), 422
    door = Door(name, (form.name_en.data or "").strip(), *at)
    row.content = {**row.content, "entrances": [*row.content["entrances"], _as_json(door)]}
    return _kept(row, "plan")


@blueprint.post("/<application_id>/entrances/<int:number>/removal")
@signed_in
def remove_door(application_id: str, number: int) -> ResponseReturnValue:
    """Take an entrance off the plan."""
    row, _case = _editable(session(), application_id)
    doors = list(row.content["entrances"])
    if not 1 <= number <= len(doors):
        abort(404)
    del doors[number - 1]
    row.content = {**row.content, "entrances": doors}
    return _kept(row, "plan")


@blueprint.post("/<application_id>/steps/<step_name>")
@signed_in
def step(application_id: str, step_name: str) -> ResponseReturnValue:
    """Send, take up, approve, return, amend or withdraw; of two people one is first, and the other is told."""
    row, case = _find(session(), application_id)
    if step_name not in {one.name for one in APPLICATION.steps}:
        abort(404)
    taken = APPLICATION.step(step_name)
    form = form_class((*taken.fields, _REASON))()
    version = request.form.get("version", "")
    if not (version.isascii() and version.isdigit() and len(version) < 10):
        abort(400)
    if int(version) == case.version and not form.validate_on_submit():
        return _page(row, case, tried=(step_name, form)), 422
    values: dict[str, Any] = values_of(form, taken.fields) if not form.errors else {}
    try:
        if step_name == "submit" and not problems_of(row) and case.state in taken.sources and _is_own(row):
            sent = freeze(session(), row, house().now())
            values = {"version": sent.number, "digest": sent.digest.hex()}
        take(
            session(),
            case.id,
            step_name,
            by=person(),
            at=house().now(),
            reason=form.reason.data or "",
            values=values,
            version=int(version),
        )
    except Overtaken as error:
        session().rollback()
        return _page(*_find(session(), application_id), problem=error.message), 409
    except NotAllowed:
        session().rollback()
        abort(403)
    except CaseError as error:
        session().rollback()
        return _page(*_find(session(), application_id), problem=error.message), 422
    session().commit()
    tell("It was done, and stands in the history.")
    return redirect(url_for("applications.show", application_id=row.id), 303)


# --- inside -------------------------------------------------------------------------------------------------------


def _find(reading: Session, application_id: str) -> tuple[CodeApplication, Case]:
    """The application and its case, if they exist for the signed-in person; else 404."""
    row = reading.scalar(
        select(CodeApplication)
        .where(CodeApplication.id == application_id)
        .options(joinedload(CodeApplication.area), joinedload(CodeApplication.venue))
    )
    case = find(reading, APPLICATION.name, application_id) if row is not None else None
    if row is None or case is None or not may_see(reading, case, person()):
        abort(404)
    return row, case


def _editable(reading: Session, application_id: str) -> tuple[CodeApplication, Case]:
    """The same for who may change it: the applicant, while it is a draft."""
    row, case = _find(reading, application_id)
    if not _is_own(row):
        abort(403)
    if case.state not in EDITED_IN:
        abort(409)
    return row, case


def _is_own(row: CodeApplication) -> bool:
    return row.applicant_id == person().id and person().holds(Permission.CODE_APPLY, Act.CREATE)


def _only_applies(somebody: Person) -> bool:
    """Whether *somebody* has no venue yet: their right to apply is that of an applicant, in one area."""
    able = [grant.role for grant in somebody.grants if grant.gives(Permission.CODE_APPLY, Act.CREATE)]
    return bool(able) and set(able) == {Role.APPLICANT}


def _open_count(reading: Session, somebody: Person) -> int:
    mine = select(func.count()).where(
        Case.machine == APPLICATION.name, Case.opened_by == somebody.id, Case.closed_at.is_(None)
    )
    return reading.scalar(mine) or 0


def _own_venues(somebody: Person) -> list[bytes]:
    return list(somebody.reach(Permission.CODE_APPLY, Act.CREATE).venue_ids)


def _asked_venue(reading: Session) -> Venue | None:
    """The own venue that the address names; 404 for somebody else's."""
    given = request.args.get("venue", "")
    if not given:
        return None
    for venue_id in _own_venues(person()):
        if venue_id.hex() == given:
            return reading.get(Venue, venue_id)
    abort(404)


def _known(venue: Venue | None) -> dict[str, str]:
    if venue is None:
        return {}
    names = ("name_zh", "name_en", "address", "area_code", "category", "keeper_name", "keeper_phone")
    return {name: getattr(venue, name) for name in names}


def _with_areas(form: DetailsForm) -> DetailsForm:
    """Offer streets and communities, each with what it lies in; to an applicant those of their own area."""
    offered_areas = select(Area.code, Area.name_zh, Area.path).where(
        Area.level.in_((Level.STREET.value, Level.COMMUNITY.value))
    )
    if _only_applies(person()):
        offered_areas = offered_areas.where(person().reach(Permission.CODE_APPLY, Act.CREATE).condition(Area.path))
    rows = session().execute(offered_areas.order_by(Area.path).limit(AREAS_OFFERED))
    names = {}
    offered = []
    for code, name, path in rows:
        names[path] = name
        above = names.get(path.rstrip("/").rpartition("/")[0] + "/", "")
        offered.append(SelectChoice(code, f"{above} {name}".strip()))
    form.area_code.choices = offered
    return form


def _details(form: DetailsForm, doors: tuple[Door, ...]) -> Details:
    said = {name: (form[name].data or "").strip() for name in WORDS if name != "entrances"}
    return Details(**said, entrances=doors)


def _as_json(door: Door) -> dict[str, Any]:
    return {"name_zh": door.name_zh, "name_en": door.name_en, "x": door.x, "y": door.y}


def _drop_unsent(writing: Session, row: CodeApplication, upload_id: str | None) -> None:
    """A file that was replaced before anybody saw it is not kept."""
    if upload_id is None:
        return
    sent = select(ApplicationVersion.number).where(
        ApplicationVersion.application_id == row.id,
        (ApplicationVersion.proof_id == upload_id) | (ApplicationVersion.plan_id == upload_id),
    )
    if writing.scalar(sent.limit(1)) is None:
        writing.delete(writing.get_one(Upload, upload_id))


def _kept(row: CodeApplication, anchor: str | None = None) -> ResponseReturnValue:
    row.changed_at = house().now()
    session().commit()
    tell("The draft is kept.")
    return redirect(url_for("applications.show", application_id=row.id, _anchor=anchor), 303)


def _shown_version(reading: Session, row: CodeApplication, case: Case) -> ApplicationVersion | None:
    """The version that the page shows: the one the address names, else the newest sent; None for a draft."""
    given = request.args.get("version", "")
    if given:
        if not (given.isascii() and given.isdigit() and len(given) < 6):
            abort(404)
        found = reading.get(ApplicationVersion, (row.id, int(given)))
        if found is None:
            abort(404)
        return found
    if case.state in EDITED_IN and _is_own(row):
        return None
    return newest_version(reading, row.id)


def _page(
    row: CodeApplication,
    case: Case,
    *,
    problem: str = "",
    door_form: DoorForm | None = None,
    tried: tuple[str, FlaskForm] | None = None,
) -> str:
    reading, now = session(), house().now()
    version = _shown_version(reading, row, case)
    details = Details.from_json((version or row).content)
    versions = reading.scalars(
        select(ApplicationVersion)
        .where(ApplicationVersion.application_id == row.id)
        .order_by(ApplicationVersion.number)
    ).all()
    earlier = [one for one in versions if one.number < (version.number if version else len(versions) + 1)]
    plan = (version or row).plan
    returned = [entry for entry in entries_of(reading, case) if entry.step == "return"]
    serials = case.facts.get("serials", [])
    codes = reading.scalars(
        select(VenueCode)
        .where(VenueCode.serial.in_(serials))
        .options(joinedload(VenueCode.door).joinedload(Entrance.venue))
        .order_by(VenueCode.serial)
    ).all()
    return render_template(
        "applications/show.html",
        application=row,
        case=case,
        registered=_registered(reading, row),
        machine=APPLICATION,
        details=details,
        shown=_shown_fields(details),
        version=version,
        versions=versions,
        changed=changed(Details.from_json(earlier[-1].content) if earlier else None, details),
        files_changed=_files_changed(earlier[-1] if earlier else None, version or row),
        plan_size=shown_size(plan) if plan else None,
        has_proof=(version or row).proof_id is not None,
        proof_type=proof.media_type if (proof := (version or row).proof) else "",
        may_edit=case.state in EDITED_IN and _is_own(row) and version is None,
        missing=problems_of(row) if case.state in EDITED_IN else [],
        problem=problem,
        door_form=door_form or DoorForm(formdata=None),
        file_form=FileForm(formdata=None),
        offers=_offers(reading, case, tried),
        tried=tried[0] if tried else "",
        last_return=returned[-1] if returned else None,
        codes=codes,
        code_states=STATE_NAMES,
        now=now,
    )


def _registered(reading: Session, row: CodeApplication) -> Registered | None:
    """What an applicant said who made their own account, for who reviews; they need not be told themselves."""
    if _is_own(row) or not person().may_at(Place(row.area.path, row.venue_id), Permission.CODES, Act.APPROVE):
        return None
    try:
        return registration_of(reading, row.applicant_id)
    except KeyStoreError:
        abort(503)


def _offers(reading: Session, case: Case, tried: tuple[str, FlaskForm] | None) -> list[tuple[Choice, FlaskForm]]:
    """The steps with their forms; the one that was tried keeps what was typed."""
    found = []
    for choice in choices(reading, case, person(), house().now()):
        if tried is not None and tried[0] == choice.step.name:
            found.append((choice, tried[1]))
        else:
            found.append((choice, form_class((*choice.step.fields, _REASON))(formdata=None)))
    return found


def _shown_fields(details: Details) -> list[tuple[str, str, str, bool]]:
    """(name, label, value, whether the value is a message of the catalogue)."""
    found = []
    for name, label in WORDS.items():
        value = getattr(details, name)
        if name == "entrances":
            continue
        if name == "applicant":
            found.append((name, label, APPLICANT_NAMES[Applicant(value)], True))
        elif name == "category":
            found.append((name, label, CATEGORY_NAMES[Category(value)], True))
        else:
            found.append((name, label, value, False))
    return found


def _files_changed(before: ApplicationVersion | None, now: ApplicationVersion | CodeApplication) -> frozenset[str]:
    if before is None:
        return frozenset()
    pairs = {"proof": (before.proof_id, now.proof_id), "plan": (before.plan_id, now.plan_id)}
    return frozenset(name for name, (old, new) in pairs.items() if old != new)
