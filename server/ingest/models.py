"""Tables of the kiosks' journals as the server holds them; every primary key begins with the kiosk.

No foreign keys and no numbers drawn from a sequence here: these tables are the hot ones, and shall one day be cut into
partitions by `received_day` and spread by `kiosk_id` (docs/decisions/0060). Exactly-once does not lean on a unique
index over the whole history but on `journal`, the one row a kiosk that says how far we are.
"""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum

from sqlalchemy import BigInteger, Index, LargeBinary, SmallInteger, String, text
from sqlalchemy.orm import Mapped, mapped_column

from protocol.exchange import EXCHANGE_ID_BYTES
from protocol.journal import HASH_BYTES
from protocol.passage import BOOT_ID_BYTES, KIOSK_ID_BYTES, VENUE_ID_BYTES
from protocol.sealing import EPOCH_ID_BYTES
from server.db import Base

_OPEN = text("destroyed_at IS NULL")


class RecordKind(IntEnum):
    """What a journal record holds."""

    PASSAGE = 1
    EVENT = 2  # of the kiosk itself: started, clock jumped
    QUARANTINED = 3  # it continues the chain, and its header is not to be believed; see `Quarantined`


class Journal(Base):
    """How far we hold one kiosk's journal. Its row is locked while records are appended."""

    __tablename__ = "journal"

    kiosk_id: Mapped[bytes] = mapped_column(LargeBinary(KIOSK_ID_BYTES), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger)  # 0 before the first record
    head: Mapped[bytes] = mapped_column(LargeBinary(HASH_BYTES))  # the chain hash there
    changed_at: Mapped[datetime]
    early: Mapped[int] = mapped_column(default=0, server_default="0")  # records of it in EarlyRecord


class JournalBoot(Base):
    """The newest moment heard of in each boot of a kiosk, so that an old upload sent again cannot say "I am alive"."""

    __tablename__ = "journal_boot"

    kiosk_id: Mapped[bytes] = mapped_column(LargeBinary(KIOSK_ID_BYTES), primary_key=True)
    boot: Mapped[bytes] = mapped_column(LargeBinary(BOOT_ID_BYTES), primary_key=True)
    mono_ms: Mapped[int] = mapped_column(BigInteger)
    first_seen_at: Mapped[datetime]


