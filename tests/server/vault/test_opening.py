"""What an honest, approved look shows, and what it never shows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocol.credentials.identity import Identity
from protocol.passage import Personal
from protocol.query import Reveal
from server.vault.client import VaultClient
from server.vault.errors import Refused
from server.vault.keyfile import write_keys, write_public
from server.vault.person import Person, PersonKind
from server.vault.wire import Identity as Shown
from tests.server.vault.world import ID_NUMBER, NAME, OTHER_VENUE, PASSPHRASE, PHONE, World, now_ms

OUYANG = Identity(NAME, ID_NUMBER, PHONE)
LI = Identity("李四", "320311770706001", "+8613911112222")


def open_for(world: World, vault: VaultClient, *records: object, **changes: object):  # type: ignore[no-untyped-def]
    query = world.query(**changes)
    return vault.open(query.to_bytes(), world.approve(query), records)  # type: ignore[arg-type]


def test_without_a_reveal_everything_is_masked_by_the_vault_itself(world: World, vault: VaultClient) -> None:
    record = world.kiosk().pass_with_code(OUYANG)
    opening = open_for(world, vault, record)
    assert opening.refused == ()
    row = opening.rows[0]
    assert (row.kiosk, row.sequence) == (record.kiosk, record.sequence)
    assert row.on_code == Shown("欧**明", "110*************2X", "+86138****8000")
    assert row.body_celsius is None


@pytest.mark.parametrize(
    ("reveal", "shown"),
    [
        (Reveal.NAME, Shown(NAME, "110*************2X", "+86138****8000")),
        (Reveal.ID_NUMBER, Shown("欧**明", ID_NUMBER, "+86138****8000")),
        (Reveal.PHONE, Shown("欧**明", "110*************2X", PHONE)),
    ],
)
def test_a_reveal_shows_its_own_field_and_no_other(
    reveal: Reveal, shown: Shown, world: World, vault: VaultClient
) -> None:
    row = open_for(world, vault, world.kiosk().pass_with_code(OUYANG), reveal=(reveal,)).rows[0]
    assert row.on_code == shown
    assert row.body_celsius is None


def test_the_temperature_is_shown_only_where_it_was_approved(world: World, vault: VaultClient) -> None:
    row = open_for(world, vault, world.kiosk().pass_with_code(OUYANG), reveal=(Reveal.TEMPERATURE,)).rows[0]
    assert row.body_celsius == 36.61
    assert row.on_code == Shown("欧**明", "110*************2X", "+86138****8000")


def test_what_staff_typed_and_who_helped_are_masked_alike(world: World, vault: VaultClient) -> None:
    typed = Personal(
        name=NAME, id_number=ID_NUMBER, phone=PHONE, helper_name="李四", helper_phone="+8613911112222", relation="son"
    )
    row = open_for(world, vault, world.kiosk().seal(typed)).rows[0]
    assert row.stated == Shown("欧**明", "110*************2X", "+86138****8000")
    assert row.helper == Shown("李*", None, "+86139****2222")
    assert (row.on_code, row.relation) == (None, "son")


def test_an_identity_cut_from_another_code_is_not_shown_as_this_person(world: World, vault: VaultClient) -> None:
    kiosk = world.kiosk()
    kiosk.pass_with_code(OUYANG)
    stolen = Personal(name="李*", cti=b"12345678", pseudonym=b"abcdefgh", identity_sealed=bytes(77))
    row = open_for(world, vault, kiosk.seal(stolen)).rows[0]
    assert (row.on_code, row.note) == (None, "identity_unreadable")


def test_a_record_outside_the_scope_stays_shut(world: World, vault: VaultClient) -> None:
    kiosk = world.kiosk()
    inside = kiosk.pass_with_code(OUYANG)
    other_venue = kiosk.pass_with_code(OUYANG, venue=OTHER_VENUE)
    too_old = kiosk.pass_with_code(OUYANG, at_ms=now_ms() - 3 * 86_400_000)
    opening = open_for(world, vault, inside, other_venue, too_old)
    assert [row.sequence for row in opening.rows] == [inside.sequence]
    assert {code for _, _, code in opening.refused} == {"other_venue", "other_period"}


def test_a_changed_or_swapped_record_stays_shut(world: World, vault: VaultClient) -> None:
    kiosk, other = world.kiosk(), world.kiosk()
    one, two = kiosk.pass_with_code(OUYANG), kiosk.pass_with_code(LI)
    theirs = other.pass_with_code(LI)
    forged = {
        "header of another record": replace(one, header=two.header),
        "header moved into scope": replace(one, header=one.header.replace(b"venue1", b"venue9")),
        "sealed part of another": replace(one, sealed=two.sealed),
        "another number": replace(one, sequence=two.sequence),
        "another kiosk": replace(one, kiosk=other.id),
        "another kiosk's epoch": replace(one, epoch=theirs.epoch, wrapped=theirs.wrapped),
        "a flipped bit": replace(one, sealed=one.sealed[:-1] + bytes([one.sealed[-1] ^ 1])),
        "an event": replace(one, sealed=b""),
    }
    opening = open_for(world, vault, *forged.values())
    assert opening.rows == ()
    assert len(opening.refused) == len(forged)


def test_a_person_s_query_finds_and_opens_that_person_only(world: World, vault: VaultClient) -> None:
    kiosk = world.kiosk()
    records = [kiosk.pass_with_code(OUYANG), kiosk.pass_with_code(LI), kiosk.seal(Personal(name="x", phone=PHONE))]
    assert vault.index(records, {kiosk.id: 3}).problems == ()
    person = Person.make(PersonKind.PHONE, "138-0013 8000")
    assert person
    query = world.query_for(person)
    found, _ = vault.find(query.to_bytes(), world.approve(query))
    assert found == [(kiosk.id, 1), (kiosk.id, 3)]
    opening = vault.open(query.to_bytes(), world.approve(query), records)
    assert [row.sequence for row in opening.rows] == [1, 3]
    assert opening.refused == ((kiosk.id, 2, "other_person"),)


def test_a_person_sealed_for_one_query_does_not_serve_another(world: World, vault: VaultClient) -> None:
    person = Person.make(PersonKind.ID_NUMBER, ID_NUMBER)
    assert person
    mine = world.query_for(person)
    moved = replace(world.query(), person=mine.person)
    with pytest.raises(Refused) as refusal:
        vault.find(moved.to_bytes(), world.approve(moved))
    assert refusal.value.code == "bad_person"


def test_indexing_the_same_records_twice_changes_nothing(world: World, vault: VaultClient) -> None:
    kiosk = world.kiosk()
    record = kiosk.pass_with_code(OUYANG)
    poison = replace(record, sequence=2)
    first = vault.index([record, poison], {kiosk.id: 2})
    assert first.problems == ((kiosk.id, 2, "changed"),)
    tags = vault.status().tags
    vault.index([record, poison], {kiosk.id: 2})
    assert vault.status().tags == tags
    assert vault.marks([kiosk.id, bytes(8)]) == {kiosk.id: 2, bytes(8): 0}


def test_the_row_limit_counts_over_the_whole_life_of_a_query_and_across_restarts(fresh: World) -> None:
    kiosk = fresh.kiosk()
    records = [kiosk.pass_with_code(OUYANG) for _ in range(3)]
    query = fresh.query(max_rows=2)
    approval = fresh.approve(query)
    with fresh.running() as vault:
        assert len(vault.open(query.to_bytes(), approval, records[:1]).rows) == 1
        assert len(vault.open(query.to_bytes(), approval, records[:2]).rows) == 2  # the first again, and one more
    with fresh.running() as vault:
        assert len(vault.open(query.to_bytes(), approval, records[:2]).rows) == 2
        with pytest.raises(Refused) as refusal:
            vault.open(query.to_bytes(), approval, records[2:])
        assert refusal.value.code == "row_limit"


def test_destroyed_epochs_never_open_again_and_lose_their_tags(fresh: World) -> None:
    kiosk = fresh.kiosk()
    record = kiosk.pass_with_code(OUYANG)
    kiosk.start_epoch()
    later = kiosk.pass_with_code(OUYANG)
    query = fresh.query()
    with fresh.running() as vault:
        vault.index([record, later], {kiosk.id: 2})
        assert vault.status().tags == 4
        vault.destroy([record.epoch])
        assert vault.status().tags == 2
    with fresh.running() as vault:
        opening = vault.open(query.to_bytes(), fresh.approve(query), [record, later])
        assert [row.sequence for row in opening.rows] == [2]
        assert opening.refused == ((kiosk.id, 1, "destroyed"),)
        assert vault.index([record], {kiosk.id: 2}).problems == ((kiosk.id, 1, "destroyed"),)


def test_after_a_rotation_old_records_still_open_and_after_forgetting_they_do_not(fresh: World) -> None:
    old = fresh.kiosk().pass_with_code(OUYANG)
    before = fresh.secrets
    fresh.secrets = before.rotated(now_ms())
    write_keys(fresh.folder, fresh.secrets, PASSPHRASE, replacing=True)
    write_public(fresh.folder, fresh.secrets, now_ms())
    new = fresh.kiosk().pass_with_code(OUYANG)
    query = fresh.query()
    with fresh.running() as vault:
        rows = vault.open(query.to_bytes(), fresh.approve(query), [old, new]).rows
        assert [row.on_code for row in rows] == [Shown("欧**明", "110*************2X", "+86138****8000")] * 2
    forgotten = fresh.secrets.forgetting(before.seal[0].public().key_id)
    write_keys(fresh.folder, forgotten, PASSPHRASE, replacing=True)
    with fresh.running() as vault:
        opening = vault.open(query.to_bytes(), fresh.approve(query), [old, new])
        assert len(opening.rows) == 1
        assert opening.refused[0][2] == "unknown_vault_key"
