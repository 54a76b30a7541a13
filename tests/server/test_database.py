"""The database layer: what reading sessions cannot do, what migrations promise, and times that keep their zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError

from server.accounts.models import User
from server.areas.models import Area, Level, area_row, is_within
from server.context import House
from server.db import Base, Database
from server.kiosks.models import Kiosk
from server.migrations import SchemaError, check_current, upgrade
from tests.server.people import NOON


def test_a_reading_session_cannot_write(house: House) -> None:
    with house.database.reading() as reading:
        reading.add(User(name="x", display_name="x", password="x", created_at=NOON))
        with pytest.raises(DBAPIError, match="readonly|read-only"):
            reading.flush()
    with house.database.writing() as writing:
        writing.add(User(name="x", display_name="x", password="x", created_at=NOON))


def test_a_writing_block_that_fails_leaves_nothing(house: House) -> None:
    with pytest.raises(RuntimeError), house.database.writing() as writing:
        writing.add(User(name="x", display_name="x", password="x", created_at=NOON))
        writing.flush()
        raise RuntimeError
    with house.database.reading() as reading:
        assert reading.query(User).filter_by(name="x").count() == 0


def test_foreign_keys_hold(house: House) -> None:
    with pytest.raises(IntegrityError), house.database.writing() as writing:
        fields = {"name": "x", "public_key": bytes(32), "state": "active", "enrolled_at": NOON}
        writing.add(Kiosk(id=bytes(8), venue_id=bytes(6), entrance=1, **fields))


def test_times_keep_their_zone_and_naive_ones_are_refused(house: House) -> None:
    chengdu = timezone(timedelta(hours=8))
    with house.database.writing() as writing:
        writing.add(User(name="x", display_name="x", password="x", created_at=datetime(2026, 3, 2, 12, tzinfo=chengdu)))
    with house.database.reading() as reading:
        assert reading.query(User).filter_by(name="x").one().created_at == datetime(2026, 3, 2, 4, tzinfo=UTC)
    with pytest.raises(StatementError, match="no zone"), house.database.writing() as writing:
        writing.add(User(name="y", display_name="y", password="y", created_at=datetime(2026, 3, 2)))  # noqa: DTZ001


def test_migrated_tables_are_those_of_the_models(house: House) -> None:
    with house.database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_upgrading_twice_changes_nothing_and_an_old_database_is_noticed(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'new.db'}")
    with pytest.raises(SchemaError, match="nothing"):
        check_current(database.engine)
    upgrade(database.engine)
    upgrade(database.engine)
    check_current(database.engine)
    with database.writing() as writing:
        writing.execute(text("DELETE FROM alembic_version"))
        writing.execute(text("INSERT INTO alembic_version VALUES ('0000_older')"))
    with pytest.raises(SchemaError, match="0000_older"):
        check_current(database.engine)
    database.engine.dispose()


def test_a_subtree_is_a_range_of_paths(house: House) -> None:
    from server.areas.models import within

    with house.database.reading() as reading:
        found = {area.code for area in reading.query(Area).where(within(Area.path, "510000/510100/510104/"))}
    assert found == {"510104", "510104001", "510104001001"}
    assert not is_within("510000/510100/5101040/", "510000/510100/510104/")


def test_an_area_cannot_hang_under_a_lower_one() -> None:
    street = area_row("1", Level.STREET, "街", "", None)
    with pytest.raises(ValueError, match="cannot lie"):
        area_row("2", Level.CITY, "市", "", street)
    with pytest.raises(ValueError, match="not an area code"):
        area_row("1/2", Level.GRID, "格", "", street)
