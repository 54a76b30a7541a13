"""Slows down who fails again and again, and nobody else; in this process's memory, bounded."""

from __future__ import annotations

import threading
from collections import OrderedDict
from datetime import datetime, timedelta

from server.ingest.refusals import Refused

MOST_KEPT = 10_000  # sources remembered; the oldest are forgotten first


class Throttle:
    """Counts failures of a source within a window; a source over the limit has to wait for the window's end."""

    def __init__(self, limit: int, window: timedelta) -> None:
        self._limit, self._window = limit, window
        self._failures: OrderedDict[str, tuple[datetime, int]] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, source: str, now: datetime) -> None:
        """Raise Refused (429) while *source* has to wait."""
        with self._lock:
            since, count = self._failures.get(source, (now, 0))
        wait = since + self._window - now
        if count >= self._limit and wait > timedelta(0):
            raise Refused(
                429,
                "too_many_failures",
                "Too many failed attempts. Wait a little and try again.",
                retry_after_s=max(1, round(wait.total_seconds())),
            )

    def note_failure(self, source: str, now: datetime) -> None:
        """Count one failure of *source*."""
        with self._lock:
            since, count = self._failures.pop(source, (now, 0))
            self._failures[source] = (since, count + 1) if now - since < self._window else (now, 1)
            while len(self._failures) > MOST_KEPT:
                self._failures.popitem(last=False)

    def forget(self) -> None:
        """Forget every failure."""
        with self._lock:
            self._failures.clear()
