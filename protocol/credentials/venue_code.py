"""The venue code on the poster: a link any phone can open, whose token the kiosk and the server can verify."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from protocol.cbor import encode
from protocol.cose import PrivateKey, sign1
from protocol.credentials.freshness import freshness_reasons
from protocol.credentials.model import Checked, Credential, believed
from protocol.credentials.policy import CheckPolicy
from protocol.credentials.reasons import Reason
from protocol.credentials.signed import (
    CLAIM_CTI,
    CLAIM_EXP,
    CLAIM_IAT,
    CLAIM_SUB,
    Refused,
    claims_of,
    key_time_reasons,
    parse_message,
    time_claim,
    time_reasons,
    verify_message,
)
from protocol.errors import ProtocolError
from protocol.status_list import StatusLists
from protocol.trust import TrustList
from protocol.words import CredentialKind

CLAIM_ENTRANCE: Final = -65538  # private use, RFC 8392 9.1
VENUE_ID_BYTES: Final = 6
LIFE: Final = timedelta(days=365)
PATH: Final = "/v/"
MAX_TEXT_CHARS: Final = 512
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})  # plain http is for a demo on one machine only

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{80,300}")
# No two of these are mistaken for each other on a poster seen from two metres: no 0O 1IL 2Z 5S 6G 8B.
CHECK_ALPHABET: Final = "ACDEFHJKMNPQRTUVWXY3479"


def issue_token(
    *,
    key: PrivateKey,
    alg: int,
    kid: bytes,
    venue_id: bytes,
    entrance: int,
    serial: int,
    issued_at: datetime,
    lifetime: timedelta = LIFE,
) -> str:
    """Make the token of one poster: ids only, so that a renamed venue needs no new poster. Raises ProtocolError."""
    if len(venue_id) != VENUE_ID_BYTES:
        raise ProtocolError("A venue id has 6 bytes.", code="venue_id")
    if not 0 <= serial < 2**32 or not 0 <= entrance < 2**16:
        raise ProtocolError("A serial has 32 bits and an entrance number 16.", code="serial")
    claims = {
        CLAIM_SUB: venue_id,
        CLAIM_EXP: int((issued_at + lifetime).timestamp()),
        CLAIM_IAT: int(issued_at.timestamp()),
        CLAIM_CTI: serial.to_bytes(4, "big"),
        CLAIM_ENTRANCE: entrance,
    }
    signed = sign1(encode(claims), key, alg=alg, kid=kid)
    return base64.urlsafe_b64encode(signed).rstrip(b"=").decode("ascii")


def url(base_url: str, token: str) -> str:
    """The text of the QR code. *base_url*: `https://HOST`, as the server is known to phones."""
    return base_url.rstrip("/") + PATH + token


def check_word(venue_id: bytes, serial: int) -> str:
    """Four characters to print beside the code, so that people can compare a poster with the console by eye.

    Derived from what the code says, not secret: it proves nothing, it lets a changed poster be noticed.
    """
    digest = hashlib.sha256(b"gatehouse check word 1" + venue_id + serial.to_bytes(4, "big")).digest()
    number = int.from_bytes(digest[:8], "big")
    word = ""
    for _ in range(4):
        number, place = divmod(number, len(CHECK_ALPHABET))
        word += CHECK_ALPHABET[place]
    return word


def matches(text: str) -> bool:
    """True when *text* is a link of the shape of a venue code, whoever's it is."""
    return _split(text) is not None


def _split(text: str) -> tuple[str, str] | None:
    """Host (with port, in lower case) and token, or None."""
    if len(text) > MAX_TEXT_CHARS or not text.isascii() or not text[:8].lower().startswith(("http://", "https://")):
        return None
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host or parts.query or parts.fragment or "@" in parts.netloc or not parts.path.startswith(PATH):
        return None
    if parts.scheme == "http" and host not in LOOPBACK:
        return None
    token = parts.path[len(PATH) :]
    if not _TOKEN.fullmatch(token):
        return None
    return (f"{host}:{port}" if port else host), token


def check_url(text: str, trust: TrustList, *, at: datetime, status: StatusLists | None, policy: CheckPolicy) -> Checked:
    """Verify a poster's link: its host (when the policy names hosts) and its token. Raises Refused."""
    parts = _split(text)
    if parts is None:
        raise Refused(Reason.BAD_ENCODING)
    host, token = parts
    checked = check_token(token, trust, at=at, status=status, policy=policy)
    if policy.venue_hosts and host not in policy.venue_hosts and checked.credential is not None:
        return believed(checked.credential, Reason.WRONG_HOST, *checked.reasons)
    return checked


def check_token(
    token: str, trust: TrustList, *, at: datetime, status: StatusLists | None, policy: CheckPolicy
) -> Checked:
    """Verify the token alone, as the server does when a phone opens the link. Raises Refused.

    (1) encoding, (2) key and signature, (3) shape of the claims, (4) time, (5) serial against the status list; without
    a list the answer is STATUS_UNKNOWN, never "valid".
    """
    try:  # (1)
        data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(Reason.BAD_ENCODING) from error
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii") != token:  # one poster, one text
        raise Refused(Reason.BAD_ENCODING)
    message = parse_message(data)
    key = verify_message(message, trust, CredentialKind.VENUE_CODE.value)  # (2)
    claims = claims_of(message.payload)
    venue_id, serial, entrance = claims.get(CLAIM_SUB), claims.get(CLAIM_CTI), claims.get(CLAIM_ENTRANCE)  # (3)
    if not isinstance(venue_id, bytes) or len(venue_id) != VENUE_ID_BYTES:
        raise Refused(Reason.CONTENT_WRONG)
    if not isinstance(serial, bytes) or len(serial) != 4 or type(entrance) is not int or not 0 <= entrance < 2**16:
        raise Refused(Reason.CONTENT_WRONG)
    credential = Credential(
        kind=CredentialKind.VENUE_CODE,
        scheme="venue-url",
        issuer=key.issuer,
        kid=key.kid,
        issued_at=time_claim(claims, CLAIM_IAT, required=True),
        expires_at=time_claim(claims, CLAIM_EXP, required=True),
        venue_id=venue_id,
        serial=int.from_bytes(serial, "big"),
        entrance=entrance,
    )
    reasons = time_reasons(  # (4)
        not_before=credential.issued_at, expires_at=credential.expires_at, at=at, policy=policy
    )
    reasons += key_time_reasons(key, at=at)
    return believed(credential, *reasons, *_serial_reasons(credential, at=at, status=status, policy=policy))


def _serial_reasons(
    credential: Credential, *, at: datetime, status: StatusLists | None, policy: CheckPolicy
) -> list[Reason]:
    """Step (5) of `check_token`."""
    venues = status.venues if status else None
    if venues is None:
        return [Reason.STATUS_UNKNOWN]
    assert credential.serial is not None and credential.venue_id is not None
    if credential.serial in venues.revoked:
        return [Reason.REVOKED]
    if credential.serial < venues.lowest_valid.get(credential.venue_id, 0):
        return [Reason.REPLACED]
    return freshness_reasons(venues, at=at, policy=policy)
