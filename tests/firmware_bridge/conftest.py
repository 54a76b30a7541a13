"""What several hardware tests share: frames by hand, a clock that is turned by hand, waiting on conditions."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from firmware_bridge.clock import Clock
from firmware_bridge.reading import Frame

NOON = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)


class HandClock:
    """Time that moves when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.utc_offset_s = 0.0
        self.clock = Clock(mono_s=lambda: self.now_s, utc=lambda: NOON + timedelta(seconds=self.utc_offset_s))

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def hand_clock() -> HandClock:
    return HandClock()


@pytest.fixture(autouse=True)
def quick_life(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated devices come back and answer at once; the back-off itself has its own test, with its own times."""
    monkeypatch.setattr("firmware_bridge.device.BACK_OFF_FIRST_S", 0.02)
    monkeypatch.setattr("firmware_bridge.device.BACK_OFF_MAX_S", 0.1)
    monkeypatch.setattr("firmware_bridge.drivers.sam_v.FIND_EVERY_S", 0.05)


def frames_of(
    objects: list[float], ambient: float | None = 25.0, *, every_s: float = 0.1, start_s: float = 0.0, **changes: object
) -> list[Frame]:
    """One frame per object temperature, *every_s* apart."""
    frames = []
    for number, celsius in enumerate(objects):
        at = start_s + number * every_s
        frame = Frame(
            object_celsius=celsius,
            ambient_celsius=ambient,
            received_mono_s=at,
            measured_from_mono_s=at,
            words=(round(celsius * 100), number),
        )
        frames.append(replace(frame, **changes))
    return frames


def wait_until(true: Callable[[], bool], timeout_s: float = 10.0) -> bool:
    """Wait on a condition in small steps; False when it never came true."""
    tick = threading.Event()
    for _ in range(int(timeout_s / 0.01)):
        if true():
            return True
        tick.wait(0.01)
    return true()
