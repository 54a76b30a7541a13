"""The failure table of the hardware notes (section 11): expected state and recovery, on simulated cables.

Rows 18 (the parts that need a controller) and 12 (PyroUSB) live beside their devices; row 21 is the camera's.
"""

from __future__ import annotations

import gc
import logging
import os
import random
import threading
import time
import tracemalloc
from pathlib import Path

import pytest
import serial

from firmware_bridge.clock import Clock
from firmware_bridge.codecs.gy614v import Registers
from firmware_bridge.device import DeviceState, SerialDevice, introduce
from firmware_bridge.drivers.gm65 import Gm65
from firmware_bridge.drivers.gy614v import Gy614v
from firmware_bridge.drivers.gymcu90614 import Gymcu90614
from firmware_bridge.drivers.lcus import LcusGate
from firmware_bridge.drivers.line_scanner import LineScanner
from firmware_bridge.drivers.modbus_ir import ModbusIr
from firmware_bridge.drivers.sam_v import IdCardReader
from firmware_bridge.gate import PulseState
from firmware_bridge.reading import Cause, NoReading, Reading
from firmware_bridge.simulators import (
    Gm65Simulator,
    Gy614vSimulator,
    Gymcu90614Simulator,
    LcusSimulator,
    LineScannerSimulator,
    ModbusIrSimulator,
    SamSimulator,
    swap,
)
from firmware_bridge.simulators.sam_v import resident_card
from firmware_bridge.thermometer import Thermometer
from tests.firmware_bridge.conftest import HandClock, wait_until


def is_ready(device: SerialDevice, timeout_s: float = 20) -> bool:
    return device.wait_for(lambda s: s.state is DeviceState.READY, timeout_s)


def is_lost(device: SerialDevice, timeout_s: float = 20) -> bool:
    return device.wait_for(lambda s: s.state is DeviceState.LOST, timeout_s)


NOTHING_S = 0.8  # long enough for a reading, in tests that expect none


def result_of(thermometer: Thermometer, window_s: float | None = None) -> Reading | NoReading:
    window = thermometer.begin_window(window_s)
    assert wait_until(lambda: window.poll() is not None)
    result = window.poll()
    assert result is not None
    return result


def test_row_01_garbage_gives_no_reading_and_good_frames_count_again(tmp_path: Path) -> None:
    with Gymcu90614Simulator(tmp_path / "t") as module, Gymcu90614(str(module.link), warm_at_start=True) as driver:
        assert is_ready(driver) and wait_until(lambda: driver.frames > 0)
        module.set_faults(garbage_rate=2000.0, drop_rate=1.0)  # only noise arrives
        before = driver.frames
        noise = random.Random(3)
        for _ in range(20):
            module.inject(noise.randbytes(512))
        wait_until(lambda: False, 1.0)
        assert driver.frames == before, "noise became a frame"
        module.set_faults()
        assert is_ready(driver) and wait_until(lambda: driver.frames >= before + 2)


def test_row_02_one_byte_at_a_time_is_as_good_as_whole_frames(tmp_path: Path) -> None:
    with (
        Gy614vSimulator(tmp_path / "t", scene="normal,body=36.6") as module,
        Gy614v(str(module.link), warm_at_start=True) as driver,
    ):
        module.set_faults(chunk_bytes=1, chunk_pause_s=0.001)
        assert is_ready(driver)
        result = result_of(driver)
        assert isinstance(result, Reading) and result.body_celsius == pytest.approx(36.6, abs=0.2)


def test_row_03_duplicated_and_glued_frames_do_no_harm(tmp_path: Path) -> None:
    with (
        Gymcu90614Simulator(tmp_path / "t", scene="normal,body=36.6") as module,
        Gymcu90614(str(module.link), warm_at_start=True) as driver,
    ):
        module.set_faults(duplicate_rate=0.3, garbage_before=b"\x5a\x5a\x45")
        assert is_ready(driver)
        assert isinstance(result_of(driver), Reading)


@pytest.mark.parametrize("word", [0x7FFF, 0xFFFF, 23130, 0xE4A8, 0, 8500])
def test_row_04_absurd_values_with_a_right_sum_are_no_reading(tmp_path: Path, word: int) -> None:
    with Gymcu90614Simulator(tmp_path / "t") as module, Gymcu90614(str(module.link), warm_at_start=True) as driver:
        assert is_ready(driver)
        celsius = (word - 0x10000 if word >= 0x8000 else word) / 100
        module.scene.set(f"normal,noise=0,tau_s=0,ambient=25,body={celsius * 1.19 - 4.75}")
        wait_until(lambda: False, 0.2)
        result = result_of(driver, NOTHING_S)
        assert isinstance(result, NoReading) and result.cause in (Cause.OUT_OF_RANGE, Cause.NOBODY)


