"""A whole city for `./run bench console`: areas, venues, kiosks, codes, cases, residents, passages, put in in bulk.

The rows are what the product would have written, as far as any page reads them; sealed parts are random bytes.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from sqlalchemy import Table

from protocol.credentials.identity import Identity
from server.accounts.models import RoleAssignment, User
from server.accounts.roles import Role
from server.areas.models import Area, Level
from server.audit import GENESIS, AuditEvent
from server.cases.models import Case
from server.codes.models import VenueCode
from server.context import House
from server.ingest.models import Journal, JournalRecord
from server.ingest.partitions import day_of, ensure_days
from server.kiosks.fleet_counting import count_new
from server.kiosks.models import Kiosk
from server.papers.models import PaperCode
from server.residents.codes import close_identity
from server.residents.models import Resident
from server.venues.models import Entrance, Venue
from tests.server.people import NOON, allow_personal

CITY = "510000/510100/"
DISTRICTS, STREETS, COMMUNITIES = 18, 10, 10  # of the city, of a district, of a street
SORTS = ("enterprise", "institution", "shop", "market", "restaurant", "transport", "culture", "residential", "other")
WORDS = "天府锦江青羊金牛武侯成华龙泉新都温江双流郫都人民解放建设春熙东城西门玉林高升桐梓"
KINDS = ("图书馆", "超市", "农贸市场", "中学", "医院", "地铁站", "写字楼", "小区", "电影院", "饭店")
ONE_STREET, ONE_COMMUNITY = "510110001", "510110001001"

# name -> (role, area): the people who look at the pages; each at the top of what such a role is given
PEOPLE = {
    "bench-city": (Role.CITY_COMMAND, "510100"),
    "bench-district": (Role.DISTRICT_COMMAND, "510110"),
    "bench-street": (Role.STREET_ADMIN, ONE_STREET),
    "bench-allstreets": (Role.STREET_ADMIN, "510100"),
    "bench-community": (Role.COMMUNITY_WORKER, ONE_COMMUNITY),
    "bench-inspector": (Role.INSPECTOR, "510100"),
    "bench-tech": (Role.TECH_SUPPORT, "510100"),
    "bench-officer": (Role.DATA_OFFICER, "510100"),
}


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything."""

    venues: int = 100_000
    kiosks: int = 20_000
    passages: int = 1_000_000
    residents: int = 20_000
    audit_lines: int = 200_000


def fill(house: House, size: Size, password: str) -> None:
    """Put the city beside what `furnish` made; *password* is the stored password of the people who look."""
    chance = random.Random(8)  # the same city every time
    areas = list(_areas())
    _insert(house, Area.__table__, areas)
    communities = [area for area in areas if area["level"] == Level.COMMUNITY.value]
    home = {row["code"]: row["path"] for row in communities}
    with house.database.writing() as writing:
        for name, (role, area) in PEOPLE.items():
            user = User(id=hashlib.sha256(name.encode()).hexdigest()[:16], name=name, display_name=name)
            user.password, user.created_at = password, NOON
            user.assignments = [RoleAssignment(role=role.value, area_code=area, starts_at=NOON - timedelta(days=1))]
            writing.add(user)
            writing.flush()
            allow_personal(writing, user.id)
        staff = user.id
    venues = list(_venues(chance, communities, size.venues))
    _insert(house, Venue.__table__, venues)
    _insert(house, Entrance.__table__, _entrances(venues))
    codes = list(_codes(chance, venues, staff))
    _insert(house, VenueCode.__table__, codes)
    kiosks = list(_kiosks(chance, venues, size.kiosks))
    _insert(house, Kiosk.__table__, kiosks)
    _insert(house, Case.__table__, _cases(chance, venues, codes, kiosks, home, staff))
    _residents(house, communities, size.residents, staff)
    ensure_days(house.database.engine, day_of(NOON) - 1, 2)
    _insert(house, JournalRecord.__table__, _passages(chance, kiosks, size.passages))
    _insert(house, Journal.__table__, ({**_journal(kiosk["id"]), "changed_at": NOON} for kiosk in kiosks))
    while count_new(house, NOON)[1]:
        pass
    _insert(house, AuditEvent.__table__, _audit(chance, venues, home, staff, size.audit_lines))
    house.database.gather_statistics()
    if house.database.is_postgresql:
        with house.database.engine.execution_options(
            isolation_level="AUTOCOMMIT", gatehouse_writes=True
        ).connect() as c:
            c.exec_driver_sql("VACUUM ANALYZE")


