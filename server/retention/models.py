"""Tables of what was destroyed, and of how much came in on each day, so that the two can be held against each other."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, BigInteger, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from server.db import Base

GENESIS = bytes(32)


class Destruction(Base):
    """One certificate: which epochs became unreadable for ever, signed by this server and tied to the one before."""

    __tablename__ = "destruction"

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)  # 1, 2, 3 ...
    at: Mapped[datetime] = mapped_column(index=True)
    before_day: Mapped[int]  # days since 1970-01-01 UTC: what was received before it was due
    epochs: Mapped[int]
    epochs_digest: Mapped[bytes] = mapped_column(LargeBinary(32))  # SHA-256 of their sorted (kiosk, epoch)
    kiosks: Mapped[int]
    passages: Mapped[int] = mapped_column(BigInteger)  # their sealed parts can no longer be opened by anybody
    by_day: Mapped[dict[str, int]] = mapped_column(JSON)  # the same by the day they were received
    held: Mapped[int]  # epochs whose time was over and that an order holds back
    vault_head: Mapped[str] = mapped_column(String(100))  # the line of the vault's log that stands for it
    previous_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    signed: Mapped[bytes]  # COSE_Sign1 over all of it, by the server's identity


class DayCount(Base):
    """How many passages were received on one day, counted once when the day was over and nothing of it was due."""

    __tablename__ = "day_count"

    day: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # days since 1970-01-01 UTC
    passages: Mapped[int] = mapped_column(BigInteger)
    counted_at: Mapped[datetime]
