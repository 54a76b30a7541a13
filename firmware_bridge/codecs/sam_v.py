"""The SAM serial protocol of resident ID card readers, text side only (hardware.md 5)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from enum import Enum

from firmware_bridge.checksums import xor8

PREAMBLE = bytes((0xAA, 0xAA, 0xAA, 0x96, 0x69))
MAX_REPLY_BYTES = 2321  # with fingerprint; a larger length field is a lie and is skipped
TEXT_BYTES = 256
PHOTO_BYTES = 1024

RESET = (0x10, 0xFF)
STATUS = (0x11, 0xFF)
SAM_NUMBER = (0x12, 0xFF)
FIND = (0x20, 0x01)
SELECT = (0x20, 0x02)
READ_TEXT_PHOTO = (0x30, 0x01)

DONE, FOUND = 0x90, 0x9F
NO_CARD = (0x80, 0x81)
STATUS_WORDS = {  # SW3, hardware.md 5
    0x10: "host_checksum",
    0x11: "host_length",
    0x21: "bad_command",
    0x24: "unknown_error",
    0x31: "authentication",
    0x32: "authentication",
    0x33: "authentication",
    0x40: "wrong_card",
    0x41: "read_failed",
    0x47: "random_number",
    0x60: "self_test",
    0x66: "module_not_authorised",
    0x80: "find_failed",
    0x81: "select_failed",
    0x91: "no_such_item",
}


def request(command: tuple[int, int]) -> bytes:
    """One command frame: preamble, length, command, parameter, XOR."""
    body = bytes((0x00, 0x03, *command))
    return PREAMBLE + body + bytes((xor8(body),))


@dataclass(frozen=True, slots=True)
class SamReply:
    """One answer with a right checksum. Wipe it after use: it may hold a person."""

    status: int  # SW3
    data: bytearray = field(repr=False)

    def wipe(self) -> None:
        """Overwrite the data with zeros."""
        self.data[:] = bytes(len(self.data))


class Decoder:
    """Finds replies in the line; bytes outside a frame and frames with a wrong checksum are skipped and overwritten."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.damaged = 0

    def feed(self, data: bytes) -> list[SamReply]:
        """The replies that *data* completes, in order."""
        replies: list[SamReply] = []
        self._buffer += data
        while True:
            at = self._buffer.find(PREAMBLE)
            if at < 0:
                self._drop(max(0, len(self._buffer) - len(PREAMBLE) + 1))
                return replies
            self._drop(at)
            if len(self._buffer) < 7:
                return replies
            length = int.from_bytes(self._buffer[5:7], "big")
            size = 7 + length
            if length < 4 or size > MAX_REPLY_BYTES:
                self.damaged += 1
                self._drop(1)
            elif len(self._buffer) < size:
                return replies
            elif xor8(memoryview(self._buffer)[5:size]) != 0:  # over a body with its own XOR it is zero
                self.damaged += 1
                self._drop(1)
            else:
                replies.append(SamReply(self._buffer[9], self._buffer[10 : size - 1]))
                self._drop(size)

    def wipe(self) -> None:
        """Overwrite and forget everything that waits."""
        self._drop(len(self._buffer))

    def _drop(self, count: int) -> None:
        self._buffer[:count] = bytes(count)
        del self._buffer[:count]


class CardKind(Enum):
    """The three confirmed layouts (GA/T 490 and its two successors)."""

    RESIDENT = "resident"
    HMT_RESIDENT = "hmt_resident"  # 港澳台居民居住证, type letter J
    FOREIGNER = "foreigner"  # 外国人永久居留身份证 of 2017, type letter I


