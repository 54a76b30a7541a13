"""The fleet at a glance: a chart of passages, a plan of areas or of doors, programs and rules by area."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from flask import abort
from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.orm import Session, selectinload

from server.accounts.rights import Person, Reach
from server.accounts.roles import Act, Permission
from server.areas.models import Area, is_within, within
from server.context import house
from server.kiosks.fleet import (
    CONDITION_KINDS,
    CONDITION_NAMES,
    IN_SERVICE,
    SERVING,
    Condition,
    condition_column,
    condition_of,
    is_in,
)
from server.kiosks.fleet_counting import Hour
from server.kiosks.fleet_findings import TEST_EVERY
from server.kiosks.models import Kiosk
from server.venues.models import Venue

COUNTS = (Permission.KIOSK_COUNTERS, Act.READ, Act.AGGREGATE)
MOST_VENUES = 60
MOST_AREAS = 60
GRAVEST = ("bad", "wait", "good", "off")  # of several kiosks at a door the gravest is shown


@dataclass(frozen=True, slots=True)
class Bar:
    """One hour in the chart; heights in units of its box, from the bottom up."""

    x: float
    width: float
    admitted: tuple[float, float]  # y and height
    held: tuple[float, float]
    denied: tuple[float, float]
    label: str  # "08"; empty where there is no room
    hour: Hour
    began: str  # "03-02 08:00"


@dataclass(frozen=True, slots=True)
class Chart:
    """Passages per hour as one picture; the page has the same figures as a table."""

    width: int
    height: int
    base: int  # y of the axis
    top: int  # what the highest line stands for
    bars: tuple[Bar, ...]
    total: int


@dataclass(frozen=True, slots=True)
class Group:
    """One area below the one that is looked at."""

    area: Area
    kiosks: int
    trouble: int
    versions: tuple[tuple[str, int], ...]  # of the program, with how many kiosks
    oldest_rules: int | None
    newest_rules: int | None

    @property
    def kind(self) -> str:
        """Sign and colour."""
        return "off" if not self.kiosks else "bad" if self.trouble else "good"


@dataclass(frozen=True, slots=True)
class Door:
    """One entrance in the plan of a venue."""

    number: int
    name: str
    kind: str
    state: str  # a message of the catalogue
    kiosk_id: bytes | None


@dataclass(frozen=True, slots=True)
class Plan:
    """A venue with its doors."""

    venue: Venue
    doors: tuple[Door, ...]


@dataclass(frozen=True, slots=True)
class Wrong:
    """How many kiosks have one finding, and the list of them."""

    label: str
    count: int
    condition: str  # of the list; empty when no list shows just these


@dataclass(frozen=True, slots=True)
class Seen:
    """What the page shows of one area, or of somebody's venues."""

    area: Area | None
    above: Area | None
    groups: tuple[Group, ...] = ()
    plans: tuple[Plan, ...] = ()
    is_cut: bool = False
    wrong: tuple[Wrong, ...] = field(default=())


def look(reading: Session, somebody: Person, asked: str, now: datetime) -> Seen:
    """The overview of the area *asked*, or of the widest one within reach; 404 for one that lies outside."""
    reach = somebody.reach(Permission.KIOSKS, Act.READ)
    area = _area(reading, reach, asked)
    wrong = _wrong(reading, reach, now)
    if area is None:
        venues = select(Venue).where(Venue.id.in_(reach.venue_ids))
        plans, is_cut = _plans(reading, venues.order_by(Venue.name_zh), now)
        return Seen(None, None, (), plans, is_cut, wrong)
    above = reading.get(Area, area.parent_code) if area.parent_code else None
    if above is not None and not any(is_within(above.path, top) for top in reach.area_paths):
        above = None
    groups = _groups(reading, area, now)
    here = select(Venue).where(within(Venue.area_path, area.path) if not groups else Venue.area_path == area.path)
    has_kiosk = select(Kiosk.id).where(Kiosk.venue_id == Venue.id).exists()
    plans, is_cut = _plans(reading, here.where(has_kiosk).order_by(Venue.area_path, Venue.id), now)
    return Seen(area, above, groups, plans, is_cut, wrong)


def chart_of(hours: Sequence[Hour], zone: ZoneInfo) -> Chart:
    """Lay the hours out as stacked bars."""
    width, height, base = 720, 220, 190
    highest = max((hour.total for hour in hours), default=0)
    top = _round_up(highest)
    step = width / max(1, len(hours))
    bars = []
    for number, hour in enumerate(hours):
        parts: list[tuple[float, float]] = []
        y = float(base)
        for count in (hour.admitted, hour.held, hour.denied):
            tall = round(count / top * (base - 20), 1)
            y -= tall
            parts.append((round(y, 1), tall))
        local = hour.began_at.astimezone(zone)
        label = f"{local:%H}" if number % 3 == 0 else ""
        x = round(number * step + step * 0.15, 1)
        admitted, held, denied = parts
        width_of = round(step * 0.7, 1)
        bars.append(Bar(x, width_of, admitted, held, denied, label, hour, f"{local:%m-%d %H:%M}"))
    return Chart(width, height, base, top, tuple(bars), sum(hour.total for hour in hours))


