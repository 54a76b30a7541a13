"""Which lists can be taken away as a file, and their columns. No column holds anything of a person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select
from sqlalchemy.orm import joinedload

from protocol.credentials.venue_code import check_word
from server.accounts.rights import Person
from server.accounts.roles import Act, Permission, Right
from server.codes.models import STATE_NAMES, VenueCode
from server.codes.views import listed as listed_codes
from server.context import house
from server.kiosks.fleet import CARD_NAMES, CONDITION_NAMES, POWER_NAMES, condition_of, parts_of
from server.kiosks.models import Kiosk
from server.kiosks.views import listed as listed_kiosks
from server.venues.models import CATEGORY_NAMES, Category, Entrance, Venue
from server.venues.views import SEES as SEES_VENUES
from server.venues.views import listed as listed_venues
from server.web.language import chinese

Value = str | int | float | datetime | None


@dataclass(frozen=True, slots=True)
class Column:
    """One column: a message of the catalogue, and what stands in it."""

    label: str
    value: Callable[[Any], Value]


@dataclass(frozen=True, slots=True)
class Table:
    """One list that can be exported."""

    name: str
    label: str  # a message of the catalogue
    rights: tuple[Right, ...]  # those of its page
    rows: Callable[[Person], Select[Any]]  # in the order they are written; the request's filters apply
    columns: tuple[Column, ...]
    filters: tuple[str, ...]  # the arguments of the address that narrow it


def _venues(somebody: Person) -> Select[Any]:
    return listed_venues(somebody).options(joinedload(Venue.area)).order_by(Venue.area_path, Venue.id)


def _codes(somebody: Person) -> Select[Any]:
    rows = listed_codes(somebody).options(joinedload(VenueCode.door).joinedload(Entrance.venue))
    return rows.order_by(VenueCode.serial.desc())


def _kiosks(somebody: Person) -> Select[Any]:
    rows = listed_kiosks(somebody).options(joinedload(Kiosk.door).joinedload(Entrance.venue))
    return rows.order_by(Kiosk.area_path, Kiosk.id)


def _condition(kiosk: Kiosk) -> str:
    return chinese(CONDITION_NAMES[condition_of(kiosk, house().now(), house().settings.fleet)])


def _part(names: dict[str, tuple[str, str]], word: str | None) -> str | None:
    return None if word is None else chinese(names[word][1]) if word in names else word


TABLES: tuple[Table, ...] = (
    Table(
        "venues",
        "Venues",
        SEES_VENUES,
        _venues,
        (
            Column("Venue number", lambda v: v.id.hex()),
            Column("Venue", lambda v: v.name_zh),
            Column("English name", lambda v: v.name_en),
            Column("Area", lambda v: v.area.name_zh),
            Column("Area code", lambda v: v.area_code),
            Column("Address", lambda v: v.address),
            Column("Category", lambda v: chinese(CATEGORY_NAMES[Category(v.category)])),
            Column("Responsible person named", lambda v: chinese("Yes") if v.keeper_name else chinese("No")),
            Column("Added on", lambda v: v.created_at),
        ),
        ("q", "keeper"),
    ),
    Table(
        "codes",
        "Venue codes",
        (Right(Permission.CODES, (Act.READ,)),),
        _codes,
        (
            Column("Code number", lambda c: f"{c.serial:08x}"),
            Column("Venue", lambda c: c.door.venue.name_zh),
            Column("Entrance", lambda c: c.door.name_zh),
            Column("Version", lambda c: c.version),
            Column("State", lambda c: chinese(STATE_NAMES[c.kind])),
            Column("Check word", lambda c: check_word(c.venue_id, c.serial)),
            Column("Issued on", lambda c: c.issued_at),
            Column("Valid until", lambda c: c.expires_at),
            Column("Posted on", lambda c: c.posted_at),
            Column("Ended on", lambda c: c.ended_at),
        ),
        ("state",),
    ),
    Table(
        "kiosks",
        "Kiosks",
        (Right(Permission.KIOSKS, (Act.READ,)),),
        _kiosks,
        (
            Column("Device number", lambda k: k.id.hex()),
            Column("Kiosk", lambda k: k.name),
            Column("Venue", lambda k: k.door.venue.name_zh),
            Column("Entrance", lambda k: k.door.name_zh),
            Column("State", _condition),
            Column("Last seen", lambda k: k.last_seen_at),
            Column("Unsent records", lambda k: k.unsent_count),
            Column("Oldest unsent", lambda k: k.oldest_unsent_at),
            Column("Rules", lambda k: k.bundle_version),
            Column("Program", lambda k: k.app_version),
            Column("Clock off by (ms)", lambda k: k.clock_offset_ms),
            Column("Card", lambda k: _part(CARD_NAMES, parts_of(k).get("card"))),
            Column("Power supply", lambda k: _part(POWER_NAMES, parts_of(k).get("power"))),
            Column("Opening test", lambda k: k.opening_test_at),
            Column("Enrolled on", lambda k: k.enrolled_at),
        ),
        ("condition",),
    ),
)
BY_NAME = {table.name: table for table in TABLES}
EVERY_RIGHT = tuple(right for table in TABLES for right in table.rights)
