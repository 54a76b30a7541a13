"""Tables of venue codes and of what was printed of them."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

from sqlalchemy import BigInteger, ForeignKey, ForeignKeyConstraint, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from server.db import Base, new_id
from server.venues.models import VENUE_ID_BYTES, Entrance


class CodeState(Enum):
    """Life of a venue code (SM-02), moved by server/codes/workflow.py.

    A code is over at `expires_at` whether or not the worker has noted it as EXPIRED.
    """

    ISSUED = "issued"
    PRINTED = "printed"
    POSTED = "posted"  # hangs at its entrance; no responsible person is named yet
    ACTIVE = "active"  # hangs, and a responsible person is named
    RENEWAL_DUE = "renewal_due"  # in use, and ends soon
    REPOSTING = "reposting"  # damaged, or its entrance has moved: to be hung anew
    SUSPENDED = "suspended"  # refused until it is let back
    RENEWED = "renewed"  # ended soon, and a newer version hangs
    EXPIRED = "expired"
    REVOKED = "revoked"
    SUPERSEDED = "superseded"  # a newer version hangs


STATE_NAMES: dict[CodeState, str] = {
    CodeState.ISSUED: "Issued",
    CodeState.PRINTED: "Printed",
    CodeState.POSTED: "Posted",
    CodeState.ACTIVE: "In use",
    CodeState.RENEWAL_DUE: "To be renewed",
    CodeState.REPOSTING: "To be hung anew",
    CodeState.SUSPENDED: "Suspended",
    CodeState.RENEWED: "Renewed by a newer version",
    CodeState.EXPIRED: "Expired",
    CodeState.REVOKED: "Revoked",
    CodeState.SUPERSEDED: "Replaced",
}
LIVE = (
    CodeState.ISSUED,
    CodeState.PRINTED,
    CodeState.POSTED,
    CodeState.ACTIVE,
    CodeState.RENEWAL_DUE,
    CodeState.REPOSTING,
)
LIVE_VALUES = tuple(state.value for state in LIVE)


class VenueCode(Base):
    """One signed code of one entrance. A re-issue is a new row with the next version."""

    __tablename__ = "venue_code"
    __table_args__ = (
        ForeignKeyConstraint(["venue_id", "entrance"], ["entrance.venue_id", "entrance.number"]),
        Index(None, "venue_id", "entrance"),
        # the last three so that the console's first page counts in the index alone
        Index("ix_venue_code_counts", "state", "expires_at", "area_path", "venue_id", "issued_at"),
        Index(None, "state", "serial"),
        Index(None, "area_path", "serial"),
    )

    serial: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)  # 32 bits, in the token
    venue_id: Mapped[bytes] = mapped_column(LargeBinary(VENUE_ID_BYTES))
    entrance: Mapped[int]
    version: Mapped[int]  # 1, 2, 3 ... of this entrance
    state: Mapped[str] = mapped_column(String(12))  # a value of CodeState
    token: Mapped[str] = mapped_column(String(320))  # what hangs on the wall; public by its nature
    kid: Mapped[bytes] = mapped_column(LargeBinary(8))
    issued_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    issued_by: Mapped[str] = mapped_column(ForeignKey("user_account.id"))
    posted_at: Mapped[datetime | None]
    posted_note: Mapped[str] = mapped_column(String(200), default="")  # where exactly it hangs
    ended_at: Mapped[datetime | None]  # revoked or superseded
    end_reason: Mapped[str] = mapped_column(String(400), default="")
    # the path of its venue's area, kept true by triggers (server/search)
    area_path: Mapped[str] = mapped_column(String(300), default="", server_default="")
    door: Mapped[Entrance] = relationship(viewonly=True)
    prints: Mapped[list[PosterPrint]] = relationship(order_by="PosterPrint.at", viewonly=True)

    @property
    def kind(self) -> CodeState:
        """The state as the enum member."""
        return CodeState(self.state)

    def is_expired(self, now: datetime) -> bool:
        """Whether its time is over."""
        return now >= self.expires_at

    def holds(self, now: datetime) -> bool:
        """Whether a kiosk and the server still accept it."""
        return self.kind in LIVE and not self.is_expired(now)


class PosterPrint(Base):
    """One printing of a poster: reprints keep their history."""

    __tablename__ = "poster_print"

    id: Mapped[str] = mapped_column(String(16), primary_key=True, default=new_id)
    serial: Mapped[int] = mapped_column(ForeignKey("venue_code.serial"), index=True)
    at: Mapped[datetime]
    by: Mapped[str] = mapped_column(ForeignKey("user_account.id"))
    form: Mapped[str] = mapped_column(String(4))  # pdf, png, svg
