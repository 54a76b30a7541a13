"""The table of inspectors' passes. It holds no text of a code: it is signed again whenever it is shown."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from server.accounts.models import User
from server.db import Base
from server.papers.models import Carried


class InspectorPass(Carried, Base):
    """One pass of one inspector."""

    __tablename__ = "inspector_pass"

    user_id: Mapped[str] = mapped_column(ForeignKey("user_account.id"), index=True)
    name: Mapped[str] = mapped_column(String(40))  # as it stands on the pass
    places: Mapped[dict[str, Any]] = mapped_column(JSON)  # {"venues": [hex], "kiosks": [hex]}
    area_path: Mapped[str] = mapped_column(String(300), index=True)  # the smallest area around all of its places
    user: Mapped[User] = relationship(viewonly=True, foreign_keys=[user_id])

    @property
    def venues(self) -> tuple[bytes, ...]:
        """Ids of the venues it names."""
        return tuple(bytes.fromhex(venue) for venue in self.places["venues"])

    @property
    def kiosks(self) -> tuple[bytes, ...]:
        """Ids of the kiosks it names beside."""
        return tuple(bytes.fromhex(kiosk) for kiosk in self.places["kiosks"])
