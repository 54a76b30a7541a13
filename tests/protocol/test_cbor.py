"""Strict CBOR: one item, nothing behind it, nothing surprising inside."""

from __future__ import annotations

import re

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.cbor import CborError, decode_strict, encode


def code_of(data: bytes, **how: object) -> str:
    with pytest.raises(CborError) as caught:
        decode_strict(data, **how)  # type: ignore[arg-type]
    return caught.value.code


def test_trailing_bytes_are_refused() -> None:
    assert code_of(b"\x01\x02") == "cbor_trailing_bytes"


@pytest.mark.parametrize("head", ["a201010102", "a2010118 0102", "a1 01 a2 61 61 01 61 61 02", "a2 00 00 f4 01"])
def test_a_key_that_stands_twice_is_refused(head: str) -> None:
    assert code_of(bytes.fromhex(head)) == "cbor_duplicate_key"


def test_no_tag_is_read_unless_it_is_allowed() -> None:
    for number in (*range(0, 1200), 43000, 55799, *range(65530, 65540), 2**32, 2**64 - 1):
        head = cbor2.dumps(cbor2.CBORTag(number, None))[:-1]
        for content in (b"\x00", b"\x40", b"\x41\x01", b"\x80", b"\x82\x01\x01", b"\x61a", b"\xa0"):
            with pytest.raises(CborError):
                decode_strict(head + content)


def test_an_allowed_tag_comes_back_as_a_tag() -> None:
    assert decode_strict(bytes.fromhex("d28101"), tags_allowed={18}) == cbor2.CBORTag(18, (1,))


def test_a_date_time_under_tag_0_comes_back_as_its_text() -> None:
    text = "2021-06-01T10:00:00Z"
    assert decode_strict(cbor2.dumps(cbor2.CBORTag(0, text)), tags_allowed={0}) == text
    assert decode_strict(b"\xc0\x63abc", tags_allowed={0}) == "abc"
    assert code_of(b"\xc0\x01", tags_allowed={0}) == "cbor_tag"


@pytest.mark.parametrize(
    "bomb", ["9b7fffffffffffffff", "5b7fffffffffffffff", "bb7fffffffffffffff", "7b7fffffffffffffff", "9affffffff00"]
)
def test_a_length_bomb_is_refused_and_costs_nothing(bomb: str) -> None:
    assert code_of(bytes.fromhex(bomb)) == "cbor"


def test_deep_nesting_is_refused() -> None:
    assert decode_strict(b"\x81" * 10 + b"\x01")
    assert code_of(b"\x81" * 100 + b"\x01") == "cbor"
    assert code_of(b"\xd2" * 100 + b"\x01", tags_allowed={18}) == "cbor"


def test_more_than_64_kib_is_refused_unread() -> None:
    assert code_of(b"\x5a" + (65536).to_bytes(4, "big") + bytes(65536)) == "cbor_too_large"


def test_indefinite_lengths_are_read_only_when_allowed() -> None:
    data = bytes.fromhex("bf0102ff")
    assert code_of(data) == "cbor"
    assert decode_strict(data, allow_indefinite=True) == {1: 2}


def test_encoding_sorts_keys_in_byte_order_and_takes_the_shortest_forms() -> None:
    # RFC 8949 4.2.1, the example there: 10, 100, -1, "z", "aa", [100], [-1], false
    mixed = {"aa": 5, False: 8, 100: 2, -1: 3, "z": 4, 10: 1}
    assert encode(mixed).hex() == "a60a011864022003617a0462616105f408"
    assert encode([1.5, 1.1]).hex() == "82f93e00fb3ff199999999999a"


def test_what_has_no_cbor_form_is_refused() -> None:
    with pytest.raises(CborError):
        encode(object())
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(CborError):
        encode(loop)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.text(max_size=8)
    | st.binary(max_size=8)
    | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.integers(-99, 99) | st.text(max_size=4), inner),
    max_leaves=20,
)


@given(plain)
def test_what_is_encoded_decodes_to_the_same_and_encodes_to_the_same(value: object) -> None:
    data = encode(value)
    assert encode(decode_strict(data)) == data


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_our_error(data: bytes) -> None:
    try:
        item = decode_strict(data, tags_allowed={0, 18, 61}, allow_indefinite=True)
    except CborError:
        return
    assert not isinstance(item, re.Pattern)
