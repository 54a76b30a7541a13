"""Tables of residents and their health status. Names and numbers are stored encrypted and never in clear."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, LargeBinary, SmallInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from server.db import Base, new_id


class Resident(Base):
    """A person who holds a dynamic health code."""

    __tablename__ = "resident"

    id: Mapped[str] = mapped_column(String(16), primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("user_account.id"), unique=True)
    identity: Mapped[bytes] = mapped_column(
        LargeBinary(256)
    )  # KeyStore.encrypt_resident of a packed Identity; b"" once withdrawn
    created_at: Mapped[datetime]
    area_code: Mapped[str | None] = mapped_column(ForeignKey("area.code"), index=True)  # whose workers look after them
    # KeyStore.resident_number_tag: one person is registered once; none for rows of earlier versions and after the end
    number_tag: Mapped[bytes | None] = mapped_column(LargeBinary(16), unique=True, index=True)
    withdrawn_at: Mapped[datetime | None]  # from then on `identity` is empty


class HealthStatus(Base):
    """What is said of a resident from `since` on: a colour, why, and until when (SM-13). Rows are only added."""

    __tablename__ = "health_status"

    resident_id: Mapped[str] = mapped_column(ForeignKey("resident.id"), primary_key=True)
    since: Mapped[datetime] = mapped_column(primary_key=True)
    colour: Mapped[int] = mapped_column(SmallInteger)  # a value of protocol.words.Colour
    cause: Mapped[str] = mapped_column(String(40))  # a code such as "test_negative", never a story
    expires_at: Mapped[datetime]  # from then on the colour is grey: nothing is known
    set_by: Mapped[str] = mapped_column(String(40))  # a user's id, or "system"
