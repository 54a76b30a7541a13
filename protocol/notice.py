"""The part "notices" of a bundle: public notices for the idle screens of one venue; never about a person (P-35)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from protocol import cbor
from protocol.errors import ProtocolError
from protocol.fields import Fields

MAX_NOTICES = 20  # at one venue at a time
MAX_TITLE = 30  # characters of the Chinese title; the English one may have three times as many
MAX_BODY = 60  # and of the Chinese body: more cannot be read from 3 m while it stands there
ENGLISH = 3  # an English sentence takes about three times the characters of the Chinese one


class NoticeLevel(Enum):
    """How much a notice matters; the screen says it in a word and shows the weightier ones first."""

    TIP = "tip"
    IMPORTANT = "important"
    URGENT = "urgent"


@dataclass(frozen=True, slots=True)
class Notice:
    """One public notice in both languages, shown from *from_ms* to before *until_ms*."""

    notice_id: str
    level: NoticeLevel
    title_zh: str
    title_en: str
    body_zh: str
    body_en: str
    from_ms: int  # milliseconds since 1970 UTC
    until_ms: int

    def holds_at(self, at_ms: int) -> bool:
        """Whether it is to be shown at this time."""
        return self.from_ms <= at_ms < self.until_ms


def notices_to_bytes(notices: Iterable[Notice]) -> bytes:
    """The part "notices": the weightiest first, then by when they begin; at most MAX_NOTICES of them."""
    weight = list(NoticeLevel)
    rows = sorted(notices, key=lambda n: (-weight.index(n.level), n.from_ms, n.notice_id))[:MAX_NOTICES]
    return cbor.encode(
        {
            1: [
                [n.notice_id, n.level.value, n.title_zh, n.title_en, n.body_zh, n.body_en, n.from_ms, n.until_ms]
                for n in rows
            ]
        }
    )


def notices_from_bytes(data: bytes) -> tuple[Notice, ...]:
    """Read the part "notices", in its order; raises ProtocolError."""
    f = Fields(cbor.decode_strict(data), "notices")
    rows = f.take(1, list)
    f.done()
    if len(rows) > MAX_NOTICES:
        raise ProtocolError(f"notices: {len(rows)}, limit {MAX_NOTICES}", code="bad_list")
    return tuple(_notice(row) for row in rows)


def _notice(row: object) -> Notice:
    limits = (32, 16, MAX_TITLE, ENGLISH * MAX_TITLE, MAX_BODY, ENGLISH * MAX_BODY)
    if isinstance(row, list) and len(row) == 8:
        texts, times = row[:6], row[6:]
        if all(type(t) is str and len(t) <= most for t, most in zip(texts, limits, strict=True)) and all(
            type(t) is int and 0 <= t < 2**53 for t in times
        ):
            try:
                return Notice(texts[0], NoticeLevel(texts[1]), *texts[2:], *times)
            except ValueError as error:
                raise ProtocolError(f"notices: the level {texts[1]!r} is not known", code="unknown_word") from error
    raise ProtocolError("notices: one is not [id, level, four texts, from, until] within its limits", code="bad_list")
