"""The database: one engine, portable column types, and sessions that either read or write.

A *reading* session cannot change anything (SQLite `query_only`, PostgreSQL `READ ONLY`): that GET never changes state
is held by the database, not by good intentions. It sees one snapshot on both. A *writing* session takes the one write
lock when it begins (SQLite's own, an advisory one on PostgreSQL), so that a value it has read cannot go stale before it
writes. Only code that locks the rows it depends on may write `beside` others (docs/decisions/0110).
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import importlib.util
import pkgutil
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import psycopg
from flask import current_app, g, request
from psycopg.types.string import BytesBinaryDumper
from sqlalchemy import URL, Connection, DateTime, Dialect, Engine, MetaData, create_engine, event, make_url, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection
from sqlalchemy.types import TypeDecorator
from werkzeug.exceptions import ServiceUnavailable

from server.replica import Replica
from server.turns import Turns

BUSY_TIMEOUT_MS = 10_000  # how long a writer waits for another one: SQLite's busy_timeout, PostgreSQL's lock_timeout
IDLE_TIMEOUT_MS = 60_000  # PostgreSQL ends a transaction that does nothing for so long: it would hold back vacuum
PING_AFTER_S = 1.0  # a connection that was used within this is taken for alive
RECYCLE_S = 1800  # a pooled connection is not kept longer, so that a failed-over or rebalanced database is noticed
CANCEL_S = 2.0  # to tell PostgreSQL that a commit has waited long enough
REPLICA_CONNECT_S = 2  # a page does not wait longer for a replica before it is read from the primary
LOG_PAGES = 4000  # 16 MB: then SQLite's log goes into the database, with the rows that every exchange moves
MOST_AT_WORK = 2  # threads of a process in `few`, on PostgreSQL
_MAY_WRITE = "gatehouse_may_write"  # in a connection's `info`: what SQLite was told last
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

    def __init__(
        self,
        url: str,
        *,
        connections: int = 8,
        statement_s: int = 30,
        synchronous_commit: str = "on",
        replica_url: str = "",
        replica_lag_s: float = 5.0,
    ) -> None:
        """*url* as SQLAlchemy takes it (postgresql:// means psycopg 3). The rest is for PostgreSQL only: pooled
        *connections* a process, twice as many at a peak, how long one statement may take, what a commit waits for,
        and a replica for pages that may be *replica_lag_s* old."""
        load_tables()
        self.engine = _engine(url, connections, statement_s, synchronous_commit)
        self.replica: Replica | None = None
        if replica_url and self.is_postgresql:
            there = _engine(replica_url, connections, statement_s, synchronous_commit, connect_s=REPLICA_CONNECT_S)
            self.replica = Replica(self.engine, there, replica_lag_s)
        self._writer = self.engine.execution_options(gatehouse_writes=True, gatehouse_alone=True)
        self._beside = self.engine.execution_options(gatehouse_writes=True)
        self._few = threading.BoundedSemaphore(MOST_AT_WORK if self.is_postgresql else 1)

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
        """One connection for a request of a machine: it looks something up first, on the driver's cursor, and then may
        open a transaction that writes beside others (`begin`).

        The look holds nothing. On SQLite it stands alone. On PostgreSQL the transaction that follows has begun with it,
        which is a round trip less: it reads committed rows, so that its later statements see what others commit
        meanwhile.
        """
        with self._beside.connect() as connection:
            yield connection

    @contextmanager
    def few(self) -> Iterator[None]:
        """For work of a millisecond that ends in a commit: not more of it at once, in this process, than gets on.

        Threads that compute take the interpreter from the one that holds the write lock, and all wait longer: on
        SQLite one at a time is fastest, on PostgreSQL two, which compute and wait in turns. One that has waited for
        BUSY_TIMEOUT_MS goes on regardless.
        """
        is_its_turn = self._few.acquire(timeout=BUSY_TIMEOUT_MS / 1000)
        try:
            yield
        finally:
            if is_its_turn:
                self._few.release()

    def gather_statistics(self) -> None:
        """Let SQLite look at its tables again, so that it picks the right index; PostgreSQL does so by itself."""
        if self.engine.dialect.name == "sqlite":
            with self.engine.execution_options(gatehouse_writes=True).begin() as connection:
                connection.exec_driver_sql("ANALYZE")

    @contextmanager
    def holding(self, name: str) -> Iterator[bool]:
        """Whether we alone hold the lock *name* while the block runs: one process on one host, or of all hosts.

        It is not waited for, and it goes with the process that holds it, however that ends. On PostgreSQL an advisory
        lock of a connection of its own, on SQLite a locked file beside the database.
        """
        if self.is_postgresql:
            with self.engine.execution_options(isolation_level="AUTOCOMMIT", gatehouse_alone=False).connect() as mine:
                if not mine.execute(_TRY_LOCK, {"name": name}).scalar_one():
                    yield False
                    return
                try:
                    yield True
                finally:
                    if not mine.invalidated:  # a connection that was lost took its locks along
                        mine.execute(_UNLOCK, {"name": name})
            return
        path = Path(f"{self.engine.url.database}.{hashlib.sha256(name.encode()).hexdigest()[:16]}.lock")
        with path.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True  # closing the file lets go

    def close(self) -> None:
        """Let go of every connection; the next use makes new ones."""
        self.engine.dispose()
        if self.replica is not None:
            self.replica.engine.dispose()

    def open(self, *, writes: bool, may_be_stale: bool = False) -> Session:
        """A session without a block, for the request; the caller closes it.

        One that only reads, and *may_be_stale*, is of the replica while that is known to be close behind.
        """
        if may_be_stale and not writes and self.replica is not None and self.replica.is_fresh():
            there = Session(self.replica.engine, expire_on_commit=False)
            try:
                there.connection()
            except OperationalError:
                there.close()
                self.replica.failed()
            else:
                return there
        return Session(self._writer if writes else self.engine, expire_on_commit=False)


def load_tables() -> None:
    """Import every subject's `models`, so that `Base.metadata` is complete and foreign keys find their tables."""
    for subject in pkgutil.iter_modules([str(Path(__file__).parent)], "server."):
        name = f"{subject.name}.models"
        if subject.ispkg and importlib.util.find_spec(name) is not None:
            importlib.import_module(name)
    importlib.import_module("server.audit")


class NotReplicated(ServiceUnavailable):
    """Committed here, and no synchronous standby has it: nobody may be told that it is kept. Trying again is safe."""

    description = "The record is not held twice yet. Try again."


def _engine(url: str, connections: int, statement_s: int, synchronous_commit: str, *, connect_s: int = 10) -> Engine:
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
            "synchronous_commit": synchronous_commit,  # said here, so that no role's default weakens a receipt
            # a lock of a host that vanished is free within a minute (ignored on a Unix socket)
            "tcp_keepalives_idle": 30,
            "tcp_keepalives_interval": 10,
            "tcp_keepalives_count": 3,
        }
        options = {
            "pool_pre_ping": True,
            "pool_use_lifo": True,
            "pool_size": connections,
            "max_overflow": connections,
            "pool_timeout": BUSY_TIMEOUT_MS / 1000,
            "pool_recycle": RECYCLE_S,
            "connect_args": {
                "connect_timeout": connect_s,
                "application_name": "gatehouse",
                "options": " ".join(f"-c {name}={value}" for name, value in limits.items()),
            },
        }
    engine = create_engine(address, **options)

    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def _prepare(dbapi_connection: Any, _record: Any) -> None:
            dbapi_connection.isolation_level = None  # we say BEGIN ourselves, see _begin
            log = f"wal_autocheckpoint={LOG_PAGES}"
            for pragma in ("journal_mode=WAL", "foreign_keys=ON", "synchronous=FULL", log):
                dbapi_connection.execute(f"PRAGMA {pragma}")

        turns = Turns(_file_of(address), BUSY_TIMEOUT_MS / 1000)

        commit = engine.dialect.do_commit

        def commit_and_end_turn(dbapi_connection: PoolProxiedConnection) -> None:
            commit(dbapi_connection)
            turns.end(dbapi_connection.record_info)

        engine.dialect.do_commit = commit_and_end_turn  # type: ignore[method-assign]

        @event.listens_for(engine, "checkin")
        def _end_turn(_dbapi_connection: Any, record: ConnectionPoolEntry) -> None:
            turns.end(record.record_info)  # of one that was rolled back

    if engine.dialect.name == "postgresql":
        _refuse_lonely_commits(engine, statement_s)
        _ping_after_idling(engine)

        @event.listens_for(engine, "connect")
        def _quick_bytes(dbapi_connection: Any, _record: Any) -> None:
            # what COPY finds for bytea by itself is the driver's class for DBAPI's `Binary`, in Python and not in C
            dbapi_connection.adapters.register_dumper(bytes, BytesBinaryDumper)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        writes = bool(options.get("gatehouse_writes"))
        if engine.dialect.name == "sqlite":
            pooled = connection.connection
            driver: Any = pooled.driver_connection  # every session pays for what is said here
            if pooled.info.get(_MAY_WRITE) is not writes:  # each time it is said, all statements are compiled anew
                driver.execute(f"PRAGMA query_only={'OFF' if writes else 'ON'}")
                pooled.info[_MAY_WRITE] = writes
            if writes:
                turns.take(connection.connection.record_info)
                try:
                    driver.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError as error:  # as SQLAlchemy tells of it; its own way costs 50 us
                    raise OperationalError("BEGIN IMMEDIATE", None, error) from error
            else:
                driver.execute("BEGIN")
        elif not writes:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        elif options.get("gatehouse_alone"):
            connection.execute(_ADVISORY_LOCK, {"name": WRITERS})

    return engine


