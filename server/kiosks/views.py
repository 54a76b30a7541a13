"""Pages of kiosks: the fleet, one kiosk, enrolment, and the decisions about a kiosk."""

from __future__ import annotations

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask import session as cookie
from flask.typing import ResponseReturnValue
from sqlalchemy import Select, select, tuple_
from sqlalchemy.orm import Session, joinedload
from wtforms.fields.choices import SelectChoice

from server.accounts.rights import Person, Place, person, require
from server.accounts.roles import Act, Permission, Right
from server.audit import AuditEvent, Thing, audit
from server.cases.models import Case
from server.console.words import ACTION_NAMES
from server.context import house
from server.db import session
from server.ingest.early import early_counts
from server.kiosks.deciding import (
    DECISION_NAMES,
    STEPS,
    Decision,
    KioskError,
    decide,
    enrolment_text,
    make_enrolment_code,
    possible,
)
from server.kiosks.fleet import CONDITION_NAMES, TROUBLE, Condition, aside_since, fleet_row, is_in, parts_of
from server.kiosks.fleet_counting import passages_by_hour
from server.kiosks.fleet_findings import findings_of
from server.kiosks.fleet_overview import COUNTS, chart_of, look
from server.kiosks.forms import DecisionForm, EnrolForm
from server.kiosks.lifeline import life_of
from server.kiosks.models import KIOSK_ID_BYTES, EnrolmentCode, Kiosk, KioskState
from server.kiosks.workflow import DEVICE
from server.vault.client import VaultClient
from server.vault_keys import VaultKeysError
from server.venues.models import Entrance, Venue
from server.venues.views import find_venue
from server.web.access import needs
from server.web.language import tell
from server.web.pages import PAGE_ROWS, after_place, page_of
from server.web.qr import Level, QrDrawing, draw

blueprint = Blueprint("kiosks", __name__)

SHOWN_CODES = "enrolment"  # in the session cookie: the tokens this browser has made, since nobody else may show them
REFRESH_S = 3


@blueprint.get("/kiosks")
@needs(Permission.KIOSKS, Act.READ)
def index() -> ResponseReturnValue:
    """The fleet within reach; `condition` filters. Kiosks that are gone never disappear."""
    now, fleet = house().now(), house().settings.fleet
    rows = listed(person()).options(joinedload(Kiosk.door).joinedload(Entrance.venue))
    after = after_place(KIOSK_ID_BYTES)
    if after is not None:
        rows = rows.where(tuple_(Kiosk.area_path, Kiosk.id) > after)
    rows = rows.order_by(Kiosk.area_path, Kiosk.id).limit(PAGE_ROWS + 1)
    found = [fleet_row(kiosk, now, fleet) for kiosk in session().scalars(rows)]
    page = page_of(found, lambda row: f"{row.kiosk.area_path}{row.kiosk.id.hex()}")
    early = early_counts(session(), [row.kiosk.id for row in page.rows])
    return render_template("kiosks/index.html", page=page, wanted=_wanted(), early=early, conditions=CONDITION_NAMES)


def listed(somebody: Person) -> Select[Kiosk]:
    """The kiosks that *somebody* may see and the request's filter lets through, in no order."""
    now, fleet, wanted = house().now(), house().settings.fleet, _wanted()
    rows = select(Kiosk).where(somebody.reach(Permission.KIOSKS, Act.READ).condition(Kiosk.area_path, Kiosk.venue_id))
    if wanted == "trouble":
        unreachable, stuck = (is_in(condition, now, fleet) for condition in TROUBLE)
        return rows.where(unreachable | stuck)
    if wanted == "unsent":
        return rows.where(Kiosk.oldest_unsent_at.is_not(None))
    return rows.where(is_in(Condition(wanted), now, fleet)) if wanted else rows


def _wanted() -> str:
    """The filter that was asked for; empty for none or nonsense."""
    asked = request.args.get("condition", "")
    return asked if asked in {"trouble", "unsent", *(condition.value for condition in Condition)} else ""


@blueprint.get("/kiosks/overview")
@needs(Permission.KIOSKS, Act.READ)
def overview() -> ResponseReturnValue:
    """The fleet at a glance: passages per hour, the areas or doors below `area`, programs and rules, what is wrong."""
    somebody, now = person(), house().now()
    return render_template(
        "kiosks/overview.html",
        seen=look(session(), somebody, request.args.get("area", "")[:32], now),
        chart=chart_of(passages_by_hour(session(), somebody.reach(*COUNTS), now), house().settings.zone)
        if somebody.holds(*COUNTS)
        else None,
        at=now,
    )


