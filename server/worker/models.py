"""The table that shows when each action of the worker ran last, and how it went."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from server.db import Base


class WorkerRun(Base):
    """One action: its last run, and when the next is due. Claiming a run is an update of `next_at`."""

    __tablename__ = "worker_run"

    action: Mapped[str] = mapped_column(String(40), primary_key=True)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    succeeded_at: Mapped[datetime | None]
    next_at: Mapped[datetime]
    runs: Mapped[int] = mapped_column(BigInteger)
    failures: Mapped[int]  # in a row; 0 after a success
    outcome: Mapped[str] = mapped_column(String(200))  # what was done, or the fault; never anything personal
