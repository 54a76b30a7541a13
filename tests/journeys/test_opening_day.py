"""The first minutes of a day with the real kiosk process: systemd hears it, staff test it, an inspector looks, the
server's fleet page knows."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from sqlalchemy import select

from gatehouse.cli import main
from kiosk.enrol import enrol
from protocol.staff import StaffRole
from server.bundles.publishing import publish_all
from server.bundles.staff import set_staff
from server.kiosks.models import Kiosk
from tests.kiosk.sync.house import LiveServer
from tests.server.people import LIBRARY

pytestmark = pytest.mark.slow
PORT_WORDS = "screen start address="


def until(is_so: Callable[[], bool], what: str, within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


class Running:
    """`gatehouse kiosk` as systemd would run it, and what it says on the socket and on standard error."""

    def __init__(self, folder: Path, config: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._listener.bind(str(folder / "notify"))
        self._listener.setblocking(False)
        self.heard: list[bytes] = []
        self._log = folder / "log"
        environment = {**os.environ, "NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "2000000"}
        environment.pop("WATCHDOG_PID", None)
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gatehouse", "kiosk", "--config", str(config)], stderr=log, env=environment
            )

    def hears(self, message: bytes, times: int = 1) -> bool:
        while True:
            try:
                self.heard.append(self._listener.recv(4096))
            except BlockingIOError:
                return self.heard.count(message) >= times

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    @property
    def address(self) -> str:
        return self.log.split(PORT_WORDS, 1)[1].split()[0]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    def forget(self) -> None:
        self.close()
        self._listener.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiveServer]:
    made = LiveServer(tmp_path / "server")
    with made.app.app_context():
        with made.house.database.writing() as writing:
            for staff_id, role, pin in (
                ("li.na", StaffRole.HELPER, "258036"),
                ("jian.cha", StaffRole.INSPECTOR, "975310"),
            ):
                set_staff(writing, LIBRARY, staff_id, staff_id, role, pin, made.house.now())
        publish_all(made.house, made.house.now())
    yield made
    made.stop()


@pytest.fixture
def kiosk(tmp_path: Path, server: LiveServer) -> Iterator[Running]:
    enrol(tmp_path / "data", server.code())
    config = tmp_path / "kiosk.toml"
    config.write_text(
        'data_dir = "data"\n[camera]\nsource = "none"\n[screen]\nport = 0\nsound = "none"\nvoice = false\n'
        "[sync]\ninterval_s = 1.0\n",
        encoding="utf-8",
    )
    running = Running(tmp_path, config)
    yield running
    running.forget()


def sign_in(kiosk: Running, pin: str) -> requests.Session:
    http = requests.Session()
    http.headers["Origin"] = kiosk.address.rstrip("/")
    answer = press(http, kiosk, "sign_in", pin=pin)
    assert answer["done"], answer
    return http


def press(http: requests.Session, kiosk: Running, name: str, **values: str) -> dict[str, object]:
    answer: dict[str, object] = http.post(f"{kiosk.address}action/{name}", json=values, timeout=20).json()
    return answer


def test_a_day_is_opened_with_a_test_that_everybody_can_see(
    kiosk: Running, server: LiveServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    until(lambda: kiosk.hears(b"READY=1") or kiosk.process.poll() is not None, "the kiosk neither starts nor fails")
    assert kiosk.process.poll() is None, kiosk.log
    until(lambda: kiosk.hears(b"WATCHDOG=1", times=3), "the lane does not feed the watchdog")
    until(lambda: "bundle version=" in kiosk.log, "no bundle came")

    assert "今天没有做" in requests.get(kiosk.address, timeout=20).text
    staff = sign_in(kiosk, "258036")
    told = press(staff, kiosk, "self_test")
    assert told["done"], told
    until(lambda: "通过" in requests.get(kiosk.address, timeout=20).text, "the idle screen does not show the test")

    def fleet_knows() -> bool:
        with server.house.database.reading() as reading:
            return reading.scalars(select(Kiosk.opening_test_at)).one() is not None

    until(fleet_knows, "the server never heard of the test")

    inspector = sign_in(kiosk, "975310")
    page = inspector.get(f"{kiosk.address}panel", timeout=20).text
    assert "记录链完整" in page and "通过" in page and "proxy" not in page
    assert not press(inspector, kiosk, "self_test")["done"]

    assert main(["kiosk", "journal", "export", str(tmp_path / "data"), "--out", str(tmp_path / "stick")]) == 2
    assert "systemctl stop gatehouse-kiosk" in capsys.readouterr().err
    kiosk.close()
    assert kiosk.process.returncode == 0 and kiosk.hears(b"STOPPING=1")
    assert main(["kiosk", "journal", "show", str(tmp_path / "data")]) == 0
    words = capsys.readouterr().out
    assert "opening_test 1" in words and "完整 whole" in words
    for pin in ("258036", "975310"):
        assert pin not in kiosk.log
