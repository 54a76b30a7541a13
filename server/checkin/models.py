"""The table of references: which check-in a visitor's pass stands for. It points at no person."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from protocol.checkin import NONCE_BYTES, REFERENCE_CHARS
from protocol.passage import KIOSK_ID_BYTES, VENUE_ID_BYTES
from server.db import Base


class PhoneCheckin(Base):
    """One check-in, for two days: its ticket cannot be used again, and staff can check its reference."""

    __tablename__ = "phone_checkin"
    __table_args__ = (Index(None, "serial", "at"), Index(None, "venue_id", "reference"))

    nonce: Mapped[bytes] = mapped_column(LargeBinary(NONCE_BYTES), primary_key=True)  # of the ticket
    kiosk_id: Mapped[bytes] = mapped_column(LargeBinary(KIOSK_ID_BYTES))  # of the server's own journal
    sequence: Mapped[int] = mapped_column(BigInteger)
    serial: Mapped[int] = mapped_column(ForeignKey("venue_code.serial"))
    venue_id: Mapped[bytes] = mapped_column(LargeBinary(VENUE_ID_BYTES))
    entrance: Mapped[int]
    at: Mapped[datetime] = mapped_column(index=True)
    reference: Mapped[str] = mapped_column(String(REFERENCE_CHARS))
    shown_at: Mapped[datetime | None]  # when staff first confirmed it: a second time is a screenshot passed on
