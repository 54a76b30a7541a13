"""A second history of a kiosk as a case: somebody goes and looks, and says what it was before it is closed."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from server.accounts.rights import Place
from server.accounts.roles import Role
from server.cases.alarms import KIOSK_KEEPERS, KIOSK_SUPPORT, alarm
from server.cases.kernel import find, open_case
from server.cases.machine import Field
from server.ingest.models import Fork
from server.kiosks.models import Kiosk

CAUSES = (
    ("copied", "The card was copied"),
    ("restored", "The card was restored from an older copy"),
    ("replaced", "A second device was set up with this kiosk's keys"),
    ("unknown", "It could not be found out"),
)

TAMPER = alarm(
    "tamper",
    "Second histories",
    found=("found", "Found"),
    close=("explain", "Close with what it was"),
    closed=("explained", "Explained"),
    clock="looking",
    after=lambda settings: timedelta(hours=settings.cases.fault_response_hours),
    looks=KIOSK_SUPPORT,
    closes=KIOSK_KEEPERS,
    also_reads=frozenset({Role.INSPECTOR, Role.DATA_OFFICER}),
    form=(Field("sequence", "First record that differs"),),
    asks=(Field("cause", "What it was", "choice", choices=CAUSES),),
)
MACHINES = (TAMPER,)


def raise_case(writing: Session, kiosk: Kiosk, fork: Fork, at: datetime) -> None:
    """Open the case of a fork, once for each point where a history leaves another."""
    key = f"{kiosk.id.hex()}:{fork.sequence}:{fork.their_hash.hex()[:16]}"
    if find(writing, TAMPER.name, key) is not None:
        return
    venue = kiosk.door.venue
    open_case(
        writing,
        TAMPER,
        by=f"kiosk:{kiosk.id.hex()}",
        at=at,
        title=kiosk.name,
        place=Place(venue.area.path, venue.id),
        facts={"sequence": str(fork.sequence)},
        key=key,
    )
