"""The link to our own controller: COBS between zeros, CRC-32, sequence numbers (hardware.md 7.1)."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

VERSION = 1
MAX_PAYLOAD = 48
MAX_DECODED = 3 + MAX_PAYLOAD + 4
MAX_ENCODED = MAX_DECODED + 1


class Type(IntEnum):
    """Frame types; the reply to a command is its type + 80 hex."""

    HELLO = 0x01
    HEARTBEAT = 0x02
    CONFIG = 0x03  # telemetry period in ms
    GATE = 0x04  # pulse in ms
    GATE_CLOSE = 0x05
    LAMP = 0x06
    BUZZ = 0x07
    TELEMETRY = 0xC1
    NAK = 0xFF


REPLY = 0x80


class Nak(IntEnum):
    """Why a command with a right CRC was refused."""

    VERSION = 1
    TYPE = 2
    LENGTH = 3
    RANGE = 4
    SEQUENCE = 5


class GateResult(IntEnum):
    """What became of a GATE command."""

    OPENED = 0
    IS_OPEN = 1
    REARMING = 2
    EMERGENCY = 3


class SensorStatus(IntEnum):
    """How the measurement of a TELEMETRY frame went."""

    OK = 0
    NO_ANSWER = 1
    BAD_PEC = 2
    ERROR_FLAG = 3
    NONE_YET = 4


FLAG_GATE, FLAG_SAFE, FLAG_PRESENCE, FLAG_EMERGENCY = 1, 2, 4, 8


def cobs_encode(data: bytes) -> bytes:
    """*data* (at most 254 bytes) without a zero, one byte longer."""
    return b"".join(bytes((len(run) + 1,)) + run for run in data.split(b"\0"))


def cobs_decode(data: bytes) -> bytes | None:
    """The inverse of `cobs_encode`; None when *data* is no valid encoding."""
    out = bytearray()
    at = 0
    while at < len(data):
        code = data[at]
        run = data[at + 1 : at + code]
        if code == 0 or len(run) != code - 1 or 0 in run:
            return None
        out += run
        at += code
        if at < len(data) and code != 0xFF:
            out.append(0)
    return bytes(out)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of either direction."""

    seq: int
    type: int
    payload: bytes
    version: int = VERSION

    def to_bytes(self) -> bytes:
        """With both delimiters."""
        plain = bytes((self.version, self.seq, self.type)) + self.payload
        return b"\0" + cobs_encode(plain + zlib.crc32(plain).to_bytes(4, "little")) + b"\0"


class Decoder:
    """Finds frames between zeros. Holds at most one frame; what is longer or has a wrong CRC is dropped and counted."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._is_too_long = False
        self.damaged = 0

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that *data* completes, in order."""
        frames = []
        for part_number, part in enumerate(data.split(b"\0")):
            if part_number:  # a zero stood before this part
                frame = self._end()
                if frame is not None:
                    frames.append(frame)
            room = MAX_ENCODED - len(self._buffer)
            self._is_too_long = self._is_too_long or len(part) > room
            self._buffer += part[: max(0, room)]
        return frames

    def _end(self) -> Frame | None:
        encoded, is_too_long = bytes(self._buffer), self._is_too_long
        self._buffer.clear()
        self._is_too_long = False
        if not encoded and not is_too_long:
            return None
        plain = None if is_too_long else cobs_decode(encoded)
        if plain is None or not 7 <= len(plain) <= MAX_DECODED:
            self.damaged += 1
            return None
        if zlib.crc32(plain[:-4]) != int.from_bytes(plain[-4:], "little"):
            self.damaged += 1
            return None
        return Frame(plain[1], plain[2], plain[3:-4], plain[0])


_HELLO = struct.Struct("<BBHIIBII")
_HEARTBEAT = struct.Struct("<IIBH")
_TELEMETRY = struct.Struct("<HIBBHH")


@dataclass(frozen=True, slots=True)
class Hello:
    """Who answers."""

    version_from: int
    version_to: int
    firmware: int  # major in the high byte
    build_hash: int
    unique_id: int
    reset_cause: int  # MCUSR: 1 power-on, 2 reset line, 4 brown-out, 8 watchdog
    uptime_ms: int
    boot_nonce: int  # another number after every start

    @classmethod
    def from_payload(cls, payload: bytes) -> Hello | None:
        """None when the length is wrong."""
        return cls(*_HELLO.unpack(payload)) if len(payload) == _HELLO.size else None

    def to_payload(self) -> bytes:
        """As the controller sends it."""
        return _HELLO.pack(
            self.version_from,
            self.version_to,
            self.firmware,
            self.build_hash,
            self.unique_id,
            self.reset_cause,
            self.uptime_ms,
            self.boot_nonce,
        )


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The answer to HEARTBEAT."""

    clock_ms: int
    boot_nonce: int
    flags: int
    frames_dropped: int

    @classmethod
    def from_payload(cls, payload: bytes) -> Heartbeat | None:
        """None when the length is wrong."""
        return cls(*_HEARTBEAT.unpack(payload)) if len(payload) == _HEARTBEAT.size else None

    def to_payload(self) -> bytes:
        """As the controller sends it."""
        return _HEARTBEAT.pack(self.clock_ms, self.boot_nonce, self.flags, self.frames_dropped)


@dataclass(frozen=True, slots=True)
class Telemetry:
    """One measurement, in units of 0.02 K as the MLX90614 gives them."""

    counter: int
    clock_ms: int
    status: int
    flags: int
    object_raw: int
    ambient_raw: int

    @classmethod
    def from_payload(cls, payload: bytes) -> Telemetry | None:
        """None when the length is wrong."""
        return cls(*_TELEMETRY.unpack(payload)) if len(payload) == _TELEMETRY.size else None

    def to_payload(self) -> bytes:
        """As the controller sends it."""
        return _TELEMETRY.pack(self.counter, self.clock_ms, self.status, self.flags, self.object_raw, self.ambient_raw)


def celsius(raw: int) -> float:
    """Degrees from the sensor's 0.02 K."""
    return raw * 0.02 - 273.15


def raw(celsius: float) -> int:
    """The inverse of `celsius`, to the nearest step."""
    return round((celsius + 273.15) / 0.02)
