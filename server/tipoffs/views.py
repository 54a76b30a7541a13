"""Pages of tip-offs: the public's form and follow-up without account or cookie, and the staff's page about one."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import or_, select
from sqlalchemy.orm import Session, joinedload

from server.accounts.rights import Place, person
from server.accounts.roles import Act, Permission
from server.areas.models import Area, Level
from server.audit import Thing, audit
from server.cases.kernel import may_see, remark
from server.cases.models import Case
from server.cases.registry import machine_of
from server.context import house
from server.db import session
from server.keystore import KeyStoreError
from server.tipoffs.forms import ReplyForm, VenueForm
from server.tipoffs.models import TipOff
from server.tipoffs.taking import (
    FOLLOW_UPS,
    MESSAGES_AT_MOST,
    TIPS,
    Said,
    by_code,
    messages_of,
    new_ticket,
    say,
    take,
    ticket_holds,
    words_of,
)
from server.tipoffs.words import SORTS, STANDS
from server.tipoffs.workflow import TIP_OFF
from server.uploads.keeping import handed_out, keep, received
from server.uploads.models import Upload
from server.uploads.reading import FORM_BYTES, UploadError, read_picture
from server.venues.models import Venue
from server.web.access import needs, open_to_all, open_with_proof
from server.web.language import chinese, english, tell
from server.web.throttle import source_of

blueprint = Blueprint("tipoffs", __name__)

TOLD_CHARS, PLACE_CHARS, MESSAGE_CHARS = 2000, 200, 1000
SMALL_BODY = 16 * 1024
OFFERED = 20
_TICKET = "a ticket of this server in the form"


# --- the public ---------------------------------------------------------------------------------------------------


@blueprint.get("/tip-off")
@open_to_all
def form() -> ResponseReturnValue:
    """The form; `venue` comes from a poster's page."""
    return _form()


