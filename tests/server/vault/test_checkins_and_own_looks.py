"""Phone check-ins in the vault, and who may learn from it who looked."""

from __future__ import annotations

import secrets
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from protocol.checkin import Checkin, CheckinKey, Ticket, pad_person, seal_person
from protocol.own_looks import WORD_BYTES, word_info
from protocol.passage import ClockConfidence, Facts, Header, Personal, Place, Stamp
from protocol.query import Reveal
from protocol.sealing import EpochSealer
from protocol.words import CredentialKind, Direction, EntryMode, Measured, Outcome
from server.vault import person as persons
from server.vault.client import VaultClient
from server.vault.errors import Refused
from server.vault.looks import MAX_TRIES_A_DAY
from server.vault.person import Person, PersonKind
from server.vault.wire import SealedRecord
from tests.server.vault.world import ID_NUMBER, NAME, PHONE, VENUE, World, now_ms

SUITE = Suite(KEM.P256, KDF.HKDF_SHA256, AEAD.AES_128_GCM)
ME, MY_PHONE = Person(PersonKind.ID_NUMBER, ID_NUMBER), Person(PersonKind.PHONE, PHONE)
WORD = "山高月小 水落石出"


def check_in(world: World, who: Personal, *, entrance: int = 1, ticket_entrance: int = 1) -> SealedRecord:
    """A record as the server stores it after a visitor pressed the button."""
    ticket = Ticket(VENUE, ticket_entrance, 5, now_ms() - 61_000, secrets.token_bytes(16), "2026-11")
    return stored(world, seal_person(who, ticket, world.keys.checkin[0]), entrance)


def stored(world: World, checkin: Checkin, entrance: int = 1) -> SealedRecord:
    desk = secrets.token_bytes(8)
    sealer = EpochSealer(desk, world.keys.seal[0].load(), secrets.token_bytes(48))
    facts = Facts(
        Direction.IN,
        EntryMode.PHONE,
        CredentialKind.VENUE_CODE,
        None,
        Measured.NONE,
        Outcome.HOLD,
        ("checked_in_by_phone",),
        0,
        0,
    )
    stamp = Stamp(now_ms() - 60_000, 0, bytes(8), ClockConfidence.SYNCED)
    header = Header(1, Place(desk, VENUE, entrance), stamp, facts=facts).to_bytes()
    return SealedRecord(desk, sealer.epoch, sealer.wrapped, 1, header, sealer.seal(1, header, checkin.to_bytes()))


def sealed_word(key: CheckinKey, challenge: bytes, word: str = WORD) -> bytes:
    clear = (word.encode() + b"\x80").ljust(WORD_BYTES, b"\x00")
    return key.key_id + SUITE.encrypt(clear, key.load(), word_info(challenge))


def asks(world: World, vault: VaultClient, *who: Person, word: str = WORD) -> list[str]:
    """What a resident is told, as `requester purpose event`."""
    challenge = vault.challenge()
    sealed = [persons.seal_person(one, challenge, world.keys.identity[0]) for one in who]
    answer = vault.own_looks(challenge, sealed, sealed_word(world.keys.checkin[0], challenge, word))
    return [f"{line.requester} {line.purpose} {line.event}" for line in answer.lines]


def test_a_check_in_by_phone_is_found_and_opened_like_any_passage(world: World, vault: VaultClient) -> None:
    child = Personal(name="王小明", helper_name=NAME, helper_phone=PHONE, relation="child")
    record = check_in(world, child)
    indexed = vault.index([record], {record.kiosk: 1})
    assert (indexed.tags, indexed.problems) == (1, ())
    query = world.query_for(MY_PHONE)
    assert vault.find(query.to_bytes(), world.approve(query))[0] == [(record.kiosk, 1)]
    row = vault.open(query.to_bytes(), world.approve(query), [record]).rows[0]
    assert (row.stated.name, row.helper and row.helper.phone, row.relation) == ("王*明", "+86138****8000", "child")
    full = world.query(reveal=(Reveal.NAME,))
    assert vault.open(full.to_bytes(), world.approve(full), [record]).rows[0].stated.name == "王小明"


def test_a_check_in_moved_to_another_entrance_is_a_problem_and_not_a_record(world: World, vault: VaultClient) -> None:
    record = check_in(world, Personal(phone=PHONE), entrance=2)
    assert vault.index([record], {}).problems == ((record.kiosk, 1, "foreign_header"),)


