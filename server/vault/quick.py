"""The numbers in an opened personal part, read in one pass when it lies as `Personal.to_bytes` writes it.

Of what an indexer spends on a record, most goes into two maps of which it needs a few values. As in protocol/gist.py,
one regular expression checks the layout and cuts them out; it knows the layout of nearly every passage, and of the rest
says nothing: that goes through the decoder. It accepts only what the decoder accepts, with the same values.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from protocol.passage import PAD_TO

_MAX_NAME = 63  # bytes; longer ones take the decoder


class Numbers(NamedTuple):
    """What the index needs of a personal part; both numbers in normal form (person.py), as ASCII."""

    id_number: bytes | None
    phone: bytes | None
    pseudonym: bytes | None
    cti: bytes | None


def read_numbers(clear: bytes) -> Numbers | None:
    """The numbers in *clear*, an opened personal part with its padding; None when the decoder has to look.

    That is so for a number that is not in its normal form, a helper, a document, and an identity sealed on the code.
    """
    found = _PERSONAL.fullmatch(clear)
    if found is None or len(clear) % PAD_TO:
        return None
    pairs, name, id_number, phone, pseudonym, cti, reading = values = found.groups()
    if pairs[0] + values.count(None) != _MOST_PAIRS:  # the head of the map says how many pairs there are
        return None
    if name is not None and not name.isascii():
        try:
            name.decode()
        except UnicodeDecodeError:
            return None
    return Numbers._make(
        (
            None if id_number is None else id_number[1 if id_number[0] < 0x78 else 2 :],
            None if phone is None else phone[1 if phone[0] < 0x78 else 2 :],
            None if pseudonym is None else pseudonym[1 if pseudonym[0] < 0x58 else 2 :],
            None if cti is None else cti[1 if cti[0] < 0x58 else 2 :],
        )
    )


def _sized(major: int, least: int, most: int, what: bytes) -> bytes:
    """A string of *least* to *most* bytes; each length has its own head (RFC 8949 3.1: 0x40 bytes, 0x60 text)."""
    heads = (
        re.escape(bytes([major + n]) if n < 24 else bytes([major + 24, n])) + what + b"{%d}" % n
        for n in range(least, most + 1)
    )
    return b"(?:" + b"|".join(heads) + b")"


_NUMBER = rb"(?:\xf9..|\xfa.{4}|\xfb.{8}|\xf6)"  # a float, or nothing
_MOST_PAIRS = 0xA6
_LAYOUT = (
    rb"([\xa0-\xa6])",
    rb"(?:\x01" + rb"(" + _sized(0x60, 0, _MAX_NAME, b".") + rb"))?",
    rb"(?:\x02(" + _sized(0x60, 4, 32, b"[0-9A-Z]") + rb"))?",
    rb"(?:\x03((?:"
    + b"|".join(
        re.escape(bytes([0x60 + n]) if n < 24 else bytes([0x78, n])) + rb"\+[0-9]{%d}" % (n - 1) for n in range(4, 33)
    )
    + rb")))?",
    rb"(?:\x04(" + _sized(0x40, 0, 32, b".") + rb"))?",
    rb"(?:\x05(" + _sized(0x40, 0, 32, b".") + rb"))?",
    rb"(\x07\x84" + _sized(0x60, 0, 40, b"[\x00-\x7f]") + _NUMBER * 3 + rb")?",
    rb"\x80\x00{0,%d}" % (PAD_TO - 1),
)
_PERSONAL = re.compile(b"".join(_LAYOUT), re.DOTALL)
