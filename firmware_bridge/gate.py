"""What the station asks of anything that opens the door: one pulse at a time, and what is known of it."""

from __future__ import annotations

import threading
from abc import abstractmethod
from enum import Enum

from firmware_bridge.clock import SYSTEM_CLOCK, Clock
from firmware_bridge.device import DeviceState, SerialDevice

MIN_PULSE_MS = 100
MAX_PULSE_MS = 5000  # hardware.md 7.1: the hard maximum, here and in the firmware


class PulseState(Enum):
    """What is known about one opening. It only moves forward."""

    ASKED = "asked"  # queued for the driver's thread
    COMMANDED = "commanded"  # the command left; this board does not say whether it obeyed
    VERIFIED = "verified"  # the board said that the contact closed
    FAILED = "failed"  # not sent, refused, or the board says otherwise
    ENDED = "ended"  # released again; `was_verified` keeps what was known


class Pulse:
    """One opening of the gate; its properties may be read from any thread."""

    def __init__(self, open_ms: int) -> None:
        self.open_ms = open_ms
        self._changed = threading.Condition()
        self._state = PulseState.ASKED
        self._detail = ""
        self._was_verified = False

    @property
    def state(self) -> PulseState:
        """The state now."""
        with self._changed:
            return self._state

    @property
    def detail(self) -> str:
        """A stable code when the pulse failed, else ""."""
        with self._changed:
            return self._detail

    @property
    def was_verified(self) -> bool:
        """Whether the board ever confirmed this pulse."""
        with self._changed:
            return self._was_verified

    def move(self, state: PulseState, detail: str = "") -> None:
        """For drivers: go forward to *state*; a failed or ended pulse stays as it is."""
        with self._changed:
            if self._state in (PulseState.FAILED, PulseState.ENDED):
                return
            self._state, self._detail = state, detail
            self._was_verified = self._was_verified or state is PulseState.VERIFIED
            self._changed.notify_all()

    def wait_until(self, *states: PulseState, timeout_s: float) -> bool:
        """Block until the state is one of *states*; False after *timeout_s*."""
        with self._changed:
            return self._changed.wait_for(lambda: self._state in states, timeout_s)


class Gate(SerialDevice):
    """Base of the gate drivers. At most one pulse runs; asking again meanwhile returns the running one."""

    zh_name = "闸机"
    en_name = "gate"

    def __init__(self, port: str, *, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(port, clock=clock)
        self._pulse: Pulse | None = None

    def open_for(self, open_ms: int) -> Pulse:
        """Open now for *open_ms* (100 to 5000) milliseconds; returns at once, never blocks, never raises for a device.

        The pulse is FAILED at once when the gate is not ready. While a pulse is asked for or running, the same pulse is
        returned and not prolonged: two commands within a moment open the gate once. Raises ValueError for other times.
        """
        if not MIN_PULSE_MS <= open_ms <= MAX_PULSE_MS:
            raise ValueError(f"open_ms is {open_ms}; expected {MIN_PULSE_MS} to {MAX_PULSE_MS}")
        with self._lock:
            if self._pulse is not None and self._pulse.state not in (PulseState.FAILED, PulseState.ENDED):
                return self._pulse
            pulse = Pulse(open_ms)
            if self._status.state is not DeviceState.READY:
                pulse.move(PulseState.FAILED, self._status.code)
                return pulse
            self._pulse = pulse
        self._bell.ring()
        return pulse

    @property
    def is_opening(self) -> bool:
        """Whether a pulse is asked for or running."""
        with self._lock:
            return self._pulse is not None and self._pulse.state not in (PulseState.FAILED, PulseState.ENDED)

    def take_asked(self) -> Pulse | None:
        """For drivers: the pulse that waits for its command, or None."""
        with self._lock:
            pulse = self._pulse
        return pulse if pulse is not None and pulse.state is PulseState.ASKED else None

    def on_lost(self) -> None:
        """A running pulse can no longer be vouched for."""
        with self._lock:
            pulse = self._pulse
        if pulse is not None:
            pulse.move(PulseState.FAILED, "line_lost")

    @abstractmethod
    def is_hardware_timed(self) -> bool:
        """Whether the pulse ends by itself when this computer dies (hardware.md 6.4)."""
