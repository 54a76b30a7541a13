"""The page behind a poster, the pass after it, the vault's key for auditors, and the staff's check of a reference."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from flask import Blueprint, abort, current_app, g, render_template, request
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from sqlalchemy import select
from sqlalchemy.orm import Session
from wtforms import StringField

from protocol.checkin import (
    PLAIN_BYTES,
    SEALED_BYTES,
    Checkin,
    CheckinKey,
    Ticket,
    checkin_info,
    clean_reference,
    reference_holds,
    seal_person,
)
from protocol.credentials import venue_code
from protocol.credentials.health_code import mask_name
from protocol.errors import ProtocolError
from server.accounts.rights import Person
from server.accounts.roles import Act, Permission, Right
from server.audit import Thing, audit
from server.checkin.asking import Asked, Typed
from server.checkin.desk import Desk, TooMany, local_day
from server.checkin.models import PhoneCheckin
from server.checkin.notice import NOTICE, notice_version
from server.checkin.tickets import from_text, new_ticket, to_text
from server.codes.models import VenueCode
from server.codes.views import verified_code
from server.context import house
from server.db import session
from server.keystore import KeyStoreError
from server.residents.codes import open_identity, standing
from server.residents.models import Resident
from server.residents.words import COLOUR_MEANS, COLOUR_NAMES
from server.vault_keys import PublishedVault, VaultKeysError, read_vault_keys
from server.venues.views import find_venue
from server.web.access import needs, open_to_all, open_with_proof
from server.web.language import chinese, english

blueprint = Blueprint("checkin", __name__)

MAX_BODY_BYTES = 8 * 1024
REFERENCE_HOLDS = timedelta(hours=2)
CHECKS = Right(Permission.HELD_ENTRY, (Act.PERFORM,))  # whoever resolves a held visitor at this venue
FORM_TYPE = "application/x-www-form-urlencoded"
# a value of CodeState -> what the visitor reads; every other one that does not hold has run out
ENDED = {
    "revoked": "This poster was withdrawn.",
    "suspended": "This poster is suspended for now.",
    "superseded": "A newer poster hangs at this entrance. Please scan that one.",
    "renewed": "A newer poster hangs at this entrance. Please scan that one.",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """A colour on the pass, whose it is, and who says so."""

    colour: str  # green, yellow, red, grey
    name: str
    means: str
    masked_name: str = ""  # of the resident who is signed in on this phone


EMPTY = Typed({}, {})
NOTHING_STATED = Shown(
    "grey", "No health code seen", "Show your health code at the entrance and have your temperature taken."
)


@blueprint.get("/v/<token>")
@open_to_all
def scanned(token: str) -> ResponseReturnValue:
    """What a phone shows after scanning a poster: where one is, the notice to visitors, and a form of a few fields."""
    code = verified_code(session(), token)
    if (problem := _why_not(code)) is not None or code is None:
        return problem or _unknown()
    vault = _vault()
    if vault is None:
        return _page("checkin/closed.html", code=code, word=_word(code))
    return _form(code, vault)


@blueprint.post("/v/<token>")
@open_with_proof("a ticket of this server, for this poster, once", max_bytes=MAX_BODY_BYTES)
def send(token: str) -> ResponseReturnValue:
    """Take a check-in: sealed by the browser, or typed in clear and sealed here, before anything is written."""
    with house().database.reading() as reading:
        code = verified_code(reading, token)
        if (problem := _why_not(code)) is not None or code is None:
            return problem or _unknown()
    if request.mimetype != FORM_TYPE:  # files would go through a temporary file
        abort(400)
    vault = _vault()
    if vault is None:
        return _page("checkin/closed.html", 503, code=code, word=_word(code))
    asked = Asked.at(code.door.venue.category, house().settings.checkin)
    sealed = request.form.get("sealed", "")
    typed = Typed({}, {}) if sealed else Typed.read(request.form, asked)
    ticket = from_text(request.form.get("ticket", ""), code, house().now())
    if ticket is None:
        return _form(code, vault, typed, 409, form="The page was open for too long. Please send it again.")
    if request.form.get("agree") != "yes":
        return _form(code, vault, typed, 422, agree="Please agree first.")
    if typed.problems:
        return _form(code, vault, typed, 422)
    try:
        if sealed:
            checkin = _sealed_by_browser(ticket, sealed)
        else:
            checkin = seal_person(typed.person(asked), ticket, _newest(vault))
    except (ProtocolError, binascii.Error):
        return _form(code, vault, typed, 422, form="This could not be read. Please fill it in again.")
    try:
        taken = _desk().take(house(), checkin, vault.keys.seal[0].load(), on_arrival=not sealed)
    except TooMany:
        return _page("checkin/busy.html", 429, code=code)
    return _page(
        "checkin/pass.html",
        code=code,
        taken=taken,
        reference=f"{taken.reference[:3]}-{taken.reference[3:]}",
        shown=_own_colour() or NOTHING_STATED,
        is_sealed_here=not sealed,
        local=taken.at.astimezone(house().settings.zone),
    )


@blueprint.get("/checkin/key.json")
@open_to_all
def vault_key() -> ResponseReturnValue:
    """The key that browsers seal to, as the vault signed it, for everybody who wants to compare it from outside."""
    vault = _vault()
    if vault is None:
        abort(503)
    return {
        "key_id": _newest(vault).key_id.hex(),
        "point": _newest(vault).point.hex(),
        "vault_fingerprint": vault.fingerprint.hex(),
        "signed": base64.b64encode(vault.signed).decode("ascii"),
    }


class ReferenceForm(FlaskForm):  # type: ignore[misc]
    """One reference as a visitor's pass shows it."""

    reference = StringField("Reference on the visitor's pass")


