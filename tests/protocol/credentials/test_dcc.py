"""EU Digital COVID Certificates: every ruling about real issuers' oddities, on certificates of our own."""

from __future__ import annotations

import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import cbor2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from protocol.cose import Alg, sign_raw
from protocol.credentials import Checked, CheckPolicy, Reason, base45, check, to_json
from protocol.trust import TrustedKey, TrustList, spki_of
from protocol.words import CredentialKind

from .makers import P256, STRANGER

AT = datetime(2021, 10, 1, 12, 0, tzinfo=UTC)
IAT, EXP = int(AT.timestamp()) - 86_400, int(AT.timestamp()) + 86_400
KID = b"dcc-key1"
KEY = TrustedKey(
    KID,
    Alg.ES256,
    spki_of(P256.public_key()),
    frozenset({CredentialKind.EU_DCC.value}),
    not_before=AT - timedelta(days=30),
    not_after=AT + timedelta(days=30),
    country="XX",
)
VACCINATION = {
    "tg": "840539006",
    "vp": "1119349007",
    "mp": "EU/1/20/1528",
    "ma": "ORG-100030215",
    "dn": 2,
    "sd": 2,
    "dt": "2021-06-01",
    "co": "XX",
    "is": "Ministry",
    "ci": "URN:UVCI:01:XX:1#A",
}
TEST = {
    "tg": "840539006",
    "tt": "LP6464-4",
    "sc": "2021-09-30T08:00:00Z",
    "tr": "260415000",
    "co": "XX",
    "is": "Ministry",
    "ci": "URN:UVCI:01:XX:2#A",
}
RECOVERY = {
    "tg": "840539006",
    "fr": "2021-05-01",
    "df": "2021-06-01",
    "du": "2021-12-01",
    "co": "XX",
    "is": "Ministry",
    "ci": "URN:UVCI:01:XX:3#A",
}
PERSON = {"ver": "1.3.0", "nam": {"fn": "Mustermann", "fnt": "MUSTERMANN", "gn": "Erika"}, "dob": "1964-08-12"}


def dcc(groups: dict[str, object] | None = None, *, key: object = P256, **changes: object) -> str:
    """A certificate text; *changes*: claims (number as text), `protected`, `unprotected`, `tags`, `wrap`, `person`."""
    claims: dict[int, object] = {1: "XX", 4: EXP, 6: IAT}
    person = changes.pop("person", PERSON)
    claims[-260] = {1: {**person, **({"v": [VACCINATION]} if groups is None else groups)}}  # type: ignore[dict-item]
    protected = changes.pop("protected", {1: -7, 4: KID})
    unprotected = changes.pop("unprotected", {})
    tags = changes.pop("tags", [18])
    wrap = changes.pop("wrap", zlib.compress)
    for name, value in changes.items():
        claims[int(name.removeprefix("claim_"))] = value
    payload, header = cbor2.dumps(claims), cbor2.dumps(protected)
    signature = sign_raw(cbor2.dumps(["Signature1", header, b"", payload]), key, alg=-7)  # type: ignore[arg-type]
    item: object = [header, unprotected, payload, signature]
    for tag in reversed(tags):  # type: ignore[call-overload]
        item = cbor2.CBORTag(tag, item)
    return "HC1:" + base45.encode(wrap(cbor2.dumps(item)))  # type: ignore[operator]


def look(text: str, *, key: TrustedKey = KEY, at: datetime = AT, **how: object) -> Checked:
    return check(text, TrustList((key,), AT), at=at, **how)  # type: ignore[arg-type]


def reasons(text: str, **how: object) -> tuple[Reason, ...]:
    checked = look(text, **how)  # type: ignore[arg-type]
    assert checked.kind is CredentialKind.EU_DCC
    return checked.reasons


def test_a_good_certificate_is_believed_and_shows_nothing_personal() -> None:
    checked = look(dcc())
    assert checked.valid and checked.credential is not None
    assert checked.credential.claims["v"] == [VACCINATION]
    assert checked.credential.colour is None
    shown = repr(checked) + str(to_json(checked))
    assert not any(secret in shown for secret in ("Muster", "1964", "EU/1/20", "UVCI"))


