"""Making accounts and setting passwords from the command line, audited like everything else."""

from __future__ import annotations

import re
import secrets
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from config.errors import GatehouseError
from server.accounts.models import RoleAssignment, User
from server.accounts.passwords import hash_password, weakness
from server.accounts.roles import Role
from server.areas.models import Area
from server.audit import Thing, audit
from server.venues.models import Venue

NAME_SHAPE = re.compile(r"[a-z0-9][a-z0-9._-]{1,63}")
# Roles that are worth nothing without a place, and those that are for oneself only (requirements.md A.2).
SELF_ROLES = frozenset({Role.RESIDENT, Role.ASSISTED_PERSON, Role.LANDLORD, Role.VOLUNTEER})
VENUE_ROLES = frozenset({Role.VENUE_OPERATOR, Role.VENUE_KEEPER, Role.VENUE_STAFF})


class AccountError(GatehouseError):
    """An account that cannot be made or changed as asked."""

    code = "account"


def first_password() -> str:
    """A password that can be read over the phone: four groups of four characters without look-alikes, 77 bits."""
    alphabet = "acdefhjkmnpqrtuvwxyz34679"
    return "-".join("".join(secrets.choice(alphabet) for _ in range(4)) for _ in range(4))


def create_user(
    writing: Session,
    *,
    name: str,
    display_name: str,
    role: Role,
    password: str,
    at: datetime,
    area_code: str | None = None,
    venue_id: bytes | None = None,
    must_change_password: bool = True,
) -> User:
    """Make an account with one role. Raises AccountError when the name is taken or the role lacks its scope."""
    if not NAME_SHAPE.fullmatch(name):
        raise AccountError(f"{name!r} is not a user name.", hint="Lower-case letters, digits, . _ - ; 2 to 64 of them.")
    if writing.scalar(select(User.id).where(User.name == name)) is not None:
        raise AccountError(f"The user name {name} is taken.", hint="Choose another one.")
    problem = weakness(password, name)
    if problem is not None:
        raise AccountError(problem, hint="Choose another one, or leave it out and one is made.")
    if role in VENUE_ROLES:
        if venue_id is None or area_code is not None:
            raise AccountError(f"The role {role.value} belongs to a venue.", hint="Give it with --venue.")
        if writing.get(Venue, venue_id) is None:
            raise AccountError(f"There is no venue {venue_id.hex()}.", hint="Its number stands in its page's address.")
    elif role in SELF_ROLES:
        if area_code is not None or venue_id is not None:
            raise AccountError(f"The role {role.value} has no area or venue.", hint="Leave --area and --venue out.")
    else:
        if area_code is None or venue_id is not None:
            raise AccountError(f"The role {role.value} belongs to an area.", hint="Give its code with --area.")
        if writing.get(Area, area_code) is None:
            raise AccountError(f"There is no area {area_code}.", hint="See: gatehouse admin import-areas")
    user = User(
        name=name,
        display_name=display_name,
        password=hash_password(password),
        must_change_password=must_change_password,
        created_at=at,
    )
    user.assignments = [RoleAssignment(role=role.value, area_code=area_code, venue_id=venue_id, starts_at=at)]
    writing.add(user)
    writing.flush()
    audit(writing, "account.created", Thing("user", user.id), role.value, at=at)
    return user


def set_password(writing: Session, name: str, password: str, *, at: datetime) -> None:
    """Set a first password anew and end every session of *name*. Raises AccountError."""
    user = writing.scalar(select(User).where(User.name == name))
    if user is None:
        raise AccountError(f"There is no user {name}.", hint="Names are lower case.")
    problem = weakness(password, name)
    if problem is not None:
        raise AccountError(problem, hint="Choose another one, or leave it out and one is made.")
    user.password, user.must_change_password = hash_password(password), True
    user.session_epoch += 1
    audit(writing, "account.password_set", Thing("user", user.id), at=at)