def _file_of(address: URL) -> Path | None:
    """The file of an SQLite database; None for one in memory."""
    return Path(address.database) if address.database and address.database != ":memory:" else None


def _refuse_lonely_commits(engine: Engine, wait_s: float) -> None:
    """Make a commit raise NotReplicated when the synchronous standby has not confirmed it within *wait_s*.

    PostgreSQL itself waits for ever (no time limit of its own holds there), and every thread with it. When that wait is
    cancelled it says "committed" with a warning that nobody reads; a receipt signed after that would be lost with the
    primary.
    """
    lonely: WeakSet[Any] = WeakSet()
    watch = _Watch(wait_s)

    @event.listens_for(engine, "connect")
    def _listen(connection: Any, _record: Any) -> None:
        def note(diagnostic: Any) -> None:
            if diagnostic.source_function == "SyncRepWaitForLSN":  # its text is in the server's language
                lonely.add(connection)

        connection.add_notice_handler(note)

    commit = engine.dialect.do_commit

    def commit_for_all(dbapi_connection: PoolProxiedConnection) -> None:
        driver = dbapi_connection.driver_connection  # the pool's own wrapper lives for one use only
        with watch.over(driver):
            commit(dbapi_connection)
        if driver in lonely:
            lonely.discard(driver)
            raise NotReplicated()

    engine.dialect.do_commit = commit_for_all  # type: ignore[method-assign]


