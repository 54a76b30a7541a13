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

    Nothing is skipped or trimmed: one decoding has one text. Works on whole columns of digits at once, since a Python
    loop over characters costs as much as the signature check that follows.
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
    whole = values[: groups * 3]
    numbers = [a + 45 * b + 2025 * c for a, b, c in zip(whole[0::3], whole[1::3], whole[2::3], strict=True)]
    try:
        data = struct.pack(f">{groups}H", *numbers)
    except struct.error as error:
        raise Base45Error("A group of three characters stands for more than two bytes.") from error
    if not rest:
        return data
    last = values[-2] + 45 * values[-1]
    if last > 255:
        raise Base45Error("The last two characters stand for more than one byte.")
    return data + bytes((last,))


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