@blueprint.get("/venues/<venue_id:venue_id>/references")
@needs(Permission.HELD_ENTRY, Act.PERFORM)
def references(venue_id: bytes) -> ResponseReturnValue:
    """The staff's field for a reference."""
    venue = find_venue(session(), venue_id, CHECKS)
    return render_template("checkin/references.html", venue=venue, form=ReferenceForm(formdata=None), answer=None)


@blueprint.post("/venues/<venue_id:venue_id>/references")
@needs(Permission.HELD_ENTRY, Act.PERFORM)
def check_reference(venue_id: bytes) -> ResponseReturnValue:
    """Say whether a reference is of a check-in here within two hours: yes or no, when, and if it was shown before."""
    venue = find_venue(session(), venue_id, CHECKS)
    form = ReferenceForm()
    if not form.validate_on_submit():
        abort(400)
    now = house().now()
    reference = clean_reference(form.reference.data or "")
    found = _checkin_of(session(), venue_id, reference) if reference else None
    shown_before = None if found is None else found.shown_at
    if found is not None and found.shown_at is None:
        found.shown_at = now
    audit(
        session(),
        "checkin.reference_checked",
        Thing("venue", venue.id.hex(), venue.area.path),
        "yes; ground: agreed to by the visitor when checking in" if found else "no",
    )
    session().commit()
    form.reference.data = ""
    answer = {"checkin": found, "shown_before": shown_before}
    return render_template("checkin/references.html", venue=venue, form=form, answer=answer)


def _checkin_of(reading: Session, venue_id: bytes, reference: str) -> PhoneCheckin | None:
    now, keys = house().now(), house().keys
    days = {local_day(house(), now), local_day(house(), now - REFERENCE_HOLDS)}  # one made before midnight still holds
    if not any(reference_holds(keys.venue_word_key(venue_id), day, reference) for day in days):
        return None
    return reading.scalar(
        select(PhoneCheckin)
        .where(
            PhoneCheckin.venue_id == venue_id,
            PhoneCheckin.reference == reference,
            PhoneCheckin.at > now - REFERENCE_HOLDS,
        )
        .order_by(PhoneCheckin.at.desc())
        .limit(1)
    )