def _ping_after_idling(engine: Engine) -> None:
    """Ask a pooled connection whether it is alive only when it was not used within PING_AFTER_S: a busy server would
    pay a round trip for each request, to learn what the statement before has just shown."""
    used_at_s: WeakKeyDictionary[Any, float] = WeakKeyDictionary()

    @event.listens_for(engine, "checkin")
    def _used(connection: Any, _record: Any) -> None:
        if connection is not None:
            used_at_s[connection] = time.monotonic()

    @event.listens_for(engine, "invalidate")
    def _lost(_connection: Any, _record: Any, _error: BaseException | None) -> None:
        used_at_s.clear()  # the server has ended, perhaps, and the others are lost as well

    ping = engine.dialect.do_ping

    def ping_after_idling(connection: Any) -> bool:
        if time.monotonic() - used_at_s.get(connection, -PING_AFTER_S) < PING_AFTER_S:
            return True
        return ping(connection)

    engine.dialect.do_ping = ping_after_idling  # type: ignore[method-assign, assignment]


class _Watch:
    """Cancels what takes too long. One thread looks after all connections of an engine: a commit pays for two entries
    in a table, and not for a thread of its own."""

    _LOOK_EVERY_S = 0.2

    def __init__(self, wait_s: float) -> None:
        self._wait_s = wait_s
        self._lock = threading.Lock()
        self._since: dict[Any, float] = {}
        self._looks = False

    @contextmanager
    def over(self, connection: Any) -> Iterator[None]:
        """Cancel what *connection* does when this block takes longer than it may."""
        with self._lock:
            self._since[connection] = time.monotonic()
            if not self._looks:
                self._looks = True
                threading.Thread(target=self._look, name="commit watch", daemon=True).start()
        try:
            yield
        finally:
            with self._lock:  # never while it is being cancelled: the next statement would be hit
                self._since.pop(connection, None)

    def _look(self) -> None:
        """Look until nothing has been under way for a while; the next commit starts it again."""
        idle_since_s = time.monotonic()
        while True:
            time.sleep(self._LOOK_EVERY_S)
            with self._lock:
                now_s = time.monotonic()
                if self._since:
                    idle_since_s = now_s
                elif now_s - idle_since_s > RECYCLE_S:
                    self._looks = False
                    return
                for connection, since_s in self._since.items():
                    if now_s - since_s > self._wait_s:
                        with suppress(psycopg.Error):  # a connection that is gone ends its commit by itself
                            connection.cancel_safe(timeout=CANCEL_S)


_ADVISORY_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
_TRY_LOCK = text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
_UNLOCK = text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))")


def session() -> Session:
    """The session of the current request: reading for GET and HEAD, writing for the rest. Views commit it themselves.

    A page that may be a little old (server/web/staleness.py) is read from the replica, where there is one. Closed, and
    rolled back unless committed, when the request ends.
    """
    if "db_session" not in g:
        database: Database = current_app.extensions["gatehouse"].database
        g.db_session = database.open(
            writes=request.method not in {"GET", "HEAD", "OPTIONS"}, may_be_stale=g.get("may_be_stale", False)
        )
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
