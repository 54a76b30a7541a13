"""Records that sit in quarantine as a case: nothing may lie there unseen for longer than an hour."""

from __future__ import annotations

from datetime import datetime, timedelta

from server.accounts.rights import Place
from server.accounts.roles import Role
from server.cases.alarms import KIOSK_KEEPERS, KIOSK_SUPPORT, alarm
from server.cases.kernel import find, open_case
from server.cases.machine import Field
from server.context import House
from server.kiosks.models import Kiosk
from server.quarantine.retrying import overdue

SITS = timedelta(hours=1)  # then somebody is told; until then a click may have been enough
QUARANTINE = alarm(
    "quarantine",
    "Records in quarantine",
    found=("waiting", "Waits for somebody"),
    close=("settle", "Close with what was done"),
    closed=("settled", "Settled"),
    clock="looking",
    after=lambda settings: timedelta(hours=settings.cases.fault_response_hours),
    looks=KIOSK_SUPPORT,
    closes=KIOSK_KEEPERS,
    also_reads=frozenset({Role.INSPECTOR, Role.DATA_OFFICER}),
    form=(Field("reason", "Why they are set aside"), Field("first", "First record")),
)
MACHINES = (QUARANTINE,)


def raise_cases(house: House, now: datetime) -> int:
    """Open a case for each kiosk and reason whose records sit too long, once for each day they came in; how many."""
    opened = 0
    with house.database.writing() as writing:
        for kiosk_id, reason, since, first in overdue(writing, now, SITS):
            key = f"{kiosk_id.hex()}:{reason}:{since.date():%Y%m%d}"
            kiosk = writing.get(Kiosk, kiosk_id)
            if kiosk is None or find(writing, QUARANTINE.name, key) is not None:
                continue
            venue = kiosk.door.venue
            open_case(
                writing,
                QUARANTINE,
                by=f"kiosk:{kiosk_id.hex()}",
                at=now,
                title=kiosk.name,
                place=Place(venue.area.path, venue.id),
                facts={"reason": reason, "first": str(first)},
                key=key,
            )
            opened += 1
    return opened