def _why_not(code: VenueCode | None) -> ResponseReturnValue | None:
    """The page that says why nobody can check in with *code*; None when they can."""
    if code is None:
        return _unknown()
    if code.door.closed_at is not None:
        return _page("checkin/ended.html", 410, code=code, why="This entrance is closed.")
    if not code.holds(house().now()):
        why = ENDED.get(code.state, "Its time is over.")
        return _page("checkin/ended.html", 410, code=code, why=why)
    return None


def _unknown() -> ResponseReturnValue:
    return _page("checkin/not_ours.html", 404)


def _form(
    code: VenueCode, vault: PublishedVault, typed: Typed = EMPTY, status: int = 200, **problems: str
) -> ResponseReturnValue:
    """The form, with what was typed and what is wrong with it."""
    key, version = _newest(vault), notice_version()
    ticket = new_ticket(code, version, house().now())
    return _page(
        "checkin/form.html",
        status,
        code=code,
        word=_word(code),
        asked=Asked.at(code.door.venue.category, house().settings.checkin),
        values=typed.values,
        problems={**typed.problems, **problems},
        notice=NOTICE,
        notice_version=version,
        ticket=to_text(ticket),
        info=base64.b64encode(checkin_info(ticket)).decode("ascii"),
        key_id=key.key_id.hex(),
        key=base64.b64encode(key.key_id + key.point).decode("ascii"),
        plain_bytes=PLAIN_BYTES,
    )


def _page(template: str, status: int = 200, **values: object) -> ResponseReturnValue:
    """A small page of its own in the visitor's language. It sets no cookie and tells no other site where it was."""
    asked = request.values.get("lang", "")
    language = asked if asked in {"zh", "en"} else request.accept_languages.best_match(["zh", "en"], "zh")
    t: Callable[..., str] = english if language == "en" else chinese
    headers = {"Referrer-Policy": "no-referrer", **({"Retry-After": "60"} if status == 429 else {})}
    return render_template(template, t=t, language=language, **values), status, headers


def _desk() -> Desk:
    """This application's desk: its keys belong to one database."""
    found: Desk = current_app.extensions.setdefault("gatehouse_phone_desk", Desk())
    return found


def _vault() -> PublishedVault | None:
    """The vault's keys, when it has one for browsers."""
    settings = house().settings
    try:
        vault = read_vault_keys(settings.vault_public_path, settings.vault.fingerprint)
    except VaultKeysError:
        return None
    return vault if vault.keys.checkin else None


def _newest(vault: PublishedVault) -> CheckinKey:
    return vault.keys.checkin[0]


def _sealed_by_browser(ticket: Ticket, text: str) -> Checkin:
    """What the browser sent, looked at from outside only: the vault says whether it opens. Raises ProtocolError."""
    sealed = base64.b64decode(text, validate=True)
    if len(sealed) != SEALED_BYTES:
        raise ProtocolError("check-in: not of the agreed length", code="bad_checkin")
    return Checkin(ticket, sealed)


def _own_colour() -> Shown | None:
    """The colour in force of the resident who is signed in on this phone, from our own register (E-18); else None."""
    somebody: Person | None = g.get("person")
    if somebody is None:
        return None
    with house().database.reading() as reading:
        resident = reading.scalar(select(Resident).where(Resident.user_id == somebody.id))
        if resident is None:
            return None
        try:
            name = open_identity(resident).name
        except KeyStoreError:
            return None
        colour = standing(reading, resident.id, house().now()).colour
    return Shown(colour.name.lower(), COLOUR_NAMES[colour], COLOUR_MEANS[colour], mask_name(name))


def _word(code: VenueCode) -> str:
    return venue_code.check_word(code.venue_id, code.serial)
