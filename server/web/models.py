"""The table of failed attempts, shared by every web process."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from server.db import Base


class AttemptCount(Base):
    """How often one source has failed at one thing in the window that runs now."""

    __tablename__ = "attempt_count"

    key: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)  # keyed hash; no address in clear
    count: Mapped[int]
    ends_at: Mapped[datetime] = mapped_column(index=True)  # the window's end; the row means nothing afterwards
