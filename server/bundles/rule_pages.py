"""Console pages of certificate rules: what is in force where, how old it is, how a set is put there and taken back."""

from __future__ import annotations

from dataclasses import replace

from flask import Blueprint, abort, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from flask_wtf.file import FileField, FileRequired
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload
from wtforms import SelectField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, Optional, Regexp

from protocol.credentials.rule_check import Fault
from protocol.credentials.rules import MAX_BYTES
from protocol.credentials.value_sets import ValueSets
from server.accounts.rights import Place, person
from server.accounts.roles import Act, Permission
from server.areas.models import Area
from server.bundles.errors import PartError
from server.bundles.rules import RuleBook, RulesError, StoredRules, publish, take_back, upload
from server.bundles.samples import try_out
from server.bundles.value_sets import held_value_sets
from server.context import house
from server.db import session
from server.kiosks.models import MAY_EXCHANGE, Kiosk
from server.venues.models import Venue
from server.web.access import needs
from server.web.language import tell

blueprint = Blueprint("rules", __name__, url_prefix="/rules")

READS = (Permission.RULES, Act.READ)
SETS = (Permission.RULES, Act.FULL)
MOST_VENUES = 200
MOST_SETS = 100
TRIED_NAMES: dict[str, tuple[str, str]] = {  # -> the sign of macros.html `state`, label
    "yes": ("good", "Met"),
    "no": ("bad", "Not met"),
    "unclear": ("wait", "Cannot tell"),
}
FAULT_NAMES: dict[str, str] = {
    "operation": "This operation is not part of CertLogic.",
    "operands": "This operation takes another number of operands.",
    "literal": "Only texts, whole numbers, true and false may stand here.",
    "variable": "Rules know payload and external only (and current, accumulator, data inside reduce).",
    "unit": "A time unit is year, month, day or hour.",
    "depth": "This is nested too deeply.",
    "shape": "An object holds exactly one operation.",
    "value_set": "There is no list of codes of this name here. Import the value sets first.",
}
STATE_NAMES: dict[str, tuple[str, str]] = {
    "draft": ("wait", "Draft"),
    "in_force": ("good", "In force"),
    "ended": ("off", "Ended"),
}


class UploadForm(FlaskForm):  # type: ignore[misc]
    """A rule set and where it shall hold."""

    file = FileField("Rule set (JSON)", [FileRequired("Choose a file.")])
    area_code = SelectField("For all venues in")
    venue = StringField(
        "Or for one venue only (its number)",
        [Optional(), Regexp(r"^[0-9a-f]{12}$", message="A venue's number has 12 characters, 0-9 and a-f.")],
    )


class ReasonForm(FlaskForm):  # type: ignore[misc]
    """Why a set is taken back."""

    reason = StringField("Reason", [InputRequired("Please fill this in."), Length(max=400, message="Too long.")])


@blueprint.get("/")
@needs(*READS)
def index() -> ResponseReturnValue:
    """What is in force at each venue within reach, what is kept as drafts, and the lists of codes."""
    somebody, reading = person(), session()
    reach = somebody.reach(*READS)
    venues = reading.scalars(
        select(Venue)
        .join(Venue.area)
        .options(joinedload(Venue.area))
        .where(
            reach.condition(Area.path, Venue.id),
            Venue.id.in_(select(Kiosk.venue_id).where(Kiosk.state.in_([state.value for state in MAY_EXCHANGE]))),
        )
        .order_by(Area.path, Venue.id)
        .limit(MOST_VENUES + 1)
    ).all()
    book = RuleBook(reading)
    around = select(StoredRules).options(
        joinedload(StoredRules.area), joinedload(StoredRules.venue).joinedload(Venue.area)
    )
    sets = reading.scalars(around.order_by(StoredRules.uploaded_at.desc()).limit(MOST_SETS)).all()
    agreed, problem = _agreed()
    return render_template(
        "rules/index.html",
        venues=[(venue, book.nearest(venue)) for venue in venues[:MOST_VENUES]],
        is_cut=len(venues) > MOST_VENUES,
        sets=[row for row in sets if _may_see(row)],
        agreed=agreed,
        problem=problem,
        may_set=somebody.holds(*SETS),
        accepts_certificates="eu_dcc" in house().settings.entry.accepts,
        states=STATE_NAMES,
        state_of=_state,
    )


@blueprint.get("/new")
@needs(*SETS)
def new() -> ResponseReturnValue:
    """The form for a set."""
    return _upload_page(UploadForm(formdata=None))