class CardUnreadable(Exception):
    """The text block is not one of the layouts we know; `code` is stable, nothing of the card is in the message."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True, repr=False)
class IdCard:
    """The text side of one card. `repr` shows the kind only; the photo was never decoded or kept."""

    kind: CardKind
    name: str  # as printed in Chinese; may be empty on a foreigner's card
    latin_name: str  # foreigners only, else ""
    sex: str  # "1" male, "2" female, "9" unstated, as on the card
    birth: date
    number: str  # 18 characters; 15 on a foreigner's card of 2017
    address: str
    nation: str  # two digits for residents, three letters of a country for foreigners, else ""
    issuer: str
    valid_from: date
    valid_to: date | None  # None: long-term
    pass_number: str  # HMT residents only, else ""

    def __repr__(self) -> str:
        return f"IdCard({self.kind.value}, not shown)"


_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def has_right_check_digit(number: str) -> bool:
    """GB 11643-1999: 17 digits and the check character that fits them."""
    if len(number) != 18 or not (number[:17].isascii() and number[:17].isdigit()):
        return False
    return "10X98765432"[sum(w * int(d) for w, d in zip(_WEIGHTS, number[:17], strict=True)) % 11] == number[17]


def split_text_and_photo(data: bytearray) -> bytearray:
    """The 256 bytes of text of a READ_TEXT_PHOTO answer, as a copy; the caller wipes both. Raises CardUnreadable."""
    if len(data) < 4:
        raise CardUnreadable("too_short")
    text_bytes, photo_bytes = int.from_bytes(data[0:2], "big"), int.from_bytes(data[2:4], "big")
    if text_bytes != TEXT_BYTES:
        raise CardUnreadable("text_length")
    if len(data) != 4 + text_bytes + photo_bytes:
        raise CardUnreadable("photo_length")
    return data[4 : 4 + TEXT_BYTES]


def parse_text(block: bytearray) -> IdCard:
    """Read one 256-byte text block, UTF-16LE. Raises CardUnreadable with a code; never a traceback of its content."""
    if len(block) != TEXT_BYTES:
        raise CardUnreadable("text_length")
    kind = _text(block, 248, 2)
    if kind == "":
        return _resident(block, CardKind.RESIDENT)
    if kind == "J":
        return _resident(block, CardKind.HMT_RESIDENT)
    if kind == "I":
        return _foreigner(block)
    raise CardUnreadable("unknown_type")  # also Y, the layout of 2023: its offsets are not public


def _resident(block: bytearray, kind: CardKind) -> IdCard:
    number = _text(block, 122, 36)
    if not has_right_check_digit(number):
        raise CardUnreadable("number")
    birth = _date(_text(block, 36, 16))
    if birth is None or number[6:14] != birth.strftime("%Y%m%d"):
        raise CardUnreadable("birth")
    name, sex = _text(block, 0, 30), _text(block, 30, 2)
    if not name:
        raise CardUnreadable("name")
    is_hmt = kind is CardKind.HMT_RESIDENT
    nation = "" if is_hmt else _text(block, 32, 4)
    if nation and not (nation.isascii() and nation.isdigit()):
        raise CardUnreadable("nation")
    return IdCard(
        kind=kind,
        name=name,
        latin_name="",
        sex=_sex(sex),
        birth=birth,
        number=number,
        address=_text(block, 52, 70),
        nation=nation,
        issuer=_text(block, 158, 30),
        valid_from=_valid_from(block),
        valid_to=_date(_text(block, 204, 16)),
        pass_number=_text(block, 220, 18) if is_hmt else "",
    )


def _foreigner(block: bytearray) -> IdCard:
    number = _text(block, 122, 30)
    if len(number) != 15 or not (number.isascii() and number[:3].isalpha() and number[3:].isdigit()):
        raise CardUnreadable("number")
    birth = _date(_text(block, 220, 16))
    latin = _text(block, 0, 120)
    if birth is None or not latin:
        raise CardUnreadable("birth" if birth is None else "name")
    return IdCard(
        kind=CardKind.FOREIGNER,
        name=_text(block, 158, 30),
        latin_name=latin,
        sex=_sex(_text(block, 120, 2)),
        birth=birth,
        number=number,
        address="",
        nation=_text(block, 152, 6),
        issuer=_text(block, 240, 8),
        valid_from=_valid_from(block),
        valid_to=_date(_text(block, 204, 16)),
        pass_number="",
    )


def _valid_from(block: bytearray) -> date:
    found = _date(_text(block, 188, 16))
    if found is None:
        raise CardUnreadable("valid_from")
    return found


def _sex(code: str) -> str:
    if code not in ("0", "1", "2", "9"):
        raise CardUnreadable("sex")
    return code


def _text(block: bytearray, start: int, size: int) -> str:
    try:
        text = bytes(block[start : start + size]).decode("utf-16-le")
    except UnicodeDecodeError:
        raise CardUnreadable("encoding") from None  # a lone surrogate; the cause would carry the bytes
    if any(ord(char) < 0x20 or ord(char) == 0x7F for char in text.rstrip("\0")):
        raise CardUnreadable("control_character")
    return text.rstrip("\0").strip()


def _date(text: str) -> date | None:
    """YYYYMMDD; None for a word such as 长期 (long-term). Raises CardUnreadable for digits that are no date."""
    if text and not any(char.isdigit() for char in text):
        return None
    if len(text) != 8 or not (text.isascii() and text.isdigit()):
        raise CardUnreadable("date")
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        raise CardUnreadable("date") from None
