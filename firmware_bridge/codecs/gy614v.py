"""The address/function/register protocol of GY-614V thermometers (hardware.md 2.1)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from firmware_bridge.checksums import sum8

ADDRESS = 0xA4  # factory default; 0 is broadcast
WRITE, READ = 0x06, 0x03
REGISTERS = 16
MAX_FRAME_BYTES = 4 + REGISTERS + 1


class Register(IntEnum):
    """The register page of the maker (S1)."""

    ADDRESS = 0x00
    BAUD = 0x01  # 0..7 = 2400 .. 230400
    RATE = 0x02  # 0..3 = 1, 2, 5, 10 Hz
    MODE = 0x03  # 0 continuous, 1 query
    FORMAT = 0x04  # 0 binary, 1 text
    SAVE = 0x05  # 55 save, AA factory defaults; this driver never writes it
    OFFSET = 0x06  # (v - 100) / 10 degC added to the object
    EMISSIVITY = 0x07  # x100
    OBJECT = 0x08  # two bytes, big-endian, x100 degC
    AMBIENT = 0x0A
    BODY = 0x0C
    CHIP = 0x0E
    FIRMWARE = 0x0F


BAUDS = (2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400)
RATES_HZ = (1, 2, 5, 10)


@dataclass(frozen=True, slots=True)
class Registers:
    """The bytes of consecutive registers, as read or as streamed."""

    start: int  # 0..15
    values: bytes  # 1..16, never past register 15

    def to_bytes(self, address: int = ADDRESS) -> bytes:
        """The frame as the module sends it."""
        body = bytes((address, READ, self.start, len(self.values))) + self.values
        return body + bytes((sum8(body),))

    def covers(self, register: int, count: int = 1) -> bool:
        """Whether *count* registers from *register* on are in this frame."""
        return self.start <= register and register + count <= self.start + len(self.values)

    def byte(self, register: int) -> int:
        """One register; ask `covers` first."""
        return self.values[register - self.start]

    def word(self, register: int) -> int:
        """Two registers, big-endian, unsigned as sent. The sign below 0 degC is unconfirmed (2.1), and out of range."""
        return self.byte(register) << 8 | self.byte(register + 1)


def celsius(word: int) -> float:
    """Hundredths of a degree; words from 0x8000 are taken as two's complement, far below any range we accept."""
    return (word - 0x10000 if word >= 0x8000 else word) / 100


def write_request(register: int, value: int, address: int = ADDRESS) -> bytes:
    """Set one register in the module's RAM. No reply is documented."""
    body = bytes((address, WRITE, register, value))
    return body + bytes((sum8(body),))


def read_request(start: int, count: int, address: int = ADDRESS) -> bytes:
    """Ask for *count* registers from *start* on."""
    body = bytes((address, READ, start, count))
    return body + bytes((sum8(body),))


class Decoder:
    """Finds register frames in a stream of bytes; feed it any pieces. Holds at most one frame's bytes."""

    def __init__(self, address: int = ADDRESS) -> None:
        self._address = address
        self._buffer = bytearray()
        self.damaged = 0  # whole frames with a wrong sum

    def feed(self, data: bytes) -> list[Registers]:
        """The frames that *data* completes, in order. A byte that starts no valid frame is skipped, one at a time."""
        frames: list[Registers] = []
        buffer = self._buffer
        buffer += data
        at = 0
        while True:
            at = buffer.find(self._address, at)
            if at < 0:
                buffer.clear()
                return frames
            head = buffer[at : at + 4]
            if (len(head) > 1 and head[1] != READ) or (len(head) > 2 and head[2] >= REGISTERS):
                at += 1
                continue
            if len(head) == 4 and not 1 <= head[3] <= REGISTERS - head[2]:
                at += 1
                continue
            end = at + 5 + head[3] if len(head) == 4 else 0
            if not end or end > len(buffer):
                del buffer[:at]
                return frames
            if sum8(buffer[at : end - 1]) == buffer[end - 1]:
                frames.append(Registers(head[2], bytes(buffer[at + 4 : end - 1])))
                at = end
            else:
                self.damaged += 1
                at += 1
