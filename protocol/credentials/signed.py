"""From bytes to claims we may believe: COSE_Sign1 over CWT claims (RFC 8392), checked against the trust list."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from protocol.cbor import NO_TAGS, TAG_DATE_TIME_TEXT, CborError, decode_strict
from protocol.cose import CoseError, Sign1, parse1, verify1
from protocol.credentials.model import numeric_date
from protocol.credentials.policy import CheckPolicy
from protocol.credentials.reasons import Reason
from protocol.trust import TrustedKey, TrustList

CLAIM_ISS: Final = 1  # RFC 8392 4
CLAIM_SUB: Final = 2
CLAIM_EXP: Final = 4
CLAIM_NBF: Final = 5
CLAIM_IAT: Final = 6
CLAIM_CTI: Final = 7

FOREIGN_TAGS: Final = frozenset({TAG_DATE_TIME_TEXT})  # some issuers write date-times as tag 0


class Refused(Exception):
    """Raised inside a scheme to leave with a reason; `check` turns it into an answer, so callers never see it."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


_COSE_REASONS: Final = {
    "cose_critical": Reason.CRITICAL_HEADER,
    "cose_algorithm": Reason.ALGORITHM_NOT_ACCEPTED,
    "cose_signature": Reason.SIGNATURE_WRONG,
    "cose_key": Reason.ALGORITHM_NOT_ACCEPTED,
}


def parse_message(data: bytes) -> Sign1:
    """`protocol.cose.parse1`, with the refusal as a reason."""
    try:
        return parse1(data)
    except CoseError as error:
        raise Refused(_COSE_REASONS.get(error.code, Reason.BAD_STRUCTURE)) from error


def verify_message(message: Sign1, trust: TrustList, use: str, *, issuer: str | None = None) -> TrustedKey:
    """Verify with the keys of that key id, and no other, that may be used for *use*; returns the key that held.

    *issuer*: for schemes where key ids are only unique within an issuer, the issuer the message names.
    """
    named = trust.with_kid(message.kid)
    if issuer is not None:
        named = tuple(key for key in named if key.issuer == issuer)
    if not named:
        raise Refused(Reason.KEY_UNKNOWN)
    candidates = [key for key in named if use in key.uses]
    if not candidates:
        raise Refused(Reason.KEY_NOT_FOR_THIS)
    why = Reason.SIGNATURE_WRONG
    for key in candidates:
        try:
            verify1(message, key.public_key, alg=key.alg)
        except CoseError as error:
            why = _COSE_REASONS.get(error.code, Reason.BAD_STRUCTURE)
        else:
            return key
    raise Refused(why)


def claims_of(payload: bytes, *, foreign: bool = False) -> Mapping[object, object]:
    """The CWT claims map in *payload*. *foreign*: accept indefinite lengths and tag 0, which others write."""
    try:
        claims = decode_strict(payload, tags_allowed=FOREIGN_TAGS if foreign else NO_TAGS, allow_indefinite=foreign)
    except CborError as error:
        raise Refused(Reason.BAD_STRUCTURE) from error
    if not isinstance(claims, dict):
        raise Refused(Reason.BAD_STRUCTURE)
    return claims


def time_claim(claims: Mapping[object, object], label: object, *, required: bool = False) -> datetime | None:
    """A NumericDate claim as a time; None when it is absent (or null) and not required; refused when it is nonsense."""
    value = claims.get(label)
    if value is None:
        if required:
            raise Refused(Reason.CONTENT_WRONG)
        return None
    time = numeric_date(value)
    if time is None:
        raise Refused(Reason.CONTENT_WRONG)
    return time


def time_reasons(
    *, not_before: datetime | None, expires_at: datetime | None, at: datetime, policy: CheckPolicy
) -> list[Reason]:
    """EXPIRED or NOT_YET_VALID, with the policy's tolerance either way (RFC 8392 3.1.4, 3.1.5)."""
    reasons = []  # differences, not sums: a signed time may be the last that a datetime can hold
    if expires_at is not None and at - expires_at >= policy.clock_skew:
        reasons.append(Reason.EXPIRED)
    if not_before is not None and not_before - at > policy.clock_skew:
        reasons.append(Reason.NOT_YET_VALID)
    return reasons


def key_time_reasons(key: TrustedKey, *, at: datetime) -> list[Reason]:
    """KEY_EXPIRED or KEY_NOT_YET_VALID: whether *key* may be relied on at all at that time."""
    if key.not_after is not None and at > key.not_after:
        return [Reason.KEY_EXPIRED]
    if key.not_before is not None and at < key.not_before:
        return [Reason.KEY_NOT_YET_VALID]
    return []
