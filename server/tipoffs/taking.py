"""Takes a tip-off from somebody who stays unknown, and answers whoever shows its follow-up code."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import current_app
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.accounts.rights import Place
from server.areas.models import Area, Level
from server.audit import SYSTEM
from server.cases.kernel import find, open_case
from server.cases.models import Case
from server.context import house
from server.db import new_id
from server.tipoffs.models import TipOff, TipOffMessage
from server.tipoffs.words import SORTS
from server.tipoffs.workflow import TIP_OFF
from server.venues.models import Venue
from server.web.language import chinese
from server.web.throttle import Throttle

# Crockford's base 32: no letters that are mistaken for one another when a code is copied by hand.
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CODE_LETTERS = 20  # 100 bits: nobody finds one by trying
TICKET_LIVES = timedelta(hours=2)

TIPS = Throttle("tip-off", 5, timedelta(hours=1))  # of one source; a household reports no more in an hour
FOLLOW_UPS = Throttle("tip-off code", 20, timedelta(minutes=10))
MESSAGES_AT_MOST = 30  # of one tip-off, from its reporter


@dataclass(frozen=True, slots=True)
class Said:
    """What the form said."""

    sort: str
    place: str
    told: str
    venue: Venue | None
    area: Area | None


def new_ticket(now: datetime) -> str:
    """What stands in the form for a token: the time with our tag, so that no cookie is needed."""
    stamp = f"{int(now.timestamp())}-{secrets.token_hex(8)}"
    return f"{stamp}-{_tag(stamp)}"


def ticket_holds(ticket: str, now: datetime) -> bool:
    """Whether *ticket* is one of ours and not too old."""
    stamp, _, tag = ticket.rpartition("-")
    begun = stamp.partition("-")[0]
    if not ticket.isascii() or not hmac.compare_digest(tag, _tag(stamp)) or not begun.isdigit():
        return False
    return 0 <= now.timestamp() - int(begun) <= TICKET_LIVES.total_seconds()


def take(writing: Session, said: Said, photo_id: str | None, now: datetime) -> str:
    """Store a tip-off and open its case; the follow-up code, which is nowhere else from then on."""
    code = "".join(secrets.choice(ALPHABET) for _ in range(CODE_LETTERS))
    tip_id, keys = new_id(), house().keys
    writing.add(
        TipOff(
            id=tip_id,
            code_hash=_hash(code),
            sort=said.sort,
            place=keys.seal_file(said.place.encode(), file_id=f"{tip_id} place"),
            told=keys.seal_file(said.told.encode(), file_id=f"{tip_id} told"),
            photo_id=photo_id,
            at=now,
        )
    )
    writing.flush()
    sort = chinese(SORTS[said.sort])
    title = f"{said.venue.name_zh} · {sort}" if said.venue is not None else sort
    open_case(writing, TIP_OFF, by=SYSTEM, at=now, title=title, place=_place(writing, said), key=tip_id)
    return "-".join(code[n : n + 4] for n in range(0, CODE_LETTERS, 4))


def by_code(reading: Session, typed: str) -> tuple[TipOff, Case] | None:
    """The tip-off whose follow-up code was typed, in any spelling, and its case."""
    clean = typed.upper().replace("-", "").replace(" ", "").translate(str.maketrans("OIL", "011"))
    if len(clean) != CODE_LETTERS or set(clean) - set(ALPHABET):
        return None
    tip = reading.scalar(select(TipOff).where(TipOff.code_hash == _hash(clean)))
    case = find(reading, TIP_OFF.name, tip.id) if tip is not None else None
    return (tip, case) if tip is not None and case is not None else None


def say(writing: Session, tip: TipOff, text: str, *, is_from_staff: bool, now: datetime) -> None:
    """Add a message."""
    row_id = new_id()
    sealed = house().keys.seal_file(text.encode(), file_id=row_id)
    writing.add(TipOffMessage(id=row_id, tip_off_id=tip.id, at=now, is_from_staff=is_from_staff, text=sealed))


@dataclass(frozen=True, slots=True)
class Told:
    """One message in clear."""

    at: datetime
    is_from_staff: bool
    text: str


def messages_of(reading: Session, tip: TipOff) -> list[Told]:
    """What was said since, oldest first."""
    rows = reading.scalars(
        select(TipOffMessage).where(TipOffMessage.tip_off_id == tip.id).order_by(TipOffMessage.at, TipOffMessage.id)
    )
    keys = house().keys
    return [Told(row.at, row.is_from_staff, keys.open_file(row.text, file_id=row.id).decode()) for row in rows]


def words_of(tip: TipOff) -> tuple[str, str]:
    """Where and what, in clear. Raises KeyStoreError."""
    keys = house().keys
    place = keys.open_file(tip.place, file_id=f"{tip.id} place").decode()
    return place, keys.open_file(tip.told, file_id=f"{tip.id} told").decode()


def _place(reading: Session, said: Said) -> Place:
    """The venue's place; else the area that was chosen; else the whole city."""
    if said.venue is not None:
        return Place(said.venue.area.path, said.venue.id)
    area = said.area
    if area is None:
        for level in (Level.CITY, Level.PROVINCE):
            area = area or reading.scalar(select(Area).where(Area.level == level.value).order_by(Area.path).limit(1))
    return Place(area.path if area is not None else "")


def _hash(code: str) -> bytes:
    return house().keys.account_code_hash("tip-off", code)  # not the session key: that one is rotated


def _tag(stamp: str) -> str:
    secret: str | bytes = current_app.config["SECRET_KEY"]
    key = secret if isinstance(secret, bytes) else secret.encode()
    return hmac.digest(key, b"gatehouse tip-off ticket 1 " + stamp.encode(), "sha256").hex()[:32]
