"""Which kiosk is talking, and whether it may: the signature is checked against the key it was enrolled with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import Connection, Table, bindparam, exists, select
from sqlalchemy.orm import Session

from server.ingest.refusals import Refused
from server.ingest.statements import Statement
from server.kiosks.models import MAY_EXCHANGE, Kiosk, KioskState
from server.web.models import AttemptCount

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOST_MS = 2**53  # a clock beyond this is no clock

_REFUSALS = {
    KioskState.SUSPENDED: (
        "suspended",
        "This kiosk is suspended. Its records stay on it; ask the administrator of your area to resume it.",
    ),
    KioskState.RETIRED: (
        "retired",
        "This kiosk is retired for good. Wipe it; to use the device again, enrol it with a new code.",
    ),
    KioskState.LOST: (
        "lost",
        "This kiosk was reported lost and its key is refused. If you found it, bring it to the administrator.",
    ),
}
_REFUSALS[KioskState.REVOKED] = _REFUSALS[KioskState.LOST]


_kiosks = cast(Table, Kiosk.__table__).c
_COLUMNS = (_kiosks.public_key, _kiosks.venue_id, _kiosks.state, _kiosks.clock_offset_ms)
_DEVICE = select(*_COLUMNS).where(_kiosks.id == bindparam("kiosk"))
_QUIET = Statement(  # nothing, also when failures were counted
    select(*_COLUMNS).where(
        _kiosks.id == bindparam("kiosk"),
        ~exists().where(cast(Table, AttemptCount.__table__).c.key == bindparam("counted_as")),
    )
)


@dataclass(frozen=True, slots=True)
class Device:
    """What one needs to know of a kiosk to check its signature and answer it."""

    kiosk_id: bytes
    key: Ed25519PublicKey
    venue_id: bytes
    state: KioskState
    clock_offset_ms: int | None


def find_device(reading: Session, kiosk_id: bytes) -> Device:
    """The kiosk that a message claims to come from; raises Refused (401) when there is none."""
    row = reading.connection().execute(_DEVICE, {"kiosk": kiosk_id}).one_or_none()
    if row is None:
        raise Refused(
            401, "unknown_kiosk", "This server does not know this kiosk. Enrol it with a code from the console."
        )
    return _device(kiosk_id, row)


def find_quiet_device(connection: Connection, kiosk_id: bytes, counted_as: bytes) -> Device | None:
    """The same in one look, when the kiosk is known and no failure is counted under *counted_as*; None otherwise."""
    row = _QUIET.row(connection, {"kiosk": kiosk_id, "counted_as": counted_as})
    return None if row is None else _device(kiosk_id, row)


def _device(kiosk_id: bytes, row: Sequence[Any]) -> Device:
    key, venue_id, state, clock_offset_ms = row
    return Device(kiosk_id, _public_key(key), venue_id, KioskState(state), clock_offset_ms)


@lru_cache(maxsize=4096)
def _public_key(raw: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(raw)


def require_active(state: KioskState) -> None:
    """Raise Refused (403) with what to do unless a kiosk in *state* may exchange. Call it after the signature held."""
    if state not in MAY_EXCHANGE:
        code, sentence = _REFUSALS[state]
        raise Refused(403, code, sentence)


def moment(at_ms: int) -> datetime | None:
    """A kiosk's wall time as a datetime; None when it lies outside the years 1 to 9999."""
    try:
        return _EPOCH + timedelta(milliseconds=at_ms)
    except OverflowError:
        return None


def offset_ms(sent_at_ms: int, now: datetime) -> int:
    """The kiosk's clock minus ours, in milliseconds; measured and noted, never corrected."""
    told = max(-MOST_MS, min(MOST_MS, sent_at_ms))
    return told - to_ms(now)


def to_ms(at: datetime) -> int:
    """Milliseconds since 1970-01-01 UTC."""
    return (at - _EPOCH) // timedelta(milliseconds=1)


def plain(text: str, most: int) -> str:
    """A device's word, fit for a column and a page: printable, at most *most* characters (PostgreSQL takes no NUL)."""
    return "".join(c if c.isprintable() else "?" for c in text[:most])
