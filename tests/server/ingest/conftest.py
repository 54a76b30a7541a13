"""A server with a vault's public keys, and kiosks that are enrolled with it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from server.context import House
from tests.server.ingest.fleet import PaperKiosk, VaultKeyRing, install_vault


@pytest.fixture
def vault(house: House) -> VaultKeyRing:
    return install_vault(house)


@pytest.fixture
def new_kiosk(app: Flask, house: House, vault: VaultKeyRing) -> Callable[[], PaperKiosk]:
    """Make a device that is not enrolled yet."""
    return lambda: PaperKiosk(house, app.test_client(), vault)


@pytest.fixture
def kiosk(new_kiosk: Callable[[], PaperKiosk]) -> PaperKiosk:
    """An enrolled kiosk."""
    made = new_kiosk()
    assert made.enrol().status_code == 200
    return made
