"""A venue's score and how it came about: a hundred, less what its inspections of the last year cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.cases.models import Case, CaseEntry

FULL = 100
COUNTS_FOR = timedelta(days=365)

# A step of an inspection -> what it costs and why. What a venue does itself never costs anything.
COSTS: dict[str, tuple[int, str]] = {
    "order": (10, "An order to put something right"),
    "reject": (5, "It was reported as put right, and was not"),
    "lapse": (15, "The order's time ran out"),
    "escalate": (20, "Code suspended, criticised"),
}
GIVES_BACK = (5, "Passed an inspection")  # never above FULL


@dataclass(frozen=True, slots=True)
class Item:
    """One reason for the score."""

    at: datetime
    case_id: str
    points: int  # negative: it costs
    why: str  # a message of the catalogue


@dataclass(frozen=True, slots=True)
class Score:
    """A score from 0 to FULL and its reasons, newest first; None when nobody has inspected in the last year."""

    value: int | None
    items: tuple[Item, ...]


def score_of(reading: Session, venue_id: bytes, now: datetime) -> Score:
    """The score of one venue at *now*."""
    return scores_of(reading, [venue_id], now)[venue_id]


def scores_of(reading: Session, venue_ids: list[bytes], now: datetime) -> dict[bytes, Score]:
    """The scores of several venues."""
    rows = reading.execute(
        select(Case.venue_id, CaseEntry.case_id, CaseEntry.at, CaseEntry.step)
        .join(Case, Case.id == CaseEntry.case_id)
        .where(
            Case.machine == "inspection",
            Case.venue_id.in_(venue_ids),
            CaseEntry.step.in_([*COSTS, "pass"]),
            CaseEntry.at > now - COUNTS_FOR,
        )
        .order_by(CaseEntry.at, CaseEntry.sequence)
    ).all()
    found: dict[bytes, list[Item]] = {venue_id: [] for venue_id in venue_ids}
    for venue_id, case_id, at, step in rows:
        if venue_id is None:
            continue
        cost, why = COSTS.get(step, (-GIVES_BACK[0], GIVES_BACK[1]))
        found[venue_id].append(Item(at, case_id, -cost, why))
    return {venue_id: Score(_total(items), tuple(reversed(items))) for venue_id, items in found.items()}


def _total(items: list[Item]) -> int | None:
    """In the order of time, so that a passed inspection gives back what was lost before it and never more."""
    value = FULL
    for item in items:
        value = max(0, min(FULL, value + item.points))
    return value if items else None
