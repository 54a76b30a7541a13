"""One real vault process for the tests that only ask it, a fresh one for those that hurt it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.vault.client import VaultClient
from tests.server.vault.world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.make(tmp_path_factory.mktemp("vault") / "v")


@pytest.fixture(scope="module")
def vault(world: World) -> Iterator[VaultClient]:
    with world.running() as client:
        yield client


@pytest.fixture
def fresh(tmp_path: Path) -> World:
    return World.make(tmp_path / "v")
