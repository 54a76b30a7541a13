"""NZ COVID Pass: the specification's own examples, and changes of our own."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from pathlib import Path

import cbor2
import pytest

from protocol.cose import Alg, sign1
from protocol.credentials import Reason, check
from protocol.trust import TrustedKey, TrustList, spki_of
from protocol.trust_sources import from_did_document
from protocol.words import CredentialKind

from .makers import P256

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "credentials_nzcp.json").read_text("utf-8"))
AT = datetime.fromisoformat(VECTORS["at"])
TRUST = TrustList(tuple(from_did_document(VECTORS["did"]).keys), AT)


@pytest.mark.parametrize("example", VECTORS["passes"], ids=lambda example: example["name"])
def test_the_specifications_examples_have_their_answers(example: dict[str, str]) -> None:
    checked = check(example["text"], TRUST, at=AT)
    assert checked.kind is CredentialKind.NZ_COVID_PASS
    assert [reason.value for reason in checked.reasons] == ([example["reason"]] if example["reason"] else [])
    assert checked.valid is (example["reason"] is None)


def test_a_key_that_the_did_document_revoked_is_unknown() -> None:
    document = VECTORS["did"] | {"assertionMethod": []}
    found = from_did_document(document)
    assert not found.keys and "assertionMethod" in found.notes[0]


def test_another_issuer_is_not_believed() -> None:
    assert check(VECTORS["passes"][0]["text"], TrustList((), AT), at=AT).reasons == (Reason.ISSUER_UNKNOWN,)


OURS = TrustList(
    (
        TrustedKey(
            b"k", Alg.ES256, spki_of(P256.public_key()), frozenset({"nz_covid_pass"}), issuer="did:web:pass.example"
        ),
    ),
    AT,
)
SUBJECT = {"givenName": "Jack", "familyName": "Sparrow", "dob": "1960-04-16"}
VC = {
    "@context": ["https://www.w3.org/2018/credentials/v1", "https://nzcp.covid19.health.nz/contexts/v1"],
    "version": "1.0.0",
    "type": ["VerifiableCredential", "PublicCovidPass"],
    "credentialSubject": SUBJECT,
}
CLAIMS: dict[object, object] = {
    1: "did:web:pass.example",
    5: int(AT.timestamp()) - 1,
    4: int(AT.timestamp()) + 1000,
    7: bytes(16),
    "vc": VC,
}


def made(**changes: object) -> str:
    claims = dict(CLAIMS)
    for name, value in changes.items():
        claims[int(name[1:]) if name[0] == "_" else name] = value
    data = sign1(cbor2.dumps(claims), P256, alg=Alg.ES256, kid=b"k")
    return "NZCP:/1/" + base64.b32encode(data).rstrip(b"=").decode()


def reason(text: str) -> Reason | None:
    reasons = check(text, OURS, at=AT).reasons
    assert len(reasons) <= 1
    return reasons[0] if reasons else None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"vc": VC | {"credentialSubject": {"givenName": "Jack", "dob": "1960-04-16"}}}, None),
        ({"_1": "https://pass.example"}, Reason.CONTENT_WRONG),
        ({"_1": "did:web:other.example"}, Reason.ISSUER_UNKNOWN),
        ({"_7": bytes(15)}, Reason.CONTENT_WRONG),
        ({"_4": None}, Reason.CONTENT_WRONG),
        ({"_5": None}, Reason.CONTENT_WRONG),
        ({"_5": "x"}, Reason.CONTENT_WRONG),
        ({"vc": None}, Reason.CONTENT_WRONG),
        ({"vc": VC | {"version": "2.0.0"}}, Reason.CONTENT_WRONG),
        ({"vc": VC | {"type": ["VerifiableCredential", "Other"]}}, Reason.CONTENT_WRONG),
        ({"vc": VC | {"@context": []}}, Reason.CONTENT_WRONG),
        ({"vc": VC | {"credentialSubject": SUBJECT | {"dob": "1960"}}}, Reason.CONTENT_WRONG),
        ({"vc": VC | {"credentialSubject": SUBJECT | {"givenName": "x" * 101}}}, Reason.CONTENT_WRONG),
        ({"vc": VC | {"credentialSubject": SUBJECT | {"familyName": 1}}}, Reason.CONTENT_WRONG),
        ({"vc": VC | {"credentialSubject": []}}, Reason.CONTENT_WRONG),
    ],
)
def test_a_signed_pass_must_be_what_the_specification_says(changes: dict[str, object], expected: Reason | None) -> None:
    assert reason(made(**changes)) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("NZCP:/2/ABC", Reason.UNKNOWN_SCHEME),
        ("NZCP:/1/abc", Reason.BAD_ENCODING),
        ("NZCP:/1/ABC=", Reason.BAD_ENCODING),
        ("NZCP:/1/A", Reason.BAD_ENCODING),
        ("NZCP:/1/", Reason.BAD_STRUCTURE),
        ("NZCP:/1/" + "A" * 4300, Reason.TOO_LONG),
    ],
)
def test_broken_texts_have_their_reasons(text: str, expected: Reason) -> None:
    assert reason(text) is expected
