"""A GY-614V with its sixteen registers, query and continuous mode, and a scene in front of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from firmware_bridge.checksums import sum8
from firmware_bridge.codecs import gy614v
from firmware_bridge.codecs.gy614v import BAUDS, RATES_HZ, READ, WRITE, Register, Registers
from firmware_bridge.simulators.scene import Scene, SceneFeed, parse_scene
from firmware_bridge.simulators.shell import PtyShell

FACTORY = bytes((gy614v.ADDRESS, 2, 1, 0, 0, 0, 100, 95, 0, 0, 0, 0, 0, 0, 0x61, 3))
REQUEST_BYTES = 5


class Gy614vModel:
    """The module without its cable (hardware.md 2.1); starts in continuous mode at 9600 as it leaves the factory."""

    def __init__(self, feed: SceneFeed, *, saved: bytes = FACTORY) -> None:
        self.feed = feed
        self._saved = bytearray(saved)
        self._registers = bytearray(saved)
        self._buffer = bytearray()
        self._next_s: float | None = None
        self.saves = 0  # writes to its flash

    @property
    def baud(self) -> int:
        """As register 01 says."""
        return BAUDS[self._registers[Register.BAUD] & 7]

    def power_cycle(self, now_s: float) -> None:
        """RAM settings are lost, saved ones come back."""
        self._registers[:] = self._saved
        self._buffer.clear()
        self._next_s = now_s

    def receive(self, data: bytes, now_s: float) -> bytes:
        """Handle whole requests; a frame with a wrong sum or address is passed over in silence."""
        self._buffer += data
        answer = b""
        while len(self._buffer) >= REQUEST_BYTES:
            request = bytes(self._buffer[:REQUEST_BYTES])
            for_us = request[0] in (self._registers[Register.ADDRESS], 0) and request[1] in (READ, WRITE)
            if not for_us or sum8(request[:4]) != request[4]:
                del self._buffer[0]
                continue
            del self._buffer[:REQUEST_BYTES]
            _, function, register, value, _ = request
            if function == WRITE:
                self._write(register, value)
            elif value and register + value <= gy614v.REGISTERS:
                self._measure(now_s)
                answer += self._frame(register, value)
        return answer

    def _write(self, register: int, value: int) -> None:
        if register == Register.SAVE:
            if value == 0x55:
                self._saved[:] = self._registers
                self.saves += 1
            elif value == 0xAA:
                self._registers[:] = self._saved[:] = FACTORY
        elif register <= Register.EMISSIVITY:
            self._registers[register] = value

    def tick(self, now_s: float) -> bytes:
        """The frame or line of continuous mode, when it is due."""
        if self._registers[Register.MODE] != 0 or self._next_s is None or now_s < self._next_s:
            return b""
        self._next_s = max(self._next_s + self._period_s, now_s)
        self._measure(now_s)
        if self._registers[Register.FORMAT] == 1:
            frame = Registers(0, bytes(self._registers))
            return f"TO:{gy614v.celsius(frame.word(8)):.2f} TA:{gy614v.celsius(frame.word(10)):.2f}\r\n".encode()
        return self._frame(Register.EMISSIVITY, 7)

    def next_tick_s(self, now_s: float) -> float | None:
        """None in query mode."""
        return self._next_s if self._registers[Register.MODE] == 0 else None

    @property
    def _period_s(self) -> float:
        return 1 / RATES_HZ[self._registers[Register.RATE] & 3]

    def _frame(self, start: int, count: int) -> bytes:
        return Registers(start, bytes(self._registers[start : start + count])).to_bytes(self._registers[0])

    def _measure(self, now_s: float) -> None:
        seen, ambient = self.feed.sample(now_s)
        seen += (self._registers[Register.OFFSET] - 100) / 10
        body = seen + 0.19 * (seen - ambient)  # stands in for the maker's formula, which is not public
        for register, celsius in ((Register.OBJECT, seen), (Register.AMBIENT, ambient), (Register.BODY, body)):
            self._registers[register : register + 2] = (round(celsius * 100) & 0xFFFF).to_bytes(2, "big")


class Gy614vSimulator(PtyShell):
    """A GY-614V on a pty. `scene.set("fever")`, `set_faults(...)`, `unplug()` and `plug()` from any thread."""

    def __init__(
        self,
        link: Path,
        *,
        scene: Scene | str = "empty",
        seed: int = 1,
        saved: bytes = FACTORY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.scene = SceneFeed(parse_scene(scene) if isinstance(scene, str) else scene, seed=seed)
        self.module = Gy614vModel(self.scene, saved=saved)
        super().__init__(self.module, link, clock=clock)
