"""Modbus RTU seen from the master: requests, and replies found inside whatever the line brings (hardware.md 8.4)."""

from __future__ import annotations

from dataclasses import dataclass

from firmware_bridge.checksums import crc16_modbus

READ_COILS, READ_HOLDING, READ_INPUT, WRITE_COIL, WRITE_REGISTER = 1, 3, 4, 5, 6
COIL_ON, COIL_OFF = 0xFF00, 0x0000  # 0x5500 flips: a retry would undo it, so it is never sent
MAX_BUFFER_BYTES = 512  # twice the largest frame


@dataclass(frozen=True, slots=True)
class Request:
    """One question; *words* is the number of registers or coils asked for, or the value to write."""

    address: int  # 1..247, 255 for a single Calex sensor; 0 (broadcast) renumbers some sensors and is refused
    function: int
    start: int
    words: int

    def __post_init__(self) -> None:
        if not 1 <= self.address <= 255:
            raise ValueError(f"Modbus address {self.address} is refused; expected 1 to 255")

    def to_bytes(self) -> bytes:
        """The frame, CRC low byte first."""
        body = bytes((self.address, self.function)) + self.start.to_bytes(2, "big") + self.words.to_bytes(2, "big")
        return with_crc(body)


@dataclass(frozen=True, slots=True)
class Reply:
    """A good answer to a `Request`."""

    payload: bytes  # data bytes of a read; start and value of a write

    def word(self, index: int) -> int:
        """The index-th register, big-endian, unsigned."""
        return int.from_bytes(self.payload[2 * index : 2 * index + 2], "big")


@dataclass(frozen=True, slots=True)
class Refusal:
    """The device understood and says no."""

    code: int  # 1 illegal function, 2 illegal address, 3 illegal value, 4 device failure


def with_crc(body: bytes) -> bytes:
    """*body* with its CRC-16/MODBUS, low byte first."""
    return body + crc16_modbus(body).to_bytes(2, "little")


class ReplyFinder:
    """Scans the bytes after one request for its answer: address, function, length and CRC must fit.

    Stray bytes in front, the adapter's echo of the request and answers of other devices are passed over. An echoed
    write equals its reply, so *echoes* says whether the adapter is known to echo: the first copy is then no answer.
    """

    def __init__(self, request: Request, *, echoes: bool = False) -> None:
        self._request = request
        self._buffer = bytearray()
        self._copies_to_skip = 1 if echoes and request.function in (WRITE_COIL, WRITE_REGISTER) else 0
        self.echo_seen = False
        self.damaged = 0

    def feed(self, data: bytes) -> Reply | Refusal | None:
        """The answer when *data* completes it, else None."""
        request, buffer = self._request, self._buffer
        buffer += data
        del buffer[:-MAX_BUFFER_BYTES]
        sent = request.to_bytes()
        is_write = request.function in (WRITE_COIL, WRITE_REGISTER)
        if not is_write and sent in buffer:
            self.echo_seen = True
        at = 0
        while (at := buffer.find(request.address, at)) >= 0:
            head = bytes(buffer[at : at + 3])
            if len(head) < 3:
                break
            if head[1] == request.function | 0x80:
                size = 5
            elif is_write and head[1] == request.function:
                size = 8
            elif head[1] == request.function and head[2] == self._data_bytes:
                size = 5 + self._data_bytes
            else:
                at += 1
                continue
            frame = bytes(buffer[at : at + size])
            if len(frame) < size:
                break
            if crc16_modbus(frame) != 0:  # the CRC over a frame with its own CRC is zero
                self.damaged += 1
                at += 1
                continue
            if size == 5 and head[1] & 0x80:
                return Refusal(head[2])
            if not is_write:
                return Reply(frame[3:-2])
            if frame == sent and self._copies_to_skip:
                self._copies_to_skip -= 1
                self.echo_seen = True
                at += size
                continue
            if frame == sent:
                return Reply(frame[2:-2])
            at += 1
        if at < 0:
            buffer.clear()
        else:
            del buffer[:at]
        return None

    @property
    def _data_bytes(self) -> int:
        return (self._request.words + 7) // 8 if self._request.function == READ_COILS else 2 * self._request.words
