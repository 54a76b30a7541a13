"""Checks a stored journal: does the chain still run from its first record to its head (D-07)?"""

from __future__ import annotations

import hashlib
from contextlib import closing

from sqlalchemy import select
from sqlalchemy.orm import Session

from protocol.journal import genesis, link
from server.ingest.models import Epoch, Journal, JournalRecord, Quarantined

_EMPTY = hashlib.sha256(b"").digest()


def first_break(reading: Session, kiosk: bytes) -> int | None:
    """The sequence of the first stored record that does not continue the kiosk's chain, or None when all of it holds.

    Older records may have been dropped by retention: then the chain is checked from the first one that is left.
    """
    journal = reading.get(Journal, kiosk)
    if journal is None:
        return None
    keys = {row.first_sequence: row for row in reading.scalars(select(Epoch).where(Epoch.kiosk_id == kiosk))}
    others = {
        row.sequence: hashlib.sha256(row.wrapped).digest()
        for row in reading.scalars(select(Quarantined).where(Quarantined.kiosk_id == kiosk))
        if row.wrapped
    }
    last, previous = 0, genesis(kiosk)
    records = select(JournalRecord).where(JournalRecord.kiosk_id == kiosk).order_by(JournalRecord.sequence)
    with closing(reading.scalars(records.execution_options(yield_per=1000))) as stored:
        for record in stored:
            if last == 0 and record.sequence > 1:
                last, previous = record.sequence, record.hash  # nothing is left to compare the first one with
                continue
            wrapped = others.get(record.sequence, _EMPTY)
            if record.sequence in keys and record.epoch == keys[record.sequence].epoch:
                wrapped = keys[record.sequence].wrapped_digest
            digests = (wrapped, hashlib.sha256(record.header).digest(), hashlib.sha256(record.sealed).digest())
            after = link(previous, record.sequence, record.epoch, digests)
            if record.sequence != last + 1 or after != record.hash:
                return last + 1
            last, previous = record.sequence, after
    if (last, previous) != (journal.sequence, journal.head):
        return last + 1
    return None