@blueprint.get("/kiosks/<kiosk_id:kiosk_id>/lost")
@needs(Permission.KIOSKS, Act.READ)
def lost(kiosk_id: bytes) -> ResponseReturnValue:
    """What to do when this kiosk is gone, step by step, and how far it is; made to be printed."""
    kiosk = _find(session(), kiosk_id, Act.READ)
    case = session().scalar(select(Case).where(Case.machine == DEVICE.name, Case.key == kiosk.id.hex()))
    state = KioskState(kiosk.state)
    is_over = state is KioskState.REVOKED
    return render_template(
        "kiosks/lost.html", kiosk=kiosk, case=case, is_lost=is_over or state is KioskState.LOST, is_over=is_over
    )


@blueprint.get("/kiosks/<kiosk_id:kiosk_id>")
@needs(Permission.KIOSKS, Act.READ)
def show(kiosk_id: bytes) -> ResponseReturnValue:
    """One kiosk: what it said last, and what can be decided about it."""
    kiosk = _find(session(), kiosk_id, Act.READ)
    return _page(kiosk, DecisionForm(formdata=None), None)


@blueprint.get("/kiosks/<kiosk_id:kiosk_id>/record")
@needs(Permission.KIOSKS, Act.READ)
def record(kiosk_id: bytes) -> ResponseReturnValue:
    """The life line of one record by its `number`, the first one without it; 404 for a number that cannot be."""
    kiosk = _find(session(), kiosk_id, Act.READ)
    number = request.args.get("number", 1, type=int)
    if not 1 <= number < 2**63:
        abort(404)
    life = life_of(session(), VaultClient(house().settings.vault_socket_path), kiosk.id, number)
    return render_template("kiosks/record.html", kiosk=kiosk, life=life)


@blueprint.post("/kiosks/<kiosk_id:kiosk_id>/<any(suspend, resume, retire, lost):decision>")
@needs(Permission.KIOSKS, Act.APPROVE)
def take_decision(kiosk_id: bytes, decision: str) -> ResponseReturnValue:
    """Suspend, resume, retire or report lost; what cannot be taken back wants the kiosk's name typed."""
    kiosk = _find(session(), kiosk_id, Act.APPROVE)
    chosen, form = Decision(decision), DecisionForm()
    valid = form.validate_on_submit()
    if STEPS[chosen].is_final and (form.kiosk_name.data or "").strip() != kiosk.name:
        form.kiosk_name.errors = ["This is not the kiosk's name."]
        valid = False
    if not valid:
        return _page(kiosk, form, chosen), 422
    try:
        decide(session(), kiosk, chosen, form.reason.data.strip())
    except KioskError as error:
        tell(error.message, "error")
        return redirect(url_for("kiosks.show", kiosk_id=kiosk.id), 303)
    session().commit()
    tell("Decided. The kiosk learns it at its next exchange.")
    return redirect(url_for("kiosks.show", kiosk_id=kiosk.id), 303)


@blueprint.get("/venues/<venue_id:venue_id>/enrol")
@needs(Permission.KIOSKS, Act.APPROVE, Act.PERFORM)
def enrol(venue_id: bytes) -> ResponseReturnValue:
    """The form that makes an enrolment code."""
    venue = find_venue(session(), venue_id, Right(Permission.KIOSKS, (Act.APPROVE, Act.PERFORM)))
    form = _entrances(EnrolForm(formdata=None), venue)
    form.entrance.data = request.args.get("entrance", type=int)
    return render_template("kiosks/enrol.html", form=form, venue=venue)


@blueprint.post("/venues/<venue_id:venue_id>/enrol")
@needs(Permission.KIOSKS, Act.APPROVE, Act.PERFORM)
def make_code(venue_id: bytes) -> ResponseReturnValue:
    """Make a one-time code; its token goes into this browser's session cookie and nowhere else."""
    venue = find_venue(session(), venue_id, Right(Permission.KIOSKS, (Act.APPROVE, Act.PERFORM)))
    form = _entrances(EnrolForm(), venue)
    if not form.validate_on_submit():
        return render_template("kiosks/enrol.html", form=form, venue=venue), 422
    door = session().get_one(Entrance, (venue.id, form.entrance.data))
    try:
        code, token = make_enrolment_code(session(), door, form.kiosk_name.data.strip(), by=person().id)
    except KioskError as error:
        tell(error.message, "error")
        return redirect(url_for("venues.show", venue_id=venue.id), 303)
    session().commit()
    kept = dict(list(cookie.get(SHOWN_CODES, {}).items())[-3:])  # a few at most: cookies are small
    cookie[SHOWN_CODES] = {**kept, code.id: token.hex()}
    return redirect(url_for("kiosks.enrolment", code_id=code.id), 303)


