"""What can be said of an upload's records before the database is asked: chain hashes, headers, what to set aside."""

from __future__ import annotations

from typing import NamedTuple

from protocol.errors import ProtocolError
from protocol.exchange import Upload
from protocol.gist import Gist, read_gist
from protocol.journal import Record, continue_chain
from server.ingest.models import RecordKind

FOREIGN_HEADER = "foreign_header"  # it carries the header of another record, or of another kiosk
OTHER_VENUE = "other_venue"  # the header names a venue where this kiosk does not stand
UNKNOWN_EPOCH = "unknown_epoch"  # no record brought the key of its epoch
EPOCH_TWICE = "epoch_twice"  # it brings a second key for an epoch that has one
NUL_IN_TEXT = "nul_in_text"  # in a text of the header; PostgreSQL could not store it
UNSEALED = "unsealed"  # a passage without a personal part, or an event with one


class Prepared(NamedTuple):
    """One record with its chain hash; `reason` says why it goes into quarantine, and then `gist` is None."""

    record: Record
    hash: bytes
    gist: Gist | None
    reason: str | None

    @property
    def kind(self) -> RecordKind:
        """What it is stored as."""
        if self.gist is None:
            return RecordKind.QUARANTINED
        return RecordKind.PASSAGE if self.gist.event is None else RecordKind.EVENT

    def set_aside(self, reason: str) -> Prepared:
        """The same record, for quarantine."""
        return Prepared(self.record, self.hash, None, self.reason or reason)


def prepare(upload: Upload, venue: bytes) -> tuple[Prepared, ...]:
    """Chain and read the records of *upload*, whose kiosk stands in *venue*.

    Raises ChainBroken when their sequence numbers do not follow each other; a bad header never raises.
    """
    kiosk = upload.kiosk
    return tuple(
        [
            _read(record, chain_hash, kiosk, venue)
            for record, chain_hash in continue_chain(upload.records, upload.after_hash, upload.after_sequence)
        ]
    )


def _read(record: Record, chain_hash: bytes, kiosk: bytes, venue: bytes) -> Prepared:
    try:
        gist = read_gist(record.header)
    except ProtocolError as error:
        return Prepared(record, chain_hash, None, error.code[:40])
    reason = why_aside(gist, record, kiosk, venue)
    if reason is not None:
        return Prepared(record, chain_hash, None, reason)
    return Prepared._make((record, chain_hash, gist, None))


def why_aside(gist: Gist, record: Record, kiosk: bytes, venue: bytes) -> str | None:
    """None when a header is of its own *record*, *kiosk* and *venue*; else why it is set aside."""
    if gist.sequence != record.sequence or gist.kiosk != kiosk:
        return FOREIGN_HEADER
    if gist.venue != venue:
        return OTHER_VENUE
    if "\0" in (gist.event or "") or "\0" in (gist.operator or ""):
        return NUL_IN_TEXT
    if (gist.event is None) != bool(record.sealed):
        return UNSEALED
    return None
