"""Tables of paper health codes and staff badges. They hold no text of a code: it is signed again for each printing."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from protocol.credentials.jk1 import StatusRef
from server.db import Base
from server.residents.models import Resident
from server.venues.models import VENUE_ID_BYTES, Venue


class Carried:
    """What both have: a place on a numbered status list, a life, and who ended it when."""

    list_number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)  # 0, 1, 2 ... on the list
    issued_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    issued_by: Mapped[str] = mapped_column(ForeignKey("user_account.id"))
    revoked_at: Mapped[datetime | None]
    revoked_because: Mapped[str] = mapped_column(String(400), default="")

    @property
    def ref(self) -> StatusRef:
        """The id that the code carries."""
        return StatusRef(self.list_number, self.position)

    @property
    def short_id(self) -> str:
        """How people call it: it stands in the address of its page and on the paper."""
        return f"{self.list_number}-{self.position}"

    def holds(self, now: datetime) -> bool:
        """Whether doors accept it."""
        return self.revoked_at is None and now < self.expires_at


class PaperCode(Carried, Base):
    """One paper health code. Its colour is that of its resident, told to the doors by a status list."""

    __tablename__ = "paper_code"

    resident_id: Mapped[str] = mapped_column(ForeignKey("resident.id"), index=True)
    resident: Mapped[Resident] = relationship(viewonly=True)


class StaffBadge(Carried, Base):
    """One badge of a member of staff of a venue; it opens the staff panel of that venue's kiosks."""

    __tablename__ = "staff_badge"
    __table_args__ = (Index(None, "venue_id", "staff_id"),)

    venue_id: Mapped[bytes] = mapped_column(LargeBinary(VENUE_ID_BYTES), ForeignKey("venue.id"))
    staff_id: Mapped[str] = mapped_column(String(32))  # not a foreign key: records of somebody who left stay
    venue: Mapped[Venue] = relationship(viewonly=True)
