"""A furnished server on real SQLite, with a clock that tests move."""

from __future__ import annotations

import shutil
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

QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
NOBODY = QUICK.hash("nobody")


@pytest.fixture(autouse=True)
def quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """argon2id with the smallest figures: the tests are about who gets in, not about how long a guess takes."""
    monkeypatch.setattr(passwords, "hasher", QUICK)
    monkeypatch.setattr(passwords, "_NOBODY", NOBODY)


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with keys, tables and the named people, made once; tests work on copies."""
    folder = tmp_path_factory.mktemp("furnished") / "data"
    settings = ServerSettings(public_url="http://localhost", data_dir=folder)
    initialise(settings, now=NOON)
    app = create_app(settings, now=Clock())
    house: House = app.extensions["gatehouse"]
    with app.app_context(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "hasher", QUICK)
        furnish(house)
    house.database.engine.dispose()
    return folder


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    return ServerSettings(public_url="http://localhost", data_dir=tmp_path / "data")


@pytest.fixture
def app(settings: ServerSettings, clock: Clock, furnished: Path) -> Iterator[Flask]:
    shutil.copytree(furnished, settings.data_dir)
    app = create_app(settings, now=clock)
    app.testing = True
    house: House = app.extensions["gatehouse"]
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