def _insert(house: House, table: Table, rows: Iterable[dict[str, Any]]) -> None:
    """Into *table* in one transaction: `executemany` of the driver (SQLite) or COPY (PostgreSQL)."""
    found = iter(rows)
    first = next(found, None)
    if first is None:
        return
    names = [name for name in first if name in table.c]
    postgresql = house.database.is_postgresql
    options = {"gatehouse_writes": True, "gatehouse_alone": True}
    with house.database.engine.execution_options(**options).begin() as connection:
        driver: Any = connection.connection.driver_connection
        values = ([_plain(row[name], postgresql) for name in names] for row in itertools.chain([first], found))
        columns = ", ".join(f'"{name}"' for name in names)
        if postgresql:
            assert isinstance(driver, psycopg.Connection)
            driver.execute("SET LOCAL statement_timeout = 0")  # triggers write the words of every venue
            with driver.cursor() as cursor, cursor.copy(f"COPY {table.name} ({columns}) FROM STDIN".encode()) as copy:
                for line in values:
                    copy.write_row(line)
        else:
            marks = ", ".join("?" * len(names))
            driver.executemany(f"INSERT INTO {table.name} ({columns}) VALUES ({marks})", values)


def _plain(value: Any, postgresql: bool) -> Any:
    if isinstance(value, dict):
        return json.dumps(value)
    if isinstance(value, datetime) and not postgresql:
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
    return value


def _areas() -> Iterator[dict[str, Any]]:
    def node(code: str, parent: str, level: Level, name: str, path: str) -> dict[str, Any]:
        return {"code": code, "parent_code": parent, "level": level.value, "name_zh": name, "name_en": "", "path": path}

    for d in range(DISTRICTS):
        district = f"5101{10 + d:02d}"
        yield node(district, "510100", Level.DISTRICT, f"第{d + 1}区", f"{CITY}{district}/")
        for s in range(STREETS):
            street = f"{district}{s + 1:03d}"
            yield node(street, district, Level.STREET, f"{d + 1}区{s + 1}街道", f"{CITY}{district}/{street}/")
            for c in range(COMMUNITIES):
                code = f"{street}{c + 1:03d}"
                path = f"{CITY}{district}/{street}/{code}/"
                yield node(code, street, Level.COMMUNITY, f"{d + 1}区{s + 1}街{c + 1}社区", path)


