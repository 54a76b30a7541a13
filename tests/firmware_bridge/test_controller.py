"""Our controller behind its driver: the twin on a simulated cable, and the real image in a simulated ATmega328P."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from firmware_bridge.device import DeviceState
from firmware_bridge.drivers.gatehouse_mcu import GatehouseMcu
from firmware_bridge.gate import PulseState
from firmware_bridge.reading import Cause, NoReading, Reading
from firmware_bridge.simulators import GatehouseMcuSimulator
from firmware_bridge.simulators.scene import skin_for_body
from tests.firmware_bridge.conftest import wait_until
from tests.firmware_bridge.firmware_build import build


def is_ready(device: GatehouseMcu) -> bool:
    return device.wait_for(lambda s: s.state is DeviceState.READY, 20)


NOTHING_S = 0.8  # long enough for a reading, in tests that expect none


def result_of(thermometer: GatehouseMcu, window_s: float | None = None) -> Reading | NoReading:
    window = thermometer.begin_window(window_s)
    assert wait_until(lambda: window.poll() is not None)
    result = window.poll()
    assert result is not None
    return result


# -- the twin ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def twin(tmp_path: Path) -> Iterator[GatehouseMcuSimulator]:
    with GatehouseMcuSimulator(tmp_path / "mcu", scene="normal,body=36.6") as simulator:
        yield simulator


@pytest.fixture
def controller(twin: GatehouseMcuSimulator) -> Iterator[GatehouseMcu]:
    with GatehouseMcu(str(twin.link), warm_at_start=True) as driver:
        assert is_ready(driver)
        yield driver


def test_it_measures_and_opens_over_one_line(twin: GatehouseMcuSimulator, controller: GatehouseMcu) -> None:
    result = result_of(controller)
    assert isinstance(result, Reading) and result.body_celsius == pytest.approx(36.6, abs=0.2)
    pulse = controller.gate.open_for(300)
    assert controller.gate.open_for(300) is pulse
    assert pulse.wait_until(PulseState.ENDED, timeout_s=10) and pulse.was_verified
    assert wait_until(lambda: len(twin.pulses) == 1 and twin.pulses[0].closed_mono_s is not None)
    assert controller.gate.is_hardware_timed()


def test_a_lost_answer_is_asked_again_and_opens_once(twin: GatehouseMcuSimulator, controller: GatehouseMcu) -> None:
    assert wait_until(lambda: controller.frames > 2)
    twin.set_faults(silent=True)
    pulse = controller.gate.open_for(400)
    assert pulse.wait_until(PulseState.COMMANDED, timeout_s=10)
    assert wait_until(lambda: len(twin.pulses) == 1)
    twin.set_faults()
    assert pulse.wait_until(PulseState.ENDED, PulseState.FAILED, timeout_s=10)
    wait_until(lambda: False, 0.3)
    assert len(twin.pulses) == 1


def test_a_restart_while_open_closes_the_gate_and_is_noticed(
    twin: GatehouseMcuSimulator, controller: GatehouseMcu
) -> None:
    pulse = controller.gate.open_for(5000)
    assert pulse.wait_until(PulseState.VERIFIED, timeout_s=10)
    twin.reboot()
    assert twin.pulses[-1].closed_mono_s is not None
    assert pulse.wait_until(PulseState.FAILED, timeout_s=10)
    assert wait_until(lambda: controller.losses == 1) and is_ready(controller)
    assert controller.hello is not None and controller.hello.reset_cause == 8
    assert controller.gate.open_for(200).wait_until(PulseState.ENDED, timeout_s=10)


def test_a_frozen_controller_is_a_lost_line_and_comes_back(
    twin: GatehouseMcuSimulator, controller: GatehouseMcu
) -> None:
    twin.board.frozen = True
    assert controller.wait_for(lambda s: s.state is DeviceState.LOST, 20)
    twin.reboot()
    assert is_ready(controller)


@pytest.mark.parametrize("status", [1, 2, 3])
def test_a_broken_sensor_is_a_fault_and_no_reading(
    twin: GatehouseMcuSimulator, controller: GatehouseMcu, status: int
) -> None:
    twin.board.sensor_status = type(twin.board.sensor_status)(status)
    wait_until(lambda: False, 0.2)
    result = result_of(controller, NOTHING_S)
    assert isinstance(result, NoReading) and result.cause is Cause.DEVICE_FAULT
    assert result.detail.startswith("sensor_")


def test_inputs_are_seen_and_the_emergency_loop_holds_the_gate_open(
    twin: GatehouseMcuSimulator, controller: GatehouseMcu
) -> None:
    twin.board.presence = twin.board.emergency = True
    assert wait_until(lambda: controller.is_somebody_present and controller.is_emergency_open)
    pulse = controller.gate.open_for(300)
    assert pulse.wait_until(PulseState.FAILED, timeout_s=10) and pulse.detail == "emergency"
    assert twin.pulses[-1].closed_mono_s is None


def test_two_controllers_are_told_apart(twin: GatehouseMcuSimulator) -> None:
    with GatehouseMcu(str(twin.link), unique_id="deadbeef") as driver:
        assert driver.wait_for(lambda s: s.code == "swapped", 20)
        assert "0a0b0c0d" in driver.status.en and "deadbeef" in driver.status.en


# -- the real image ---------------------------------------------------------------------------------------------------


class Board:
    """A running simavr board: commands in, pin edges out."""

    def __init__(self, program: Path, image: Path, link: Path) -> None:
        self._link = link  # node numbers are reused at once, so a late driver could find somebody else's board
        self._process = subprocess.Popen(
            [str(program), str(image)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.edges: list[tuple[str, int, float]] = []  # pin, level, simulated ms
        self._has_port = threading.Event()
        self.port = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._has_port.wait(20), "the board did not start"

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            word, *rest = line.split()
            if word == "port":
                self._link.symlink_to(rest[0])
                self.port = str(self._link)
                self._has_port.set()
            elif word == "pin" and len(rest) == 3:
                self.edges.append((rest[0], int(rest[1]), float(rest[2])))

    def tell(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def gate(self) -> list[tuple[int, float]]:
        """Edges of the gate pin after its start at 0."""
        edges = [(level, at) for pin, level, at in self.edges if pin == "gate"]
        while edges and edges[0][0] == 0:
            edges.pop(0)
        return edges

    def stop(self) -> None:
        self._link.unlink(missing_ok=True)
        self._process.terminate()
        self._process.wait(10)
        self._reader.join(10)
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("firmware")
    build("all", out)
    build("board", out)
    return out


@pytest.fixture
def board(built: Path, tmp_path: Path) -> Iterator[Board]:
    board = Board(built / "board", built / "gatehouse.elf", tmp_path / "mcu")
    yield board
    board.stop()


@pytest.fixture
def real(board: Board) -> Iterator[GatehouseMcu]:
    with GatehouseMcu(board.port, warm_at_start=True) as driver:
        assert is_ready(driver), driver.status
        yield driver


@pytest.mark.slow
def test_real_image_measures_through_i2c_link_and_rule(board: Board, real: GatehouseMcu) -> None:
    board.tell(f"object {skin_for_body(36.6):.2f}")
    wait_until(lambda: False, 0.3)
    result = result_of(real)
    assert isinstance(result, Reading) and result.body_celsius == pytest.approx(36.6, abs=0.1)
    assert result.ambient_celsius == pytest.approx(25.0, abs=0.05)
    assert "build=" in real.identity


@pytest.mark.slow
def test_real_image_ends_the_pulse_on_its_own_clock(board: Board, real: GatehouseMcu) -> None:
    pulse = real.gate.open_for(250)
    assert pulse.wait_until(PulseState.ENDED, timeout_s=20) and pulse.was_verified
    assert wait_until(lambda: len(board.gate()) == 2)
    (up, opened), (down, closed) = board.gate()
    assert (up, down) == (1, 0)
    assert closed - opened == pytest.approx(250, abs=3), "milliseconds of the controller, not of this machine"


@pytest.mark.slow
def test_row_18_a_host_killed_while_the_gate_is_open_leaves_it_closed(board: Board) -> None:
    """kill -9 of the whole host process; the pulse ends on time on the controller's clock."""
    script = textwrap.dedent(
        """
        import sys, time
        from firmware_bridge.device import DeviceState
        from firmware_bridge.drivers.gatehouse_mcu import GatehouseMcu
        from firmware_bridge.gate import PulseState
        driver = GatehouseMcu(sys.argv[1])
        driver.start()
        assert driver.wait_for(lambda s: s.state is DeviceState.READY, 20)
        assert driver.gate.open_for(1500).wait_until(PulseState.VERIFIED, timeout_s=10)
        print("open", flush=True)
        time.sleep(60)
        """
    )
    host = subprocess.Popen([sys.executable, "-c", script, board.port], stdout=subprocess.PIPE, text=True)
    assert host.stdout is not None and host.stdout.readline() == "open\n"
    os.kill(host.pid, signal.SIGKILL)
    host.wait(10)
    host.stdout.close()
    assert wait_until(lambda: len(board.gate()) == 2, 20)
    (_, opened), (_, closed) = board.gate()
    assert closed - opened == pytest.approx(1500, abs=3)


