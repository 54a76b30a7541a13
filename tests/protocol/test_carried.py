"""The two signed messages of a carried journal: nothing but what was signed is believed, and nothing else is raised."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from protocol import signed
from protocol.carried import MOST_QUARANTINED, CarriedReceipt, Closing, framed
from protocol.errors import ProtocolError
from protocol.exchange import Receipt

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KIOSK = signed.key_id(KEY.public_key())
CLOSING = Closing(KIOSK, bytes(16), 1_790_000_000_000, 5, 9, 1, bytes(32))
RECEIPT = CarriedReceipt(KIOSK, bytes(16), 7, "ok", b"receipt", ((2, "other_venue"),))


def test_both_come_back_as_they_were_signed() -> None:
    assert Closing.from_signed(CLOSING.to_signed(KEY), KEY.public_key()) == CLOSING
    assert Closing.claimed_kiosk(CLOSING.to_signed(KEY)) == KIOSK
    assert CarriedReceipt.from_signed(RECEIPT.to_signed(KEY), KEY.public_key()) == RECEIPT


def test_a_long_quarantine_list_is_cut_and_still_believed() -> None:
    many = tuple((n, "other_venue") for n in range(MOST_QUARANTINED + 9))
    long = CarriedReceipt(KIOSK, bytes(16), 7, "ok", b"receipt", many)
    read = CarriedReceipt.from_signed(long.to_signed(KEY), KEY.public_key())
    assert read.quarantined == many[:MOST_QUARANTINED]


def test_one_kind_of_message_never_passes_for_another() -> None:
    receipt = Receipt(KIOSK, 5, bytes(32), 7).to_signed(KEY)
    for read in (Closing.from_signed, CarriedReceipt.from_signed):
        with pytest.raises(ProtocolError):
            read(receipt, KEY.public_key())
    with pytest.raises(ProtocolError):
        CarriedReceipt.from_signed(CLOSING.to_signed(KEY), KEY.public_key())


def test_a_closing_that_names_another_kiosk_is_refused() -> None:
    forged = Closing(bytes(8), bytes(16), 0, 0, 1, 1, bytes(32)).to_signed(KEY)
    with pytest.raises(ProtocolError) as error:
        Closing.from_signed(forged, KEY.public_key())
    assert error.value.code == "wrong_device"


@given(st.integers(min_value=0, max_value=400), st.integers(min_value=1, max_value=255))
def test_a_changed_byte_is_noticed_wherever_it_stands(at: int, by: int) -> None:
    for whole, read in (
        (CLOSING.to_signed(KEY), Closing.from_signed),
        (RECEIPT.to_signed(KEY), CarriedReceipt.from_signed),
    ):
        place = at % len(whole)
        with pytest.raises(ProtocolError):
            read(whole[:place] + bytes([whole[place] ^ by]) + whole[place + 1 :], KEY.public_key())


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_in_an_orderly_way(data: bytes) -> None:
    for read in (Closing.from_signed, CarriedReceipt.from_signed):
        with pytest.raises(ProtocolError):
            read(data, KEY.public_key())


def test_an_upload_is_framed_by_its_length() -> None:
    assert framed(b"abc") == b"\x00\x00\x00\x03abc"
