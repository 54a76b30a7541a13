"""The ladder of degraded modes: which rung the entrance stands on, entered and left with patience. Pure: no clock.

What a verdict rests on and what a record says is the bare truth of the moment (`Lane.degraded`). The ladder is for what
people and the journal are *told*: a loose plug that comes and goes each second is one mode, not sixty.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

from protocol.profile import Conduct

# These are told at once: nobody may be admitted, or the link has a patience of its own (kiosk.link_state).
AT_ONCE = frozenset({"journal_unavailable", "no_rules", "rules_stale", "clock_unsure", "no_network"})
LEFT_AT_ONCE = frozenset({"no_network", "no_rules", "rules_stale"})  # a signed answer ended them


class Rung(Enum):
    """What an entrance can still do, best first; the value stands in the journal's mode events."""

    FULL = "full"
    OFFLINE = "offline"  # everything but the network
    TYPED = "typed"  # codes are read; staff take the temperature by hand
    MANUAL = "manual"  # no code can be read: staff register by hand
    CLOSED = "closed"  # nothing can be recorded or judged: paper


def rung_of(words: Collection[str], *, has_scanner: bool) -> Rung:
    """The rung for these words; *has_scanner*: a scan head is set up beside the camera."""
    if "journal_unavailable" in words or "no_rules" in words:
        return Rung.CLOSED
    if "no_camera" in words and (not has_scanner or "no_scanner" in words):
        return Rung.MANUAL
    if "no_thermometer" in words:
        return Rung.TYPED
    return Rung.OFFLINE if "no_network" in words else Rung.FULL


@dataclass(frozen=True, slots=True)
class _Turn:
    """A word that is about to enter or to leave, and since when (steady seconds) it has asked without a break."""

    word: str
    since_s: float


@dataclass(frozen=True, slots=True)
class Ladder:
    """What is told to be out of order. `step` with the truth about once a second; a new value comes back.

    How long a device must be gone, and back again, is the profile's `Conduct`.
    """

    standing: tuple[str, ...] = ()
    turning: tuple[_Turn, ...] = ()

    def step(self, found: Collection[str], now_s: float, patience: Conduct) -> Ladder:
        """The ladder after *found* is seen to be out of order at *now_s*. Keeps the order of *found*."""
        asked = {turn.word: turn.since_s for turn in self.turning}
        standing, turning = [], []
        for word in (*found, *(word for word in self.standing if word not in found)):
            stands, wanted = word in self.standing, word in found
            if stands != wanted:
                since_s = asked.get(word, now_s)
                if now_s - since_s < _patience_s(word, patience, enters=wanted):
                    turning.append(_Turn(word, since_s))
                else:
                    stands = wanted
            if stands:
                standing.append(word)
        return Ladder(tuple(standing), tuple(turning))


def _patience_s(word: str, patience: Conduct, *, enters: bool) -> float:
    if enters:
        return 0.0 if word in AT_ONCE else patience.enter_after_s
    return 0.0 if word in LEFT_AT_ONCE else patience.leave_after_s
