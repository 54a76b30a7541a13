"""Tells a kiosk how many people the other kiosks of its venue counted inside, so that a way in and a way out add up."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from protocol.counting import PART, command, count_from_text
from protocol.exchange import Upload
from server.ingest.devices import Device
from server.kiosks.models import MAY_EXCHANGE, Kiosk


def inside_command(reading: Session, device: Device, upload: Upload) -> tuple[str, ...]:
    """The command for the kiosk that sent *upload*; none for one that does not count."""
    own = count_from_text(dict(upload.health).get(PART, ""))
    if own is None:
        return ()
    others = reading.scalars(
        select(Kiosk.health).where(
            Kiosk.venue_id == device.venue_id,
            Kiosk.id != device.kiosk_id,
            Kiosk.state.in_([state.value for state in MAY_EXCHANGE]),
        )
    )
    told = (count_from_text(str((health or {}).get("parts", {}).get(PART, ""))) for health in others)
    return (command(own[0], sum(count[1] for count in told if count is not None and count[0] == own[0])),)
