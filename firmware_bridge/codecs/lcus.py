"""The four-byte commands of LCUS USB relays, and the three ways in which such boards answer (hardware.md 6.1)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from firmware_bridge.checksums import sum8

START = 0xA0
STATUS_REQUEST = b"\xff"  # dialects A and C
MIN_GAP_S = 0.1  # between two commands (S67); faster ones are dropped by the board
MAX_LINE_BYTES = 32


class Op(IntEnum):
    """What byte 2 may be. Toggle (4) exists and is not here: a retry would undo it."""

    OFF = 0
    ON = 1
    OFF_ANSWERED = 2  # dialect B
    ON_ANSWERED = 3  # dialect B
    QUERY = 5  # dialect B


@dataclass(frozen=True, slots=True)
class ContactState:
    """What a board says about one contact."""

    channel: int  # 1 is the first
    is_on: bool


def command(channel: int, op: Op) -> bytes:
    """One command frame: A0, channel, op, sum."""
    body = bytes((START, channel, op))
    return body + bytes((sum8(body),))


class DialectA:
    """Text lines `CH1: ON` and `CH1: OFF`, one per channel, after FF; nothing after a command."""

    name = "A"

    def __init__(self) -> None:
        self._line = bytearray()
        self.foreign = 0  # bytes that no board of this dialect sends

    def feed(self, data: bytes) -> list[ContactState]:
        """The contact states that *data* completes."""
        states = []
        for byte in data:
            if byte not in b"\r\n":
                if 0x20 <= byte < 0x7F and len(self._line) < MAX_LINE_BYTES:
                    self._line.append(byte)
                else:
                    self.foreign += 1
                continue
            line, self._line = bytes(self._line), bytearray()
            if not line:
                continue
            head, _, tail = line.partition(b":")
            number, word = head[2:], tail.strip()
            if head[:2] == b"CH" and number.isdigit() and len(number) <= 2 and word in (b"ON", b"OFF"):
                states.append(ContactState(int(number), word == b"ON"))
            else:
                self.foreign += len(line)
        return states


class DialectB:
    """A four-byte answer `A0 channel state sum` to the ops 2, 3 and 5."""

    name = "B"

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.foreign = 0

    def feed(self, data: bytes) -> list[ContactState]:
        """The contact states that *data* completes."""
        states = []
        self._buffer += data
        while len(self._buffer) >= 4:
            if self._buffer[0] == START and self._buffer[2] <= 1 and sum8(self._buffer[:3]) == self._buffer[3]:
                states.append(ContactState(self._buffer[1], self._buffer[2] == 1))
                del self._buffer[:4]
            else:
                self.foreign += 1
                del self._buffer[0]
        return states


class DialectC:
    """One byte per channel, 0 or 1, after FF."""

    name = "C"

    def __init__(self) -> None:
        self._channel = 0
        self.foreign = 0

    def expect(self) -> None:
        """A status request was sent: the next byte is channel 1."""
        self._channel = 0

    def feed(self, data: bytes) -> list[ContactState]:
        """The contact states that *data* holds."""
        states = []
        for byte in data:
            self._channel += 1
            if byte <= 1 and self._channel <= 16:
                states.append(ContactState(self._channel, byte == 1))
            else:
                self.foreign += 1
        return states


Dialect = DialectA | DialectB | DialectC


def dialect(name: str) -> Dialect:
    """The decoder of dialect "A", "B" or "C"."""
    if name == "A":
        return DialectA()
    return DialectB() if name == "B" else DialectC()