@blueprint.post("/tip-off")
@open_with_proof(_TICKET, max_bytes=FORM_BYTES)
def send() -> ResponseReturnValue:
    """Take a tip-off; the answer shows the follow-up code, once."""
    now, source = house().now(), source_of(request.remote_addr)
    with house().database.reading() as reading:
        wait_s = TIPS.seconds_to_wait(reading, source, now)
    if wait_s:
        return _small("tipoffs/busy.html", 429, wait_min=wait_s // 60 + 1)
    if not ticket_holds(request.form.get("ticket", ""), now):
        return _form("The page was open for too long. Please send it again.", 422)
    said = _said(session())
    if isinstance(said, str):
        return _form(said, 422)
    photo_id = None
    if data := received(request.files.get("photo")):
        try:
            photo_id = keep(session(), read_picture(data), by="stranger").id
        except UploadError as error:
            session().rollback()
            return _form(error.message, 422)
    code = take(session(), said, photo_id, now)
    TIPS.note(session(), source, now)
    session().commit()
    return _small("tipoffs/sent.html", code=code)


@blueprint.get("/tip-off/follow")
@open_to_all
def follow() -> ResponseReturnValue:
    """Where the follow-up code is typed; it never stands in an address."""
    return _small("tipoffs/follow.html", ticket=new_ticket(house().now()), problem="")


@blueprint.post("/tip-off/follow")
@open_with_proof(_TICKET, max_bytes=SMALL_BODY)
def look() -> ResponseReturnValue:
    """Where the tip-off stands and what the staff wrote; with `message`, add an answer."""
    now, source = house().now(), source_of(request.remote_addr)
    ticket = new_ticket(now)
    with house().database.reading() as reading:
        wait_s = FOLLOW_UPS.seconds_to_wait(reading, source, now)
    if wait_s:
        return _small("tipoffs/busy.html", 429, wait_min=wait_s // 60 + 1)
    if not ticket_holds(request.form.get("ticket", ""), now):
        problem = "The page was open for too long. Please send it again."
        return _small("tipoffs/follow.html", 422, ticket=ticket, problem=problem)
    typed = request.form.get("code", "")[:60]
    found = by_code(session(), typed)
    if found is None:
        FOLLOW_UPS.note(session(), source, now)
        session().commit()
        return _small("tipoffs/follow.html", 404, ticket=ticket, problem="There is no tip-off with this code.")
    tip, case = found
    text = _clean(request.form.get("message", ""), MESSAGE_CHARS)
    if text:
        if sum(not one.is_from_staff for one in messages_of(session(), tip)) >= MESSAGES_AT_MOST:
            return _small("tipoffs/busy.html", 429, wait_min=60)
        say(session(), tip, text, is_from_staff=False, now=now)
        session().commit()
    answer = str(case.facts.get("answer", "")) if case.state == "closed" else ""
    return _small(
        "tipoffs/standing.html",
        ticket=ticket,
        code=typed,
        stands=STANDS[case.state],
        since=case.entered_at,
        answer=answer,
        messages=messages_of(session(), tip),
        is_open=case.closed_at is None,
        was_sent=bool(text),
    )


# --- the staff ----------------------------------------------------------------------------------------------------


@blueprint.get("/tip-offs/<case_id>")
@needs(Permission.FEEDBACK_HANDLE, Act.FULL, Act.READ)
def show(case_id: str) -> ResponseReturnValue:
    """What was told, which venue it is about, what was said since."""
    return _page(*_find(session(), case_id))


@blueprint.get("/tip-offs/<case_id>/photo")
@needs(Permission.FEEDBACK_HANDLE, Act.FULL, Act.READ)
def photo(case_id: str) -> ResponseReturnValue:
    """The photograph that came with it."""
    tip, _case = _find(session(), case_id)
    if tip.photo_id is None:
        abort(404)
    return handed_out(session().get_one(Upload, tip.photo_id), f"tip-off-{tip.id}")


@blueprint.post("/tip-offs/<case_id>/venue")
@needs(Permission.FEEDBACK_HANDLE, Act.FULL)
def set_venue(case_id: str) -> ResponseReturnValue:
    """Say which venue it is about, before it can be found true."""
    tip, case = _find(session(), case_id, Act.FULL)
    if case.state not in {"received", "screened", "verifying"}:
        abort(409)
    form = VenueForm()
    venue = _venue(session(), form.venue.data or "") if form.validate_on_submit() else None
    if venue is None or not person().may_at(Place(venue.area.path, venue.id), Permission.FEEDBACK_HANDLE, Act.FULL):
        return _page(tip, case, problem="Choose one of the venues in your area."), 422
    case.venue_id, case.area_path = venue.id, venue.area.path
    case.title = f"{venue.name_zh} · {chinese(SORTS[tip.sort])}"[:200]
    remark(session(), case.id, by=person(), at=house().now(), reason=f"venue {venue.id.hex()} {venue.name_zh}")
    session().commit()
    tell("Noted.")
    return redirect(url_for("tipoffs.show", case_id=case.id), 303)


@blueprint.post("/tip-offs/<case_id>/messages")
@needs(Permission.FEEDBACK_HANDLE, Act.FULL)
def reply(case_id: str) -> ResponseReturnValue:
    """Write to whoever holds the follow-up code."""
    tip, case = _find(session(), case_id, Act.FULL)
    form = ReplyForm()
    if not form.validate_on_submit():
        return _page(tip, case, reply_form=form), 422
    say(session(), tip, form.text.data.strip(), is_from_staff=True, now=house().now())
    audit(session(), "tip_off.answered", Thing("tip_off", tip.id, case.area_path))
    session().commit()
    tell("It waits for whoever holds the follow-up code.")
    return redirect(url_for("tipoffs.show", case_id=case.id), 303)


# --- inside -------------------------------------------------------------------------------------------------------


def _find(reading: Session, case_id: str, *acts: Act) -> tuple[TipOff, Case]:
    """The tip-off and its case, if they exist for the signed-in person; else 404.

    Whoever has a role in the venue it is about never reads it, whatever else they are: who told stays protected.
    """
    case = reading.get(Case, case_id)
    if case is None or case.machine != TIP_OFF.name or not may_see(reading, case, person()):
        abort(404)
    if case.venue_id is not None and any(grant.venue_id == case.venue_id for grant in person().grants):
        abort(404)
    if acts and not person().may_at(Place(case.area_path, case.venue_id), Permission.FEEDBACK_HANDLE, *acts):
        abort(404)
    tip = reading.get(TipOff, case.key or "")
    if tip is None:
        abort(404)
    return tip, case


def _said(reading: Session) -> Said | str:
    """What the form says, or what is wrong with it as a message of the catalogue."""
    sort, place = request.form.get("sort", ""), _clean(request.form.get("place", ""), PLACE_CHARS)
    told = _clean(request.form.get("told", ""), TOLD_CHARS)
    venue = _venue(reading, request.form.get("venue", ""))
    area = reading.scalar(
        select(Area).where(Area.code == request.form.get("area", "")[:32], Area.level == Level.DISTRICT.value)
    )
    if sort not in SORTS:
        return "Choose what it is about."
    if venue is None and not place:
        return "Say which place it is."
    if not told:
        return "Say what you saw."
    return Said(sort, place, told, venue, area)


def _clean(text: str, most: int) -> str:
    """*text* without what cannot be printed, and not longer than *most*."""
    return "".join(char for char in text if char.isprintable() or char == "\n").strip()[:most]


def _venue(reading: Session, text: str) -> Venue | None:
    try:
        venue_id = bytes.fromhex(text)
    except ValueError:
        return None
    if len(venue_id) != 6:
        return None
    return reading.scalar(select(Venue).where(Venue.id == venue_id).options(joinedload(Venue.area)))


def _form(problem: str = "", status: int = 200) -> ResponseReturnValue:
    with house().database.reading() as reading:
        venue = _venue(reading, request.values.get("venue", ""))
        areas = reading.scalars(select(Area).where(Area.level == Level.DISTRICT.value).order_by(Area.path)).all()
    return _small(
        "tipoffs/form.html",
        status,
        venue=venue,
        areas=areas,
        sorts=SORTS,
        typed=request.form,
        problem=problem,
        ticket=new_ticket(house().now()),
    )


def _small(template: str, status: int = 200, **values: object) -> ResponseReturnValue:
    """A small page of its own in the reader's language; it sets no cookie and tells no other site where it was."""
    asked = request.values.get("lang", "")
    language = asked if asked in {"zh", "en"} else request.accept_languages.best_match(["zh", "en"], "zh")
    t: Callable[..., str] = english if language == "en" else chinese
    headers = {"Referrer-Policy": "no-referrer", **({"Retry-After": "600"} if status == 429 else {})}
    return render_template(template, t=t, language=language, **values), status, headers


def _page(tip: TipOff, case: Case, *, problem: str = "", reply_form: ReplyForm | None = None) -> str:
    reading = session()
    try:
        place, told = words_of(tip)
        messages = messages_of(reading, tip)
    except KeyStoreError:
        abort(503)
    words = request.args.get("q", "").strip()[:80]
    offered = []
    if words:
        reach = person().reach(Permission.FEEDBACK_HANDLE, Act.FULL)
        columns = (Venue.name_zh, Venue.name_en, Venue.address)
        offered = list(
            reading.scalars(
                select(Venue)
                .join(Venue.area)
                .where(reach.condition(Area.path, Venue.id))
                .where(or_(*(column.icontains(words, autoescape=True) for column in columns)))
                .order_by(Venue.id)
                .limit(OFFERED)
            )
        )
    return render_template(
        "tipoffs/show.html",
        tip=tip,
        case=case,
        machine=machine_of(case.machine),
        place=place,
        told=told,
        sort=SORTS[tip.sort],
        said=messages,
        words=words,
        offered=offered,
        problem=problem,
        may_write=person().may_at(Place(case.area_path, case.venue_id), Permission.FEEDBACK_HANDLE, Act.FULL),
        reply_form=reply_form or ReplyForm(formdata=None),
    )
