"""Pages of inspections: draw venues, photographs of findings and answers, scores."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

from flask import Blueprint, abort, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from flask_wtf.file import FileField
from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload
from wtforms import DateField, IntegerField, SelectField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, NumberRange

from server.accounts.rights import Place, person, require
from server.accounts.roles import Act, Permission, Right
from server.areas.models import Area, is_within, within
from server.audit import Thing, audit
from server.cases.kernel import may_see, open_case, remark
from server.cases.models import Case
from server.codes.models import STATE_NAMES, VenueCode
from server.context import house
from server.db import session
from server.inspections.drawing import SEED_BYTES, digest_of, draw
from server.inspections.models import InspectionDraw, InspectionPhoto
from server.inspections.scores import COSTS, FULL, GIVES_BACK, score_of, scores_of
from server.inspections.workflow import INSPECTION
from server.uploads.keeping import handed_out, keep, received
from server.uploads.models import Upload
from server.uploads.reading import FORM_BYTES, UploadError, read_picture
from server.venues.models import Entrance, Venue
from server.venues.views import find_venue
from server.web.access import needs, signed_in, takes_files
from server.web.language import chinese, tell
from server.web.pages import PAGE_ROWS, after_bytes, page_of

blueprint = Blueprint("inspections", __name__)

MOST_CANDIDATES = 20_000
MOST_DRAWN = 50
DRAWS_SHOWN = 30
PHOTOS_AT_MOST = 12
AREAS_OFFERED = 1000

# In which states who adds photographs of what: (permission, acts, stage).
TAKES = {
    "started": (Permission.INSPECTION, (Act.FULL, Act.PERFORM), "finding"),
    "recorded": (Permission.INSPECTION, (Act.FULL, Act.PERFORM), "finding"),
    "order_issued": (Permission.RECTIFICATION_ANSWER, (Act.OWN,), "answer"),
    "rectifying": (Permission.RECTIFICATION_ANSWER, (Act.OWN,), "answer"),
    "overdue": (Permission.RECTIFICATION_ANSWER, (Act.OWN,), "answer"),
    "escalated": (Permission.RECTIFICATION_ANSWER, (Act.OWN,), "answer"),
    "submitted": (Permission.INSPECTION, (Act.FULL, Act.PERFORM), "recheck"),
    "rechecked": (Permission.INSPECTION, (Act.FULL, Act.PERFORM), "recheck"),
}
STAGES = {"finding": "What was found", "answer": "The venue's answer", "recheck": "The re-check"}


class DrawForm(FlaskForm):  # type: ignore[misc]
    """From where, how many, for which day."""

    area_code = SelectField("Area")
    count = IntegerField(
        "How many venues", [InputRequired("Please fill this in."), NumberRange(1, MOST_DRAWN, "From 1 to 50.")]
    )
    planned_on = DateField("Day", [InputRequired("Please fill this in.")])


class PhotoForm(FlaskForm):  # type: ignore[misc]
    """One photograph."""

    file = FileField("Photograph")


@blueprint.get("/inspections/draws")
@needs(Permission.INSPECTION, Act.FULL)
def draws() -> ResponseReturnValue:
    """Draw venues for unannounced inspections; every draw there was."""
    return _draws_page(DrawForm(formdata=None, count=3))


@blueprint.post("/inspections/draws")
@needs(Permission.INSPECTION, Act.FULL)
def draw_now() -> ResponseReturnValue:
    """Draw, and plan an inspection for each venue that came out. A draw cannot be taken back, and all are listed."""
    form = _with_areas(DrawForm())
    if not form.validate_on_submit():
        return _draws_page(form), 422
    area = session().scalar(select(Area).where(Area.code == form.area_code.data))
    if area is None:
        abort(404)
    require(Permission.INSPECTION, Act.FULL, place=Place(area.path))
    candidates = _candidates(session(), area.path)
    if not candidates:
        form.area_code.errors = ["No venue here is without an open inspection."]
        return _draws_page(form), 422
    now, seed = house().now(), secrets.token_bytes(SEED_BYTES)
    picked = draw(seed, candidates, form.count.data)
    row = InspectionDraw(
        at=now,
        by=person().id,
        area_path=area.path,
        seed=seed,
        list_digest=digest_of(candidates),
        candidates=sorted(candidates),
        picked=picked,
    )
    session().add(row)
    session().flush()
    planned = datetime.combine(form.planned_on.data, datetime.min.time(), house().settings.zone).astimezone(UTC)
    for venue_id in picked:
        venue = (
            session()
            .scalars(select(Venue).where(Venue.id == bytes.fromhex(venue_id)).options(joinedload(Venue.area)))
            .one()
        )
        open_case(
            session(),
            INSPECTION,
            by=person(),
            at=now,
            title=f"{venue.name_zh} · {chinese('Unannounced')}",
            place=Place(venue.area.path, venue.id),
            facts={"sort": "unannounced", "planned_on": planned.isoformat(), "draw": row.id},
        )
    said = f"{len(picked)} of {len(candidates)}, list {row.list_digest.hex()[:16]}, seed {seed.hex()}"
    audit(session(), "inspection.drawn", Thing("inspection_draw", row.id, area.path), said)
    session().commit()
    tell("%(n)s venues were drawn and planned.", n=len(picked))
    return redirect(url_for("inspections.show_draw", draw_id=row.id), 303)


@blueprint.get("/inspections/draws/<draw_id>")
@needs(Permission.INSPECTION, Act.FULL)
def show_draw(draw_id: str) -> ResponseReturnValue:
    """One draw with everything that is needed to repeat it, and whether repeating it here gives the same."""
    row = session().get(InspectionDraw, draw_id)
    if row is None:
        abort(404)
    require(Permission.INSPECTION, Act.FULL, place=Place(row.area_path))
    is_same = digest_of(row.candidates) == row.list_digest and (
        draw(row.seed, row.candidates, len(row.picked)) == row.picked
    )
    names = _names(session(), row.picked)
    return render_template("inspections/draw.html", draw=row, is_same=is_same, names=names)


@blueprint.get("/inspections/<case_id>")
@signed_in
def show(case_id: str) -> ResponseReturnValue:
    """One inspection: its photographs, the venue's codes and score; the steps are on the case's page."""
    return _page(_find(session(), case_id))


@blueprint.post("/inspections/<case_id>/photos")
@signed_in
@takes_files(FORM_BYTES)
def add_photo(case_id: str) -> ResponseReturnValue:
    """Add a photograph: made anew, without EXIF; its digest goes into the case's chain."""
    case = _find(session(), case_id)
    stage = _stage(case)
    if not stage:
        abort(403)
    form = PhotoForm()
    if not form.validate_on_submit():
        abort(400)
    count = select(func.count()).select_from(InspectionPhoto).where(InspectionPhoto.case_id == case.id)
    if (session().scalar(count) or 0) >= PHOTOS_AT_MOST:
        return _page(case, "An inspection holds at most 12 photographs."), 422
    try:
        judged = read_picture(received(form.file.data))
    except UploadError as error:
        return _page(case, error.message), 422
    now = house().now()
    kept = keep(session(), judged, by=person().id)
    session().add(InspectionPhoto(upload_id=kept.id, case_id=case.id, stage=stage, at=now, by=person().id))
    remark(session(), case.id, by=person(), at=now, reason=f"photo {stage} sha256 {kept.digest.hex()}")
    audit(session(), "inspection.photo_added", Thing("case", case.id, case.area_path), stage)
    session().commit()
    tell("The photograph was added.")
    return redirect(url_for("inspections.show", case_id=case.id), 303)


