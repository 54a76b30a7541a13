"""Holds one kiosk to a pace: a stolen key or a program that loops must not take the server from all the others.

Counted in each web process for itself and kept in memory, since a row a kiosk and exchange would cost more than what it
saves. Only what is properly signed counts, so nobody can slow down a kiosk whose key they lack.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

from server.ingest.refusals import Refused

WINDOW_S = 10.0
MOST = 600  # in a window; a kiosk that catches up after a month comes to 10 to 25 a second


class Pace:
    """How often each kiosk has come in the window that runs; forgets all of them when it ends."""

    def __init__(self, most: int = MOST, *, steady_s: Callable[[], float] = time.monotonic) -> None:
        self._most, self._steady_s = most, steady_s
        self._lock = threading.Lock()
        self._came: Counter[bytes] = Counter()
        self._ends_s = 0.0

    def count(self, kiosk: bytes) -> None:
        """Count one exchange of *kiosk*; raises Refused (429) with how long to wait when it comes too often."""
        with self._lock:
            now_s = self._steady_s()
            if now_s >= self._ends_s:
                self._came.clear()
                self._ends_s = now_s + WINDOW_S
            self._came[kiosk] += 1
            is_too_often, left_s = self._came[kiosk] > self._most, self._ends_s - now_s
        if is_too_often:
            raise Refused(
                429,
                "too_many_exchanges",
                f"More than {self._most} exchanges within {WINDOW_S:.0f} seconds. Send larger batches, less often.",
                retry_after_s=int(left_s) + 1,
            )
