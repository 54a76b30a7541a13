"""The days that the journals' records are cut into on PostgreSQL: made ahead, made when one is missing, and dropped.

Dropping a day's partition is the deletion: no row is touched, nothing is left to vacuum. SQLite has no partitions;
there the same call deletes in small steps.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, delete, select, text

from server.db import Database
from server.ingest.models import Journal, JournalRecord

PARENT = JournalRecord.__tablename__
AHEAD_DAYS = 7  # made before they are needed; a worker that is away for a week is seen long before
DELETE_AT_ONCE = 1000  # rows of one SQLite transaction

_FIRST = date(1970, 1, 1)
_NAME = re.compile(PARENT + r"_(\d{8})")
_CHILDREN = text(
    "SELECT child.relname, inhdetachpending FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid"
    " WHERE inhparent = CAST(:parent AS regclass)"
)
_known: WeakKeyDictionary[object, set[int]] = WeakKeyDictionary()  # by connection pool: days that were seen to exist


def day_of(at: datetime) -> int:
    """The number that rows are cut by: days since 1970-01-01, UTC."""
    return (at.astimezone(UTC).date() - _FIRST).days


def partition_name(day: int) -> str:
    """The table that holds *day*: journal_record_YYYYMMDD."""
    return f"{PARENT}_{_FIRST + timedelta(days=day):%Y%m%d}"


def ensure_days(engine: Engine, first: int, count: int = 1) -> int:
    """Make sure that the days from *first* on have a place; returns how many were made. Cheap when all are there.

    Runs in a transaction of its own. A table is made and then attached, which on PostgreSQL lets others go on reading
    and writing meanwhile, as `CREATE TABLE ... PARTITION OF` does not.
    """
    if engine.dialect.name != "postgresql":
        return 0
    known = _known.setdefault(engine.pool, set())
    wanted = set(range(first, first + count)) - known
    if not wanted:
        return 0
    with engine.execution_options(gatehouse_writes=True, gatehouse_alone=False).begin() as connection:
        _lock(connection)
        missing = sorted(wanted - set(_days(connection)))
        for day in missing:
            name = partition_name(day)
            connection.execute(text(f"CREATE TABLE {name} (LIKE {PARENT} INCLUDING DEFAULTS INCLUDING STORAGE)"))
            connection.execute(
                text(f"ALTER TABLE {PARENT} ATTACH PARTITION {name} FOR VALUES FROM ({day:d}) TO ({day + 1:d})")
            )
    known.update(wanted)
    return len(missing)


def held_days(connection: Connection) -> list[int]:
    """The days that have a partition (PostgreSQL only), oldest first."""
    return sorted(_days(connection))


def drop_before(database: Database, day: int) -> int:
    """Delete the records that were received before *day*; returns how many days (PostgreSQL) or rows (SQLite) went.

    On PostgreSQL a partition is detached without stopping anybody, then dropped; a run that was cut off between the
    two is taken up again. The kiosks' journals remember how far they were, so nothing comes back.
    """
    return _drop_partitions(database.engine, day) if database.is_postgresql else _delete_rows(database, day)


def _drop_partitions(engine: Engine, before: int) -> int:
    old = 0
    options = {"gatehouse_writes": True, "gatehouse_alone": False, "isolation_level": "AUTOCOMMIT"}
    with engine.execution_options(**options).connect() as connection:
        for name, is_pending in connection.execute(_CHILDREN, {"parent": PARENT}).all():
            day = _day_in(name)
            if day is not None and day < before:
                how = "FINALIZE" if is_pending else "CONCURRENTLY"
                connection.execute(text(f"ALTER TABLE {PARENT} DETACH PARTITION {name} {how}"))
        for name in connection.execute(
            text("SELECT relname FROM pg_class WHERE relkind = 'r' AND NOT relispartition AND relname ~ :pattern"),
            {"pattern": rf"^{PARENT}_\d{{8}}$"},
        ).scalars():
            day = _day_in(name)
            if day is not None and day < before:
                connection.execute(text(f"DROP TABLE {name}"))
                _known.get(engine.pool, set()).discard(day)
                old += 1
    return old


def _delete_rows(database: Database, before: int) -> int:
    """Kiosk by kiosk from the oldest on: the primary key leads there, so no index by day has to be paid for."""
    gone = 0
    with database.reading() as reading:
        kiosks = reading.scalars(select(Journal.kiosk_id)).all()
    for kiosk in kiosks:
        while some := _delete_some(database, kiosk, before):
            gone += some
    return gone


def _delete_some(database: Database, kiosk: bytes, before: int) -> int:
    mine = JournalRecord.kiosk_id == kiosk
    with database.writing() as writing:
        oldest = writing.execute(
            select(JournalRecord.sequence, JournalRecord.received_day)
            .where(mine)
            .order_by(JournalRecord.sequence)
            .limit(DELETE_AT_ONCE)
        ).all()
        old = [row.sequence for row in oldest if row.received_day < before]
        if old:
            writing.execute(delete(JournalRecord).where(mine, JournalRecord.sequence <= old[-1]))
    return len(old)


def _lock(connection: Connection) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('gatehouse partitions', 0))"))


def _days(connection: Connection) -> list[int]:
    names = connection.execute(_CHILDREN, {"parent": PARENT}).scalars()
    return [day for name in names if (day := _day_in(name)) is not None]


def _day_in(name: str) -> int | None:
    found = _NAME.fullmatch(name)
    return (datetime.strptime(found[1], "%Y%m%d").replace(tzinfo=UTC).date() - _FIRST).days if found else None
