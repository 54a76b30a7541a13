"""COSE_Sign1: what a gate must refuse, even when the trusted key signed it (credentials.md 2.3)."""

from __future__ import annotations

import cbor2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from protocol.cose import Alg, CoseError, parse1, sign1, sign_raw, verify1

P256 = ec.derive_private_key(0x1234567, ec.SECP256R1())
P384 = ec.derive_private_key(0x1234567, ec.SECP384R1())
ED = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KID = b"kid1"


def signed(
    protected: object, unprotected: object | None = None, payload: bytes = b"hello", *, raw: bytes | None = None
) -> list[object]:
    header = raw if raw is not None else cbor2.dumps(protected)
    tbs = cbor2.dumps(["Signature1", header, b"", payload])
    return [header, {} if unprotected is None else unprotected, payload, sign_raw(tbs, P256, alg=Alg.ES256)]


def refused(data: bytes) -> str:
    with pytest.raises(CoseError) as caught:
        verify1(data, P256.public_key(), alg=Alg.ES256)
    return caught.value.code


@pytest.mark.parametrize(("key", "alg"), [(P256, Alg.ES256), (P256, Alg.ESP256), (ED, Alg.EDDSA), (ED, Alg.ED25519)])
@pytest.mark.parametrize("tagged", [True, False])
def test_what_we_sign_we_verify(key: ec.EllipticCurvePrivateKey, alg: Alg, tagged: bool) -> None:
    data = sign1(b"payload", key, alg=alg, kid=KID, external_aad=b"about", tagged=tagged)
    assert parse1(data).kid == KID
    assert verify1(data, key.public_key(), alg=alg, external_aad=b"about") == b"payload"
    with pytest.raises(CoseError) as caught:
        verify1(data, key.public_key(), alg=alg, external_aad=b"about another exchange")
    assert caught.value.code == "cose_signature"


