"""The same named people in every server test, and a browser-like client that speaks for them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from config.server import AccountSettings
from protocol.credentials.identity import Identity
from server.accounts.gates import AGREEMENT_VERSION
from server.accounts.models import AgreementSignature, RoleAssignment, TrainingPass, User
from server.accounts.passwords import hash_password
from server.accounts.roles import Role
from server.areas.models import Level, area_row
from server.context import House
from server.kiosks.models import Kiosk
from server.residents.codes import close_identity
from server.residents.models import Resident
from server.venues.models import Entrance, Venue

PASSWORD = "a long pass phrase"
# Tests of other things than signing in: no second factor, and sessions that outlive a clock that jumps.
PASSWORD_ALONE = AccountSettings(second_factor_roles=(), idle_minutes=24 * 60)
NOON = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)  # noon in Chengdu

LIBRARY = bytes.fromhex("a1a1a1a1a1a1")  # in street 510104001
MARKET = bytes.fromhex("b2b2b2b2b2b2")  # in street 510105001, another district


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self, at: datetime = NOON) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def passes(self, **duration: float) -> None:
        self.at += timedelta(**duration)


# name -> (role, area code or None, venue or None)
PEOPLE: dict[str, tuple[Role, str | None, bytes | None]] = {
    "city": (Role.CITY_COMMAND, "510100", None),
    "district": (Role.DISTRICT_COMMAND, "510104", None),
    "street": (Role.STREET_ADMIN, "510104001", None),
    "otherstreet": (Role.STREET_ADMIN, "510105001", None),
    "worker": (Role.COMMUNITY_WORKER, "510104001001", None),
    "operator": (Role.VENUE_OPERATOR, None, LIBRARY),
    "staff": (Role.VENUE_STAFF, None, LIBRARY),
    "marketkeeper": (Role.VENUE_KEEPER, None, MARKET),
    "inspector": (Role.INSPECTOR, "510104", None),
    "epi": (Role.EPI_INVESTIGATOR, "510104", None),
    "tech": (Role.TECH_SUPPORT, "510100", None),
    "officer": (Role.DATA_OFFICER, "510100", None),
    "wang": (Role.RESIDENT, None, None),
    "zhao": (Role.RESIDENT, None, None),
}


def furnish(house: House) -> None:
    """Put the areas, two venues and the named people into an empty database."""
    stored = hash_password(PASSWORD)
    with house.database.writing() as writing:
        province = area_row("510000", Level.PROVINCE, "四川省", "Sichuan", None)
        city = area_row("510100", Level.CITY, "成都市", "Chengdu", province)
        rows = [province, city]
        for district_code, zh in (("510104", "锦江区"), ("510105", "青羊区")):
            district = area_row(district_code, Level.DISTRICT, zh, "", city)
            street = area_row(f"{district_code}001", Level.STREET, f"{zh}一街", "", district)
            community = area_row(f"{district_code}001001", Level.COMMUNITY, f"{zh}一社区", "", street)
            rows += [district, street, community]
        for row in rows:  # one by one: a parent must stand before its children
            writing.add(row)
            writing.flush()
        for venue_id, area_code, zh, en in (
            (LIBRARY, "510104001001", "锦江图书馆", "Jinjiang Library"),
            (MARKET, "510105001001", "青羊市场", "Qingyang Market"),
        ):
            venue = Venue(
                id=venue_id,
                area_code=area_code,
                name_zh=zh,
                name_en=en,
                address="人民路 1 号",
                category="culture",
                keeper_name="李管理",
                keeper_phone="028-5550100",
                created_at=NOON,
            )
            venue.entrances = [
                Entrance(number=1, name_zh="东门", name_en="East gate"),
                Entrance(number=2, name_zh="西门", name_en="West gate"),
            ]
            writing.add(venue)
            writing.flush()
        for name, (role, area_code, venue_id) in PEOPLE.items():
            user = User(name=name, display_name=name.title(), password=stored, created_at=NOON)
            user.assignments = [
                RoleAssignment(
                    role=role.value, area_code=area_code, venue_id=venue_id, starts_at=NOON - timedelta(days=1)
                )
            ]
            writing.add(user)
            writing.flush()
            if role is not Role.RESIDENT:
                allow_personal(writing, user.id)


def allow_personal(writing: Session, user_id: str, at: datetime = NOON) -> None:
    """Agreement signed and training passed, as somebody has who works with personal data."""
    writing.add(AgreementSignature(user_id=user_id, version=AGREEMENT_VERSION, signed_at=at))
    passed = {"score": 90, "passed_at": at - timedelta(days=1), "ends_at": at + timedelta(days=3650)}
    writing.add(TrainingPass(user_id=user_id, recorded_by=None, **passed))


@dataclass
class Browser:
    """A client that fills in forms as a person does: it loads the page and sends its token along."""

    client: FlaskClient

    def get(self, path: str) -> TestResponse:
        return self.client.get(path)

    def post(self, path: str, fields: dict[str, str] | None = None, *, page: str | None = None) -> TestResponse:
        """Load *page* (default: the password page, which every account has), then post with its token."""
        return self.client.post(path, data={"csrf_token": self.token(page or "/password"), **(fields or {})})

    def token(self, page: str) -> str:
        found = re.search(r'name="csrf_token" value="([^"]+)"', self.client.get(page).text)
        assert found, f"{page} holds no form"
        return found[1]


def sign_in(app: Flask, name: str, password: str = PASSWORD) -> Browser:
    """A browser in which *name* has signed in."""
    browser = Browser(app.test_client())
    answer = browser.post("/sign-in", {"name": name, "password": password}, page="/sign-in")
    assert answer.status_code == 303, answer.text
    return browser


def open_code(app: Flask, entrance: int = 1) -> int:
    """Issue a code for an entrance of the library; its serial."""
    street = sign_in(app, "street")
    answer = street.post(f"/venues/{LIBRARY.hex()}/entrances/{entrance}/codes")
    assert answer.status_code == 303
    return int(answer.location.rsplit("/", 1)[1])


def hang(app: Flask, serial: int) -> None:
    """Print and hang a code's poster, as the operator does."""
    operator = sign_in(app, "operator")
    assert operator.post(f"/codes/{serial}/prints", {"form": "pdf"}).status_code == 303
    assert operator.post(f"/codes/{serial}/posting", {"note": "right of the door"}).status_code == 303


KIOSK = bytes.fromhex("c0ffee00c0ffee00")


def put_kiosk(house: House, kiosk_id: bytes = KIOSK, venue_id: bytes = LIBRARY, **fields: object) -> None:
    """A kiosk at entrance 1 that was seen just now, unless *fields* say otherwise."""
    values = {
        "name": "东门左",
        "public_key": kiosk_id * 4,
        "state": "active",
        "enrolled_at": NOON - timedelta(days=1),
        "last_seen_at": NOON,
        **fields,
    }
    with house.database.writing() as writing:
        writing.add(Kiosk(id=kiosk_id, venue_id=venue_id, entrance=1, **values))


def put_resident(app: Flask, house: House, resident_id: str, area_code: str = "510104001001") -> None:
    """A resident with an account of their own, who has no name that a test would look for."""
    with app.app_context(), house.database.writing() as writing:
        user = User(name=f"r-{resident_id}", display_name="居*民", password="-", is_active=False, created_at=NOON)
        writing.add(user)
        writing.flush()
        resident = Resident(id=resident_id, user_id=user.id, created_at=NOON, area_code=area_code)
        resident.identity = close_identity(resident_id, Identity("居小民", "E12345678", "+8613800138001"))
        writing.add(resident)
