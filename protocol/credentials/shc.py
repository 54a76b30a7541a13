"""SMART Health Cards: `shc:/` numeric QR texts (one or several), bare JWS, and `.smart-health-card` files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from protocol.cose import Alg, CoseError, verify_raw
from protocol.credentials.jws import parse, parse_json
from protocol.credentials.model import Checked, Credential, believed, numeric_date
from protocol.credentials.packed import unpack
from protocol.credentials.policy import CheckPolicy
from protocol.credentials.reasons import Reason
from protocol.credentials.signed import Refused, key_time_reasons, time_reasons
from protocol.trust import TrustedKey, TrustList
from protocol.words import CredentialKind

PREFIX: Final = "shc:/"
FILE_MEMBER: Final = "verifiableCredential"
MAX_JWS_CHARS: Final = 32_768
MAX_UNPACKED_BYTES: Final = 262_144
MAX_PARTS: Final = 32  # splitting is deprecated; a real card needed three
MAX_CARDS_IN_FILE: Final = 8
CARD_TYPE: Final = "https://smarthealth.cards#health-card"

_PART: Final = re.compile(r"(?:([1-9]\d?)/([1-9]\d?)/)?(\d+)", re.ASCII)
# A JWS header begins with a brace, which is "ey" in base64url
_JWS: Final = re.compile(r"[A-Za-z0-9_=-]+\.[A-Za-z0-9_=-]*\.[A-Za-z0-9_=-]*")
_RID: Final = re.compile(r"[A-Za-z0-9_-]{1,24}")


def matches(text: str) -> bool:
    """True for a numeric QR text, a bare JWS, and the JSON text of a card file."""
    if text.startswith(PREFIX):
        return True
    stripped = text.strip()
    return (stripped.startswith("ey") and _JWS.fullmatch(stripped) is not None) or (
        stripped.startswith("{") and f'"{FILE_MEMBER}"' in stripped
    )


def check(texts: Sequence[str], trust: TrustList, *, at: datetime, policy: CheckPolicy) -> Checked:
    """Verify one card from one or several QR texts, a JWS, or a file. Raises Refused.

    A file may hold several cards: then all of them must hold, and the answer is about the first, or about the first
    that does not hold.
    """
    cards = [_check_jws(jws, trust, at=at, policy=policy) for jws in _to_jws(texts)]
    return next((card for card in cards if not card.valid), cards[0])


def _to_jws(texts: Sequence[str]) -> list[str]:
    if texts[0].startswith(PREFIX):
        return [_join(texts)]
    if len(texts) != 1:
        raise Refused(Reason.PARTS_DO_NOT_FIT)
    text = texts[0].strip()
    if not text.startswith("{"):
        return [text]
    content = parse_json(text)
    cards = content.get(FILE_MEMBER) if isinstance(content, dict) else None
    if not isinstance(cards, list) or not 1 <= len(cards) <= MAX_CARDS_IN_FILE:
        raise Refused(Reason.BAD_STRUCTURE)
    if not all(isinstance(card, str) for card in cards):
        raise Refused(Reason.BAD_STRUCTURE)
    return [str(card) for card in cards]


def _join(texts: Sequence[str]) -> str:
    """Put the parts of one card in order and turn the digits into its JWS (specification: QR encoding)."""
    parts: dict[int, str] = {}
    total = 0
    for text in texts:
        found = _PART.fullmatch(text[len(PREFIX) :]) if text.startswith(PREFIX) else None
        if found is None:
            raise Refused(Reason.BAD_ENCODING)
        number, count = int(found[1] or 1), int(found[2] or 1)
        if total not in (0, count) or number > count or count > MAX_PARTS or parts.get(number, found[3]) != found[3]:
            raise Refused(Reason.PARTS_DO_NOT_FIT)
        total = count
        parts[number] = found[3]
    if len(parts) != total:
        raise Refused(Reason.PARTS_MISSING)
    # Each part ends on a whole character by the specification, and joining before pairing asks for no less
    return "".join(_from_digits(parts[number]) for number in range(1, total + 1))


# Two decimal digits read as hexadecimal make one byte; this turns it into the character they stand for (code - 45)
_CHARACTERS: Final = bytes(
    10 * (byte >> 4) + (byte & 15) + 45 if byte >> 4 <= 7 and byte & 15 <= 9 and byte <= 0x77 else 255
    for byte in range(256)
)


def _from_digits(digits: str) -> str:
    """Two digits are one character, its ASCII code minus 45. All at once: a loop costs as much as the signature."""
    if len(digits) % 2:
        raise Refused(Reason.BAD_ENCODING)
    characters = bytes.fromhex(digits).translate(_CHARACTERS)
    if 255 in characters:  # beyond 'z', the last character of base64url
        raise Refused(Reason.BAD_ENCODING)
    return characters.decode("ascii")


def _check_jws(text: str, trust: TrustList, *, at: datetime, policy: CheckPolicy) -> Checked:
    """(1) shape and header, (2) unpack, (3) issuer and key, (4) signature, (5) claims, (6) time, (7) revocation.

    Unpacking comes before the signature because the issuer, within which a key id means something, stands inside.
    """
    if len(text) > MAX_JWS_CHARS:
        raise Refused(Reason.TOO_LONG)
    jws = parse(text)  # (1)
    kid = jws.header.get("kid")
    if jws.header.get("alg") != "ES256":
        raise Refused(Reason.ALGORITHM_NOT_ACCEPTED)
    if jws.header.get("zip") != "DEF" or not isinstance(kid, str) or not kid:
        raise Refused(Reason.BAD_STRUCTURE)
    claims = parse_json(unpack(jws.payload, raw=True, max_bytes=MAX_UNPACKED_BYTES))  # (2)
    if not isinstance(claims, dict):
        raise Refused(Reason.BAD_STRUCTURE)
    issuer = claims.get("iss")
    if not isinstance(issuer, str):
        raise Refused(Reason.CONTENT_WRONG)
    key = _key(kid.encode("utf-8", "surrogatepass"), issuer, trust)  # (3)
    try:  # (4)
        verify_raw(jws.signed, jws.signature, key.public_key, alg=key.alg)
    except CoseError as error:
        raise Refused(Reason.SIGNATURE_WRONG) from error
    vc = claims.get("vc")  # (5)
    not_before, expires_at = numeric_date(claims.get("nbf")), numeric_date(claims.get("exp"))
    if not isinstance(vc, dict) or not_before is None or (expires_at is None and "exp" in claims):
        raise Refused(Reason.CONTENT_WRONG)
    types, subject = vc.get("type"), vc.get("credentialSubject")
    if not isinstance(types, list) or CARD_TYPE not in types or not isinstance(subject, dict):
        raise Refused(Reason.CONTENT_WRONG)
    if not isinstance(subject.get("fhirBundle"), dict) or not isinstance(subject.get("fhirVersion"), str):
        raise Refused(Reason.CONTENT_WRONG)
    credential = Credential(
        kind=CredentialKind.SMART_HEALTH_CARD,
        scheme="shc",
        issuer=issuer,
        kid=key.kid,
        issued_at=not_before,
        not_before=not_before,
        expires_at=expires_at,
        claims=vc,
    )
    reasons = time_reasons(not_before=not_before, expires_at=expires_at, at=at, policy=policy)  # (6)
    reasons += key_time_reasons(key, at=at)
    reasons += _revocation_reasons(vc.get("rid"), not_before, key, issuer, trust)  # (7)
    return believed(credential, *reasons)


def _key(kid: bytes, issuer: str, trust: TrustList) -> TrustedKey:
    use = CredentialKind.SMART_HEALTH_CARD.value
    named = [key for key in trust.with_kid(kid) if use in key.uses]
    for key in named:
        if key.issuer == issuer and key.alg == Alg.ES256:
            return key
    if not any(key.issuer == issuer and use in key.uses for key in trust.keys):
        raise Refused(Reason.ISSUER_UNKNOWN)
    raise Refused(Reason.KEY_UNKNOWN)


def _revocation_reasons(
    rid: object, not_before: datetime, key: TrustedKey, issuer: str, trust: TrustList
) -> list[Reason]:
    """Per-key lists: an entry revokes a card always, or when it was issued before the second the entry names.

    A list that could not be read says nothing about the card: that is marked. A card without `rid` cannot be revoked.
    """
    if rid is None:
        return []
    if not isinstance(rid, str) or not _RID.fullmatch(rid):
        return [Reason.CONTENT_WRONG]
    lists = trust.revocations_of(key.kid, issuer)
    for entry in lists:
        if rid in entry.rids:
            before = entry.rids[rid]
            if before is None or not_before.timestamp() < before:
                return [Reason.REVOKED]
    return [] if all(entry.readable for entry in lists) else [Reason.REVOCATION_UNKNOWN]