def _round_up(highest: int) -> int:
    """The next 1, 2 or 5 with zeros behind."""
    scale = 1
    while True:
        for first in (1, 2, 5):
            if first * scale >= max(1, highest):
                return first * scale
        scale *= 10


def _area(reading: Session, reach: Reach, asked: str) -> Area | None:
    if asked:
        area = reading.get(Area, asked)
        if area is None or not any(is_within(area.path, top) for top in reach.area_paths):
            abort(404)
        return area
    if not reach.area_paths:
        return None
    return reading.scalar(select(Area).where(Area.path == min(reach.area_paths, key=len)))


def _groups(reading: Session, area: Area, now: datetime) -> tuple[Group, ...]:
    settings = house().settings.fleet
    children = reading.scalars(
        select(Area).where(Area.parent_code == area.code).order_by(Area.path).limit(MOST_AREAS)
    ).all()
    if not children:
        return ()
    below = and_(
        Kiosk.area_path >= Area.path, Kiosk.area_path < func.substr(Area.path, 1, func.length(Area.path) - 1) + "0"
    )
    # unreachable or stuck: what is in service, has been heard of and is not alive
    in_trouble = and_(Kiosk.last_seen_at.is_not(None), ~is_in(Condition.ALIVE, now, settings))
    rows = reading.execute(
        select(
            Area.code,
            Kiosk.app_version,
            func.count(),
            func.count().filter(in_trouble),
            func.min(Kiosk.bundle_version),
            func.max(Kiosk.bundle_version),
        )
        .select_from(Area)
        .join(Kiosk, below)
        .where(Area.parent_code == area.code, Kiosk.state.in_(IN_SERVICE))
        .group_by(Area.code, Kiosk.app_version)
    ).all()
    found = []
    for child in children:
        mine = [row for row in rows if row[0] == child.code]
        versions = sorted(((row[1] or "?", row[2]) for row in mine), key=lambda pair: -pair[1])
        oldest = [row[4] for row in mine if row[4] is not None]
        newest = [row[5] for row in mine if row[5] is not None]
        found.append(
            Group(
                child,
                sum(row[2] for row in mine),
                sum(row[3] for row in mine),
                tuple(versions),
                min(oldest, default=None),
                max(newest, default=None),
            )
        )
    return tuple(found)


def _plans(reading: Session, venues: Select[Venue], now: datetime) -> tuple[tuple[Plan, ...], bool]:
    rows = venues.options(selectinload(Venue.entrances)).limit(MOST_VENUES + 1)
    found: list[Venue] = list(reading.scalars(rows))
    shown, settings = found[:MOST_VENUES], house().settings.fleet
    at_doors: dict[tuple[bytes, int], list[Kiosk]] = {}
    ids = [venue.id for venue in shown]
    for kiosk in reading.scalars(
        select(Kiosk).where(Kiosk.venue_id.in_(ids), Kiosk.state.in_((*IN_SERVICE, "suspended")))
    ):
        at_doors.setdefault((kiosk.venue_id, kiosk.entrance), []).append(kiosk)
    plans = []
    for venue in shown:
        doors = []
        for entrance in venue.entrances:
            kiosks = [(condition_of(k, now, settings), k) for k in at_doors.get((venue.id, entrance.number), [])]
            if entrance.closed_at is not None:
                doors.append(Door(entrance.number, entrance.name_zh, "off", "Closed", None))
            elif not kiosks:
                doors.append(Door(entrance.number, entrance.name_zh, "off", "No kiosk", None))
            else:
                worst, kiosk = min(kiosks, key=lambda pair: GRAVEST.index(CONDITION_KINDS[pair[0]]))
                kind = CONDITION_KINDS[worst]
                doors.append(Door(entrance.number, entrance.name_zh, kind, CONDITION_NAMES[worst], kiosk.id))
        plans.append(Plan(venue, tuple(doors)))
    return tuple(plans), len(found) > MOST_VENUES


def _wrong(reading: Session, reach: Reach, now: datetime) -> tuple[Wrong, ...]:
    settings = house().settings.fleet
    is_off = func.abs(Kiosk.clock_offset_ms) >= settings.clock_alarm_ms
    old_test = or_(Kiosk.opening_test_at.is_(None), Kiosk.opening_test_at < now - TEST_EVERY)
    rows = reading.execute(
        select(
            condition_column(now, settings), func.count(), func.count().filter(is_off), func.count().filter(old_test)
        )
        .where(reach.condition(Kiosk.area_path, Kiosk.venue_id))
        .group_by("condition")
    )
    found = {Condition(row[0]): row[1:] for row in rows}
    in_place = [found[condition] for condition in (*SERVING, Condition.SUSPENDED) if condition in found]
    counted = [
        (CONDITION_NAMES[c], found[c][0] if c in found else 0, c.value)
        for c in (Condition.UNREACHABLE, Condition.STUCK, Condition.WAITING, Condition.SUSPENDED)
    ]
    counted.append(("Its clock is wrong.", sum(row[1] for row in in_place), ""))
    counted.append(("Its opening test is older than a day.", sum(row[2] for row in in_place), ""))
    return tuple(Wrong(label, count, shown) for label, count, shown in counted if count)
