"""Scan head and camera at one entrance: whoever speaks first makes the only event, and one of them is enough."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from firmware_bridge.device import DeviceState
from firmware_bridge.drivers.gm65 import Gm65
from firmware_bridge.drivers.line_scanner import LineScanner
from firmware_bridge.scan_head import ScanHead
from firmware_bridge.simulators.scanners import Gm65Simulator, LineScannerSimulator
from kiosk.board import Board, Link
from kiosk.camera import CameraState
from kiosk.station import Idle
from protocol.bundle import PlaceNames
from protocol.journal import header_of
from protocol.words import EntryMode
from tests.rig import Rig


def until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Doorway:
    """An entrance with a camera and a scan head on a pty."""

    def __init__(self, rig: Rig, head: ScanHead, simulator: Gm65Simulator | LineScannerSimulator) -> None:
        self.rig, self.head, self.simulator = rig, head, simulator
        self.codes_of_the_head = 0

        def heard(text: str) -> None:
            self.codes_of_the_head += 1
            rig.lane.scanned(text, "scan_head")

        head.on_code(lambda code: heard(code.text))

    def passages(self) -> int:
        _, _, records = self.rig.journal.unsent(1000)
        facts = [header_of(record, self.rig.device.id).facts for record in records]
        return sum(1 for f in facts if f is not None and f.mode is EntryMode.SCAN)

    def parts(self) -> dict[str, bool]:
        board = Board(PlaceNames(b"venue1", 1, "", "", "", ""))
        state = board.state(self.rig.lane, Link("online"), time.monotonic())
        return {part.part: part.good for part in state.parts}


@pytest.fixture
def doorway(tmp_path: Path) -> Iterator[Doorway]:
    with Gm65Simulator(tmp_path / "head") as simulator, Gm65(str(tmp_path / "head")) as head:
        assert head.wait_for(lambda s: s.state is DeviceState.READY, 20)
        (tmp_path / "kiosk").mkdir()
        with Rig(tmp_path / "kiosk", readers={"scanner": head}) as rig:
            yield Doorway(rig, head, simulator)


def test_a_code_seen_by_camera_and_head_at_once_is_one_passage(doorway: Doorway) -> None:
    text = doorway.rig.issuer.code(datetime.now(UTC), 7)
    doorway.simulator.show(text)
    (sequence,) = doorway.rig.walk([text])
    assert sequence > 0
    until(lambda: doorway.codes_of_the_head == 1)
    until(lambda: isinstance(doorway.rig.lane.station.state, Idle))
    assert doorway.passages() == 1
    assert doorway.rig.door.opened == 1


def test_the_head_alone_serves_while_the_camera_is_gone(doorway: Doorway) -> None:
    doorway.rig.pictures.unplug()
    until(lambda: doorway.rig.camera.state is not CameraState.LIVE)
    assert doorway.parts()["camera"] is False
    doorway.simulator.show(doorway.rig.issuer.code(datetime.now(UTC), 8))
    until(lambda: doorway.passages() == 1)
    until(lambda: doorway.rig.door.opened == 1)


def test_the_camera_alone_serves_while_the_head_is_gone_and_the_screen_says_so(doorway: Doorway) -> None:
    assert doorway.parts()["scanner"] is True
    doorway.simulator.unplug()
    until(lambda: doorway.head.state is DeviceState.LOST)
    assert doorway.parts()["scanner"] is False
    assert "no_scanner" in doorway.rig.lane.degraded()
    (sequence,) = doorway.rig.walk([doorway.rig.issuer.code(datetime.now(UTC), 9)])
    assert sequence > 0 and doorway.rig.door.opened == 1


def test_a_gun_that_only_sends_text_serves_too(tmp_path: Path) -> None:
    (tmp_path / "kiosk").mkdir()
    with LineScannerSimulator(tmp_path / "gun") as simulator, LineScanner(str(tmp_path / "gun")) as gun:
        assert gun.wait_for(lambda s: s.state is DeviceState.READY, 20)
        with Rig(tmp_path / "kiosk", readers={"scanner": gun}) as rig:
            doorway = Doorway(rig, gun, simulator)
            simulator.show(rig.issuer.code(datetime.now(UTC), 10))
            until(lambda: doorway.passages() == 1)
            assert gun.take() is None  # nothing of the code stays behind in the driver
