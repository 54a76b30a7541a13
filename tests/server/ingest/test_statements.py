"""Statements on the driver's cursor say what SQLAlchemy would; writers of one process take turns on SQLite."""

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import JSON, bindparam, func, select, text, update
from sqlalchemy.exc import OperationalError

from server.context import House
from server.db import Database, UtcDateTime
from server.ingest.models import Journal
from server.ingest.statements import Statement, run_all
from server.kiosks.models import Kiosk
from tests.server.people import KIOSK, put_kiosk

AT = datetime(2026, 11, 22, 2, 30, 1, 250_000, tzinfo=UTC)
HEALTH = {"parts": {"camera": "live", "温度计": "%s :x ?"}, "faults": ["a'b"]}
SEEN = Statement(
    update(Kiosk.__table__)
    .where(Kiosk.__table__.c.id == bindparam("kiosk"))
    .values(
        last_seen_at=bindparam("at"),
        opening_test_at=func.coalesce(bindparam("tested", type_=UtcDateTime()), Kiosk.__table__.c.opening_test_at),
        unsent_count=7,
        health=bindparam("told", type_=JSON()),
    )
)
UNSENT = Statement(select(Kiosk.__table__.c.unsent_count).where(Kiosk.__table__.c.id == bindparam("kiosk")))


def test_what_a_statement_writes_the_mapper_reads(house: House) -> None:
    put_kiosk(house)
    values = {"kiosk": KIOSK, "at": AT, "tested": AT, "told": HEALTH}
    with house.database.writing() as writing:
        assert SEEN.run(writing.connection(), values).rowcount == 1
        SEEN.run(writing.connection(), {**values, "tested": None})
    with house.database.reading() as reading:
        kiosk = reading.get_one(Kiosk, KIOSK)
        assert (kiosk.last_seen_at, kiosk.opening_test_at, kiosk.unsent_count, kiosk.health) == (AT, AT, 7, HEALTH)


def test_a_look_leaves_no_transaction_and_the_connection_as_it_was(house: House) -> None:
    put_kiosk(house)
    with house.database.beside() as connection:
        assert UNSENT.row(connection, {"kiosk": b"nobody's"}) is None
        with connection.begin() as transaction:
            SEEN.run(connection, {"kiosk": KIOSK, "at": AT, "tested": None, "told": {}})
            transaction.rollback()
        assert UNSENT.row(connection, {"kiosk": KIOSK}) == (None,)


@pytest.mark.stores("sqlite")
def test_sqlite_is_told_who_may_write_when_that_changes_and_not_again(house: House) -> None:
    put_kiosk(house)
    told: list[str] = []
    with house.database.beside() as connection:
        driver: Any = connection.connection.driver_connection
        driver.set_trace_callback(told.append)
    for writes in (True, True, False, False, True, False, True):
        if writes:
            with house.database.writing() as writing:
                assert writing.connection().connection.driver_connection is driver  # one connection for all of them
                writing.get_one(Kiosk, KIOSK).unsent_count = 3
        else:
            with house.database.reading() as reading, pytest.raises(OperationalError, match="readonly"):
                reading.execute(text("UPDATE kiosk SET unsent_count = 4"))
    driver.set_trace_callback(None)
    assert [line.rpartition("=")[2] for line in told if "query_only" in line] == ["ON", "OFF", "ON", "OFF"]


def test_a_statement_lacks_nothing_silently(house: House) -> None:
    with house.database.writing() as writing, pytest.raises(KeyError):
        SEEN.run(writing.connection(), {"kiosk": KIOSK})


def test_changes_run_as_one_are_the_same_changes(house: House) -> None:
    """On PostgreSQL they are one statement; a value may be named by several of them."""
    put_kiosk(house)
    moved = Statement(
        update(Journal.__table__)
        .where(Journal.__table__.c.kiosk_id == bindparam("kiosk"))
        .values(sequence=bindparam("sequence"), changed_at=bindparam("at"))
    )
    values = {"kiosk": KIOSK, "at": AT, "tested": AT, "told": HEALTH, "sequence": 9}
    with house.database.writing() as writing:
        writing.merge(Journal(kiosk_id=KIOSK, sequence=0, head=bytes(32), changed_at=AT))
        writing.flush()
        run_all(writing.connection(), (), values)
        run_all(writing.connection(), (moved, SEEN), values)
    with house.database.reading() as reading:
        kiosk, journal = reading.get_one(Kiosk, KIOSK), reading.get_one(Journal, KIOSK)
        assert (kiosk.last_seen_at, kiosk.unsent_count, kiosk.health) == (AT, 7, HEALTH)
        assert (journal.sequence, journal.changed_at) == (9, AT)


@pytest.mark.stores("postgresql")  # SQLite's connections do not die
def test_a_connection_is_asked_whether_it_lives_after_it_has_idled(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    with house.database.beside() as connection:
        dead: Any = connection.connection.driver_connection
    dead.close()
    monkeypatch.setattr("server.db.PING_AFTER_S", 0.0)
    with house.database.beside() as connection:
        assert connection.connection.driver_connection is not dead


def test_writers_of_one_process_wait_for_each_other_and_not_by_asking(tmp_path: Path) -> None:
    """The second writer goes on once the first one's connection is back, also where SQLite would not let it wait."""
    database = Database(f"sqlite:///{tmp_path / 'turns.db'}")
    with database.writing() as writing:
        writing.execute(text("CREATE TABLE told (word TEXT)"))
    begins = threading.Event()

    def second() -> None:
        with database.beside() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.execute("PRAGMA busy_timeout=0")  # asked while another one writes, SQLite refuses at once
            begins.set()
            with connection.begin():
                connection.execute(text("INSERT INTO told VALUES ('second')"))

    thread = threading.Thread(target=second)
    with database.writing() as writing:
        writing.execute(text("INSERT INTO told VALUES ('first')"))
        thread.start()
        assert begins.wait(30)
        thread.join(0.2)
        assert thread.is_alive()  # neither through nor refused
    thread.join(30)
    with database.reading() as reading:
        assert reading.scalars(text("SELECT word FROM told")).all() == ["first", "second"]
    database.engine.dispose()


def test_a_writer_that_fails_gives_its_turn_back(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'turns.db'}")
    for _ in range(2):
        with pytest.raises(OperationalError, match="no such table"), database.writing() as writing:
            writing.execute(text("INSERT INTO told VALUES ('first')"))
    with database.writing() as writing:
        writing.execute(text("CREATE TABLE told (word TEXT)"))
    database.engine.dispose()
