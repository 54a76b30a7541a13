"""An order that holds records back (SM-21, legal hold): asked for by one person, put in force and ended by another."""

from __future__ import annotations

from datetime import date

from server.accounts.roles import Act, Permission, Role
from server.cases.machine import OPENED, Attempt, Field, Guard, Machine, State, Step, holders

ASKS = holders(Permission.PASSAGES, Act.READ)
DECIDES = holders(Permission.QUERY_APPROVE, Act.APPROVE)
SEES = frozenset({Role.DATA_OFFICER})


def _days_in_order(attempt: Attempt) -> bool:
    try:
        first, last = (date.fromisoformat(str(attempt.case.facts[name])) for name in ("first_day", "last_day"))
    except (KeyError, ValueError):
        return False
    return first <= last and (last - first).days <= 366


HOLD = Machine(
    name="hold",
    label="Legal holds",
    readers=ASKS | DECIDES | SEES,
    initial=("requested",),
    opens=ASKS,
    form=(
        Field("order", "The order or case that asks for it", hint="A reference, never a name."),
        Field("first_day", "First day of the passages", "date"),
        Field("last_day", "Last day of the passages", "date"),
    ),
    title_from="order",
    assigns=DECIDES,
    assignees=DECIDES,
    states=(
        State("requested", "Asked for", "wait"),
        State("in_force", "Held back", "bad"),
        State("refused", "Refused", "off", is_final=True),
        State("ended", "Ended", "off", is_final=True),
    ),
    steps=(
        Step(
            "impose",
            "Hold these records back",
            ("requested",),
            "in_force",
            roles=DECIDES,
            apart_from=(OPENED,),
            needs_reason=True,
            guards=(Guard("The last day stands before the first, or more than a year after it.", _days_in_order),),
            tells=("opener",),
            is_danger=True,
        ),
        Step("refuse", "Refuse", ("requested",), "refused", roles=DECIDES, needs_reason=True, tells=("opener",)),
        Step(
            "end",
            "End it: they are destroyed when due",
            ("in_force",),
            "ended",
            roles=DECIDES,
            needs_reason=True,
            tells=("opener",),
            is_work=False,
        ),
    ),
)
MACHINES = (HOLD,)