def test_what_a_stranger_sealed_without_being_asked_is_a_problem(world: World, vault: VaultClient) -> None:
    ticket = Ticket(VENUE, 1, 5, now_ms() - 61_000, secrets.token_bytes(16), "2026-11")
    key = world.keys.checkin[0]
    foreign = pad_person(Personal(name="x", identity_sealed=b"off a photograph", cti=b"12345678"))
    sealed = key.key_id + SUITE.encrypt(foreign, key.load(), b"gatehouse check-in 1" + ticket.to_bytes())
    record = stored(world, Checkin(ticket, sealed))
    assert vault.index([record], {}).problems == ((record.kiosk, 1, "not_asked"),)


def test_a_resident_learns_who_looked_and_others_learn_nothing(fresh: World) -> None:
    with fresh.running() as vault:
        record = check_in(fresh, Personal(name=NAME, phone=PHONE))
        query = fresh.query()
        vault.open(query.to_bytes(), fresh.approve(query), [record])
        assert asks(fresh, vault, ME) == []  # the check-in gave a phone and no ID number
        assert asks(fresh, vault, MY_PHONE) == ["boris epi_trace opened"]
        assert asks(fresh, vault, ME, MY_PHONE) == ["boris epi_trace opened"]
        with pytest.raises(Refused) as refused:
            asks(fresh, vault, MY_PHONE, word="a guess of the web's")
        assert refused.value.code == "wrong_word"
        assert "boris" not in "".join(line for line in vault.log_lines(0) if '"told"' in line)
    with fresh.running() as vault:  # it outlives a restart
        assert asks(fresh, vault, MY_PHONE) == ["boris epi_trace opened"]


def test_a_search_for_somebody_is_told_even_when_nothing_was_found(fresh: World) -> None:
    with fresh.running() as vault:
        query = fresh.query_for(ME)
        vault.find(query.to_bytes(), fresh.approve(query))
        assert asks(fresh, vault, ME) == ["boris epi_trace found"]


def test_a_sealed_word_answers_one_challenge_once(fresh: World) -> None:
    with fresh.running() as vault:
        first, second = vault.challenge(), vault.challenge()
        me = [persons.seal_person(ME, first, fresh.keys.identity[0])]
        word = sealed_word(fresh.keys.checkin[0], first)
        vault.own_looks(first, me, word)
        for challenge, who in (
            (first, me),  # again
            (second, [persons.seal_person(ME, second, fresh.keys.identity[0])]),  # an overheard word, a new question
            (secrets.token_bytes(16), me),
        ):
            with pytest.raises(Refused):
                vault.own_looks(challenge, who, word)


def test_guessing_a_word_ends_and_every_first_word_is_in_the_log(fresh: World) -> None:
    with fresh.running() as vault:
        asks(fresh, vault, ME)
        for n in range(MAX_TRIES_A_DAY + 1):
            with pytest.raises(Refused) as refused:
                asks(fresh, vault, ME, word=f"wrong word {n}")
        assert refused.value.code == "too_many"
        with pytest.raises(Refused):  # also the right one, today
            asks(fresh, vault, ME)
        assert sum('"word_chosen"' in line for line in vault.log_lines(0)) == 1


def test_first_words_of_one_day_are_limited(fresh: World) -> None:
    patch = "import server.vault.looks; server.vault.looks.MAX_NEW_A_DAY = 2"
    process = fresh.start(patch=patch)
    try:
        vault = fresh.client()
        asks(fresh, vault, Person(PersonKind.PHONE, "+8613900000001"))
        asks(fresh, vault, Person(PersonKind.PHONE, "+8613900000002"))
        with pytest.raises(Refused) as refused:
            asks(fresh, vault, Person(PersonKind.PHONE, "+8613900000003"))
        assert refused.value.code == "too_many"
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.mark.parametrize("word", ["", "short", "x" * 41])
def test_words_have_a_length(world: World, vault: VaultClient, word: str) -> None:
    with pytest.raises(Refused) as refused:
        asks(world, vault, ME, word=word)
    assert refused.value.code == "bad_word"


def test_keys_from_before_check_ins_still_open_and_rotation_adds_one(world: World) -> None:
    old = replace(world.secrets, checkin=())
    from protocol.vault_keys import VaultKeys

    assert VaultKeys.from_signed(old.exported(1), old.fingerprint()).checkin == ()
    assert len(old.rotated(2).checkin) == 1
