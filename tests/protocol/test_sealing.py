"""What is sealed opens for the vault alone, whole or not at all, and no key meets a nonce twice."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import ProtocolError
from protocol.sealing import WRAPPED_BYTES, EpochOpener, EpochSealer
from tests.fakes import VaultKey

KIOSK, HEADER, PERSONAL = b"kiosk-01", b"a header", b"a person" * 8
VAULT, OTHER_VAULT = VaultKey(), VaultKey()
SEALER = EpochSealer(KIOSK, VAULT.public, bytes(range(48)))
SEALED = SEALER.seal(5, HEADER, PERSONAL)


def opener(wrapped: bytes = SEALER.wrapped, kiosk: bytes = KIOSK, epoch: bytes = SEALER.epoch) -> EpochOpener:
    return EpochOpener.unwrap(kiosk, epoch, wrapped, VAULT.keys)


@given(
    st.integers(1, 2**63 - 1),
    st.binary(max_size=200),
    st.binary(min_size=1, max_size=300),
    st.binary(min_size=48, max_size=48),
)
def test_what_is_sealed_opens_again(sequence: int, header: bytes, personal: bytes, random: bytes) -> None:
    sealer = EpochSealer(KIOSK, VAULT.public, random)
    sealed = sealer.seal(sequence, header, personal)
    assert personal not in sealed or len(personal) < 4
    found = EpochOpener.unwrap(KIOSK, sealer.epoch, sealer.wrapped, VAULT.keys)
    assert found.open(sequence, header, sealed) == personal


def flips(data: bytes, step: int = 1) -> list[bytes]:
    return [data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] for at in range(0, len(data), step)]


def test_any_changed_byte_of_a_record_is_refused() -> None:
    found = opener()
    for header in flips(HEADER):
        with pytest.raises(ProtocolError):
            found.open(5, header, SEALED)
    for sealed in (*flips(SEALED), SEALED[:-1], SEALED + b"\0", b""):
        with pytest.raises(ProtocolError):
            found.open(5, HEADER, sealed)
    for sequence in (4, 6, 0):
        with pytest.raises(ProtocolError) as refused:
            found.open(sequence, HEADER, SEALED)
        assert refused.value.code == "changed"


def test_any_changed_byte_of_a_wrapped_key_is_refused() -> None:
    for wrapped in flips(SEALER.wrapped, 7):
        with pytest.raises(ProtocolError):
            opener(wrapped)


@pytest.mark.parametrize("length", [0, 1, WRAPPED_BYTES - 1, WRAPPED_BYTES + 1])
def test_a_wrapped_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ProtocolError) as refused:
        opener(bytes(length))
    assert refused.value.code == "bad_length"


def test_a_wrapped_key_belongs_to_its_kiosk_its_epoch_and_its_vault() -> None:
    with pytest.raises(ProtocolError) as other_kiosk:
        opener(kiosk=b"kiosk-02")
    with pytest.raises(ProtocolError) as other_epoch:
        opener(epoch=bytes(16))
    assert {other_kiosk.value.code, other_epoch.value.code} == {"not_sealed_to_us"}
    with pytest.raises(ProtocolError) as other_vault:
        EpochOpener.unwrap(KIOSK, SEALER.epoch, SEALER.wrapped, OTHER_VAULT.keys)
    assert other_vault.value.code == "unknown_vault_key"
    with pytest.raises(ProtocolError) as other_suite:
        opener(b"\x02" + SEALER.wrapped[1:])
    assert other_suite.value.code == "unknown_suite"


@given(st.binary(min_size=WRAPPED_BYTES - 9, max_size=WRAPPED_BYTES - 9))
def test_a_wrapped_key_made_of_anything_raises_our_error_and_no_other(rest: bytes) -> None:
    with pytest.raises(ProtocolError):
        opener(SEALER.wrapped[:9] + rest)


@given(st.lists(st.integers(1, 50), min_size=2, max_size=20))
def test_a_sequence_number_is_sealed_once_and_only_upwards(sequences: list[int]) -> None:
    sealer = EpochSealer(KIOSK, VAULT.public, os.urandom(48))
    highest = 0
    for sequence in sequences:
        if sequence > highest:
            sealer.seal(sequence, HEADER, PERSONAL)
            highest = sequence
        else:
            with pytest.raises(ValueError, match="already sealed"):
                sealer.seal(sequence, HEADER, PERSONAL)


def test_an_event_takes_its_sequence_number_too() -> None:
    sealer = EpochSealer(KIOSK, VAULT.public, os.urandom(48))
    assert sealer.seal(1, HEADER, b"") == b""
    with pytest.raises(ValueError, match="already sealed"):
        sealer.seal(1, HEADER, PERSONAL)


@pytest.mark.parametrize("length", [0, 32, 47, 49])
def test_an_epoch_needs_all_its_random_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="48 random bytes"):
        EpochSealer(KIOSK, VAULT.public, bytes(length))


def test_wrapping_the_same_key_twice_gives_nothing_away() -> None:
    again = EpochSealer(KIOSK, VAULT.public, bytes(range(48)))
    assert again.wrapped != SEALER.wrapped
    assert bytes(range(16, 48)) not in SEALER.wrapped
