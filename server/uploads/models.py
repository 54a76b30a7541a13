"""The table of uploaded files: sealed, under random names, without the name that the sender gave them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from server.db import Base, new_id


class Upload(Base):
    """One file. What it belongs to, and so who may see it, is said by the row that names it."""

    __tablename__ = "upload"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=lambda: new_id(16))
    media_type: Mapped[str] = mapped_column(String(30))  # of what is kept, found in the content
    size_bytes: Mapped[int]
    width: Mapped[int | None]  # pixels; None for a PDF
    height: Mapped[int | None]
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))  # SHA-256 of what is kept, so that a history can name it
    sealed: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)  # KeyStore.seal_file, bound to `id`
    sent_by: Mapped[str] = mapped_column(String(40))  # a user's id, or "stranger"
    at: Mapped[datetime]
