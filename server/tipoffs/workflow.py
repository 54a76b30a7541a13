"""Tip-offs as a workflow (SM-08): screened, verified, and either an inspection's findings or unfounded.

Who gave it is protected: the venue never sees one, and an anonymous one is opened by the system.
"""

from __future__ import annotations

from datetime import timedelta

from flask import url_for

from server.accounts.rights import Place
from server.accounts.roles import Act, Permission, Role
from server.audit import SYSTEM
from server.cases.kernel import open_case
from server.cases.machine import Attempt, Clock, Field, Guard, Machine, State, Step, holders

HANDLE = holders(Permission.FEEDBACK_HANDLE, Act.FULL)


HAS_VENUE = Guard("Say first which venue it is about.", lambda attempt: attempt.case.venue_id is not None)
NOT_OF_THE_VENUE = Guard(
    "You have a role in this venue, so somebody else has to handle it.",
    lambda attempt: (
        attempt.person is None
        or attempt.case.venue_id is None
        or all(grant.venue_id != attempt.case.venue_id for grant in attempt.person.grants)
    ),
)


def _open_inspection(attempt: Attempt) -> None:
    """A substantiated tip-off goes on as an inspection that begins with its findings."""
    from server.inspections.workflow import INSPECTION

    case = attempt.case
    made = open_case(
        attempt.database,
        INSPECTION,
        by=SYSTEM,
        at=attempt.at,
        title=case.title.partition(" · ")[0],  # the venue reads it: not what somebody told of
        place=Place(case.area_path, case.venue_id),
        state="findings",
        facts={"found": str(attempt.values.get("found", ""))},
    )
    case.facts = {**case.facts, "inspection": made.id}


TIP_OFF = Machine(
    name="tip_off",
    label="Tip-offs",
    readers=HANDLE | holders(Permission.FEEDBACK_HANDLE, Act.READ),
    initial=("received",),
    page=lambda case: url_for("tipoffs.show", case_id=case.id),
    assigns=HANDLE,
    assignees=HANDLE,
    states=(
        State("received", "Received", "wait"),
        State("screened", "Screened", "wait"),
        State("verifying", "Being verified", "wait"),
        State("substantiated", "True: goes on as an inspection", "bad"),
        State("unfounded", "Not confirmed", "off"),
        State("closed", "Closed", "off", is_final=True),
    ),
    steps=(
        Step("screen", "It concerns us: screen it", ("received",), "screened", roles=HANDLE, by_assignee=True),
        Step(
            "discard",
            "It does not concern us",
            ("received", "screened"),
            "closed",
            roles=HANDLE,
            needs_reason=True,
            is_work=False,
        ),
        Step("verify", "Verify it", ("screened",), "verifying", roles=HANDLE, by_assignee=True),
        Step(
            "substantiate",
            "It is true",
            ("verifying",),
            "substantiated",
            roles=HANDLE,
            by_assignee=True,
            guards=(HAS_VENUE, NOT_OF_THE_VENUE),
            fields=(Field("found", "What was found", "long", hint="No word of who told us.", max_length=2000),),
            effect=_open_inspection,
            tells=("opener",),
        ),
        Step(
            "reject",
            "It was not confirmed",
            ("verifying",),
            "unfounded",
            roles=HANDLE,
            by_assignee=True,
            guards=(NOT_OF_THE_VENUE,),
            needs_reason=True,
            tells=("opener",),
        ),
        Step(
            "close",
            "Close it; who told us was informed if reachable",
            ("substantiated", "unfounded"),
            "closed",
            roles=HANDLE,
            by_assignee=True,
            fields=(Field("answer", "What the person who told us is answered", "long", max_length=1000),),
        ),
    ),
    clocks=(
        Clock(
            "screening",
            runs_in=("received",),
            after=lambda settings: timedelta(hours=settings.cases.tip_off_hours),
            escalates_to=frozenset({Role.DISTRICT_COMMAND}),
        ),
    ),
)

MACHINES = (TIP_OFF,)
