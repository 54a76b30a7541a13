"""What only PostgreSQL has: days as partitions, exactly-once across them, limits, and writers beside each other."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import event, func, select, text
from sqlalchemy.exc import DBAPIError, OperationalError

from server.audit import Thing, audit, first_break
from server.context import House
from server.db import Database
from server.ingest.models import JournalRecord
from server.ingest.partitions import AHEAD_DAYS, day_of, drop_before, ensure_days, held_days, partition_name
from server.migrations import check_current, upgrade
from server.worker.actions import keep_days
from tests.postgres import Cluster
from tests.server.ingest.fleet import PaperKiosk, install_vault
from tests.server.people import NOON, Clock

pytestmark = pytest.mark.stores("postgresql")
TODAY = day_of(NOON)


@pytest.fixture
def postgresql(house: House) -> House:
    assert house.database.is_postgresql
    return house


@pytest.fixture
def kiosk(postgresql: House, app) -> PaperKiosk:  # type: ignore[no-untyped-def]
    made = PaperKiosk(postgresql, app.test_client(), install_vault(postgresql))
    assert made.enrol().status_code == 200
    return made


def days(house: House) -> list[int]:
    with house.database.engine.connect() as connection:
        return held_days(connection)


def count(house: House) -> int:
    with house.database.reading() as reading:
        return reading.scalar(select(func.count()).select_from(JournalRecord)) or 0


def test_a_day_without_a_place_is_made_when_its_first_record_comes(postgresql: House, kiosk: PaperKiosk) -> None:
    assert days(postgresql) == []
    kiosk.walk(3)
    assert kiosk.exchange().result == "ok"
    assert days(postgresql) == [TODAY]
    with postgresql.database.reading() as reading:
        assert reading.scalar(text(f"SELECT count(*) FROM {partition_name(TODAY)}")) == 3


def test_sent_again_on_another_day_is_still_stored_once(postgresql: House, kiosk: PaperKiosk, clock: Clock) -> None:
    kiosk.walk(3)
    assert kiosk.exchange().result == "ok"
    clock.passes(days=1)
    kiosk.walk(2)
    assert kiosk.exchange().result == "ok"  # all five, three of which lie in yesterday's partition
    with postgresql.database.reading() as reading:
        rows = reading.execute(
            select(JournalRecord.sequence, JournalRecord.received_day).order_by(JournalRecord.sequence)
        )
        assert [tuple(row) for row in rows] == [(n, TODAY) for n in (1, 2, 3)] + [(n, TODAY + 1) for n in (4, 5)]


def test_two_uploads_of_one_kiosk_at_once_are_stored_once(postgresql: House, kiosk: PaperKiosk) -> None:
    kiosk.walk(40)
    bodies = [kiosk.upload() for _ in range(4)]
    codes: list[int] = []

    def send(body: bytes) -> None:
        client = kiosk.client.application.test_client()
        codes.append(
            client.post("/sync/v1/exchange", data=body, content_type="application/vnd.gatehouse.exchange").status_code
        )

    threads = [threading.Thread(target=send, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [200] * 4 and count(postgresql) == 40


def test_the_worker_makes_days_ahead_and_once(postgresql: House) -> None:
    assert keep_days(postgresql).words == f"made={AHEAD_DAYS} counted=0 destroyed=0 held=0 dropped=0"
    assert days(postgresql) == list(range(TODAY, TODAY + AHEAD_DAYS))
    other = Database(postgresql.settings.database)  # a second process, which has not looked yet
    assert ensure_days(other.engine, TODAY, AHEAD_DAYS) == 0
    other.engine.dispose()


def test_dropping_a_day_is_the_deletion_and_nothing_comes_back(
    postgresql: House, kiosk: PaperKiosk, clock: Clock
) -> None:
    kiosk.walk(3)
    kiosk.exchange()
    clock.passes(days=20)
    kiosk.walk(2)
    kiosk.exchange(after=3)
    assert drop_before(postgresql.database, TODAY + 1) == 1
    assert days(postgresql) == [TODAY + 20] and count(postgresql) == 2
    assert kiosk.exchange().want == 6  # the old ones once more: answered, not stored
    assert count(postgresql) == 2 and drop_before(postgresql.database, TODAY + 1) == 0


def test_a_day_that_was_detached_and_not_dropped_is_dropped_by_the_next_run(postgresql: House) -> None:
    ensure_days(postgresql.database.engine, TODAY, 2)
    with postgresql.database.writing() as writing:
        writing.execute(text(f"ALTER TABLE journal_record DETACH PARTITION {partition_name(TODAY)}"))
    assert drop_before(postgresql.database, TODAY + 1) == 1
    assert days(postgresql) == [TODAY + 1]


def test_places_can_be_made_while_somebody_reads_and_writes(postgresql: House, kiosk: PaperKiosk) -> None:
    kiosk.walk(1)
    kiosk.exchange()
    with postgresql.database.reading() as reading, postgresql.database.writing(beside=True) as writing:
        assert reading.scalars(select(JournalRecord)).all()
        writing.execute(text("UPDATE journal_record SET kind = kind"))
        assert ensure_days(postgresql.database.engine, TODAY + 1, 3) == 3


def test_an_upgrade_moves_what_is_stored_into_days(cluster: Cluster) -> None:
    from alembic import command

    from server.migrations import _config

    name = cluster.create()
    database = Database(cluster.url(name))
    config = _config()
    with database.engine.execution_options(gatehouse_writes=True).connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0010_journals")
        for sequence, day in ((1, TODAY), (2, TODAY), (3, TODAY + 1)):
            connection.execute(
                text(
                    "INSERT INTO journal_record (kiosk_id, sequence, received_day, received_at_ms, kind, epoch, header,"
                    " sealed, hash) VALUES ('k', :sequence, :day, 0, 1, 'e', 'h', 's', 'x')"
                ),
                {"sequence": sequence, "day": day},
            )
        connection.commit()
    upgrade(database.engine)
    check_current(database.engine)
    with database.engine.connect() as connection:
        assert held_days(connection) == [TODAY, TODAY + 1]
        assert connection.execute(text("SELECT count(*) FROM journal_record")).scalar() == 3
        assert connection.execute(text("SHOW statement_timeout")).scalar() == "30s"  # the migration's own is not kept
    database.engine.dispose()
    cluster.drop(name)


def test_a_statement_without_end_is_ended(cluster: Cluster, postgresql: House) -> None:
    database = Database(postgresql.settings.database, statement_s=1)
    with pytest.raises(OperationalError, match="statement timeout"), database.reading() as reading:
        reading.execute(text("SELECT pg_sleep(60)"))
    database.engine.dispose()


def test_a_reader_sees_one_snapshot(postgresql: House) -> None:
    with postgresql.database.reading() as reading:
        before = reading.scalar(text("SELECT count(*) FROM area"))
        with postgresql.database.writing() as writing:
            writing.execute(
                text("INSERT INTO area (code, level, name_zh, name_en, path) VALUES ('9', 'province', 'x', '', '9/')")
            )
        assert reading.scalar(text("SELECT count(*) FROM area")) == before


def test_writers_take_turns_so_that_the_trail_is_one_chain(postgresql: House, app) -> None:  # type: ignore[no-untyped-def]
    def note(number: int) -> None:
        with app.app_context(), postgresql.database.writing(beside=number % 2 == 0) as writing:
            audit(writing, "code.issued", Thing("venue_code", f"{number:08x}"), actor="system")

    threads = [threading.Thread(target=note, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with postgresql.database.reading() as reading:
        assert first_break(reading) is None
        assert reading.scalar(text("SELECT count(*) FROM audit_event")) == 8


def test_a_writer_waits_for_another_one_and_then_gives_up(postgresql: House) -> None:
    impatient = Database(postgresql.settings.database)

    @event.listens_for(impatient.engine, "connect")
    def _(connection, _record) -> None:  # type: ignore[no-untyped-def]
        connection.execute("SET lock_timeout = 50")
        connection.commit()

    with postgresql.database.writing() as first:
        first.execute(text("SELECT 1"))  # a transaction begins with its first statement
        with impatient.writing(beside=True) as beside:
            beside.execute(text("SELECT 1"))
        with pytest.raises(DBAPIError, match="lock timeout"), impatient.writing() as second:
            second.execute(text("SELECT 1"))
    impatient.engine.dispose()
