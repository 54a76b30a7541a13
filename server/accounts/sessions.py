"""Sessions of signed-in people: rows in the database, so that any web process knows them and anyone can end theirs.

The cookie holds a random token, the row its hash: a copied database signs nobody in. A token is never kept across a
change of power: signing in, passing the second factor and choosing a password each begin a new session, so that
nothing planted in a browser before is worth anything after.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import Enum

from flask import request
from flask import session as cookie
from sqlalchemy import delete, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from server.accounts.models import AccountSession, User
from server.context import house

TOKEN = "session"  # noqa: S105  its name in the cookie
HALF_LIFE = timedelta(minutes=10)  # between password and second factor
SEEN_EVERY = timedelta(minutes=2)  # how fine "last seen" is: at most one write in so long
MAX_SESSIONS = 30  # of one account; the oldest ends first

_BROWSERS = (("Edg/", "Edge"), ("Firefox/", "Firefox"), ("MicroMessenger", "WeChat"), ("Chrom", "Chrome"))
_SYSTEMS = (("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"), ("Mac OS", "Mac"))


class Method(Enum):
    """How a session was opened."""

    PASSWORD = "password"  # noqa: S105
    TOTP = "totp"
    RECOVERY = "recovery"
    PASSKEY = "passkey"


METHOD_NAMES: dict[str, str] = {
    Method.PASSWORD.value: "Password",
    Method.TOTP.value: "Password and app",
    Method.RECOVERY.value: "Password and recovery code",
    Method.PASSKEY.value: "Passkey",
}


def begin(writing: Session, user_id: str, method: Method, *, is_complete: bool = True) -> None:
    """Open a session for *user_id* in the browser of this request; what the browser held before is forgotten.

    One that is not complete waits for the second factor and opens nothing until then.
    """
    now, settings = house().now(), house().settings
    end_current(writing)
    cookie.clear()
    token = secrets.token_urlsafe(32)
    cookie[TOKEN] = token
    cookie.permanent = True
    writing.execute(delete(AccountSession).where(AccountSession.ends_at <= now))
    row = AccountSession(
        key=_key(token),
        user_id=user_id,
        method=method.value,
        is_complete=is_complete,
        browser=browser_name(request.user_agent.string),
        started_at=now,
        seen_at=now,
        ends_at=now + (timedelta(hours=settings.session_hours) if is_complete else HALF_LIFE),
    )
    writing.add(row)
    writing.flush()
    oldest = (
        select(AccountSession.id)
        .where(AccountSession.user_id == user_id)
        .order_by(AccountSession.started_at.desc(), AccountSession.id)
        .offset(MAX_SESSIONS)
    )
    writing.execute(delete(AccountSession).where(AccountSession.id.in_(oldest)))


def find(reading: Session) -> tuple[AccountSession, User] | None:
    """The session of this request's browser with its account; None when there is none, or it is over."""
    token = cookie.get(TOKEN)
    if not isinstance(token, str):
        return None
    now = house().now()
    idle = timedelta(minutes=house().settings.accounts.idle_minutes)
    row = reading.execute(
        select(AccountSession, User)
        .join(User, User.id == AccountSession.user_id)
        .where(
            AccountSession.key == _key(token),
            AccountSession.ends_at > now,
            AccountSession.seen_at > now - idle,
            User.is_active,
        )
    ).one_or_none()
    return (row[0], row[1]) if row is not None else None


def note_seen(row: AccountSession) -> None:
    """Note that this session was used just now; at most one short write every two minutes, and none if the database
    is too busy for it: a page that only shows something must not fail for that."""
    now = house().now()
    if now - row.seen_at < SEEN_EVERY:
        return
    try:
        with house().database.writing() as writing:
            writing.execute(update(AccountSession).where(AccountSession.id == row.id).values(seen_at=now))
    except OperationalError:
        return


def end_current(writing: Session) -> None:
    """End the session of this request's browser, if it has one."""
    token = cookie.get(TOKEN)
    if isinstance(token, str):
        writing.execute(delete(AccountSession).where(AccountSession.key == _key(token)))


def end_one(writing: Session, user_id: str, session_id: str) -> bool:
    """End one session of *user_id*; False when they have no such session."""
    done = writing.execute(
        delete(AccountSession)
        .where(AccountSession.id == session_id, AccountSession.user_id == user_id)
        .returning(AccountSession.id)
    )
    return done.one_or_none() is not None


def end_all(writing: Session, user_id: str | None = None) -> int:
    """End every session of *user_id*, or of everybody; returns how many there were."""
    rows = delete(AccountSession).returning(AccountSession.id)
    return len(writing.execute(rows.where(AccountSession.user_id == user_id) if user_id else rows).all())


def open_sessions(reading: Session, user_id: str) -> Sequence[AccountSession]:
    """The sessions of *user_id* that are in force, newest first."""
    now: datetime = house().now()
    idle = timedelta(minutes=house().settings.accounts.idle_minutes)
    return reading.scalars(
        select(AccountSession)
        .where(
            AccountSession.user_id == user_id,
            AccountSession.is_complete,
            AccountSession.ends_at > now,
            AccountSession.seen_at > now - idle,
        )
        .order_by(AccountSession.seen_at.desc(), AccountSession.id)
    ).all()


def everywhere(reading: Session, user_id: str | None = None) -> Sequence[tuple[AccountSession, str]]:
    """The sessions in force, of one account or of all, each with its user name; the last used first."""
    now = house().now()
    idle = timedelta(minutes=house().settings.accounts.idle_minutes)
    rows = (
        select(AccountSession, User.name)
        .join(User, User.id == AccountSession.user_id)
        .where(AccountSession.is_complete, AccountSession.ends_at > now, AccountSession.seen_at > now - idle)
        .order_by(AccountSession.seen_at.desc(), AccountSession.id)
    )
    found = reading.execute(rows.where(AccountSession.user_id == user_id) if user_id else rows)
    return [(session, name) for session, name in found]


def browser_name(agent: str) -> str:
    """What a browser is, in a few words of ours: enough to know one's own, nothing to follow anybody by."""
    browser = next((name for mark, name in _BROWSERS if mark in agent), "Safari" if "Safari/" in agent else "")
    system = next((name for mark, name in _SYSTEMS if mark in agent), "Linux" if "Linux" in agent else "")
    return ", ".join(part for part in (browser, system) if part) or "?"


def _key(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()  # 256 random bits need no slower hash
