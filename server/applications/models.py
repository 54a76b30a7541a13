"""Tables of applications: the draft that the applicant edits, and every version that was sent, frozen."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from server.areas.models import Area
from server.db import Base, new_id
from server.uploads.models import Upload
from server.venues.models import VENUE_ID_BYTES, Venue


class CodeApplication(Base):
    """What an applicant is writing. Its case (`Case.key` is this id) says where it stands."""

    __tablename__ = "code_application"

    id: Mapped[str] = mapped_column(String(16), primary_key=True, default=new_id)
    applicant_id: Mapped[str] = mapped_column(ForeignKey("user_account.id"), index=True)
    area_code: Mapped[str] = mapped_column(ForeignKey("area.code"))
    # the venue it is about: one that exists already, or the one that came of it
    venue_id: Mapped[bytes | None] = mapped_column(LargeBinary(VENUE_ID_BYTES), ForeignKey("venue.id"), index=True)
    content: Mapped[dict[str, Any]] = mapped_column(JSON)  # server/applications/details.py
    proof_id: Mapped[str | None] = mapped_column(ForeignKey("upload.id"))
    plan_id: Mapped[str | None] = mapped_column(ForeignKey("upload.id"))
    changed_at: Mapped[datetime]
    area: Mapped[Area] = relationship()
    venue: Mapped[Venue | None] = relationship()
    proof: Mapped[Upload | None] = relationship(foreign_keys=[proof_id])
    plan: Mapped[Upload | None] = relationship(foreign_keys=[plan_id])


class ApplicationVersion(Base):
    """One application as it was sent (V-13: history kept). The case's entry holds its digest."""

    __tablename__ = "application_version"

    application_id: Mapped[str] = mapped_column(ForeignKey("code_application.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # 1, 2, 3 ...
    at: Mapped[datetime]
    area_code: Mapped[str] = mapped_column(ForeignKey("area.code"))
    content: Mapped[dict[str, Any]] = mapped_column(JSON)
    proof_id: Mapped[str] = mapped_column(ForeignKey("upload.id"))
    plan_id: Mapped[str] = mapped_column(ForeignKey("upload.id"))
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))  # over all of it, see details.digest_of
    proof: Mapped[Upload] = relationship(foreign_keys=[proof_id])
    plan: Mapped[Upload] = relationship(foreign_keys=[plan_id])
