"""A furnished server on a real database, with a clock that tests move.

Every test that asks for `store` (most do, through `settings` or `app`) runs on SQLite and again on a real PostgreSQL,
except browser tests: what a browser sees does not depend on the database, and costs minutes. `--store=sqlite` or
`--store=postgresql` runs one half.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from flask import Flask
from jinja2.bccache import Bucket, BytecodeCache
from sqlalchemy import Engine, create_engine
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.util import LRUCache
from werkzeug.routing import Rule

from config.server import ServerSettings
from server import create_app, db, keystore
from server.accounts import passwords
from server.context import House
from server.setup import initialise
from tests.postgres import MISSING, Cluster, programs
from tests.server.people import NOON, PASSWORD_ALONE, Browser, Clock, furnish, sign_in
from tests.server.vaults import TestVault, publish_vault

QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
NOBODY = QUICK.hash("nobody")


@pytest.fixture(autouse=True)
def quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """argon2id with the smallest figures: the tests are about who gets in, not about how long a guess takes."""
    monkeypatch.setattr(passwords, "hasher", QUICK)
    monkeypatch.setattr(passwords, "_NOBODY", NOBODY)


class _Templates(BytecodeCache):
    """Templates compiled by one application of this process serve the next one."""

    def __init__(self) -> None:
        self._compiled: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._compiled:
            bucket.bytecode_from_string(self._compiled[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._compiled[bucket.key] = bucket.bytecode_to_string()


@pytest.fixture(scope="session", autouse=True)
def quick_applications() -> Iterator[None]:
    """Each test gets an application and a database of its own; what comes out the same for all of them is worked out
    once: compiled templates and statements, the functions that build addresses, and the key that a passphrase is
    stretched to."""
    compiled: dict[tuple[object, ...], Any] = {}
    compile_builder = Rule._compile_builder

    def remembered(rule: Rule, append_unknown: bool = True) -> Any:
        key = (*rule._trace, repr(rule.defaults), append_unknown)
        if key not in compiled:
            compiled[key] = compile_builder(rule, append_unknown)
        return compiled[key]

    statements: LRUCache[Any, Any] = LRUCache(4000)

    def sharing(*args: Any, **options: Any) -> Engine:
        engine = create_engine(*args, **options)
        engine._compiled_cache = statements
        return engine

    with pytest.MonkeyPatch.context() as patch:
        # a statement is found again by its dialect, among others: any two of one kind are the same here
        patch.setattr(DefaultDialect, "__eq__", lambda one, other: type(one) is type(other), raising=False)
        patch.setattr(DefaultDialect, "__hash__", lambda one: hash(type(one)), raising=False)
        patch.setattr(db, "create_engine", sharing)
        patch.setattr(Rule, "_compile_builder", remembered)
        patch.setattr(Flask, "jinja_options", {"bytecode_cache": _Templates()})
        patch.setattr(keystore, "_stretch", functools.cache(keystore._stretch))
        yield


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Once for each store."""
    if "store" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--store")
        stores = ["sqlite", "postgresql"] if chosen == "both" else [chosen]
        if any(metafunc.definition.iter_markers("browser")):
            stores = ["sqlite"]
        for only in metafunc.definition.iter_markers("stores"):
            stores = [name for name in stores if name in only.args]
        marks = {"postgresql": [pytest.mark.postgresql]}
        metafunc.parametrize("store", [pytest.param(s, marks=marks.get(s, [])) for s in stores], indirect=True)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL of this process's own; started by the first test that needs it."""
    if programs() is None:
        pytest.skip(MISSING)
    cluster = Cluster()
    yield cluster
    cluster.close()


def _furnish(settings: ServerSettings) -> None:
    initialise(settings, now=NOON)
    app = create_app(settings, now=Clock())
    house: House = app.extensions["gatehouse"]
    with app.app_context(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "hasher", QUICK)
        furnish(house)
    house.database.engine.dispose()


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with keys, tables and the named people, made once; tests work on copies."""
    folder = tmp_path_factory.mktemp("furnished") / "data"
    _furnish(ServerSettings(public_url="http://localhost", data_dir=folder))
    return folder


@pytest.fixture(scope="session")
def furnished_database(cluster: Cluster, furnished: Path) -> str:
    """The same on PostgreSQL, under the same keys: the name of a database to copy."""
    name = cluster.create()
    _furnish(ServerSettings(public_url="http://localhost", data_dir=furnished, database_url=cluster.url(name)))
    return name


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a furnished database of this test's own; empty for SQLite in the data folder."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield ""
        return
    cluster: Cluster = request.getfixturevalue("cluster")
    name = cluster.create(request.getfixturevalue("furnished_database"))
    yield cluster.url(name)
    cluster.drop(name)


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    return ServerSettings(
        public_url="http://localhost", data_dir=tmp_path / "data", session_hours=168, accounts=PASSWORD_ALONE
    )


@pytest.fixture
def app(settings: ServerSettings, clock: Clock, furnished: Path, store: str) -> Iterator[Flask]:
    shutil.copytree(furnished, settings.data_dir)
    app = create_app(replace(settings, database_url=store), now=clock)
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