def _venues(chance: random.Random, communities: Sequence[dict[str, Any]], count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        name = "".join(chance.choices(WORDS, k=3)) + KINDS[number % len(KINDS)]
        yield {
            "id": chance.randbytes(6),
            "area_code": communities[number % len(communities)]["code"],
            "name_zh": f"{name}{number}",
            "name_en": f"Venue {number}",
            "address": f"{''.join(chance.choices(WORDS, k=2))}路 {chance.randrange(1, 900)} 号",
            "category": SORTS[number % len(SORTS)],
            "keeper_name": "" if number % 50 == 0 else "李管理",
            "keeper_phone": "028-5550100",
            "created_at": NOON - timedelta(days=number % 300),
        }


def _entrances(venues: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for number, venue in enumerate(venues):
        for door, name in ((1, "东门"), (2, "西门"))[: 1 + number % 2]:
            yield {"venue_id": venue["id"], "number": door, "name_zh": name, "name_en": "", "closed_at": None}


def _codes(chance: random.Random, venues: Sequence[dict[str, Any]], staff: str) -> Iterator[dict[str, Any]]:
    for serial, venue in enumerate(venues, 1):
        state = chance.choices(("active", "issued", "printed", "revoked", "superseded"), (90, 3, 3, 2, 2))[0]
        issued = NOON - timedelta(days=chance.randrange(1, 364))
        yield {
            "serial": serial,
            "venue_id": venue["id"],
            "entrance": 1,
            "version": 1,
            "state": state,
            "token": f"token-{serial}",
            "kid": bytes(8),
            "issued_at": issued,
            "expires_at": issued + timedelta(days=365),
            "issued_by": staff,
            "posted_note": "",
            "end_reason": "",
        }


def _kiosks(chance: random.Random, venues: Sequence[dict[str, Any]], count: int) -> Iterator[dict[str, Any]]:
    step = max(1, len(venues) // count)
    for number in range(count):
        venue = venues[number * step % len(venues)]
        trouble = chance.random()
        seen = NOON - timedelta(seconds=chance.randrange(1, 60))
        if trouble < 0.03:
            seen = NOON - timedelta(hours=chance.randrange(1, 90))
        held = NOON - timedelta(minutes=chance.randrange(1, 300)) if trouble > 0.98 else None
        key = chance.randbytes(32)
        yield {
            "id": key[:8],
            "venue_id": venue["id"],
            "area_code": venue["area_code"],
            "entrance": 1,
            "name": f"门机{number}",
            "public_key": key,
            "state": "suspended" if number % 400 == 0 else "active",
            "enrolled_at": NOON - timedelta(days=30),
            "last_seen_at": seen,
            "last_sequence": 50,
            "unsent_count": 12 if held else 0,
            "oldest_unsent_at": held,
            "bundle_version": 40 + number % 3,
            "app_version": ("0.1.0", "0.1.1", "0.2.0")[number % 3],
            "clock_offset_ms": chance.randrange(-300, 300),
            "opening_test_at": NOON - timedelta(hours=5),
            "health": {"parts": {"card": "ok", "power": "ok", "door": "closed"}, "faults": []},
        }


def _cases(
    chance: random.Random,
    venues: Sequence[dict[str, Any]],
    codes: Sequence[dict[str, Any]],
    kiosks: Sequence[dict[str, Any]],
    home: dict[str, str],
    staff: str,
) -> Iterator[dict[str, Any]]:
    """One of each code and kiosk in its state, as the kernel makes them; faults of one kiosk in twenty, closed ones of
    each, and an inspection of one venue in a hundred."""

    def row(machine: str, state: str, venue: dict[str, Any], key: str | None, title: str, by: str) -> dict[str, Any]:
        opened = NOON - timedelta(minutes=chance.randrange(1, 500_000))
        is_over = state in {"revoked", "superseded", "closed"}
        return {
            "id": chance.randbytes(8).hex(),
            "machine": machine,
            "state": state,
            "version": 1,
            "head": bytes(32),
            "title": title,
            "area_path": home[venue["area_code"]],
            "venue_id": venue["id"],
            "is_spread": False,
            "key": key,
            "opened_by": by,
            "opened_at": opened,
            "entered_at": opened,
            "assignee_id": staff if machine == "fault" and chance.random() < 0.3 else None,
            "facts": {},
            "clock": "",
            "due_at": NOON + timedelta(hours=chance.randrange(-20, 40)) if machine == "fault" and not is_over else None,
            "escalated_to": "",
            "closed_at": NOON if is_over else None,
        }

    for code, venue in zip(codes, venues, strict=True):
        yield row("venue_code", code["state"], venue, f"{code['serial']:08x}", venue["name_zh"], "system")
    by_id = {venue["id"]: venue for venue in venues}
    for number, kiosk in enumerate(kiosks):
        at, by = by_id[kiosk["venue_id"]], f"kiosk:{kiosk['id'].hex()}"
        yield row("kiosk", kiosk["state"], at, kiosk["id"].hex(), kiosk["name"], staff)
        yield row("fault", "closed", at, None, kiosk["name"], by)
        if number % 20 == 0:
            yield row("fault", "reported", at, None, kiosk["name"], by)
    for venue in venues[::100]:
        yield row(
            "inspection", chance.choice(("planned", "started", "submitted")), venue, None, venue["name_zh"], staff
        )


def _residents(house: House, communities: Sequence[dict[str, Any]], count: int, staff: str) -> None:
    accounts = [
        {
            "id": f"{number:016x}",
            "name": f"res-{number}",
            "display_name": "居*民",
            "password": "-",
            "must_change_password": False,
            "is_active": True,
            "created_at": NOON,
        }
        for number in range(count)
    ]
    _insert(house, User.__table__, accounts)
    tail = Identity("居小民", "E12345678", "+8613800138001")
    _insert(
        house,
        Resident.__table__,
        (
            {
                "id": account["id"],
                "user_id": account["id"],
                "identity": close_identity(account["id"], tail),
                "created_at": NOON,
                "area_code": ONE_COMMUNITY if number % 10 == 0 else communities[number % len(communities)]["code"],
            }
            for number, account in enumerate(accounts)
        ),
    )
    _insert(
        house,
        PaperCode.__table__,
        (
            {
                "list_number": 1,
                "position": number,
                "issued_at": NOON,
                "expires_at": NOON + timedelta(days=30),
                "issued_by": staff,
                "revoked_because": "",
                "resident_id": account["id"],
            }
            for number, account in enumerate(accounts[: count // 4])
        ),
    )


def _journal(kiosk: bytes) -> dict[str, Any]:
    return {"kiosk_id": kiosk, "sequence": 50, "head": bytes(32)}


def _passages(chance: random.Random, kiosks: Sequence[dict[str, Any]], count: int) -> Iterator[dict[str, Any]]:
    """Over two days; each kiosk's one after another, as journals are."""
    each = max(1, count // len(kiosks))
    noon_ms, day = int(NOON.timestamp() * 1000), day_of(NOON)
    header, sealed = chance.randbytes(160), chance.randbytes(220)
    for kiosk in kiosks:
        times = sorted(chance.randrange(noon_ms - 36 * 3_600_000, noon_ms) for _ in range(each))
        for sequence, at_ms in enumerate(times, 1):
            yield {
                "kiosk_id": kiosk["id"],
                "sequence": sequence,
                "received_day": day if at_ms > noon_ms - 4 * 3_600_000 else day - 1,
                "received_at_ms": at_ms + 900,
                "kind": 1,
                "epoch": bytes(8),
                "header": header,
                "sealed": sealed,
                "hash": bytes(32),
                "venue_id": kiosk["venue_id"],
                "entrance": 1,
                "at_ms": at_ms,
                "clock": 3,
                "outcome": ("admit", "admit", "admit", "hold", "deny")[sequence % 5],
                "mode": "scan",
                "direction": "in",
                "credential": "health_code",
                "measured": "ok",
                "colour": 1,
            }


def _audit(
    chance: random.Random, venues: Sequence[dict[str, Any]], home: dict[str, str], staff: str, count: int
) -> Iterator[dict[str, Any]]:
    """A trail whose chain holds: the audit page checks it."""
    previous = GENESIS
    for sequence in range(1, count + 1):
        venue = venues[chance.randrange(len(venues))]
        values = {
            "sequence": sequence,
            "at": NOON - timedelta(seconds=count - sequence),
            "actor": staff,
            "action": ("venue.created", "code.issued", "code.printed", "code.posted")[sequence % 4],
            "object_kind": "venue",
            "object_id": venue["id"].hex(),
            "area_path": home[venue["area_code"]],
            "reason": "",
            "previous_hash": previous,
        }
        previous = AuditEvent(**values).computed_hash()
        yield {**values, "hash": previous}
