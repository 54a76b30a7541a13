"""Headers and personal parts come back as they went, and hostile bytes are refused by name."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import cbor
from protocol.errors import ProtocolError
from protocol.passage import PAD_TO, ClockConfidence, Facts, Header, Personal, Place, Stamp, Temperature
from protocol.words import Colour, CredentialKind, Direction, EntryMode, Measured, Outcome
from tests.protocol.strategies import HEADERS, PERSONALS, changed

PLACE = Place(bytes(8), bytes(6), 1)
STAMP = Stamp(1_790_000_000_000, 5000, bytes(8), ClockConfidence.SYNCED)
FACTS = Facts(
    Direction.IN,
    EntryMode.SCAN,
    CredentialKind.HEALTH_CODE,
    Colour.GREEN,
    Measured.NORMAL,
    Outcome.ADMIT,
    (),
    3,
    60,
)
HEADER = Header(7, PLACE, STAMP, FACTS)
PERSONAL = Personal(name="欧*娜", id_number="11010519491231002X", temperature=Temperature("infrared", 34.1, 22.5, 36.4))


@given(HEADERS)
def test_a_header_comes_back_as_it_went(header: Header) -> None:
    assert Header.from_bytes(header.to_bytes()) == header


@given(HEADERS)
def test_a_header_is_written_deterministically(header: Header) -> None:
    data = header.to_bytes()
    assert cbor.encode(cbor.decode_strict(data)) == data  # the short way of writing gives the bytes of the long one


@given(PERSONALS)
def test_a_personal_part_is_written_deterministically(personal: Personal) -> None:
    plain = personal.to_bytes().rstrip(b"\x00")[:-1]
    assert cbor.encode(cbor.decode_strict(plain)) == plain


@given(PERSONALS)
def test_a_personal_part_comes_back_as_it_went_and_its_length_tells_little(personal: Personal) -> None:
    data = personal.to_bytes()
    assert Personal.from_bytes(data) == personal
    assert len(data) % PAD_TO == 0


@given(st.data())
def test_a_changed_header_is_refused_or_is_another_header(data: st.DataObject) -> None:
    """It is not signed by itself; what may never happen is another error, or the same header from other bytes."""
    other = data.draw(changed(HEADER.to_bytes()))
    try:
        read = Header.from_bytes(other)
    except ProtocolError:
        return
    assert read != HEADER or cbor.encode(cbor.decode_strict(other)) == HEADER.to_bytes()


@given(st.binary(max_size=300))
def test_hostile_bytes_raise_our_error_and_no_other(data: bytes) -> None:
    for read in (Header.from_bytes, Personal.from_bytes):
        with pytest.raises(ProtocolError):
            read(data)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.floats()
    | st.text(max_size=10)
    | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.integers(-5, 40), inner, max_size=4),
    max_leaves=6,
)


@given(st.integers(1, 31), VALUES)
def test_a_header_with_any_value_in_any_field_raises_our_error_and_no_other(field: int, value: object) -> None:
    fields = cbor.decode_strict(HEADER.to_bytes())
    assert isinstance(fields, dict)
    try:
        Header.from_bytes(cbor.encode(fields | {field: value}))
    except ProtocolError:
        pass


@given(st.integers(1, 13), VALUES)
def test_a_personal_part_with_any_value_in_any_field_raises_our_error_and_no_other(field: int, value: object) -> None:
    plain = PERSONAL.to_bytes().rstrip(b"\x00")[:-1]
    fields = cbor.decode_strict(plain)
    assert isinstance(fields, dict)
    encoded = cbor.encode(fields | {field: value}) + b"\x80"
    try:
        Personal.from_bytes(encoded + bytes(-len(encoded) % PAD_TO))
    except ProtocolError:
        pass


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        (1, 3, "out_of_range"),
        (2, 0, "out_of_range"),
        (3, bytes(7), "bad_length"),
        (4, bytes(7), "bad_length"),
        (5, 65536, "out_of_range"),
        (9, 4, "unknown_word"),
        (10, "up", "unknown_word"),
        (13, 5, "unknown_word"),
        (15, "maybe", "unknown_word"),
        (16, ["x"] * 33, "bad_list"),
        (16, ["x" * 65], "bad_list"),
        (20, "x" * 65, "too_long"),
        (23, 1, "unknown_field"),
        (2, None, "missing_field"),
        (2, True, "bad_field"),
    ],
)
def test_what_a_header_may_not_hold_is_named(field: int, value: object, code: str) -> None:
    fields = cbor.decode_strict(HEADER.to_bytes())
    assert isinstance(fields, dict)
    fields = {k: v for k, v in (fields | {field: value}).items() if v is not None}
    with pytest.raises(ProtocolError) as refused:
        Header.from_bytes(cbor.encode(fields))
    assert refused.value.code == code


def test_a_header_is_a_passage_or_an_event_and_never_both() -> None:
    with pytest.raises(ValueError, match="either"):
        Header(1, PLACE, STAMP)
    with pytest.raises(ValueError, match="either"):
        Header(1, PLACE, STAMP, FACTS, "started")


@pytest.mark.parametrize("name", ["欧阳娜娜", "阿卜杜拉·买买提", "x" * 20, "x" * 60])
def test_names_of_many_lengths_make_the_same_length(name: str) -> None:
    assert len(dataclasses.replace(PERSONAL, name=name).to_bytes()) == 2 * PAD_TO


@pytest.mark.parametrize("damage", [b"", bytes(64), b"\x80" + bytes(126), PERSONAL.to_bytes() + bytes(64)])
def test_wrong_padding_is_refused(damage: bytes) -> None:
    with pytest.raises(ProtocolError):
        Personal.from_bytes(damage)
