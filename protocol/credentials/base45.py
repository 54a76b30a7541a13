"""Base45 (RFC 9285), strict, and cheap enough to vanish beside the signature it wraps."""

from __future__ import annotations

import struct
from typing import Final

from protocol.errors import ProtocolError

ALPHABET: Final = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"  # RFC 9285 table 1
_NOT_A_DIGIT: Final = 255
_VALUES: Final = bytes(ALPHABET.index(byte) if byte in ALPHABET else _NOT_A_DIGIT for byte in range(256))
_PAIRS: Final = tuple(bytes((ALPHABET[n % 45], ALPHABET[n // 45])) for n in range(45 * 45))


class Base45Error(ProtocolError):
    """The text is not base45."""

    code = "base45"


def decode(text: str) -> bytes:
    """Decode base45 text. Raises Base45Error for a foreign character, an impossible length or a group that overflows.

    Nothing is skipped or trimmed: one decoding has one text. All groups are worked out at once in one long integer,
    because a Python loop over the characters costs half as much as the signature check that follows.
    """
    try:
        values = text.encode("ascii").translate(_VALUES)
    except UnicodeEncodeError as error:
        raise Base45Error("Base45 is plain ASCII.") from error
    if _NOT_A_DIGIT in values:
        raise Base45Error("A character that base45 does not use.")
    groups, rest = divmod(len(values), 3)
    if rest == 1:
        raise Base45Error("Base45 text cannot have this length.")
    whole = groups * 3
    numbers = _lanes(values[0:whole:3]) + 45 * _lanes(values[1:whole:3]) + 2025 * _lanes(values[2:whole:3])
    lanes = numbers.to_bytes(whole, "big")
    if lanes[0::3].count(0) != groups:
        raise Base45Error("A group of three characters stands for more than two bytes.")
    data = bytearray(2 * groups)
    data[0::2] = lanes[1::3]
    data[1::2] = lanes[2::3]
    if rest:
        last = values[-2] + 45 * values[-1]
        if last > 255:
            raise Base45Error("The last two characters stand for more than one byte.")
        data.append(last)
    return bytes(data)


def _lanes(digits: bytes) -> int:
    """One long integer with a lane of 24 bits for each digit; the largest group, 91,124, does not leave its lane."""
    spread = bytearray(3 * len(digits))
    spread[2::3] = digits
    return int.from_bytes(spread, "big")


def encode(data: bytes) -> str:
    """Encode *data*: two bytes become three characters, a last single byte becomes two (RFC 9285 4)."""
    even = len(data) & ~1
    parts = []
    for number in struct.unpack(f">{even // 2}H", data[:even]):
        high, low = divmod(number, 2025)
        parts.append(_PAIRS[low] + ALPHABET[high : high + 1])
    if even != len(data):
        parts.append(_PAIRS[data[-1]])
    return b"".join(parts).decode("ascii")
