"""Whether an entrance lets people in at all, and why not: its venue's hours, or staff who closed it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path

from config.files import write_whole
from protocol.profile import VenueRules

FILE = "closed.json"  # in the data folder: an entrance that staff closed stays closed over a power cut


class ClosedWhy(Enum):
    """Why an entrance lets nobody in."""

    HOURS = "hours"  # the venue's opening hours
    DONE = "done"  # staff: closed for today
    REPAIR = "repair"  # staff: out of order
    CLEANING = "cleaning"  # staff: being disinfected
    OTHER_DOOR = "other_door"  # staff: everybody uses another entrance


BY_STAFF = tuple(why for why in ClosedWhy if why is not ClosedWhy.HOURS)


@dataclass(frozen=True, slots=True)
class Closed:
    """An entrance that lets nobody in."""

    why: ClosedWhy
    opens_at_min: int | None = None  # minutes after midnight, when it opens by itself later today


class Closing:
    """What staff decided about the entrance, kept in one small file. Used by the lane's thread alone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.by_staff = _read(path)

    def close(self, why: ClosedWhy) -> None:
        """Close until somebody opens. A disk that takes no file closes all the same, until the next restart."""
        self.by_staff = Closed(why)
        try:
            write_whole(self._path, json.dumps({"why": why.value}).encode())
        except OSError:
            pass  # the disk's own finding says so

    def open(self) -> None:
        """End what staff closed; the venue's hours stay."""
        self.by_staff = None
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            pass

    def state(self, venue: VenueRules, now: datetime, *, clock_sure: bool) -> Closed | None:
        """Why the entrance is closed at *now* (local time), or None. A clock that is not sure closes nothing."""
        if self.by_staff is not None or not clock_sure:
            return self.by_staff
        minute = now.hour * 60 + now.minute
        if venue.is_open(now.weekday(), minute):
            return None
        return Closed(ClosedWhy.HOURS, venue.opens_at(now.weekday(), minute))


def _read(path: Path) -> Closed | None:
    try:
        return Closed(ClosedWhy(json.loads(path.read_bytes())["why"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
