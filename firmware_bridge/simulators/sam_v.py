"""An ID card reader with made-up cards: find, select, read in that order, faults on demand."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from firmware_bridge.checksums import xor8
from firmware_bridge.codecs import sam_v
from firmware_bridge.simulators.shell import PtyShell

MODEL_PHOTO = bytes(i % 256 for i in range(sam_v.PHOTO_BYTES))


def text_block(fields: dict[int, tuple[int, str]]) -> bytes:
    """256 bytes of text from {offset: (size in bytes, text)}, padded with blanks as GA/T 490 says."""
    block = bytearray(" ".encode("utf-16-le") * (sam_v.TEXT_BYTES // 2))
    for offset, (size, text) in fields.items():
        data = text.encode("utf-16-le", "surrogatepass")
        block[offset : offset + size] = (data + " ".encode("utf-16-le") * size)[:size]
    return bytes(block)


def resident_card(**changes: str) -> bytes:
    """The text of a made-up resident; its number is the standard's own sample (GB 11643-1999)."""
    text = {
        "name": "测试甲",
        "sex": "1",
        "nation": "01",
        "birth": "19491231",
        "address": "北京市朝阳区测试路1号",
        "number": "11010519491231002X",
        "issuer": "北京市公安局测试分局",
        "valid_from": "20200101",
        "valid_to": "20400101",
        "type": "",
        **changes,
    }
    places = {
        "name": (0, 30),
        "sex": (30, 2),
        "nation": (32, 4),
        "birth": (36, 16),
        "address": (52, 70),
        "number": (122, 36),
        "issuer": (158, 30),
        "valid_from": (188, 16),
        "valid_to": (204, 16),
        "pass_number": (220, 18),
        "issue_count": (238, 4),
        "type": (248, 2),
    }
    return text_block({places[key][0]: (places[key][1], value) for key, value in text.items()})


def foreigner_card(**changes: str) -> bytes:
    """The text of a made-up foreign permanent resident, layout of 2017."""
    text = {
        "latin_name": "TEST, PERSON",
        "sex": "2",
        "number": "UTO110080010101",
        "nation": "UTO",
        "name": "测试乙",
        "valid_from": "20200101",
        "valid_to": "20300101",
        "birth": "19800101",
        "version": "01",
        "issuer": "1500",
        "type": "I",
        **changes,
    }
    places = {
        "latin_name": (0, 120),
        "sex": (120, 2),
        "number": (122, 30),
        "nation": (152, 6),
        "name": (158, 30),
        "valid_from": (188, 16),
        "valid_to": (204, 16),
        "birth": (220, 16),
        "version": (236, 4),
        "issuer": (240, 8),
        "type": (248, 2),
    }
    return text_block({places[key][0]: (places[key][1], value) for key, value in text.items()})


def reply_frame(status: int, data: bytes = b"", *, sw1: int = 0, sw2: int = 0) -> bytes:
    """One answer of the reader."""
    body = (len(data) + 4).to_bytes(2, "big") + bytes((sw1, sw2, status)) + data
    return sam_v.PREAMBLE + body + bytes((xor8(body),))


def read_reply(text: bytes, photo: bytes = MODEL_PHOTO) -> bytes:
    """The answer to READ_TEXT_PHOTO."""
    return reply_frame(sam_v.DONE, len(text).to_bytes(2, "big") + len(photo).to_bytes(2, "big") + text + photo)


class SamModel:
    """The reader without its cable. `lay` and `lift` a card; enforces find, select, read."""

    def __init__(self, *, baud: int = 115200, keeps_silent_about_kept_card: bool = True) -> None:
        self._baud = baud
        self.fault = 0  # 0x60 or 0x66: every command is answered with it
        self.answer: bytes | None = None  # sent in place of the read reply
        self.lift_in_read = False  # the card goes while it is being read
        self.drop_after: int | None = None  # bytes of the read reply that still arrive
        self.reads = 0
        self.broken_reads = 0
        self.finds = 0  # how often it was asked whether a card lies there
        self._card: bytes | None = None
        self._stage = 0  # 0 nothing, 1 found, 2 selected, 3 read
        self._quiet = keeps_silent_about_kept_card  # answers 80 until a read card is lifted and laid down again
        self._buffer = bytearray()

    @property
    def baud(self) -> int:
        """Fixed by the module's settings."""
        return self._baud

    def lay(self, text: bytes) -> None:
        """Lay a card with this text side on the reader."""
        self._card, self._stage = text, 0

    def lift(self) -> None:
        """Take the card away."""
        self._card, self._stage = None, 0

    def power_cycle(self, now_s: float) -> None:
        """Forget the stage."""
        self._stage = 0
        self._buffer.clear()

    def receive(self, data: bytes, now_s: float) -> bytes:
        """Handle whole commands; a wrong checksum is answered with 10."""
        self._buffer += data
        answer = b""
        while (at := self._buffer.find(sam_v.PREAMBLE)) >= 0 and len(self._buffer) - at >= 10:
            body = bytes(self._buffer[at + 5 : at + 10])
            del self._buffer[: at + 10]
            answer += reply_frame(0x10) if xor8(body) else self._handle((body[2], body[3]))
        return answer

    def _handle(self, command: tuple[int, int]) -> bytes:
        if self.fault:
            return reply_frame(self.fault)
        if command in (sam_v.RESET, sam_v.STATUS):
            return reply_frame(sam_v.DONE)
        if command == sam_v.FIND:
            self.finds += 1
            if self._card is None or (self._stage == 3 and self._quiet):
                return reply_frame(0x80)
            self._stage = max(1, self._stage) if self._stage == 3 else 1
            return reply_frame(sam_v.FOUND, bytes(4))
        if command == sam_v.SELECT:
            if self._card is None or self._stage != 1:
                return reply_frame(0x81)
            self._stage = 2
            return reply_frame(sam_v.DONE, bytes(8))
        if command == sam_v.READ_TEXT_PHOTO:
            if self._card is None or self._stage != 2 or self.lift_in_read:
                self.broken_reads += 1
                return reply_frame(0x41, sw1=1, sw2=2)
            self._stage = 3
            self.reads += 1
            whole = read_reply(self._card) if self.answer is None else self.answer
            return whole if self.drop_after is None else whole[: self.drop_after]
        return reply_frame(0x21)

    def tick(self, now_s: float) -> bytes:
        """It never speaks unasked."""
        return b""

    def next_tick_s(self, now_s: float) -> float | None:
        """Never."""
        return None


class SamSimulator(PtyShell):
    """An ID card reader on a pty."""

    def __init__(
        self,
        link: Path,
        *,
        baud: int = 115200,
        keeps_silent_about_kept_card: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.reader = SamModel(baud=baud, keeps_silent_about_kept_card=keeps_silent_about_kept_card)
        super().__init__(self.reader, link, clock=clock)

    def lay(self, text: bytes) -> None:
        """Lay a card on it."""
        with self._lock:
            self.reader.lay(text)

    def lift(self) -> None:
        """Take the card away."""
        with self._lock:
            self.reader.lift()