def test_row_05_a_correction_without_ambient_is_not_measurable(tmp_path: Path) -> None:
    with (
        Gy614vSimulator(tmp_path / "t", scene="normal,ambient=60") as module,
        Gy614v(str(module.link), warm_at_start=True) as driver,
    ):
        assert is_ready(driver)
        result = result_of(driver)
        assert isinstance(result, NoReading)
        assert (result.cause, result.detail) == (Cause.NOT_MEASURABLE, "ambient_out_of_range")


def test_row_06_a_stuck_sensor_is_a_fault_of_its_own(tmp_path: Path) -> None:
    with (
        Gy614vSimulator(tmp_path / "t", scene="normal") as module,
        Gy614v(str(module.link), warm_at_start=True) as driver,
    ):
        driver._watch._rule = driver._watch._rule.__class__(stuck_s=1.0)
        assert is_ready(driver) and wait_until(lambda: driver.frames > 3)
        module.scene.set("stuck")
        assert wait_until(lambda: driver.state is DeviceState.FAULT)
        assert driver.begin_window().poll() == NoReading(Cause.STUCK, "identical_raw_words")
        module.scene.set("normal")
        assert wait_until(lambda: driver.state is DeviceState.READY)


def test_row_07_the_sun_on_the_sensor_gives_no_verdict(tmp_path: Path) -> None:
    with (
        Gy614vSimulator(tmp_path / "t", scene="sun") as module,
        Gy614v(str(module.link), warm_at_start=True) as driver,
    ):
        assert is_ready(driver)
        result = result_of(driver)
        assert isinstance(result, NoReading) and result.cause is Cause.NOT_MEASURABLE


def threads_of_drivers() -> int:
    return sum(t.name.startswith(("gy614v", "lcus", "sam_v", "gm65")) for t in threading.enumerate())


