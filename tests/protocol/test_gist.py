"""The quick way to read a header and the thorough one agree about every byte string, in values and in refusals."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocol import cbor, gist
from protocol.errors import ProtocolError
from protocol.gist import Gist, gist_of, read_gist
from protocol.passage import ClockConfidence, Facts, Header, Place, Stamp
from protocol.words import Colour, CredentialKind, Direction, EntryMode, Measured, Outcome

FACTS = Facts(
    direction=Direction.IN,
    mode=EntryMode.SCAN,
    credential=CredentialKind.HEALTH_CODE,
    colour=Colour.GREEN,
    measured=Measured.NORMAL,
    outcome=Outcome.ADMIT,
    reasons=(),
    bundle_version=3,
    bundle_age_s=400,
)
HEADER = Header(
    70_000, Place(bytes(8), bytes(6), 1), Stamp(1_772_424_000_002, 1000, bytes(8), ClockConfidence(1)), FACTS
)

_texts = st.one_of(st.text("abc_0é\0", max_size=70), st.sampled_from(["", "s" * 23, "s" * 24, "s" * 64, "s" * 65]))
_numbers = st.one_of(
    st.integers(0, 2**63 - 1), st.sampled_from([0, 23, 24, 255, 256, 65535, 65536, 2**32, 2**53, 2**53 + 1])
)
_facts = st.builds(
    Facts,
    direction=st.sampled_from(Direction),
    mode=st.sampled_from(EntryMode),
    credential=st.sampled_from(CredentialKind),
    colour=st.one_of(st.none(), st.sampled_from(Colour)),
    measured=st.sampled_from(Measured),
    outcome=st.sampled_from(Outcome),
    reasons=st.lists(_texts, max_size=6).map(tuple),
    bundle_version=_numbers,
    bundle_age_s=_numbers,
    degraded=st.lists(_texts, max_size=6).map(tuple),
    operator=st.one_of(st.none(), _texts),
    issuer=st.one_of(st.none(), _texts),
    method=st.one_of(st.none(), _texts),
)
_stamps = st.builds(
    Stamp,
    at_ms=st.one_of(_numbers, st.integers(-(2**54), 0)),
    mono_ms=_numbers,
    boot=st.binary(min_size=8, max_size=8),
    confidence=st.sampled_from(ClockConfidence),
)
_places = st.builds(
    Place, kiosk=st.binary(min_size=7, max_size=8), venue=st.binary(min_size=6, max_size=6), entrance=_numbers
)
_headers = st.one_of(
    st.builds(Header, sequence=_numbers, place=_places, stamp=_stamps, facts=_facts),
    st.builds(Header, sequence=_numbers, place=_places, stamp=_stamps, event=_texts),
)


def thorough(data: bytes) -> Gist | tuple[str, str]:
    try:
        return gist_of(Header.from_bytes(data))
    except ProtocolError as error:
        return error.code, error.message


def quick(data: bytes) -> Gist | tuple[str, str]:
    try:
        return read_gist(data)
    except ProtocolError as error:
        return error.code, error.message


@given(_headers)
def test_both_ways_agree_about_every_header_that_can_be_written(header: Header) -> None:
    data = header.to_bytes()
    assert quick(data) == thorough(data)


@settings(max_examples=400)
@given(_headers, st.data())
def test_both_ways_agree_about_headers_with_a_few_wrong_bytes(header: Header, draw: st.DataObject) -> None:
    data = bytearray(header.to_bytes())
    for _ in range(draw.draw(st.integers(1, 3))):
        place = draw.draw(st.integers(0, len(data) - 1))
        how = draw.draw(st.sampled_from(["change", "insert", "delete"]))
        if how == "change":
            data[place] = draw.draw(st.integers(0, 255))
        elif how == "insert":
            data.insert(place, draw.draw(st.integers(0, 255)))
        elif len(data) > 1:
            del data[place]
    assert quick(bytes(data)) == thorough(bytes(data))


def test_both_ways_agree_about_every_change_of_one_byte() -> None:
    good = dataclasses.replace(HEADER, facts=dataclasses.replace(FACTS, reasons=("a", "bc"), operator="x")).to_bytes()
    for place in range(len(good)):
        for value in range(256):
            data = good[:place] + bytes([value]) + good[place + 1 :]
            assert quick(data) == thorough(data), (place, value)


@given(st.binary(max_size=200))
@example(b"")
def test_both_ways_agree_about_noise(data: bytes) -> None:
    assert quick(data) == thorough(data)


def test_a_field_nobody_knows_a_field_twice_and_another_order_are_judged_alike() -> None:
    fields = cbor.decode_strict(HEADER.to_bytes())
    assert isinstance(fields, dict)
    backwards = b"\xb1" + b"".join(cbor.encode(k) + cbor.encode(v) for k, v in reversed(fields.items()))
    twice = b"\xb2" + HEADER.to_bytes()[1:] + b"\x12\x00"
    for data in (cbor.encode({**fields, 23: 1}), backwards, twice, HEADER.to_bytes() + b"\x00"):
        assert quick(data) == thorough(data)
    assert isinstance(quick(backwards), Gist) and quick(twice) == ("cbor_duplicate_key", thorough(twice)[1])


@pytest.mark.parametrize("mode", EntryMode)
def test_what_kiosks_write_all_day_takes_the_quick_way(mode: EntryMode) -> None:
    facts = dataclasses.replace(
        FACTS, mode=mode, reasons=("no_temperature",), degraded=("no_network",), operator="s" * 32, method="infrared"
    )
    for some in (facts, dataclasses.replace(FACTS, colour=None)):
        assert gist._PASSAGE.fullmatch(dataclasses.replace(HEADER, facts=some).to_bytes())
