"""SMART Health Cards: numeric texts, parts, files, revocation, on cards of our own."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from protocol.cose import Alg, sign_raw
from protocol.credentials import Checked, Reason, check
from protocol.trust import KeyRevocations, TrustedKey, TrustList, spki_of
from protocol.words import CredentialKind

from .makers import NOW, P256, STRANGER

ISSUER = "https://cards.example/issuer"
KID = "3Kfdg-XwP-7gXyywtUfUADwBumDOPKMQx-iELL11W9s"
KEY = TrustedKey(KID.encode(), Alg.ES256, spki_of(P256.public_key()), frozenset({"smart_health_card"}), issuer=ISSUER)
TRUST = TrustList((KEY,), NOW)
VC = {
    "type": ["https://smarthealth.cards#health-card", "https://smarthealth.cards#covid19"],
    "credentialSubject": {"fhirVersion": "4.0.1", "fhirBundle": {"resourceType": "Bundle", "entry": []}},
}
CLAIMS = {"iss": ISSUER, "nbf": NOW.timestamp() - 1000.5, "vc": VC}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def card(
    claims: object = CLAIMS,
    header: object | None = None,
    *,
    key: ec.EllipticCurvePrivateKey = P256,
    body: bytes | None = None,
) -> str:
    head = {"zip": "DEF", "alg": "ES256", "kid": KID} if header is None else header
    packed = deflate(json.dumps(claims).encode()) if body is None else body
    signed = f"{b64(json.dumps(head).encode())}.{b64(packed)}"
    return f"{signed}.{b64(sign_raw(signed.encode(), key, alg=Alg.ES256))}"


def numeric(jws: str) -> str:
    return "".join(f"{ord(character) - 45:02d}" for character in jws)


def look(texts: str | list[str], trust: TrustList = TRUST) -> Checked:
    checked = check(texts, trust, at=NOW)
    assert checked.kind is CredentialKind.SMART_HEALTH_CARD
    return checked


def test_a_card_is_believed_as_qr_text_as_jws_and_as_file() -> None:
    jws = card()
    for text in ("shc:/" + numeric(jws), jws, f" {jws}\n", json.dumps({"verifiableCredential": [jws]})):
        checked = look(text)
        assert (checked.valid, checked.reasons) == (True, ())
        assert checked.credential is not None and checked.credential.claims == VC


def test_parts_are_put_together_in_any_order() -> None:
    digits = numeric(card())
    half = len(digits) // 4 * 2
    one, two = f"shc:/1/2/{digits[:half]}", f"shc:/2/2/{digits[half:]}"
    assert look([one, two]).valid and look([two, one]).valid and look([two, one, two]).valid
    assert look(one).reasons == (Reason.PARTS_MISSING,) and look(one).is_undecided
    assert look([one, f"shc:/2/3/{digits[half:]}"]).reasons == (Reason.PARTS_DO_NOT_FIT,)
    assert look([one, f"shc:/1/2/{digits[:10]}"]).reasons == (Reason.PARTS_DO_NOT_FIT,)
    assert look([one, "HC1:ABC"]).reasons == (Reason.BAD_ENCODING,)
    assert look(["shc:/1/99/00", "shc:/2/99/00"]).reasons == (Reason.PARTS_DO_NOT_FIT,)
    assert look([card(), card()]).reasons == (Reason.PARTS_DO_NOT_FIT,)


@pytest.mark.parametrize("text", ["shc:/", "shc:/1", "shc:/99", "shc:/0x12", "shc:/1/2", "shc:/٣٣", "shc:/3/2/00"])
def test_digits_that_are_no_card_are_refused(text: str) -> None:
    assert look(text).reasons[0] in (Reason.BAD_ENCODING, Reason.PARTS_DO_NOT_FIT, Reason.BAD_STRUCTURE)


@pytest.mark.parametrize(
    ("jws", "expected"),
    [
        (card(key=STRANGER), Reason.SIGNATURE_WRONG),
        (card(header={"alg": "none", "zip": "DEF", "kid": KID}), Reason.ALGORITHM_NOT_ACCEPTED),
        (card(header={"alg": "HS256", "zip": "DEF", "kid": KID}), Reason.ALGORITHM_NOT_ACCEPTED),
        (card(header={"zip": "DEF", "kid": KID}), Reason.ALGORITHM_NOT_ACCEPTED),
        (card(header={"alg": "ES256", "zip": "DEF", "kid": KID, "crit": ["x"]}), Reason.CRITICAL_HEADER),
        (card(header={"alg": "ES256", "kid": KID}), Reason.BAD_STRUCTURE),
        (card(header={"alg": "ES256", "zip": "DEF"}), Reason.BAD_STRUCTURE),
        (card(header={"alg": "ES256", "zip": "DEF", "kid": "other"}), Reason.KEY_UNKNOWN),
        (card(CLAIMS | {"iss": ISSUER + "/"}), Reason.ISSUER_UNKNOWN),
        (card(CLAIMS | {"iss": None}), Reason.CONTENT_WRONG),
        (card({"iss": ISSUER, "vc": VC}), Reason.CONTENT_WRONG),
        (card(CLAIMS | {"nbf": "now"}), Reason.CONTENT_WRONG),
        (card(CLAIMS | {"exp": "never"}), Reason.CONTENT_WRONG),
        (card(CLAIMS | {"vc": []}), Reason.CONTENT_WRONG),
        (card(CLAIMS | {"vc": VC | {"type": ["x"]}}), Reason.CONTENT_WRONG),
        (card(CLAIMS | {"vc": VC | {"credentialSubject": {"fhirVersion": "4.0.1"}}}), Reason.CONTENT_WRONG),
        (card([]), Reason.BAD_STRUCTURE),
        (card(CLAIMS | {"nbf": NOW.timestamp() + 3600}), Reason.NOT_YET_VALID),
        (card(CLAIMS | {"exp": NOW.timestamp() - 3600}), Reason.EXPIRED),
        (card(body=b"not deflate"), Reason.BAD_COMPRESSION),
        (card(body=zlib.compress(b"{}")), Reason.BAD_COMPRESSION),
        (card(body=deflate(b"{}") + b"x"), Reason.BAD_COMPRESSION),
        (card(body=deflate(bytes(300_000))), Reason.BAD_COMPRESSION),
        (card(body=deflate(b'{"a":1,"a":2}')), Reason.BAD_STRUCTURE),
        (card(body=deflate(b'{"nbf":NaN}')), Reason.BAD_STRUCTURE),
        (card(body=deflate(b"[" * 50_000)), Reason.BAD_STRUCTURE),
        (card(body=deflate(b'{"nbf":' + b"9" * 5_000 + b"}")), Reason.BAD_STRUCTURE),
        (card() + "xx", Reason.SIGNATURE_WRONG),
        (card() + "=", Reason.BAD_ENCODING),
        (card()[: card().rindex(".")] + ".", Reason.SIGNATURE_WRONG),
    ],
)
def test_a_card_that_is_wrong_is_refused_by_name(jws: str, expected: Reason) -> None:
    assert look(jws).reasons == (expected,)


def test_a_der_signature_is_refused() -> None:
    signed = card().rsplit(".", 1)[0]
    der = P256.sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
    assert look(f"{signed}.{b64(der)}").reasons == (Reason.SIGNATURE_WRONG,)


def test_a_file_with_one_bad_card_is_refused_and_a_hostile_file_too() -> None:
    good, bad = card(), card(key=STRANGER)
    assert look(json.dumps({"verifiableCredential": [good, good]})).valid
    assert look(json.dumps({"verifiableCredential": [good, bad]})).reasons == (Reason.SIGNATURE_WRONG,)
    for content in ('{"verifiableCredential":[]}', '{"verifiableCredential":[1]}', '{"verifiableCredential":'):
        assert look(content).reasons == (Reason.BAD_STRUCTURE,)


def revoking(rids: dict[str, float | None], *, readable: bool = True) -> TrustList:
    return replace(TRUST, revocations=(KeyRevocations(KID.encode(), None, rids, readable),))


def test_a_revoked_card_is_refused_and_one_issued_later_is_not() -> None:
    jws = card(CLAIMS | {"vc": VC | {"rid": "abc-_1"}})
    issued = float(CLAIMS["nbf"])  # type: ignore[arg-type]
    assert look(jws).reasons == ()
    assert look(jws, revoking({"abc-_1": None})).reasons == (Reason.REVOKED,)
    assert look(jws, revoking({"abc-_1": issued + 1})).reasons == (Reason.REVOKED,)
    assert look(jws, revoking({"abc-_1": issued})).reasons == ()
    assert look(jws, revoking({"other": None})).reasons == ()


def test_a_malformed_revocation_list_is_said_and_does_not_stop_everybody() -> None:
    jws = card(CLAIMS | {"vc": VC | {"rid": "abc"}})
    checked = look(jws, revoking({"other": None}, readable=False))
    assert checked.valid and checked.reasons == (Reason.REVOCATION_UNKNOWN,)
    assert look(jws, revoking({"abc": None}, readable=False)).reasons == (Reason.REVOKED,)
    assert look(card(), revoking({}, readable=False)).reasons == ()  # without a rid it cannot be revoked


@pytest.mark.parametrize("rid", ["", "a" * 25, "a.b", 7, ["a"]])
def test_a_revocation_id_of_another_form_is_refused(rid: object) -> None:
    assert look(card(CLAIMS | {"vc": VC | {"rid": rid}})).reasons == (Reason.CONTENT_WRONG,)


def test_keys_of_other_issuers_uses_and_times_are_not_tried() -> None:
    other = replace(KEY, uses=frozenset({"eu_dcc"}))
    assert look(card(), replace(TRUST, keys=(other,))).reasons == (Reason.ISSUER_UNKNOWN,)
    old = replace(KEY, not_after=NOW - timedelta(days=1))
    assert look(card(), replace(TRUST, keys=(old,))).reasons == (Reason.KEY_EXPIRED,)
