"""The link to our controller: COBS and CRC against independent packages, any chunking, damage, bounded memory."""

from __future__ import annotations

import random

import pytest
from cobs import cobs
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.codecs import mcu_link
from firmware_bridge.codecs.mcu_link import Decoder, Frame, Hello, Telemetry, Type


@given(st.binary(max_size=254))
def test_cobs_agrees_with_another_implementation(data: bytes) -> None:
    assert mcu_link.cobs_encode(data) == cobs.encode(data)
    assert mcu_link.cobs_decode(cobs.encode(data)) == data


@given(st.binary(max_size=60))
def test_any_bytes_decode_as_elsewhere_or_not_at_all(data: bytes) -> None:
    try:
        expected = cobs.decode(data) if data else None
    except cobs.DecodeError:
        expected = None
    assert (mcu_link.cobs_decode(data) or None) == (expected or None)


FRAME = Frame(7, Type.GATE, (500).to_bytes(2, "little"))


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_frames_survive_any_chunking_and_garbage_between(size: int) -> None:
    line = b"\x11\x22" + FRAME.to_bytes() + b"\xff\x00\x00garbage" + FRAME.to_bytes() + b"x" * 500 + FRAME.to_bytes()
    decoder = Decoder()
    frames = [f for at in range(0, len(line), size) for f in decoder.feed(line[at : at + size])]
    assert frames == [FRAME] * 3


def test_one_damaged_byte_gives_no_frame() -> None:
    line = FRAME.to_bytes()
    for place in range(len(line)):
        for flip in range(1, 256):
            damaged = bytearray(line)
            damaged[place] ^= flip
            assert all(f == FRAME for f in Decoder().feed(bytes(damaged))), (place, flip)


def test_random_bytes_give_no_frame_and_no_memory() -> None:
    noise = random.Random(9)
    decoder = Decoder()
    for _ in range(300):
        assert decoder.feed(noise.randbytes(1000)) == []
        assert len(decoder._buffer) <= mcu_link.MAX_ENCODED


def test_payloads_round_trip() -> None:
    hello = Hello(1, 1, 0x0100, 1, 2, 8, 3, 4)
    said = Telemetry(1, 2, 0, 3, mcu_link.raw(36.61), mcu_link.raw(25.0))
    assert Hello.from_payload(hello.to_payload()) == hello
    assert Telemetry.from_payload(said.to_payload()) == said
    assert mcu_link.celsius(said.object_raw) == pytest.approx(36.61, abs=0.01)
    assert Hello.from_payload(b"") is None and Telemetry.from_payload(b"x") is None
