"""Tells a kiosk that knows of records in quarantine which of them still wait, so that its finding ends with them."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from protocol.aside import PART, Aside
from protocol.exchange import Upload
from server.ingest.models import Quarantined

MOST_READ = 20  # more never fit into the command


def aside_command(reading: Session, upload: Upload) -> tuple[str, ...]:
    """The command for the kiosk that sent *upload*; none, and no look, for one that knows of nothing apart."""
    if PART not in dict(upload.health):
        return ()
    waiting = reading.scalars(
        select(Quarantined.sequence)
        .where(Quarantined.kiosk_id == upload.kiosk)
        .order_by(Quarantined.sequence)
        .limit(MOST_READ)
    ).all()
    return (Aside.fitting(waiting).command(),)
