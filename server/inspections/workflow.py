"""Inspections as a workflow (SM-07): plan, visit, findings, an order with a deadline, re-check, or escalation."""

from __future__ import annotations

from datetime import timedelta

from flask import url_for

from server.accounts.roles import Act, Permission, Role
from server.cases.machine import Attempt, Clock, Field, Guard, Machine, State, Step, holders
from server.codes.issuing import suspend_by_order

PLAN = holders(Permission.INSPECTION, Act.FULL)
VISIT = holders(Permission.INSPECTION, Act.FULL, Act.PERFORM)
ORDER = holders(Permission.RECTIFICATION_ORDER, Act.APPROVE, Act.CREATE)
CLOSE = holders(Permission.RECTIFICATION_ORDER, Act.APPROVE)
ANSWER = holders(Permission.RECTIFICATION_ANSWER, Act.OWN)
VENUE = frozenset({Role.VENUE_OPERATOR, Role.VENUE_KEEPER})
SEES = PLAN | VISIT | CLOSE

# an inspector has no role in the inspected venue (A.3, cross-cutting rules)
NOT_THEIR_VENUE = Guard(
    "You have a role in this venue, so somebody else has to inspect it.",
    lambda attempt: not _works_there(attempt),
)
BY_DAY = Field("due_on", "To be put right by", "date")


def _works_there(attempt: Attempt) -> bool:
    somebody, venue_id = attempt.person, attempt.case.venue_id
    return somebody is not None and venue_id is not None and any(g.venue_id == venue_id for g in somebody.grants)


def _suspend_codes(attempt: Attempt) -> None:
    """The venue's codes are refused until the street lets them back."""
    if attempt.case.venue_id is not None:
        count = suspend_by_order(attempt.database, attempt.case.venue_id, attempt.reason)
        attempt.case.facts = {**attempt.case.facts, "suspended": count}


INSPECTION = Machine(
    name="inspection",
    label="Inspections",
    readers=SEES | ANSWER,
    initial=("planned", "findings"),  # a substantiated tip-off begins with its findings
    opens=PLAN,
    page=lambda case: url_for("inspections.show", case_id=case.id),
    form=(
        Field("sort", "What sort", "choice", choices=(("announced", "Announced"), ("unannounced", "Unannounced"))),
        Field("planned_on", "Day", "date"),
        Field("why", "What is looked at", "long", required=False),
    ),
    title_from="sort",
    assigns=PLAN,
    assignees=VISIT,
    states=(
        State("planned", "Planned", "wait", readers=SEES),
        State("started", "Under way", "wait", readers=SEES),
        State("recorded", "Recorded", "wait", readers=SEES),
        State("passed", "Passed", "good", is_final=True),
        State("findings", "Findings", "bad", readers=SEES),
        State("order_issued", "Order issued", "bad"),
        State("rectifying", "Being put right", "wait"),
        State("submitted", "Reported as put right", "wait"),
        State("rechecked", "Re-checked", "wait"),
        State("overdue", "The order's time is over", "bad"),
        State("escalated", "Code suspended, criticised", "bad"),
        State("closed", "Closed", "off", is_final=True),
        State("dropped", "Not carried out", "off", is_final=True, readers=SEES),
    ),
    steps=(
        Step(
            "start",
            "Begin the inspection",
            ("planned",),
            "started",
            roles=VISIT,
            by_assignee=True,
            guards=(NOT_THEIR_VENUE,),
        ),
        Step("drop", "Do not carry it out", ("planned",), "dropped", roles=PLAN, needs_reason=True, is_work=False),
        Step(
            "record",
            "Record what was found",
            ("started",),
            "recorded",
            roles=VISIT,
            by_assignee=True,
            guards=(NOT_THEIR_VENUE,),
            fields=(Field("found", "What was found", "long", max_length=4000),),
        ),
        Step("pass", "Nothing to put right", ("recorded",), "passed", roles=VISIT, by_assignee=True),
        Step("find", "There is something to put right", ("recorded",), "findings", roles=VISIT, by_assignee=True),
        Step(
            "order",
            "Order it to be put right",
            ("findings",),
            "order_issued",
            roles=ORDER,
            guards=(NOT_THEIR_VENUE,),
            fields=(Field("order", "What has to be put right", "long", max_length=4000), BY_DAY),
            due_from="due_on",
        ),
        Step("accept", "Acknowledge the order", ("order_issued",), "rectifying", roles=ANSWER),
        Step(
            "submit",
            "Report it as put right",
            ("order_issued", "rectifying", "overdue", "escalated"),
            "submitted",
            roles=ANSWER,
            fields=(Field("answer", "What was done", "long", max_length=4000),),
        ),
        Step(
            "recheck",
            "Re-check",
            ("submitted",),
            "rechecked",
            roles=VISIT,
            apart_from=("submit",),
            guards=(NOT_THEIR_VENUE,),
            fields=(Field("recheck", "What the re-check found", "long", max_length=4000),),
        ),
        Step(
            "reject",
            "It is not put right",
            ("rechecked",),
            "rectifying",
            roles=CLOSE,
            apart_from=("submit",),
            needs_reason=True,
            fields=(BY_DAY,),
            due_from="due_on",
        ),
        # who re-checked does not close, and neither does who answered
        Step("close", "Close it", ("rechecked",), "closed", roles=CLOSE, apart_from=("submit", "recheck")),
        Step("lapse", "The order's time is over", ("order_issued", "rectifying"), "overdue"),
        Step(
            "escalate",
            "Suspend the code and criticise",
            ("overdue",),
            "escalated",
            roles=CLOSE,
            needs_reason=True,
            is_danger=True,
            effect=_suspend_codes,
        ),
    ),
    clocks=(
        Clock(
            "order",
            runs_in=("order_issued", "rectifying"),
            stands_in=("submitted", "rechecked"),
            after=lambda settings: timedelta(days=settings.cases.rectify_days),
            fires="lapse",
        ),
        Clock(
            "overdue",
            runs_in=("overdue",),
            after=lambda settings: timedelta(days=1),
            escalates_to=frozenset({Role.DISTRICT_COMMAND, Role.CITY_COMMAND}),
        ),
    ),
)

MACHINES = (INSPECTION,)
