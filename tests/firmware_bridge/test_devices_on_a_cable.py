"""Every other driver against its simulated device on a real pseudo-terminal."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from firmware_bridge.codecs import gm65
from firmware_bridge.codecs.sam_v import CardKind, CardUnreadable, IdCard
from firmware_bridge.device import DeviceState, SerialDevice
from firmware_bridge.drivers.gm65 import Gm65
from firmware_bridge.drivers.gymcu90614 import Gymcu90614
from firmware_bridge.drivers.line_scanner import LineScanner
from firmware_bridge.drivers.modbus_ir import ModbusIr
from firmware_bridge.drivers.modbus_relay import ModbusRelayGate
from firmware_bridge.drivers.sam_v import IdCardReader
from firmware_bridge.drivers.wedge import Wedge
from firmware_bridge.gate import PulseState
from firmware_bridge.reading import Cause, NoReading, Reading
from firmware_bridge.simulators import (
    Gm65Simulator,
    Gymcu90614Simulator,
    LineScannerSimulator,
    ModbusIrSimulator,
    ModbusRelaySimulator,
    SamSimulator,
)
from firmware_bridge.simulators.sam_v import foreigner_card, read_reply, reply_frame, resident_card
from firmware_bridge.thermometer import Thermometer
from tests.firmware_bridge.conftest import wait_until


def is_ready(device: SerialDevice, timeout_s: float = 15) -> bool:
    return device.wait_for(lambda s: s.state is DeviceState.READY, timeout_s)


def saw_it_lifted(module: SamSimulator) -> Callable[[], bool]:
    """True once the reader has asked again since now, when nothing lies there."""
    looked = module.reader.finds
    return lambda: module.reader.finds > looked


def result_of(thermometer: Thermometer, window_s: float | None = None) -> Reading | NoReading:
    window = thermometer.begin_window(window_s)
    assert wait_until(lambda: window.poll() is not None)
    result = window.poll()
    assert result is not None
    return result


# -- thermometers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{}, {"baud": 115200}, {"auto": False}, {"tenth_byte": 0x01}, {"tenth_byte": 0x5A}], ids=str
)
def test_every_kind_of_90614_module_measures(tmp_path: Path, options: dict[str, int]) -> None:
    with (
        Gymcu90614Simulator(tmp_path / "t", scene="normal,body=36.6", **options) as module,
        Gymcu90614(str(module.link), warm_at_start=True) as driver,
    ):
        assert is_ready(driver)
        result = result_of(driver)
        assert isinstance(result, Reading) and result.body_celsius == pytest.approx(36.6, abs=0.2)


def test_a_streamed_frame_that_was_under_way_does_not_count(tmp_path: Path) -> None:
    with Gymcu90614Simulator(tmp_path / "t") as module, Gymcu90614(str(module.link), warm_at_start=True) as driver:
        assert is_ready(driver) and wait_until(lambda: driver.latest() is not None)
        window = driver.begin_window()
        frame = driver.latest()
        assert frame is not None and frame.measured_from_mono_s < frame.received_mono_s
        assert wait_until(lambda: len(window._frames) >= 3)
        window.close()
        assert all(f.measured_from_mono_s >= window.opened_mono_s for f in window._frames)


@pytest.mark.parametrize("profile", ["pyrominibus", "pyrousb", "mq485a"])
def test_every_modbus_family_measures_and_nothing_is_written(tmp_path: Path, profile: str) -> None:
    with (
        ModbusIrSimulator(tmp_path / "t", profile=profile, scene="normal,body=36.6") as module,
        ModbusIr(str(module.link), profile=profile, warm_at_start=True) as driver,
    ):
        assert is_ready(driver)
        result = result_of(driver)
        assert isinstance(result, Reading) and result.body_celsius == pytest.approx(36.6, abs=0.2)
        assert module.sensor.nonvolatile_writes == 0


def test_a_status_bit_stops_readings(tmp_path: Path) -> None:
    with (
        ModbusIrSimulator(tmp_path / "t", scene="normal") as module,
        ModbusIr(str(module.link), warm_at_start=True) as driver,
    ):
        assert is_ready(driver)
        module.sensor.status = 0b10
        result = result_of(driver, 0.8)
        assert isinstance(result, NoReading) and result.cause is Cause.DEVICE_FAULT
        assert result.detail == "sensor_cold"


def test_the_wrong_modbus_family_is_named(tmp_path: Path) -> None:
    with (
        ModbusIrSimulator(tmp_path / "t", profile="pyrousb") as module,
        ModbusIr(str(module.link), profile="pyrominibus") as driver,
    ):
        assert driver.wait_for(lambda s: s.state is DeviceState.MISMATCH, 15)
        assert driver.status.code == "profile" and "pyrousb" in driver.status.en


# -- scan heads -------------------------------------------------------------------------------------------------------


def texts(head: Gm65 | LineScanner) -> Callable[[], list[str]]:
    found: list[str] = []
    head.on_code(lambda code: found.append(code.text))
    return lambda: found


def test_a_gm65_is_set_up_once_and_reads_codes(tmp_path: Path) -> None:
    with Gm65Simulator(tmp_path / "scan") as module, Gm65(str(module.link)) as head:
        found = texts(head)
        assert is_ready(head)
        assert module.head.saves == 1, "the factory's tail setting differed"
        module.show("JK1:ABC")
        assert wait_until(lambda: found() == ["JK1:ABC"])
        module.unplug()
        assert head.wait_for(lambda s: s.state is DeviceState.LOST, 10)
        module.plug()
        assert is_ready(head)
        assert module.head.saves == 1, "no flash write when nothing differed"
        assert head.take() is None, "what the listener got is kept nowhere else"
        head.on_code(None)
        module.show("JK1:DEF")
        assert wait_until(lambda: bool(head._codes))
        code = head.take()
        assert code is not None and code.text == "JK1:DEF" and "DEF" not in repr(code)
        assert head.take() is None


def test_a_setup_code_shown_by_a_visitor_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firmware_bridge.drivers.gm65.CHECK_EVERY_S", 0.05)
    with Gm65Simulator(tmp_path / "scan") as module, Gm65(str(module.link)) as head:
        assert is_ready(head)
        module.head.zones[gm65.ZONE_OUTPUT] = 0x01  # USB output: the serial line would stay silent
        assert wait_until(lambda: module.head.zones[gm65.ZONE_OUTPUT] == 0)
        assert wait_until(lambda: head.resets == 1)
        assert module.head.saves == 1


@pytest.mark.parametrize(("trigger", "on"), [("honeywell", b"\x16\x54\x0d"), ("newland", b"\x1b\x31")])
def test_trigger_bytes_reach_the_head(tmp_path: Path, trigger: str, on: bytes) -> None:
    with LineScannerSimulator(tmp_path / "s") as module, LineScanner(str(module.link), trigger=trigger) as head:
        assert is_ready(head)
        head.trigger(True)
        assert wait_until(lambda: bytes(module.gun.heard) == on)


@pytest.mark.parametrize("tail", [b"\r", b"\n", b"\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_a_serial_gun_with_any_tail_and_encoding(tmp_path: Path, tail: bytes, encoding: str) -> None:
    with LineScannerSimulator(tmp_path / "s", tail=tail) as module, LineScanner(str(module.link)) as head:
        found = texts(head)
        assert is_ready(head)
        module.show("门哨:一".encode(encoding))
        module.show("x" * 3000)
        assert wait_until(lambda: found() == ["门哨:一", "x" * 3000])


def test_a_head_of_another_model_is_read_and_never_written(tmp_path: Path) -> None:
    with Gm65Simulator(tmp_path / "scan") as module, Gm65(str(module.link), zones="unknown") as head:
        before = dict(module.head.zones)
        found = texts(head)
        assert is_ready(head)
        module.show("ABC\r")
        assert wait_until(lambda: found() == ["ABC"])
        assert module.head.zones == before and module.head.saves == 0


def test_what_is_no_keyboard_is_not_grabbed(tmp_path: Path) -> None:
    (tmp_path / "event0").write_bytes(b"")
    with Wedge(str(tmp_path / "event0")) as gun:
        assert gun.wait_for(lambda s: s.code == "port_absent", 10)


# -- ID cards ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quiet", [True, False])
def test_a_card_is_delivered_once_until_it_is_lifted(tmp_path: Path, quiet: bool) -> None:
    with (
        SamSimulator(tmp_path / "id", keeps_silent_about_kept_card=quiet) as module,
        IdCardReader(str(module.link)) as reader,
    ):
        cards: list[IdCard | CardUnreadable] = []
        reader.on_card(cards.append)
        assert is_ready(reader)
        module.lay(resident_card())
        assert wait_until(lambda: len(cards) == 1)
        assert isinstance(cards[0], IdCard) and cards[0].kind is CardKind.RESIDENT
        module.lift()
        polls = module.reader.reads
        assert polls == 1
        assert reader.take() is None, "what the listener got is kept nowhere else"
        assert wait_until(saw_it_lifted(module))
        module.lay(foreigner_card())
        assert wait_until(lambda: len(cards) == 2)
        assert isinstance(cards[1], IdCard) and cards[1].kind is CardKind.FOREIGNER


def test_a_slow_reader_gets_the_time_its_line_needs(tmp_path: Path) -> None:
    with SamSimulator(tmp_path / "id", baud=9600) as module, IdCardReader(str(module.link), bauds=(9600,)) as reader:
        module.set_faults(chunk_bytes=64, chunk_pause_s=0.06)
        assert is_ready(reader)
        module.lay(resident_card())
        assert wait_until(lambda: isinstance(reader._card, IdCard))


def test_a_module_without_authorisation_says_so(tmp_path: Path) -> None:
    with SamSimulator(tmp_path / "id") as module:
        module.reader.fault = 0x66
        with IdCardReader(str(module.link), bauds=(115200,)) as reader:
            assert reader.wait_for(lambda s: s.code == "module_not_authorised", 10)


def test_a_card_that_cannot_be_read_is_an_event_and_the_log_holds_nothing_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with SamSimulator(tmp_path / "id") as module, IdCardReader(str(module.link)) as reader:
        assert is_ready(reader)
        module.lay(resident_card(number="110105194912310021"))
        assert wait_until(lambda: isinstance(reader._card, CardUnreadable))
        module.lift()
        assert wait_until(saw_it_lifted(module))
        module.lay(resident_card())
        assert wait_until(lambda: isinstance(reader._card, IdCard))
    assert "110105" not in caplog.text and "测试甲" not in caplog.text
    assert "code=number" in caplog.text


@pytest.mark.parametrize(
    "answer",
    [
        reply_frame(0x41, sw1=1),
        read_reply(resident_card())[:-1] + b"\x00",
        read_reply(resident_card())[:700],
        b"\xaa\xaa\xaa\x96\x69\xff\xff",
        reply_frame(0x90, b"\x00\x00\x04\x00" + bytes(1024)),
        reply_frame(0x90, b"\x01\x00\x00\x00" + resident_card()[:-2]),
    ],
    ids=["read failed", "wrong checksum", "cut off", "length ffff", "text length 0", "short"],
)
def test_a_broken_read_never_becomes_a_card(tmp_path: Path, answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firmware_bridge.drivers.sam_v.READ_WITHIN_S", 0.4)
    with SamSimulator(tmp_path / "id") as module, IdCardReader(str(module.link)) as reader:
        assert is_ready(reader)
        module.reader.answer = answer
        module.lay(resident_card())
        assert wait_until(lambda: module.reader.reads >= 1)
        wait_until(lambda: False, 0.3)
        assert not isinstance(reader._card, IdCard)
        module.reader.answer = None
        module.lift()
        assert wait_until(saw_it_lifted(module))
        module.lay(resident_card())
        assert wait_until(lambda: isinstance(reader._card, IdCard)), "the next card is read"


def test_a_card_lifted_in_the_middle_is_no_card(tmp_path: Path) -> None:
    with SamSimulator(tmp_path / "id") as module, IdCardReader(str(module.link)) as reader:
        assert is_ready(reader)
        module.reader.lift_in_read = True
        module.lay(resident_card())
        assert wait_until(lambda: module.reader.broken_reads >= 2)
        assert reader.take() is None and reader.state is DeviceState.READY
        module.reader.lift_in_read = False
        assert wait_until(lambda: isinstance(reader._card, IdCard)), "laid down properly, it is read"


# -- the other relay --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("echo", [False, True])
def test_a_modbus_relay_opens_once_and_is_verified(tmp_path: Path, echo: bool) -> None:
    with ModbusRelaySimulator(tmp_path / "gate") as board:
        board.board.echo = echo
        with ModbusRelayGate(str(board.link)) as gate:
            assert is_ready(gate)
            pulse = gate.open_for(1000)
            assert pulse.wait_until(PulseState.ENDED, timeout_s=10)
            assert pulse.was_verified and len(board.pulses) == 1
            assert board.pulses[0].closed_mono_s is not None


def test_a_welded_modbus_relay_is_reported(tmp_path: Path) -> None:
    with ModbusRelaySimulator(tmp_path / "gate") as board, ModbusRelayGate(str(board.link)) as gate:
        assert is_ready(gate)
        board.board.welded = True
        pulse = gate.open_for(1000)
        assert pulse.wait_until(PulseState.FAILED, timeout_s=10)
        assert pulse.detail == "contact_stays_off"
