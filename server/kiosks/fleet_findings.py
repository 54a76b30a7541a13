"""What is wrong with a kiosk, why it matters, and what to do: each finding in plain words with its fix."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from config.server import FleetSettings
from protocol.aside import PART as QUARANTINE
from server.kiosks.fleet import Condition, condition_of, parts_of
from server.kiosks.models import Kiosk

TEST_EVERY = timedelta(hours=26)  # the opening test is made each day; two hours of grace


@dataclass(frozen=True, slots=True)
class Finding:
    """Messages of the catalogue."""

    what: str
    why: str
    fix: str
    kind: str = "bad"  # or wait


FINDINGS: dict[str, Finding] = {
    "unreachable": Finding(
        "It has not reported for longer than it should.",
        "People still pass, but changed rules do not reach this entrance.",
        "Check its power and its network, then restart it with its switch; its records are kept.",
    ),
    "stuck": Finding(
        "It reports, and does not get its records through.",
        "A record that lies only on the kiosk is lost with it.",
        "Read the newest fault on its maintenance page; if its clock is wrong, set it there. Do not wipe the card.",
    ),
    "waiting": Finding(
        "It was enrolled and has never reported.",
        "It does not know the rules yet.",
        "Check its network at the entrance; if nothing comes within an hour, retire it and enrol it anew.",
        "wait",
    ),
    "suspended": Finding(
        "It is suspended.",
        "Its records stay on it until it is resumed.",
        "Decide below: resume it, or retire it for good.",
        "wait",
    ),
    "clock": Finding(
        "Its clock is wrong.",
        "Times of records are uncertain, and codes may seem too old or too new.",
        "Set the time on its maintenance page; if it is wrong again after a power cut, the clock's battery is empty.",
    ),
    "card": Finding(
        "Its memory card is in trouble.",
        "A card that fails loses what was not sent yet.",
        "Let it send everything first, then exchange the memory card and enrol it anew.",
    ),
    "power": Finding(
        "Its power supply is too weak.",
        "Low voltage breaks memory cards and restarts the kiosk.",
        "Use the supply that belongs to it (5 V, 3 A) and a short, thick cable.",
    ),
    "quarantine": Finding(
        "The server keeps records of it apart.",
        "They continue its chain and cannot be believed, so nobody finds them; the records behind them went on.",
        "Open the records in quarantine below: try again after an update or a corrected venue, or export for support.",
    ),
    "test": Finding(
        "Its opening test is older than a day.",
        "Nobody knows whether gate, thermometer and sound still work.",
        "Ask the staff of the entrance to do the opening test.",
        "wait",
    ),
}
_BAD_CARD = frozenset({"full", "no_files", "journal_full", "worn_out", "errors", "read_only", "wearing", "low"})
_BAD_POWER = frozenset({"under_voltage", "throttled", "was_under_voltage"})


def findings_of(kiosk: Kiosk, now: datetime, settings: FleetSettings) -> list[Finding]:
    """What is wrong with *kiosk* by its last report, the gravest first; nothing of one that is gone."""
    condition = condition_of(kiosk, now, settings)
    if condition in {Condition.LOST, Condition.RETIRED}:
        return []
    told = parts_of(kiosk)
    is_off = kiosk.clock_offset_ms is not None and abs(kiosk.clock_offset_ms) >= settings.clock_alarm_ms
    is_untested = kiosk.last_seen_at is not None and (
        kiosk.opening_test_at is None or kiosk.opening_test_at < now - TEST_EVERY
    )
    names = [
        condition.value if condition.value in FINDINGS else "",
        "card" if told.get("card") in _BAD_CARD else "",
        "power" if told.get("power") in _BAD_POWER else "",
        "clock" if is_off else "",
        "quarantine" if told.get(QUARANTINE) else "",
        "test" if is_untested else "",
    ]
    return [FINDINGS[name] for name in names if name]