class JournalRecord(Base):
    """One record as it came, and the columns of its header that lists and queries need. Never changed."""

    __tablename__ = "journal_record"
    __table_args__ = (Index(None, "venue_id", "at_ms"),)

    kiosk_id: Mapped[bytes] = mapped_column(LargeBinary(KIOSK_ID_BYTES), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    received_day: Mapped[int]  # days since 1970-01-01 UTC by our clock: what partitions are cut by
    received_at_ms: Mapped[int] = mapped_column(BigInteger)
    kind: Mapped[int] = mapped_column(SmallInteger)  # a value of RecordKind
    epoch: Mapped[bytes] = mapped_column(LargeBinary(EPOCH_ID_BYTES))
    header: Mapped[bytes]
    sealed: Mapped[bytes]  # empty for events
    hash: Mapped[bytes] = mapped_column(LargeBinary(HASH_BYTES))
    # from the header; None in quarantine, and outcome to colour None for events
    venue_id: Mapped[bytes | None] = mapped_column(LargeBinary(VENUE_ID_BYTES))
    entrance: Mapped[int | None]
    at_ms: Mapped[int | None] = mapped_column(BigInteger)  # by the kiosk's clock, as it was
    clock: Mapped[int | None] = mapped_column(SmallInteger)  # ClockConfidence
    outcome: Mapped[str | None] = mapped_column(String(8))
    mode: Mapped[str | None] = mapped_column(String(8))
    direction: Mapped[str | None] = mapped_column(String(4))
    credential: Mapped[str | None] = mapped_column(String(24))
    measured: Mapped[str | None] = mapped_column(String(16))
    colour: Mapped[int | None] = mapped_column(SmallInteger)
    operator: Mapped[str | None] = mapped_column(String(64))
    event: Mapped[str | None] = mapped_column(String(64))


class Epoch(Base):
    """The wrapped key of one epoch; without it its records cannot be opened by anybody, in any backup."""

    __tablename__ = "epoch"
    __table_args__ = (
        Index(
            "ix_epoch_open_received_at", "received_at", "kiosk_id", "epoch", sqlite_where=_OPEN, postgresql_where=_OPEN
        ),  # what is due
        Index(
            "ix_epoch_open_epoch", "epoch", sqlite_where=_OPEN, postgresql_where=_OPEN
        ),  # what the vault has destroyed and is still here
        Index("ix_epoch_destroyed_at", "destroyed_at"),  # what one certificate is about
    )

    kiosk_id: Mapped[bytes] = mapped_column(LargeBinary(KIOSK_ID_BYTES), primary_key=True)
    epoch: Mapped[bytes] = mapped_column(LargeBinary(EPOCH_ID_BYTES), primary_key=True)
    first_sequence: Mapped[int] = mapped_column(BigInteger)  # the record that brought the key
    wrapped: Mapped[bytes | None]  # None: destroyed
    wrapped_digest: Mapped[bytes] = mapped_column(LargeBinary(32))  # SHA-256; the chain goes over it
    received_at: Mapped[datetime]
    destroyed_at: Mapped[datetime | None]


class Quarantined(Base):
    """A record that continues its chain and cannot be believed; kept whole, beside its row in `journal_record`."""

    __tablename__ = "quarantined"

    kiosk_id: Mapped[bytes] = mapped_column(LargeBinary(KIOSK_ID_BYTES), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    reason: Mapped[str] = mapped_column(String(40))  # a stable code, see server/ingest/prepared.py
    wrapped: Mapped[bytes]  # a key that did not become an epoch's; usually empty
    noted_at: Mapped[datetime] = mapped_column(index=True)


class EarlyRecord(Base):
    """A record that came before the chain reached it (server/ingest/early.py); it goes when the chain does."""

    __tablename__ = "early_record"

    kiosk_id: Mapped[bytes] = mapped_column(LargeBinary(KIOSK_ID_BYTES), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    exchange: Mapped[bytes] = mapped_column(LargeBinary(EXCHANGE_ID_BYTES))  # the EarlyUpload that holds its bytes
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))  # protocol.exchange.record_digest
    received_at_ms: Mapped[int] = mapped_column(BigInteger)
    # from the header
    venue_id: Mapped[bytes] = mapped_column(LargeBinary(VENUE_ID_BYTES))
    entrance: Mapped[int]
    at_ms: Mapped[int] = mapped_column(BigInteger)
    outcome: Mapped[str | None] = mapped_column(String(8))
    event: Mapped[str | None] = mapped_column(String(64))


class EarlyUpload(Base):
    """The signed envelope that brought early records: their bytes, and evidence should the chain tell otherwise."""

    __tablename__ = "early_upload"

    kiosk_id: Mapped[bytes] = mapped_column(LargeBinary(KIOSK_ID_BYTES), primary_key=True)
    exchange: Mapped[bytes] = mapped_column(LargeBinary(EXCHANGE_ID_BYTES), primary_key=True)
    envelope: Mapped[bytes]


class ForkedRecord(Base):
    """Evidence: a record of another history under a sequence number that is taken. Twice sent is once kept."""

    __tablename__ = "forked_record"

    kiosk_id: Mapped[bytes] = mapped_column(LargeBinary(KIOSK_ID_BYTES), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    hash: Mapped[bytes] = mapped_column(LargeBinary(HASH_BYTES), primary_key=True)
    epoch: Mapped[bytes] = mapped_column(LargeBinary(EPOCH_ID_BYTES))
    wrapped: Mapped[bytes]
    header: Mapped[bytes]
    sealed: Mapped[bytes]
    received_at: Mapped[datetime]


class Fork(Base):
    """A point where a second history of a kiosk leaves the first: a cloned card, or a restored one."""

    __tablename__ = "fork"

    kiosk_id: Mapped[bytes] = mapped_column(LargeBinary(KIOSK_ID_BYTES), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)  # where they first differ
    their_hash: Mapped[bytes] = mapped_column(LargeBinary(HASH_BYTES), primary_key=True)
    our_hash: Mapped[bytes] = mapped_column(LargeBinary(HASH_BYTES))
    boot: Mapped[bytes] = mapped_column(LargeBinary(BOOT_ID_BYTES))  # of the device that told this history
    upload: Mapped[bytes]  # the first upload that showed it, as it came: signed by the device itself
    noted_at: Mapped[datetime] = mapped_column(index=True)
