"""Pages of venue codes: issue, print, post, revoke."""

from __future__ import annotations

from flask import Blueprint, Response, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import Select, select
from sqlalchemy.orm import Session, joinedload

from protocol.credentials import venue_code
from protocol.credentials.policy import DEFAULT_POLICY
from protocol.credentials.signed import Refused
from protocol.trust import TrustList
from server.accounts.rights import Person, Place, person, require
from server.accounts.roles import Act, Permission, Right
from server.cases.kernel import CaseError, NotAllowed, choices, find
from server.codes import bulk_views
from server.codes.forms import PostingForm, PrintForm, RevokeForm, StepForm
from server.codes.issuing import CodeError, issue, record_posting, record_print, renewal_line, revoke
from server.codes.models import LIVE_VALUES, STATE_NAMES, CodeState, VenueCode
from server.codes.workflow import VENUE_CODE, move_code
from server.context import house
from server.db import session
from server.posters.drawing import FORMS, poster_of, render
from server.venues.models import Entrance, Venue
from server.venues.views import CHANGES, find_venue
from server.web.access import needs, needs_any
from server.web.language import tell
from server.web.pages import PAGE_ROWS, after_number, page_of

# Steps with a plain button on the code's page.
BUTTONS = frozenset({"suspend", "resume", "spoil", "repost"})

blueprint = Blueprint("codes", __name__)
blueprint.register_blueprint(bulk_views.blueprint)


@blueprint.get("/codes")
@needs(Permission.CODES, Act.READ)
def index() -> ResponseReturnValue:
    """The codes within reach, newest first; `state` filters."""
    rows = listed(person()).options(joinedload(VenueCode.door).joinedload(Entrance.venue))
    after = after_number()
    if after is not None:
        rows = rows.where(VenueCode.serial < after)
    found = session().scalars(rows.order_by(VenueCode.serial.desc()).limit(PAGE_ROWS + 1)).all()
    page = page_of(found, lambda code: str(code.serial))
    return render_template(
        "codes/index.html", page=page, wanted=_wanted(), states=STATE_NAMES, now=house().now(), word=_word
    )


def listed(somebody: Person) -> Select[VenueCode]:
    """The codes that *somebody* may see and the request's filter lets through, in no order."""
    reach, wanted = somebody.reach(Permission.CODES, Act.READ), _wanted()
    rows = select(VenueCode).where(reach.in_order(VenueCode.area_path, VenueCode.venue_id))
    if wanted == "renewal":
        return rows.where(VenueCode.state.in_(LIVE_VALUES), VenueCode.expires_at < renewal_line(house().now()))
    return rows.where(VenueCode.state == wanted) if wanted else rows


def _wanted() -> str:
    """The filter that was asked for; empty for none or nonsense."""
    asked = request.args.get("state", "")
    return asked if asked in {"renewal", *(state.value for state in CodeState)} else ""


@blueprint.post("/venues/<venue_id:venue_id>/entrances/<int:number>/codes")
@needs(Permission.CODES, Act.APPROVE)
def issue_code(venue_id: bytes, number: int) -> ResponseReturnValue:
    """Issue the next code of an entrance."""
    venue = find_venue(session(), venue_id, CHANGES)
    door = session().get(Entrance, (venue.id, number))
    if door is None:
        abort(404)
    try:
        code = issue(session(), door, by=person().id)
    except CodeError as error:
        tell(error.message, "error")
        return redirect(url_for("venues.show", venue_id=venue.id), 303)
    session().commit()
    tell("The code was issued. Print its poster and hang it at the entrance.")
    return redirect(url_for("codes.show", serial=code.serial), 303)


@blueprint.get("/codes/<int:serial>")
@needs(Permission.CODE_PRINT, Act.READ, Act.PERFORM)
def show(serial: int) -> ResponseReturnValue:
    """One code: where, which version, its state and history, and what can be done next."""
    code = _find(session(), serial, Permission.CODE_PRINT, Act.READ, Act.PERFORM)
    return _page(code, RevokeForm(formdata=None))


@blueprint.get("/codes/<int:serial>/poster.<any(pdf, png, svg):form>")
@needs(Permission.CODE_PRINT, Act.READ)
def poster(serial: int, form: str) -> ResponseReturnValue:
    """The poster as a file; `size=a3` for a large PDF. Looking at it is not printing it: see `print_code`."""
    code = _find(session(), serial, Permission.CODE_PRINT, Act.READ)
    if not code.holds(house().now()):
        abort(410)
    is_large = form == "pdf" and request.args.get("size", "").lower() == "a3"
    answer = Response(render(poster_of(code), "a3" if is_large else form), mimetype=FORMS[form])
    name = f"poster-{code.serial:08x}{'-a3' if is_large else ''}.{form}"
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


@blueprint.post("/codes/<int:serial>/prints")
@needs(Permission.CODE_PRINT, Act.PERFORM)
def print_code(serial: int) -> ResponseReturnValue:
    """Note a printing, then lead to the file."""
    code = _find(session(), serial, Permission.CODE_PRINT, Act.PERFORM)
    form = PrintForm()
    if not form.validate_on_submit():
        abort(400)
    try:
        record_print(session(), code, form.form.data, by=person().id)
    except CodeError as error:
        tell(error.message, "error")
        return redirect(url_for("codes.show", serial=serial), 303)
    session().commit()
    if form.form.data == "a3":
        return redirect(url_for("codes.poster", serial=serial, form="pdf", size="a3"), 303)
    return redirect(url_for("codes.poster", serial=serial, form=form.form.data), 303)