@blueprint.post("/new")
@needs(*SETS)
def create() -> ResponseReturnValue:
    """Take a set as a draft, if nothing in it is known not to work."""
    form = _with_areas(UploadForm())
    if not form.validate_on_submit():
        return _upload_page(form), 422
    venue = None
    if form.venue.data:
        venue = session().scalar(
            select(Venue).where(Venue.id == bytes.fromhex(form.venue.data)).options(joinedload(Venue.area))
        )
        if venue is None or not person().may_at(Place(venue.area.path, venue.id), *SETS):
            form.venue.errors = ["None of these venues is within your reach."]
            return _upload_page(form), 422
    area = None if venue is not None else session().get_one(Area, form.area_code.data)
    data = form.file.data.read(MAX_BYTES + 1)
    try:
        row = upload(session(), house(), data, area=area, venue=venue, by=person().id)
    except RulesError as error:
        form.file.errors = [error.message]
        return _upload_page(form, error.faults, "" if error.faults else error.detail), 422
    session().commit()
    tell("The rules were taken as a draft. Look at what they say of the samples, then publish.")
    return redirect(url_for("bundles.rules.show", set_id=row.id), 303)


@blueprint.get("/<set_id>")
@needs(*READS)
def show(set_id: str) -> ResponseReturnValue:
    """One set: its rules, what it says of made-up certificates today, and what can be done with it."""
    return _page(_find(session(), set_id), ReasonForm(formdata=None))


@blueprint.post("/<set_id>/publication")
@needs(*SETS)
def put_in_force(set_id: str) -> ResponseReturnValue:
    """Put a draft in force; kiosks learn it with their next bundle."""
    row = _find(session(), set_id, to_set=True)
    try:
        publish(session(), house(), row)
    except RulesError as error:
        tell(error.message, "error")
        return redirect(url_for("bundles.rules.show", set_id=set_id), 303)
    session().commit()
    tell("The rules are in force. Entrances get them within minutes and show version and age.")
    return redirect(url_for("bundles.rules.show", set_id=set_id), 303)


@blueprint.post("/<set_id>/withdrawal")
@needs(*SETS)
def withdraw(set_id: str) -> ResponseReturnValue:
    """Take a set back, with a reason; the next wider one counts again, or none."""
    row = _find(session(), set_id, to_set=True)
    form = ReasonForm()
    if not form.validate_on_submit():
        return _page(row, form), 422
    try:
        take_back(session(), house(), row, form.reason.data.strip())
    except RulesError as error:
        tell(error.message, "error")
        return redirect(url_for("bundles.rules.show", set_id=set_id), 303)
    session().commit()
    tell("The rules were taken back. Entrances learn it within minutes.")
    return redirect(url_for("bundles.rules.show", set_id=set_id), 303)


def _find(reading: Session, set_id: str, *, to_set: bool = False) -> StoredRules:
    """The set, if the signed-in person may read it (or change it); else 404."""
    row = reading.get(StoredRules, set_id)
    if row is None or not (_may_set(row) if to_set else _may_see(row)):
        abort(404)
    return row


def _may_see(row: StoredRules) -> bool:
    """Whoever reads rules at its place, and whoever works below it: it holds for them; drafts are for who sets them."""
    if row.published_at is None:
        return _may_set(row)
    paths = person().reach(*READS).area_paths
    return any(row.area_path.startswith(path) or path.startswith(row.area_path) for path in paths)


def _may_set(row: StoredRules) -> bool:
    return row.area_path != "" and person().may_at(Place(row.area_path, row.venue_id), *SETS)


def _state(row: StoredRules) -> str:
    return "draft" if row.published_at is None else "ended" if row.ended_at is not None else "in_force"


def _agreed() -> tuple[ValueSets | None, bool]:
    try:
        return held_value_sets(house()), False
    except PartError:
        return None, True


def _with_areas(form: UploadForm) -> UploadForm:
    reach = person().reach(*SETS)
    areas = session().scalars(select(Area).where(reach.condition(Area.path)).order_by(Area.path).limit(1000))
    form.area_code.choices = [SelectChoice(a.code, f"{a.name_zh} {a.name_en}".strip()) for a in areas]
    return form


def _upload_page(form: UploadForm, faults: tuple[Fault, ...] = (), detail: str = "") -> str:
    return render_template(
        "rules/new.html", form=_with_areas(form), faults=faults, fault_names=FAULT_NAMES, detail=detail
    )


def _page(row: StoredRules, form: ReasonForm) -> str:
    now = house().now()
    rules = row.rules()
    agreed, _ = _agreed()
    return render_template(
        "rules/show.html",
        row=row,
        rules=rules,
        tried=try_out(replace(rules, agreed=agreed), now),
        tried_names=TRIED_NAMES,
        state=_state(row),
        states=STATE_NAMES,
        may_set=_may_set(row),
        form=form,
        now=now,
    )
