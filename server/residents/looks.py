"""Who looked at mine: a resident asks the vault, with a word that this server never sees (docs/decisions/0104)."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime

from flask import Blueprint, Response, abort, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from protocol.own_looks import CHALLENGE_BYTES, MAX_WORD_CHARS, MIN_WORD_CHARS, SEALED_WORD_BYTES, WORD_BYTES, word_info
from protocol.query import Reveal
from server.accounts.models import RoleAssignment, User
from server.accounts.rights import person
from server.accounts.roles import ROLE_NAMES, Act, Permission
from server.areas.models import Area
from server.audit import Thing, audit
from server.context import house
from server.db import session
from server.keystore import KeyStoreError
from server.queries.words import PURPOSE_NAMES, REVEAL_NAMES
from server.residents.codes import open_identity
from server.residents.models import Resident
from server.vault.client import VaultAway, VaultClient
from server.vault.errors import Refused
from server.vault.person import Person, PersonKind, seal_person
from server.vault.wire import LookLine
from server.vault_keys import PublishedVault, VaultKeysError, read_vault_keys
from server.venues.models import Venue
from server.web.access import needs

blueprint = Blueprint("looks", __name__)

AWAY = "The vault does not answer right now. Try again later."
REFUSED = {
    "wrong_word": "Not the word that was chosen for you. If you never chose one, tell the data protection officer.",
    "too_many": "Too many attempts today. Try again tomorrow.",
    "old_challenge": "The page was open for too long. Please type the word again.",
    "bad_word": "A word has 8 to 40 characters.",
}
NOT_TAKEN = "The vault did not take this. Please load the page again."


@dataclass(frozen=True, slots=True)
class Shown:
    """One look as its resident sees it: by which office, never by which colleague of ours in person."""

    at: datetime
    is_search: bool  # they were searched for; otherwise a record was opened
    offices: tuple[tuple[str, str], ...]  # role and authority, at the time of the look
    purpose: str
    ground: str
    in_full: tuple[str, ...]  # what was shown unmasked


@blueprint.get("/me/looks")
@needs(Permission.PASSAGES, Act.OWN)
def page() -> ResponseReturnValue:
    """What can be asked, and the field for the word."""
    _own(session())
    return _page()


@blueprint.post("/me/looks")
@needs(Permission.PASSAGES, Act.OWN)
def ask() -> ResponseReturnValue:
    """Hand the sealed word to the vault and show its answer, in the answer itself: it is stored nowhere."""
    with house().database.reading() as reading:
        resident = _own(reading)
    try:
        challenge = bytes.fromhex(request.form.get("challenge", ""))
        word = base64.b64decode(request.form.get("word", ""), validate=True)
    except (ValueError, binascii.Error):
        abort(400)
    if len(challenge) != CHALLENGE_BYTES or len(word) != SEALED_WORD_BYTES:
        abort(400)
    vault = _vault()
    try:
        who = open_identity(resident)
    except KeyStoreError:
        abort(503)
    made = (Person.make(PersonKind.ID_NUMBER, who.id_number), Person.make(PersonKind.PHONE, who.phone))
    persons = [seal_person(one, challenge, vault.keys.identity[0]) for one in made if one is not None]
    try:
        told = _client().own_looks(challenge, persons, word)
    except VaultAway:
        return _page(AWAY), 503
    except Refused as error:
        return _page(REFUSED.get(error.code, NOT_TAKEN)), 422
    # the disclosure's ground stands in the vault's line "told" (V-29)
    audit(session(), "resident.looks_told", Thing("resident", resident.id), f"vault log line {told.head.sequence}")
    session().commit()
    with house().database.reading() as reading:
        shown = [_shown(reading, line) for line in told.lines]
    text = render_template(
        "residents/looks.html", asked=True, looks=shown, unanswered=told.unanswered, head=told.head, problem=""
    )
    return Response(text, headers={"Cache-Control": "no-store"})


def _own(reading: Session) -> Resident:
    """The resident who is signed in; 404 for everybody else."""
    found = reading.scalar(select(Resident).where(Resident.user_id == person().id))
    if found is None:
        abort(404)
    return found


def _page(problem: str = "") -> str:
    challenge, vault = b"", _vault()
    try:
        challenge = _client().challenge()
    except (VaultAway, Refused):
        problem = AWAY
    key = vault.keys.checkin[0]
    return render_template(
        "residents/looks.html",
        asked=False,
        problem=problem,
        challenge=challenge.hex(),
        key=base64.b64encode(key.key_id + key.point).decode("ascii"),
        info=base64.b64encode(word_info(challenge)).decode("ascii"),
        word_bytes=WORD_BYTES,
        shortest=MIN_WORD_CHARS,
        longest=MAX_WORD_CHARS,
    )


def _vault() -> PublishedVault:
    settings = house().settings
    try:
        vault = read_vault_keys(settings.vault_public_path, settings.vault.fingerprint)
    except VaultKeysError:
        abort(503)
    if not vault.keys.checkin:
        abort(503)
    return vault


def _client() -> VaultClient:
    return VaultClient(house().settings.vault_socket_path)


def _shown(reading: Session, line: LookLine) -> Shown:
    at = datetime.fromtimestamp(line.at_ms / 1000, UTC)
    purposes = {purpose.value: name for purpose, name in PURPOSE_NAMES.items()}
    reveals = {reveal.value: name for reveal, name in REVEAL_NAMES.items()}
    return Shown(
        at=at,
        is_search=line.event == "found",
        offices=_offices(reading, line.requester, at),
        purpose=purposes.get(line.purpose, line.purpose),
        ground=line.ground,
        in_full=tuple(reveals[value] for value in line.reveal if value != Reveal.MASKED.value and value in reveals),
    )


def _offices(reading: Session, name: str, at: datetime) -> tuple[tuple[str, str], ...]:
    """The roles that *name* held at *at*, each with its area or venue; empty when nobody of that name is known here."""
    user = reading.scalar(select(User).where(User.name == name).options(selectinload(User.assignments)))
    everything = user.assignments if user else []
    held = [one for one in everything if one.starts_at <= at and (one.ends_at is None or at < one.ends_at)]
    return tuple((ROLE_NAMES[one.kind], _authority(reading, one)) for one in held)


def _authority(reading: Session, held: RoleAssignment) -> str:
    if held.area_code is not None:
        return reading.get_one(Area, held.area_code).name_zh
    if held.venue_id is not None:
        return reading.get_one(Venue, held.venue_id).name_zh
    return ""