@blueprint.get("/inspections/<case_id>/photos/<upload_id>")
@signed_in
def photo(case_id: str, upload_id: str) -> ResponseReturnValue:
    """One photograph of an inspection."""
    case = _find(session(), case_id)
    row = session().get(InspectionPhoto, upload_id)
    if row is None or row.case_id != case.id:
        abort(404)
    return handed_out(session().get_one(Upload, upload_id), f"inspection-{upload_id[:8]}")


@blueprint.get("/inspections/scores")
@needs(Permission.INSPECTION, Act.FULL, Act.PERFORM)
def scores() -> ResponseReturnValue:
    """The venues within reach with their scores, and what counts."""
    reach = person().reach(Permission.INSPECTION, Act.FULL, Act.PERFORM)
    rows = select(Venue).join(Venue.area).where(reach.condition(Area.path, Venue.id)).order_by(Venue.id)
    after = after_bytes(6)
    if after is not None:
        rows = rows.where(Venue.id > after)
    page = page_of(session().scalars(rows.limit(PAGE_ROWS + 1)).all(), lambda venue: venue.id.hex())
    found = scores_of(session(), [venue.id for venue in page.rows], house().now())
    return render_template(
        "inspections/scores.html", page=page, scores=found, costs=COSTS, gives_back=GIVES_BACK, full=FULL
    )


