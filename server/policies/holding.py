"""What holds now: the profiles for the bundle, the mode of a venue, and its terms."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from protocol.policy import EntryPolicy
from protocol.profile import Conduct, Hours, Mode, Profile, VenueRules, profiles_from_bytes
from server.areas.models import is_within
from server.policies.models import Emergency, PolicyProfile, VenueTerms
from server.venues.models import Venue


def built_in(entry: EntryPolicy) -> tuple[Profile, Profile]:
    """The profiles for every kind of venue that nobody changed; *entry* is what the settings say.

    In an emergency old rules are not good enough to admit on, and a full venue lets nobody else in by itself.
    """
    strict = entry.replace(stale_rules_hold=True)
    return Profile("", Mode.NORMAL, entry), Profile("", Mode.EMERGENCY, strict, Conduct(full_holds=True))


def profiles(reading: Session, entry: EntryPolicy) -> dict[tuple[str, Mode], Profile]:
    """All profiles in force by kind of venue and mode: the built-in ones, and those that somebody changed."""
    held = {(p.category, p.mode): p for p in built_in(entry)}
    for row in reading.scalars(select(PolicyProfile)):
        (profile,) = profiles_from_bytes(row.data)
        held[(profile.category, profile.mode)] = profile
    return held


def emergencies(reading: Session, now: datetime) -> list[Emergency]:
    """Those in force at *now*, oldest first."""
    rows = (
        select(Emergency)
        .where(Emergency.ended_at.is_(None), Emergency.until_at > now, Emergency.started_at <= now)
        .options(joinedload(Emergency.area), joinedload(Emergency.venue))
        .order_by(Emergency.started_at)
    )
    return list(reading.scalars(rows))


def over(emergencies: Iterable[Emergency], venue: Venue) -> list[Emergency]:
    """Those of *emergencies* that hold at *venue*: its own, and those of the areas around it."""
    return [
        e
        for e in emergencies
        if (e.venue_id == venue.id if e.venue_id is not None else is_within(venue.area.path, e.area.path))
    ]


def venue_rules(reading: Session, venues: Iterable[Venue], now: datetime) -> dict[bytes, VenueRules]:
    """What each of *venues* (with their areas) is told, by their ids."""
    wanted = {venue.id: venue for venue in venues}
    running = emergencies(reading, now)
    terms = {row.venue_id: row for row in reading.scalars(select(VenueTerms).where(VenueTerms.venue_id.in_(wanted)))}
    return {venue_id: _rules(terms.get(venue_id), over(running, venue)) for venue_id, venue in wanted.items()}


def _rules(terms: VenueTerms | None, running: list[Emergency]) -> VenueRules:
    rules = (
        VenueRules()
        if terms is None
        else VenueRules(
            capacity=terms.capacity,
            hours=hours_of(terms.hours),
            elsewhere_zh=terms.elsewhere_zh,
            elsewhere_en=terms.elsewhere_en,
        )
    )
    if not running:
        return rules
    return VenueRules(
        Mode.EMERGENCY,
        int(min(e.started_at for e in running).timestamp() * 1000),
        int(max(e.until_at for e in running).timestamp() * 1000),
        rules.capacity,
        rules.hours,
        rules.elsewhere_zh,
        rules.elsewhere_en,
    )


def hours_of(text: str) -> tuple[Hours, ...]:
    """The stored form of a week's hours as values."""
    return tuple(Hours(*(int(part) for part in day.split("-"))) for day in text.split()) if text else ()


def hours_to_text(hours: tuple[Hours, ...]) -> str:
    """The stored form of a week's hours."""
    return " ".join(f"{day.from_min}-{day.until_min}" for day in hours)
