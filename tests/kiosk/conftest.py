"""A vault's key and a device's, for the rooms of the kiosk that need nothing more of either."""

from __future__ import annotations

import pytest

from tests.fakes import Device, VaultKey


@pytest.fixture(scope="module")
def vault() -> VaultKey:
    return VaultKey()


@pytest.fixture
def device() -> Device:
    return Device()