@blueprint.get("/venues/<venue_id:venue_id>/score")
@signed_in
def venue_score(venue_id: bytes) -> ResponseReturnValue:
    """How one venue's score came about; for inspectors, and for the venue itself."""
    sees = Right(Permission.INSPECTION, (Act.FULL, Act.PERFORM)), Right(Permission.RECTIFICATION_ANSWER, (Act.OWN,))
    venue = find_venue(session(), venue_id, *sees)
    return render_template(
        "inspections/score.html",
        venue=venue,
        score=score_of(session(), venue.id, house().now()),
        costs=COSTS,
        gives_back=GIVES_BACK,
        full=FULL,
    )


# --- inside -------------------------------------------------------------------------------------------------------


def _find(reading: Session, case_id: str) -> Case:
    """The inspection, if it exists for the signed-in person; else 404."""
    case = reading.get(Case, case_id)
    if case is None or case.machine != INSPECTION.name or not may_see(reading, case, person()):
        abort(404)
    return case


def _stage(case: Case) -> str:
    """Which photographs the signed-in person may add now; "" for none."""
    permission, acts, stage = TAKES.get(case.state, (None, (), ""))
    if permission is None or not person().may_at(Place(case.area_path, case.venue_id), permission, *acts):
        return ""
    works_there = any(grant.venue_id == case.venue_id for grant in person().grants)
    return stage if works_there == (stage == "answer") or stage == "answer" else ""


def _candidates(reading: Session, area_path: str) -> list[str]:
    """The venues of the area that have no inspection under way, in hex."""
    busy = select(Case.venue_id).where(
        Case.machine == INSPECTION.name, Case.closed_at.is_(None), Case.venue_id.is_not(None)
    )
    rows = reading.scalars(
        select(Venue.id)
        .join(Venue.area)
        .where(within(Area.path, area_path), Venue.id.not_in(busy))
        .order_by(Venue.id)
        .limit(MOST_CANDIDATES)
    )
    return [venue_id.hex() for venue_id in rows]


def _with_areas(form: DrawForm) -> DrawForm:
    reach = person().reach(Permission.INSPECTION, Act.FULL)
    rows = session().scalars(select(Area).where(reach.condition(Area.path)).order_by(Area.path).limit(AREAS_OFFERED))
    form.area_code.choices = [SelectChoice(area.code, f"{area.name_zh} {area.name_en}".strip()) for area in rows]
    return form


def _draws_page(form: DrawForm) -> str:
    _with_areas(form)
    if form.planned_on.data is None:
        form.planned_on.data = (house().now() + timedelta(days=1)).astimezone(house().settings.zone).date()
    rows = session().scalars(select(InspectionDraw).order_by(InspectionDraw.at.desc()).limit(DRAWS_SHOWN * 5)).all()
    tops = [path for path in person().reach(Permission.INSPECTION, Act.FULL).area_paths]
    seen = [row for row in rows if any(is_within(row.area_path, top) for top in tops)][:DRAWS_SHOWN]
    names = dict(
        session().execute(select(Area.path, Area.name_zh).where(Area.path.in_([row.area_path for row in seen]))).all()
    )
    return render_template("inspections/draws.html", form=form, draws=seen, names=names)


def _names(reading: Session, ids: list[str]) -> dict[str, str]:
    rows = reading.execute(select(Venue.id, Venue.name_zh).where(Venue.id.in_([bytes.fromhex(one) for one in ids])))
    return {venue_id.hex(): name for venue_id, name in rows}


def _page(case: Case, problem: str = "") -> str:
    reading = session()
    photos = reading.scalars(
        select(InspectionPhoto).where(InspectionPhoto.case_id == case.id).order_by(InspectionPhoto.at)
    ).all()
    codes = reading.scalars(
        select(VenueCode)
        .where(VenueCode.venue_id == case.venue_id, VenueCode.ended_at.is_(None) | (VenueCode.state == "suspended"))
        .options(joinedload(VenueCode.door).joinedload(Entrance.venue))
        .order_by(VenueCode.entrance)
    ).all()
    place = Place(case.area_path, case.venue_id)
    return render_template(
        "inspections/show.html",
        case=case,
        machine=INSPECTION,
        photos=photos,
        stages=STAGES,
        stage=_stage(case),
        form=PhotoForm(formdata=None),
        problem=problem,
        codes=codes,
        code_states=STATE_NAMES,
        now=house().now(),
        may_open_codes=person().may_at(place, Permission.CODE_PRINT, Act.READ, Act.PERFORM),
    )
