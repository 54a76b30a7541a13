"""Deadlines that stand still in quiet hours: pure arithmetic over aware UTC datetimes.

Raw time is what passed on the wall; counted time is what passed outside quiet hours. Pages show both (E-05).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Every day from `start` to `end` by the clock of `zone`, over midnight when `end` is the earlier one."""

    start: time
    end: time
    zone: ZoneInfo

    def around(self, at: datetime) -> tuple[datetime, datetime]:
        """The quiet hours that *at* lies in, or else the next ones: [start, end) in UTC."""
        day = at.astimezone(self.zone).date() - timedelta(days=1)
        while True:
            begins = datetime.combine(day, self.start, self.zone).astimezone(UTC)
            last = day + timedelta(days=1) if self.end <= self.start else day
            ends = datetime.combine(last, self.end, self.zone).astimezone(UTC)
            if at < ends:
                return begins, ends
            day += timedelta(days=1)


def add(start: datetime, span: timedelta, quiet: QuietHours | None = None) -> datetime:
    """The moment at which *span* of counted time has passed since *start*; *span* may be negative or zero."""
    if quiet is None or span <= timedelta(0):
        return start + span
    at = start
    while True:
        begins, ends = quiet.around(at)
        if at < begins:
            if at + span <= begins:
                return at + span
            span -= begins - at
        at = ends


def counted(start: datetime, end: datetime, quiet: QuietHours | None = None) -> timedelta:
    """The counted time between *start* and *end*; negative when *end* is the earlier one."""
    if quiet is None or end <= start:
        return end - start
    total, at = timedelta(0), start
    while at < end:
        begins, ends = quiet.around(at)
        if at < begins:
            total += min(begins, end) - at
        at = ends
    return total
