"""Who may see personal data: a pass that is in force and a signed agreement (R-47, R-126)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, and_, exists, select
from sqlalchemy.orm import Session

from server.accounts.models import User
from server.cases.models import Case

IN_FORCE = ("access_granted", "expiring")


def may_see_personal_data(reading: Session, user_id: str, now: datetime) -> bool:
    """Whether this account has passed, has signed, and the pass still holds at *now*."""
    case = reading.scalar(select(Case).where(Case.machine == "training", Case.key == user_id))
    return case is not None and case.state in IN_FORCE and valid_until(case) > now


def valid_until(case: Case) -> datetime:
    """When the pass of a training case ends; raises KeyError for one that was never passed."""
    return datetime.fromisoformat(case.facts["valid_until"])


def is_trained() -> ColumnElement[bool]:
    """The SQL condition over `User`: a pass was given and not withdrawn; the worker ends it within a minute."""
    return exists().where(and_(Case.machine == "training", Case.key == User.id, Case.state.in_(IN_FORCE)))
