"""systemd hears that the kiosk is ready and goes round, through a real datagram socket, and never stops it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from kiosk.service_notify import ServiceNotify


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        yield listener


def heard(listener: socket.socket) -> list[bytes]:
    messages = []
    while True:
        try:
            messages.append(listener.recv(4096))
        except BlockingIOError:
            return messages


def test_ready_alive_and_stopping_are_heard(systemd: socket.socket) -> None:
    told = ServiceNotify({"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "20000000"})
    told.ready()
    told.alive()
    told.stopping()
    assert heard(systemd) == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1"]


def test_signs_of_life_come_twice_a_period_and_not_with_each_round(systemd: socket.socket) -> None:
    now = [100.0]
    told = ServiceNotify({"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "20000000"}, steady_s=lambda: now[0])
    for _ in range(61):
        told.alive()
        now[0] += 1.0
    assert heard(systemd) == [b"WATCHDOG=1"] * 7


def test_an_abstract_socket_is_found() -> None:
    name = f"gatehouse-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name)
        listener.setblocking(False)
        ServiceNotify({"NOTIFY_SOCKET": "@" + name}).ready()
        assert heard(listener) == [b"READY=1"]


@pytest.mark.parametrize(
    "environment",
    [{}, {"WATCHDOG_USEC": "1000000"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "5", "WATCHDOG_PID": "1"}],
)
def test_without_a_watchdog_nothing_is_sent(systemd: socket.socket, environment: dict[str, str]) -> None:
    told = ServiceNotify(environment)
    told.ready()
    told.alive()
    meant_for_another = {**environment, "NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_PID": "1"}
    ServiceNotify(meant_for_another).alive()
    assert heard(systemd) == []


def test_a_socket_that_is_gone_or_full_stops_nobody(systemd: socket.socket, tmp_path: Path) -> None:
    ServiceNotify({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()
    told = ServiceNotify({"NOTIFY_SOCKET": systemd.getsockname()})
    for _ in range(5000):
        told.ready()
    assert heard(systemd)
