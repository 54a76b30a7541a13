"""The NZ COVID Pass (`NZCP:/1/`): a CWT whose key is named by issuer (a did:web) and key id together."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Final

from protocol.credentials.model import Checked, Credential, believed
from protocol.credentials.policy import CheckPolicy
from protocol.credentials.reasons import Reason
from protocol.credentials.signed import (
    CLAIM_CTI,
    CLAIM_EXP,
    CLAIM_ISS,
    CLAIM_NBF,
    Refused,
    claims_of,
    key_time_reasons,
    parse_message,
    time_claim,
    time_reasons,
    verify_message,
)
from protocol.trust import TrustList
from protocol.words import CredentialKind

PREFIX: Final = "NZCP:/"
VERSION_PREFIX: Final = "NZCP:/1/"
MAX_TEXT_CHARS: Final = 4300
VC_CONTEXT: Final = "https://www.w3.org/2018/credentials/v1"
VC_TYPES: Final = ("VerifiableCredential", "PublicCovidPass")
VC_VERSION: Final = "1.0.0"
MAX_NAME_CHARS: Final = 100

_BASE32: Final = re.compile(r"[A-Z2-7]*")


def check(text: str, trust: TrustList, *, at: datetime, policy: CheckPolicy) -> Checked:
    """Verify one pass (NZ COVID Pass technical specification 1). Raises Refused.

    (1) prefix and version, (2) base32, (3) COSE, (4) issuer, key and signature, (5) claims, (6) time. The issuer is
    read before it is verified, because a key id means something only within an issuer.
    """
    if len(text) > MAX_TEXT_CHARS:  # (1)
        raise Refused(Reason.TOO_LONG)
    if not text.startswith(VERSION_PREFIX):
        raise Refused(Reason.UNKNOWN_SCHEME)
    body = text[len(VERSION_PREFIX) :]
    if not _BASE32.fullmatch(body):  # (2)
        raise Refused(Reason.BAD_ENCODING)
    try:
        data = base64.b32decode(body + "=" * (-len(body) % 8))
    except binascii.Error as error:
        raise Refused(Reason.BAD_ENCODING) from error
    message = parse_message(data)  # (3)
    claims = claims_of(message.payload)
    issuer = claims.get(CLAIM_ISS)
    if not isinstance(issuer, str) or not issuer.startswith("did:web:"):
        raise Refused(Reason.CONTENT_WRONG)
    use = CredentialKind.NZ_COVID_PASS.value
    try:  # (4)
        key = verify_message(message, trust, use, issuer=issuer)
    except Refused as refusal:
        if refusal.reason is Reason.KEY_UNKNOWN and not any(key.issuer == issuer for key in trust.keys):
            raise Refused(Reason.ISSUER_UNKNOWN) from refusal
        raise
    cti, vc = claims.get(CLAIM_CTI), claims.get("vc")  # (5)
    if not isinstance(cti, bytes) or len(cti) != 16 or not _is_pass(vc):
        raise Refused(Reason.CONTENT_WRONG)
    assert isinstance(vc, dict)
    not_before, expires_at = time_claim(claims, CLAIM_NBF, required=True), time_claim(claims, CLAIM_EXP, required=True)
    credential = Credential(
        kind=CredentialKind.NZ_COVID_PASS,
        scheme="NZCP",
        issuer=issuer,
        kid=key.kid,
        not_before=not_before,
        expires_at=expires_at,
        cti=cti,
        claims=vc,
    )
    reasons = time_reasons(not_before=not_before, expires_at=expires_at, at=at, policy=policy)  # (6)
    return believed(credential, *reasons, *key_time_reasons(key, at=at))


def _is_pass(vc: object) -> bool:
    if not isinstance(vc, dict):
        return False
    context, types = vc.get("@context"), vc.get("type")
    return (
        isinstance(context, list)
        and context[:1] == [VC_CONTEXT]
        and isinstance(types, list)
        and tuple(types) == VC_TYPES
        and vc.get("version") == VC_VERSION
        and _is_subject(vc.get("credentialSubject"))
    )


def _is_subject(subject: object) -> bool:
    if not isinstance(subject, Mapping):
        return False
    given, family, born = subject.get("givenName"), subject.get("familyName"), subject.get("dob")
    if not isinstance(given, str) or len(given) > MAX_NAME_CHARS or not isinstance(born, str):
        return False
    if family is not None and (not isinstance(family, str) or len(family) > MAX_NAME_CHARS):
        return False
    try:
        return date.fromisoformat(born).isoformat() == born
    except ValueError:
        return False
