"""One event per presentation: a code that stays in view speaks once, a different code always speaks at once.

Pure: the caller brings texts and the time. The source does not matter - camera frames and scan heads may report the
same code within moments of each other, and whichever speaks first makes the only event (field.md, entrance screen 7).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

REMEMBERED = 64  # codes; the oldest is forgotten first


class Showing(Enum):
    """What a presentation is."""

    NEW = "new"  # not seen within `forget_after_s`
    AGAIN = "again"  # the same code once more: never silence, never a second passage by accident


@dataclass(frozen=True, slots=True)
class Presented:
    """Somebody shows a code."""

    text: str
    source: str  # "camera", "scan_head", ... as given to `see`
    showing: Showing
    at_s: float  # monotonic
    first_at_s: float  # monotonic: when this code was NEW; equals at_s for NEW


@dataclass(slots=True)
class _Seen:
    first_s: float
    last_s: float
    spoke_s: float
    reminded: bool


class Presence:
    """Turns sightings into presentations; keeps digests of the last codes, never their texts.

    A code is away when it was not seen for *away_s*. Seen again after that it is AGAIN; held in view for
    *remind_after_s* it is AGAIN once and then silent until it has been away. *forget_after_s* after its last sighting
    it is NEW once more, since the same person may come back.
    """

    def __init__(self, *, away_s: float = 1.5, remind_after_s: float = 8.0, forget_after_s: float = 60.0) -> None:
        if not 0 < away_s <= forget_after_s or remind_after_s <= 0:
            raise ValueError("away_s and remind_after_s must be above 0, and away_s at most forget_after_s")
        self._away_s = away_s
        self._remind_after_s = remind_after_s
        self._forget_after_s = forget_after_s
        self._codes: OrderedDict[bytes, _Seen] = OrderedDict()

    def see(self, texts: Iterable[str], now_s: float, source: str = "camera") -> list[Presented]:
        """Take what one look (a frame, or one line of a scan head) showed at *now_s*, a monotonic time.

        Returns the presentations that begin now, in the order of *texts*; an empty look changes nothing.
        """
        events: list[Presented] = []
        for text in dict.fromkeys(texts):
            key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            seen = self._codes.get(key)
            if seen is None or now_s - seen.last_s >= self._forget_after_s:
                self._codes[key] = _Seen(now_s, now_s, now_s, False)
                events.append(Presented(text, source, Showing.NEW, now_s, now_s))
            else:
                was_away = now_s - seen.last_s >= self._away_s
                held_long = not seen.reminded and now_s - seen.spoke_s >= self._remind_after_s
                if was_away or held_long:
                    seen.spoke_s = now_s
                    seen.reminded = held_long and not was_away
                    events.append(Presented(text, source, Showing.AGAIN, now_s, seen.first_s))
                seen.last_s = max(seen.last_s, now_s)
            self._codes.move_to_end(key)
        while len(self._codes) > REMEMBERED:
            self._codes.popitem(last=False)
        return events

    def forget(self) -> None:
        """Start afresh: every code is NEW again (a staff member pressed "next person", or the entrance was reset)."""
        self._codes.clear()
