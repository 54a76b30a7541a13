"""Pages of staff badges: who works at a venue's doors, and issuing, printing and revoking their badges."""

from __future__ import annotations

from flask import Blueprint, Response, abort, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from server.accounts.granting import looks_after
from server.accounts.rights import Place, person
from server.accounts.roles import Act, Permission, Right
from server.bundles.models import KioskStaff
from server.context import house
from server.db import session
from server.keystore import KeyStoreError
from server.papers.drawing import FORMS, badge_sheet, render
from server.papers.forms import EndForm
from server.papers.issuing import PaperError, issue_badge, revoke, text_of
from server.papers.models import StaffBadge
from server.papers.views import place_of
from server.venues.models import Venue
from server.venues.views import find_venue
from server.web.access import needs_any
from server.web.language import tell

blueprint = Blueprint("badges", __name__)

# Whoever looks after the users of a venue gives out its badges: its operator and keeper, and the authority above.
GIVES = Right(Permission.USERS, (Act.OWN,))


@blueprint.get("/venues/<venue_id:venue_id>/badges")
@needs_any(GIVES)
def index(venue_id: bytes) -> ResponseReturnValue:
    """The staff of a venue's kiosks and their badges, newest first."""
    venue = _venue(venue_id)
    return render_template("badges/index.html", **_shown(venue))


@blueprint.post("/venues/<venue_id:venue_id>/staff/<staff_id>/badges")
@needs_any(GIVES)
def issue(venue_id: bytes, staff_id: str) -> ResponseReturnValue:
    """Issue a badge for a member of staff; one that was out before ends."""
    venue = _venue(venue_id)
    member = session().get(KioskStaff, (venue.id, staff_id))
    if member is None:
        abort(404)
    badge = issue_badge(session(), venue, member, by=person().id)
    session().commit()
    tell("The badge was issued. Print it now; the venue's kiosks know it within minutes.")
    return redirect(url_for("badges.index", venue_id=venue.id, _anchor=badge.short_id), 303)


@blueprint.get("/badges/<short_id>/card.<any(pdf, svg):form>")
@needs_any(GIVES)
def card(short_id: str, form: str) -> ResponseReturnValue:
    """The card to print."""
    badge = _find(session(), short_id)
    member = session().get(KioskStaff, (badge.venue_id, badge.staff_id))
    if member is None or not badge.holds(house().now()):
        abort(410)
    try:
        sheet = badge_sheet(
            text_of(badge),
            name=member.name,
            venue=badge.venue.name_zh,
            short_id=badge.short_id,
            life=(badge.issued_at, badge.expires_at),
        )
    except KeyStoreError:
        abort(503)
    answer = Response(render("badge", sheet, form), mimetype=FORMS[form])
    answer.headers["Content-Disposition"] = f'attachment; filename="badge-{badge.short_id}.{form}"'
    return answer


@blueprint.post("/badges/<short_id>/revocation")
@needs_any(GIVES)
def revoke_badge(short_id: str) -> ResponseReturnValue:
    """Revoke a badge, with a reason."""
    badge = _find(session(), short_id)
    form = EndForm()
    if not form.validate_on_submit():
        tell(str(form.reason.errors[0]), "error")
        return render_template("badges/index.html", **_shown(badge.venue)), 422
    try:
        revoke(session(), badge, form.reason.data.strip(), badge.venue.area.path)
    except PaperError as error:
        tell(error.message, "error")
    else:
        session().commit()
        tell("The badge was revoked. The venue's kiosks refuse it within minutes.")
    return redirect(url_for("badges.index", venue_id=badge.venue_id), 303)


def _venue(venue_id: bytes) -> Venue:
    """The venue, if the signed-in person looks after its people; else 404. A sector's "own" is no area (A.3)."""
    venue = find_venue(session(), venue_id, GIVES)
    if not looks_after(person(), Place(venue.area.path, venue.id)):
        abort(404)
    return venue


def _find(reading: Session, short_id: str) -> StaffBadge:
    """The badge, if the signed-in person gives out badges at its venue; else 404."""
    place = place_of(short_id)
    badge = (
        reading.get(StaffBadge, place, options=[joinedload(StaffBadge.venue).joinedload(Venue.area)]) if place else None
    )
    if badge is None:
        abort(404)
    if not looks_after(person(), Place(badge.venue.area.path, badge.venue_id)):
        abort(404)
    return badge


def _shown(venue: Venue) -> dict[str, object]:
    members = session().scalars(select(KioskStaff).where(KioskStaff.venue_id == venue.id).order_by(KioskStaff.staff_id))
    rows = session().scalars(
        select(StaffBadge)
        .where(StaffBadge.venue_id == venue.id)
        .order_by(StaffBadge.list_number.desc(), StaffBadge.position.desc())
        .limit(200)
    )
    return {"venue": venue, "members": list(members), "badges": list(rows), "now": house().now()}
