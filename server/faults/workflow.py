"""Faults as a workflow (SM-15): who reports, takes, repairs, tests and closes them, and within which time."""

from __future__ import annotations

from datetime import timedelta

from server.accounts.roles import Act, Permission, Role
from server.cases.machine import Attempt, Clock, Field, Machine, State, Step, holders

PARTS = (
    ("camera", "Camera"),
    ("scanner", "Code scanner"),
    ("id_card", "ID card reader"),
    ("thermometer", "Thermometer"),
    ("gate", "Gate"),
    ("sound", "Sound"),
    ("network", "Network"),
    ("screen", "Screen"),
    ("poster", "Poster"),
    ("other", "Something else"),
)
KINDS = (("broken", "Broken"), ("wrong", "Gives wrong results"), ("slow", "Slow"), ("dirty", "Dirty"))

REPORT = holders(Permission.FAULT_REPORT, Act.CREATE)
DISPATCH = holders(Permission.FAULT_REPAIR, Act.FULL)
REPAIR = holders(Permission.FAULT_REPAIR, Act.PERFORM)
CONFIRM = holders(Permission.FAULT_REPAIR, Act.OWN) & frozenset(
    {Role.VENUE_OPERATOR, Role.VENUE_KEEPER, Role.VENUE_STAFF}
)
ABOVE = frozenset({Role.DISTRICT_COMMAND})


def _free(attempt: Attempt) -> None:
    """The same part may break again; that is another case then."""
    attempt.case.key = None


FAULT = Machine(
    name="fault",
    label="Faults",
    readers=holders(Permission.FAULT_REPAIR, Act.READ, Act.OWN, Act.PERFORM) | REPORT,
    initial=("reported",),
    opens=REPORT,
    form=(
        Field("part", "What is concerned", "choice", choices=PARTS),
        Field("what", "What is wrong with it", "choice", choices=KINDS),
        Field("seen", "What you saw", "long", hint="No names, numbers or faces of visitors."),
    ),
    title_from="part",
    assigns=DISPATCH,
    assignees=DISPATCH | REPAIR,
    states=(
        State("reported", "Reported", "bad"),
        State("substitute", "Reported; registered by hand meanwhile", "bad"),
        State("acknowledged", "Taken up", "wait"),
        State("dispatched", "Somebody is sent", "wait"),
        State("repairing", "Being repaired", "wait"),
        State("testing", "Being tested", "wait"),
        State("restored", "Works again", "good"),
        State("backfilled", "Entries made by hand have arrived", "good"),
        State("closed", "Closed", "off", is_final=True),
        State("mistaken", "No fault after all", "off", is_final=True),
    ),
    steps=(
        Step(
            "substitute",
            "We register by hand meanwhile",
            ("reported",),
            "substitute",
            roles=CONFIRM,
            is_work=False,
        ),
        Step(
            "acknowledge", "Take it up", ("reported", "substitute"), "acknowledged", roles=DISPATCH, tells=("opener",)
        ),
        Step(
            "dismiss",
            "No fault after all",
            ("reported", "substitute", "acknowledged"),
            "mistaken",
            roles=DISPATCH,
            needs_reason=True,
            effect=_free,
            tells=("opener",),
            is_work=False,
        ),
        Step(
            "dispatch",
            "Send somebody",
            ("acknowledged",),
            "dispatched",
            roles=DISPATCH,
            fields=(Field("due_on", "To be repaired by", "date", required=False),),
            due_from="due_on",
            tells=("assignee",),
        ),
        Step("repair", "Begin the repair", ("acknowledged", "dispatched"), "repairing", roles=REPAIR, by_assignee=True),
        Step(
            "test",
            "Repaired: test it",
            ("repairing",),
            "testing",
            roles=REPAIR,
            by_assignee=True,
            fields=(Field("done", "What was done", "long"),),
        ),
        Step("fail", "The test failed", ("testing",), "repairing", roles=REPAIR | CONFIRM, needs_reason=True),
        Step("restore", "The test was passed", ("testing",), "restored", roles=REPAIR | CONFIRM, tells=("opener",)),
        Step(
            "backfill",
            "Entries made by hand have arrived",
            ("restored",),
            "backfilled",
            roles=DISPATCH,
            is_work=False,
        ),
        Step(
            "close",
            "Close it",
            ("restored", "backfilled"),
            "closed",
            roles=DISPATCH,
            effect=_free,
            tells=("opener", "assignee"),
        ),
        Step("reopen", "It is broken again", ("restored", "backfilled"), "reported", roles=CONFIRM, needs_reason=True),
        # the kiosk says by itself that the part works again
        Step("heal", "The kiosk reports it works again", ("reported", "substitute", "acknowledged"), "restored"),
        Step("recur", "The kiosk reports it again", ("restored", "backfilled"), "reported"),
    ),
    clocks=(
        Clock(
            "response",
            runs_in=("reported", "substitute"),
            after=lambda settings: timedelta(hours=settings.cases.fault_response_hours),
            escalates_to=ABOVE,
        ),
        Clock(
            "repair",
            runs_in=("acknowledged", "dispatched", "repairing", "testing"),
            after=lambda settings: timedelta(hours=settings.cases.fault_repair_hours),
            escalates_to=ABOVE,
        ),
    ),
)

MACHINES = (FAULT,)
