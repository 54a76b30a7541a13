"""Pages of public notices: write, look at it as the kiosk shows it, send for review, pass on, publish, withdraw."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload
from wtforms.fields.choices import SelectChoice

from protocol.notice import NoticeLevel
from server.accounts.rights import Place, Reach, person, require
from server.accounts.roles import Act, Permission
from server.areas.models import Area
from server.audit import audit
from server.cases.forms import form_class, values_of
from server.cases.kernel import (
    CaseError,
    NotAllowed,
    Overtaken,
    choices,
    entries_of,
    find,
    holds_role,
    open_case,
    refusal_of,
    take,
)
from server.cases.machine import Field
from server.cases.models import Case
from server.cases.shown import entry_name, names_of
from server.context import house
from server.db import session
from server.notices.forms import LEVEL_NAMES, NoticeForm
from server.notices.models import NoticeState, PublicNotice
from server.notices.workflow import (
    EDITED_IN,
    NOTICE,
    WRITES,
    case_of,
    facts_of,
    place_of,
    sending_step,
    thing_of,
)
from server.venues.models import Venue
from server.web.access import needs
from server.web.language import tell

blueprint = Blueprint("notices", __name__)

SEES = (Permission.NOTICE_STATE, Act.READ)
CONDITIONS = {
    "draft": ("off", "Draft"),
    "first_review": ("wait", "First review"),
    "final_review": ("wait", "Final review"),
    "returned": ("bad", "Returned to the author"),
    "waiting": ("wait", "Published, still to come"),
    "showing": ("good", "On the screens"),
    "over": ("off", "Over"),
    "withdrawn": ("bad", "Withdrawn"),
}
MAX_PLACES = 1000
SHOWN = 200
SENDING = ("submit", "submit_city")
_REASON = Field("reason", "Reason", "long", required=False, max_length=200)


@blueprint.get("/notices")
@needs(*SEES)
def index() -> ResponseReturnValue:
    """The notices within reach, the newest first; `state` narrows them."""
    now, wanted = house().now(), request.args.get("state", "")
    rows = (
        select(PublicNotice)
        .join(PublicNotice.area)
        .where(person().reach(*SEES).condition(Area.path, PublicNotice.venue_id))  # type: ignore[arg-type]
        .options(joinedload(PublicNotice.area), joinedload(PublicNotice.venue))
        .order_by(PublicNotice.written_at.desc())
        .limit(SHOWN)
    )
    found = [row for row in session().scalars(rows) if wanted not in CONDITIONS or row.condition(now) == wanted]
    return render_template(
        "notices/index.html",
        notices=found,
        now=now,
        wanted=wanted,
        conditions=CONDITIONS,
        level_names=_level_names(),
        may_write=not _is_empty(_writes_in()),
    )


@blueprint.get("/notices/new")
@needs(*SEES)
def new() -> ResponseReturnValue:
    """The form for a new notice."""
    _must_write()
    return render_template("notices/edit.html", form=_places(NoticeForm()), notice=None)


@blueprint.post("/notices/new")
@needs(*SEES)
def create() -> ResponseReturnValue:
    """Keep a draft."""
    _must_write()
    form = _places(NoticeForm())
    if not form.validate_on_submit():
        return render_template("notices/edit.html", form=form, notice=None), 422
    notice = PublicNotice(written_at=house().now(), written_by=person().id, state=NoticeState.DRAFT.value)
    _fill(notice, form)
    session().add(notice)
    session().flush()
    place, title = place_of(notice), notice.title_zh
    open_case(session(), NOTICE, by=person(), at=house().now(), title=title, place=place, key=notice.id)
    audit(session(), "notice.written", thing_of(notice), notice.title_zh)
    session().commit()
    return redirect(url_for("notices.show", notice_id=notice.id), 303)


@blueprint.get("/notices/<notice_id>")
@needs(*SEES)
def show(notice_id: str) -> ResponseReturnValue:
    """One notice as the kiosk shows it, with what can be done about it."""
    return _page(_find(session(), notice_id))


@blueprint.get("/notices/<notice_id>/edit")
@needs(*SEES)
def edit(notice_id: str) -> ResponseReturnValue:
    """The form of a draft."""
    notice = _editable(notice_id)
    form = NoticeForm(obj=notice)
    zone = house().settings.zone
    form.begins.data, form.ends.data = notice.from_at.astimezone(zone), notice.until_at.astimezone(zone)
    form.where.data = f"venue:{notice.venue_id.hex()}" if notice.venue_id else f"area:{notice.area_code}"
    return render_template("notices/edit.html", form=_places(form), notice=notice)


@blueprint.post("/notices/<notice_id>/edit")
@needs(*SEES)
def change(notice_id: str) -> ResponseReturnValue:
    """Change a draft, or one that was returned; whoever does so has written it, too."""
    notice = _editable(notice_id)
    form = _places(NoticeForm())
    if not form.validate_on_submit():
        return render_template("notices/edit.html", form=form, notice=notice), 422
    now = house().now()
    case = case_of(session(), notice, now)
    try:
        take(session(), case.id, "change", by=person(), at=now)
    except CaseError:  # sent by somebody else meanwhile
        session().rollback()
        abort(409)
    _fill(notice, form)
    place = place_of(notice)
    case.title, case.area_path, case.venue_id = notice.title_zh, place.area_path, place.venue_id
    session().flush()
    audit(session(), "notice.changed", thing_of(notice), notice.title_zh)
    session().commit()
    return redirect(url_for("notices.show", notice_id=notice.id), 303)


@blueprint.post("/notices/<notice_id>/steps/<step_name>")
@needs(*SEES)
def step(notice_id: str, step_name: str) -> ResponseReturnValue:
    """Send, pass on, return, publish, withdraw or drop; of two people one is first, and the other is told."""
    notice = _find(session(), notice_id)
    if step_name not in {one.name for one in NOTICE.steps} - {"change"}:
        abort(404)
    taken, shape = NOTICE.step(step_name), find(session(), NOTICE.name, notice.id) or _shape_of(notice)
    problem = refusal_of(session(), shape, taken, person(), house().now())
    if not holds_role(session(), shape, person(), taken.roles) or isinstance(problem, NotAllowed):
        abort(403)  # before the form: who may not is not told what it wants
    form = form_class((*taken.fields, _REASON))()
    version = request.form.get("version", "")
    if not (version.isascii() and version.isdigit() and len(version) < 10):
        abort(400)
    known = find(session(), NOTICE.name, notice.id)
    case = known or case_of(session(), notice, house().now())
    if (known is None or int(version) == known.version) and not form.validate_on_submit():
        session().rollback()
        return _page(_find(session(), notice_id), tried=(step_name, form)), 422
    values: dict[str, Any] = values_of(form, taken.fields) if not form.errors else {}
    if step_name in SENDING:
        values = facts_of(notice)
    try:
        take(
            session(),
            case.id,
            step_name,
            by=person(),
            at=house().now(),
            reason=form.reason.data or "",
            values=values,
            version=int(version) if known is not None else None,
        )
    except Overtaken as error:
        return _after(notice_id, error.message), 409
    except NotAllowed:
        session().rollback()
        abort(403)
    except CaseError as error:
        return _after(notice_id, error.message), 422
    session().commit()
    tell("It was done, and stands in the history.")
    return redirect(url_for("notices.show", notice_id=notice.id), 303)


# --- inside -------------------------------------------------------------------------------------------------------


def _writes_in() -> Reach:
    """Where this person may write notices."""
    able = [grant for grant in person().grants if grant.role in WRITES]
    return Reach(tuple(grant.area_path for grant in able if grant.area_path is not None), ())


def _is_empty(reach: Reach) -> bool:
    return not reach.area_paths


def _must_write() -> None:
    if _is_empty(_writes_in()):
        abort(403)


def _may_write_at(place: Place) -> bool:
    return any(grant.role in WRITES and grant.covers(place) for grant in person().grants)


def _find(reading: Session, notice_id: str) -> PublicNotice:
    """The notice, if it exists for the signed-in person; else 404."""
    notice = reading.get(
        PublicNotice, notice_id, options=[joinedload(PublicNotice.area), joinedload(PublicNotice.venue)]
    )
    if notice is None:
        abort(404)
    require(*SEES, place=place_of(notice))
    return notice


def _editable(notice_id: str) -> PublicNotice:
    """The same for who may change it, while it is a draft or was returned."""
    notice = _find(session(), notice_id)
    if notice.state not in EDITED_IN or not _may_write_at(place_of(notice)):
        abort(404)
    return notice


def _after(notice_id: str, problem: str) -> str:
    """The notice as it is now, after a try that changed nothing."""
    session().rollback()
    session().expire_all()
    return _page(_find(session(), notice_id), problem=problem)


def _page(notice: PublicNotice, *, problem: str = "", tried: tuple[str, FlaskForm] | None = None) -> str:
    reading, now = session(), house().now()
    known = find(reading, NOTICE.name, notice.id)
    case = known or _shape_of(notice)
    entries = entries_of(reading, known) if known is not None else []
    names = names_of(reading, {entry.actor for entry in entries} | {notice.written_by})
    offers = []
    for choice in choices(reading, case, person(), now):
        if choice.step.name == "change" or (choice.step.name in SENDING and choice.step.name != sending_step(notice)):
            continue
        is_tried = tried is not None and tried[0] == choice.step.name
        form = tried[1] if is_tried and tried else form_class((*choice.step.fields, _REASON))(formdata=None)
        offers.append((choice, form, is_tried))
    kind, words = CONDITIONS[notice.condition(now)]
    returned = [entry for entry in entries if entry.step in {"return_first", "return_final"}]
    return render_template(
        "notices/show.html",
        notice=notice,
        case=case,
        is_known=known is not None,
        names=names,
        told=[(entry, names.get(entry.actor, entry.actor), entry_name(NOTICE, entry.step)) for entry in entries],
        last_return=returned[-1] if returned and notice.state in EDITED_IN else None,
        kind=kind,
        words=words,
        level=LEVEL_NAMES[NoticeLevel(notice.level)],
        offers=offers,
        problem=problem,
        may_edit=notice.state in EDITED_IN and _may_write_at(place_of(notice)),
        now=now,
    )


def _shape_of(notice: PublicNotice) -> Case:
    """What the case of a notice from before the reviews would be; made for good by the first step that is taken."""
    place = place_of(notice)
    return Case(
        machine=NOTICE.name,
        state=notice.state,
        version=0,
        area_path=place.area_path,
        venue_id=place.venue_id,
        is_spread=False,
        key=notice.id,
        opened_by=notice.written_by,
        facts=facts_of(notice),
    )


def _fill(notice: PublicNotice, form: NoticeForm) -> None:
    """Put the form's values into *notice*; 404 for a place out of reach."""
    sort, _, name = form.where.data.partition(":")
    venue = session().get_one(Venue, bytes.fromhex(name)) if sort == "venue" else None
    area = venue.area if venue is not None else session().get_one(Area, name)
    if not _may_write_at(Place(area.path, venue.id if venue else None)):
        abort(404)
    notice.area, notice.area_code, notice.venue_id = area, area.code, venue.id if venue else None
    for field in ("level", "title_zh", "title_en", "body_zh", "body_en", "source"):
        setattr(notice, field, " ".join(form[field].data.split()))
    zone = house().settings.zone
    notice.from_at, notice.until_at = form.begins.data.replace(tzinfo=zone), form.ends.data.replace(tzinfo=zone)


def _places(form: NoticeForm) -> NoticeForm:
    """Offer the areas and venues where this person may write notices."""
    reach = _writes_in()
    areas = session().scalars(select(Area).where(reach.condition(Area.path)).order_by(Area.path).limit(MAX_PLACES))
    venues = session().scalars(
        select(Venue).join(Venue.area).where(reach.condition(Area.path, Venue.id)).order_by(Area.path).limit(MAX_PLACES)
    )
    form.where.choices = [
        *(SelectChoice(f"area:{area.code}", f"{area.name_zh} {area.name_en}".strip()) for area in areas),
        *(SelectChoice(f"venue:{venue.id.hex()}", f"— {venue.name_zh} {venue.name_en}".strip()) for venue in venues),
    ]
    return form


def _level_names() -> dict[str, str]:
    return {level.value: name for level, name in LEVEL_NAMES.items()}
