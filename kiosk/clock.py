"""Time that can be defended: wall clock, steady clock and boot in one stamp, with an honest word on how sure we are.

A Pi has no clock of its own: it may start in 1970 or go backwards over a power cut (field.md, pain 1). Nothing here
corrects the wall clock; it is only recorded together with how far it can be believed.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from protocol.passage import BOOT_ID_BYTES, ClockConfidence, Stamp

BUILT_AFTER_MS = 1_790_000_000_000  # 2026-09-21: no kiosk of this version lived before; an earlier clock is wrong
SYNCED_WITHIN_MS = 5_000  # the server's time and ours agree this well
JUMP_MS = 5_000  # wall and steady clock part by more than this: somebody moved the wall clock


def boot_id() -> bytes:
    """8 bytes that change with each boot of the machine (Linux `boot_id`)."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        text = f"process {time.time_ns() - time.monotonic_ns()}"  # no procfs: the start of this process stands in
    return hashlib.sha256(text.encode()).digest()[:BOOT_ID_BYTES]


def steady_ms() -> int:
    """Milliseconds since boot, counting sleep; never goes back."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


class KioskClock:
    """Makes stamps and watches the wall clock. Safe to use from several threads.

    *last_record_ms* is the wall time of the newest record on disk: a clock that stands before it went backwards.
    """

    def __init__(
        self,
        last_record_ms: int | None = None,
        *,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        mono_ms: Callable[[], int] = steady_ms,
        boot: bytes | None = None,
    ) -> None:
        self._wall_ms, self._mono_ms = wall_ms, mono_ms
        self._boot = boot or boot_id()
        self._lock = threading.Lock()
        self._not_before_ms = max(BUILT_AFTER_MS, last_record_ms or 0)
        self._offset_ms = wall_ms() - mono_ms()  # of the wall clock over the steady one, when last believed
        self._is_synced = False
        self._jumped_ms: int | None = None
        self._day = (-1, "")  # the minute that `day` was last asked in, and its answer
        self.server_offset_ms: int | None = None  # ours minus the server's, as last measured; recorded, never applied

    def stamp(self) -> Stamp:
        """The stamp of this moment."""
        with self._lock:
            wall, mono = self._wall_ms(), self._mono_ms()
            self._watch(wall, mono)
            return Stamp(wall, mono, self._boot, self._confidence(wall))

    def _watch(self, wall: int, mono: int) -> None:
        moved = wall - mono - self._offset_ms
        if abs(moved) > JUMP_MS:
            self._jumped_ms = moved if self._jumped_ms is None else self._jumped_ms + moved
            self._offset_ms = wall - mono
            self._is_synced = False

    def _confidence(self, wall: int) -> ClockConfidence:
        if self._is_synced:
            return ClockConfidence.SYNCED
        if wall < self._not_before_ms:
            return ClockConfidence.UNSURE
        return ClockConfidence.HELD

    def server_said(self, server_ms: int) -> int:
        """Compare with the time in a verified answer of the server; returns ours minus the server's."""
        with self._lock:
            wall, mono = self._wall_ms(), self._mono_ms()
            self._watch(wall, mono)
            self.server_offset_ms = wall - server_ms
            self._is_synced = abs(self.server_offset_ms) <= SYNCED_WITHIN_MS
            if not self._is_synced and self.server_offset_ms < -SYNCED_WITHIN_MS:
                self._not_before_ms = max(self._not_before_ms, server_ms - SYNCED_WITHIN_MS)
            return self.server_offset_ms

    def take_jump_ms(self) -> int | None:
        """By how much the wall clock was moved since this was last asked, or None. A jump becomes a record."""
        with self._lock:
            self._watch(self._wall_ms(), self._mono_ms())
            jumped, self._jumped_ms = self._jumped_ms, None
            return jumped

    @property
    def is_sure(self) -> bool:
        """Whether codes with minutes of life can be judged by the wall clock."""
        return self.stamp().confidence is not ClockConfidence.UNSURE

    def now(self) -> datetime:
        """The wall clock, aware, in UTC; for checking credentials and for words on the screen."""
        return datetime.fromtimestamp(self._wall_ms() / 1000, UTC)

    def day(self) -> str:
        """The local calendar day, for counters and epochs."""
        minute = self._wall_ms() // 60_000  # a day begins with a whole minute in every time zone
        if minute != self._day[0]:
            self._day = (minute, datetime.fromtimestamp(minute * 60, UTC).astimezone().strftime("%Y-%m-%d"))
        return self._day[1]
