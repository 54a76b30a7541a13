"""Records that sit in quarantine as a case: nothing may lie there unseen for longer than an hour."""

from __future__ import annotations

from datetime import datetime, timedelta

from server.accounts.rights import Place
from server.accounts.roles import Act, Permission, Role, may
from server.cases.kernel import find, open_case
from server.cases.machine import Clock, Field, Machine, State, Step, holders
from server.context import House
from server.kiosks.models import Kiosk
from server.quarantine.retrying import overdue

SITS = timedelta(hours=1)  # then somebody is told; until then a click may have been enough
LOOKS = holders(Permission.KIOSKS, Act.APPROVE) | holders(Permission.KIOSKS, Act.PERFORM)
DECIDES = holders(Permission.KIOSKS, Act.APPROVE)
ABOVE = frozenset(
    role for role in (Role.DISTRICT_COMMAND, Role.CITY_COMMAND) if may(role, Permission.EMERGENCY, Act.APPROVE)
)

QUARANTINE = Machine(
    name="quarantine",
    label="Records in quarantine",
    readers=LOOKS | ABOVE | frozenset({Role.INSPECTOR, Role.DATA_OFFICER}),
    initial=("waiting",),
    form=(Field("reason", "Why they are set aside"), Field("first", "First record")),
    assigns=DECIDES,
    assignees=LOOKS,
    states=(
        State("waiting", "Waits for somebody", "bad"),
        State("looked_into", "Somebody looks into it", "wait"),
        State("settled", "Settled", "off", is_final=True),
    ),
    steps=(
        Step("look", "Look into it", ("waiting",), "looked_into", roles=LOOKS),
        Step(
            "settle",
            "Close with what was done",
            ("waiting", "looked_into"),
            "settled",
            roles=DECIDES,
            needs_reason=True,
        ),
    ),
    clocks=(
        Clock(
            "looking",
            runs_in=("waiting", "looked_into"),
            after=lambda settings: timedelta(hours=settings.cases.fault_response_hours),
            escalates_to=ABOVE,
        ),
    ),
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