@pytest.mark.parametrize("groups", [{"t": [TEST]}, {"r": [RECOVERY]}])
def test_tests_and_recoveries_are_believed_too(groups: dict[str, object]) -> None:
    assert reasons(dcc(groups)) == ()


def test_es_1501_a_message_without_a_tag_is_accepted() -> None:
    assert reasons(dcc(tags=[])) == ()


def test_co28_the_cwt_tag_around_the_sign1_tag_is_accepted() -> None:
    assert reasons(dcc(tags=[61, 18])) == ()
    assert reasons(dcc(tags=[61])) == (Reason.BAD_STRUCTURE,)


def test_co20_an_algorithm_that_is_only_unprotected_is_refused() -> None:
    assert reasons(dcc(protected={4: KID}, unprotected={1: -7})) == (Reason.ALGORITHM_NOT_ACCEPTED,)


def test_co21_the_protected_key_id_wins_over_a_wrong_unprotected_one() -> None:
    assert reasons(dcc(unprotected={4: b"wrong"})) == ()


def test_co19_a_key_id_that_is_only_unprotected_is_read() -> None:
    assert reasons(dcc(protected={1: -7}, unprotected={4: KID})) == ()


def test_pl_6_a_key_id_that_fits_no_trusted_key_is_an_unknown_key() -> None:
    assert reasons(dcc(protected={1: -7, 4: b"other"})) == (Reason.KEY_UNKNOWN,)
    assert reasons(dcc(protected={1: -7})) == (Reason.KEY_UNKNOWN,)


def test_a_forged_signature_is_refused() -> None:
    assert reasons(dcc(key=STRANGER)) == (Reason.SIGNATURE_WRONG,)