@pytest.mark.slow
def test_row_08_a_hundred_unplugs_leak_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Threads, descriptors, memory after 100 cycles; each loss is noticed, each return believed after a handshake."""
    caplog.set_level(logging.CRITICAL, logger="gatehouse.devices")  # kept log records would count as a leak
    with Gy614vSimulator(tmp_path / "t") as module, Gy614v(str(module.link), warm_at_start=True) as driver:
        assert is_ready(driver)
        for cycle in range(110):
            if cycle == 10:  # caches are warm by then
                gc.collect()
                tracemalloc.start()
                threads, files = threads_of_drivers(), len(os.listdir("/proc/self/fd"))
                memory = tracemalloc.get_traced_memory()[0]
            module.unplug()
            assert is_lost(driver)
            module.plug()
            assert is_ready(driver)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - memory
        tracemalloc.stop()
        assert threads_of_drivers() == threads == 1
        assert len(os.listdir("/proc/self/fd")) <= files
        assert grown < 64 * 1024, f"{grown} bytes more after 100 cycles"
        assert driver.losses == 110
        assert module.module.saves == 0


def test_row_08_unplugged_in_mid_frame_half_a_frame_is_forgotten(tmp_path: Path) -> None:
    with Gymcu90614Simulator(tmp_path / "t") as module, Gymcu90614(str(module.link), warm_at_start=True) as driver:
        assert is_ready(driver)
        module.inject(bytes.fromhex("5A 5A 45 04 0D"))
        module.unplug()
        assert is_lost(driver) and driver.latest() is None
        module.plug()
        assert is_ready(driver)


def test_row_08_the_back_off_grows_and_is_capped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("firmware_bridge.device.BACK_OFF_FIRST_S", 0.5)
    monkeypatch.setattr("firmware_bridge.device.BACK_OFF_MAX_S", 10.0)
    driver = Gy614v(str(tmp_path / "absent"))
    waits: list[float] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        if len(waits) == 8:
            driver._stopping.set()
        return False

    monkeypatch.setattr(driver._stopping, "wait", wait)
    driver.start()
    assert wait_until(lambda: len(waits) == 8)
    driver.stop()
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]


def test_row_09_replugged_twenty_times_settings_are_applied_and_flash_is_not_written(tmp_path: Path) -> None:
    with Gm65Simulator(tmp_path / "s") as module, Gm65(str(module.link)) as head:
        assert is_ready(head)
        for _ in range(20):
            module.unplug()
            assert is_lost(head)
            module.plug()
            assert is_ready(head)
        assert module.head.saves == 1


def test_row_10_a_wrong_speed_is_never_a_reading_and_the_words_name_what_was_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("firmware_bridge.drivers.gymcu90614.LISTEN_S", 0.2)  # at a wrong speed all of it is waited
    monkeypatch.setattr("firmware_bridge.drivers.gy614v.REPLY_WITHIN_S", 0.1)
    with Gymcu90614Simulator(tmp_path / "t", baud=38400) as module, Gymcu90614(str(module.link)) as driver:
        assert driver.wait_for(lambda s: s.state in (DeviceState.LOST, DeviceState.MISMATCH), 20)
        assert driver.frames == 0
    with Gy614v(str(tmp_path / "silent")) as driver, LineScannerSimulator(tmp_path / "silent"):
        assert driver.wait_for(lambda s: s.code == "no_valid_frame", 20)
        assert "9600, 115200" in driver.status.en


def test_row_11_swapped_plugs_are_refused_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firmware_bridge.drivers.sam_v.ANSWER_WITHIN_S", 0.3)
    with Gy614vSimulator(tmp_path / "thermo") as module, SamSimulator(tmp_path / "id") as card:
        thermometer = Gy614v(str(tmp_path / "thermo"), bauds=(9600,), warm_at_start=True)
        reader = IdCardReader(str(tmp_path / "id"), bauds=(115200,))
        introduce((thermometer, reader))
        with thermometer, reader:
            assert is_ready(thermometer) and is_ready(reader)
            swap(module, card)
            for device, other in ((thermometer, reader), (reader, thermometer)):
                assert device.wait_for(lambda s: s.code == "swapped", 30), device.status
                assert other.port in device.status.en and device.port in device.status.en
            assert thermometer.begin_window().poll() == NoReading(Cause.DEVICE_FAULT, "swapped")
            swap(module, card)
            assert is_ready(thermometer) and is_ready(reader)


def test_row_11_two_sensors_of_one_kind_are_told_apart_by_their_numbers(tmp_path: Path) -> None:
    with ModbusIrSimulator(tmp_path / "a", serial=1001) as one, ModbusIrSimulator(tmp_path / "b", serial=1002) as two:
        with (
            ModbusIr(str(tmp_path / "a"), serial_number="1001") as first,
            ModbusIr(str(tmp_path / "b"), serial_number="1002") as second,
        ):
            assert is_ready(first) and is_ready(second)
            swap(one, two)
            assert first.wait_for(lambda s: s.code == "swapped" and "1002" in s.en and "1001" in s.en, 20)
            assert second.wait_for(lambda s: s.code == "swapped", 20)


def test_row_11_a_thermometer_on_the_scanners_plug_is_refused(tmp_path: Path) -> None:
    with Gymcu90614Simulator(tmp_path / "s") as module, LineScanner(str(module.link)) as head:
        assert head.wait_for(lambda s: s.state is DeviceState.MISMATCH, 20)
        assert head.take() is None


def test_row_11_asking_for_a_swap_does_not_disturb_the_device_at_work(tmp_path: Path) -> None:
    """The lost thermometer tries the reader's language on its own port; meanwhile the reader reads a card."""
    with LineScannerSimulator(tmp_path / "thermo", baud=115200) as silent, SamSimulator(tmp_path / "id") as card:
        thermometer = Gy614v(str(silent.link), bauds=(9600,))
        reader = IdCardReader(str(card.link), bauds=(115200,))
        introduce((thermometer, reader))
        with reader, thermometer:
            assert is_ready(reader)
            decoder = reader._decoder
            assert wait_until(lambda: b"\xaa\xaa\xaa\x96\x69" in silent.gun.heard, 20), "it asked there"
            card.lay(resident_card())
            assert wait_until(lambda: reader.take() is not None)
            assert reader._decoder is decoder and reader.losses == 0


def test_row_12_the_array_module_is_named(tmp_path: Path) -> None:
    with LineScannerSimulator(tmp_path / "t") as line, Gymcu90614(str(line.link), bauds=(9600,)) as driver:
        frame = bytes.fromhex("5A 5A 02 06") + bytes(1540)
        assert wait_until(lambda: line.send(frame) or driver.status.code == "array_module")


