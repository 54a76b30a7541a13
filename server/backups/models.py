"""The table of backups: what was made, where it lies, and what restoring it showed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from server.db import Base, new_id


class Backup(Base):
    """One backup that was tried. It counts only when `outcome` is empty: then it was restored and found whole."""

    __tablename__ = "backup"

    id: Mapped[str] = mapped_column(String(16), primary_key=True, default=new_id)
    made_at: Mapped[datetime] = mapped_column(index=True)
    file: Mapped[str] = mapped_column(String(80))  # its name in the backup folder
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))  # SHA-256 of the encrypted file; empty when none was made
    rows: Mapped[int] = mapped_column(BigInteger)  # counted in the restored copy
    checked_at: Mapped[datetime | None]  # when its bytes were last read from the disk and found the same
    outcome: Mapped[str] = mapped_column(String(200))  # empty: whole; else a code and what was found, never personal
    removed_at: Mapped[datetime | None]  # its file was deleted because newer ones stand
