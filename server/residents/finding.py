"""Finding residents within reach by words that stand in no index: each identity is opened and compared."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from protocol.credentials.identity import Identity
from server.accounts.rights import Reach
from server.areas.models import Area
from server.keystore import KeyStoreError
from server.residents.codes import open_identity
from server.residents.models import Resident


def matching(reading: Session, reach: Reach, words: str) -> Iterator[tuple[Resident, Area, Identity]]:
    """Residents within *reach* whose name, ID number or phone is *words*, or ends with it from four characters on.

    Names are encrypted one by one, so every resident within reach is opened: a community has thousands, and opening
    one takes microseconds.
    """
    rows = reading.execute(
        select(Resident, Area)
        .join(Area, Area.code == Resident.area_code)
        .where(reach.condition(Area.path), Resident.withdrawn_at.is_(None))
        .order_by(Resident.id)
    )
    wanted = words.replace(" ", "").upper()
    for resident, area in rows:
        try:
            who = open_identity(resident)
        except KeyStoreError:
            continue
        parts = [part.replace(" ", "").upper() for part in (who.name, who.id_number, who.phone) if part]
        if wanted in parts or (len(wanted) >= 4 and any(part.endswith(wanted) for part in parts[1:])):
            yield resident, area, who
