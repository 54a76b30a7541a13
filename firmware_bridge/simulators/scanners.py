"""Scan heads on a simulated line: a GM65 with zones and flash, and a gun that only sends text."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from firmware_bridge.checksums import crc16_xmodem
from firmware_bridge.codecs import gm65
from firmware_bridge.simulators.shell import PtyShell

FRAME_WITHIN_S = 0.4  # a host frame that takes longer is dropped without an answer
FACTORY_ZONES = {gm65.ZONE_MODE: 0xD6, gm65.ZONE_OUTPUT: 0x00, gm65.ZONE_TAIL: 0x60, gm65.ZONE_FIRMWARE: 0x69}


class Gm65Model:
    """Zone memory and its flash copy; a wrong CRC, length or a late byte gets no answer at all."""

    def __init__(self, *, baud: int = 9600) -> None:
        self.flash = {zone: FACTORY_ZONES.get(zone, 0) for zone in range(0x100)}
        self.flash[0x2A], self.flash[0x2B] = (3_000_000 // baud).to_bytes(2, "little")
        self.zones = dict(self.flash)
        self.saves = 0
        self.acks_lost = 0  # how many of the next replies get lost
        self.acks_doubled = 0
        self._buffer = bytearray()
        self._began_s = 0.0

    @property
    def baud(self) -> int:
        """As zones 002A and 002B say (3 000 000 / divisor), to the nearest real speed."""
        divisor = self.zones[0x2A] | self.zones[0x2B] << 8
        return min((9600, 19200, 38400, 57600, 115200), key=lambda baud: abs(baud - 3_000_000 / max(1, divisor)))

    def power_cycle(self, now_s: float) -> None:
        """RAM zones are loaded from flash."""
        self.zones = dict(self.flash)
        self._buffer.clear()

    def receive(self, data: bytes, now_s: float) -> bytes:
        """Handle whole frames."""
        if not self._buffer or now_s - self._began_s > FRAME_WITHIN_S:
            self._buffer.clear()
            self._began_s = now_s
        self._buffer += data
        answer = b""
        while (at := self._buffer.find(b"\x7e\x00")) >= 0:
            del self._buffer[:at]
            if len(self._buffer) < 6:
                return answer
            data_bytes = self._buffer[3] if self._buffer[2] == gm65.WRITE else 1
            size = 2 + 4 + data_bytes + 2
            if len(self._buffer) < size:
                return answer
            frame = bytes(self._buffer[:size])
            del self._buffer[: 2 if crc16_xmodem(frame[2:-2]) != int.from_bytes(frame[-2:], "big") else size]
            if crc16_xmodem(frame[2:-2]) == int.from_bytes(frame[-2:], "big"):
                answer += self._handle(frame[2], int.from_bytes(frame[4:6], "big"), frame[6:-2])
        return answer

    def _handle(self, kind: int, zone: int, data: bytes) -> bytes:
        if kind == gm65.READ:
            answer = gm65.reply_frame(bytes(self.zones.get(zone + n, 0) for n in range(data[0])))
        elif kind == gm65.WRITE:
            self.zones.update({zone + n: value for n, value in enumerate(data)})
            answer = gm65.reply_frame(b"\x00")
        elif kind == gm65.SAVE:
            self.flash = dict(self.zones)
            self.saves += 1
            answer = gm65.reply_frame(b"\x00")
        else:
            return b""
        if self.acks_lost:
            self.acks_lost -= 1
            return b""
        if self.acks_doubled:
            self.acks_doubled -= 1
            return answer * 2
        return answer

    def tail(self) -> bytes:
        """What the head sends after a code."""
        return (b"\r", b"\r\n", b"\t", b"")[self.zones[gm65.ZONE_TAIL] >> 5 & 3]

    def tick(self, now_s: float) -> bytes:
        """It speaks through `Gm65Simulator.show` only."""
        return b""

    def next_tick_s(self, now_s: float) -> float | None:
        """Never."""
        return None


class Gm65Simulator(PtyShell):
    """A GM65 on a pty; `show` holds a code in front of it."""

    def __init__(self, link: Path, *, baud: int = 9600, clock: Callable[[], float] = time.monotonic) -> None:
        self.head = Gm65Model(baud=baud)
        super().__init__(self.head, link, clock=clock)

    def show(self, code: str | bytes) -> None:
        """Send *code* with the tail that zone 0060 asks for."""
        data = code.encode() if isinstance(code, str) else code
        self.send(data + self.head.tail())


class LineScannerModel:
    """A head that only speaks; what it hears is kept, so that tests see the trigger bytes."""

    def __init__(self, baud: int = 9600) -> None:
        self._baud = baud
        self.heard = bytearray()

    @property
    def baud(self) -> int:
        """Set by a switch or a printed code."""
        return self._baud

    def power_cycle(self, now_s: float) -> None:
        """Nothing to forget but what was heard."""
        self.heard.clear()

    def receive(self, data: bytes, now_s: float) -> bytes:
        """Listen."""
        self.heard += data
        del self.heard[:-256]
        return b""

    def tick(self, now_s: float) -> bytes:
        """It speaks through `LineScannerSimulator.show` only."""
        return b""

    def next_tick_s(self, now_s: float) -> float | None:
        """Never."""
        return None


class LineScannerSimulator(PtyShell):
    """A serial gun on a pty."""

    def __init__(
        self, link: Path, *, tail: bytes = b"\r", baud: int = 9600, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.gun = LineScannerModel(baud)
        self.tail = tail
        super().__init__(self.gun, link, clock=clock)

    def show(self, code: str | bytes) -> None:
        """Send *code* with the tail."""
        self.send((code.encode() if isinstance(code, str) else code) + self.tail)
