"""What counts as odd about looks, as pure functions over lines of the vault's log; the limits are settings.

A rule gives *occurrences*: its kind, the subject that it is about, the lines it rests on, and for how long the same
subject is not told of again. None of them proves misuse; each is a reason to ask somebody.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any
from zoneinfo import ZoneInfo

from config.server import AnomalySettings

REACH = timedelta(days=31)  # the longest that any rule looks back
LOOKING = frozenset({"opened", "found"})


class Kind(Enum):
    """The rules."""

    BULK = "bulk"
    HOURS = "hours"
    PERSON = "person"
    PAIR = "pair"
    REFUSALS = "refusals"
    UNKNOWN = "unknown"
    LOG = "log"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the access log, as far as the rules look at it."""

    sequence: int
    at: datetime  # aware
    event: str
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Decision:
    """One decided query."""

    requester: str  # user ids
    approver: str
    asked_at: datetime
    decided_at: datetime
    is_approved: bool


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One thing to ask about."""

    kind: Kind
    subject: str  # whom or what it is about: user names, a keyed tag, a process
    count: int
    lines: tuple[int, ...]  # of the access log, oldest first
    quiet: timedelta  # the same subject is not told of again for so long


def occurrences(
    lines: Sequence[Line], known: frozenset[int], now: datetime, limits: AnomalySettings, zone: ZoneInfo
) -> list[Occurrence]:
    """Everything odd in *lines* (oldest first, the last `REACH`) at *now*; looks stand for the *known* lines."""
    return [
        *bulk(lines, now, limits),
        *hours(lines, now, limits, zone),
        *person_again(lines, now, limits),
        *refusals(lines, now, limits),
        *unknown_openings(lines, known, now, limits),
    ]


def bulk(lines: Iterable[Line], now: datetime, limits: AnomalySettings) -> list[Occurrence]:
    """One requester who opened more different records within a day than an investigation needs."""
    day = timedelta(days=1)
    rows: dict[str, set[str]] = defaultdict(set)
    seen: dict[str, list[int]] = defaultdict(list)
    for line in lines:
        if line.event == "opened" and line.at > now - day:
            who = str(line.facts.get("requester", ""))
            rows[who].update(map(str, line.facts.get("rows", ())))
            seen[who].append(line.sequence)
    return [
        Occurrence(Kind.BULK, who, len(opened), tuple(seen[who]), day)
        for who, opened in rows.items()
        if len(opened) > limits.bulk_records
    ]


def hours(lines: Iterable[Line], now: datetime, limits: AnomalySettings, zone: ZoneInfo) -> list[Occurrence]:
    """One requester who looked in the hours in which the office is closed; told once a night."""
    night = timedelta(hours=12)
    by_person: dict[str, list[int]] = defaultdict(list)
    first, last = limits.odd_from_time, limits.odd_to_time
    for line in lines:
        if line.event in LOOKING and line.at > now - night:
            local = line.at.astimezone(zone).time()
            is_odd = local >= first or local < last if first > last else first <= local < last
            if is_odd:
                by_person[str(line.facts.get("requester", ""))].append(line.sequence)
    return [Occurrence(Kind.HOURS, who, len(found), tuple(found), night) for who, found in by_person.items()]


def person_again(lines: Iterable[Line], now: datetime, limits: AnomalySettings) -> list[Occurrence]:
    """One person, by the log's keyed tag, who was looked for again and again, whoever asked."""
    span = timedelta(days=limits.person_days)
    counted: dict[tuple[str, str], list[int]] = defaultdict(list)
    for line in lines:
        if line.event in LOOKING and line.at > now - span and (tag := line.facts.get("person")):
            counted[str(tag), line.event].append(line.sequence)
    most: dict[str, list[int]] = {}  # a look finds and then opens: it counts once
    for (tag, _), found in counted.items():
        most[tag] = max(most.get(tag, []), found, key=len)
    return [
        Occurrence(Kind.PERSON, tag, len(found), tuple(found), span)
        for tag, found in most.items()
        if len(found) >= limits.person_looks
    ]


def refusals(lines: Iterable[Line], now: datetime, limits: AnomalySettings) -> list[Occurrence]:
    """Refusals in a row by one process's user, no look between them; or the vault's own word that it was enough."""
    hour = timedelta(hours=1)
    rows: dict[str, list[int]] = defaultdict(list)
    longest: dict[str, list[int]] = {}
    for line in lines:
        if line.at <= now - hour:
            continue
        who = f"uid {line.facts.get('uid')}"
        if line.event in LOOKING:
            rows[who] = []
        elif line.event == "refused":
            rows[who].append(line.sequence)
        elif line.event != "too_many":
            continue
        if len(rows[who]) >= limits.refusals_in_row or line.event == "too_many":
            longest[who] = [*rows[who]] or [line.sequence]
    return [Occurrence(Kind.REFUSALS, who, len(found), tuple(found), hour) for who, found in longest.items()]


def unknown_openings(
    lines: Iterable[Line], known: frozenset[int], now: datetime, limits: AnomalySettings
) -> list[Occurrence]:
    """Openings that no look of the console stands for: a crash between the two, or somebody at the vault's socket."""
    grace = timedelta(minutes=limits.unknown_after_minutes)
    return [
        Occurrence(Kind.UNKNOWN, f"line {line.sequence}", 1, (line.sequence,), REACH)
        for line in lines
        if line.event == "opened" and line.at < now - grace and line.sequence not in known
    ]


def pairs(decisions: Iterable[Decision], limits: AnomalySettings) -> list[Occurrence]:
    """An approver who has said yes to the same requester, the last times, each time within seconds."""
    by_pair: dict[tuple[str, str], list[Decision]] = defaultdict(list)
    for one in decisions:
        by_pair[one.requester, one.approver].append(one)
    found = []
    for (requester, approver), made in by_pair.items():
        newest = sorted(made, key=lambda one: one.decided_at)[-limits.pair_queries :]
        if len(newest) == limits.pair_queries and all(
            one.is_approved and one.decided_at - one.asked_at <= timedelta(seconds=limits.pair_seconds)
            for one in newest
        ):
            found.append(Occurrence(Kind.PAIR, f"{requester} {approver}", len(newest), (), timedelta(days=7)))
    return found