def test_row_13_a_second_reader_shows_as_a_checksum_storm(tmp_path: Path) -> None:
    """Bytes vanish at random, as when another program reads the same port."""
    with Gymcu90614Simulator(tmp_path / "t") as module, Gymcu90614(str(module.link), warm_at_start=True) as driver:
        assert is_ready(driver)
        module.set_faults(flip_rate=0.5)
        for _ in range(30):
            module.inject(bytes.fromhex("5A 5A 45 04 0D 7C 09 E3 00"))
        assert wait_until(lambda: driver.status.code == "checksum_storm")
        assert driver.begin_window().poll() == NoReading(Cause.DEVICE_FAULT, "checksum_storm")


def test_row_13_our_own_port_is_opened_exclusively(tmp_path: Path) -> None:
    with Gy614vSimulator(tmp_path / "t") as module, Gy614v(str(module.link), warm_at_start=True) as driver:
        assert is_ready(driver)
        with pytest.raises(serial.SerialException):
            serial.Serial(str(module.link), exclusive=True)
        assert driver.state is not DeviceState.LOST


def test_row_14_a_peer_that_stops_reading_is_a_time_out_not_a_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("firmware_bridge.port.WRITE_TIMEOUT_S", 0.1)
    with LineScannerSimulator(tmp_path / "s") as module, LineScanner(str(module.link), trigger="newland") as head:
        assert is_ready(head)
        module.set_faults(stops_reading=True)
        head._on = head._off = b"\x1b" * 200_000
        head.trigger(True)
        assert head.wait_for(lambda s: s.code == "write_timeout", 20)


def test_row_15_a_late_answer_is_not_taken_for_the_next_one(tmp_path: Path) -> None:
    with (
        ModbusIrSimulator(tmp_path / "t", scene="normal,body=36.6") as module,
        ModbusIr(str(module.link), warm_at_start=True) as driver,
    ):
        assert is_ready(driver) and wait_until(lambda: driver.frames > 2)
        module.sensor.late_s = 0.3  # every answer misses its time
        before = driver.frames
        wait_until(lambda: False, 0.8)
        assert driver.frames == before
        module.sensor.late_s = 0.0
        assert is_ready(driver) and wait_until(lambda: driver.frames > before + 2)


@pytest.mark.parametrize("trouble", ["stray", "echo"])
def test_row_15_noise_and_echo_before_a_modbus_answer_do_no_harm(tmp_path: Path, trouble: str) -> None:
    with ModbusIrSimulator(tmp_path / "t", scene="normal,body=36.6") as module:
        module.sensor.stray = b"\x00\xff\x01\x03\x0e\x55" if trouble == "stray" else b""
        module.sensor.echo = trouble == "echo"
        with ModbusIr(str(module.link), warm_at_start=True) as driver:
            assert is_ready(driver)
            assert isinstance(result_of(driver), Reading)


def test_row_15_another_address_or_an_exception_gives_no_reading(tmp_path: Path) -> None:
    with (
        ModbusIrSimulator(tmp_path / "t", scene="normal") as module,
        ModbusIr(str(module.link), warm_at_start=True) as driver,
    ):
        assert is_ready(driver)
        module.sensor.refuse_with = 2
        result = result_of(driver, NOTHING_S)
        assert isinstance(result, NoReading) and result.detail == "modbus_exception_2"
        module.sensor.refuse_with = 0
        module.sensor.reply_as = 9
        assert is_lost(driver)


def test_row_16_fifty_times_the_same_code_is_one_event(tmp_path: Path) -> None:
    with LineScannerSimulator(tmp_path / "s") as module, LineScanner(str(module.link)) as head:
        assert is_ready(head)
        found: list[str] = []
        head.on_code(lambda code: found.append(code.text))
        for _ in range(50):
            module.show("JK1:SAME")
        module.show("JK1:OTHER")
        assert wait_until(lambda: found == ["JK1:SAME", "JK1:OTHER"])
        assert head.repeats == 49


def test_row_16_a_code_shown_again_later_is_a_new_presentation(hand_clock: HandClock) -> None:
    head = LineScanner("nowhere", clock=hand_clock.clock)
    head.take_bytes(b"A\rA\r")
    hand_clock.advance(2.1)
    head.take_bytes(b"A\r")
    head.stop()
    assert head.take() and head.take() and head.take() is None
    assert head.repeats == 1


