"""Pages of inspectors' passes: issuing, showing on a phone, printing, revoking."""

from __future__ import annotations

from flask import Blueprint, abort, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import or_, select
from sqlalchemy.orm import Session, joinedload
from wtforms.fields.choices import SelectChoice

from server.accounts.models import RoleAssignment, User
from server.accounts.rights import Place, person
from server.accounts.roles import Act, Permission, Right, Role
from server.areas.models import Area
from server.context import house
from server.db import session
from server.inspectors.forms import PassForm
from server.inspectors.issuing import PassError, Places, issue_pass, revoke_pass, text_of
from server.inspectors.models import InspectorPass
from server.keystore import KeyStoreError
from server.kiosks.models import Kiosk
from server.papers.forms import EndForm
from server.papers.views import place_of
from server.venues.models import Entrance, Venue
from server.web.access import needs, needs_any
from server.web.language import tell
from server.web.qr import Level, draw

blueprint = Blueprint("inspectors", __name__)

ISSUES = Right(Permission.INSPECTION, (Act.APPROVE,))
INSPECTS = Right(Permission.INSPECTION, (Act.PERFORM,))
MOST_SHOWN = 200


@blueprint.get("/inspectors")
@needs_any(ISSUES, INSPECTS)
def index() -> ResponseReturnValue:
    """Passes within reach, newest first, and the form; an inspector sees their own."""
    return render_template("inspectors/index.html", form=_choices(PassForm(formdata=None)), **_listed())


@blueprint.post("/inspectors")
@needs(Permission.INSPECTION, Act.APPROVE)
def issue() -> ResponseReturnValue:
    """Issue a pass."""
    form = _choices(PassForm())
    if not form.validate_on_submit():
        return render_template("inspectors/index.html", form=form, **_listed()), 422
    user = session().get(User, form.inspector.data)
    chosen = {bytes.fromhex(venue) for venue in form.venues.data or ()}
    kiosks = {bytes.fromhex(kiosk) for kiosk in form.kiosks.data or ()}
    places = Places(
        [venue for venue in _venues() if venue.id in chosen], [kiosk for kiosk in _kiosks() if kiosk.id in kiosks]
    )
    try:
        if user is None:
            raise PassError("This person is no inspector of that area now.")
        issued = issue_pass(session(), user, places, form.hours.data, by=person().id)
    except PassError as error:
        tell(error.message, "error")
        return render_template("inspectors/index.html", form=form, **_listed()), 422
    session().commit()
    tell("The pass was issued. Show it on a phone or print it; kiosks take it at once, also without a network.")
    return redirect(url_for("inspectors.show", short_id=issued.short_id), 303)


@blueprint.get("/inspectors/<short_id>")
@needs_any(ISSUES, INSPECTS)
def show(short_id: str) -> ResponseReturnValue:
    """One pass with its QR code, for a phone's screen or the printer."""
    issued = _find(session(), short_id)
    return _page(issued, EndForm(formdata=None))


@blueprint.post("/inspectors/<short_id>/revocation")
@needs(Permission.INSPECTION, Act.APPROVE)
def revoke(short_id: str) -> ResponseReturnValue:
    """Revoke a pass, with a reason."""
    issued = _find(session(), short_id)
    if not _may_end(issued):
        abort(404)
    form = EndForm()
    if not form.validate_on_submit():
        return _page(issued, form), 422
    try:
        revoke_pass(session(), issued, form.reason.data.strip())
    except PassError as error:
        tell(error.message, "error")
    else:
        session().commit()
        tell("The pass was revoked. Kiosks refuse it as soon as they reach the server.")
    return redirect(url_for("inspectors.show", short_id=issued.short_id), 303)


def _page(issued: InspectorPass, form: EndForm) -> str:
    drawing, now = None, house().now()
    if issued.holds(now):
        try:
            drawing = draw(text_of(issued), Level.M)
        except KeyStoreError:
            abort(503)
    venues = session().scalars(select(Venue).where(Venue.id.in_(issued.venues)).order_by(Venue.id))
    kiosks = session().scalars(select(Kiosk).where(Kiosk.id.in_(issued.kiosks)).order_by(Kiosk.id))
    return render_template(
        "inspectors/show.html",
        issued=issued,
        drawing=drawing,
        venues=list(venues),
        kiosks=list(kiosks),
        form=form,
        may_end=_may_end(issued),
        now=now,
    )


def _may_end(issued: InspectorPass) -> bool:
    return person().may_at(Place(issued.area_path), Permission.INSPECTION, Act.APPROVE)


def _find(reading: Session, short_id: str) -> InspectorPass:
    """The pass, if it is one's own or one may issue such; else 404."""
    place = place_of(short_id)
    issued = reading.get(InspectorPass, place) if place else None
    if issued is None or not (issued.user_id == person().id or _may_end(issued)):
        abort(404)
    return issued


def _listed() -> dict[str, object]:
    reach = person().reach(Permission.INSPECTION, Act.APPROVE)
    rows = session().scalars(
        select(InspectorPass)
        .where(or_(InspectorPass.user_id == person().id, reach.condition(InspectorPass.area_path)))
        .order_by(InspectorPass.list_number.desc(), InspectorPass.position.desc())
        .limit(MOST_SHOWN)
    )
    return {"passes": list(rows), "may_issue": person().holds(Permission.INSPECTION, Act.APPROVE), "now": house().now()}


def _venues() -> list[Venue]:
    reach = person().reach(Permission.INSPECTION, Act.APPROVE)
    rows = session().scalars(
        select(Venue)
        .join(Area, Area.code == Venue.area_code)
        .where(reach.condition(Area.path))
        .options(joinedload(Venue.area))
        .order_by(Venue.name_zh)
        .limit(MOST_SHOWN)
    )
    return list(rows)


def _kiosks() -> list[Kiosk]:
    reach = person().reach(Permission.INSPECTION, Act.APPROVE)
    rows = session().scalars(
        select(Kiosk)
        .join(Venue, Venue.id == Kiosk.venue_id)
        .join(Area, Area.code == Venue.area_code)
        .where(reach.condition(Area.path))
        .options(joinedload(Kiosk.door).joinedload(Entrance.venue).joinedload(Venue.area))
        .order_by(Kiosk.name)
        .limit(MOST_SHOWN)
    )
    return list(rows)


def _choices(form: PassForm) -> PassForm:
    """Fill in who and where; only what is within reach can be chosen."""
    reach = person().reach(Permission.INSPECTION, Act.APPROVE)
    now = house().now()
    inspectors = session().scalars(
        select(User)
        .join(RoleAssignment, RoleAssignment.user_id == User.id)
        .where(
            RoleAssignment.role == Role.INSPECTOR.value,
            RoleAssignment.starts_at <= now,
            or_(RoleAssignment.ends_at.is_(None), RoleAssignment.ends_at > now),
            User.is_active,
        )
        .order_by(User.display_name)
        .distinct()
        .limit(MOST_SHOWN)
    )
    allowed = bool(reach.area_paths or reach.venue_ids)
    form.inspector.choices = [SelectChoice(user.id, user.display_name) for user in inspectors] if allowed else []
    form.venues.choices = [SelectChoice(venue.id.hex(), venue.name_zh) for venue in _venues()] if allowed else []
    form.kiosks.choices = (
        [SelectChoice(kiosk.id.hex(), f"{kiosk.door.venue.name_zh} · {kiosk.name}") for kiosk in _kiosks()]
        if allowed
        else []
    )
    return form
