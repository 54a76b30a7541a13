"""Who may see personal data at all: a signed confidentiality agreement (R-47) and a valid training pass (R-126).

A role says what somebody may do and where; this gate says whether they may do any of it with other people's data.
Views that show such data carry `@personal` (server/web/access.py). Residents see their own without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from config.errors import GatehouseError
from server.accounts.models import AgreementSignature, TrainingPass, User
from server.accounts.rights import Person
from server.audit import Thing, audit
from server.context import house

AGREEMENT_VERSION = 1  # of templates/accounts/agreement.html; a new text asks everybody again


class GateError(GatehouseError):
    """A pass that cannot be recorded as asked."""

    code = "training"


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands between an account and personal data."""

    signed_at: datetime | None  # this version of the agreement
    passed_until: datetime | None  # the training pass that holds longest; None: none holds now

    @property
    def may_see_personal(self) -> bool:
        """Whether both are there."""
        return self.signed_at is not None and self.passed_until is not None


def standing_of(reading: Session, user_id: str, now: datetime) -> Standing:
    """Agreement and training of an account at *now*."""
    signed = reading.get(AgreementSignature, (user_id, AGREEMENT_VERSION))
    until = reading.scalar(
        select(func.max(TrainingPass.ends_at)).where(
            TrainingPass.user_id == user_id, TrainingPass.ends_at > now, TrainingPass.passed_at <= now
        )
    )
    return Standing(signed.signed_at if signed else None, until)


def may_see_personal(user: Person | User) -> bool:
    """Whether *user* has signed the agreement in force and holds a training pass that is valid now."""
    with house().database.reading() as reading:
        return standing_of(reading, user.id, house().now()).may_see_personal


def sign_agreement(writing: Session, user_id: str, at: datetime) -> None:
    """Record that *user_id* has signed the agreement in force; twice is once."""
    if writing.get(AgreementSignature, (user_id, AGREEMENT_VERSION)) is None:
        writing.add(AgreementSignature(user_id=user_id, version=AGREEMENT_VERSION, signed_at=at))
        writing.flush()
        audit(writing, "agreement.signed", Thing("user", user_id), f"version {AGREEMENT_VERSION}", at=at)


def record_pass(writing: Session, user_id: str, score: int, at: datetime, *, recorded_by: str | None) -> TrainingPass:
    """Record a passed exam on personal data; it holds for accounts.training_valid_days.

    Raises GateError for a score under the pass mark, and when somebody records their own.
    """
    settings = house().settings.accounts
    if recorded_by == user_id:
        raise GateError("Nobody records their own training.", hint="Ask the training officer of your area.")
    if not settings.training_pass_mark <= score <= 100:
        raise GateError("This score does not pass.", hint="Train again; nothing was recorded.")
    row = TrainingPass(
        user_id=user_id,
        score=score,
        passed_at=at,
        ends_at=at + timedelta(days=settings.training_valid_days),
        recorded_by=recorded_by,
    )
    writing.add(row)
    writing.flush()
    audit(writing, "training.passed", Thing("user", user_id), f"score {score}", at=at)
    return row
