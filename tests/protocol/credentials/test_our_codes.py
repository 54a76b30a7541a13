"""Our own codes: what a door believes of them, and what it refuses with which reason."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from protocol.cbor import encode
from protocol.cose import Alg, sign1
from protocol.credentials import CheckPolicy, Reason, base45, check, to_json
from protocol.credentials.health_code import mask_name
from protocol.credentials.identity import (
    Identity,
    IdentityError,
    identity_info,
    open_identity,
    pack,
    seal_identity,
    unpack,
)
from protocol.credentials.venue_code import CHECK_ALPHABET, check_word
from protocol.errors import ProtocolError
from protocol.status_list import StatusLists, VenueSerials, status_list
from protocol.words import Colour, CredentialKind

from .makers import (
    CTI,
    ED,
    ED_KID,
    FRESH,
    KID,
    NOW,
    P256,
    PSEUDONYM,
    STRANGER,
    TESTED,
    TRUST,
    VENUE,
    badge,
    health,
    paper,
    poster,
)

MINUTE = timedelta(minutes=1)
PERSON = Identity("欧阳娜", "11010519491231002X", "+8613912345678")


def reasons(text: str, at: timedelta = timedelta(0), **how: object) -> tuple[Reason, ...]:
    how.setdefault("status", FRESH)
    checked = check(text, TRUST, at=NOW + at, **how)  # type: ignore[arg-type]
    assert checked.valid is not any(reason.refuses for reason in checked.reasons)
    return checked.reasons


def own(claims: dict[int, object]) -> str:
    return "JK1:" + base45.encode(sign1(encode(claims), P256, alg=Alg.ES256, kid=KID))


def test_a_green_code_is_believed_and_says_what_the_issuer_said() -> None:
    checked = check(health(doses=3, region="430102"), TRUST, at=NOW)
    assert (checked.kind, checked.valid, checked.reasons) == (CredentialKind.HEALTH_CODE, True, ())
    credential = checked.credential
    assert credential is not None
    assert (credential.colour, credential.name_masked, credential.pseudonym) == (Colour.GREEN, "欧*娜", PSEUDONYM)
    assert (credential.cti, credential.test, credential.doses, credential.region) == (CTI, TESTED, 3, "430102")
    assert (credential.issued_at, credential.expires_at) == (NOW, NOW + 5 * MINUTE)


@pytest.mark.parametrize("colour", list(Colour))
def test_every_colour_arrives_as_it_was_issued(colour: Colour) -> None:
    credential = check(health(colour=colour), TRUST, at=NOW).credential
    assert credential is not None and credential.colour is colour


def test_a_code_signed_with_ed25519_is_believed_when_the_trusted_key_says_so() -> None:
    assert reasons(health(key=ED, alg=Alg.EDDSA, kid=ED_KID)) == ()
    assert reasons(health(key=ED, alg=Alg.ED25519, kid=ED_KID)) == ()
    assert reasons(health(key=ED, alg=Alg.EDDSA, kid=KID)) == (Reason.ALGORITHM_NOT_ACCEPTED,)


def test_the_core_code_is_as_small_as_the_design_says() -> None:
    text = health()  # colour, name, pseudonym, test; and a cti of 4 bytes, which is always there
    assert len(text) <= 217


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (timedelta(minutes=5, seconds=59), ()),
        (timedelta(minutes=6), (Reason.EXPIRED,)),
        (timedelta(seconds=-60), ()),
        (timedelta(seconds=-61), (Reason.NOT_YET_VALID,)),
    ],
)
def test_expired_and_not_yet_valid_are_told_apart_with_a_minute_of_grace(
    after: timedelta, expected: tuple[Reason, ...]
) -> None:
    assert reasons(health(), after) == expected
    strict = CheckPolicy(clock_skew=timedelta(0))
    assert reasons(health(), timedelta(minutes=5), policy=strict) == (Reason.EXPIRED,)


def test_the_last_second_of_the_calendar_is_a_time_like_any_other() -> None:
    last = 253_402_300_799
    assert reasons(own(GOOD_CLAIMS | {4: last})) == (Reason.LIFE_TOO_LONG,)
    assert reasons(own(GOOD_CLAIMS | {4: last, 6: last})) == (Reason.NOT_YET_VALID, Reason.LIFE_TOO_LONG)
    assert reasons(own(GOOD_CLAIMS | {4: 0, 6: 0})) == (Reason.EXPIRED, Reason.LIFE_TOO_LONG)


def test_a_dynamic_code_that_lives_longer_than_ten_minutes_is_refused() -> None:
    assert reasons(health(lifetime=10 * MINUTE)) == ()
    assert reasons(health(lifetime=timedelta(minutes=10, seconds=1))) == (Reason.LIFE_TOO_LONG,)
    assert Reason.LIFE_TOO_LONG in reasons(health(lifetime=timedelta(0)))


def test_a_stranger_with_our_key_id_is_refused() -> None:
    assert reasons(health(key=STRANGER)) == (Reason.SIGNATURE_WRONG,)
    assert reasons(health(key=STRANGER, kid=b"nobody")) == (Reason.KEY_UNKNOWN,)


def test_a_code_of_another_issuer_than_the_keys_is_refused() -> None:
    assert reasons(health(issuer="cs.example")) == ()
    assert reasons(health(issuer="somebody else")) == (Reason.ISSUER_UNKNOWN,)


GOOD_CLAIMS: dict[int, object] = {
    6: int(NOW.timestamp()),
    4: int(NOW.timestamp()) + 300,
    7: CTI,
    -65537: {1: 1},
}


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({-65537: {}}, Reason.CONTENT_WRONG),
        ({-65537: {1: 5}}, Reason.CONTENT_WRONG),
        ({-65537: {1: True}}, Reason.CONTENT_WRONG),
        ({-65537: {1: 1, 2: ""}}, Reason.CONTENT_WRONG),
        ({-65537: {1: 1, 2: "x" * 41}}, Reason.CONTENT_WRONG),
        ({-65537: {1: 1, 2: "a\u202eb"}}, Reason.CONTENT_WRONG),
        ({-65537: {1: 1, 3: b"short"}}, Reason.CONTENT_WRONG),
        ({-65537: {1: 1, 4: [1, 2]}}, Reason.CONTENT_WRONG),
        ({-65537: {1: 1, 4: [1, 9, 1]}}, Reason.CONTENT_WRONG),
        ({-65537: {1: 1, 4: [-1, 1, 1]}}, Reason.CONTENT_WRONG),
        ({-65537: {1: 1, 5: -1}}, Reason.CONTENT_WRONG),
        ({-65537: {1: 1, 6: "430102"}}, Reason.CONTENT_WRONG),
        ({-65537: {1: 1, 7: b"s" * 201}}, Reason.CONTENT_WRONG),
        ({-65537: {8: b"short"}}, Reason.CONTENT_WRONG),
        ({-65537: [1]}, Reason.BAD_STRUCTURE),
        ({7: b"abc"}, Reason.CONTENT_WRONG),
        ({7: None}, Reason.CONTENT_WRONG),
        ({4: None}, Reason.CONTENT_WRONG),
        ({6: "now"}, Reason.CONTENT_WRONG),
        ({4: 10**30}, Reason.BAD_STRUCTURE),  # a big number is a tag, and no tag is read in our own codes
        ({4: 2**62}, Reason.CONTENT_WRONG),
        ({4: float("nan")}, Reason.CONTENT_WRONG),
    ],
)
def test_signed_nonsense_is_refused_by_name(claims: dict[int, object], expected: Reason) -> None:
    assert reasons(own(GOOD_CLAIMS)) == ()
    assert reasons(own(GOOD_CLAIMS | claims)) == (expected,)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("JK1:", Reason.BAD_STRUCTURE),
        ("JK1:a", Reason.BAD_ENCODING),
        ("JK1::::", Reason.BAD_ENCODING),
        ("JK1:GGW", Reason.BAD_ENCODING),
        ("JK1:" + "0" * 697, Reason.TOO_LONG),
        ("JK1:" + "0" * 690, Reason.BAD_STRUCTURE),
        ("JK2:ABC", Reason.UNKNOWN_SCHEME),
        ("jk1:ABC", Reason.UNKNOWN_SCHEME),
        ("", Reason.UNKNOWN_SCHEME),
        ("\x00\ud800", Reason.UNKNOWN_SCHEME),
        ("x" * 70_000, Reason.TOO_LONG),
    ],
)
def test_broken_texts_have_their_reasons(text: str, expected: Reason) -> None:
    assert reasons(text) == (expected,)


def test_issuing_refuses_what_a_door_would_refuse() -> None:
    for wrong in (
        {"cti": b"abc"},
        {"pseudonym": b"1"},
        {"name_masked": ""},
        {"identity_sealed": bytes(201)},
        {"region": "43"},
        {"doses": -1},
    ):
        with pytest.raises(ProtocolError):
            health(**wrong)


@pytest.mark.parametrize(
    ("name", "masked"),
    [("欧阳娜", "欧*娜"), ("李四", "李*"), ("李", "李"), ("Ada Lovelace", "A*e"), ("", "")],
)
def test_a_masked_name_shows_first_and_last_character_at_most(name: str, masked: str) -> None:
    assert mask_name(name) == masked


@pytest.mark.parametrize(
    ("index", "colour"), [(0, Colour.GREEN), (1, Colour.YELLOW), (2, Colour.RED), (3, Colour.GREY)]
)
def test_a_paper_code_takes_its_colour_from_the_status_list(index: int, colour: Colour) -> None:
    checked = check(paper(index), TRUST, at=NOW, status=FRESH)
    assert (checked.kind, checked.valid) == (CredentialKind.PAPER_CODE, True)
    assert checked.credential is not None and checked.credential.colour is colour


def test_a_paper_code_without_its_list_is_not_called_valid() -> None:
    for how in ({"status": None}, {"status": StatusLists()}):
        checked = check(paper(), TRUST, at=NOW, **how)
        assert (checked.valid, checked.reasons, checked.is_undecided) == (False, (Reason.STATUS_UNKNOWN,), True)
    assert reasons(paper(99)) == (Reason.STATUS_UNKNOWN,)
    assert reasons(paper(0, number=2)) == (Reason.STATUS_UNKNOWN,)


def test_an_old_list_is_marked_then_checked_by_hand_and_never_silent() -> None:
    assert reasons(paper(), timedelta(hours=11)) == ()
    assert reasons(paper(), timedelta(hours=13)) == (Reason.STATUS_OLD,)
    assert reasons(paper(), timedelta(hours=73)) == (Reason.STATUS_TOO_OLD,)
    moving = CheckPolicy(when_status_too_old="mark")
    assert reasons(paper(), timedelta(hours=73), policy=moving) == (Reason.STATUS_OLD,)
    patient = CheckPolicy(status_too_old_after=timedelta(days=30))
    assert reasons(paper(), timedelta(days=8), policy=patient) == (Reason.STATUS_TOO_OLD,)  # the list itself expired


def test_a_paper_code_ends_after_its_weeks() -> None:
    week = CheckPolicy(status_too_old_after=timedelta(days=90), when_status_too_old="mark")
    assert reasons(paper(), timedelta(days=31), policy=week) == (Reason.EXPIRED, Reason.STATUS_OLD)


def test_a_withdrawn_paper_code_is_refused_whatever_its_colour() -> None:
    later = NOW + timedelta(days=7)
    withdrawn = status_list("paper_revoked", 1, [0, 1, 0, 0, 1], issued_at=NOW, expires_at=later)
    lists = StatusLists.of([*FRESH.lists.values(), withdrawn])
    assert reasons(paper(0), status=lists) == reasons(paper(3), status=lists) == ()
    for index in (1, 4):  # yellow, green
        checked = check(paper(index), TRUST, at=NOW, status=lists)
        assert (checked.valid, checked.is_undecided, checked.reasons) == (False, False, (Reason.REVOKED,))
    other = StatusLists.of([*FRESH.lists.values(), replace(withdrawn, number=2)])
    assert reasons(paper(1), status=other) == (), "another list's withdrawals say nothing of this one"


def test_a_stopped_badge_is_refused() -> None:
    assert reasons(badge(0)) == ()
    assert reasons(badge(1)) == (Reason.REVOKED,)
    assert reasons(badge(2)) == (Reason.SUSPENDED,)
    assert reasons(badge(0), status=None) == (Reason.STATUS_UNKNOWN,)
    assert check(badge(), TRUST, at=NOW, status=FRESH).kind is CredentialKind.STAFF_BADGE


def test_a_poster_is_verified_by_token_serial_and_lowest_valid_serial() -> None:
    checked = check(poster(10), TRUST, at=NOW, status=FRESH)
    assert checked.valid and checked.credential is not None
    assert (checked.credential.venue_id, checked.credential.serial, checked.credential.entrance) == (VENUE, 10, 2)
    assert reasons(poster(7)) == (Reason.REVOKED,)
    assert reasons(poster(4)) == (Reason.REPLACED,)
    assert reasons(poster(4, venue_id=b"other!")) == ()
    assert reasons(poster(10), status=None) == (Reason.STATUS_UNKNOWN,)
    assert reasons(poster(10), timedelta(days=366)) == (Reason.EXPIRED, Reason.STATUS_TOO_OLD)


def test_a_poster_of_another_host_is_noticed() -> None:
    ours = CheckPolicy(venue_hosts=frozenset({"cs.example.cn"}))
    assert reasons(poster(), policy=ours) == ()
    assert reasons(poster(host="https://CS.example.CN"), policy=ours) == ()
    assert reasons(poster(host="https://evil.example"), policy=ours) == (Reason.WRONG_HOST,)
    assert reasons(poster(host="https://cs.example.cn:444"), policy=ours) == (Reason.WRONG_HOST,)


@pytest.mark.parametrize(
    "changed",
    [
        "http://cs.example.cn",
        "https://user@cs.example.cn",
        "ftp://cs.example.cn",
        "https://[",
        "https://cs.example.cn/x",
    ],
)
def test_a_link_of_another_shape_is_no_venue_code(changed: str) -> None:
    assert reasons(poster(host=changed)) == (Reason.UNKNOWN_SCHEME,)


def test_plain_http_is_read_only_from_the_same_machine() -> None:
    for host in ("http://127.0.0.1:8080", "http://localhost", "http://[::1]:8080"):
        assert reasons(poster(host=host)) == ()


def test_one_poster_has_one_text() -> None:
    text = poster(entrance=200)
    assert reasons(text + "?x=1") == (Reason.UNKNOWN_SCHEME,)
    token = text.rsplit("/", 1)[1]
    spare = len(token) * 6 % 8  # unused bits of the last character
    assert spare, "the fixture should have unused bits"
    data = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = token[:-1] + alphabet[alphabet.index(token[-1]) + 1]
    assert base64.urlsafe_b64decode(other + "=" * (-len(token) % 4)) == data
    assert reasons(text.replace(token, other)) == (Reason.BAD_ENCODING,)


def test_the_check_word_is_stable_and_readable() -> None:
    assert check_word(VENUE, 10) == check_word(VENUE, 10)
    assert len({check_word(VENUE, serial) for serial in range(500)}) > 490
    assert all(character in CHECK_ALPHABET for serial in range(50) for character in check_word(VENUE, serial))
    assert not set("0O1IL2Z5S6G8B") & set(CHECK_ALPHABET)


def test_a_badge_does_not_open_as_a_health_code_when_the_key_may_only_sign_badges() -> None:
    from dataclasses import replace

    only = replace(TRUST, keys=(replace(TRUST.keys[0], uses=frozenset({"staff_badge"})),))
    assert check(health(), only, at=NOW).reasons == (Reason.KEY_NOT_FOR_THIS,)
    assert check(badge(), only, at=NOW, status=FRESH).valid


def test_a_key_is_believed_only_within_its_own_time() -> None:
    from dataclasses import replace

    key = replace(TRUST.keys[0], not_before=NOW, not_after=NOW + MINUTE)
    trust = replace(TRUST, keys=(key,))
    assert check(health(), trust, at=NOW).valid
    assert check(health(), trust, at=NOW + 2 * MINUTE).reasons == (Reason.KEY_EXPIRED,)
    assert check(health(), trust, at=NOW - MINUTE / 2).reasons == (Reason.KEY_NOT_YET_VALID,)


def test_a_place_may_refuse_a_kind() -> None:
    policy = CheckPolicy(accepted=frozenset({CredentialKind.PAPER_CODE}))
    assert reasons(health(), policy=policy) == (Reason.SCHEME_NOT_ACCEPTED,)


def test_an_identity_record_of_a_three_character_name_has_29_bytes() -> None:
    assert len(pack(PERSON)) == 29
    assert unpack(pack(PERSON)) == PERSON


@pytest.mark.parametrize(
    "identity",
    [
        Identity("A", "E12345678", "+85291234567"),
        Identity("欧阳娜", "110105194912310021", "13912345678"),  # wrong check digit, phone not E.164: kept as text
        Identity("欧阳娜", "01010519491231002X", ""),
        Identity("N" * 40, "9" * 30, "+1"),
        Identity("x", "11010519491231002x", "+0"),
    ],
)
def test_other_documents_and_phones_survive_as_text(identity: Identity) -> None:
    assert unpack(pack(identity)) == identity


def test_a_sealed_identity_opens_for_the_vault_and_this_code_only() -> None:
    vault = X25519PrivateKey.from_private_bytes(bytes(range(32)))
    info = identity_info(CTI, PSEUDONYM)
    sealed = seal_identity(PERSON, vault.public_key(), info=info)
    assert len(sealed) == 77
    credential = check(health(identity_sealed=sealed), TRUST, at=NOW).credential
    assert credential is not None and credential.identity_sealed == sealed
    assert open_identity(sealed, vault, info=identity_info(CTI, PSEUDONYM)) == PERSON
    for other in (identity_info(b"4444", PSEUDONYM), identity_info(CTI, None), b""):
        with pytest.raises(IdentityError):
            open_identity(sealed, vault, info=other)
    for broken in (b"", sealed[:-1], sealed + b"\x00", bytes(77)):
        with pytest.raises(IdentityError):
            open_identity(broken, vault, info=info)
    assert identity_info(b"ab", b"cd") != identity_info(b"abc", b"d")


def test_nothing_personal_shows_in_repr_or_json() -> None:
    sealed = bytes(77)
    checked = check(health(identity_sealed=sealed, doses=2), TRUST, at=NOW)
    shown = repr(checked) + str(to_json(checked)) + repr(PERSON)
    for secret in ("欧", "娜", PSEUDONYM.hex(), repr(PSEUDONYM), CTI.hex(), "doses=2", "NEGATIVE", "110105", "139123"):
        assert secret not in shown
    assert to_json(checked)["colour"] == "green"


def test_a_younger_status_list_wins_over_an_older_one() -> None:
    old = VenueSerials(frozenset(), {}, NOW - timedelta(days=1), NOW + timedelta(days=7))
    assert FRESH.venues is not None
    for order in ([old, FRESH.venues], [FRESH.venues, old]):
        assert StatusLists.of(order).venues is FRESH.venues
