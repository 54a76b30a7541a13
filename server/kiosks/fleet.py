"""How a kiosk is doing, in one word: the same rule for one row in Python and for counting thousands in SQL."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from sqlalchemy import ColumnElement, Label, and_, case, or_

from config.server import FleetSettings
from protocol.aside import SINCE_PART
from server.ingest.devices import moment
from server.kiosks.models import MAY_EXCHANGE, Kiosk, KioskState


class Condition(Enum):
    """What the console says of a kiosk; the first that fits, in this order."""

    RETIRED = "retired"
    LOST = "lost"
    SUSPENDED = "suspended"
    WAITING = "waiting"  # enrolled, and never heard of since
    UNREACHABLE = "unreachable"
    STUCK = "stuck"  # in touch, and still holds a record that it should have sent
    ALIVE = "alive"


CONDITION_NAMES: dict[Condition, str] = {
    Condition.RETIRED: "Retired",
    Condition.LOST: "Lost",
    Condition.SUSPENDED: "Suspended",
    Condition.WAITING: "Waiting for first contact",
    Condition.UNREACHABLE: "Unreachable",
    Condition.STUCK: "Stuck: does not get its records through",
    Condition.ALIVE: "Alive",
}
# How the state is shown: sign and colour, see the `state` macro.
CONDITION_KINDS: dict[Condition, str] = {
    Condition.RETIRED: "off",
    Condition.LOST: "off",
    Condition.SUSPENDED: "wait",
    Condition.WAITING: "wait",
    Condition.UNREACHABLE: "bad",
    Condition.STUCK: "bad",
    Condition.ALIVE: "good",
}
IN_SERVICE = tuple(state.value for state in MAY_EXCHANGE)
SERVING = (Condition.WAITING, Condition.UNREACHABLE, Condition.STUCK, Condition.ALIVE)  # those of IN_SERVICE
TROUBLE = (Condition.UNREACHABLE, Condition.STUCK)


def condition_of(kiosk: Kiosk, now: datetime, settings: FleetSettings) -> Condition:
    """How *kiosk* is doing at *now*."""
    state = KioskState(kiosk.state)
    if state is KioskState.REVOKED:
        return Condition.LOST
    if state in {KioskState.RETIRED, KioskState.LOST, KioskState.SUSPENDED}:
        return Condition(state.value)
    if kiosk.last_seen_at is None:
        return Condition.WAITING
    if kiosk.last_seen_at < now - timedelta(seconds=settings.unreachable_after_s):
        return Condition.UNREACHABLE
    if kiosk.oldest_unsent_at is not None and kiosk.oldest_unsent_at < now - timedelta(seconds=settings.unsent_alarm_s):
        return Condition.STUCK
    return Condition.ALIVE


def is_in(condition: Condition, now: datetime, settings: FleetSettings) -> ColumnElement[bool]:
    """The SQL condition that picks the kiosks for which `condition_of` says *condition*."""
    if condition is Condition.LOST:
        return Kiosk.state.in_((KioskState.LOST.value, KioskState.REVOKED.value))
    if condition in {Condition.RETIRED, Condition.SUSPENDED}:
        return and_(Kiosk.state == condition.value)
    serving = Kiosk.state.in_(IN_SERVICE)
    if condition is Condition.WAITING:
        return and_(serving, Kiosk.last_seen_at.is_(None))
    seen_since = now - timedelta(seconds=settings.unreachable_after_s)
    if condition is Condition.UNREACHABLE:
        return and_(serving, Kiosk.last_seen_at < seen_since)
    unsent_since = now - timedelta(seconds=settings.unsent_alarm_s)
    if condition is Condition.STUCK:
        return and_(serving, Kiosk.last_seen_at >= seen_since, Kiosk.oldest_unsent_at < unsent_since)
    fine = or_(Kiosk.oldest_unsent_at.is_(None), Kiosk.oldest_unsent_at >= unsent_since)
    return and_(serving, Kiosk.last_seen_at >= seen_since, fine)


def condition_column(now: datetime, settings: FleetSettings) -> Label[str]:
    """The SQL column `condition`, of which each kiosk has the one that `condition_of` says: for counting all of them at
    once, grouped by it. Asked in the order of how many there are, since no two can be true of one kiosk."""
    order = (Condition.ALIVE, *(condition for condition in Condition if condition is not Condition.ALIVE))
    return case(*((is_in(condition, now, settings), condition.value) for condition in order)).label("condition")


# What a kiosk says of its card and its supply (kiosk/card_health.py), in words and with a sign; another word is shown
# as it came, and a kiosk that said nothing has a dash.
CARD_NAMES: dict[str, tuple[str, str]] = {
    "ok": ("good", "Sound"),
    "low": ("wait", "Little room"),
    "wearing": ("wait", "Wearing out"),
    "full": ("bad", "Full"),
    "no_files": ("bad", "Full of files"),
    "journal_full": ("bad", "Journal at its limit"),
    "worn_out": ("bad", "Worn out"),
    "errors": ("bad", "File system errors"),
    "read_only": ("bad", "Read-only"),
    "unknown": ("off", "Unknown"),
}
POWER_NAMES: dict[str, tuple[str, str]] = {
    "ok": ("good", "Sound"),
    "was_throttled": ("good", "Slowed down earlier"),
    "was_under_voltage": ("wait", "Voltage too low earlier"),
    "throttled": ("wait", "Slowed down"),
    "under_voltage": ("bad", "Voltage too low"),
    "unknown": ("off", "Unknown"),
}


@dataclass(frozen=True, slots=True)
class FleetRow:
    """One kiosk as the tables show it."""

    kiosk: Kiosk
    condition: str  # in words
    kind: str  # good, wait, bad, off
    clock_is_off: bool
    card: tuple[str, str] | None  # sign and words; None: it said nothing
    power: tuple[str, str] | None


def fleet_row(kiosk: Kiosk, now: datetime, settings: FleetSettings) -> FleetRow:
    """*kiosk* with its condition in words."""
    condition = condition_of(kiosk, now, settings)
    is_off = kiosk.clock_offset_ms is not None and abs(kiosk.clock_offset_ms) >= settings.clock_alarm_ms
    told = parts_of(kiosk)
    return FleetRow(
        kiosk,
        CONDITION_NAMES[condition],
        CONDITION_KINDS[condition],
        is_off,
        _named(CARD_NAMES, told.get("card")),
        _named(POWER_NAMES, told.get("power")),
    )


def parts_of(kiosk: Kiosk) -> dict[str, str]:
    """What the kiosk's last exchange said of its parts, by name; empty before the first."""
    told = (kiosk.health or {}).get("parts")
    return {str(part): str(word) for part, word in told.items()} if isinstance(told, dict) else {}


def aside_since(parts: dict[str, str]) -> datetime | None:
    """Since when a kiosk knows that records of it are kept apart, by our clock as we told it; None when it says not."""
    told = parts.get(SINCE_PART, "")
    return moment(int(told)) if told.isascii() and told.isdigit() and len(told) <= 15 else None


def _named(names: dict[str, tuple[str, str]], word: str | None) -> tuple[str, str] | None:
    return None if word is None else names.get(word, ("off", word))
