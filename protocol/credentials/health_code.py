"""The dynamic health code: minutes of life, an issuer's colour, a masked name, and a name only the vault can read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from protocol.cose import PrivateKey, Sign1
from protocol.credentials import jk1
from protocol.credentials.model import Checked, Credential, TestFact, TestKind, TestResult, believed, numeric_date
from protocol.credentials.policy import CheckPolicy
from protocol.credentials.reasons import Reason
from protocol.credentials.signed import (
    CLAIM_CTI,
    CLAIM_EXP,
    CLAIM_IAT,
    CLAIM_ISS,
    Refused,
    key_time_reasons,
    time_claim,
    time_reasons,
    verify_message,
)
from protocol.errors import ProtocolError
from protocol.trust import TrustList
from protocol.words import Colour, CredentialKind

LIFE: Final = timedelta(minutes=5)
MAX_NAME_CHARS: Final = 40
MAX_SEALED_BYTES: Final = 200


def mask_name(name: str) -> str:
    """First and last character with a star between (V-21's masking): 李* for two characters, 欧*娜 for more.

    Latin names keep their first and last letter only. An empty name stays empty.
    """
    name = " ".join(name.split())
    if len(name) <= 1:
        return name
    return f"{name[0]}*" if len(name) == 2 else f"{name[0]}*{name[-1]}"


def issue(
    *,
    key: PrivateKey,
    alg: int,
    kid: bytes,
    colour: Colour,
    issued_at: datetime,
    cti: bytes,
    name_masked: str | None = None,
    pseudonym: bytes | None = None,
    lifetime: timedelta = LIFE,
    issuer: str | None = None,
    test: TestFact | None = None,
    doses: int | None = None,
    region: str | None = None,
    identity_sealed: bytes | None = None,
) -> str:
    """Make the text of one dynamic code. Pure: *cti* (4 to 8 random bytes) and the time come from the caller.

    *pseudonym*: 8 bytes, or 16 in the full form, from an HMAC whose key changes daily. *identity_sealed*: from
    `identity.seal_identity` with `identity_info(cti, pseudonym)`. Raises ProtocolError for a value out of range, so
    that a server never hands out a code that a door refuses.
    """
    if not 4 <= len(cti) <= 8:
        raise ProtocolError("cti has 4 to 8 bytes.", code="cti")
    if pseudonym is not None and len(pseudonym) not in (8, 16):
        raise ProtocolError("A pseudonym has 8 or 16 bytes.", code="pseudonym")
    if name_masked is not None and not 0 < len(name_masked) <= MAX_NAME_CHARS:
        raise ProtocolError("A masked name has 1 to 40 characters.", code="name")
    if identity_sealed is not None and len(identity_sealed) > MAX_SEALED_BYTES:
        raise ProtocolError("The sealed identity is too long for a code.", code="identity")
    if region is not None and not (region.isascii() and region.isdigit() and len(region) == 6):
        raise ProtocolError("A region is six digits of GB/T 2260.", code="region")
    if doses is not None and not 0 <= doses <= 99:
        raise ProtocolError("Doses are 0 to 99.", code="doses")
    ours: dict[int, object] = {jk1.OURS_COLOUR: int(colour)}
    if name_masked is not None:
        ours[jk1.OURS_NAME] = name_masked
    if pseudonym is not None:
        ours[jk1.OURS_PSEUDONYM] = pseudonym
    if test is not None:
        ours[jk1.OURS_TEST] = [int(test.sample_at.timestamp()), int(test.result), int(test.kind)]
    if doses is not None:
        ours[jk1.OURS_DOSES] = doses
    if region is not None:
        ours[jk1.OURS_REGION] = int(region)
    if identity_sealed is not None:
        ours[jk1.OURS_IDENTITY] = identity_sealed
    claims: dict[int, object] = {CLAIM_CTI: cti}
    if issuer is not None:
        claims[CLAIM_ISS] = issuer
    return jk1.make(claims, ours, key=key, alg=alg, kid=kid, issued_at=issued_at, expires_at=issued_at + lifetime)


def check(
    message: Sign1,
    claims: Mapping[object, object],
    ours: Mapping[object, object],
    trust: TrustList,
    *,
    at: datetime,
    policy: CheckPolicy,
) -> Checked:
    """Verify an unwrapped code: (1) key and signature, (2) the shape of every claim, (3) time. Raises Refused."""
    key = verify_message(message, trust, CredentialKind.HEALTH_CODE.value)  # (1)
    issuer = _optional(claims.get(CLAIM_ISS), str)
    if key.issuer is not None and issuer is not None and issuer != key.issuer:
        raise Refused(Reason.ISSUER_UNKNOWN)
    issued_at, expires_at = time_claim(claims, CLAIM_IAT, required=True), time_claim(claims, CLAIM_EXP, required=True)
    assert issued_at is not None and expires_at is not None
    cti = claims.get(CLAIM_CTI)  # (2)
    if not isinstance(cti, bytes) or not 4 <= len(cti) <= 8:
        raise Refused(Reason.CONTENT_WRONG)
    credential = Credential(
        kind=CredentialKind.HEALTH_CODE,
        scheme="JK1",
        issuer=issuer or key.issuer,
        kid=key.kid,
        issued_at=issued_at,
        expires_at=expires_at,
        not_before=issued_at,
        colour=_colour(ours.get(jk1.OURS_COLOUR)),
        name_masked=_name(ours.get(jk1.OURS_NAME)),
        pseudonym=_bytes(ours.get(jk1.OURS_PSEUDONYM), lengths=(8, 16)),
        cti=cti,
        identity_sealed=_bytes(ours.get(jk1.OURS_IDENTITY), lengths=range(1, MAX_SEALED_BYTES + 1)),
        test=_test(ours.get(jk1.OURS_TEST)),
        doses=_small_int(ours.get(jk1.OURS_DOSES), 99),
        region=_region(ours.get(jk1.OURS_REGION)),
    )
    reasons = time_reasons(not_before=issued_at, expires_at=expires_at, at=at, policy=policy)  # (3)
    if expires_at - issued_at > policy.health_code_max_life or expires_at <= issued_at:
        reasons.append(Reason.LIFE_TOO_LONG)
    return believed(credential, *reasons, *key_time_reasons(key, at=at))


def _optional(value: object, kind: type[str]) -> str | None:
    if value is not None and not isinstance(value, kind):
        raise Refused(Reason.CONTENT_WRONG)
    return value


def _colour(value: object) -> Colour:
    if type(value) is not int or value not in Colour._value2member_map_:
        raise Refused(Reason.CONTENT_WRONG)
    return Colour(value)


def _name(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME_CHARS or not value.isprintable():
        raise Refused(Reason.CONTENT_WRONG)
    return value


def _bytes(value: object, *, lengths: tuple[int, ...] | range) -> bytes | None:
    if value is None:
        return None
    if not isinstance(value, bytes) or len(value) not in lengths:
        raise Refused(Reason.CONTENT_WRONG)
    return value


def _small_int(value: object, largest: int) -> int | None:
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= largest:
        raise Refused(Reason.CONTENT_WRONG)
    return value


def _region(value: object) -> str | None:
    number = _small_int(value, 999_999)
    return None if number is None else f"{number:06d}"


def _test(value: object) -> TestFact | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 3 or any(type(part) is not int for part in value):
        raise Refused(Reason.CONTENT_WRONG)
    sample_at = numeric_date(value[0])
    if sample_at is None or value[1] not in range(4) or value[2] not in (1, 2):
        raise Refused(Reason.CONTENT_WRONG)
    return TestFact(sample_at.astimezone(UTC), TestResult(value[1]), TestKind(value[2]))