def test_row_16_a_lost_or_doubled_acknowledgement_is_survived(tmp_path: Path) -> None:
    with Gm65Simulator(tmp_path / "s") as module:
        module.head.acks_lost = 1
        with Gm65(str(module.link)) as head:
            assert is_ready(head)
            found: list[str] = []
            head.on_code(lambda code: found.append(code.text))
            module.show("A")
            assert wait_until(lambda: found == ["A"])


def test_row_16_codes_without_tail_or_with_nul_are_dropped_and_counted(tmp_path: Path) -> None:
    with LineScannerSimulator(tmp_path / "s", tail=b"") as module, LineScanner(str(module.link)) as head:
        assert is_ready(head)
        module.show("no tail")
        assert wait_until(lambda: head.lines.cut_short == 1)
        module.show(b"A\x00B\r")
        assert wait_until(lambda: head.lines.damaged == 1)
        assert head.take() is None


def test_row_18_two_opens_within_fifty_milliseconds_are_one_pulse(tmp_path: Path) -> None:
    with LcusSimulator(tmp_path / "g") as board, LcusGate(str(board.link)) as gate:
        assert is_ready(gate)
        first = gate.open_for(300)
        assert gate.open_for(300) is first
        assert first.wait_until(PulseState.ENDED, timeout_s=10)
        wait_until(lambda: False, 0.3)
        assert len(board.pulses) == 1


def test_row_19_a_lost_relay_command_is_not_called_verified(tmp_path: Path) -> None:
    with LcusSimulator(tmp_path / "g", answers=False) as board, LcusGate(str(board.link)) as gate:
        assert is_ready(gate)
        board.set_faults(deaf=True)
        pulse = gate.open_for(300)
        assert pulse.wait_until(PulseState.COMMANDED, timeout_s=10)
        assert pulse.wait_until(PulseState.ENDED, timeout_s=10)
        assert not pulse.was_verified and board.pulses == ()


def test_row_20_a_wall_clock_that_jumps_changes_no_time_out(tmp_path: Path, hand_clock: HandClock) -> None:
    clock = Clock(mono_s=time.monotonic, utc=hand_clock.clock.utc)
    with (
        Gy614vSimulator(tmp_path / "t", scene="normal") as module,
        Gy614v(str(module.link), warm_at_start=True, clock=clock) as driver,
    ):
        assert is_ready(driver)
        window = driver.begin_window()
        hand_clock.utc_offset_s = 3600.0
        assert window.poll() is None, "the window did not end by the wall clock"
        assert wait_until(lambda: window.poll() is not None)
        result = window.poll()
        assert isinstance(result, Reading) and result.taken_at == hand_clock.clock.utc()
        hand_clock.utc_offset_s = -3600.0
        assert isinstance(result_of(driver), Reading)
        assert driver.losses == 0


def test_row_22_everything_vanishes_and_returns_in_another_order(tmp_path: Path) -> None:
    with (
        Gy614vSimulator(tmp_path / "t", scene="normal") as thermo,
        LcusSimulator(tmp_path / "g") as board,
        SamSimulator(tmp_path / "id") as card,
        Gm65Simulator(tmp_path / "s") as scan,
        Gy614v(str(thermo.link), warm_at_start=True) as thermometer,
        LcusGate(str(board.link)) as gate,
        IdCardReader(str(card.link)) as reader,
        Gm65(str(scan.link)) as head,
    ):
        drivers: list[SerialDevice] = [thermometer, gate, reader, head]
        simulators = [thermo, board, card, scan]
        assert all(map(is_ready, drivers))
        for simulator in simulators:
            simulator.unplug()
        assert all(map(is_lost, drivers))
        for simulator in reversed(simulators):
            simulator.plug()
        assert all(map(is_ready, drivers))
        assert isinstance(result_of(thermometer), Reading)
        card.lay(resident_card())
        assert wait_until(lambda: reader.take() is not None)
        assert gate.open_for(200).wait_until(PulseState.ENDED, timeout_s=10)


def test_a_register_frame_with_a_right_sum_but_another_question_is_dropped(tmp_path: Path) -> None:
    with Gy614vSimulator(tmp_path / "t") as module, Gy614v(str(module.link), warm_at_start=True) as driver:
        assert is_ready(driver) and wait_until(lambda: driver.frames > 2)
        module.inject(Registers(8, b"\x0e\x74\x09\xe3").to_bytes())
        wait_until(lambda: False, 0.3)
        latest = driver.latest()
        assert latest is not None and latest.object_celsius < 30
