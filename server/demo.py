"""A small made-up district for the demo and for trying things out: areas, one library, people and residents."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from config.errors import GatehouseError
from protocol.credentials.identity import Identity, check_digit
from protocol.staff import StaffRole
from protocol.words import Colour
from server.accounts.gates import record_pass, sign_agreement
from server.accounts.making import create_user
from server.accounts.roles import Role
from server.areas.models import Area, Level, area_row
from server.audit import Thing, audit
from server.bundles.staff import set_staff
from server.codes.issuing import issue, record_posting, record_print
from server.residents.codes import close_identity
from server.residents.models import HealthStatus, Resident
from server.residents.registering import number_tag
from server.venues.models import Entrance, Venue

VENUE_ID = bytes.fromhex("6a6c74736700")
STREET, COMMUNITY = "510104001", "510104001001"

AREAS: tuple[tuple[str, str | None, Level, str, str], ...] = (
    ("510000", None, Level.PROVINCE, "四川省", "Sichuan"),
    ("510100", "510000", Level.CITY, "成都市", "Chengdu"),
    ("510104", "510100", Level.DISTRICT, "锦江区", "Jinjiang"),
    (STREET, "510104", Level.STREET, "示范街道", "Demo Street"),
    (COMMUNITY, STREET, Level.COMMUNITY, "示范社区", "Demo Community"),
)
STAFF: tuple[tuple[str, str, Role, str | None], ...] = (
    ("city", "市指挥部 周", Role.CITY_COMMAND, "510100"),
    ("district", "区指挥部 吴", Role.DISTRICT_COMMAND, "510104"),
    ("street", "街道 郑", Role.STREET_ADMIN, STREET),
    ("community", "社区 沈", Role.COMMUNITY_WORKER, COMMUNITY),
    ("investigator", "流调 孙", Role.EPI_INVESTIGATOR, "510104"),
    ("inspector", "检查 钱", Role.INSPECTOR, "510104"),
    ("officer", "数据保护 冯", Role.DATA_OFFICER, "510100"),
    ("tech", "技术 陈", Role.TECH_SUPPORT, "510100"),
    ("operator", "图书馆 褚", Role.VENUE_OPERATOR, None),
    ("staff", "图书馆门口 卫", Role.VENUE_STAFF, None),
)


@dataclass(frozen=True, slots=True)
class DemoResident:
    """A resident of the demo; nobody real: born in 1901, with the phone number of a service hotline."""

    name: str  # to sign in with
    full_name: str
    id_number: str
    colour: Colour
    cause: str


def _born_1901(sequence: int) -> str:
    body = f"51010419010101{sequence:03d}"
    return body + check_digit(body)


PHONE = "+8613800138000"
KIOSK_STAFF_ID, KIOSK_PIN = "wei", "250814"  # the member of staff at the entrance screen's own panel
RESIDENTS: tuple[DemoResident, ...] = (
    DemoResident("wang", "王小明", _born_1901(1), Colour.GREEN, "test_negative"),
    DemoResident("li", "李秀英", _born_1901(2), Colour.GREEN, "no_risk_known"),
    DemoResident("zhang", "张建国", _born_1901(3), Colour.YELLOW, "test_due"),
    DemoResident("zhao", "赵丽华", _born_1901(4), Colour.RED, "test_positive"),
    DemoResident("ouyang", "欧阳娜娜", _born_1901(5), Colour.GREEN, "no_risk_known"),
    DemoResident("liu", "刘大伟", _born_1901(6), Colour.GREEN, "test_negative"),
)


def seed(writing: Session, *, password: str, at: datetime) -> None:
    """Fill an empty database; every account gets *password*. Needs an application context. Raises GatehouseError."""
    if writing.get(Area, AREAS[0][0]) is not None:
        raise GatehouseError("The database holds areas already.", hint="The demo is for an empty one.", code="seeded")
    areas: dict[str, Area] = {}
    for code, parent, level, zh, en in AREAS:
        areas[code] = area_row(code, level, zh, en, areas[parent] if parent else None)
        writing.add(areas[code])
        writing.flush()
    venue = Venue(
        id=VENUE_ID,
        area_code=COMMUNITY,
        name_zh="锦江图书馆",
        name_en="Jinjiang Library",
        address="示范路 1 号",
        category="culture",
        keeper_name="褚管理",
        keeper_phone="028-0000 0000",
        created_at=at,
    )
    venue.area = areas[COMMUNITY]
    venue.entrances = [
        Entrance(number=1, name_zh="东门", name_en="East gate"),
        Entrance(number=2, name_zh="西门", name_en="West gate"),
    ]
    writing.add(venue)
    writing.flush()
    audit(writing, "venue.created", Thing("venue", venue.id.hex(), venue.area.path), "demo", at=at)
    users = {}
    for name, display_name, role, area_code in STAFF:
        users[name] = create_user(
            writing,
            name=name,
            display_name=display_name,
            role=role,
            password=password,
            at=at,
            area_code=area_code,
            venue_id=None if area_code else VENUE_ID,
            must_change_password=False,
        )
        sign_agreement(writing, users[name].id, at)
        record_pass(writing, users[name].id, 95, at, recorded_by=None)
    for person in RESIDENTS:
        user = create_user(
            writing,
            name=person.name,
            display_name=person.full_name[0] + "*" * (len(person.full_name) - 1),
            role=Role.RESIDENT,
            password=password,
            at=at,
            must_change_password=False,
        )
        resident = Resident(id=user.id, user_id=user.id, created_at=at, area_code=COMMUNITY)
        resident.identity = close_identity(resident.id, Identity(person.full_name, person.id_number, PHONE))
        resident.number_tag = number_tag(person.id_number)
        writing.add(resident)
        writing.flush()
        audit(writing, "resident.created", Thing("resident", resident.id), at=at)
        writing.add(
            HealthStatus(
                resident_id=resident.id,
                since=at - timedelta(days=1),
                colour=int(person.colour),
                cause=person.cause,
                expires_at=at + timedelta(days=30),
                set_by="system",
            )
        )
        audit(writing, "resident.status_set", Thing("resident", resident.id), person.cause, at=at)
    set_staff(writing, VENUE_ID, KIOSK_STAFF_ID, "卫门口", StaffRole.KEEPER, KIOSK_PIN, at)
    poster = issue(writing, venue.entrances[0], by=users["street"].id)
    record_print(writing, poster, "pdf", by=users["operator"].id)
    record_posting(writing, poster, "门右侧 right of the door")
