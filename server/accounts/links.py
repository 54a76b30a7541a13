"""One-time links with which somebody chooses a password: for a new account, and for one that has lost its password."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from server.accounts import sessions
from server.accounts.models import PasswordLink, User
from server.accounts.passwords import hash_password
from server.audit import Thing, audit
from server.context import house

NO_PASSWORD = "!"  # noqa: S105  a stored hash that no password fits: the account waits for its link


def make_link(writing: Session, user: User, *, by: str | None, area_path: str) -> str:
    """A token for *user* that is good once, and void when a newer one is made; only its hash is kept."""
    now, token = house().now(), secrets.token_urlsafe(24)
    writing.execute(delete(PasswordLink).where(PasswordLink.user_id == user.id))
    hours = house().settings.accounts.link_hours
    writing.add(
        PasswordLink(key=_key(token), user_id=user.id, made_by=by, made_at=now, ends_at=now + timedelta(hours=hours))
    )
    audit(writing, "account.link_made", Thing("user", user.id, area_path), at=now)
    return token


def user_of_link(reading: Session, token: str, now: datetime) -> User | None:
    """Whose link *token* is; None when it is unknown, used, too old, or the account is disabled."""
    return reading.scalar(
        select(User)
        .join(PasswordLink, PasswordLink.user_id == User.id)
        .where(
            PasswordLink.key == _key(token), PasswordLink.used_at.is_(None), PasswordLink.ends_at > now, User.is_active
        )
    )


def use_link(writing: Session, token: str, password: str, now: datetime) -> bool:
    """Set the password that was chosen through a link and end every session of the account; False when it is void."""
    stored = hash_password(password)
    user = user_of_link(writing, token, now)
    if user is None:
        return False
    taken = writing.execute(
        update(PasswordLink)
        .where(PasswordLink.key == _key(token), PasswordLink.used_at.is_(None))
        .values(used_at=now)
        .returning(PasswordLink.user_id)
    )
    if taken.one_or_none() is None:
        return False
    user.password, user.must_change_password = stored, False
    sessions.end_all(writing, user.id)
    audit(writing, "account.password_changed", Thing("user", user.id), "one-time link", actor=user.id, at=now)
    return True


def _key(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
