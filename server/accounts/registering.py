"""Whoever runs a venue makes their own account, good for nothing but applying for its code (SM-01).

The server gives the user name. Nothing that a stranger types is looked up anywhere, so no answer can tell who has an
account: not by its words, and not by how long it takes. What they say about themselves is sealed, shown to who reviews
their application, and forgotten with an account that was never used.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, exists, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from server.accounts.granting import Scope, end_grant, grant
from server.accounts.making import make_account
from server.accounts.models import (
    AccountSession,
    AgreementSignature,
    OperatorRegistration,
    PasswordLink,
    RecoveryCode,
    RoleAssignment,
    SignInPasskey,
    TotpSecret,
    TrainingPass,
    User,
)
from server.accounts.roles import Role
from server.areas.models import Area
from server.audit import SYSTEM, Thing, audit
from server.cases.models import Case
from server.context import House, house
from server.web.language import version_of
from server.web.throttle import Throttle

# Registrations of one source. It counts nobody else: not a phone number, not an area, not everybody together.
REGISTRATIONS = Throttle("registration", 10, timedelta(hours=1))

EFFECTIVE: Final = "2026-11"
# P-03, V-29: who, what for, what, who sees it, how long, which rights
NOTICE: Final = (
    "Collected by the local disease control authority, to decide on codes for your venue and for nothing else.",
    "We keep what you type below and when you sent it. Your name is shown beside what you do here; phone and unit are "
    "kept encrypted and shown to who reviews your application.",
    "The account can apply for codes in the area you choose and see its own applications. It can do nothing else.",
    "An account that begins no application is forgotten after some days, with everything you typed.",
    "You may have wrong data put right or the account closed: ask the street office of this area.",
)

_ALPHABET = "acdefhjkmnpqrtuvwxyz34679"  # without look-alikes, as first passwords: the name is copied by hand
AT_ONCE = 200  # accounts that one run forgets
# What an account that was never used may have of its own; it goes with the account.
OWN = (
    AccountSession,
    TotpSecret,
    RecoveryCode,
    SignInPasskey,
    PasswordLink,
    AgreementSignature,
    TrainingPass,
    RoleAssignment,
    OperatorRegistration,
)


@dataclass(frozen=True, slots=True)
class Operator:
    """What somebody said about themselves; nobody has checked it."""

    name: str
    phone: str
    unit: str


def notice_version() -> str:
    """The version that is recorded with each registration."""
    return version_of(EFFECTIVE, NOTICE)


def register(writing: Session, said: Operator, area: Area, stored_password: str, at: datetime) -> User:
    """Make the account of an applicant in *area*; its name is ours. The caller has shown the notice and counted."""
    name = f"op-{_letters(4)}-{_letters(4)}"
    while writing.scalar(select(User.id).where(User.name == name)) is not None:
        name = f"op-{_letters(4)}-{_letters(4)}"
    user = make_account(
        writing, name=name, display_name=said.name, stored_password=stored_password, at=at, area_path=area.path
    )
    grant(writing, user, Role.APPLICANT, Scope(area), starts_at=at, ends_at=None, by=None)
    sealed = house().keys.seal_file(json.dumps(asdict(said)).encode(), file_id=_bound_to(user.id))
    writing.add(OperatorRegistration(user_id=user.id, sealed=sealed, notice=notice_version(), at=at))
    writing.flush()
    audit(writing, "account.registered", Thing("user", user.id, area.path), f"notice {notice_version()}", at=at)
    return user


@dataclass(frozen=True, slots=True)
class Registered:
    """A registration in clear."""

    said: Operator
    at: datetime


def registration_of(reading: Session, user_id: str) -> Registered | None:
    """What *user_id* said when they registered; None for accounts that somebody else made. Raises KeyStoreError."""
    row = reading.get(OperatorRegistration, user_id)
    if row is None:
        return None
    return Registered(Operator(**json.loads(house().keys.open_file(row.sealed, file_id=_bound_to(user_id)))), row.at)


def end_applying(writing: Session, user_id: str) -> None:
    """An applicant has a venue now; what they may do follows from that one."""
    now = house().now()
    rows = select(RoleAssignment).where(
        RoleAssignment.user_id == user_id,
        RoleAssignment.role == Role.APPLICANT.value,
        or_(RoleAssignment.ends_at.is_(None), RoleAssignment.ends_at > now),
    )
    for row in writing.scalars(rows):
        end_grant(writing, row, "by application")


def forget_unused(house: House) -> int:
    """Forget accounts that were registered `accounts.registration_days` ago and have begun nothing; how many."""
    before = house.now() - timedelta(days=house.settings.accounts.registration_days)
    other_role = exists().where(RoleAssignment.user_id == User.id, RoleAssignment.role != Role.APPLICANT.value)
    unused = (
        select(User.id)
        .join(OperatorRegistration, OperatorRegistration.user_id == User.id)
        .where(OperatorRegistration.at < before, ~other_role)
        .where(~exists().where(or_(Case.opened_by == User.id, Case.person_id == User.id)))
        .order_by(OperatorRegistration.at)
        .limit(AT_ONCE)
    )
    with house.database.reading() as reading:
        found = list(reading.scalars(unused))
    return sum(_forget(house, user_id) for user_id in found)


def _forget(house: House, user_id: str) -> bool:
    try:
        with house.database.writing() as writing:
            for table in OWN:
                writing.execute(delete(table).where(table.user_id == user_id))
            writing.execute(delete(User).where(User.id == user_id))
            audit(writing, "account.forgotten", Thing("user", user_id), "never used", actor=SYSTEM, at=house.now())
    except IntegrityError:  # they began something just now, or somebody did something with the account
        return False
    return True


def _bound_to(user_id: str) -> str:
    return f"{user_id} registration"


def _letters(count: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(count))
