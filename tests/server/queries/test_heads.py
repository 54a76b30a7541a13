"""Signed heads on the server's side: kept only when our own copy gives the same tree, and a look shows its proof."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import delete, func, select, update

from protocol.merkle import leaf_hash
from protocol.tree_head import InclusionProof, TreeHead
from server.context import House
from server.queries.heads import keep_head, newest_head
from server.queries.looking import check_proof
from server.queries.models import Look, VaultHead, VaultLine, VaultLogCheck
from server.queries.trail import copied_head, follow_log
from server.vault.client import VaultClient
from server.vault.errors import Refused
from server.worker.actions import follow_vault_log
from tests.server.people import Browser
from tests.server.queries.conftest import Entrance, real_now
from tests.server.queries.test_query_pages import As, Ask, approve, look, row_at
from tests.server.vault.world import World

pytestmark = pytest.mark.stores("sqlite")


@pytest.fixture
def key(world: World) -> Ed25519PublicKey:
    return world.secrets.signing_key().public_key()


@pytest.fixture
def looked(as_person: As, ask: Ask, house: House, world: World, entrance: Entrance) -> tuple[Browser, str, str]:
    """Somebody who has looked: their browser, the query's address, the page they saw."""
    epi, district = as_person("epi"), as_person("district")
    address = ask(epi)
    approve(world, house, district, address)
    return epi, address, look(epi, address)


def test_a_look_shows_that_the_vaults_log_holds_it(
    looked: tuple[Browser, str, str], house: House, key: Ed25519PublicKey, as_person: As
) -> None:
    epi, _, page = looked
    with house.database.reading() as reading:
        one = reading.scalars(select(Look)).one()
    proof = InclusionProof.from_text(one.proof)
    assert proof.check(key).size >= one.log_sequence == proof.index + 1
    assert f"line {one.log_sequence} of its access log" in page
    [address] = re.findall(r'href="(/queries/looks/[^"]+\.tlog-proof)"', page)
    assert epi.get(address).text == one.proof
    assert as_person("officer").get(address).text == one.proof
    for name in ("tech", "staff", "otherstreet"):
        assert as_person(name).get(address).status_code == 404


def test_a_look_whose_proof_does_not_hold_shows_nothing(
    looked: tuple[Browser, str, str], house: House, vault: VaultClient, world: World, key: Ed25519PublicKey,
    entrance: Entrance,
) -> None:  # fmt: skip
    row = row_at(house, looked[1])
    opening = vault.open(row.body, row.approval or b"", entrance.records[:2])
    check_proof(opening, row, key)
    fewer = vault.open(row.body, row.approval or b"", [])
    for bad in (
        replace(opening, proof=fewer.proof),  # another look's
        replace(opening, proof=fewer.proof, head=fewer.head),  # of a look that opened nothing
        replace(opening, proof=opening.proof.replace("index ", "index 1")),
        replace(opening, proof=""),
    ):
        with pytest.raises(Refused) as refusal:
            check_proof(bad, row, key)
        assert refusal.value.code == "log_broken"
    with pytest.raises(Refused):
        check_proof(opening, row, Ed25519PrivateKey.generate().public_key())


def test_the_worker_keeps_a_head_that_its_own_copy_confirms(
    looked: tuple[Browser, str, str], house: House, vault: VaultClient, key: Ed25519PublicKey, as_person: As
) -> None:
    follow_vault_log(house)
    with house.database.reading() as reading:
        row = newest_head(reading)
        assert row is not None
        head = TreeHead.from_signed(row.signed, key)
        assert (head.size, head.root) == (row.size, row.root) and 0 < row.size <= copied_head(reading).sequence
    assert row.signed.splitlines()[2] in as_person("officer").get("/queries/looks").text
    vault.index([], {})
    follow_vault_log(house)  # indexing alone is no news for an hour
    assert _heads(house) == 1
    vault.revoke(bytes(32))
    follow_vault_log(house)
    assert _heads(house) == 2


def _heads(house: House) -> int:
    with house.database.reading() as reading:
        return reading.scalar(select(func.count()).select_from(VaultHead)) or 0


def _change(house: House) -> None:
    with house.database.writing() as writing:
        line = writing.scalars(select(VaultLine).where(VaultLine.sequence == 2)).one()
        line.raw = line.raw.replace('"at_ms":', '"at_ms": ')


def _take_out(house: House) -> None:
    with house.database.writing() as writing:
        writing.execute(delete(VaultLine).where(VaultLine.sequence == 2))


@pytest.mark.parametrize("harm", [_change, _take_out])
def test_a_copy_that_is_not_the_tree_is_told_and_no_head_kept(
    house: House, vault: VaultClient, key: Ed25519PublicKey, harm: Callable[[House], None]
) -> None:
    signed = vault.tree_head()
    follow_log(house.database, vault, key, real_now())
    harm(house)
    assert "is not the tree over the lines" in keep_head(house.database, signed, key, real_now())
    assert _heads(house) == 0
    with house.database.reading() as reading:
        assert "is not the tree" in reading.get_one(VaultLogCheck, 1).problem


def test_a_vault_that_signs_two_histories_is_told(
    house: House, vault: VaultClient, world: World, key: Ed25519PublicKey
) -> None:
    signed = vault.tree_head()
    follow_log(house.database, vault, key, real_now())
    assert keep_head(house.database, signed, key, real_now()) == ""
    head = TreeHead.from_signed(signed, key)
    for size in (head.size, head.size - 1):
        other = TreeHead(size, leaf_hash(b"another"), head.at_ms).to_signed(world.secrets.signing_key())
        assert "beside" in keep_head(house.database, other, key, real_now())
    forged = head.to_signed(Ed25519PrivateKey.generate())
    assert "does not hold" in keep_head(house.database, forged, key, real_now())
    assert _heads(house) == 1


def test_the_tree_grows_on_from_the_head_before(house: House, vault: VaultClient, key: Ed25519PublicKey) -> None:
    for _ in range(3):
        vault.revoke(bytes(32))
        signed = vault.tree_head()
        follow_log(house.database, vault, key, real_now())
        assert keep_head(house.database, signed, key, real_now()) == ""
        with house.database.writing() as writing:  # what is behind a head is not read again
            newest = newest_head(writing)
            assert newest is not None
            writing.execute(update(VaultLine).where(VaultLine.sequence < newest.size).values(event="opened"))
    assert _heads(house) == 3
    later = real_now() + timedelta(hours=2)
    vault.index([], {})
    signed = vault.tree_head()
    follow_log(house.database, vault, key, later)
    assert keep_head(house.database, signed, key, later) == ""
    assert _heads(house) == 4
