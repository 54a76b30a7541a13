"""Trust lists: signed, pinned, and made from what real issuers publish, oddities included."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.cli import main
from protocol.cbor import encode
from protocol.cose import Alg, sign1
from protocol.trust import DCC_TYPES, KeyRevocations, TrustError, TrustList, merge, signer_kid
from protocol.trust_sources import (
    dcc_types_of,
    from_card_revocations,
    from_certificate,
    from_dcc_trust_list,
    from_did_document,
    from_json,
    from_jwks,
    from_own_keys,
    settle_revocations,
    thumbprint,
    to_own_keys,
)

from .credentials.makers import NOW, P256, TRUST, health

SIGNER = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
SIGNER_KEY = SIGNER.public_key().public_bytes_raw()
FULL = replace(
    TRUST,
    keys=(
        replace(
            TRUST.keys[0], not_before=NOW, not_after=NOW + timedelta(days=1), dcc_types=frozenset("t"), country="XX"
        ),
        *TRUST.keys[1:],
    ),
    revocations=(KeyRevocations(b"kid", None, {"a": None, "b": 12.0}, readable=False, counter=3),),
)


def test_a_signed_list_comes_back_whole_and_names_its_signer() -> None:
    data = FULL.to_signed(SIGNER)
    read = TrustList.from_signed(data, SIGNER_KEY)
    assert read == FULL and read.signer == SIGNER_KEY
    assert TrustList.from_signed(data, None) == FULL
    assert read.keys[0].public_key.public_numbers() == P256.public_key().public_numbers()  # type: ignore[union-attr]


def test_a_list_of_another_signer_is_refused() -> None:
    other = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\x01")
    with pytest.raises(TrustError) as caught:
        TrustList.from_signed(FULL.to_signed(other), SIGNER_KEY)
    assert caught.value.code == "trust_signer"


def test_a_list_that_names_a_signer_who_did_not_sign_is_refused() -> None:
    other = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\x01")
    body = {1: 1, 2: 1, 3: [], 4: [], 5: SIGNER_KEY}
    forged = sign1(
        encode(body), other, alg=Alg.EDDSA, kid=signer_kid(SIGNER_KEY), external_aad=b"gatehouse trust list 1"
    )
    for signer in (None, SIGNER_KEY):
        with pytest.raises(TrustError):
            TrustList.from_signed(forged, signer)


DATA = FULL.to_signed(SIGNER)


@given(st.integers(0, len(DATA) * 8 - 1))
def test_one_changed_bit_is_noticed(bit: int) -> None:
    changed = bytearray(DATA)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(TrustError):
        TrustList.from_signed(bytes(changed), SIGNER_KEY)


@pytest.mark.parametrize(
    "body",
    [
        [],
        {1: 2},
        {1: 1, 5: b"short"},
        {1: 1, 2: "x", 3: [], 4: [], 5: SIGNER_KEY},
        {1: 1, 2: 1, 3: {}, 4: [], 5: SIGNER_KEY},
        {1: 1, 2: 1, 3: [1], 4: [], 5: SIGNER_KEY},
        {1: 1, 2: 1, 3: [{1: b"k", 2: -7, 3: b"no key", 4: []}], 4: [], 5: SIGNER_KEY},
        {1: 1, 2: 1, 3: [{1: b"", 2: -7, 3: TRUST.keys[0].spki, 4: []}], 4: [], 5: SIGNER_KEY},
        {1: 1, 2: 1, 3: [{1: b"k", 2: -7, 3: TRUST.keys[0].spki, 4: [1]}], 4: [], 5: SIGNER_KEY},
        {1: 1, 2: 1, 3: [{1: b"k", 2: -7, 3: TRUST.keys[0].spki, 4: [], 5: 1}], 4: [], 5: SIGNER_KEY},
        {1: 1, 2: 1, 3: [], 4: [{1: "k", 3: {}}], 5: SIGNER_KEY},
        {1: 1, 2: 1, 3: [], 4: [{1: b"k", 3: {1: 1}}], 5: SIGNER_KEY},
    ],
)
def test_a_signed_but_malformed_list_is_our_error(body: object) -> None:
    data = sign1(encode(body), SIGNER, alg=Alg.EDDSA, kid=b"k", external_aad=b"gatehouse trust list 1")
    with pytest.raises(TrustError):
        TrustList.from_signed(data, SIGNER_KEY)


def test_merging_keeps_each_key_once() -> None:
    merged = merge([FULL, FULL, TRUST], NOW)
    assert len(merged.keys) == 3 and len(merged.revocations) == 1


def certificate(
    usage: list[str] | None, *, key: ec.EllipticCurvePrivateKey = P256, country: str = "XX", serial: int = 7
) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, country)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=700))
    )
    if usage is not None:
        oids = [x509.ObjectIdentifier(oid) for oid in usage]
        builder = builder.add_extension(x509.ExtendedKeyUsage(oids), critical=len(usage) == 1)
    return builder.sign(P256, hashes.SHA256()).public_bytes(Encoding.DER)


OID = "1.3.6.1.4.1.1847.2021.1."
OID_0 = "1.3.6.1.4.1.0.1847.2021.1."


@pytest.mark.parametrize(
    ("usage", "types"),
    [
        (None, DCC_TYPES),
        ([OID + "1"], {"t"}),
        ([OID_0 + "2"], {"v"}),
        ([OID + "1", OID_0 + "3"], {"t", "r"}),
        (["1.3.6.1.5.5.7.3.1"], DCC_TYPES),
        (["1.3.6.1.5.5.7.3.1", OID + "2"], {"v"}),
    ],
)
def test_both_spellings_of_key_usage_count_and_none_restricts_nothing(usage: list[str] | None, types: set[str]) -> None:
    (key,) = from_certificate(certificate(usage))
    assert key.dcc_types == types
    assert (key.alg, key.country, key.uses) == (Alg.ES256, "XX", {"eu_dcc"})
    assert (key.not_before, key.not_after) == (NOW, NOW + timedelta(days=700))


def test_co15_an_empty_extended_key_usage_restricts_nothing() -> None:
    der = certificate([OID + "1"])
    at = der.index(bytes.fromhex("0603551d25"))
    extension = der[at:]
    start = extension.index(b"\x04", 5)
    empty = der[: at + start] + b"\x04\x02\x30\x00"
    assert dcc_types_of(der) == {"t"}
    assert dcc_types_of(empty) == DCC_TYPES
    for length in range(len(der)):
        assert dcc_types_of(der[:length]) in ({"t"}, DCC_TYPES)


def test_fi_a_certificate_as_base64_of_pem_is_read() -> None:
    der = certificate([OID + "2"])
    pem = x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)
    expected = from_certificate(der)
    kid = hashlib.sha256(der).digest()[:8]
    for data in (pem, base64.b64encode(pem), base64.b64encode(der), b"\n" + pem):
        assert from_certificate(data) == expected
    assert expected[0].kid == kid
    assert len(from_certificate(pem + pem)) == 2


def test_a_der_certificate_that_ends_in_white_space_is_read() -> None:
    endings = set()
    for serial in range(1, 4000):  # one in 64 does
        der = certificate(None, serial=serial)
        assert from_certificate(der)
        endings.add(der[-1])
        if endings & set(b" \n\r\t"):
            return
    raise AssertionError("no certificate ended in white space")


def test_es_401_a_p384_key_is_left_out_with_a_note() -> None:
    der = certificate(None, key=ec.derive_private_key(5, ec.SECP384R1()))
    found = from_dcc_trust_list({"x": [base64.b64encode(der).decode()], "y": ["!"], "z": "AAAA"})
    assert not found.keys and len(found.notes) == 3 and "P-256" in found.notes[0]


def jwk(**changes: object) -> dict[str, object]:
    numbers = P256.public_key().public_numbers()
    x, y = (base64.urlsafe_b64encode(n.to_bytes(32, "big")).rstrip(b"=").decode() for n in (numbers.x, numbers.y))
    row: dict[str, object] = {"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "x": x, "y": y}
    return row | {"kid": thumbprint(row)} | changes


def test_a_key_set_is_read_with_its_issuers() -> None:
    key = jwk()
    found = from_jwks({"keys": [key], "issuers": {"https://a": [key["kid"]], "https://b": [key["kid"]]}})
    assert [entry.issuer for entry in found.keys] == ["https://a", "https://b"]
    assert from_jwks({"keys": [key]}, issuer="https://c").keys[0].issuer == "https://c"
    with pytest.raises(TrustError, match="--issuer"):
        from_jwks({"keys": [key]})


@pytest.mark.parametrize(
    "changes",
    [
        {"d": "AAAA"},
        {"kty": "RSA"},
        {"crv": "P-384"},
        {"use": "enc"},
        {"alg": "ES384"},
        {"x": "AAAA"},
        {"x": jwk()["y"]},
        {"kid": "not the thumbprint"},
        {"kid": 7},
    ],
)
def test_an_unfit_key_is_left_out_with_a_note(changes: dict[str, object]) -> None:
    found = from_jwks({"keys": [jwk(**changes)]}, issuer="https://a")
    assert not found.keys and len(found.notes) == 1


def revocation(**changes: object) -> dict[str, object]:
    return {"kid": "k", "method": "rid", "ctr": 1, "rids": ["abc", "d_f.1700000000"]} | changes


def test_card_revocations_are_read_with_their_times() -> None:
    (entry,) = from_card_revocations(revocation()).revocations
    assert (entry.rids, entry.readable, entry.counter) == ({"abc": None, "d_f": 1_700_000_000.0}, True, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"rids": ["abc", "abc"]},
        {"rids": ["abc", "abc.5"]},
        {"rids": ["abc", "a+b"]},
        {"rids": ["abc", 7]},
        {"rids": ["abc", "x" * 25]},
        {"method": "other"},
        {"ctr": 0},
        {"ctr": "1"},
    ],
)
def test_a_malformed_revocation_list_is_kept_as_not_readable(changes: dict[str, object]) -> None:
    found = from_card_revocations(revocation(**changes))
    assert not found.revocations[0].readable and "abc" in found.revocations[0].rids and found.notes


def test_an_announced_list_that_is_missing_or_older_leaves_revocation_unknown() -> None:
    announced = from_jwks({"keys": [jwk(crlVersion=3)]}, issuer="https://a").revocations
    kid = str(jwk()["kid"])

    def readable(*counters: int) -> bool:
        lists = [from_card_revocations(revocation(kid=kid, ctr=counter)).revocations[0] for counter in counters]
        (entry,) = settle_revocations([*announced, *lists])
        return entry.readable

    assert not readable() and not readable(2)
    assert readable(3) and readable(2, 4)


def test_a_did_document_gives_only_asserted_json_web_keys() -> None:
    def method(name: str, **changes: object) -> dict[str, object]:
        return {"id": name, "type": "JsonWebKey2020", "publicKeyJwk": jwk(), **changes}

    methods = [
        method("did:web:a.example#k1"),
        method("did:web:a.example#k2"),
        method("did:web:a.example#k3", type="Other"),
        method("did:key:a#k4"),
        method("nonsense"),
        method("did:web:a.example#k6", publicKeyJwk=None),
        7,
    ]
    asserted = [f"did:web:a.example#k{number}" for number in (1, 3, 6)] + ["did:key:a#k4"]
    found = from_did_document({"verificationMethod": methods, "assertionMethod": asserted})
    assert [(key.issuer, key.kid) for key in found.keys] == [("did:web:a.example", b"k1")]
    assert len(found.notes) == 6


def test_our_own_keys_come_back_as_they_were_published() -> None:
    content = json.loads(json.dumps(to_own_keys(FULL.keys)))
    assert from_own_keys(content).keys == [replace(FULL.keys[0], dcc_types=DCC_TYPES, country=None), *FULL.keys[1:]]
    content["gatehouse_keys"][0]["uses"] = ["everything"]
    with pytest.raises(TrustError, match="everything"):
        from_own_keys(content)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "keys",
                    "kid",
                    "rids",
                    "verificationMethod",
                    "gatehouse_keys",
                    "issuers",
                    "x",
                    "y",
                    "id",
                    "publicKeyJwk",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_json_is_read_or_refused_with_our_error(content: object) -> None:
    try:
        from_json(json.dumps(content), issuer="https://a")
    except TrustError:
        pass


@given(st.binary(max_size=100))
def test_any_bytes_are_a_certificate_or_our_error(data: bytes) -> None:
    for candidate in (data, b"\x30" + data, b"-----BEGIN CERTIFICATE-----" + data):
        try:
            from_certificate(candidate)
        except TrustError:
            pass


def test_import_and_check_work_together_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "own.json").write_text(json.dumps(to_own_keys(TRUST.keys)), "utf-8")
    (tmp_path / "keys" / "dsc.der").write_bytes(certificate(None))
    (tmp_path / "keys" / "notes.txt").write_text("not a source", "utf-8")
    out = tmp_path / "trust.cbor"
    assert main(["trust", "import", str(tmp_path / "keys"), "--out", str(out)]) == 0
    printed = capsys.readouterr()
    signer = printed.out.split("signer ")[1].strip()
    assert "3 keys" in printed.out and "notes.txt" in printed.err
    assert (tmp_path / "trust-signing-key.pem").stat().st_mode & 0o777 == 0o600

    lines = [
        health(),
        json.dumps({"text": health(), "at": NOW.isoformat()}),
        '{"text": 7}',
        '{"text": "x", "at": "never"}',
    ]
    source = io.TextIOWrapper(io.BytesIO("\n".join(lines).encode() + b"\n\xff\xfe\n"))
    monkeypatch.setattr(sys, "stdin", source)
    assert main(["check", "--trust", str(out), "--signer", signer, "--at", "2020-01-01", "--json"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["reasons"] for answer in answers] == [
        ["not_yet_valid"],
        [],
        ["unreadable_line"],
        ["unreadable_line"],
        ["unknown_scheme"],
    ]
    assert answers[1]["valid"] is True and answers[1]["colour"] == "green"

    assert main(["trust", "show", str(out)]) == 0
    assert "not pinned" in capsys.readouterr().out
    assert main(["trust", "show", str(out), "--signer", "00" * 32]) == 2
    assert "another key" in capsys.readouterr().err
    assert main(["trust", "import", str(tmp_path / "absent"), "--out", str(out)]) == 2