@pytest.mark.slow
def test_row_18_a_lost_heartbeat_closes_the_gate_and_blinks(board: Board, real: GatehouseMcu) -> None:
    assert real.gate.open_for(5000).wait_until(PulseState.VERIFIED, timeout_s=10)
    real.stop()
    assert wait_until(lambda: len(board.gate()) == 2, 20)
    (_, opened), (_, closed) = board.gate()
    assert closed - opened < 5000 and closed - opened == pytest.approx(2000, abs=600)
    before = sum(pin == "lamp" for pin, _, _ in board.edges)
    assert wait_until(lambda: sum(pin == "lamp" for pin, _, _ in board.edges) >= before + 4, 20)


@pytest.mark.slow
def test_row_18_a_hanging_loop_is_reset_by_the_watchdog_and_the_gate_is_closed(
    board: Board, real: GatehouseMcu
) -> None:
    pulse = real.gate.open_for(5000)
    assert pulse.wait_until(PulseState.VERIFIED, timeout_s=10)
    nonce = real.hello.boot_nonce if real.hello else 0
    board.tell("hang")
    assert pulse.wait_until(PulseState.FAILED, timeout_s=20)
    assert wait_until(lambda: real.hello is not None and real.hello.boot_nonce != nonce, 20)
    assert is_ready(real)
    assert real.hello is not None and real.hello.reset_cause & 8
    assert wait_until(lambda: bool(board.gate()) and board.gate()[-1][0] == 0)


@pytest.mark.slow
def test_real_image_names_what_its_sensor_suffers_from(board: Board, real: GatehouseMcu) -> None:
    for mood, detail in (("silent", "no_answer"), ("badpec", "bad_pec"), ("error", "error_flag")):
        board.tell(f"sensor {mood}")
        assert wait_until(lambda d=detail: (f := real.latest()) is not None and f.faults == (f"sensor_{d}",))
        result = result_of(real, NOTHING_S)
        assert isinstance(result, NoReading) and result.cause is Cause.DEVICE_FAULT
        board.tell("sensor ok")
        assert wait_until(lambda: (f := real.latest()) is not None and not f.faults)


@pytest.mark.slow
def test_real_image_emergency_loop_and_presence(board: Board, real: GatehouseMcu) -> None:
    board.tell("presence 1")
    assert wait_until(lambda: real.is_somebody_present)
    board.tell("emergency 1")
    assert wait_until(lambda: real.is_emergency_open and bool(board.gate()))
    real.stop()
    wait_until(lambda: False, 2.5)
    assert board.gate()[-1][0] == 1, "open also without a host"
    board.tell("emergency 0")
    assert wait_until(lambda: board.gate()[-1][0] == 0)
