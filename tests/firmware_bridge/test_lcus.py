"""The relay: published frames, three dialects, and a gate that opens once, closes on time and is never left open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from firmware_bridge.codecs import lcus
from firmware_bridge.codecs.lcus import ContactState, DialectA, DialectB, DialectC, Op
from firmware_bridge.device import DeviceState
from firmware_bridge.drivers.lcus import LcusGate
from firmware_bridge.gate import PulseState
from firmware_bridge.simulators import LcusSimulator
from tests.firmware_bridge.conftest import wait_until


def test_the_published_commands() -> None:
    assert [lcus.command(1, Op(op))[2:].hex() for op in (0, 1, 2, 3, 5)] == ["00a1", "01a2", "02a3", "03a4", "05a6"]
    assert lcus.command(1, Op.ON) == bytes.fromhex("A0 01 01 A2")


def test_toggle_does_not_exist_because_a_retry_would_undo_it() -> None:
    assert 4 not in [op.value for op in Op]


@pytest.mark.parametrize("size", [1, 3, 100])
def test_every_dialect_reads_its_own_answers_in_any_pieces(size: int) -> None:
    for decoder, line in (
        (DialectA(), b"CH1: ON\r\nCH2: OFF\r\n"),
        (DialectB(), bytes.fromhex("A00101A2 A00200A2")),
        (DialectC(), b"\x01\x00"),
    ):
        states = [s for at in range(0, len(line), size) for s in decoder.feed(line[at : at + size])]
        assert states == [ContactState(1, True), ContactState(2, False)]
        assert decoder.foreign == 0


def test_foreign_bytes_are_counted_and_give_no_state() -> None:
    for decoder in (DialectA(), DialectB(), DialectC()):
        assert decoder.feed(bytes.fromhex("5A5A45040D7C09E372")) == []
        assert decoder.foreign > 0


@pytest.fixture(params=["A", "B", "C"])
def board(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LcusSimulator]:
    with LcusSimulator(tmp_path / "gate", dialect=request.param) as simulator:
        yield simulator


@pytest.fixture
def gate(board: LcusSimulator) -> Iterator[LcusGate]:
    with LcusGate(str(board.link), dialect=board.board.dialect) as driver:
        assert driver.wait_for(lambda s: s.state is DeviceState.READY, 10)
        yield driver


def test_one_pulse_opens_once_for_the_time_asked(board: LcusSimulator, gate: LcusGate) -> None:
    pulse = gate.open_for(700)
    assert gate.open_for(700) is pulse, "a second command within a moment does not open twice"
    assert pulse.wait_until(PulseState.ENDED, timeout_s=10)
    assert pulse.was_verified
    assert wait_until(lambda: board.pulses[-1].closed_mono_s is not None)
    (record,) = board.pulses
    assert record.length_s is not None and 0.65 < record.length_s
    assert board.board.dropped == 0


def test_two_people_are_two_pulses(board: LcusSimulator, gate: LcusGate) -> None:
    for _ in range(2):
        assert gate.open_for(100).wait_until(PulseState.ENDED, timeout_s=10)
    assert wait_until(lambda: len(board.pulses) == 2 and board.pulses[-1].closed_mono_s is not None)


def test_a_board_that_never_answers_is_commanded_not_verified(tmp_path: Path) -> None:
    with LcusSimulator(tmp_path / "gate", answers=False) as board, LcusGate(str(board.link)) as gate:
        assert gate.wait_for(lambda s: s.state is DeviceState.READY, 10)
        assert "answers=no" in gate.identity
        pulse = gate.open_for(500)
        assert pulse.wait_until(PulseState.COMMANDED, timeout_s=10)
        assert pulse.wait_until(PulseState.ENDED, timeout_s=10)
        assert not pulse.was_verified


def test_a_welded_contact_is_reported(tmp_path: Path) -> None:
    with LcusSimulator(tmp_path / "gate", dialect="B") as board, LcusGate(str(board.link), dialect="B") as gate:
        assert gate.wait_for(lambda s: s.state is DeviceState.READY, 10)
        board.board.welded = True
        pulse = gate.open_for(600)
        assert pulse.wait_until(PulseState.FAILED, timeout_s=10)
        assert pulse.detail == "contact_stays_off"


def test_stopping_in_the_middle_of_a_pulse_closes_the_gate(board: LcusSimulator, gate: LcusGate) -> None:
    pulse = gate.open_for(5000)
    assert wait_until(lambda: bool(board.pulses))
    gate.stop()
    assert wait_until(lambda: board.pulses[-1].closed_mono_s is not None)
    assert pulse.state is PulseState.FAILED


def test_an_unplugged_gate_fails_at_once_and_comes_back_closed(board: LcusSimulator, gate: LcusGate) -> None:
    pulse = gate.open_for(5000)
    assert wait_until(lambda: bool(board.pulses))
    board.unplug()
    assert pulse.wait_until(PulseState.FAILED, timeout_s=10)
    assert gate.wait_for(lambda s: s.state is DeviceState.LOST, 10)
    assert gate.open_for(500).state is PulseState.FAILED
    board.plug()
    assert gate.wait_for(lambda s: s.state is DeviceState.READY, 15)
    assert not board.board.contacts[0]


@pytest.mark.parametrize("open_ms", [0, 99, 5001, -5])
def test_no_pulse_is_longer_than_the_hard_maximum(open_ms: int) -> None:
    gate = LcusGate("nowhere")
    with pytest.raises(ValueError):
        gate.open_for(open_ms)
    gate.stop()


def test_another_device_on_the_gates_plug_is_refused(tmp_path: Path) -> None:
    with LcusSimulator(tmp_path / "gate", answers=False) as board:
        board.set_faults(garbage_rate=200.0)
        with LcusGate(str(board.link)) as gate:
            assert gate.wait_for(lambda s: s.state is DeviceState.MISMATCH, 10)
            assert gate.open_for(500).state is PulseState.FAILED
