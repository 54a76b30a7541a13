"""An operator's application for a venue code as a workflow (SM-01); the applicant never reviews it."""

from __future__ import annotations

from datetime import timedelta

from flask import url_for

from server.accounts.roles import Act, Permission, Role
from server.applications.deciding import carry_out, is_whole
from server.cases.machine import OPENED, Clock, Field, Guard, Machine, State, Step, holders

APPLY = holders(Permission.CODE_APPLY, Act.CREATE)
REVIEW = holders(Permission.CODES, Act.APPROVE)

# the three checks of a review (V-11)
CHECKS = (
    Field("is_true", "What it says is true", "yes", must_be=True),
    Field("is_complete", "All materials are there", "yes", must_be=True),
    Field("meets_conditions", "The venue meets the conditions of use", "yes", must_be=True),
)

WHOLE = Guard("Something is still missing.", is_whole)

APPLICATION = Machine(
    name="application",
    label="Applications for codes",
    readers=holders(Permission.CODES, Act.READ),
    initial=("draft",),
    page=lambda case: url_for("applications.show", application_id=case.key),
    states=(
        State("draft", "Draft", "off", readers=frozenset()),
        State("submitted", "Sent", "wait"),
        State("under_review", "Under review", "wait"),
        State("returned", "Returned to the applicant", "bad"),
        State("approved", "Approved", "good", is_final=True),
        State("withdrawn", "Withdrawn", "off", is_final=True),
    ),
    steps=(
        Step(
            "submit",
            "Send the application",
            ("draft",),
            "submitted",
            roles=APPLY,
            is_own=True,
            is_elsewhere=True,
            guards=(WHOLE,),
        ),
        Step("take_up", "Take it up", ("submitted",), "under_review", roles=REVIEW, apart_from=(OPENED,)),
        Step(
            "approve",
            "Approve",
            ("under_review",),
            "approved",
            roles=REVIEW,
            apart_from=(OPENED, "submit"),
            fields=CHECKS,
            is_elsewhere=True,  # where the materials are
            effect=carry_out,
            tells=("opener",),
        ),
        Step(
            "return",
            "Return it with the reason",
            ("under_review",),
            "returned",
            roles=REVIEW,
            apart_from=(OPENED, "submit"),
            needs_reason=True,
            tells=("opener",),
        ),
        Step("amend", "Amend it", ("returned",), "draft", roles=APPLY, is_own=True),
        Step(
            "withdraw",
            "Withdraw it",
            ("draft", "submitted", "under_review", "returned"),
            "withdrawn",
            roles=APPLY,
            is_own=True,
            is_work=False,
            is_danger=True,
        ),
    ),
    clocks=(
        Clock(
            "review",
            runs_in=("submitted", "under_review"),
            stands_in=("returned", "draft"),
            after=lambda settings: timedelta(days=settings.cases.review_days),
            escalates_to=frozenset({Role.DISTRICT_COMMAND}),
        ),
    ),
)

MACHINES = (APPLICATION,)
