"""Passwords: argon2id, one answer for every wrong sign-in, and delays that hit only who guesses."""

from __future__ import annotations

import secrets
from base64 import b64encode
from datetime import datetime, timedelta

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import ARGON2_VERSION
from argon2.profiles import RFC_9106_LOW_MEMORY
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from server.accounts.models import SignInDelay
from server.web.throttle import keyed_hash, upsert

MIN_CHARACTERS = 10
MAX_CHARACTERS = 200  # argon2 would take more; a megabyte of password is an attack
FREE_FAILURES = 3  # so many wrong passwords cost no waiting
LONGEST_WAIT_S = 60
FORGET_AFTER = timedelta(hours=1)

# RFC 9106 4, second recommendation: 64 MiB, 3 passes, 4 lanes; about 0.1 s, and OWASP asks for less.
hasher = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)


def _hash_of_nobody() -> str:
    """A stored hash in argon2's own form that no password was ever hashed to; checking it costs what any hash costs."""
    figures = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    salt, tag = (b64encode(secrets.token_bytes(n)).decode().rstrip("=") for n in (hasher.salt_len, hasher.hash_len))
    return f"$argon2id$v={ARGON2_VERSION}${figures}${salt}${tag}"


# Verified for names that do not exist, so that they take as long as names that do.
_NOBODY = _hash_of_nobody()


def hash_password(password: str) -> str:
    """The argon2id hash to store; see `weakness` for what may be hashed."""
    return hasher.hash(password)


def weakness(password: str, user_name: str) -> str | None:
    """Why *password* cannot be used, as a message, or None when it can."""
    if len(password) < MIN_CHARACTERS:
        return "A password has at least 10 characters."
    if len(password) > MAX_CHARACTERS:
        return "A password has at most 200 characters."
    if user_name and user_name.lower() in password.lower():
        return "A password must not contain the user name."
    if len(set(password)) < 5:
        return "This password repeats too few characters."
    return None


def is_right(stored: str | None, password: str) -> bool:
    """Whether *password* fits the *stored* hash; takes as long when there is none."""
    if stored is None or not stored.startswith("$argon2"):  # no such account, or one that has no password yet
        stored = None
    try:
        return hasher.verify(stored or _NOBODY, password[:MAX_CHARACTERS]) and stored is not None
    except (VerificationError, InvalidHashError):
        return False


def needs_rehash(stored: str) -> bool:
    """Whether *stored* was made with other argon2 figures than those in force; then hash anew while the password is
    known."""
    return hasher.check_needs_rehash(stored)


def pair_key(source: str, name: str) -> str:
    """The row that counts failures of *name* from *source*; a keyed hash, because an address is personal."""
    return keyed_hash("sign-in", source, name).hex()


def attempt(writing: Session, key: str, now: datetime) -> int:
    """Begin one attempt of this pair: 0, and it counts as failed until `note_success`; or the seconds to wait first.

    It is counted before the password is looked at, so that many guesses at the same moment are many guesses, too.
    """
    stale = select(SignInDelay.source_and_name).where(SignInDelay.wait_until < now - FORGET_AFTER).limit(50)
    writing.execute(delete(SignInDelay).where(SignInDelay.source_and_name.in_(stale)))
    fresh = upsert(writing)(SignInDelay).values(source_and_name=key, failures=0, wait_until=now)
    writing.execute(fresh.on_conflict_do_nothing())
    row = writing.scalars(select(SignInDelay).where(SignInDelay.source_and_name == key).with_for_update()).one()
    if row.wait_until > now:
        return max(1, int((row.wait_until - now).total_seconds() + 0.999))
    row.failures += 1
    wait_s = min(LONGEST_WAIT_S, 2 ** min(row.failures - FREE_FAILURES, 10)) if row.failures > FREE_FAILURES else 0
    row.wait_until = now + timedelta(seconds=wait_s)
    return 0


def note_success(writing: Session, key: str) -> None:
    """Forget the failures of this pair."""
    writing.execute(delete(SignInDelay).where(SignInDelay.source_and_name == key))
