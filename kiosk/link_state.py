"""Whether the kiosk counts as online, and when it tries again: pure, with hysteresis and jitter (SM-18)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

OFFLINE_AFTER = 3  # failures in a row
ONLINE_AFTER = 2  # successes in a row, so that a flapping network does not flap on the screen
SETTLE_S = 2.0  # until the second success is asked for
FIRST_RETRY_S = 2.0
LONGEST_RETRY_S = 60.0  # no longer: a network that is back shall be found within a minute


class LinkState(Enum):
    """How the kiosk stands with its server."""

    ONLINE = "online"
    DEGRADED = "degraded"  # it failed once or twice, or it has just come back
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class Link:
    """The state and the run of failures or successes that led to it. A kiosk starts offline."""

    state: LinkState = LinkState.OFFLINE
    failures: int = 0
    successes: int = 0

    def succeeded(self) -> Link:
        """After an exchange that worked."""
        successes = self.successes + 1
        is_online = self.state is LinkState.ONLINE or successes >= ONLINE_AFTER
        return Link(LinkState.ONLINE if is_online else LinkState.DEGRADED, 0, successes)

    def failed(self) -> Link:
        """After an exchange that did not."""
        failures = self.failures + 1
        is_offline = self.state is LinkState.OFFLINE or failures >= OFFLINE_AFTER
        return Link(LinkState.OFFLINE if is_offline else LinkState.DEGRADED, failures, 0)

    def next_try_s(self, interval_s: float, chance: float, retry_after_s: float | None = None) -> float:
        """Seconds until the next exchange; *chance* is in [0, 1) and spreads kiosks that failed together.

        *retry_after_s*, when the server gave one, is the least.
        """
        if not self.failures:
            return interval_s if self.state is LinkState.ONLINE else min(SETTLE_S, interval_s)
        longest = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(self.failures - 1, 10))
        return max(longest * (0.5 + chance / 2), retry_after_s or 0.0)
