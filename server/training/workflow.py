"""Training and access as a workflow (SM-23): hours, a test, a pass, a signed agreement, and then personal data.

What opens personal data is the accounts' own gate (server/accounts/gates.py); this workflow tells it of passes and
signatures, and of what is withdrawn.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import update

from config.server import ServerSettings
from server.accounts.gates import record_pass, sign_agreement
from server.accounts.models import TrainingPass
from server.accounts.roles import Act, Permission, Role
from server.cases.machine import ABOUT, Attempt, Clock, Field, Guard, Machine, State, Step, holders
from server.cases.models import Case

TRAINS = holders(Permission.TRAINING, Act.FULL)

ENOUGH_HOURS = Guard(
    "The hours are fewer than the rules ask for.",
    lambda attempt: float(attempt.values.get("hours", 0)) >= attempt.settings.cases.training_min_hours,
    needs_values=True,
)
ENOUGH_MARKS = Guard(
    "The score is below the pass mark.",
    lambda attempt: float(attempt.case.facts.get("score", 0)) >= attempt.settings.accounts.training_pass_mark,
)
TOO_FEW_MARKS = Guard(
    "The score is at or above the pass mark.",
    lambda attempt: float(attempt.case.facts.get("score", 0)) < attempt.settings.accounts.training_pass_mark,
)

GOOD_ENOUGH = Guard(
    "The score is below the pass mark.",
    lambda attempt: float(attempt.values.get("score", 0)) >= attempt.settings.accounts.training_pass_mark,
    needs_values=True,
)


def _pass(attempt: Attempt) -> None:
    """The accounts' own gate learns of the pass; it opens nothing before the agreement is signed."""
    case = attempt.case
    score = int(float(attempt.values.get("score", case.facts.get("score", 0))))
    recorder = attempt.person.id if attempt.person is not None else None
    found = record_pass(attempt.database, _trainee(case), score, attempt.at, recorded_by=recorder)
    case.facts = {**case.facts, "valid_until": found.ends_at.isoformat()}


def _sign(attempt: Attempt) -> None:
    sign_agreement(attempt.database, _trainee(attempt.case), attempt.at)


def _withdraw(attempt: Attempt) -> None:
    """From now on no pass of this person holds."""
    attempt.database.execute(
        update(TrainingPass)
        .where(TrainingPass.user_id == _trainee(attempt.case), TrainingPass.ends_at > attempt.at)
        .values(ends_at=attempt.at)
    )


def _trainee(case: Case) -> str:
    assert case.person_id is not None  # the form opens none without an account
    return case.person_id


def _end(case: Case, _settings: ServerSettings) -> datetime | None:
    until = case.facts.get("valid_until")
    return datetime.fromisoformat(until) if until else None


def _notice(case: Case, settings: ServerSettings) -> datetime | None:
    until = _end(case, settings)
    return until - timedelta(days=settings.cases.training_notice_days) if until else None


TRAINING = Machine(
    name="training",
    label="Training and access",
    readers=holders(Permission.TRAINING, Act.READ),
    initial=("enrolled",),
    opens=TRAINS,
    form=(Field("account", "User name", "account", hint="Who is trained."), Field("course", "Course", max_length=80)),
    title_from="course",
    place="area",
    one_per_person=True,
    assigns=TRAINS,
    states=(
        State("enrolled", "Enrolled for training", "wait"),
        State("trained", "Trained", "wait"),
        State("tested", "Tested", "wait"),
        State("failed", "Failed", "bad"),
        State("passed", "Passed; the agreement is to be signed", "wait"),
        State("access_granted", "May see personal data", "good"),
        State("expiring", "Ends soon", "wait"),
        State("expired", "Ended", "bad"),
        State("withdrawn", "Access withdrawn", "bad"),
    ),
    steps=(
        Step(
            "train",
            "Note the hours",
            ("enrolled",),
            "trained",
            roles=TRAINS,
            apart_from=(ABOUT,),
            guards=(ENOUGH_HOURS,),
            fields=(Field("hours", "Hours of training", "number", least=0, most=1000),),
        ),
        Step(
            "test",
            "Note the score",
            ("trained",),
            "tested",
            roles=TRAINS,
            apart_from=(ABOUT,),
            fields=(Field("score", "Score", "number", least=0, most=100),),
        ),
        Step(
            "pass",
            "Passed",
            ("tested",),
            "passed",
            roles=TRAINS,
            apart_from=(ABOUT,),
            guards=(ENOUGH_MARKS,),
            effect=_pass,
            tells=("about",),
        ),
        Step(
            "fail",
            "Failed",
            ("tested",),
            "failed",
            roles=TRAINS,
            apart_from=(ABOUT,),
            guards=(TOO_FEW_MARKS,),
            tells=("about",),
        ),
        Step("retrain", "Train again", ("failed",), "enrolled", roles=TRAINS, apart_from=(ABOUT,)),
        Step(
            "sign",
            "Sign the confidentiality agreement",
            ("passed",),
            "access_granted",
            is_about=True,
            fields=(
                Field(
                    "agrees",
                    "I have read the confidentiality agreement and keep to it, also after my work here has ended.",
                    "yes",
                    must_be=True,
                ),
            ),
            effect=_sign,
        ),
        Step("fall_due", "The pass ends soon", ("access_granted",), "expiring", tells=("about",)),
        Step("end", "The pass has ended", ("expiring",), "expired", tells=("about",)),
        Step(
            "extend",
            "Refreshed: the pass goes on",
            ("expiring",),
            "access_granted",
            roles=TRAINS,
            apart_from=(ABOUT,),
            fields=(
                Field("hours", "Hours of training", "number", least=0, most=1000),
                Field("score", "Score", "number", least=0, most=100),
            ),
            guards=(GOOD_ENOUGH,),
            effect=_pass,
            tells=("about",),
        ),
        Step(
            "renew",
            "Enrol again",
            ("expired", "withdrawn"),
            "enrolled",
            roles=TRAINS,
            apart_from=(ABOUT,),
        ),
        Step(
            "withdraw",
            "Withdraw the access",
            ("access_granted", "expiring", "passed"),
            "withdrawn",
            roles=TRAINS,
            apart_from=(ABOUT,),
            needs_reason=True,
            is_work=False,
            is_danger=True,
            effect=_withdraw,
            tells=("about",),
        ),
    ),
    clocks=(
        Clock("notice", runs_in=("access_granted",), until=_notice, fires="fall_due"),
        Clock("end", runs_in=("expiring",), until=_end, fires="end", escalates_to=frozenset({Role.TRAINING_OFFICER})),
    ),
)

MACHINES = (TRAINING,)
