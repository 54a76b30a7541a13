"""Takes one consistent copy of a running database, and opens such a copy again: SQLite's own backup, or pg_dump."""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import URL, Engine, create_engine, make_url, text

from config.errors import GatehouseError

SQLITE_COPY = "server.db"
POSTGRESQL_COPY = "server.pgdump"


class BackupError(GatehouseError):
    """A backup that could not be made, read or restored. Codes: tool, dump, restore, key, damaged, exists, off."""

    code = "backup"


def copy_database(engine: Engine, folder: Path) -> Path:
    """Copy the database behind *engine* into *folder* while others go on writing; returns the copy's path."""
    if engine.dialect.name == "sqlite":
        copy = folder / SQLITE_COPY
        with closing(sqlite3.connect(str(engine.url.database))) as live, closing(sqlite3.connect(copy)) as target:
            live.backup(target)
        return copy
    copy = folder / POSTGRESQL_COPY
    _run_tool("pg_dump", engine.url, "--format=custom", f"--file={copy}")
    return copy


@contextmanager
def restored(folder: Path, like: URL) -> Iterator[Engine]:
    """The copy in *folder* as a database of its own: the file itself, or a fresh database beside *like*'s.

    What was made for it is gone when the block ends.
    """
    if (folder / SQLITE_COPY).exists():
        engine = create_engine(f"sqlite:///{folder / SQLITE_COPY}")
        try:
            yield engine
        finally:
            engine.dispose()
        return
    name = f"gatehouse_restored_{secrets.token_hex(6)}"
    beside = create_engine(like, isolation_level="AUTOCOMMIT")
    with beside.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}" TEMPLATE template0'))
    try:
        engine = create_engine(like.set(database=name))
        try:
            load_dump(folder / POSTGRESQL_COPY, engine.url)
            yield engine
        finally:
            engine.dispose()
    finally:
        with beside.connect() as connection:
            connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
        beside.dispose()


def load_dump(dump: Path, url: URL) -> None:
    """Load a PostgreSQL dump into the empty database at *url*."""
    _run_tool("pg_restore", url, "--no-owner", "--exit-on-error", str(dump), name_flag="--dbname=")


def place_copy(folder: Path, database_url: str) -> None:
    """Put the copy in *folder* where *database_url* points; raises BackupError `exists` when something is there."""
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite":
        target = Path(str(url.database))
        if target.exists():
            raise BackupError(f"{target} exists.", hint="Move it away first; nothing was overwritten.", code="exists")
        if not (folder / SQLITE_COPY).exists():
            raise BackupError(
                "The backup is of a PostgreSQL server.", hint="Point database_url at one.", code="restore"
            )
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.move(folder / SQLITE_COPY, target)
        return
    if not (folder / POSTGRESQL_COPY).exists():
        raise BackupError("The backup is of an SQLite server.", hint="Point database_url at a file.", code="restore")
    engine = create_engine(url)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")).scalar_one()
    engine.dispose()
    if found:
        raise BackupError(
            f"The database {url.database} holds {found} tables.", hint="Restore into an empty one.", code="exists"
        )
    load_dump(folder / POSTGRESQL_COPY, url)


def _run_tool(tool: str, url: URL, *arguments: str, name_flag: str = "--dbname=") -> None:
    """Run a client tool of PostgreSQL; what it needs of *url* goes through the environment, so no list shows it."""
    program = shutil.which(tool)
    if program is None:
        raise BackupError(f"{tool} is not installed.", hint="Install postgresql-client.", code="tool")
    told = {
        "PGHOST": url.query.get("host") or url.host,
        "PGPORT": url.port or url.query.get("port"),
        "PGUSER": url.username,
        "PGPASSWORD": url.password,
    }
    environment = {**os.environ, **{key: str(value) for key, value in told.items() if value}}
    done = subprocess.run(
        [program, f"{name_flag}{url.database}", *arguments], env=environment, capture_output=True, check=False
    )
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise BackupError(f"{tool} failed: {lines[-1] if lines else done.returncode}", code="dump")
