"""An LCUS relay board of any dialect that writes down every opening of its contact."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from firmware_bridge.checksums import sum8
from firmware_bridge.codecs import lcus
from firmware_bridge.codecs.lcus import Op
from firmware_bridge.simulators.shell import PtyShell


@dataclass(frozen=True, slots=True)
class PulseRecord:
    """One time that the contact was closed, that is: the gate was open."""

    opened_mono_s: float
    closed_mono_s: float | None  # None while it is still open

    @property
    def length_s(self) -> float | None:
        """How long it was open, or None while it is."""
        return None if self.closed_mono_s is None else self.closed_mono_s - self.opened_mono_s


class LcusModel:
    """One to sixteen contacts behind four-byte commands; drops a command that follows another one too fast."""

    baud: int = 9600

    def __init__(self, dialect: str = "A", channels: int = 1, *, answers: bool = True) -> None:
        self.dialect = dialect
        self.answers = answers  # False: a single-channel board that leaves FF unanswered
        self.contacts = [False] * channels
        self.pulses: list[PulseRecord] = []  # of channel 1
        self.dropped = 0  # commands that came too soon after the one before
        self.welded = False  # the contact no longer moves
        self._buffer = bytearray()
        self._last_s = -1.0

    def power_cycle(self, now_s: float) -> None:
        """Contacts fall off when the supply goes."""
        for channel in range(1, len(self.contacts) + 1):
            self._set(channel, False, now_s)
        self._buffer.clear()
        self._last_s = -1.0

    def receive(self, data: bytes, now_s: float) -> bytes:
        """Handle whole commands."""
        self._buffer += data
        answer = b""
        while self._buffer:
            if self._buffer[:1] == lcus.STATUS_REQUEST:
                del self._buffer[0]
                if self._in_time(now_s):
                    answer += self._status()
            elif self._buffer[0] != lcus.START:
                del self._buffer[0]
            elif len(self._buffer) < 4:
                break
            elif sum8(self._buffer[:3]) != self._buffer[3]:
                del self._buffer[0]
            else:
                _, channel, op, _ = bytes(self._buffer[:4])
                del self._buffer[:4]
                if 1 <= channel <= len(self.contacts) and self._in_time(now_s):
                    answer += self._command(channel, op, now_s)
        return answer

    def _in_time(self, now_s: float) -> bool:
        # Half of the gap in grace: the host keeps it between sending, and this thread may have read the first one late.
        if 0 <= now_s - self._last_s < lcus.MIN_GAP_S / 2:
            self.dropped += 1
            return False
        self._last_s = now_s
        return True

    def _status(self) -> bytes:
        if not self.answers or self.dialect == "B":
            return b""
        if self.dialect == "C":
            return bytes(self.contacts)
        return "".join(f"CH{n}: {'ON' if on else 'OFF'}\r\n" for n, on in enumerate(self.contacts, 1)).encode()

    def _command(self, channel: int, op: int, now_s: float) -> bytes:
        is_b = self.dialect == "B"
        if op in (Op.OFF, Op.ON):
            self._set(channel, op == Op.ON, now_s)
            return b""
        if not is_b:
            return b""
        if op in (Op.OFF_ANSWERED, Op.ON_ANSWERED):
            self._set(channel, op == Op.ON_ANSWERED, now_s)
        elif op == 4:  # toggle
            self._set(channel, not self.contacts[channel - 1], now_s)
            return b""
        elif op != Op.QUERY:
            return b""
        body = bytes((lcus.START, channel, self.contacts[channel - 1]))
        return body + bytes((sum8(body),))

    def _set(self, channel: int, is_on: bool, now_s: float) -> None:
        if self.welded or self.contacts[channel - 1] == is_on:
            return
        self.contacts[channel - 1] = is_on
        if channel != 1:
            return
        if is_on:
            self.pulses.append(PulseRecord(now_s, None))
        else:
            self.pulses[-1] = PulseRecord(self.pulses[-1].opened_mono_s, now_s)

    def tick(self, now_s: float) -> bytes:
        """It never speaks unasked."""
        return b""

    def next_tick_s(self, now_s: float) -> float | None:
        """Never."""
        return None


class LcusSimulator(PtyShell):
    """An LCUS board on a pty; `pulses` is the list of openings so far."""

    def __init__(
        self,
        link: Path,
        *,
        dialect: str = "A",
        channels: int = 1,
        answers: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.board = LcusModel(dialect, channels, answers=answers)
        super().__init__(self.board, link, clock=clock)

    @property
    def pulses(self) -> tuple[PulseRecord, ...]:
        """Openings of channel 1, oldest first; the last one has no end while the gate is open."""
        with self._lock:
            return tuple(self.board.pulses)
