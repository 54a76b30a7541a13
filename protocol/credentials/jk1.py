"""`JK1:` texts: base45 of a COSE_Sign1 over CWT claims; the envelope of health code, paper code and staff badge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from protocol.cbor import encode
from protocol.cose import PrivateKey, Sign1, sign1
from protocol.credentials import base45
from protocol.credentials.reasons import Reason
from protocol.credentials.signed import CLAIM_EXP, CLAIM_IAT, Refused, claims_of, parse_message

PREFIX: Final = "JK1:"  # the digit is the version; a device-signed live variant will be JK2:
MAX_TEXT_CHARS: Final = 700  # the largest we make (sealed identity, long name) has about 350
CLAIM_OURS: Final = -65537  # private use, RFC 8392 9.1

OURS_COLOUR: Final = 1
OURS_NAME: Final = 2
OURS_PSEUDONYM: Final = 3
OURS_TEST: Final = 4
OURS_DOSES: Final = 5
OURS_REGION: Final = 6
OURS_IDENTITY: Final = 7
OURS_PAPER_ID: Final = 8
OURS_BADGE_ID: Final = 9
OURS_INSPECTION: Final = 10


@dataclass(frozen=True, slots=True)
class StatusRef:
    """The 8-byte id of a paper code or badge: where its status stands."""

    list_number: int  # 32 bits
    index: int  # 32 bits

    def to_bytes(self) -> bytes:
        return self.list_number.to_bytes(4, "big") + self.index.to_bytes(4, "big")

    @classmethod
    def from_bytes(cls, data: bytes) -> StatusRef:
        """Raises ValueError unless *data* has 8 bytes."""
        if len(data) != 8:
            raise ValueError("The id of a paper code or badge has 8 bytes.")
        return cls(int.from_bytes(data[:4], "big"), int.from_bytes(data[4:], "big"))


def make(
    claims: Mapping[int, object],
    ours: Mapping[int, object],
    *,
    key: PrivateKey,
    alg: int,
    kid: bytes,
    issued_at: datetime,
    expires_at: datetime,
) -> str:
    """Sign and wrap; times are cut to whole seconds."""
    body = {
        **claims,
        CLAIM_IAT: int(issued_at.timestamp()),
        CLAIM_EXP: int(expires_at.timestamp()),
        CLAIM_OURS: dict(ours),
    }
    return PREFIX + base45.encode(sign1(encode(body), key, alg=alg, kid=kid))


def unwrap(text: str) -> tuple[Sign1, Mapping[object, object], Mapping[object, object]]:
    """Take a `JK1:` text apart, unverified: the message, its claims, and our own claims map. Raises Refused."""
    if len(text) > MAX_TEXT_CHARS:
        raise Refused(Reason.TOO_LONG)
    try:
        data = base45.decode(text[len(PREFIX) :])
    except base45.Base45Error as error:
        raise Refused(Reason.BAD_ENCODING) from error
    message = parse_message(data)
    claims = claims_of(message.payload)
    ours = claims.get(CLAIM_OURS)
    if not isinstance(ours, dict):
        raise Refused(Reason.BAD_STRUCTURE)
    return message, claims, ours
