"""The two clocks a driver needs, injected: a steady one for durations, a wall clock only to stamp readings."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Clock:
    """Where time comes from. No time-out in this package ever uses `utc`: it jumps when the network comes."""

    mono_s: Callable[[], float] = time.monotonic
    utc: Callable[[], datetime] = _utc_now  # aware, UTC


SYSTEM_CLOCK = Clock()
