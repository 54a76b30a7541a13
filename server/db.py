"""The database: one engine, portable column types, and sessions that either read or write.

A *reading* session cannot change anything (SQLite `query_only`, PostgreSQL `READ ONLY`): that GET never changes state
is held by the database, not by good intentions. It sees one snapshot on both. A *writing* session takes the one write
lock when it begins (SQLite's own, an advisory one on PostgreSQL), so that a value it has read cannot go stale before it
writes. Only code that locks the rows it depends on may write `beside` others (docs/decisions/0110).
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask import current_app, g, request
from sqlalchemy import Connection, DateTime, Dialect, Engine, MetaData, create_engine, event, make_url, text
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.types import TypeDecorator

BUSY_TIMEOUT_MS = 10_000  # how long a writer waits for another one: SQLite's busy_timeout, PostgreSQL's lock_timeout
IDLE_TIMEOUT_MS = 60_000  # PostgreSQL ends a transaction that does nothing for so long: it would hold back vacuum
RECYCLE_S = 1800  # a pooled connection is not kept longer, so that a failed-over or rebalanced database is noticed
WRITERS = "gatehouse writers"  # the advisory lock that stands for SQLite's one write lock


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime; stored without zone where the database has none (SQLite)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive datetimes; store UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no zone; the database takes aware datetimes only.")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give back an aware UTC datetime."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """The base of every table; constraints get names so that migrations can speak of them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime()}


def new_id(size_bytes: int = 8) -> str:
    """A fresh random identifier, lower-case hex: not guessable in order, made without asking the database."""
    return secrets.token_hex(size_bytes)


