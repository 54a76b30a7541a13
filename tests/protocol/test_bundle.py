"""The parts of a bundle, and the vault's keys, come back as they went and refuse what cannot be meant."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from protocol import cbor
from protocol.bundle import PlaceNames
from protocol.errors import ProtocolError
from protocol.policy import EntryPolicy
from protocol.staff import StaffList, StaffMember, StaffRole, hash_pin
from protocol.vault_keys import IdentityKey, SealKey, VaultKeys, claimed_fingerprint, vault_fingerprint
from tests.protocol.strategies import changed, octets, texts

NAMES = st.text(st.characters(codec="utf-8"), max_size=40)
PLACE = PlaceNames(bytes(6), 1, "锦江图书馆", "Jinjiang Library", "东门", "East gate", "一社区", "culture")
STAFF = StaffList((StaffMember("li", "小李", StaffRole.HELPER, bytes(16), bytes(32)),))
POLICY = EntryPolicy()

Read = Callable[[bytes], object]
PARTS: dict[str, tuple[bytes, Read]] = {
    "place": (PLACE.to_bytes(), PlaceNames.from_bytes),
    "staff": (STAFF.to_bytes(), StaffList.from_bytes),
    "policy": (POLICY.to_bytes(), EntryPolicy.from_bytes),
}


@given(st.builds(PlaceNames, octets(6), st.integers(0, 65535), *[NAMES] * 6))
def test_a_place_comes_back_as_it_went(place: PlaceNames) -> None:
    assert PlaceNames.from_bytes(place.to_bytes()) == place


MEMBERS = st.builds(StaffMember, texts(20).filter(bool), texts(30), st.sampled_from(StaffRole), octets(16), octets(32))


@given(st.lists(MEMBERS, max_size=8, unique_by=lambda m: m.staff_id))
def test_a_staff_list_comes_back_in_the_order_of_its_ids(members: list[StaffMember]) -> None:
    listed = StaffList(tuple(members))
    ordered = tuple(sorted(members, key=lambda m: m.staff_id))
    assert StaffList.from_bytes(listed.to_bytes()).members == ordered
    assert StaffList(ordered).to_bytes() == listed.to_bytes()  # the same people make the same digest


@pytest.mark.parametrize("name", PARTS)
@given(st.binary(max_size=200))
def test_hostile_bytes_raise_our_error_and_no_other(name: str, data: bytes) -> None:
    with pytest.raises(ProtocolError):
        PARTS[name][1](data)


@pytest.mark.parametrize("name", PARTS)
@given(st.data())
def test_a_changed_part_is_refused_by_name_or_readable(name: str, data: st.DataObject) -> None:
    """Parts are bound by their digest in the manifest; reading one may refuse it, and may raise nothing else."""
    good, read = PARTS[name]
    try:
        read(data.draw(changed(good)))
    except ProtocolError:
        pass


@pytest.mark.parametrize(
    "changes",
    [
        {"fever_from_celsius": 36.0},
        {"fever_from_celsius": 42.0},
        {"fever_from_celsius": float("nan")},
        {"plausible_from_celsius": 36.6},
        {"plausible_to_celsius": 39.0},
        {"remeasure_count": 6},
        {"reading_wait_s": 0},
        {"health_code_max_age_s": 601},
        {"clock_skew_s": -1},
        {"version": 0},
    ],
)
def test_a_policy_that_would_let_everybody_in_or_nobody_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ProtocolError):
        EntryPolicy.from_bytes(POLICY.replace(**changes).to_bytes())


def test_a_staff_list_names_each_member_once_and_at_most_200() -> None:
    member = STAFF.members[0]
    many = tuple(dataclasses.replace(member, staff_id=str(n)) for n in range(201))
    for members in ((member, member), many):
        with pytest.raises(ProtocolError):
            StaffList.from_bytes(StaffList(members).to_bytes())


def test_a_pin_is_checked_against_its_own_salt() -> None:
    member = StaffMember("li", "小李", StaffRole.KEEPER, b"a" * 16, hash_pin("204815", b"a" * 16))
    assert member.has_pin("204815") and not member.has_pin("204816") and not member.has_pin("")
    assert hash_pin("204815", b"b" * 16) != member.pin_hash
    assert StaffList((member,)).find("li") == member and StaffList((member,)).find("wang") is None


VAULT = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PIN = vault_fingerprint(VAULT.public_key())
KEYS = VaultKeys(5, (SealKey.make(bytes(1184), bytes(32)),), (IdentityKey.make(bytes(32)),))


def test_vault_keys_come_back_for_whoever_pinned_that_vault() -> None:
    data = KEYS.to_signed(VAULT)
    assert VaultKeys.from_signed(data, PIN) == KEYS and claimed_fingerprint(data) == PIN


def test_another_vaults_keys_are_refused() -> None:
    data = KEYS.to_signed(Ed25519PrivateKey.generate())
    with pytest.raises(ProtocolError) as refused:
        VaultKeys.from_signed(data, PIN)
    assert refused.value.code == "wrong_vault"


@given(st.data())
def test_vault_keys_with_any_changed_byte_are_refused(data: st.DataObject) -> None:
    with pytest.raises(ProtocolError):
        VaultKeys.from_signed(data.draw(changed(KEYS.to_signed(VAULT))), PIN)


@given(st.binary(max_size=200))
def test_vault_keys_of_anything_raise_our_error_and_no_other(data: bytes) -> None:
    for read in (claimed_fingerprint, lambda d: VaultKeys.from_signed(d, PIN)):
        with pytest.raises(ProtocolError):
            read(data)


@pytest.mark.parametrize(
    "keys",
    [
        dataclasses.replace(KEYS, seal=()),
        dataclasses.replace(KEYS, identity=()),
        dataclasses.replace(KEYS, seal=(SealKey(bytes(8), bytes(1184), bytes(32)),)),
        dataclasses.replace(KEYS, seal=(SealKey.make(bytes(1183), bytes(32)),)),
        dataclasses.replace(KEYS, identity=(IdentityKey(bytes(8), bytes(32)),)),
    ],
)
def test_keys_that_are_missing_or_misnamed_are_refused_even_when_signed(keys: VaultKeys) -> None:
    with pytest.raises(ProtocolError):
        VaultKeys.from_signed(keys.to_signed(VAULT), PIN)


@given(st.lists(st.none() | st.integers(0, 9) | st.binary(max_size=9) | st.lists(st.binary(max_size=9)), max_size=3))
def test_an_envelope_of_anything_raises_our_error_and_no_other(items: list[object]) -> None:
    with pytest.raises(ProtocolError):
        VaultKeys.from_signed(cbor.encode(items), PIN)
