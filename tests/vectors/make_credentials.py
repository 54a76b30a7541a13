"""Make credentials.json: texts, keys and answers from which another implementation of our codes could be written.

Run from the top of the repository:  python -m tests.vectors.make_credentials
Ed25519 signatures come out the same every time. ECDSA and HPKE draw randomness of their own, so those vectors are kept
as they were first made unless --renew is given; tests verify and open them.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from protocol.cose import Alg
from protocol.credentials import (
    TestFact,
    TestKind,
    TestResult,
    enrolment_code,
    health_code,
    paper_code,
    staff_badge,
    venue_code,
)
from protocol.credentials.enrolment_code import EnrolmentCode
from protocol.credentials.identity import Identity, identity_info, pack, seal_identity
from protocol.credentials.jk1 import StatusRef
from protocol.status_list import VenueSerials, status_list
from protocol.trust import DCC_TYPES, STATUS_LIST_USE, TrustedKey, TrustList, spki_of
from protocol.words import Colour

HERE = Path(__file__).parent
NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
ED = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
P256 = ec.derive_private_key(0x1122334455667788, ec.SECP256R1())
VAULT = X25519PrivateKey.from_private_bytes(bytes(range(32, 64)))
ED_KID, P256_KID = bytes.fromhex("00ed2551"), bytes.fromhex("00000256")
CTI, PSEUDONYM, VENUE = bytes.fromhex("0102030405060708"), bytes(range(16)), bytes.fromhex("a1b2c3d4e5f6")
PERSON = Identity("欧阳娜", "11010519491231002X", "+8613912345678")
OURS = frozenset({"health_code", "paper_code", "staff_badge", "venue_code", STATUS_LIST_USE})


def trust_list() -> TrustList:
    """Both issuer keys, for everything of ours."""
    return TrustList(
        (
            TrustedKey(ED_KID, Alg.EDDSA, spki_of(ED.public_key()), OURS, issuer="cs.example.cn", dcc_types=DCC_TYPES),
            TrustedKey(P256_KID, Alg.ES256, spki_of(P256.public_key()), OURS, issuer="cs.example.cn"),
        ),
        NOW,
    )


def deterministic() -> dict[str, Any]:
    """The vectors that are the same bytes every time."""
    signer: dict[str, Any] = {"key": ED, "alg": Alg.EDDSA, "kid": ED_KID, "issued_at": NOW}
    later = NOW + timedelta(days=7)
    test = TestFact(NOW - timedelta(hours=20), TestResult.NEGATIVE, TestKind.NAT)
    core = health_code.issue(
        **signer, colour=Colour.GREEN, cti=CTI, name_masked="欧*娜", pseudonym=PSEUDONYM[:8], test=test
    )
    full = health_code.issue(
        **signer,
        colour=Colour.YELLOW,
        cti=CTI,
        name_masked="欧*娜",
        pseudonym=PSEUDONYM,
        test=test,
        doses=3,
        region="430102",
        issuer="cs.example.cn",
    )
    token = venue_code.issue_token(**signer, venue_id=VENUE, entrance=2, serial=10)
    enrolment = EnrolmentCode(
        "https://gate.example.cn", bytes(16), bytes(range(32)), bytes(range(16)), NOW + timedelta(minutes=10), "北门"
    )
    lists = {
        "paper_list": status_list("paper", 1, [0, 1, 2, 3], issued_at=NOW, expires_at=later),
        "badge_list": status_list("badge", 1, [0, 1, 2], issued_at=NOW, expires_at=later),
        "venue_list": VenueSerials(frozenset({7, 900}), {VENUE: 5}, NOW, later),
    }
    return {
        "at": NOW.isoformat(),
        "keys": {
            "ed25519_private": ED.private_bytes_raw().hex(),
            "ed25519_public": ED.public_key().public_bytes_raw().hex(),
            "p256_spki": spki_of(P256.public_key()).hex(),
            "vault_x25519_private": VAULT.private_bytes_raw().hex(),
        },
        "trust_list": trust_list().to_signed(ED).hex(),
        "status_lists": {name: part.to_signed(ED, alg=Alg.EDDSA, kid=ED_KID).hex() for name, part in lists.items()},
        "codes": [
            {"name": "health code, core", "text": core, "colour": "green"},
            {"name": "health code, full", "text": full, "colour": "yellow"},
            {"name": "paper code, red", "text": paper_code.issue(**signer, ref=StatusRef(1, 2)), "colour": "red"},
            {"name": "staff badge", "text": staff_badge.issue(**signer, ref=StatusRef(1, 0))},
            {
                "name": "staff badge, revoked",
                "text": staff_badge.issue(**signer, ref=StatusRef(1, 1)),
                "reason": "revoked",
            },
            {"name": "venue code", "text": venue_code.url("https://cs.example.cn", token)},
        ],
        "check_word": {"venue_id": VENUE.hex(), "serial": 10, "word": venue_code.check_word(VENUE, 10)},
        "enrolment_code": enrolment_code.make(enrolment),
        "identity": {
            "name": PERSON.name,
            "id_number": PERSON.id_number,
            "phone": PERSON.phone,
            "record": pack(PERSON).hex(),
            "cti": CTI.hex(),
            "pseudonym": PSEUDONYM[:8].hex(),
            "info": identity_info(CTI, PSEUDONYM[:8]).hex(),
        },
    }


def random_parts() -> dict[str, Any]:
    """The vectors that can only be verified or opened."""
    sealed = seal_identity(PERSON, VAULT.public_key(), info=identity_info(CTI, PSEUDONYM[:8]))
    text = health_code.issue(
        key=P256,
        alg=Alg.ES256,
        kid=P256_KID,
        issued_at=NOW,
        colour=Colour.GREEN,
        cti=CTI,
        name_masked="欧*娜",
        pseudonym=PSEUDONYM[:8],
        identity_sealed=sealed,
    )
    return {"sealed": sealed.hex(), "es256_code": text}


def main() -> int:
    """Write credentials.json; keeps the random parts unless --renew is given."""
    target = HERE / "credentials.json"
    kept = json.loads(target.read_text("utf-8"))["random"] if target.exists() and "--renew" not in sys.argv else None
    content = deterministic() | {"random": kept or random_parts()}
    target.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
