"""Check-ins by phone: what opens where, what a stranger may not put in, and references that a kiosk can check alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from protocol.checkin import (
    PLAIN_BYTES,
    SEALED_BYTES,
    TICKET_LIFE_MS,
    Checkin,
    CheckinKey,
    Ticket,
    checkin_info,
    clean_reference,
    make_reference,
    open_sealed,
    pad_person,
    person_from,
    reference_holds,
    seal_person,
)
from protocol.errors import ProtocolError
from protocol.passage import ClockConfidence, Facts, Header, Personal, Place, Stamp, Temperature
from protocol.words import CredentialKind, Direction, EntryMode, Measured, Outcome

PRIVATE = ec.generate_private_key(ec.SECP256R1())
KEY = CheckinKey.make(
    PRIVATE.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
)
KEYS = {KEY.key_id: PRIVATE}
TICKET = Ticket(b"venue1", 2, 77, 1_700_000_000_000, bytes(range(16)), "2026-11")
MOTHER = Personal(
    name="王芳", phone="+8613800138000", helper_name="李雷", helper_phone="13911112222", relation="parent"
)


def header(at_ms: int = TICKET.issued_ms + 5000, *, mode: EntryMode = EntryMode.PHONE, entrance: int = 2) -> Header:
    facts = Facts(
        Direction.IN, mode, CredentialKind.VENUE_CODE, None, Measured.NONE, Outcome.HOLD, ("checked_in_by_phone",), 0, 0
    )
    stamp = Stamp(at_ms, 0, bytes(8), ClockConfidence.SYNCED)
    return Header(1, Place(b"phone-01", b"venue1", entrance), stamp, facts=facts)


def test_what_is_sealed_for_a_ticket_opens_for_it_and_comes_back_whole() -> None:
    stored = Checkin.from_bytes(seal_person(MOTHER, TICKET, KEY).to_bytes())
    assert stored.ticket == TICKET
    assert stored.open(KEYS) == MOTHER


def test_every_person_is_sealed_to_the_same_length() -> None:
    alone = seal_person(Personal(phone="13800138000"), TICKET, KEY)
    assert len(alone.sealed) == len(seal_person(MOTHER, TICKET, KEY).sealed) == SEALED_BYTES


@pytest.mark.parametrize(
    "change",
    [{"venue": b"venue2"}, {"entrance": 1}, {"serial": 78}, {"issued_ms": 1}, {"nonce": bytes(16)}, {"notice": "old"}],
)
def test_a_sealed_person_moved_to_another_ticket_does_not_open(change: dict[str, object]) -> None:
    moved = replace(seal_person(MOTHER, TICKET, KEY), ticket=replace(TICKET, **change))  # type: ignore[arg-type]
    with pytest.raises(ProtocolError, match="changed, or sealed for something else"):
        moved.open(KEYS)


def test_a_changed_byte_and_a_foreign_key_are_refused() -> None:
    sealed = seal_person(MOTHER, TICKET, KEY)
    for place in (8, 9, 40, 100, SEALED_BYTES - 1):
        spoilt = bytearray(sealed.sealed)
        spoilt[place] ^= 1
        with pytest.raises(ProtocolError):
            replace(sealed, sealed=bytes(spoilt)).open(KEYS)
    with pytest.raises(ProtocolError, match="does not hold"):
        sealed.open({bytes(8): PRIVATE})


def test_a_header_of_another_place_time_or_kind_is_refused() -> None:
    checkin = seal_person(MOTHER, TICKET, KEY)
    checkin.check_belongs(header())
    for other in (
        header(entrance=1),
        header(mode=EntryMode.SCAN),
        header(TICKET.issued_ms - 1),
        header(TICKET.issued_ms + TICKET_LIFE_MS + 1),
    ):
        with pytest.raises(ProtocolError):
            checkin.check_belongs(other)


@pytest.mark.parametrize(
    "person",
    [
        Personal(),
        Personal(helper_name="only a helper"),
        Personal(name="x", id_number="11010519491231002X"),
        Personal(name="x", identity_sealed=b"photographed off somebody's code", cti=b"12345678"),
        Personal(name="x", pseudonym=b"12345678"),
        Personal(name="x", temperature=Temperature("infrared", 36.5, None, 36.5)),
        Personal(name="x", relation="boss"),
        Personal(name="x", extra=(("a", "b"),)),
    ],
)
def test_a_stranger_cannot_put_in_what_the_form_does_not_ask(person: Personal) -> None:
    with pytest.raises(ProtocolError, match="not ask"):
        person_from(pad_person(person))


@pytest.mark.parametrize(
    "clear", [b"", bytes(PLAIN_BYTES), b"\xff" * PLAIN_BYTES, b"\xa0\x80".ljust(PLAIN_BYTES - 1, b"\0")]
)
def test_rubbish_is_refused_in_words(clear: bytes) -> None:
    with pytest.raises(ProtocolError):
        person_from(clear)


def test_overlong_names_are_refused_before_they_are_sealed() -> None:
    with pytest.raises(ProtocolError, match="too many letters"):
        seal_person(Personal(name="王" * 180), TICKET, KEY)


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x82\x40\x40", TICKET.to_bytes() + b"\x00"])
def test_malformed_tickets_and_check_ins_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        Checkin.from_bytes(data)
    with pytest.raises(ProtocolError):
        Ticket.from_bytes(data)


def test_a_point_that_is_not_on_the_curve_is_no_key() -> None:
    with pytest.raises(ProtocolError, match="not a point"):
        CheckinKey.make(b"\x04" + b"\x01" * 64).load()


def test_rfc_9180_a_3_1_opens() -> None:
    """The published message has associated data, which ours leave empty: our opener is held to its key and nonce."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from tests.vectors.hpke_p256 import BASE

    assert AESGCM(BASE.key).decrypt(BASE.base_nonce, BASE.ciphertext, BASE.associated) == BASE.plain
    private = ec.derive_private_key(int.from_bytes(BASE.recipient_private, "big"), ec.SECP256R1())
    empty = AESGCM(BASE.key).encrypt(BASE.base_nonce, BASE.plain, b"")
    assert open_sealed(BASE.enc + empty, private, info=BASE.info) == BASE.plain


def test_the_info_names_the_ticket_byte_by_byte() -> None:
    assert checkin_info(TICKET) == b"gatehouse check-in 1" + TICKET.to_bytes()


def test_a_reference_holds_for_its_venue_and_day_alone() -> None:
    found = make_reference(b"k" * 16, "2026-11-22", bytes(range(8)))
    assert len(found) == 7 and clean_reference(f"{found[:3].lower()}-{found[3:]} ") == found
    assert reference_holds(b"k" * 16, "2026-11-22", found)
    others = [(b"k" * 16, f"2026-12-{day:02}") for day in range(1, 31)] + [
        (bytes([n]) * 16, "2026-11-22") for n in range(30)
    ]
    assert sum(reference_holds(key, day, found) for key, day in others) <= 2  # each guess holds 1 in 529


@pytest.mark.parametrize("text", ["", "ABCDE", "ABCDEFGH", "0000000", "<script>", "ACDEFH\n", "ＡＣＤＥＦＨＪ"])
def test_what_cannot_be_a_reference_is_none(text: str) -> None:
    assert clean_reference(text) == ""
