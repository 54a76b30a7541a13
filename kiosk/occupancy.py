"""How many people are inside, on which day of the venue, and how full that is. Pure: no clock, no disk.

The count itself lives in the journal (`Journal.inside`), grows and shrinks in the transaction of the passage that
changes it, and so survives a power cut. It is what was counted, not what is true: staff set it right when they know
better, and that is a record too.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from protocol.passage import ClockConfidence, Stamp

TOLERANCE_MS = 5_000  # wall and steady clock may part by this much before the wall clock counts as moved


class Fill(Enum):
    """How full a venue is; the value stands in the page."""

    FREE = "free"
    NEAR = "near"
    FULL = "full"


def fill_of(inside: int, capacity: int, near_percent: int) -> Fill:
    """How full *inside* people make a venue for *capacity*; without a capacity (0) it never fills."""
    if capacity and inside >= capacity:
        return Fill.FULL
    return Fill.NEAR if capacity and inside * 100 >= capacity * near_percent else Fill.FREE


@dataclass(slots=True)
class VenueDay:
    """The venue's day, by which the count starts again from nothing: it ends when a believable clock says so.

    A wall clock that was moved, or that starts in 1970, ends no day: then the steady clock goes on from where the wall
    clock was last believed. Only a time that the server confirmed may put the day back.
    """

    day: str = ""  # "2026-11-21", local; of the newest count on disk, or "" before the first
    _believed: tuple[int, int] | None = None  # wall and steady clock, when the wall clock was last believed

    def at(self, stamp: Stamp) -> str:
        """The venue's day at this moment; call it often, so that a moved clock is noticed."""
        if stamp.confidence is ClockConfidence.SYNCED or self._goes_on(stamp):
            self._believed = (stamp.at_ms, stamp.mono_ms)
        if self._believed is None:  # never believed in this run: the day on disk stands, if there is one
            self.day = self.day or _local_day(stamp.at_ms)
            return self.day
        wall_ms, mono_ms = self._believed
        found = _local_day(wall_ms + stamp.mono_ms - mono_ms)
        if found > self.day or stamp.confidence is ClockConfidence.SYNCED:
            self.day = found
        return self.day

    def _goes_on(self, stamp: Stamp) -> bool:
        if stamp.confidence is not ClockConfidence.HELD:
            return False
        if self._believed is None:
            return _local_day(stamp.at_ms) >= self.day
        wall_ms, mono_ms = self._believed
        return abs((stamp.at_ms - wall_ms) - (stamp.mono_ms - mono_ms)) <= TOLERANCE_MS


def _local_day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone().strftime("%Y-%m-%d")
