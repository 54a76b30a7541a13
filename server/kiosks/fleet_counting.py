"""Passages per hour: counted once by the worker for each area and all above it, so that a page reads a few rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import BigInteger, case, delete, func, select, type_coerce
from sqlalchemy.orm import Session

from server.accounts.rights import Reach
from server.areas.models import is_within
from server.context import House
from server.ingest.models import Journal, JournalRecord, RecordKind
from server.kiosks.models import PassageCounted, PassageHour
from server.venues.models import Venue
from server.web.throttle import upsert

HOUR_MS = 3_600_000
AT_ONCE = 200  # journals in one transaction, and
RECORDS = 2000  # of each of them
KEEP = timedelta(days=400)
CLOCK_MS = 10 * 60_000  # a kiosk's clock may be this far ahead; one that is further off counts by our clock
MOST_VENUES = 20


@dataclass(frozen=True, slots=True)
class Hour:
    """One hour's passages."""

    began_at: datetime
    admitted: int
    held: int
    denied: int

    @property
    def total(self) -> int:
        """Everybody."""
        return self.admitted + self.held + self.denied


def count_new(house: House, now: datetime) -> tuple[int, bool]:
    """Count passages that came since the last run; returns how many, and whether some are left for the next call."""
    with house.database.writing() as writing:
        done = func.coalesce(PassageCounted.sequence, 0)
        journals = writing.execute(
            select(Journal.kiosk_id, Journal.sequence, done)
            .join(PassageCounted, PassageCounted.kiosk_id == Journal.kiosk_id, isouter=True)
            .where(Journal.sequence > done)
            .limit(AT_ONCE)
        ).all()
        counts: dict[tuple[bytes, int], list[int]] = {}
        is_cut = len(journals) == AT_ONCE
        for kiosk_id, newest, from_sequence in journals:
            to_sequence = min(newest, from_sequence + RECORDS)
            is_cut = is_cut or to_sequence < newest
            for venue_id, hour, outcome, count in _hours_of(writing, kiosk_id, from_sequence, to_sequence):
                place = ("admit", "hold", "deny").index(outcome) if outcome in {"admit", "hold", "deny"} else 1
                counts.setdefault((venue_id, hour), [0, 0, 0])[place] += count
            _note(writing, kiosk_id, to_sequence)
        _add(writing, counts)
        writing.execute(delete(PassageHour).where(PassageHour.hour < _hour(now - KEEP)))
    return sum(sum(three) for three in counts.values()), is_cut


def passages_by_hour(reading: Session, reach: Reach, now: datetime, hours: int = 24) -> list[Hour]:
    """The last *hours* hours within *reach*, oldest first, empty ones too; of venues the records are counted."""
    first = _hour(now) - hours + 1
    found: dict[int, list[int]] = {}
    tops = [top for top in set(reach.area_paths) if not any(top != t and is_within(top, t) for t in reach.area_paths)]
    if tops:
        columns = (PassageHour.admitted, PassageHour.held, PassageHour.denied)
        rows = reading.execute(
            select(PassageHour.hour, *(func.sum(column) for column in columns))
            .where(PassageHour.area_path.in_(tops), PassageHour.hour >= first)
            .group_by(PassageHour.hour)
        )
        for hour, *three in rows:
            found[hour] = [int(count) for count in three]
    elif reach.venue_ids:
        at_ms = type_coerce(JournalRecord.at_ms, BigInteger)
        began_ms = (at_ms - at_ms % HOUR_MS).label("began_ms")
        records = reading.execute(
            select(began_ms, JournalRecord.outcome, func.count())
            .where(
                JournalRecord.venue_id.in_(reach.venue_ids[:MOST_VENUES]),
                JournalRecord.at_ms >= first * HOUR_MS,
                JournalRecord.kind == RecordKind.PASSAGE.value,
            )
            .group_by(began_ms, JournalRecord.outcome)
        )
        for began, outcome, count in records:
            place = {"admit": 0, "deny": 2}.get(outcome or "", 1)
            found.setdefault(began // HOUR_MS, [0, 0, 0])[place] += count
    return [
        Hour(datetime.fromtimestamp(hour * 3600, UTC), *found.get(hour, (0, 0, 0)))
        for hour in range(first, first + hours)
    ]


def _hours_of(
    reading: Session, kiosk_id: bytes, after: int, until: int
) -> Iterable[tuple[bytes, int, str | None, int]]:
    """(venue, hour, outcome, count) of the passages of one journal between two sequence numbers."""
    at_ms = type_coerce(JournalRecord.at_ms, BigInteger)
    received_ms = JournalRecord.received_at_ms
    believed = at_ms.between(received_ms - int(KEEP.total_seconds() * 1000), received_ms + CLOCK_MS)
    moment = case((believed, at_ms), else_=received_ms)
    shown = (moment - moment % HOUR_MS).label("hour_ms")
    rows = reading.execute(
        select(JournalRecord.venue_id, shown, JournalRecord.outcome, func.count())
        .where(
            JournalRecord.kiosk_id == kiosk_id,
            JournalRecord.sequence > after,
            JournalRecord.sequence <= until,
            JournalRecord.kind == RecordKind.PASSAGE.value,
            JournalRecord.venue_id.is_not(None),
        )
        .group_by(JournalRecord.venue_id, shown, JournalRecord.outcome)
    )
    return [(venue_id or b"", hour_ms // HOUR_MS, outcome, count) for venue_id, hour_ms, outcome, count in rows]


def _note(writing: Session, kiosk_id: bytes, sequence: int) -> None:
    insert = upsert(writing)(PassageCounted).values(kiosk_id=kiosk_id, sequence=sequence)
    writing.execute(insert.on_conflict_do_update(index_elements=["kiosk_id"], set_={"sequence": sequence}))


def _add(writing: Session, counts: dict[tuple[bytes, int], list[int]]) -> None:
    """Add each venue's counts to its area and all above."""
    venues = {venue_id for venue_id, _ in counts}
    rows = writing.execute(select(Venue.id, Venue.area_path).where(Venue.id.in_(venues)))
    places = {venue_id: path for venue_id, path in rows}
    sums: dict[tuple[str, int], list[int]] = {}
    for (venue_id, hour), three in counts.items():
        codes = places.get(venue_id, "").split("/")[:-1]
        for depth in range(1, len(codes) + 1):
            mine = sums.setdefault(("/".join(codes[:depth]) + "/", hour), [0, 0, 0])
            for place, count in enumerate(three):
                mine[place] += count
    if not sums:
        return
    insert = upsert(writing)(PassageHour.__table__)
    names = ("admitted", "held", "denied")
    added = {name: PassageHour.__table__.c[name] + insert.excluded[name] for name in names}
    writing.execute(
        insert.on_conflict_do_update(index_elements=["area_path", "hour"], set_=added),
        [
            {"area_path": path, "hour": hour, **dict(zip(names, three, strict=True))}
            for (path, hour), three in sums.items()
        ],
    )


def _hour(at: datetime) -> int:
    return int(at.timestamp()) // 3600
