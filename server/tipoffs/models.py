"""Tables of tip-offs: what a stranger told, sealed, and what was said since. No account, name, address or device."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from server.db import Base, new_id


class TipOff(Base):
    """One tip-off; its case (`Case.key` is this id) says where it stands."""

    __tablename__ = "tip_off"

    id: Mapped[str] = mapped_column(String(16), primary_key=True, default=new_id)
    code_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)  # of the follow-up code; never the code
    sort: Mapped[str] = mapped_column(String(20))  # a value of words.SORTS
    place: Mapped[bytes] = mapped_column(LargeBinary)  # where, as typed; sealed, bound to "ID place"
    told: Mapped[bytes] = mapped_column(LargeBinary)  # what was seen; sealed, bound to "ID told"
    photo_id: Mapped[str | None] = mapped_column(ForeignKey("upload.id"))
    at: Mapped[datetime]


class TipOffMessage(Base):
    """One message between the staff and whoever holds the follow-up code."""

    __tablename__ = "tip_off_message"

    id: Mapped[str] = mapped_column(String(16), primary_key=True, default=new_id)
    tip_off_id: Mapped[str] = mapped_column(ForeignKey("tip_off.id"), index=True)
    at: Mapped[datetime]
    is_from_staff: Mapped[bool]
    text: Mapped[bytes] = mapped_column(LargeBinary)  # sealed, bound to this row's id
