"""The 7E 00 zone protocol of Hangzhou Grow scan heads, with codes as text on the same line (hardware.md 4.1)."""

from __future__ import annotations

from dataclasses import dataclass

from firmware_bridge.checksums import crc16_xmodem

READ, WRITE, SAVE = 0x07, 0x08, 0x09
REPLY_HEAD = bytes((0x02, 0x00, 0x00))
MAX_HELD_BYTES = 3 + 1 + 255 + 2

ZONE_MODE = 0x0000  # bit7 LED, bit6 sound, 5-4 aim, 3-2 light, 1-0: button, command, continuous, sensing
ZONE_TRIGGER = 0x0002
ZONE_OUTPUT = 0x000D  # 1-0: 00 serial; 3-2 text encoding
ZONE_TAIL = 0x0060  # bit7 wrap; 6-5 tail: 00 CR, 01 CRLF, 10 TAB, 11 none
ZONE_FIRMWARE = 0x00E2

MODE_CONTINUOUS = 0xD6
MODE_COMMAND = 0xD5


@dataclass(frozen=True, slots=True)
class ZoneReply:
    """The head's answer to a read, or (as one zero byte) to a write or save."""

    data: bytes


def _frame(kind: int, count: int, zone: int, data: bytes) -> bytes:
    body = bytes((kind, count)) + zone.to_bytes(2, "big") + data
    return b"\x7e\x00" + body + crc16_xmodem(body).to_bytes(2, "big")


def read_zones(zone: int, count: int = 1) -> bytes:
    """Ask for *count* zones from *zone* on."""
    return _frame(READ, 1, zone, bytes((count,)))


def write_zones(zone: int, data: bytes) -> bytes:
    """Write consecutive zones in RAM."""
    return _frame(WRITE, len(data), zone, data)


def save() -> bytes:
    """Keep the zones over a power loss: wears the flash, so only after a real change."""
    return _frame(SAVE, 1, 0, b"\x00")


def reply_frame(data: bytes) -> bytes:
    """The head's answer."""
    body = bytes((0x00, len(data))) + data
    return b"\x02\x00" + body + crc16_xmodem(body).to_bytes(2, "big")


class Splitter:
    """Takes replies out of the line while one is expected; everything else is text of codes.

    A scanned text may itself hold 02 00 00, so a reply is only looked for between `expect` and its arrival or
    `give_up`, and only a right CRC makes it one. Bytes that may still become a reply are held back, at most one frame.
    """

    def __init__(self) -> None:
        self._held = bytearray()
        self._expected_bytes: int | None = None

    def expect(self, data_bytes: int) -> None:
        """A request was sent whose reply carries *data_bytes* bytes."""
        self._expected_bytes = data_bytes

    def feed(self, data: bytes) -> tuple[bytes, ZoneReply | None]:
        """(text bytes, reply if one was completed)."""
        if self._expected_bytes is None:
            return data, None
        self._held += data
        size = len(REPLY_HEAD) + 1 + self._expected_bytes + 2
        at = 0
        while True:
            at = self._held.find(REPLY_HEAD[0], at)
            if at < 0:
                text = bytes(self._held)
                self._held.clear()
                return text, None
            candidate = bytes(self._held[at : at + size])
            head = REPLY_HEAD + bytes((self._expected_bytes,))
            if candidate[:4] != head[: len(candidate)]:
                at += 1
            elif len(candidate) < size:
                text = bytes(self._held[:at])
                del self._held[:at]
                return text, None
            elif crc16_xmodem(candidate[2:-2]) == int.from_bytes(candidate[-2:], "big"):
                text = bytes(self._held[:at] + self._held[at + size :])
                self._held.clear()
                self._expected_bytes = None
                return text, ZoneReply(candidate[4:-2])
            else:
                at += 1

    def give_up(self) -> bytes:
        """The reply did not come: what was held back is text after all."""
        text = bytes(self._held)
        self._held.clear()
        self._expected_bytes = None
        return text
