"""`gatehouse devices`: what an installer sees and gets."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from config.devices import CalibrationFile, ThermometerSettings
from config.loading import load
from firmware_bridge.build import make_thermometer
from firmware_bridge.drivers.sam_v import IdCardReader
from firmware_bridge.simulators import (
    GatehouseMcuSimulator,
    Gm65Simulator,
    Gy614vSimulator,
    Gymcu90614Simulator,
    ModbusIrSimulator,
    PtyShell,
    SamSimulator,
)
from gatehouse.cli import main
from tests.firmware_bridge.conftest import wait_until


@pytest.mark.slow
@pytest.mark.parametrize(
    ("simulator", "driver"),
    [
        (Gy614vSimulator, "gy614v"),
        (Gymcu90614Simulator, "gymcu90614"),
        (GatehouseMcuSimulator, "gatehouse_mcu"),
        (Gm65Simulator, "gm65"),
        (SamSimulator, "sam_v"),
        (ModbusIrSimulator, "modbus_ir pyrominibus"),
    ],
)
def test_probe_names_who_answers(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    simulator: type[PtyShell],
    driver: str,
) -> None:
    # the languages before the right one are met with silence; simulated devices answer within a few milliseconds
    monkeypatch.setattr("firmware_bridge.drivers.gymcu90614.LISTEN_S", 0.2)
    monkeypatch.setattr("firmware_bridge.drivers.gy614v.REPLY_WITHIN_S", 0.2)
    monkeypatch.setattr("firmware_bridge.drivers.gatehouse_mcu.HELLO_FOR_S", 0.6)
    monkeypatch.setattr("firmware_bridge.drivers.gm65.REPLY_WITHIN_S", 0.2)
    monkeypatch.setattr("firmware_bridge.drivers.sam_v.ANSWER_WITHIN_S", 0.2)
    monkeypatch.setattr(IdCardReader, "bauds", (115200, 9600))
    with simulator(tmp_path / "port"):  # type: ignore[call-arg]
        assert main(["devices", "probe", str(tmp_path / "port")]) == 0
    assert capsys.readouterr().out.startswith(f"{driver}: ")


def test_an_absent_port_is_said_plainly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "probe", str(tmp_path / "none")]) == 2
    assert "cannot be opened" in capsys.readouterr().err


def test_list_shows_every_port(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Gymcu90614Simulator(tmp_path / "pci-usb-1"):
        assert main(["devices", "list", "--by-path", str(tmp_path)]) == 0
    assert "gymcu90614: GY-MCU90614" in capsys.readouterr().out
    assert main(["devices", "list", "--by-path", str(tmp_path / "none")]) == 1


def test_watch_plots_what_the_sensor_sees(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Gy614vSimulator(tmp_path / "t", scene="normal,body=36.6"):
        assert main(["devices", "watch", "gy614v", str(tmp_path / "t"), "--seconds", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("GY-614V") and any("*" in line for line in lines)


def aim(module: Gy614vSimulator, monkeypatch: pytest.MonkeyPatch, shown: list[float]) -> None:
    """Press Enter at each prompt, with the black body where the sensor shows it as *shown*."""

    class Operator(io.StringIO):
        def readline(self, size: int = -1, /) -> str:
            module.scene.set(f"normal,noise=0.03,tau_s=0,body={shown.pop(0) * 1.19 - 4.75}")
            wait_until(lambda: False, 0.3)
            return "\n"

    monkeypatch.setattr(sys, "stdin", Operator())


def test_calibrate_writes_a_file_that_corrects_readings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "calibration.toml"
    with Gy614vSimulator(tmp_path / "t") as module:
        aim(module, monkeypatch, [34.6, 37.7])
        command = ["devices", "calibrate", "gy614v", str(tmp_path / "t"), "--output", str(out), "--operator", 'Li "3"']
        assert main(command) == 0
    stored = load(CalibrationFile, out)
    assert stored.operator == 'Li "3"'
    assert stored.gain * 34.6 + stored.offset_celsius == pytest.approx(35.0, abs=0.05)
    assert stored.gain * 37.7 + stored.offset_celsius == pytest.approx(38.0, abs=0.05)
    thermometer = make_thermometer(ThermometerSettings(driver="gy614v", port="x", calibration=out))
    assert thermometer is not None and thermometer.correction.calibration is not None
    thermometer.stop()


def test_calibrate_refuses_a_sensor_that_cannot_be_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "calibration.toml"
    with Gy614vSimulator(tmp_path / "t") as module:
        aim(module, monkeypatch, [31.0, 36.0])
        command = ["devices", "calibrate", "gy614v", str(tmp_path / "t"), "--output", str(out), "--operator", "Li"]
        assert main(command) == 2
    assert not out.exists() and "sound sensor" in capsys.readouterr().err


def test_simulate_takes_scenes_from_standard_input(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gatehouse", "devices", "simulate", "gy614v", "--link", str(tmp_path / "d" / "t")]
    process = subprocess.Popen([*command, "--seconds", "30"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    try:
        assert process.stdout.readline().startswith("gy614v on ")
        thermometer = make_thermometer(
            ThermometerSettings(driver="gy614v", port=str(tmp_path / "d" / "t"), warm_at_start=True)
        )
        assert thermometer is not None
        with thermometer:
            assert wait_until(lambda: thermometer.latest() is not None)
            process.stdin.write("fever,noise=0.05\n")
            process.stdin.flush()
            assert wait_until(lambda: (f := thermometer.latest()) is not None and f.object_celsius > 35)
    finally:
        process.terminate()
        assert process.wait(10) == 0
        assert not (tmp_path / "d" / "t").is_symlink(), "the link is gone with its device"
        process.stdin.close()
        process.stdout.close()


def test_simulate_refuses_an_unknown_scene(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "simulate", "gy614v", "--link", str(tmp_path / "t"), "--scene", "party"]) == 2
    assert "not a scene" in capsys.readouterr().err