def test_ps256_is_believed_from_an_rsa_key() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    header, payload = cbor2.dumps({1: -37, 4: KID}), cbor2.dumps({-260: {1: {**PERSON, "v": [VACCINATION]}}})
    tbs = cbor2.dumps(["Signature1", header, b"", payload])
    signature = key.sign(tbs, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    text = "HC1:" + base45.encode(zlib.compress(cbor2.dumps(cbor2.CBORTag(18, [header, {}, payload, signature]))))
    trusted = replace(KEY, alg=Alg.PS256, spki=spki_of(key.public_key()))
    assert reasons(text, key=trusted) == ()
    # the same key id with an EC key: the header may not choose the algorithm
    assert reasons(text) == (Reason.ALGORITHM_NOT_ACCEPTED,)


def test_key_usage_limits_what_a_key_may_sign() -> None:
    only_tests = replace(KEY, dcc_types=frozenset({"t"}))
    assert reasons(dcc({"t": [TEST]}), key=only_tests) == ()
    assert reasons(dcc(), key=only_tests) == (Reason.KEY_NOT_FOR_THIS,)


def test_bg_1_a_group_that_is_null_counts_as_absent() -> None:
    assert reasons(dcc({"v": [VACCINATION], "t": None, "r": None})) == ()
    assert reasons(dcc({"v": None})) == (Reason.CONTENT_WRONG,)


def test_ro_2_two_entries_are_refused() -> None:
    assert reasons(dcc({"v": [VACCINATION, VACCINATION]})) == (Reason.SEVERAL_ENTRIES,)
    assert reasons(dcc({"v": [VACCINATION], "t": [TEST]})) == (Reason.SEVERAL_ENTRIES,)
    assert reasons(dcc({"v": []})) == (Reason.CONTENT_WRONG,)


def test_bg_4_issued_before_its_key_became_valid_is_marked_and_not_refused() -> None:
    checked = look(dcc(claim_6=int((AT - timedelta(days=60)).timestamp())))
    assert checked.valid and checked.reasons == (Reason.SIGNED_BEFORE_KEY,)


def test_se_date_times_as_cbor_tag_0_are_read_as_text() -> None:
    tagged = TEST | {"sc": cbor2.CBORTag(0, "2021-09-30T08:00:00Z")}
    checked = look(dcc({"t": [tagged]}))
    assert checked.valid and checked.credential is not None
    assert checked.credential.claims["t"] == [TEST]


@pytest.mark.parametrize(
    "moment",
    ["2021-09-30T08:00:00.123+02:00", "2021-09-30T08:00Z", "2021-09-30T08:00:00", "2021-09-30 08:00:00+2"],
)
def test_sample_times_are_read_as_issuers_write_them(moment: str) -> None:
    assert reasons(dcc({"t": [TEST | {"sc": moment}]})) == ()


def test_es_float_times_are_accepted() -> None:
    assert reasons(dcc(claim_4=float(EXP), claim_6=IAT + 0.25)) == ()


@pytest.mark.parametrize("time", ["2021", b"1", -1, float("inf"), float("nan"), 10**14, True, [1]])
def test_times_that_are_none_are_refused(time: object) -> None:
    assert reasons(dcc(claim_4=time)) == (Reason.CONTENT_WRONG,)


def test_expiry_and_issue_time_are_told_apart() -> None:
    late, early = AT + timedelta(days=2), AT - timedelta(days=2)
    assert reasons(dcc(), at=late) == (Reason.EXPIRED,)
    assert reasons(dcc(), at=early) == (Reason.NOT_YET_VALID,)
    assert reasons(dcc(), at=datetime.fromtimestamp(EXP, UTC)) == ()  # a minute of grace, either way


def test_a_key_out_of_its_time_is_refused() -> None:
    assert reasons(dcc(), key=replace(KEY, not_after=AT - timedelta(days=1))) == (Reason.KEY_EXPIRED,)
    early = replace(KEY, not_before=AT + timedelta(days=1))
    assert reasons(dcc(), key=early) == (Reason.KEY_NOT_YET_VALID, Reason.SIGNED_BEFORE_KEY)


@pytest.mark.parametrize("born", ["2021-10-02", "2021-11", "2022", "2099-01-01", "2021-10-02T00:00:00"])
def test_a_birth_date_after_the_clock_is_refused(born: str) -> None:
    assert reasons(dcc(person=PERSON | {"dob": born})) == (Reason.BORN_IN_THE_FUTURE,)


def test_an_optional_field_that_is_null_counts_as_absent() -> None:
    assert reasons(dcc({"t": [TEST | {"nm": None, "ma": None, "tc": None}]})) == ()
    assert reasons(dcc(person=PERSON | {"nam": {"fnt": "A", "fn": None, "gn": None, "gnt": None}})) == ()
    assert reasons(dcc(person=PERSON | {"nam": {"fnt": None}})) == (Reason.CONTENT_WRONG,)


@pytest.mark.parametrize("born", ["", "1964", "1964-08", "2021-10-01", "2021-10", "2021", "1978-01-26T00:00:00"])
def test_partial_and_empty_birth_dates_are_accepted(born: str) -> None:
    assert reasons(dcc(person=PERSON | {"dob": born})) == ()


@pytest.mark.parametrize(
    "person",
    [
        PERSON | {"dob": "1815-08-24"},
        PERSON | {"dob": "64-08-12"},
        PERSON | {"dob": None},
        PERSON | {"dob": "1964T00:00:00"},
        PERSON | {"ver": "1"},
        PERSON | {"ver": 1},
        PERSON | {"nam": {}},
        PERSON | {"nam": {"fn": "only"}},
        PERSON | {"nam": {"fnt": "lower"}},
        PERSON | {"nam": {"fnt": "A" * 81}},
        PERSON | {"nam": {"fnt": "A", "fn": "b" * 81}},
        PERSON | {"nam": "A"},
    ],
)
def test_a_person_against_the_schema_is_refused(person: dict[str, object]) -> None:
    assert reasons(dcc(person=person)) == (Reason.CONTENT_WRONG,)


@pytest.mark.parametrize(
    "groups",
    [
        {"v": [VACCINATION | {"dn": 0}]},
        {"v": [VACCINATION | {"dn": "2"}]},
        {"v": [VACCINATION | {"sd": True}]},
        {"v": [VACCINATION | {"dt": "2021-02-30"}]},
        {"v": [VACCINATION | {"dt": "01.06.2021"}]},
        {"v": [VACCINATION | {"co": ""}]},
        {"v": [VACCINATION | {"is": "x" * 81}]},
        {"v": [{name: value for name, value in VACCINATION.items() if name != "ci"}]},
        {"t": [TEST | {"sc": "2021-09-30"}]},
        {"t": [TEST | {"tt": 7}]},
        {"t": [TEST | {"tc": "x" * 81}]},
        {"r": [RECOVERY | {"du": None}]},
        {"v": VACCINATION},
        {"v": [None]},
        {},
    ],
)
def test_an_entry_against_the_schema_is_refused(groups: dict[str, object]) -> None:
    assert reasons(dcc(groups)) == (Reason.CONTENT_WRONG,)


def test_pl_7_values_on_no_list_are_refused_where_the_place_has_the_lists() -> None:
    policy = CheckPolicy(value_sets={"vaccines-covid-19-auth-holders": frozenset({"ORG-100030215"})})
    assert reasons(dcc(), policy=policy) == ()
    strange = dcc({"v": [VACCINATION | {"ma": "ORG-99999999"}]})
    assert reasons(strange, policy=policy) == (Reason.VALUE_UNKNOWN,)
    assert reasons(strange) == ()


def test_texts_broken_on_the_way_have_their_reasons() -> None:
    good = dcc()
    assert reasons("HC1:" + base45.encode(base45.decode(good[4:])[:-3])) == (Reason.BAD_COMPRESSION,)
    assert reasons(good + "\n") == (Reason.BAD_ENCODING,)
    assert reasons("HC1:" + "a" * 30) == (Reason.BAD_ENCODING,)
    assert reasons(dcc(wrap=bytes)) == (Reason.BAD_COMPRESSION,)
    assert look("HC2:" + good[4:]).reasons == (Reason.UNKNOWN_SCHEME,)
    assert reasons("HC1:" + "0" * 4297) == (Reason.TOO_LONG,)


def test_bytes_behind_the_compressed_content_are_refused() -> None:
    assert reasons(dcc(wrap=lambda data: zlib.compress(data) + b"\x00")) == (Reason.BAD_COMPRESSION,)


def test_a_zip_bomb_ends_at_64_kib() -> None:
    bomb = zlib.compress(bytes(50_000_000), 9)[:2800]
    assert reasons("HC1:" + base45.encode(bomb)) == (Reason.BAD_COMPRESSION,)
    whole = zlib.compress(bytes(65_537), 9)
    assert reasons("HC1:" + base45.encode(whole)) == (Reason.BAD_COMPRESSION,)
    just = zlib.compress(bytes(65_536), 9)
    assert reasons("HC1:" + base45.encode(just)) == (Reason.BAD_STRUCTURE,)


@pytest.mark.parametrize(
    "tagged",
    [
        cbor2.CBORTag(4, [1, 2]),
        cbor2.CBORTag(35, "(a+)+$"),
        cbor2.CBORTag(28, [1]),
        cbor2.CBORTag(2, b"\xff" * 9),
        cbor2.CBORTag(1, 1),
        cbor2.CBORTag(37, bytes(16)),
    ],
)
def test_tags_that_build_objects_are_refused_even_when_signed(tagged: object) -> None:
    assert reasons(dcc({"v": [VACCINATION], "x": tagged})) == (Reason.BAD_STRUCTURE,)


@pytest.mark.parametrize("container", [None, [], {}, {1: []}, {1: {7: 1}}, {"1": {}}])
def test_a_payload_without_a_certificate_is_refused(container: object) -> None:
    assert reasons(dcc(**{"claim_-260": container})) == (Reason.BAD_STRUCTURE,)
