"""The daily check of a venue as a workflow (SM-22): done by its kiosks or by hand, reminded of, escalated."""

from __future__ import annotations

from datetime import datetime, timedelta

from config.server import ServerSettings
from server.accounts.rights import Place
from server.accounts.roles import Act, Permission, Role
from server.cases.kernel import find, open_case
from server.cases.machine import Attempt, Clock, Field, Machine, State, Step, holders
from server.cases.models import Case
from server.faults.workflow import FAULT

DOES = holders(Permission.HELD_ENTRY, Act.PERFORM)  # operator, keeper and staff of the venue
ABOVE = holders(Permission.CODES, Act.APPROVE)
NOT_DONE = ("due", "missed", "reminded", "escalated")
PROBLEMS = (
    ("poster", "Poster"),
    ("camera", "Camera"),
    ("thermometer", "Thermometer"),
    ("gate", "Gate"),
    ("other", "Something else"),
)


def _open_fault(attempt: Attempt) -> None:
    """A problem found goes on as a fault; one that is open already stays the one."""
    case = attempt.case
    part = str(attempt.values.get("problem", "other"))
    key = f"check:{case.key}:{part}"
    if find(attempt.database, FAULT.name, key) is None:
        open_case(
            attempt.database,
            FAULT,
            by=attempt.actor,
            at=attempt.at,
            title=f"{case.venue.name_zh if case.venue else ''} · {dict(PROBLEMS).get(part, part)}",
            place=Place(case.area_path, case.venue_id),
            facts={"part": part, "what": "broken", "seen": str(attempt.values.get("seen", ""))},
            key=key,
        )


def _by_evening(case: Case, _settings: ServerSettings) -> datetime:
    return datetime.fromisoformat(case.facts["due_by"])


def _reminder(settings: ServerSettings) -> timedelta:
    return timedelta(hours=settings.cases.daily_check_reminder_hours)


PROBLEM_FIELDS = (
    Field("problem", "What is concerned", "choice", choices=PROBLEMS),
    Field("seen", "What you saw", "long", hint="No names, numbers or faces of visitors."),
)

DAILY_CHECK = Machine(
    name="daily_check",
    label="Daily checks",
    readers=DOES | holders(Permission.CODES, Act.READ),
    initial=("due",),
    states=(
        State("due", "To be done today", "wait"),
        State("done_ok", "Done, all well", "good", is_final=True),
        State("done_problem", "Done, something is wrong", "bad"),
        State("missed", "Missed", "bad"),
        State("reminded", "Reminded", "bad"),
        State("escalated", "Not done, escalated", "bad"),
        State("not_done", "Not done, explained", "off", is_final=True),
    ),
    steps=(
        Step("report_ok", "The kiosk tested itself: all well", NOT_DONE, "done_ok"),
        Step("report_problem", "The kiosk tested itself: something is wrong", NOT_DONE, "done_problem"),
        Step(
            "confirm_ok",
            "Checked: poster and device are well",
            NOT_DONE,
            "done_ok",
            roles=DOES,
            fields=(
                Field("poster", "The poster is whole, sharp and uncovered", "yes", must_be=True),
                Field("device", "The device works", "yes", must_be=True),
            ),
        ),
        Step(
            "confirm_problem",
            "Checked: something is wrong",
            NOT_DONE,
            "done_problem",
            roles=DOES,
            fields=PROBLEM_FIELDS,
            effect=_open_fault,
        ),
        Step("miss", "Not done by the evening", ("due",), "missed"),
        Step("remind", "Reminded", ("missed",), "reminded"),
        Step("escalate", "Still not done", ("reminded",), "escalated"),
        Step("settle", "It is put right", ("done_problem",), "done_ok", roles=DOES | ABOVE, needs_reason=True),
        Step("explain", "Accept why it was not done", ("escalated",), "not_done", roles=ABOVE, needs_reason=True),
    ),
    clocks=(
        Clock("today", runs_in=("due",), until=_by_evening, fires="miss"),
        Clock("reminder", runs_in=("missed",), after=lambda _settings: timedelta(0), fires="remind"),
        Clock(
            "answer",
            runs_in=("reminded",),
            after=_reminder,
            quiet=True,
            fires="escalate",
        ),
        Clock(
            "escalated",
            runs_in=("escalated",),
            after=lambda _settings: timedelta(0),
            escalates_to=frozenset({Role.STREET_ADMIN}),
        ),
    ),
)

MACHINES = (DAILY_CHECK,)