@blueprint.post("/codes/<int:serial>/posting")
@needs(Permission.CODE_PRINT, Act.PERFORM)
def post_code(serial: int) -> ResponseReturnValue:
    """Note that the poster hangs."""
    code = _find(session(), serial, Permission.CODE_PRINT, Act.PERFORM)
    form = PostingForm()
    if not form.validate_on_submit():
        abort(400)
    try:
        record_posting(session(), code, (form.note.data or "").strip())
    except CodeError as error:
        tell(error.message, "error")
        return redirect(url_for("codes.show", serial=serial), 303)
    session().commit()
    if code.kind is CodeState.POSTED:
        tell("Noted. The code comes into use when the venue has a responsible person.", "warning")
    else:
        tell("Noted. The code is in use; take older posters of this entrance down.")
    return redirect(url_for("codes.show", serial=serial), 303)


@blueprint.post("/codes/<int:serial>/revocation")
@needs(Permission.CODES, Act.APPROVE)
def revoke_code(serial: int) -> ResponseReturnValue:
    """Revoke a code, with a reason, after the venue's name was typed."""
    code = _find(session(), serial, Permission.CODES, Act.APPROVE)
    form = RevokeForm()
    valid = form.validate_on_submit()
    if valid and form.venue_name.data.strip() != code.door.venue.name_zh:
        form.venue_name.errors = ["This is not the venue's name."]
        valid = False
    if not valid:
        return _page(code, form), 422
    try:
        revoke(session(), code, form.reason.data.strip())
    except CodeError as error:
        tell(error.message, "error")
        return redirect(url_for("codes.show", serial=serial), 303)
    session().commit()
    tell("The code was revoked. Kiosks learn it with their next bundle; take the poster down.")
    return redirect(url_for("codes.show", serial=serial), 303)


@blueprint.post("/codes/<int:serial>/steps/<any(suspend, resume, spoil, repost):step_name>")
@needs_any(Right(Permission.CODES, (Act.APPROVE,)), Right(Permission.CODE_PRINT, (Act.PERFORM,)))
def step(serial: int, step_name: str) -> ResponseReturnValue:
    """Suspend a code, let it be used again, or note that its poster is damaged; who may is the workflow's to say."""
    code = _find(session(), serial, Permission.CODE_PRINT, Act.READ, Act.PERFORM)
    form = StepForm()
    if not form.validate_on_submit():
        abort(400)
    reason = (form.reason.data or "").strip()
    try:
        move_code(session(), code, step_name, reason)
    except NotAllowed:
        session().rollback()
        abort(403)
    except CaseError as error:
        session().rollback()
        tell(error.message, "error")
        return redirect(url_for("codes.show", serial=serial), 303)
    session().commit()
    tell("It was done, and stands in the history.")
    return redirect(url_for("codes.show", serial=serial), 303)


def verified_code(reading: Session, token: str) -> VenueCode | None:
    """The code that *token* is, or None when we did not sign it (or signed it and never stored it)."""
    now = house().now()
    trust = TrustList(keys=tuple(house().keys.issuer_trust_entries(now)), issued_at=now)
    try:
        checked = venue_code.check_token(token, trust, at=now, status=None, policy=DEFAULT_POLICY)
    except Refused:
        return None
    if checked.credential is None or checked.credential.serial is None:
        return None
    code = reading.scalar(
        select(VenueCode)
        .where(VenueCode.serial == checked.credential.serial)
        .options(joinedload(VenueCode.door).joinedload(Entrance.venue))
    )
    return code if code is not None and code.token == token else None


def _find(reading: Session, serial: int, permission: Permission, *acts: Act) -> VenueCode:
    """The code, if the signed-in person may do one of *acts* at its venue; else 404."""
    code = reading.scalar(
        select(VenueCode)
        .where(VenueCode.serial == serial)
        .options(joinedload(VenueCode.door).joinedload(Entrance.venue).joinedload(Venue.area))
    )
    if code is None:
        abort(404)
    require(permission, *acts, place=Place(code.door.venue.area.path, code.venue_id))
    return code


def _page(code: VenueCode, revoke_form: RevokeForm) -> str:
    place = Place(code.door.venue.area.path, code.venue_id)
    case = find(session(), VENUE_CODE.name, str(code.serial))
    taken = choices(session(), case, person(), house().now()) if case is not None else []
    others = session().scalars(
        select(VenueCode)
        .where(VenueCode.venue_id == code.venue_id, VenueCode.entrance == code.entrance)
        .order_by(VenueCode.version.desc())
    )
    return render_template(
        "codes/show.html",
        code=code,
        others=list(others),
        states=STATE_NAMES,
        word=_word,
        now=house().now(),
        print_form=PrintForm(formdata=None),
        posting_form=PostingForm(formdata=None),
        revoke_form=revoke_form,
        may_print=person().may_at(place, Permission.CODE_PRINT, Act.PERFORM),
        may_look=person().may_at(place, Permission.CODE_PRINT, Act.READ),
        may_revoke=person().may_at(place, Permission.CODES, Act.APPROVE),
        case_id=case.id if case is not None else None,
        offers=[(choice, StepForm(formdata=None)) for choice in taken if choice.step.name in BUTTONS],
    )


def _word(code: VenueCode) -> str:
    return venue_code.check_word(code.venue_id, code.serial)