def test_rsa_pss_is_verified_and_a_short_rsa_key_refused() -> None:
    for bits, good in ((2048, True), (1024, False)):
        key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
        header = cbor2.dumps({1: -37, 4: KID})
        tbs = cbor2.dumps(["Signature1", header, b"", b"hello"])
        signature = key.sign(tbs, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
        data = cbor2.dumps([header, {}, b"hello", signature])
        if good:
            assert verify1(data, key.public_key(), alg=Alg.PS256) == b"hello"
        else:
            with pytest.raises(CoseError, match="2048"):
                verify1(data, key.public_key(), alg=Alg.PS256)


def test_a_sign1_without_a_tag_is_accepted() -> None:
    assert verify1(cbor2.dumps(signed({1: -7, 4: KID})), P256.public_key(), alg=Alg.ES256) == b"hello"


def test_the_cwt_tag_around_the_sign1_tag_is_accepted() -> None:
    data = cbor2.dumps(cbor2.CBORTag(61, cbor2.CBORTag(18, signed({1: -7, 4: KID}))))
    assert verify1(data, P256.public_key(), alg=Alg.ES256) == b"hello"


@pytest.mark.parametrize("tags", [[61], [18, 18], [18, 61], [61, 61, 18], [98], [17], [55799, 18]])
def test_any_other_tags_are_refused(tags: list[int]) -> None:
    item: object = signed({1: -7, 4: KID})
    for tag in reversed(tags):
        item = cbor2.CBORTag(tag, item)
    assert refused(cbor2.dumps(item)) == "cose_tag"


def test_the_algorithm_must_be_in_the_protected_header() -> None:
    assert refused(cbor2.dumps(signed({4: KID}, {1: -7}))) == "cose_algorithm"
    assert refused(cbor2.dumps(signed({}, {1: -7, 4: KID}, raw=b""))) == "cose_algorithm"


@pytest.mark.parametrize("alg", [-37, -8, -35, 5, -65535, "ES256", 0, True, -7.0])
def test_a_header_that_names_another_algorithm_than_the_keys_is_refused(alg: object) -> None:
    assert refused(cbor2.dumps(signed({1: alg, 4: KID}))) == "cose_algorithm"


@pytest.mark.parametrize("place", ["protected", "unprotected"])
def test_a_critical_header_is_refused(place: str) -> None:
    crit = {2: [99], 99: 1}
    if place == "protected":
        assert refused(cbor2.dumps(signed({1: -7, 4: KID, **crit}))) == "cose_critical"
    else:
        assert refused(cbor2.dumps(signed({1: -7, 4: KID}, crit))) == "cose_critical"


def test_the_key_id_is_read_protected_first_and_else_unprotected() -> None:
    assert parse1(cbor2.dumps(signed({1: -7, 4: b"right"}, {4: b"wrong"}))).kid == b"right"
    assert parse1(cbor2.dumps(signed({1: -7}, {4: b"only"}))).kid == b"only"
    assert parse1(cbor2.dumps(signed({1: -7}))).kid is None


@pytest.mark.parametrize("kid", [b"", b"x" * 65, "text", 7])
def test_a_key_id_of_no_sense_is_refused(kid: object) -> None:
    assert refused(cbor2.dumps(signed({1: -7, 4: kid}))) == "cose_structure"


def test_trailing_bytes_are_refused() -> None:
    assert refused(cbor2.dumps(signed({1: -7, 4: KID})) + b"\x00") == "cose_structure"
    assert refused(cbor2.dumps(signed({}, raw=cbor2.dumps({1: -7, 4: KID}) + b"\x00"))) == "cose_structure"


def test_a_header_key_that_stands_twice_is_refused() -> None:
    twice = bytes.fromhex("a3 01 26 04 41 61 04 41 62")
    assert refused(cbor2.dumps(signed({}, raw=twice))) == "cose_structure"


def test_an_ecdsa_signature_is_exactly_64_bytes() -> None:
    message = signed({1: -7, 4: KID})
    signature = message[3]
    assert isinstance(signature, bytes)
    for changed in (signature[:-1], signature + b"\x00", b"\x00" + signature, b""):
        assert refused(cbor2.dumps([*message[:3], changed])) == "cose_signature"
    der = P256.sign(b"anything", ec.ECDSA(hashes.SHA256()))
    assert refused(cbor2.dumps([*message[:3], der])) == "cose_signature"
    assert refused(cbor2.dumps([*message[:3], bytes(64)])) == "cose_signature"


def test_es256_with_a_p384_key_is_refused_even_with_its_own_96_byte_signature() -> None:
    header = cbor2.dumps({1: -7, 4: KID})
    data = cbor2.dumps([header, {}, b"hello", bytes(96)])
    with pytest.raises(CoseError) as caught:
        verify1(data, P384.public_key(), alg=Alg.ES256)
    assert caught.value.code == "cose_key"
    with pytest.raises(CoseError):
        sign1(b"", P384, alg=Alg.ES256, kid=KID)


@pytest.mark.parametrize(
    "item",
    [
        [],
        [b"", {}, b""],
        [b"", {}, b"", b"", b""],
        {},
        [b"", [], b"p", b"s"],
        ["", {}, b"p", b"s"],
        [b"", {}, None, b"s"],
        [b"\xa0", {}, "p", b"s"],
        [b"\x80", {}, b"p", b"s"],
        [b"\xff", {}, b"p", b"s"],
        7,
    ],
)
def test_another_shape_is_refused_and_never_a_plain_exception(item: object) -> None:
    assert refused(cbor2.dumps(cbor2.CBORTag(18, item))) == "cose_structure"


@given(st.binary(max_size=300))
def test_no_bytes_at_all_raise_anything_else(data: bytes) -> None:
    with pytest.raises(CoseError):
        verify1(data, P256.public_key(), alg=Alg.ES256)


GOOD = sign1(b"payload", P256, alg=Alg.ES256, kid=KID)


@given(st.integers(0, len(GOOD) * 8 - 1))
def test_one_changed_bit_is_one_refusal(bit: int) -> None:
    changed = bytearray(GOOD)
    changed[bit // 8] ^= 1 << bit % 8
    # The kid's bytes are protected too; only the (empty) unprotected map could change unseen, and it cannot be filled
    with pytest.raises(CoseError):
        verify1(bytes(changed), P256.public_key(), alg=Alg.ES256)
