"""Modbus devices on a simulated line: infrared sensors with a register image, relay boards with coils."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from firmware_bridge.checksums import crc16_modbus
from firmware_bridge.codecs.modbus import (
    COIL_OFF,
    COIL_ON,
    READ_COILS,
    READ_HOLDING,
    READ_INPUT,
    WRITE_COIL,
    WRITE_REGISTER,
    with_crc,
)
from firmware_bridge.codecs.modbus_ir import PROFILES
from firmware_bridge.simulators.lcus import PulseRecord
from firmware_bridge.simulators.scene import Scene, SceneFeed, parse_scene
from firmware_bridge.simulators.shell import PtyShell

REQUEST_BYTES = 8
REPLY_DELAY_S = 0.02


class ModbusSlave(ABC):
    """The line side of any slave: finds requests, keeps the reply delay, echoes when the adapter does."""

    baud: int = 9600

    def __init__(self, address: int = 1) -> None:
        self.address = address
        self.echo = False  # an RS-485 adapter that hears itself
        self.stray = b""  # noise in front of each reply
        self.reply_as: int | None = None  # another address answers in our place
        self.late_s = 0.0  # on top of the reply delay
        self.ignore_next = 0
        self.requests = 0
        self._buffer = bytearray()
        self._due: list[tuple[float, bytes]] = []

    def power_cycle(self, now_s: float) -> None:
        """Forget half a request and what was about to be said."""
        self._buffer.clear()
        self._due.clear()

    def receive(self, data: bytes, now_s: float) -> bytes:
        """Queue the answer to each whole request with a right CRC; broadcasts are not answered."""
        self._buffer += data
        while len(self._buffer) >= REQUEST_BYTES:
            request = bytes(self._buffer[:REQUEST_BYTES])
            if crc16_modbus(request) != 0:
                del self._buffer[0]
                continue
            del self._buffer[:REQUEST_BYTES]
            self.requests += 1
            if request[0] not in (self.address, 0, 255):
                continue
            body = self.handle(
                request[1], int.from_bytes(request[2:4], "big"), int.from_bytes(request[4:6], "big"), now_s
            )
            if self.ignore_next:
                self.ignore_next -= 1
            elif request[0] != 0:
                address = self.address if self.reply_as is None else self.reply_as
                self._due.append((now_s + REPLY_DELAY_S + self.late_s, self.stray + with_crc(bytes((address,)) + body)))
        return data if self.echo else b""

    def tick(self, now_s: float) -> bytes:
        """The answers that are due."""
        ready = [answer for due, answer in self._due if due <= now_s]
        self._due = [(due, answer) for due, answer in self._due if due > now_s]
        return b"".join(ready)

    def next_tick_s(self, now_s: float) -> float | None:
        """When the next answer is due."""
        return min((due for due, _ in self._due), default=None)

    @abstractmethod
    def handle(self, function: int, start: int, words: int, now_s: float) -> bytes:
        """Function and data of the answer; subclasses know their registers."""


def refusal(function: int, code: int) -> bytes:
    """The body of an exception reply."""
    return bytes((function | 0x80, code))


class ModbusIrModel(ModbusSlave):
    """A sensor of one of the known families; counts writes to its non-volatile memory."""

    def __init__(self, feed: SceneFeed, profile: str = "pyrominibus", address: int = 1, *, serial: int = 4711) -> None:
        super().__init__(address)
        self.feed = feed
        self.profile = PROFILES[profile]
        self.status = 0
        self.refuse_with = 0  # an exception code for every request
        self.nonvolatile_writes = 0
        self.registers = dict.fromkeys(range(0x20), 0)
        if self.profile.identities:
            self.registers[0] = self.profile.identities[-1]
        if self.profile.serial_at is not None:
            self.registers[self.profile.serial_at] = serial >> 16
            self.registers[self.profile.serial_at + 1] = serial & 0xFFFF
        if self.profile.emissivity_at is not None:
            self.registers[self.profile.emissivity_at] = 9800

    def handle(self, function: int, start: int, words: int, now_s: float) -> bytes:
        """Reads, and single writes."""
        if self.refuse_with:
            return refusal(function, self.refuse_with)
        if function in (READ_HOLDING, READ_INPUT):
            if not 1 <= words <= 32 or start + words > len(self.registers):
                return refusal(function, 2)
            self._measure(now_s)
            data = b"".join(self.registers[n].to_bytes(2, "big") for n in range(start, start + words))
            return bytes((function, len(data))) + data
        if function == WRITE_REGISTER and start in self.registers:
            self.registers[start] = words
            self.nonvolatile_writes += start not in (0x16, 0x17, 0x18)
            return bytes((function,)) + start.to_bytes(2, "big") + words.to_bytes(2, "big")
        return refusal(function, 1)

    def _measure(self, now_s: float) -> None:
        seen, ambient = self.feed.sample(now_s)
        profile = self.profile
        words = [round(value * profile.scale) & 0xFFFF for value in (seen, ambient)]
        self.registers[profile.object_at], self.registers[profile.ambient_at] = words
        if profile.status_at is not None:
            self.registers[profile.status_at] = self.status


class ModbusIrSimulator(PtyShell):
    """A Modbus infrared sensor on a pty."""

    def __init__(
        self,
        link: Path,
        *,
        profile: str = "pyrominibus",
        scene: Scene | str = "empty",
        seed: int = 1,
        address: int = 1,
        serial: int = 4711,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.scene = SceneFeed(parse_scene(scene) if isinstance(scene, str) else scene, seed=seed)
        self.sensor = ModbusIrModel(self.scene, profile, address, serial=serial)
        super().__init__(self.sensor, link, clock=clock)


class ModbusRelayModel(ModbusSlave):
    """Eight coils; the pulses of coil 0 are written down."""

    def __init__(self, address: int = 1) -> None:
        super().__init__(address)
        self.coils = [False] * 8
        self.pulses: list[PulseRecord] = []
        self.welded = False

    def power_cycle(self, now_s: float) -> None:
        """Coils fall off."""
        super().power_cycle(now_s)
        for coil in range(8):
            self._set(coil, False, now_s)

    def handle(self, function: int, start: int, words: int, now_s: float) -> bytes:
        """Read eight coils, write one."""
        if function == READ_COILS and (start, words) == (0, 8):
            return bytes((function, 1, sum(on << coil for coil, on in enumerate(self.coils))))
        if function == WRITE_COIL and start < 8 and words in (COIL_ON, COIL_OFF):
            self._set(start, words == COIL_ON, now_s)
            return bytes((function,)) + start.to_bytes(2, "big") + words.to_bytes(2, "big")
        return refusal(function, 2)

    def _set(self, coil: int, is_on: bool, now_s: float) -> None:
        if self.welded or self.coils[coil] == is_on:
            return
        self.coils[coil] = is_on
        if coil == 0 and is_on:
            self.pulses.append(PulseRecord(now_s, None))
        elif coil == 0:
            self.pulses[-1] = PulseRecord(self.pulses[-1].opened_mono_s, now_s)


class ModbusRelaySimulator(PtyShell):
    """A Modbus relay board on a pty."""

    def __init__(self, link: Path, *, address: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self.board = ModbusRelayModel(address)
        super().__init__(self.board, link, clock=clock)

    @property
    def pulses(self) -> tuple[PulseRecord, ...]:
        """Openings of coil 0, oldest first."""
        with self._lock:
            return tuple(self.board.pulses)
