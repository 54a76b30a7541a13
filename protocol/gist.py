"""The values of a header that the server keeps in columns, read in one pass when it lies as `to_bytes` writes it.

A server reads millions of headers and needs a dozen values of each. One regular expression, generated from the closed
sets of words, checks the whole layout and cuts the values out. It accepts only what `Header.from_bytes` accepts, with
the same values; whatever it does not know goes through `Header.from_bytes`, which has the last word (a property test).
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final, NamedTuple

from protocol.passage import BOOT_ID_BYTES, KIOSK_ID_BYTES, VENUE_ID_BYTES, Header
from protocol.words import CredentialKind, Direction, EntryMode, Measured, Outcome

MOST_MS: Final = 2**53  # as Header.from_bytes has it
MOST_ENTRANCE: Final = 65535


class Gist(NamedTuple):
    """What lists, counts and queries need of one header; words as they travel."""

    sequence: int
    kiosk: bytes
    venue: bytes
    entrance: int
    at_ms: int
    clock: int  # a value of ClockConfidence
    direction: str | None  # from here to operator None for an event
    mode: str | None
    credential: str | None
    colour: int | None
    measured: str | None
    outcome: str | None
    operator: str | None
    event: str | None  # None for a passage


def gist_of(header: Header) -> Gist:
    """The gist of a header that is read already."""
    place, stamp, facts = header.place, header.stamp, header.facts
    open_values = (header.sequence, place.kiosk, place.venue, place.entrance, stamp.at_ms, int(stamp.confidence))
    if facts is None:
        return Gist(*open_values, *(None,) * 7, header.event)
    return Gist(
        *open_values,
        facts.direction.value,
        facts.mode.value,
        facts.credential.value,
        None if facts.colour is None else int(facts.colour),
        facts.measured.value,
        facts.outcome.value,
        facts.operator,
        None,
    )


def read_gist(data: bytes) -> Gist:
    """The gist of an encoded header; raises ProtocolError exactly when `Header.from_bytes` does, and the same one."""
    return quick_gist(data) or gist_of(Header.from_bytes(data))


def quick_gist(data: bytes) -> Gist | None:
    """The gist of a passage's header that lies as `to_bytes` writes it; None says nothing about *data*."""
    found = _PASSAGE.fullmatch(data)
    if found is None:
        return None
    values = found.groups()  # as _LAYOUT has them; at once, since a server does this for every passage there is
    # fmt: off
    (pairs, sequence, kiosk, venue, entrance, at_ms, clock, direction, mode, credential, colour, measured, outcome,
     _reasons, _degraded, operator, _issuer, _method) = values
    # fmt: on
    # a head of one byte is the number itself
    number = sequence[0] if len(sequence) == 1 else int.from_bytes(sequence[1:], "big")
    door = entrance[0] if len(entrance) == 1 else int.from_bytes(entrance[1:], "big")
    moment = at_ms[0] if len(at_ms) == 1 else int.from_bytes(at_ms[1:], "big")
    # only optional fields can be missing from a match, and the map's head says how many pairs there are
    if pairs[0] + values.count(None) != _MOST_PAIRS or number < 1 or door > MOST_ENTRANCE or moment > MOST_MS:
        return None
    return tuple.__new__(  # half the price of Gist(...)
        Gist,
        (
            number,
            kiosk,
            venue,
            door,
            moment,
            clock[0],
            _WORDS[direction],
            _WORDS[mode],
            _WORDS[credential],
            None if colour is None else colour[0],
            _WORDS[measured],
            _WORDS[outcome],
            None if operator is None else operator[1 if operator[0] < 0x78 else 2 :].decode("ascii"),
            None,
        ),
    )


def _text(word: str) -> bytes:
    raw = word.encode("ascii")
    if len(raw) > 23:
        raise ValueError(f"{word!r} needs a longer head than this layout has")
    return bytes([0x60 + len(raw)]) + raw


def _one_of(words: type[Enum]) -> bytes:
    return b"(" + b"|".join(re.escape(_text(word.value)) for word in words) + b")"


def _ascii(least: int, most: int) -> bytes:
    """A text of *least* to *most* ASCII characters; each length has its own head (RFC 8949 3.1, major type 3)."""
    heads = (
        re.escape(bytes([0x60 + n]) if n < 24 else bytes([0x78, n])) + b"[\\x00-\\x7f]{%d}" % n
        for n in range(least, most + 1)
    )
    return b"(?:" + b"|".join(heads) + b")"


def _list(most: int) -> bytes:
    """A list of one to *most* short texts."""
    return b"((?:" + b"|".join(b"\\x%02x" % (0x80 + n) + _SHORT + b"{%d}" % n for n in range(1, most + 1)) + b"))"


_UNSIGNED = rb"(?:[\x00-\x17]|\x18.|\x19..|\x1a.{4}|\x1b[\x00-\x7f].{7})"
_SHORT = _ascii(1, 40)
_MOST_PAIRS = 0xB6  # the head of a map of 22 pairs, six of which are optional
_LAYOUT = (
    rb"([\xb0-\xb6])\x01\x01\x02(" + _UNSIGNED + rb")",
    rb"\x03" + bytes([0x40 + KIOSK_ID_BYTES]) + b"(.{%d})" % KIOSK_ID_BYTES,
    rb"\x04" + bytes([0x40 + VENUE_ID_BYTES]) + b"(.{%d})" % VENUE_ID_BYTES,
    rb"\x05(" + _UNSIGNED + rb")\x06(" + _UNSIGNED + rb")\x07" + _UNSIGNED,
    rb"\x08" + bytes([0x40 + BOOT_ID_BYTES]) + b".{%d}" % BOOT_ID_BYTES,
    rb"\x09([\x01-\x03])",
    rb"\x0a" + _one_of(Direction) + rb"\x0b" + _one_of(EntryMode) + rb"\x0c" + _one_of(CredentialKind),
    rb"(?:\x0d([\x01-\x04]))?",
    rb"\x0e" + _one_of(Measured) + rb"\x0f" + _one_of(Outcome),
    rb"(?:\x10" + _list(4) + rb")?",
    rb"\x11" + _UNSIGNED + rb"\x12" + _UNSIGNED,
    rb"(?:\x13" + _list(4) + rb")?",
    rb"(?:\x14(" + _ascii(0, 64) + rb"))?",
    rb"(?:\x15(" + _ascii(0, 64) + rb"))?",
    rb"(?:\x16(" + _ascii(0, 32) + rb"))?",
)
_PASSAGE = re.compile(b"".join(_LAYOUT), re.DOTALL)
_WORDS = {_text(w.value): w.value for words in (Direction, EntryMode, CredentialKind, Measured, Outcome) for w in words}
