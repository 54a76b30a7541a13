"""Something odd about looks, as a case of the data protection officer: asked about, and closed with what it was."""

from __future__ import annotations

from datetime import timedelta

from server.accounts.roles import Role
from server.anomalies.rules import Kind
from server.cases.machine import Clock, Field, Machine, State, Step

OFFICER = frozenset({Role.DATA_OFFICER})
KIND_NAMES: dict[Kind, str] = {
    Kind.BULK: "Many records read within a day",
    Kind.HOURS: "Looked at in the night",
    Kind.PERSON: "One person looked for again and again",
    Kind.PAIR: "Approved within seconds, every time",
    Kind.REFUSALS: "Refused again and again",
    Kind.UNKNOWN: "Opened without a look noted here",
    Kind.LOG: "The vault's log does not hold",
}
CAUSES = (
    ("in_order", "It was in order"),
    ("mistake", "A mistake; those concerned were told what to do otherwise"),
    ("fault", "A fault of the machines"),
    ("misuse", "Misuse; it goes on outside of this system"),
)

ANOMALY = Machine(
    name="anomaly",
    label="Odd looks",
    readers=OFFICER,
    initial=("found",),
    form=(
        Field("kind", "What is odd", "choice", choices=tuple((kind.value, name) for kind, name in KIND_NAMES.items())),
        Field("who", "Who or what it is about", required=False, is_personal=True),
        Field("count", "How often or how much", "number", required=False),
        Field("lines", "Lines of the vault's log", required=False),
    ),
    title_from="kind",
    states=(
        State("found", "Found", "bad"),
        State("asked", "Somebody was asked", "wait"),
        State("closed", "Closed", "off", is_final=True),
    ),
    steps=(
        Step("ask", "Ask those concerned", ("found",), "asked", roles=OFFICER, needs_reason=True),
        Step(
            "close",
            "Close with what it was",
            ("found", "asked"),
            "closed",
            roles=OFFICER,
            needs_reason=True,
            fields=(Field("cause", "What it was", "choice", choices=CAUSES),),
        ),
    ),
    clocks=(
        Clock(
            "asking",
            runs_in=("found", "asked"),
            after=lambda settings: timedelta(hours=settings.anomalies.answer_hours),
            escalates_to=OFFICER,
        ),
    ),
)
MACHINES = (ANOMALY,)
