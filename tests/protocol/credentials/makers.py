"""Keys, a trust list and ready-made codes for the tests of this folder; all made up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from protocol.cose import Alg
from protocol.credentials import TestFact, TestKind, TestResult, health_code, paper_code, staff_badge, venue_code
from protocol.credentials.jk1 import StatusRef
from protocol.status_list import STATUS_LIST_USE, StatusLists, VenueSerials, status_list
from protocol.trust import TrustedKey, TrustList, spki_of
from protocol.words import Colour, CredentialKind

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
P256 = ec.derive_private_key(0xBADC0DE, ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
STRANGER = ec.derive_private_key(0xDECAFBAD, ec.SECP256R1())
KID = b"\x01\x02\x03\x04"
ED_KID = b"\x05\x06\x07\x08"
OUR_USES = frozenset(
    {
        *(CredentialKind.HEALTH_CODE.value, CredentialKind.PAPER_CODE.value),
        *(CredentialKind.STAFF_BADGE.value, CredentialKind.VENUE_CODE.value),
        STATUS_LIST_USE,
    }
)
TRUST = TrustList(
    keys=(
        TrustedKey(KID, Alg.ES256, spki_of(P256.public_key()), OUR_USES, issuer="cs.example"),
        TrustedKey(ED_KID, Alg.EDDSA, spki_of(ED.public_key()), OUR_USES),
    ),
    issued_at=NOW,
)
CTI = bytes.fromhex("00112233")
PSEUDONYM = bytes(range(8))
VENUE = bytes.fromhex("a1b2c3d4e5f6")
TESTED = TestFact(NOW - timedelta(hours=20), TestResult.NEGATIVE, TestKind.NAT)
FRESH = StatusLists.of(
    [
        status_list("paper", 1, [0, 1, 2, 3, 0], issued_at=NOW, expires_at=NOW + timedelta(days=7)),
        status_list("badge", 1, [0, 1, 2], issued_at=NOW, expires_at=NOW + timedelta(days=7)),
        VenueSerials(frozenset({7, 900}), {VENUE: 5}, NOW, NOW + timedelta(days=7)),
    ]
)


def health(**changes: object) -> str:
    """A green code of a well person, 5 minutes; any argument of `health_code.issue` can be changed."""
    settings: dict[str, object] = {
        "key": P256,
        "alg": Alg.ES256,
        "kid": KID,
        "colour": Colour.GREEN,
        "issued_at": NOW,
        "cti": CTI,
        "name_masked": "欧*娜",
        "pseudonym": PSEUDONYM,
        "test": TESTED,
    }
    return health_code.issue(**(settings | changes))  # type: ignore[arg-type]


def paper(index: int = 0, number: int = 1, **changes: object) -> str:
    settings: dict[str, object] = {"key": P256, "alg": Alg.ES256, "kid": KID, "issued_at": NOW}
    return paper_code.issue(ref=StatusRef(number, index), **(settings | changes))  # type: ignore[arg-type]


def badge(index: int = 0, number: int = 1, **changes: object) -> str:
    settings: dict[str, object] = {"key": P256, "alg": Alg.ES256, "kid": KID, "issued_at": NOW}
    return staff_badge.issue(ref=StatusRef(number, index), **(settings | changes))  # type: ignore[arg-type]


def poster(serial: int = 10, host: str = "https://cs.example.cn", **changes: object) -> str:
    settings: dict[str, object] = {
        "key": P256,
        "alg": Alg.ES256,
        "kid": KID,
        "issued_at": NOW,
        "venue_id": VENUE,
        "entrance": 2,
    }
    token = venue_code.issue_token(serial=serial, **(settings | changes))  # type: ignore[arg-type]
    return venue_code.url(host, token)
