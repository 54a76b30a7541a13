"""Passwords: argon2id, one answer for every wrong sign-in, and delays that hit only who guesses."""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime, timedelta

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY
from sqlalchemy import delete
from sqlalchemy.orm import Session

from server.accounts.models import SignInDelay

MIN_CHARACTERS = 10
MAX_CHARACTERS = 200  # argon2 would take more; a megabyte of password is an attack
FREE_FAILURES = 3  # so many wrong passwords cost no waiting
LONGEST_WAIT_S = 60
FORGET_AFTER = timedelta(hours=1)

hasher = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)

# Verified for names that do not exist, so that they take as long as names that do. No password fits it.
_NOBODY = hasher.hash("nobody has this password: " + "*" * 40)


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
    try:
        return hasher.verify(stored or _NOBODY, password[:MAX_CHARACTERS]) and stored is not None
    except (VerificationError, InvalidHashError):
        return False


def pair_key(secret: bytes, source: str, name: str) -> str:
    """The row that counts failures of *name* from *source*; a keyed hash, because an address is personal."""
    return hmac.new(secret, f"sign-in\0{source}\0{name}".encode(), hashlib.sha256).hexdigest()


def seconds_to_wait(reading: Session, key: str, now: datetime) -> int:
    """How many seconds this pair still has to wait; 0 when it may try now."""
    row = reading.get(SignInDelay, key)
    return max(0, int((row.wait_until - now).total_seconds() + 0.999)) if row else 0


def note_failure(writing: Session, key: str, now: datetime) -> None:
    """Count one more wrong sign-in of this pair; forget pairs that have been quiet for an hour."""
    writing.execute(delete(SignInDelay).where(SignInDelay.wait_until < now - FORGET_AFTER))
    row = writing.get(SignInDelay, key)
    if row is None:
        row = SignInDelay(source_and_name=key, failures=0, wait_until=now)
        writing.add(row)
    row.failures += 1
    wait_s = min(LONGEST_WAIT_S, 2 ** min(row.failures - FREE_FAILURES, 10)) if row.failures > FREE_FAILURES else 0
    row.wait_until = now + timedelta(seconds=wait_s)


def note_success(writing: Session, key: str) -> None:
    """Forget the failures of this pair."""
    writing.execute(delete(SignInDelay).where(SignInDelay.source_and_name == key))
