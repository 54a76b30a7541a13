"""A second history of a kiosk as a case: somebody goes and looks, and says what it was before it is closed."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from server.accounts.rights import Place
from server.accounts.roles import Act, Permission, Role, may
from server.cases.kernel import find, open_case
from server.cases.machine import Clock, Field, Machine, State, Step, holders
from server.ingest.models import Fork
from server.kiosks.models import Kiosk

LOOKS = holders(Permission.KIOSKS, Act.APPROVE) | holders(Permission.KIOSKS, Act.PERFORM)
DECIDES = holders(Permission.KIOSKS, Act.APPROVE)
ABOVE = frozenset(
    role for role in (Role.DISTRICT_COMMAND, Role.CITY_COMMAND) if may(role, Permission.EMERGENCY, Act.APPROVE)
)
CAUSES = (
    ("copied", "The card was copied"),
    ("restored", "The card was restored from an older copy"),
    ("replaced", "A second device was set up with this kiosk's keys"),
    ("unknown", "It could not be found out"),
)

TAMPER = Machine(
    name="tamper",
    label="Second histories",
    readers=LOOKS | ABOVE | frozenset({Role.INSPECTOR, Role.DATA_OFFICER}),
    initial=("found",),
    form=(Field("sequence", "First record that differs"),),
    assigns=DECIDES,
    assignees=LOOKS,
    states=(
        State("found", "Found", "bad"),
        State("looked_into", "Somebody looks into it", "wait"),
        State("explained", "Explained", "off", is_final=True),
    ),
    steps=(
        Step("look", "Look into it", ("found",), "looked_into", roles=LOOKS),
        Step(
            "explain",
            "Close with what it was",
            ("found", "looked_into"),
            "explained",
            roles=DECIDES,
            needs_reason=True,
            fields=(Field("cause", "What it was", "choice", choices=CAUSES),),
        ),
    ),
    clocks=(
        Clock(
            "looking",
            runs_in=("found", "looked_into"),
            after=lambda settings: timedelta(hours=settings.cases.fault_response_hours),
            escalates_to=ABOVE,
        ),
    ),
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
