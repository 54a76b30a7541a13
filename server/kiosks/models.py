"""Tables of kiosks and of one-time enrolment codes."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, ForeignKeyConstraint, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from server.db import Base
from server.venues.models import VENUE_ID_BYTES, Entrance

KIOSK_ID_BYTES = 8  # SHA-256 of the device's public key, shortened (protocol/passage.py, Place.kiosk)
PUBLIC_KEY_BYTES = 32  # Ed25519, RFC 8032


class KioskState(Enum):
    """Life of a kiosk (SM-19), moved by server/kiosks/workflow.py."""

    ENROLLED = "enrolled"  # its key is known; it has not taken a bundle yet
    PROVISIONED = "provisioned"  # it holds keys and rules
    ACTIVE = "active"
    SUSPENDED = "suspended"  # may not exchange; comes back by a decision
    RETIRED = "retired"  # for good: key refused, disk to be wiped
    LOST = "lost"  # for good: key refused, and whoever has it is a thief
    REVOKED = "revoked"  # lost, and all that follows from it is done


MAY_EXCHANGE = frozenset({KioskState.ENROLLED, KioskState.PROVISIONED, KioskState.ACTIVE})


class Kiosk(Base):
    """A device at an entrance. Its key never changes: another key is another kiosk."""

    __tablename__ = "kiosk"
    __table_args__ = (
        ForeignKeyConstraint(["venue_id", "entrance"], ["entrance.venue_id", "entrance.number"]),
        Index(None, "venue_id", "entrance"),
        Index(None, "area_path", "id"),
    )

    id: Mapped[bytes] = mapped_column(LargeBinary(KIOSK_ID_BYTES), primary_key=True)
    venue_id: Mapped[bytes] = mapped_column(LargeBinary(VENUE_ID_BYTES))
    entrance: Mapped[int]
    name: Mapped[str] = mapped_column(String(80))
    public_key: Mapped[bytes] = mapped_column(LargeBinary(PUBLIC_KEY_BYTES), unique=True)
    state: Mapped[str] = mapped_column(String(12), index=True)  # a value of KioskState
    enrolled_at: Mapped[datetime]
    # the path of its venue's area, kept true by triggers (server/search)
    area_path: Mapped[str] = mapped_column(String(300), default="", server_default="")
    # What the last exchange said; all None until then. Written by the ingest.
    last_seen_at: Mapped[datetime | None] = mapped_column(index=True)  # by our clock
    last_sequence: Mapped[int | None] = mapped_column(BigInteger)  # the newest record we hold
    unsent_count: Mapped[int | None]
    oldest_unsent_at: Mapped[datetime | None]  # None: it has sent everything
    bundle_version: Mapped[int | None]
    app_version: Mapped[str | None] = mapped_column(String(40))
    clock_offset_ms: Mapped[int | None] = mapped_column(BigInteger)  # its clock minus ours
    opening_test_at: Mapped[datetime | None]
    health: Mapped[dict[str, Any] | None] = mapped_column(JSON)  # card, power, devices; no personal data
    door: Mapped[Entrance] = relationship(viewonly=True)


class EnrolmentCode(Base):
    """A one-time code that turns a fresh device into the kiosk of one entrance."""

    __tablename__ = "enrolment_code"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)  # protocol.enrolment.token_id of the token, hex
    # protocol.enrolment.token_secret of the token; the token itself is never stored
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    venue_id: Mapped[bytes] = mapped_column(LargeBinary(VENUE_ID_BYTES))
    entrance: Mapped[int]
    kiosk_name: Mapped[str] = mapped_column(String(80))
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(ForeignKey("user_account.id"))
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    cancelled_at: Mapped[datetime | None]
    kiosk_id: Mapped[bytes | None] = mapped_column(LargeBinary(KIOSK_ID_BYTES), ForeignKey("kiosk.id"))
    door: Mapped[Entrance] = relationship(viewonly=True)

    __table_args__ = (
        ForeignKeyConstraint(["venue_id", "entrance"], ["entrance.venue_id", "entrance.number"]),
        Index(None, "venue_id", "entrance"),
    )


class PassageHour(Base):
    """How many people passed in one hour in one area and all below it: counts, and nobody behind them."""

    __tablename__ = "passage_hour"

    area_path: Mapped[str] = mapped_column(String(300), primary_key=True)
    hour: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False, index=True)  # since 1970, UTC
    admitted: Mapped[int] = mapped_column(BigInteger)
    held: Mapped[int] = mapped_column(BigInteger)
    denied: Mapped[int] = mapped_column(BigInteger)


class PassageCounted(Base):
    """How far a journal has been counted into `passage_hour`."""

    __tablename__ = "passage_counted"

    kiosk_id: Mapped[bytes] = mapped_column(LargeBinary(KIOSK_ID_BYTES), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger)
