"""What can be said of an upload's records before the database is asked: chain hashes, headers, what to set aside."""

from __future__ import annotations

from dataclasses import dataclass

from protocol.errors import ProtocolError
from protocol.exchange import Upload
from protocol.journal import Record, continue_chain, header_of
from protocol.passage import Header
from server.ingest.models import RecordKind

OTHER_VENUE = "other_venue"  # the header names a venue where this kiosk does not stand
UNKNOWN_EPOCH = "unknown_epoch"  # no record brought the key of its epoch
EPOCH_TWICE = "epoch_twice"  # it brings a second key for an epoch that has one
NUL_IN_TEXT = "nul_in_text"  # in a text of the header; PostgreSQL could not store it
UNSEALED = "unsealed"  # a passage without a personal part, or an event with one


@dataclass(frozen=True, slots=True)
class Prepared:
    """One record with its chain hash; `reason` says why it goes into quarantine, and then `header` is None."""

    record: Record
    hash: bytes
    header: Header | None
    reason: str | None

    @property
    def kind(self) -> RecordKind:
        """What it is stored as."""
        if self.header is None:
            return RecordKind.QUARANTINED
        return RecordKind.PASSAGE if self.header.facts else RecordKind.EVENT

    def set_aside(self, reason: str) -> Prepared:
        """The same record, for quarantine."""
        return Prepared(self.record, self.hash, None, self.reason or reason)


def prepare(upload: Upload, venue: bytes) -> tuple[Prepared, ...]:
    """Chain and read the records of *upload*, whose kiosk stands in *venue*.

    Raises ChainBroken when their sequence numbers do not follow each other; a bad header never raises.
    """
    return tuple(
        _read(record, chain_hash, upload.kiosk, venue)
        for record, chain_hash in continue_chain(upload.records, upload.after_hash, upload.after_sequence)
    )


def _read(record: Record, chain_hash: bytes, kiosk: bytes, venue: bytes) -> Prepared:
    try:
        header = header_of(record, kiosk)
    except ProtocolError as error:
        return Prepared(record, chain_hash, None, error.code[:40])
    if header.place.venue != venue:
        return Prepared(record, chain_hash, None, OTHER_VENUE)
    if any("\0" in text for text in (header.event or "", (header.facts and header.facts.operator) or "")):
        return Prepared(record, chain_hash, None, NUL_IN_TEXT)
    if bool(header.facts) != bool(record.sealed):
        return Prepared(record, chain_hash, None, UNSEALED)
    return Prepared(record, chain_hash, header, None)
