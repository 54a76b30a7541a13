"""The whole entrance as one process wires it: every device on a pty is started, shown, named in health, and stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from config.camera import CameraSettings
from config.devices import GateSettings, IdCardSettings, ScanHeadSettings, ThermometerSettings
from config.kiosk import KioskSettings, SyncSettings
from config.screen import ScreenSettings
from firmware_bridge.device import DeviceState
from firmware_bridge.drivers.gatehouse_mcu import GatehouseMcu, McuGate
from firmware_bridge.simulators.gatehouse_mcu import GatehouseMcuSimulator
from firmware_bridge.simulators.sam_v import SamSimulator
from firmware_bridge.simulators.scanners import Gm65Simulator, LineScannerSimulator
from kiosk.app import Entrance
from kiosk.enrol import device_code, enrol
from kiosk.offline_test import begin
from kiosk.screen import ScreenError
from protocol.journal import header_of
from tests.kiosk.sync.house import Door, LiveServer, answers

pytestmark = pytest.mark.slow


def until(is_so: Callable[[], object], what: str, within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.01)


class Running:
    """An enrolled entrance at work in a thread of its own."""

    def __init__(self, entrance: Entrance) -> None:
        self.entrance = entrance
        self._stop = threading.Event()
        self._thread = threading.Thread(target=entrance.run, args=(self._stop,))

    def __enter__(self) -> Running:
        self._thread.start()
        until(lambda: self.entrance.desk is not None, "the entrance at work")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def parts(self) -> dict[str, bool]:
        state = requests.get(self.entrance.screen.address + "state", timeout=5).json()
        return {part["part"]: part["good"] for part in state["parts"]}

    def health(self) -> dict[str, str]:
        return dict(self.entrance._health().parts)


@pytest.fixture
def sockets(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "sockets"
    folder.mkdir()
    with ExitStack() as stack:
        stack.enter_context(GatehouseMcuSimulator(folder / "mcu"))
        stack.enter_context(Gm65Simulator(folder / "head"))
        stack.enter_context(SamSimulator(folder / "card"))
        yield folder


def settings(tmp_path: Path, sockets: Path, *, head: str = "head", card: str = "card") -> KioskSettings:
    return KioskSettings(
        data_dir=tmp_path / "kiosk",
        camera=CameraSettings(source="none"),
        thermometer=ThermometerSettings(driver="gatehouse_mcu", port=str(sockets / "mcu"), warm_at_start=True),
        gate=GateSettings(driver="gatehouse_mcu", port=str(sockets / "mcu")),
        scan_head=ScanHeadSettings(driver="gm65", port=str(sockets / head), bauds=(9600,)),
        id_card=IdCardSettings(driver="sam_v", port=str(sockets / card), bauds=(115200,)),
        screen=ScreenSettings(port=0, voice=False, sound="none", voice_cache=tmp_path / "voice"),
    )


def test_every_device_is_started_shown_reported_and_stopped(tmp_path: Path, sockets: Path, server: LiveServer) -> None:
    enrol(tmp_path / "kiosk", server.code())
    with Running(Entrance(settings(tmp_path, sockets))) as running:
        shown = ("thermometer", "gate", "scanner", "id_card")
        until(lambda: all(running.parts().get(part) for part in shown), "all devices on the screen")
        assert {part: running.health()[part] for part in shown} == dict.fromkeys(shown, "ready")
        lane = running.entrance.lane
        assert lane is not None
        # one controller in both slots: one port, opened once
        assert isinstance(lane.thermometer, GatehouseMcu) and isinstance(lane.gate, McuGate)
        assert lane.gate is lane.thermometer.gate
        devices = [lane.thermometer, *lane.readers.values()]
        running.stop()
        assert [device.state for device in devices] == [DeviceState.STOPPED] * 3
    alive = {thread.name for thread in threading.enumerate()}
    assert not [name for name in alive if str(sockets) in name and not name.startswith("simulator")]


def test_swapped_plugs_of_the_entrance_are_named(tmp_path: Path, sockets: Path, server: LiveServer) -> None:
    enrol(tmp_path / "kiosk", server.code())
    swapped = settings(tmp_path, sockets, head="card", card="head")
    with Running(Entrance(swapped)) as running:
        lane = running.entrance.lane
        assert lane is not None
        reader, head = lane.readers["id_card"], lane.readers["scanner"]
        until(lambda: "swapped" in (reader.status.code, head.status.code), "a swap that is named")
        named = reader if reader.status.code == "swapped" else head
        other = head if named is reader else reader
        assert f"the {other.en_name} belongs on {other.port}" in named.status.en
        assert running.parts()["scanner"] is False


def test_a_kiosk_without_a_camera_enrols_by_its_scan_head(tmp_path: Path, server: LiveServer) -> None:
    link = tmp_path / "scanner"
    kiosk = KioskSettings(
        data_dir=tmp_path / "kiosk",
        camera=CameraSettings(source="none"),
        scan_head=ScanHeadSettings(driver="line", port=str(link), bauds=(9600,)),
        screen=ScreenSettings(port=0, voice=False, sound="none", voice_cache=tmp_path / "voice"),
    )
    entrance, stop = Entrance(kiosk), threading.Event()
    with LineScannerSimulator(link) as scanner:
        serving = threading.Thread(target=entrance.run, args=(stop,))
        serving.start()
        try:

            def shown() -> dict[str, Any]:
                try:
                    told: dict[str, Any] = requests.get(entrance.screen.address + "state", timeout=5).json()
                except (requests.RequestException, ScreenError):
                    return {}
                return told

            until(lambda: shown().get("view") == "setup", "the first screen")
            until(lambda: [p["part"] for p in shown()["parts"] if p["good"]] == ["scanner"], "the scan head, alone")
            number = device_code(tmp_path / "kiosk")
            assert f"{number[:4]} {number[4:8]}" in shown()["prompt"]["zh"], "the device says who it is"
            scanner.show("https://example.cn/not-one-of-ours")
            scanner.show("GHE1:garbage")
            until(lambda: (shown().get("note") or {}).get("zh", "").startswith("登记未成功"), "a refusal in words")
            scanner.show(server.code())
            until(lambda: entrance.desk is not None, "the entrance at work")
            assert entrance.lane is not None and entrance.lane.place.kiosk.hex() == number
            until(lambda: dict(entrance._health().parts).get("scanner") == "ready", "the head in the entrance's hands")
            health = dict(entrance._health().parts)
            assert {"card", "card_wear", "power", "heat"} <= health.keys(), "what the fleet page shows"
        finally:
            stop.set()
            serving.join(30)
    assert not serving.is_alive()


def test_setting_up_ends_with_a_test_without_the_network(tmp_path: Path, server: LiveServer) -> None:
    link = tmp_path / "scanner"
    kiosk = KioskSettings(
        data_dir=tmp_path / "kiosk",
        camera=CameraSettings(source="none"),
        scan_head=ScanHeadSettings(driver="line", port=str(link), bauds=(9600,)),
        screen=ScreenSettings(port=0, voice=False, sound="none", voice_cache=tmp_path / "voice"),
        sync=SyncSettings(interval_s=1.0, timeout_s=1.0),
    )
    enrol(kiosk.data_dir, server.code())
    begin(kiosk.data_dir)
    with LineScannerSimulator(link) as scanner, Running(Entrance(kiosk)) as running:

        def due() -> str:
            state = requests.get(running.entrance.screen.address + "state", timeout=5).json()
            return str(next((part["text"]["zh"] for part in state["parts"] if part["part"] == "offline"), ""))

        until(lambda: running.parts().get("network") and running.parts().get("scanner"), "its rules and its devices")
        assert "拔网线" in due()
        server.fault = answers("503 Service Unavailable", b"", "text/plain")
        until(lambda: "走一人" in due(), "a link that has given up")
        scanner.show("nothing that anybody knows")  # a passage all the same: held, and on record
        until(lambda: "插网线" in due(), "a passage without the network")
        server.fault = None
        until(lambda: due() == "", "everything arrived", within_s=90)
        assert running.health()["offline_test"] == "passed"
    door = Door.opened(kiosk.data_dir)
    events = [header_of(record, door.id).event for record in door.journal.records_after(0, 1000)]
    door.close()
    assert events.count("offline_test") == 1, "that it passed is on record"
