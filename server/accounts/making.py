"""Making accounts and setting passwords, from the command line and from pages, audited like everything else."""

from __future__ import annotations

import re
import secrets
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from config.errors import GatehouseError
from server.accounts import sessions
from server.accounts.granting import Scope, check_scope, grant
from server.accounts.models import User
from server.accounts.passwords import hash_password, weakness
from server.accounts.roles import Role
from server.areas.models import Area
from server.audit import Thing, audit
from server.venues.models import Venue

NAME_SHAPE = re.compile(r"[a-z0-9][a-z0-9._-]{1,63}")


class AccountError(GatehouseError):
    """An account that cannot be made or changed as asked."""

    code = "account"


def first_password() -> str:
    """A password that can be read over the phone: four groups of four characters without look-alikes, 77 bits."""
    alphabet = "acdefhjkmnpqrtuvwxyz34679"
    return "-".join("".join(secrets.choice(alphabet) for _ in range(4)) for _ in range(4))


def make_account(
    writing: Session,
    *,
    name: str,
    display_name: str,
    stored_password: str,
    at: datetime,
    area_path: str,
    must_change_password: bool = False,
) -> User:
    """Make an account without any role. Raises AccountError when the name is taken or no name."""
    if not NAME_SHAPE.fullmatch(name):
        raise AccountError("This is not a user name.", hint="Take lower-case letters, digits, . _ - ; 2 to 64 of them.")
    if writing.scalar(select(User.id).where(User.name == name)) is not None:
        raise AccountError("This user name is taken.", hint="Choose another one.")
    user = User(
        name=name,
        display_name=display_name,
        password=stored_password,
        must_change_password=must_change_password,
        created_at=at,
    )
    writing.add(user)
    writing.flush()
    audit(writing, "account.created", Thing("user", user.id, area_path), at=at)
    return user


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
    ends_at: datetime | None = None,
) -> User:
    """Make an account with one role, as commands do.

    Raises AccountError when the name is taken or the password weak, GrantError when the role cannot be given like this.
    """
    check_scope(role, has_area=area_code is not None, has_venue=venue_id is not None)
    venue = writing.get(Venue, venue_id) if venue_id is not None else None
    if venue_id is not None and venue is None:
        raise AccountError(f"There is no venue {venue_id.hex()}.", hint="Its number stands in its page's address.")
    area = writing.get(Area, area_code) if area_code is not None else None
    if area_code is not None and area is None:
        raise AccountError(f"There is no area {area_code}.", hint="See: gatehouse admin import-areas")
    problem = weakness(password, name)
    if problem is not None:
        raise AccountError(problem, hint="Choose another one, or leave it out and one is made.")
    scope = Scope(area, venue)
    user = make_account(
        writing,
        name=name,
        display_name=display_name,
        stored_password=hash_password(password),
        at=at,
        area_path=scope.area_path,
        must_change_password=must_change_password,
    )
    grant(writing, user, role, scope, starts_at=at, ends_at=ends_at, by=None)
    return user


def user_named(reading: Session, name: str) -> User:
    """The account *name*; raises AccountError when there is none."""
    user = reading.scalar(select(User).where(User.name == name))
    if user is None:
        raise AccountError(f"There is no user {name}.", hint="Names are lower case.")
    return user


def set_password(writing: Session, name: str, password: str, *, at: datetime) -> None:
    """Set a first password anew and end every session of *name*. Raises AccountError."""
    user = user_named(writing, name)
    problem = weakness(password, name)
    if problem is not None:
        raise AccountError(problem, hint="Choose another one, or leave it out and one is made.")
    user.password, user.must_change_password = hash_password(password), True
    sessions.end_all(writing, user.id)
    audit(writing, "account.password_set", Thing("user", user.id), at=at)
