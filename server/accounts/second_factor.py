"""The second factor: codes of an authenticator app (RFC 6238), recovery codes, and who needs one."""

from __future__ import annotations

import base64
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.orm import Session

from server.accounts.models import RecoveryCode, SignInPasskey, TotpSecret
from server.accounts.roles import Role
from server.context import house

STEP_S = 30  # RFC 6238 5.2
DIGITS = 6
SECRET_BYTES = 20  # RFC 4226 4: 160 bits, and what every app takes
STEPS_AROUND = 1  # the step before and after count, for phones whose clock is a little off (RFC 6238 5.2)
RECOVERY_CODES = 10
_ALPHABET = "abcdefghjkmnpqrtuvwxyz234679"  # without look-alikes; 12 letters are 57 bits


@dataclass(frozen=True, slots=True)
class Factors:
    """What an account can prove itself with beside the password."""

    has_app: bool
    passkeys: int
    codes_left: int

    @property
    def is_set_up(self) -> bool:
        """Whether the sign-in asks for a second factor; recovery codes alone are none."""
        return self.has_app or self.passkeys > 0


def is_required(roles: set[Role]) -> bool:
    """Whether somebody with *roles* may do nothing before a second factor is set up."""
    return bool({role.value for role in roles} & set(house().settings.accounts.second_factor_roles))


def factors_of(reading: Session, user_id: str) -> Factors:
    """The second factors of an account."""
    has_app, passkeys, codes = reading.execute(
        select(
            exists().where(TotpSecret.user_id == user_id, TotpSecret.confirmed_at.is_not(None)),
            select(func.count()).where(SignInPasskey.user_id == user_id).scalar_subquery(),
            select(func.count())
            .where(RecoveryCode.user_id == user_id, RecoveryCode.used_at.is_(None))
            .scalar_subquery(),
        )
    ).one()
    return Factors(bool(has_app), int(passkeys), int(codes))


def begin_app(writing: Session, user_id: str) -> None:
    """Make a new secret for an authenticator app; it counts once a first code has been right."""
    writing.execute(delete(TotpSecret).where(TotpSecret.user_id == user_id, TotpSecret.confirmed_at.is_(None)))
    sealed = house().keys.seal_account_secret(secrets.token_bytes(SECRET_BYTES), user_id=user_id)
    writing.add(TotpSecret(user_id=user_id, sealed=sealed, made_at=house().now()))


def app_address(row: TotpSecret, account_name: str) -> str:
    """The otpauth:// address that the app scans."""
    return _totp(row).get_provisioning_uri(account_name, "Gatehouse 门哨")


def app_secret(row: TotpSecret) -> str:
    """The secret to type where nothing can be scanned: base32 in groups of four."""
    text = base64.b32encode(house().keys.open_account_secret(row.sealed, user_id=row.user_id)).decode()
    return " ".join(text[n : n + 4] for n in range(0, len(text), 4))


def take_app_code(writing: Session, row: TotpSecret, code: str, now: datetime) -> bool:
    """Whether *code* is right now and was never used; it is used up by this, also against a second process."""
    given = "".join(code.split())
    if len(given) != DIGITS or not (given.isascii() and given.isdigit()):
        return False
    totp, step_now = _totp(row), int(now.timestamp()) // STEP_S
    for step in range(step_now - STEPS_AROUND, step_now + STEPS_AROUND + 1):
        if hmac.compare_digest(totp.generate(step * STEP_S), given.encode()):
            taken = writing.execute(
                update(TotpSecret)
                .where(TotpSecret.user_id == row.user_id, TotpSecret.last_step < step)
                .values(last_step=step)
                .returning(TotpSecret.user_id)
            )
            return taken.one_or_none() is not None
    return False


def make_recovery_codes(writing: Session, user_id: str) -> list[str]:
    """New recovery codes; those from before are void. They are in this answer and nowhere else."""
    writing.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    now, keys = house().now(), house().keys
    codes = ["".join(secrets.choice(_ALPHABET) for _ in range(12)) for _ in range(RECOVERY_CODES)]
    for code in codes:
        writing.add(RecoveryCode(key=keys.account_code_hash(user_id, code), user_id=user_id, made_at=now))
    return ["-".join(code[n : n + 4] for n in (0, 4, 8)) for code in codes]


def take_recovery_code(writing: Session, user_id: str, code: str, now: datetime) -> bool:
    """Whether *code* is an unused recovery code of *user_id*; it is used up by this."""
    given = "".join(letter for letter in code.lower() if letter.isalnum())[:40]
    taken = writing.execute(
        update(RecoveryCode)
        .where(
            RecoveryCode.key == house().keys.account_code_hash(user_id, given),
            RecoveryCode.user_id == user_id,
            RecoveryCode.used_at.is_(None),
        )
        .values(used_at=now)
        .returning(RecoveryCode.user_id)
    )
    return taken.one_or_none() is not None


def remove_all(writing: Session, user_id: str) -> None:
    """Remove app, passkeys and recovery codes of an account: its owner has lost them."""
    for table in (TotpSecret, SignInPasskey, RecoveryCode):
        writing.execute(delete(table).where(table.user_id == user_id))


def _totp(row: TotpSecret) -> TOTP:
    # SHA-1 is what RFC 6238 and every app mean by default; HMAC does not rest on collisions
    secret = house().keys.open_account_secret(row.sealed, user_id=row.user_id)
    return TOTP(secret, DIGITS, SHA1(), STEP_S, enforce_key_length=False)  # noqa: S303
