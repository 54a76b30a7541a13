"""One record's life as this server knows it: made, sent, received, indexed, opened, destroyed, with times; no person.

The times come from what is kept anyway: the record's open header, the journal, the vault's marks and the copy of its
access log, and the epoch's key that is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from protocol.errors import ProtocolError
from protocol.passage import Header
from server.ingest.devices import moment
from server.ingest.models import EarlyRecord, Epoch, ForkedRecord, Journal, JournalRecord, Quarantined, RecordKind
from server.queries.models import QueryVenue, VaultLine
from server.vault.client import VaultClient
from server.vault.errors import VaultError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Moment:
    """One step of a record's life; `words` and `note` are messages of the catalogue or codes."""

    words: str
    kind: str  # good, wait, bad, off: how it is shown
    at: datetime | None = None  # None: it is so, and nobody noted when; or it has not happened
    note: str = ""


@dataclass(frozen=True, slots=True)
class Life:
    """What is known of one record."""

    sequence: int
    what: str  # passage, event, quarantined, early or "" when nothing of it is here
    moments: tuple[Moment, ...]


def life_of(reading: Session, vault: VaultClient, kiosk: bytes, sequence: int) -> Life:
    """The life of record *sequence* of *kiosk*, the earliest moment first. The vault is asked how far its index is."""
    record = reading.get(JournalRecord, (kiosk, sequence))
    early = reading.get(EarlyRecord, (kiosk, sequence))
    if record is None:
        if early is not None:
            moments = (_made(early.at_ms), Moment("Came early, beside a backlog", "wait", _at(early.received_at_ms)))
            return Life(sequence, "early", (*moments, Moment("Received in its place", "wait")))
        journal = reading.get(Journal, kiosk)
        is_gone = journal is not None and sequence <= journal.sequence
        words = "Received once, and dropped when its time was over" if is_gone else "Not received yet"
        return Life(sequence, "", (Moment(words, "off" if is_gone else "wait"),))
    what = RecordKind(record.kind)
    return Life(sequence, what.name.lower(), tuple(_of_record(reading, vault, record)))


def _of_record(reading: Session, vault: VaultClient, record: JournalRecord) -> Iterator[Moment]:
    kiosk, sequence = record.kiosk_id, record.sequence
    yield _made(record.at_ms, record.header)
    # one transaction stores and moves the journal; the receipt is signed right after it
    yield Moment("Received, stored and receipted", "good", _at(record.received_at_ms))
    aside = reading.get(Quarantined, (kiosk, sequence))
    if aside is not None:
        yield Moment("Set aside", "bad", aside.noted_at, aside.reason)
    other = reading.scalar(
        select(ForkedRecord.received_at)
        .where(ForkedRecord.kiosk_id == kiosk, ForkedRecord.sequence == sequence)
        .order_by(ForkedRecord.received_at)
        .limit(1)
    )
    if other is not None:
        yield Moment("Another record under this number was kept as evidence", "bad", other)
    if record.kind == RecordKind.PASSAGE:
        yield _indexed(vault, kiosk, sequence)
        yield from _opened(reading, record)
    epoch = reading.get(Epoch, (kiosk, record.epoch))
    if epoch is not None and epoch.destroyed_at is not None:
        yield Moment("Destroyed: its key is gone for good", "off", epoch.destroyed_at)


def _made(at_ms: int | None, header: bytes = b"") -> Moment:
    """The kiosk stamps once, when the verdict is there; scanning, deciding and storing lie within that second."""
    if at_ms is None:
        try:
            at_ms = Header.from_bytes(header).stamp.at_ms
        except ProtocolError:
            return Moment("Made on the kiosk", "wait", None, "unreadable")
    return Moment("Scanned, decided and stored on the kiosk, by its clock", "good", moment(at_ms))


def _indexed(vault: VaultClient, kiosk: bytes, sequence: int) -> Moment:
    try:
        is_indexed = vault.marks([kiosk]).get(kiosk, 0) >= sequence
    except VaultError:
        return Moment("The vault does not answer: whether it is indexed is not known", "wait")
    return Moment("Indexed by the vault", "good") if is_indexed else Moment("Not indexed by the vault yet", "wait")


def _opened(reading: Session, record: JournalRecord) -> Iterator[Moment]:
    """The lines of the vault's log that name it, among the queries about its venue."""
    asked = select(QueryVenue.query_id).where(QueryVenue.venue_id == record.venue_id)
    name = f'"{record.kiosk_id.hex()}:{record.sequence}"'
    lines = reading.scalars(
        select(VaultLine)
        .where(
            VaultLine.event == "opened", VaultLine.query_id.in_(asked), VaultLine.raw.contains(name, autoescape=True)
        )
        .order_by(VaultLine.sequence)
    )
    for line in lines:
        # "refused" lists carry a code behind the number, so that the closing quote keeps them apart
        yield Moment("Opened for an approved query", "wait", _at(line.at_ms), f"#{line.sequence}")


def _at(at_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=at_ms)
