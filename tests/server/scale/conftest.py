"""A furnished primary with its standby, and applications on them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from flask import Flask

from config.server import PostgresqlSettings, ServerSettings
from server import create_app
from server.context import House
from tests.postgres import Cluster, _plain
from tests.server.people import PASSWORD_ALONE, Clock
from tests.server.scale.standby import LASTING, Primary, Standby, until

AppOf = Callable[..., Flask]


@dataclass(frozen=True)
class Pair:
    """Two servers with the furnished database, and its name on both."""

    primary: Primary
    standby: Standby
    name: str

    @property
    def url(self) -> str:
        return self.primary.url(self.name)

    @property
    def replica_url(self) -> str:
        return self.standby.url(self.name)

    @property
    def either_url(self) -> str:
        """Whichever of the two takes writes (libpq tries them in turn)."""
        hosts = f"host={self.primary.folder}&host={self.standby.folder}"
        return f"postgresql+psycopg://gatehouse@/{self.name}?{hosts}&target_session_attrs=read-write"

    def close(self) -> None:
        self.standby.close()
        self.primary.close()

    def wait_for_standby(self, waits: bool) -> None:
        """Whether the primary says "committed" only once its standby has it."""
        with self.primary._admin() as admin:
            names = "FIRST 1 (second)" if waits else ""
            admin.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'".encode())
            admin.execute("SELECT pg_reload_conf()")
            until(
                lambda: admin.execute("SHOW synchronous_standby_names").fetchone() == (names,), "settings are not taken"
            )
        until(self.standby.is_level, "the standby does not come level")


def _pair(cluster: Cluster, furnished_database: str) -> Pair:
    primary = Primary(LASTING)
    name = primary.create()
    dump = [cluster._programs / "pg_dump", "-h", cluster.folder, "-U", "gatehouse", furnished_database]
    load = [cluster._programs / "psql", "-q", "-h", primary.folder, "-U", "gatehouse", "-v", "ON_ERROR_STOP=1", "-1"]
    dumped = subprocess.run(dump, check=True, stdout=subprocess.PIPE, env=_plain()).stdout
    subprocess.run([*load, name], check=True, input=dumped, stdout=subprocess.DEVNULL, env=_plain())
    standby = Standby(primary)
    until(standby.follows, "the standby does not follow")
    return Pair(primary, standby, name)


@pytest.fixture(scope="module")
def pairs() -> Iterator[list[Pair]]:
    """The pair that tests share, until one of its two was killed."""
    made: list[Pair] = []
    yield made
    for pair in made:
        pair.close()


@pytest.fixture
def pair(pairs: list[Pair], cluster: Cluster, furnished_database: str) -> Iterator[Pair]:
    """A primary that says "committed" once its standby has it, with the named people in it."""
    if pairs and not (pairs[-1].primary.lives and pairs[-1].standby.lives):
        pairs.pop().close()
    if not pairs:
        pairs.append(_pair(cluster, furnished_database))
    found = pairs[-1]
    found.wait_for_standby(True)
    yield found
    if found.primary.lives and found.standby.lives:
        found.standby.receive_again()
        found.standby.resume_replay()


@pytest.fixture
def app_of(tmp_path: Path, furnished: Path, clock: Clock) -> Iterator[AppOf]:
    """`app_of(database_url, ...)` is the application as one web process has it; further ones share its keys."""
    made: list[Flask] = []
    folder = tmp_path / "data"

    def make(database_url: str, **postgresql: object) -> Flask:
        if not folder.exists():
            shutil.copytree(furnished, folder)
        settings = ServerSettings("http://localhost", folder, session_hours=168, accounts=PASSWORD_ALONE)
        limits = PostgresqlSettings(**postgresql)  # type: ignore[arg-type]
        app = create_app(replace(settings, database_url=database_url, postgresql=limits), now=clock)
        made.append(app)
        return app

    yield make
    for app in made:
        house: House = app.extensions["gatehouse"]
        house.database.close()
