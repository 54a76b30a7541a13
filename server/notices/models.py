"""The table of public notices; they concern an area or one venue, and never a person (P-35)."""

from __future__ import annotations

import secrets
from datetime import datetime
from enum import Enum

from sqlalchemy import ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from protocol.notice import ENGLISH, MAX_BODY, MAX_TITLE
from server.areas.models import Area
from server.db import Base
from server.venues.models import VENUE_ID_BYTES, Venue


class NoticeState(Enum):
    """Where a notice stands, as stored: the state of its case (server/notices/workflow.py). That its time is over the
    clock says first, and the worker writes it down."""

    DRAFT = "draft"
    FIRST_REVIEW = "first_review"
    FINAL_REVIEW = "final_review"
    RETURNED = "returned"
    PUBLISHED = "published"
    WITHDRAWN = "withdrawn"
    OVER = "over"


class PublicNotice(Base):
    """One notice. Published ones are never changed: a wrong one is withdrawn, and a right one written."""

    __tablename__ = "public_notice"
    __table_args__ = (Index(None, "state", "until_at"),)

    id: Mapped[str] = mapped_column(String(16), primary_key=True, default=lambda: secrets.token_hex(8))
    area_code: Mapped[str] = mapped_column(ForeignKey("area.code"), index=True)  # of the venue, when it is one
    venue_id: Mapped[bytes | None] = mapped_column(LargeBinary(VENUE_ID_BYTES), ForeignKey("venue.id"))
    level: Mapped[str] = mapped_column(String(16))  # a value of protocol.notice.NoticeLevel
    title_zh: Mapped[str] = mapped_column(String(MAX_TITLE))
    title_en: Mapped[str] = mapped_column(String(ENGLISH * MAX_TITLE))
    body_zh: Mapped[str] = mapped_column(String(MAX_BODY))
    body_en: Mapped[str] = mapped_column(String(ENGLISH * MAX_BODY))
    source: Mapped[str] = mapped_column(String(200))  # where it comes from (P-04)
    from_at: Mapped[datetime]
    until_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(12))  # a value of NoticeState
    written_at: Mapped[datetime] = mapped_column(index=True)
    written_by: Mapped[str] = mapped_column(ForeignKey("user_account.id"))
    published_at: Mapped[datetime | None]
    published_by: Mapped[str | None] = mapped_column(ForeignKey("user_account.id"))
    withdrawn_at: Mapped[datetime | None]
    withdrawn_by: Mapped[str | None] = mapped_column(ForeignKey("user_account.id"))
    withdrawn_because: Mapped[str] = mapped_column(String(200), default="")
    area: Mapped[Area] = relationship()
    venue: Mapped[Venue | None] = relationship()

    def condition(self, now: datetime) -> str:
        """The stored state; a published one is waiting, showing or over."""
        if self.state != NoticeState.PUBLISHED.value:
            return self.state
        if now < self.from_at:
            return "waiting"
        return "showing" if now < self.until_at else "over"
