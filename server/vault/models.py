"""The table that says how far the vault's index is behind what the server holds; the worker writes it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from server.db import Base


class IndexLag(Base):
    """What the last run of indexing left undone; one row."""

    __tablename__ = "index_lag"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # 1
    checked_at: Mapped[datetime]
    behind: Mapped[int] = mapped_column(BigInteger)  # journal records that the vault has not dealt with
    oldest_at: Mapped[datetime | None]  # when the oldest of them came in
