"""The newest records of a kiosk that catches up, kept before the chain reaches them: to be seen, not to be counted on.

A month's backlog takes its time, and people at the door do not wait for it. A record that comes early is signed, says
that it is of this kiosk and venue, and is shown. It has no chain hash and no receipt, and the vault does not index it.
When the chain reaches its number, the two are compared and the early one goes. Exactly once stays with the chain alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import cast

from sqlalchemy import Table, bindparam, delete, func, insert, select, update
from sqlalchemy.orm import Session

from protocol.errors import ProtocolError
from protocol.exchange import Upload, early_in, record_digest
from protocol.gist import Gist, read_gist
from protocol.journal import Record
from server.ingest.devices import to_ms
from server.ingest.models import EarlyRecord, EarlyUpload, Journal
from server.ingest.prepared import Prepared, why_aside

MOST_EARLY = 256  # kept of one kiosk; the newest win, the chain brings the others anyway

_records, _uploads = cast(Table, EarlyRecord.__table__), cast(Table, EarlyUpload.__table__)
_journals = cast(Table, Journal.__table__)
_REACHED = (
    select(_records.c.sequence, _records.c.digest, _uploads.c.envelope)
    .join_from(
        _records, _uploads, (_uploads.c.kiosk_id == _records.c.kiosk_id) & (_uploads.c.exchange == _records.c.exchange)
    )
    .where(_records.c.kiosk_id == bindparam("kiosk"), _records.c.sequence <= bindparam("through"))
    .order_by(_records.c.sequence)
)


def keep_early(writing: Session, upload: Upload, venue: bytes, envelope: bytes, held: int, now: datetime) -> int:
    """Keep those of the upload's early records that are new and can be believed as far as that goes; how many.

    The caller holds the journal's row, and the chain is at *held*. *envelope* is what the device signed over them.
    """
    kiosk, exchange = upload.kiosk, upload.exchange
    believed = [
        (record, gist)
        for record in upload.early
        if record.sequence > held and (gist := _read(record, kiosk, venue)) is not None
    ]
    if not believed:
        return 0
    connection = writing.connection()
    wanted = [record.sequence for record, _ in believed]
    known = set(
        connection.scalars(
            select(_records.c.sequence).where(_records.c.kiosk_id == kiosk, _records.c.sequence.in_(wanted))
        )
    )
    rows = [
        {
            "kiosk_id": kiosk,
            "sequence": record.sequence,
            "exchange": exchange,
            "digest": record_digest(record),
            "received_at_ms": to_ms(now),
            "venue_id": gist.venue,
            "entrance": gist.entrance,
            "at_ms": gist.at_ms,
            "outcome": gist.outcome,
            "event": gist.event,
        }
        for record, gist in believed
        if record.sequence not in known
    ]
    is_mine = (_uploads.c.kiosk_id == kiosk) & (_uploads.c.exchange == exchange)
    if not rows or connection.scalar(select(_uploads.c.exchange).where(is_mine)):
        return 0
    connection.execute(
        insert(_uploads),
        {"kiosk_id": kiosk, "exchange": exchange, "envelope": envelope},
    )
    connection.execute(insert(_records), rows)
    _forget_oldest(writing, kiosk)
    return len(rows)


def settle(writing: Session, kiosk: bytes, fresh: Sequence[Prepared]) -> tuple[Record, Prepared, bytes] | None:
    """Compare what the chain brought just now with what came early, and drop that.

    Returns the first early record that differs, the one of the chain, and the signed envelope that carried the early
    one: the device wrote two histories. The caller stores both.
    """
    connection = writing.connection()
    through = fresh[-1].record.sequence
    by_sequence = {p.record.sequence: p for p in fresh}
    other: tuple[Record, Prepared, bytes] | None = None
    for sequence, digest, envelope in connection.execute(_REACHED, {"kiosk": kiosk, "through": through}):
        chained = by_sequence.get(sequence)
        if other is None and chained is not None and record_digest(chained.record) != digest:
            (theirs,) = (record for record in early_in(envelope) if record.sequence == sequence)
            other = (theirs, chained, envelope)
    _forget_through(writing, kiosk, through)
    return other


def forget_old(writing: Session, before: datetime) -> int:
    """Drop what came early before then and was never reached: its kiosk is gone, and its key will not come."""
    connection = writing.connection()
    old = _records.c.received_at_ms < to_ms(before)
    kiosks = connection.scalars(select(_records.c.kiosk_id).where(old).distinct()).all()
    gone = connection.execute(delete(_records).where(old)).rowcount
    for kiosk in kiosks:
        _forget_through(writing, kiosk, 0)
    return int(gone)


def early_counts(reading: Session, kiosks: Sequence[bytes]) -> dict[bytes, int]:
    """How many records of each of *kiosks* came early; those with none are left out."""
    rows = reading.execute(
        select(Journal.kiosk_id, Journal.early).where(Journal.kiosk_id.in_(kiosks), Journal.early > 0)
    )
    return {row.kiosk_id: row.early for row in rows}


def _read(record: Record, kiosk: bytes, venue: bytes) -> Gist | None:
    """The gist of an early record that may be shown; what the chain will set aside is left to the chain."""
    try:
        gist = read_gist(record.header)
    except ProtocolError:
        return None
    return gist if why_aside(gist, record, kiosk, venue) is None else None


def _forget_oldest(writing: Session, kiosk: bytes) -> None:
    """Stay within MOST_EARLY."""
    edge = writing.connection().scalar(
        select(_records.c.sequence)
        .where(_records.c.kiosk_id == kiosk)
        .order_by(_records.c.sequence.desc())
        .offset(MOST_EARLY)
        .limit(1)
    )
    _forget_through(writing, kiosk, edge or 0)


def _forget_through(writing: Session, kiosk: bytes, through: int) -> None:
    """Drop the early records up to *through*, the envelopes nothing refers to any more, and count what is left."""
    connection = writing.connection()
    mine = _records.c.kiosk_id == kiosk
    if through:
        connection.execute(delete(_records).where(mine, _records.c.sequence <= through))
    referred = select(_records.c.exchange).where(mine)
    connection.execute(delete(_uploads).where(_uploads.c.kiosk_id == kiosk, _uploads.c.exchange.not_in(referred)))
    left = select(func.count()).select_from(_records).where(mine).scalar_subquery()
    connection.execute(update(_journals).where(_journals.c.kiosk_id == kiosk).values(early=left))
