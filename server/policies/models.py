"""Tables of changed profiles, of emergencies, and of each venue's capacity and hours."""

from __future__ import annotations

import secrets
from datetime import datetime

from sqlalchemy import ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from server.areas.models import Area
from server.db import Base
from server.venues.models import VENUE_ID_BYTES, Venue


class PolicyProfile(Base):
    """A profile that somebody changed; kinds and modes without a row have the built-in one."""

    __tablename__ = "policy_profile"

    category: Mapped[str] = mapped_column(String(20), primary_key=True)  # a kind of venue, "" for all others
    mode: Mapped[str] = mapped_column(String(16), primary_key=True)  # a value of protocol.profile.Mode
    data: Mapped[bytes]  # as in the part "profiles", this one alone: the kiosks' own limits hold for it
    changed_at: Mapped[datetime]
    changed_by: Mapped[str] = mapped_column(ForeignKey("user_account.id"))


class Emergency(Base):
    """An area or one venue in emergency mode (SM-10): by whom, why, and until when. Ended ones stay."""

    __tablename__ = "emergency"
    __table_args__ = (Index(None, "ended_at", "until_at"),)

    id: Mapped[str] = mapped_column(String(16), primary_key=True, default=lambda: secrets.token_hex(8))
    area_code: Mapped[str] = mapped_column(ForeignKey("area.code"), index=True)  # of the venue, when it is one
    venue_id: Mapped[bytes | None] = mapped_column(LargeBinary(VENUE_ID_BYTES), ForeignKey("venue.id"), index=True)
    reason: Mapped[str] = mapped_column(String(200))
    started_at: Mapped[datetime]
    started_by: Mapped[str] = mapped_column(ForeignKey("user_account.id"))
    until_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]  # before its time
    ended_by: Mapped[str | None] = mapped_column(ForeignKey("user_account.id"))
    ended_because: Mapped[str] = mapped_column(String(200), default="")
    area: Mapped[Area] = relationship()
    venue: Mapped[Venue | None] = relationship()

    def holds(self, now: datetime) -> bool:
        """Whether it is in force at *now*."""
        return self.ended_at is None and self.started_at <= now < self.until_at


class VenueTerms(Base):
    """What a venue's entrances are told about itself."""

    __tablename__ = "venue_terms"

    venue_id: Mapped[bytes] = mapped_column(LargeBinary(VENUE_ID_BYTES), ForeignKey("venue.id"), primary_key=True)
    capacity: Mapped[int]  # 0: no limit is set
    hours: Mapped[str] = mapped_column(String(120))  # seven "FROM-UNTIL" in minutes, Monday first; "" is always open
    elsewhere_zh: Mapped[str] = mapped_column(String(120))
    elsewhere_en: Mapped[str] = mapped_column(String(120))
    changed_at: Mapped[datetime]
