"""A kiosk's life as a workflow (SM-19). `Kiosk.state` follows the case, in the same transaction."""

from __future__ import annotations

from datetime import datetime

from flask import url_for
from sqlalchemy.orm import Session

from server.accounts.rights import Person, Place
from server.accounts.roles import Act, Permission
from server.cases.kernel import case_about, take
from server.cases.machine import Attempt, Field, Machine, State, Step, holders
from server.cases.models import Case
from server.kiosks.models import Kiosk

DECIDES = holders(Permission.KIOSKS, Act.APPROVE)
SERVING = ("enrolled", "provisioned", "active")


def _follow(attempt: Attempt) -> None:
    """The kiosk's row becomes what its case is."""
    kiosk = attempt.database.get_one(Kiosk, bytes.fromhex(attempt.case.key or ""))
    kiosk.state = attempt.case.state


def _decision(name: str, label: str, sources: tuple[str, ...], target: str, *, is_danger: bool = True) -> Step:
    return Step(
        name,
        label,
        sources,
        target,
        roles=DECIDES,
        needs_reason=True,
        effect=_follow,
        is_elsewhere=True,
        is_danger=is_danger,
        is_work=False,
    )


DEVICE = Machine(
    name="kiosk",
    label="Kiosks",
    readers=holders(Permission.KIOSKS, Act.READ),
    initial=("enrolled",),
    key_is_subject=True,
    page=lambda case: url_for("kiosks.show", kiosk_id=bytes.fromhex(case.key or "")),
    states=(
        State("enrolled", "Enrolled", "wait"),
        State("provisioned", "Has its rules", "wait"),
        State("active", "In service", "good"),
        State("suspended", "Suspended", "wait"),
        State("retired", "Retired", "off", is_final=True),
        State("lost", "Lost", "bad"),
        State("revoked", "Lost, and everything about it revoked", "off", is_final=True),
    ),
    steps=(
        Step("provision", "It holds keys and rules", ("enrolled",), "provisioned", effect=_follow),
        Step("activate", "It works with them", ("provisioned",), "active", effect=_follow),
        _decision("suspend", "Suspend", SERVING, "suspended"),
        _decision("resume", "Resume", ("suspended",), "active", is_danger=False),
        _decision("retire", "Retire for good", (*SERVING, "suspended"), "retired"),
        _decision("lose", "Report lost", (*SERVING, "suspended"), "lost"),
        Step(
            "revoke",
            "The steps after a loss are done",
            ("lost",),
            "revoked",
            roles=DECIDES,
            effect=_follow,
            fields=(
                Field("unsent", "What it still held is known and noted", "yes", must_be=True),
                Field("staff_pins", "PINs and badges that worked on it were changed", "yes", must_be=True),
                Field("police", "Report number, if it was stolen", required=False, max_length=80),
            ),
        ),
    ),
)

MACHINES = (DEVICE,)


def case_of_kiosk(writing: Session, kiosk: Kiosk, at: datetime) -> Case:
    """The kiosk's case; kiosks from before this history begin in the state they have."""
    venue = kiosk.door.venue
    return case_about(
        writing,
        DEVICE,
        kiosk.id.hex(),
        state=kiosk.state,
        at=at,
        title=f"{venue.name_zh} · {kiosk.name}",
        place=Place(venue.area.path, venue.id),
    )


def move_kiosk(writing: Session, kiosk: Kiosk, step: str, *, by: Person | str, at: datetime, reason: str = "") -> None:
    """Take *step* with the kiosk; raises CaseError."""
    take(writing, case_of_kiosk(writing, kiosk, at).id, step, by=by, at=at, reason=reason)


def note_contact(writing: Session, kiosk: Kiosk, at: datetime) -> None:
    """A kiosk spoke to us: with keys and a bundle it is provisioned, and since it works with them, in service."""
    if not kiosk.bundle_version:
        return
    by = f"kiosk:{kiosk.id.hex()}"
    for step, state in (("provision", "enrolled"), ("activate", "provisioned")):
        if kiosk.state == state:
            move_kiosk(writing, kiosk, step, by=by, at=at)
