"""Passkeys to sign in with (WebAuthn): making one, and being signed in by one, without believing the browser."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from datetime import datetime, timedelta

from flask import session as cookie
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from webauthn import verify_authentication_response, verify_registration_response
from webauthn.helpers import parse_authentication_credential_json
from webauthn.helpers.exceptions import WebAuthnException

from config.server import ServerSettings
from server.accounts.models import SignInPasskey, UsedChallenge, User
from server.context import house

MAX_PASSKEYS = 10
CHALLENGE_LIFE = timedelta(minutes=10)
_PLACE = "sign_in_challenge"


class PasskeyError(Exception):
    """What came from the browser is not a passkey of ours; the message is for the log, never for the page."""


def relying_party(settings: ServerSettings) -> str:
    """The host that passkeys are bound to."""
    return settings.host.rsplit(":", 1)[0]


def new_challenge() -> str:
    """A fresh challenge for this browser, as base64url for the page; kept in the signed cookie with its time."""
    challenge = secrets.token_bytes(32)
    cookie[_PLACE] = [challenge.hex(), int(house().now().timestamp())]
    return b64url(challenge)


def taken_challenge() -> bytes:
    """The challenge that this browser was given, once; raises PasskeyError when there is none or it is too old."""
    try:
        text, made_s = cookie.pop(_PLACE, ("", 0))
        challenge, age_s = bytes.fromhex(text), house().now().timestamp() - made_s
    except (ValueError, TypeError):
        raise PasskeyError("no challenge") from None
    if not -60 <= age_s <= CHALLENGE_LIFE.total_seconds():
        raise PasskeyError("challenge too old")
    return challenge


def register(writing: Session, user_id: str, credential: str, name: str) -> SignInPasskey:
    """Keep the passkey that the browser made. Raises PasskeyError."""
    settings, challenge = house().settings, taken_challenge()
    if len(passkeys_of(writing, user_id)) >= MAX_PASSKEYS:
        raise PasskeyError("too many")
    try:
        made = verify_registration_response(
            credential=json.loads(credential),
            expected_challenge=challenge,
            expected_rp_id=relying_party(settings),
            expected_origin=settings.public_url,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError) as error:
        raise PasskeyError("not a registration") from error
    row = SignInPasskey(
        user_id=user_id,
        credential_id=made.credential_id,
        public_key=made.credential_public_key,
        sign_count=made.sign_count,
        name=name,
        made_at=house().now(),
    )
    writing.add(row)
    try:
        writing.flush()
    except IntegrityError as error:
        raise PasskeyError("known already") from error
    return row


def verify(writing: Session, credential: str, now: datetime) -> User:
    """Whose passkey has signed this browser's challenge just now. Raises PasskeyError. The steps:

    (1) the challenge is ours, fresh and unused, (2) the passkey is known and its account active, (3) signature, origin,
    host and user verification hold, (4) its counter has not gone back, (5) the challenge is used up for ever.
    """
    settings, challenge = house().settings, taken_challenge()  # (1)
    try:
        asked = parse_authentication_credential_json(credential)
    except (WebAuthnException, ValueError, KeyError, TypeError) as error:
        raise PasskeyError("not an assertion") from error
    row = writing.execute(  # (2)
        select(SignInPasskey, User)
        .join(User, User.id == SignInPasskey.user_id)
        .where(SignInPasskey.credential_id == asked.raw_id, User.is_active)
    ).one_or_none()
    if row is None:
        raise PasskeyError("unknown passkey")
    passkey, user = row
    try:
        done = verify_authentication_response(  # (3) (4)
            credential=asked,
            expected_challenge=challenge,
            expected_rp_id=relying_party(settings),
            expected_origin=settings.public_url,
            credential_public_key=passkey.public_key,
            credential_current_sign_count=passkey.sign_count,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError) as error:
        raise PasskeyError("the signature does not hold") from error
    key = hashlib.sha256(challenge).digest()  # (5)
    writing.execute(delete(UsedChallenge).where(UsedChallenge.ends_at < now))
    if writing.get(UsedChallenge, key) is not None:
        raise PasskeyError("challenge used before")
    writing.add(UsedChallenge(key=key, ends_at=now + CHALLENGE_LIFE + timedelta(minutes=5)))
    passkey.sign_count, passkey.used_at = done.new_sign_count, now
    try:
        writing.flush()
    except IntegrityError as error:
        raise PasskeyError("challenge used before") from error
    found: User = user
    return found


def passkeys_of(reading: Session, user_id: str) -> list[SignInPasskey]:
    """The passkeys of an account, oldest first."""
    rows = select(SignInPasskey).where(SignInPasskey.user_id == user_id).order_by(SignInPasskey.made_at)
    return list(reading.scalars(rows))


def b64url(data: bytes) -> str:
    """Base64url without padding, as pages hand bytes to the browser."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
