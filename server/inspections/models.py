"""Tables of inspections: random draws that anybody can repeat, and photographs of findings and answers."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from server.db import Base, new_id


class InspectionDraw(Base):
    """One draw: from which list, with which seed, and what came out. Written once."""

    __tablename__ = "inspection_draw"

    id: Mapped[str] = mapped_column(String(16), primary_key=True, default=new_id)
    at: Mapped[datetime]
    by: Mapped[str] = mapped_column(ForeignKey("user_account.id"))
    area_path: Mapped[str] = mapped_column(String(300), index=True)
    seed: Mapped[bytes] = mapped_column(LargeBinary(32))
    list_digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    candidates: Mapped[list[str]] = mapped_column(JSON)  # venue ids in hex, sorted
    picked: Mapped[list[str]] = mapped_column(JSON)  # venue ids in hex, in the order drawn


class InspectionPhoto(Base):
    """One photograph that belongs to an inspection; its digest stands in the case's chain."""

    __tablename__ = "inspection_photo"

    upload_id: Mapped[str] = mapped_column(ForeignKey("upload.id"), primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("case_file.id"), index=True)
    stage: Mapped[str] = mapped_column(String(10))  # finding, answer, recheck
    at: Mapped[datetime]
    by: Mapped[str] = mapped_column(ForeignKey("user_account.id"))