@blueprint.get("/enrolment/<code_id>")
@needs(Permission.KIOSKS, Act.APPROVE, Act.PERFORM)
def enrolment(code_id: str) -> ResponseReturnValue:
    """The code as a QR picture for the kiosk's camera, and how far the enrolment is; loads itself again."""
    code = _find_code(session(), code_id)
    now = house().now()
    kiosk = session().get(Kiosk, code.kiosk_id) if code.kiosk_id is not None else None
    drawing: QrDrawing | None = None
    problem = None
    if code.used_at is None and code.cancelled_at is None and now < code.expires_at:
        token = cookie.get(SHOWN_CODES, {}).get(code.id)
        if token is None:
            problem = "Only the browser that made this code can show it. Make a new one here."
        else:
            try:
                drawing = draw(enrolment_text(code, bytes.fromhex(token)), Level.M)
            except VaultKeysError:
                problem = "The vault has not published its keys yet, so no kiosk can be enrolled."
    return render_template(
        "kiosks/enrolment.html",
        code=code,
        kiosk=kiosk,
        drawing=drawing,
        problem=problem,
        is_expired=now >= code.expires_at,
        seconds_left=max(0, int((code.expires_at - now).total_seconds())),
        refresh_s=REFRESH_S if drawing is not None or (kiosk is not None and kiosk.last_seen_at is None) else None,
    )


@blueprint.post("/enrolment/<code_id>/cancel")
@needs(Permission.KIOSKS, Act.APPROVE, Act.PERFORM)
def cancel_code(code_id: str) -> ResponseReturnValue:
    """Cancel a code that was not used."""
    code = _find_code(session(), code_id)
    if code.used_at is None and code.cancelled_at is None:
        code.cancelled_at = house().now()
        thing = Thing("enrolment_code", code.id, code.door.venue.area.path)
        audit(session(), "kiosk.code_cancelled", thing)
        session().commit()
        tell("The code was cancelled.")
    return redirect(url_for("venues.show", venue_id=code.venue_id), 303)


def _find(reading: Session, kiosk_id: bytes, *acts: Act) -> Kiosk:
    """The kiosk, if the signed-in person may do one of *acts* with it; else 404."""
    kiosk = reading.scalar(
        select(Kiosk)
        .where(Kiosk.id == kiosk_id)
        .options(joinedload(Kiosk.door).joinedload(Entrance.venue).joinedload(Venue.area))
    )
    if kiosk is None:
        abort(404)
    require(Permission.KIOSKS, *acts, place=Place(kiosk.door.venue.area.path, kiosk.venue_id))
    return kiosk


def _find_code(reading: Session, code_id: str) -> EnrolmentCode:
    code = reading.scalar(
        select(EnrolmentCode)
        .where(EnrolmentCode.id == code_id)
        .options(joinedload(EnrolmentCode.door).joinedload(Entrance.venue).joinedload(Venue.area))
    )
    if code is None:
        abort(404)
    place = Place(code.door.venue.area.path, code.venue_id)
    require(Permission.KIOSKS, Act.APPROVE, Act.PERFORM, place=place)
    return code


def _entrances(form: EnrolForm, venue: Venue) -> EnrolForm:
    form.entrance.choices = [
        SelectChoice(door.number, f"{door.number} · {door.name_zh} {door.name_en}".strip())
        for door in venue.entrances
        if door.closed_at is None
    ]
    return form


def _page(kiosk: Kiosk, form: DecisionForm, tried: Decision | None) -> str:
    place = Place(kiosk.door.venue.area.path, kiosk.venue_id)
    may_decide = person().may_at(place, Permission.KIOSKS, Act.APPROVE)
    events = session().scalars(
        select(AuditEvent)
        .where(AuditEvent.object_kind == "kiosk", AuditEvent.object_id == kiosk.id.hex())
        .order_by(AuditEvent.sequence.desc())
        .limit(20)
    )
    return render_template(
        "kiosks/show.html",
        row=fleet_row(kiosk, house().now(), house().settings.fleet),
        kiosk=kiosk,
        parts=parts_of(kiosk),
        findings=findings_of(kiosk, house().now(), house().settings.fleet),
        aside_since=aside_since(parts_of(kiosk)),
        early=early_counts(session(), [kiosk.id]).get(kiosk.id, 0),
        form=form,
        tried=tried,
        decisions=[(d, DECISION_NAMES[d], STEPS[d].is_final) for d in possible(kiosk)] if may_decide else [],
        events=list(events),
        action_names=ACTION_NAMES,
    )
