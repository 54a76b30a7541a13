"""Registering, changing and withdrawing residents: each one domain step, audited in the same transaction."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from protocol.credentials.health_code import mask_name
from protocol.credentials.identity import Identity
from protocol.words import Colour
from server.accounts import sessions
from server.accounts.making import first_password
from server.accounts.models import RoleAssignment, User
from server.accounts.passwords import hash_password
from server.accounts.roles import Role
from server.areas.models import Area, Level
from server.audit import Thing, audit
from server.context import house
from server.db import new_id
from server.residents.codes import close_identity, open_identity
from server.residents.errors import ResidentError
from server.residents.models import HealthStatus, Resident

HOME_LEVELS = frozenset({Level.COMMUNITY.value, Level.GRID.value})  # whose workers look after residents
NO_PASSWORD = "-"  # noqa: S105 - an account that nobody can sign in with; never compared, the account is not active
NAME_DIGITS = "0123456789"
ALREADY = "A person with this number is registered already."


@dataclass(frozen=True, slots=True)
class Statement:
    """What a recorded fact makes of a resident's code."""

    colour: Colour
    lasts: timedelta


# The facts that may be recorded at the console and what follows; requirements.md SM-13: each with cause and end.
STATEMENTS: dict[str, Statement] = {
    "no_risk_known": Statement(Colour.GREEN, timedelta(days=7)),
    "test_negative": Statement(Colour.GREEN, timedelta(days=3)),
    "test_due": Statement(Colour.YELLOW, timedelta(days=3)),
    "returned_from_risk_area": Statement(Colour.YELLOW, timedelta(days=7)),
    "close_contact": Statement(Colour.RED, timedelta(days=7)),
    "test_positive": Statement(Colour.RED, timedelta(days=14)),
}


def number_tag(id_number: str) -> bytes:
    """By what a number is known to be registered already: keyed, so that the database tells no number."""
    return house().keys.resident_number_tag(id_number)


def registered(reading: Session, id_numbers: Iterable[str]) -> set[str]:
    """Those of *id_numbers* that belong to a registered resident, wherever they live."""
    tags = {number_tag(number): number for number in id_numbers}
    wanted = list(tags)
    found: set[str] = set()
    for start in range(0, len(wanted), 500):
        rows = reading.scalars(select(Resident.number_tag).where(Resident.number_tag.in_(wanted[start : start + 500])))
        found |= {tags[tag] for tag in rows if tag is not None}
    return found


def register(writing: Session, who: Identity, area: Area, source: str = "") -> Resident:
    """Register *who* in *area*, with an account that cannot sign in yet. Raises ResidentError.

    *source* is what the audit trail says of how ("import"); never anything about the person.
    """
    if area.level not in HOME_LEVELS:
        raise ResidentError("Residents are registered in a community or grid.", "area_code")
    if registered(writing, [who.id_number]):
        raise ResidentError(ALREADY, "id_number")
    now, identifier = house().now(), new_id()
    user = User(
        name=_free_name(writing),
        display_name=mask_name(who.name),
        password=NO_PASSWORD,
        is_active=False,
        must_change_password=True,
        created_at=now,
    )
    user.assignments = [RoleAssignment(role=Role.RESIDENT.value, starts_at=now)]
    writing.add(user)
    writing.flush()
    resident = Resident(id=identifier, user_id=user.id, created_at=now, area_code=area.code)
    resident.identity, resident.number_tag = close_identity(identifier, who), number_tag(who.id_number)
    writing.add(resident)
    writing.flush()
    audit(writing, "resident.created", Thing("resident", resident.id, area.path), source)
    return resident


def change(writing: Session, resident: Resident, area: Area, phone: str, before: Area) -> bool:
    """Let *resident* live in *area* and have *phone* (E.164 or empty); whether anything was changed.

    Raises ResidentError, and KeyStoreError when the identity does not open.
    """
    if area.level not in HOME_LEVELS:
        raise ResidentError("Residents are registered in a community or grid.", "area_code")
    who = open_identity(resident)
    if who.phone != phone:
        resident.identity = close_identity(resident.id, Identity(who.name, who.id_number, phone))
        audit(writing, "resident.phone_changed", Thing("resident", resident.id, area.path))
    moved = resident.area_code != area.code
    if moved:
        resident.area_code = area.code
        for place in (before, area):  # both sides read of it
            audit(
                writing,
                "resident.moved",
                Thing("resident", resident.id, place.path),
                f"{before.code} > {area.code}",
            )
    return moved or who.phone != phone


def state_fact(writing: Session, resident: Resident, area: Area, cause: str, *, by: str) -> HealthStatus:
    """Record a fact from now on. Raises ResidentError for one that is not in STATEMENTS."""
    fact = STATEMENTS.get(cause)
    if fact is None:
        raise ResidentError("Choose what is known.", "cause")
    now = house().now()
    row = HealthStatus(
        resident_id=resident.id,
        since=now,
        colour=int(fact.colour),
        cause=cause,
        expires_at=now + fact.lasts,
        set_by=by,
    )
    writing.add(row)
    writing.flush()
    audit(writing, "resident.status_set", Thing("resident", resident.id, area.path), cause)
    return row


def open_account(writing: Session, resident: Resident, area: Area) -> tuple[str, str]:
    """Give *resident* a user name and a first password for the page of their own; both are shown once.

    A second time makes a new password and ends every session: the way out when the slip was lost.
    """
    user, password = writing.get_one(User, resident.user_id), first_password()
    user.password, user.must_change_password, user.is_active = hash_password(password), True, True
    sessions.end_all(writing, user.id)
    audit(writing, "resident.account_opened", Thing("resident", resident.id, area.path))
    return user.name, password


def withdraw(writing: Session, resident: Resident, area: Area, reason: str) -> None:
    """End the registration for good: who it was is deleted at once, the account closes, nothing opens it again.

    The row stays without a person, because paper codes and the audit trail name it. The caller ends the paper codes.
    """
    now = house().now()
    resident.identity, resident.number_tag, resident.withdrawn_at = b"", None, now
    user = writing.get_one(User, resident.user_id)
    user.is_active, user.password, user.display_name = False, NO_PASSWORD, "—"
    sessions.end_all(writing, user.id)
    for assignment in user.assignments:
        assignment.ends_at = now
    audit(writing, "resident.withdrawn", Thing("resident", resident.id, area.path), reason)


def _free_name(reading: Session) -> str:
    while True:
        name = "r" + "".join(secrets.choice(NAME_DIGITS) for _ in range(9))
        if reading.scalar(select(User.id).where(User.name == name)) is None:
            return name
