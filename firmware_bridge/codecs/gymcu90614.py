"""The 5A 5A 45 frames of GY-MCU90614 and GY-MCU90615 modules (hardware.md 2.2)."""

from __future__ import annotations

from dataclasses import dataclass

from firmware_bridge.checksums import sum8

HEAD = bytes((0x5A, 0x5A, 0x45, 0x04))
FRAME_BYTES = 9
ARRAY_HEAD = bytes((0x5A, 0x5A, 0x02, 0x06))  # the 32x24 array module shares the first two bytes (2.4)

CONTINUOUS = bytes((0xA5, 0x45, 0xEA))
ONE_READING = bytes((0xA5, 0x15, 0xBA))
USE_9600 = bytes((0xA5, 0xAE, 0x53))  # after a power cycle
USE_115200 = bytes((0xA5, 0xAF, 0x54))
AUTO_ON = bytes((0xA5, 0x51, 0xF6))
AUTO_OFF = bytes((0xA5, 0x52, 0xF7))


@dataclass(frozen=True, slots=True)
class Temperatures:
    """One frame."""

    object_word: int  # big-endian as sent, hundredths of a degree
    ambient_word: int

    @property
    def object_celsius(self) -> float:
        """Two's complement from 0x8000 on: the sign is unconfirmed, and far out of any range we accept."""
        return _celsius(self.object_word)

    @property
    def ambient_celsius(self) -> float:
        """As `object_celsius`."""
        return _celsius(self.ambient_word)

    def to_bytes(self) -> bytes:
        """The frame as the module sends it."""
        body = HEAD + self.object_word.to_bytes(2, "big") + self.ambient_word.to_bytes(2, "big")
        return body + bytes((sum8(body),))


def _celsius(word: int) -> float:
    return (word - 0x10000 if word >= 0x8000 else word) / 100


class Decoder:
    """Finds frames in a stream. 5A is also a legal data byte and some modules add a tenth byte, so only the four bytes
    of the head and the sum decide, never a stride. Holds less than one frame."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.damaged = 0
        self.array_heads = 0  # heads of the 1544-byte array frame

    @property
    def is_empty(self) -> bool:
        """Whether no part of a frame is waiting for its rest."""
        return not self._buffer

    def feed(self, data: bytes) -> list[Temperatures]:
        """The frames that *data* completes, in order."""
        frames: list[Temperatures] = []
        buffer = self._buffer
        buffer += data
        at = 0
        while True:
            at = buffer.find(HEAD[0], at)
            if at < 0:
                buffer.clear()
                return frames
            head = bytes(buffer[at : at + len(HEAD)])
            if head != HEAD[: len(head)]:
                self.array_heads += head == ARRAY_HEAD
                if head == ARRAY_HEAD[: len(head)] and len(head) == 3:
                    break
                at += 1
                continue
            frame = bytes(buffer[at : at + FRAME_BYTES])
            if len(frame) < FRAME_BYTES:
                break
            if sum8(frame[:-1]) == frame[-1]:
                frames.append(Temperatures(int.from_bytes(frame[4:6], "big"), int.from_bytes(frame[6:8], "big")))
                at += FRAME_BYTES
            else:
                self.damaged += 1
                at += 1
        del buffer[:at]
        return frames
