"""A furnished server on real SQLite, with a clock that tests move."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from flask import Flask

from config.server import ServerSettings
from server import create_app
from server.accounts import passwords
from server.context import House
from server.setup import initialise
from tests.server.people import NOON, Browser, Clock, furnish, sign_in
from tests.server.vaults import TestVault, publish_vault


@pytest.fixture(autouse=True)
def quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """argon2id with the smallest figures: the tests are about who gets in, not about how long a guess takes."""
    quick = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "hasher", quick)
    monkeypatch.setattr(passwords, "_NOBODY", quick.hash("nobody"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    return ServerSettings(public_url="http://localhost", data_dir=tmp_path / "data")


@pytest.fixture
def app(settings: ServerSettings, clock: Clock) -> Iterator[Flask]:
    initialise(settings, now=NOON)
    app = create_app(settings, now=clock)
    app.testing = True
    house: House = app.extensions["gatehouse"]
    with app.app_context():
        furnish(house)
    yield app
    house.database.engine.dispose()


@pytest.fixture
def house(app: Flask) -> House:
    found: House = app.extensions["gatehouse"]
    return found


@pytest.fixture
def as_person(app: Flask) -> Callable[[str], Browser]:
    """`as_person("street")` is a browser in which that person has signed in."""
    return lambda name: sign_in(app, name)


@pytest.fixture
def stranger(app: Flask) -> Browser:
    return Browser(app.test_client())


@pytest.fixture
def vault(app: Flask, settings: ServerSettings) -> TestVault:
    """A vault that has published its keys."""
    return publish_vault(settings.vault_public_path)
