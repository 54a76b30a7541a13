"""The page behind the search field of every page: what the words fit, within what the signed-in person may open."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from flask import Blueprint, g, render_template, url_for
from flask.blueprints import BlueprintSetupState
from flask.typing import ResponseReturnValue
from sqlalchemy import and_, case, false, or_, select
from sqlalchemy.orm import Session, joinedload

from server.accounts.gates import may_see_personal
from server.accounts.rights import Person, person
from server.accounts.roles import Act, Permission, Right
from server.cases.inbox import visible_to
from server.cases.models import Case
from server.cases.registry import machine_of
from server.codes.models import STATE_NAMES, VenueCode
from server.db import session
from server.kiosks.models import Kiosk
from server.residents.desk import READS as READS_RESIDENTS
from server.residents.forms import FindResidentForm
from server.search.models import SearchEntry
from server.search.words import matches, words_asked
from server.venues.models import Entrance, Venue
from server.venues.views import SEES as SEES_VENUES
from server.web.access import signed_in

blueprint = Blueprint("search", __name__)

MOST_SHOWN = 10  # of each kind
SEES_KIOSKS = (Right(Permission.KIOSKS, (Act.READ,)),)
SEES_CODES = (Right(Permission.CODE_PRINT, (Act.READ, Act.PERFORM)),)
SEARCHABLE = (*SEES_VENUES, *SEES_CODES, Right(Permission.CODES, (Act.READ,)), *READS_RESIDENTS)
# An ID number or a mobile number: it belongs into no address, so it is not looked for here and not shown again.
_PERSONAL = re.compile(r"(?<!\d)(\d{17}[\dXx]|1[3-9]\d{9}|\d{15})(?!\d)")
_HEX = re.compile(r"[0-9a-f]+")
_CASE_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Hit:
    """One thing found."""

    title: str
    detail: str  # where it is; or a message of the catalogue when `detail_is_message`
    url: str
    detail_is_message: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """What was found of one kind."""

    label: str  # a message of the catalogue
    hits: tuple[Hit, ...]
    more_url: str | None = None  # the list that goes on


@blueprint.get("/search")
@signed_in
def index() -> ResponseReturnValue:
    """Venues, entrances, kiosks, codes by number, and cases. Residents are looked for by a form of their own."""
    words, somebody = words_asked(), person()
    is_personal = bool(_PERSONAL.search(words.replace(" ", "")))
    if is_personal:
        words = ""
    groups = [group for group in _groups(session(), somebody, words) if group.hits] if words else []
    return render_template(
        "search/index.html",
        words=words,
        is_personal=is_personal,
        groups=groups,
        count=sum(len(group.hits) for group in groups),
        residents_form=FindResidentForm(formdata=None) if may_find_residents(somebody) else None,
    )


def may_search() -> bool:
    """Whether the signed-in person has anything to search; for the field in the header."""
    somebody: Person | None = g.get("person")
    return somebody is not None and somebody.holds_any(SEARCHABLE)


def may_find_residents(somebody: Person) -> bool:
    """Whether *somebody* may look for residents at all; the register asks again."""
    return somebody.holds_any(READS_RESIDENTS) and may_see_personal(somebody)


def _groups(reading: Session, somebody: Person, words: str) -> Iterator[Group]:
    venues = _venues(reading, somebody, words)
    more = url_for("venues.index", q=words) if len(venues) > MOST_SHOWN else None
    shown = venues[:MOST_SHOWN]
    hits = (Hit(_named(v.name_zh, v.name_en), v.address, url_for("venues.show", venue_id=v.id)) for v in shown)
    yield Group("Venues", tuple(hits), more)
    yield Group("Entrances", tuple(_entrances(reading, somebody, words)))
    yield Group("Kiosks", tuple(_kiosks(reading, somebody, words)))
    yield Group("Venue codes", tuple(_codes(reading, somebody, words)))
    yield Group("Cases", tuple(_cases(reading, somebody, words, [venue.id for venue in shown])))


def _venues(reading: Session, somebody: Person, words: str) -> list[Venue]:
    reach = somebody.reach_any(SEES_VENUES)
    rows = (
        select(Venue)
        .join(SearchEntry, SearchEntry.venue_id == Venue.id)
        .where(matches(reach, "venue", words))
        .order_by(SearchEntry.area_path, SearchEntry.venue_id)
        .limit(MOST_SHOWN + 1)
    )
    return list(reading.scalars(rows))


def _entrances(reading: Session, somebody: Person, words: str) -> Iterator[Hit]:
    """Only by two words or more, a place and a door: alone, "east gate" fits thousands and a venue lists its own."""
    if len(words.split()) < 2:
        return
    door = and_(Entrance.venue_id == SearchEntry.venue_id, Entrance.number == SearchEntry.entrance)
    names = (Entrance.name_zh, Entrance.name_en)
    own_words = or_(*(name.icontains(word, autoescape=True) for name in names for word in words.split()))
    # `case`: only asked of doors whose words fit; PostgreSQL would ask it of every door first, for 4 µs each
    has_own_word = case((SearchEntry.words != "", own_words), else_=false())
    rows = (
        select(Entrance)
        .join(SearchEntry, door)
        .where(matches(somebody.reach_any(SEES_VENUES), "entrance", words), has_own_word)
        .options(joinedload(Entrance.venue))
        .order_by(SearchEntry.area_path, SearchEntry.venue_id, SearchEntry.entrance)
        .limit(MOST_SHOWN)
    )
    for found in reading.scalars(rows):
        yield Hit(
            _named(found.name_zh, found.name_en), found.venue.name_zh, url_for("venues.show", venue_id=found.venue_id)
        )


def _kiosks(reading: Session, somebody: Person, words: str) -> Iterator[Hit]:
    rows = (
        select(Kiosk)
        .join(SearchEntry, SearchEntry.kiosk_id == Kiosk.id)
        .where(matches(somebody.reach_any(SEES_KIOSKS), "kiosk", words))
        .options(joinedload(Kiosk.door).joinedload(Entrance.venue))
        .order_by(SearchEntry.area_path, SearchEntry.venue_id, SearchEntry.entrance, SearchEntry.kiosk_id)
        .limit(MOST_SHOWN)
    )
    for found in reading.scalars(rows):
        place = f"{found.door.venue.name_zh} · {found.door.name_zh}"
        yield Hit(found.name, place, url_for("kiosks.show", kiosk_id=found.id))


def _codes(reading: Session, somebody: Person, words: str) -> Iterator[Hit]:
    """By short id, as it stands on the poster: eight hexadecimal digits."""
    given = words.lower().replace(" ", "")
    if len(given) > 8 or not _HEX.fullmatch(given):
        return
    found = reading.scalar(
        select(VenueCode)
        .where(
            VenueCode.serial == int(given, 16),
            somebody.reach_any(SEES_CODES).condition(VenueCode.area_path, VenueCode.venue_id),
        )
        .options(joinedload(VenueCode.door).joinedload(Entrance.venue))
    )
    if found is not None:
        place = f"{found.door.venue.name_zh} · {found.door.name_zh}"
        url = url_for("codes.show", serial=found.serial)
        yield Hit(f"{found.serial:08x} · {place}", STATE_NAMES[found.kind], url, True)


def _cases(reading: Session, somebody: Person, words: str, venue_ids: list[bytes]) -> Iterator[Hit]:
    """By number, and the open ones of the venues that were found."""
    fits = [Case.id == words.lower()] if _CASE_ID.fullmatch(words.lower()) else []
    if not fits and not venue_ids:
        return
    if venue_ids:
        fits.append(and_(Case.venue_id.in_(venue_ids), Case.closed_at.is_(None)))
    rows = select(Case).where(or_(*fits), visible_to(somebody)).order_by(Case.opened_at.desc(), Case.id)
    for found in reading.scalars(rows.limit(MOST_SHOWN)):
        label = machine_of(found.machine).label
        yield Hit(f"{found.id} · {found.title}", label, url_for("cases.show", case_id=found.id), True)


def _named(zh: str, en: str) -> str:
    return f"{zh} {en}".strip()


@blueprint.record_once
def _offer_field(state: BlueprintSetupState) -> None:
    """Give `base.html` what decides whether the header has a search field."""
    state.app.jinja_env.globals.update(may_search=may_search)
