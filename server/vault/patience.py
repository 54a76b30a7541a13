"""How many refusals one asker gets before the vault stops answering them for a while. Pure: the time is given.

Each refusal is a synced line of the access log. A web process that was broken into could otherwise try approvals as
fast as the vault answers, and bury what it does under its own noise.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

WINDOW_S = 60.0


class Patience:
    """Counts refusals by asker; the caller holds a lock."""

    def __init__(self, refusals_a_minute: int, pause_s: float) -> None:
        """Refuse at most *refusals_a_minute* in any minute, then say nothing but "too many" for *pause_s* seconds."""
        self._most, self._pause_s = refusals_a_minute, pause_s
        self._refused: dict[Hashable, deque[float]] = {}
        self._over_at: dict[Hashable, float] = {}  # -> when the pause ends

    def is_over(self, asker: Hashable, now_s: float) -> bool:
        """Whether *asker* is to be answered "too many" now."""
        return now_s < self._over_at.get(asker, 0.0)

    def refused(self, asker: Hashable, now_s: float) -> bool:
        """Note a refusal; True for the one that begins a pause, which is the one to log."""
        times = self._refused.setdefault(asker, deque())
        times.append(now_s)
        while times[0] <= now_s - WINDOW_S:
            times.popleft()
        if len(times) < self._most or self.is_over(asker, now_s):
            return False
        times.clear()
        self._over_at[asker] = now_s + self._pause_s
        return True
