"""A real server on loopback, and a kiosk's sync with real files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kiosk.sync.house import Door, LiveServer


@pytest.fixture(scope="module")
def long_lived_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    made = LiveServer(tmp_path_factory.mktemp("server"))
    yield made
    made.stop()


@pytest.fixture
def server(long_lived_server: LiveServer) -> LiveServer:
    """The module's server, without a fault; each test brings kiosks of its own."""
    long_lived_server.fault = None
    long_lived_server.requests.clear()
    return long_lived_server


@pytest.fixture
def new_door(tmp_path: Path, server: LiveServer) -> Iterator[Callable[..., Door]]:
    """Enrol a kiosk in a folder of its own."""
    doors: list[Door] = []

    def make(name: str = "kiosk", **settings: object) -> Door:
        door = Door.enrolled(tmp_path / name, server, **settings)
        doors.append(door)
        return door

    yield make
    for door in doors:
        door.close()


@pytest.fixture
def door(new_door: Callable[..., Door]) -> Door:
    return new_door()
