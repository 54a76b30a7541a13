"""GY-614V: published frames, any chunking, damaged bytes, and the module on a simulated cable."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from firmware_bridge.codecs import gy614v
from firmware_bridge.codecs.gy614v import Decoder, Register, Registers
from firmware_bridge.device import DeviceState
from firmware_bridge.drivers.gy614v import Gy614v
from firmware_bridge.reading import Cause, Frame, NoReading, Reading
from firmware_bridge.simulators import Gy614vSimulator
from firmware_bridge.simulators.gy614v import FACTORY
from tests.firmware_bridge.conftest import wait_until

REPLY = bytes.fromhex("A4 03 07 07 5F 0D 7C 09 E3 0E 57 EE")


def test_the_published_requests() -> None:
    assert gy614v.read_request(0x07, 7) == bytes.fromhex("A4 03 07 07 B5")
    assert gy614v.write_request(Register.MODE, 1) == bytes.fromhex("A4 06 03 01 AE")
    assert gy614v.write_request(Register.BAUD, 6) == bytes.fromhex("A4 06 01 06 B1")


def test_the_published_reply() -> None:
    (frame,) = Decoder().feed(REPLY)
    assert frame.byte(Register.EMISSIVITY) == 95
    assert gy614v.celsius(frame.word(Register.OBJECT)) == 34.52
    assert gy614v.celsius(frame.word(Register.AMBIENT)) == 25.31
    assert gy614v.celsius(frame.word(Register.BODY)) == 36.71
    assert frame.to_bytes() == REPLY


@pytest.mark.parametrize("split", range(1, len(REPLY)))
def test_a_frame_may_arrive_in_any_two_pieces(split: int) -> None:
    decoder = Decoder()
    assert decoder.feed(REPLY[:split]) == []
    assert len(decoder.feed(REPLY[split:])) == 1


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_glued_frames_and_a_half_one_survive_any_chunking(size: int) -> None:
    line = REPLY + REPLY[:5] + REPLY + b"\x00\xff" + REPLY
    decoder = Decoder()
    frames = [f for at in range(0, len(line), size) for f in decoder.feed(line[at : at + size])]
    assert [f.to_bytes() for f in frames] == [REPLY] * 3


@pytest.mark.parametrize("place", range(len(REPLY)))
def test_one_damaged_byte_gives_no_reading(place: int) -> None:
    for wrong in range(256):
        if wrong != REPLY[place]:
            line = bytearray(REPLY)
            line[place] = wrong
            assert not any(f.covers(Register.OBJECT, 4) for f in Decoder().feed(bytes(line)))


def test_the_decoder_holds_at_most_one_frame() -> None:
    decoder = Decoder()
    noise = random.Random(5)
    for _ in range(200):
        decoder.feed(noise.randbytes(1000))
        assert len(decoder._buffer) < gy614v.MAX_FRAME_BYTES


def test_a_register_image_round_trips() -> None:
    image = Registers(0, FACTORY)
    assert Decoder().feed(image.to_bytes()) == [image]


# -- on a cable -------------------------------------------------------------------------------------------------------


@pytest.fixture
def module(tmp_path: Path) -> Iterator[Gy614vSimulator]:
    with Gy614vSimulator(tmp_path / "thermo") as simulator:
        yield simulator


@pytest.fixture
def thermometer(module: Gy614vSimulator) -> Iterator[Gy614v]:
    driver = Gy614v(str(module.link), warm_at_start=True)
    with driver:
        assert driver.wait_for(lambda s: s.state is DeviceState.READY, 10)
        yield driver


def result_of(thermometer: Gy614v, window_s: float | None = None) -> Reading | NoReading:
    window = thermometer.begin_window(window_s)
    assert wait_until(lambda: window.poll() is not None)
    result = window.poll()
    assert result is not None
    return result


def test_a_person_is_measured_and_what_belongs_to_the_reading_is_kept(
    module: Gy614vSimulator, thermometer: Gy614v
) -> None:
    module.scene.set("normal,body=36.6")
    result = result_of(thermometer)
    assert isinstance(result, Reading)
    assert result.body_celsius == pytest.approx(36.6, abs=0.2)
    assert result.raw_celsius < result.body_celsius
    assert result.device.startswith("GY-614V") and "emissivity=0.95" in result.device


def test_fever_is_measured_as_fever(module: Gy614vSimulator, thermometer: Gy614v) -> None:
    module.scene.set("fever")
    result = result_of(thermometer)
    assert isinstance(result, Reading) and result.body_celsius == pytest.approx(38.6, abs=0.2)


def test_nobody_in_front_is_nobody(thermometer: Gy614v) -> None:
    result = result_of(thermometer, 0.8)
    assert isinstance(result, NoReading) and result.cause is Cause.NOBODY


def test_no_frame_measured_before_the_window_counts(module: Gy614vSimulator, thermometer: Gy614v) -> None:
    seen: list[Frame] = []
    thermometer.subscribe(seen.append)
    for _ in range(20):  # on a busy machine a frame may come so late that it counts as measured after the opening
        seen.clear()
        window = thermometer.begin_window()
        assert wait_until(lambda: len(seen) >= 8)
        window.close()
        assert window._frames and all(f.measured_from_mono_s >= window.opened_mono_s for f in window._frames)
        if seen[0].measured_from_mono_s < window.opened_mono_s:  # it was under way when the window opened
            assert seen[0] not in window._frames
            return
    pytest.fail("no frame was under way when a window opened")


def test_a_window_gives_one_answer_for_ever(module: Gy614vSimulator, thermometer: Gy614v) -> None:
    module.scene.set("normal")
    window = thermometer.begin_window()
    assert wait_until(lambda: window.poll() is not None)
    first = window.poll()
    module.scene.set("fever")
    assert window.close() is first and window.poll() is first


def test_a_fresh_module_measures_nobody_while_it_warms_up(module: Gy614vSimulator) -> None:
    module.scene.set("normal")
    with Gy614v(str(module.link)) as driver:
        assert driver.wait_for(lambda s: s.state is DeviceState.READY, 10)
        assert wait_until(lambda: driver.latest() is not None)
        assert driver.status.state is DeviceState.WARMING_UP
        assert driver.begin_window().poll() == NoReading(Cause.WARMING_UP, "warming_up")


def test_settings_go_to_ram_once_and_never_to_flash(module: Gy614vSimulator, thermometer: Gy614v) -> None:
    assert wait_until(lambda: thermometer.frames > 3)
    assert module.module._registers[Register.MODE] == 1
    assert module.module.saves == 0


def test_text_mode_is_named(tmp_path: Path) -> None:
    text = bytearray(FACTORY)
    text[Register.FORMAT] = 1
    with Gy614vSimulator(tmp_path / "thermo", saved=bytes(text)) as module:
        module.set_faults(deaf=True)  # a module in text mode that does not answer binary questions
        with Gy614v(str(module.link), bauds=(9600,)) as driver:
            assert driver.wait_for(lambda s: s.state is DeviceState.MISMATCH, 10)
            assert driver.status.code == "text_mode"


def test_a_module_saved_at_another_speed_is_found(tmp_path: Path) -> None:
    fast = bytearray(FACTORY)
    fast[Register.BAUD] = 6
    with Gy614vSimulator(tmp_path / "thermo", saved=bytes(fast)) as module, Gy614v(str(module.link)) as driver:
        assert driver.wait_for(lambda s: s.state is DeviceState.READY, 10)
        assert module.host_baud == 115200


def test_no_speed_fits_and_the_words_say_which_were_tried(tmp_path: Path) -> None:
    odd = bytearray(FACTORY)
    odd[Register.BAUD] = 4
    with Gy614vSimulator(tmp_path / "thermo", saved=bytes(odd)) as module, Gy614v(str(module.link)) as driver:
        assert driver.wait_for(lambda s: s.state in (DeviceState.LOST, DeviceState.MISMATCH), 15)
        assert driver.frames == 0
        assert driver.begin_window().poll() is not None