class Database:
    """The engine and its kinds of session. Nothing connects before the first use."""

    def __init__(self, url: str, *, connections: int = 8, statement_s: int = 30) -> None:
        """*url* as SQLAlchemy takes it (postgresql:// means psycopg 3). The rest is for PostgreSQL only: pooled
        *connections* a process, twice as many at a peak, and how long one statement may take."""
        load_tables()
        self.engine = _engine(url, connections, statement_s)
        self._writer = self.engine.execution_options(gatehouse_writes=True, gatehouse_alone=True)
        self._beside = self.engine.execution_options(gatehouse_writes=True)

    @property
    def is_postgresql(self) -> bool:
        """Whether this is PostgreSQL, with its partitions and COPY."""
        return self.engine.dialect.name == "postgresql"

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that can only read, on one consistent snapshot."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self, *, beside: bool = False) -> Iterator[Session]:
        """A session that may write; commits when the block ends, rolls back when it raises.

        One at a time; *beside* lets it run beside others where the database can (PostgreSQL), and then whatever it
        reads may change under it unless it locked the row first.
        """
        with Session(self._beside if beside else self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def beside(self) -> Iterator[Connection]:
        """One connection for a request of a machine: it looks something up first (`looking`), and then may open a
        transaction that writes beside others (`begin`)."""
        with self._beside.connect() as connection:
            yield connection

    def gather_statistics(self) -> None:
        """Let SQLite look at its tables again, so that it picks the right index; PostgreSQL does so by itself."""
        if self.engine.dialect.name == "sqlite":
            with self.engine.execution_options(gatehouse_writes=True).begin() as connection:
                connection.exec_driver_sql("ANALYZE")

    def open(self, *, writes: bool) -> Session:
        """A session without a block, for the request; the caller closes it."""
        return Session(self._writer if writes else self.engine, expire_on_commit=False)


def load_tables() -> None:
    """Import every subject's `models`, so that `Base.metadata` is complete and foreign keys find their tables."""
    for subject in pkgutil.iter_modules([str(Path(__file__).parent)], "server."):
        name = f"{subject.name}.models"
        if subject.ispkg and importlib.util.find_spec(name) is not None:
            importlib.import_module(name)
    importlib.import_module("server.audit")


def _engine(url: str, connections: int, statement_s: int) -> Engine:
    address = make_url(url)
    if address.drivername in {"postgresql", "postgres"}:
        address = address.set(drivername="postgresql+psycopg")
    options: dict[str, Any] = {}
    if address.get_backend_name() == "sqlite":
        options = {
            "connect_args": {"check_same_thread": False, "timeout": BUSY_TIMEOUT_MS / 1000},
            "pool_use_lifo": True,  # the connection used last has the newest pages at hand
        }
    elif address.get_backend_name() == "postgresql":
        limits = {
            "statement_timeout": statement_s * 1000,
            "lock_timeout": BUSY_TIMEOUT_MS,
            "idle_in_transaction_session_timeout": IDLE_TIMEOUT_MS,
            "TimeZone": "UTC",
        }
        options = {
            "pool_pre_ping": True,
            "pool_size": connections,
            "max_overflow": connections,
            "pool_timeout": BUSY_TIMEOUT_MS / 1000,
            "pool_recycle": RECYCLE_S,
            "connect_args": {
                "connect_timeout": 10,
                "application_name": "gatehouse",
                "options": " ".join(f"-c {name}={value}" for name, value in limits.items()),
            },
        }
    engine = create_engine(address, **options)

    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def _prepare(dbapi_connection: Any, _record: Any) -> None:
            dbapi_connection.isolation_level = None  # we say BEGIN ourselves, see _begin
            for pragma in ("journal_mode=WAL", "foreign_keys=ON", "synchronous=FULL"):
                dbapi_connection.execute(f"PRAGMA {pragma}")

        turns = _Turns()

        @event.listens_for(engine, "checkin")
        def _end_turn(_dbapi_connection: Any, record: ConnectionPoolEntry) -> None:
            turns.end(record.record_info)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        writes = bool(options.get("gatehouse_writes"))
        if engine.dialect.name == "sqlite":
            driver: Any = connection.connection.driver_connection  # every session pays for what is said here
            driver.execute(f"PRAGMA query_only={'OFF' if writes else 'ON'}")
            if writes:
                turns.take(connection.connection.record_info)
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                driver.execute("BEGIN")
        elif not writes:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        elif options.get("gatehouse_alone"):
            connection.execute(_ADVISORY_LOCK, {"name": WRITERS})

    return engine


class _Turns:
    """Lets the writers of one process take turns at SQLite's one write lock.

    SQLite has a writer that must wait ask again and again with longer and longer pauses, 100 ms in the end; here the
    next one goes on at once. Between processes SQLite's own lock decides as ever, and it does so too when a turn does
    not come within BUSY_TIMEOUT_MS.
    """

    _HOLDS = "gatehouse_holds_turn"

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def take(self, of_connection: dict[Any, Any] | None) -> None:
        """Wait for this connection's turn, unless it has it already. *of_connection* lives as long as it."""
        if of_connection is None or of_connection.get(self._HOLDS):
            return
        if self._lock.acquire(timeout=BUSY_TIMEOUT_MS / 1000):
            of_connection[self._HOLDS] = True

    def end(self, of_connection: dict[Any, Any] | None) -> None:
        """The connection went back to its pool, whatever became of its transaction."""
        if of_connection is not None and of_connection.pop(self._HOLDS, False):
            self._lock.release()


_ADVISORY_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")


@contextmanager
def looking(connection: Connection) -> Iterator[None]:
    """Statements on the driver's cursor within this block stand alone, outside of any transaction. For reading."""
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":
        driver.execute("PRAGMA query_only=ON")
        yield
        return
    driver.autocommit = True
    try:
        yield
    finally:
        driver.autocommit = False


def session() -> Session:
    """The session of the current request: reading for GET and HEAD, writing for the rest. Views commit it themselves.

    Closed, and rolled back unless committed, when the request ends.
    """
    if "db_session" not in g:
        database: Database = current_app.extensions["gatehouse"].database
        g.db_session = database.open(writes=request.method not in {"GET", "HEAD", "OPTIONS"})
    found: Session = g.db_session
    return found


def close_session(_error: BaseException | None = None) -> None:
    """End the request's session; registered as a teardown by create_app."""
    open_session: Session | None = g.pop("db_session", None)
    if open_session is not None:
        open_session.close()


def lock_chain(writing: Session, name: str) -> None:
    """Hold the named hash chain until the transaction ends, so that two writers cannot take the same predecessor.

    SQLite needs nothing: its writing transactions exclude each other from their first statement on.
    """
    if writing.get_bind().dialect.name == "postgresql":
        writing.execute(_ADVISORY_LOCK, {"name": name})
