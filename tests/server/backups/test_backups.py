"""A backup is what can be restored: each test makes a real one, and most of them break something."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest
from flask import Flask
from sqlalchemy import select, text

from config.server import BackupSettings, ServerSettings
from server import create_app
from server.accounts.models import User
from server.audit import Thing, audit
from server.backups.copying import BackupError, copy_database, restored
from server.backups.making import back_up_if_due, check_file, digest_of, make_backup, reread, restore
from server.backups.models import Backup
from server.cases.models import Case
from server.context import House
from server.migrations import check_current
from tests.postgres import Cluster
from tests.server.people import Clock

PAIR = pyrage.x25519.Identity.generate()


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    return ServerSettings(
        public_url="http://localhost",
        data_dir=tmp_path / "data",
        backup=BackupSettings(recipients=(str(PAIR.to_public()),), folder=tmp_path / "elsewhere", keep=2),
    )


@pytest.fixture
def house(app: Flask) -> Iterator[House]:
    with app.app_context():
        yield app.extensions["gatehouse"]


def open_cases(house: House) -> list[Case]:
    with house.database.reading() as reading:
        return list(reading.scalars(select(Case).where(Case.machine == "backup")))


def test_a_backup_is_restored_aside_before_it_counts(house: House) -> None:
    row = make_backup(house)
    file = house.settings.backup_dir / row.file
    assert row.outcome == "" and row.rows > 0
    assert digest_of(file) == row.digest and file.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in house.settings.backup_dir.iterdir()] == [row.file]  # nothing of the check stays
    assert not list(house.settings.data_dir.glob("backup-*"))


def test_nothing_of_the_database_can_be_read_in_the_file(house: House) -> None:
    row = make_backup(house)
    sealed = (house.settings.backup_dir / row.file).read_bytes()
    assert b"SQLite format 3" not in sealed and b"BEGIN ENCRYPTED PRIVATE KEY" not in sealed
    stranger = pyrage.x25519.Identity.generate()
    with pytest.raises(BackupError, match="not made for this identity"):
        check_file(house.settings.backup_dir / row.file, stranger, house.database.engine.url)


@pytest.fixture
def elsewhere(house: House, store: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServerSettings]:
    """The settings of a new machine, with an empty database."""
    there = dataclasses.replace(house.settings, data_dir=tmp_path / "new machine")
    if not store:
        yield there
        return
    cluster: Cluster = request.getfixturevalue("cluster")
    name = cluster.create()
    yield dataclasses.replace(there, database_url=cluster.url(name))
    cluster.drop(name)


def test_the_holder_of_the_identity_restores_it_elsewhere(
    house: House, elsewhere: ServerSettings, clock: Clock
) -> None:
    row, there = make_backup(house), elsewhere
    found = restore(house.settings.backup_dir / row.file, PAIR, there)
    assert found.trouble == "" and found.rows == row.rows
    for name in ("secret-key", "passphrase"):  # kept apart from backups, as docs/deploy.md says
        (there.data_dir / name).write_bytes((house.settings.data_dir / name).read_bytes())
    app = create_app(there, now=clock)
    again: House = app.extensions["gatehouse"]
    check_current(again.database.engine)
    with house.database.reading() as mine, again.database.reading() as theirs:
        wanted = select(User.id).order_by(User.id)
        assert mine.scalars(wanted).all() == theirs.scalars(wanted).all() != []
    assert again.keys.server_identity().private_bytes_raw() == house.keys.server_identity().private_bytes_raw()
    again.database.engine.dispose()


def test_restoring_overwrites_nothing(house: House, tmp_path: Path) -> None:
    row = make_backup(house)
    file = house.settings.backup_dir / row.file
    with pytest.raises(BackupError, match="keys exists"):
        restore(file, PAIR, house.settings)
    with pytest.raises(BackupError, match="exists|holds .* tables"):
        here = house.settings.database  # another folder, the same database
        restore(file, PAIR, dataclasses.replace(house.settings, data_dir=tmp_path / "new", database_url=here))
    with house.database.reading() as reading:
        assert reading.scalars(select(Backup.file)).all() == [row.file]


def test_people_go_on_working_while_the_copy_is_taken(house: House) -> None:
    with house.database.writing() as writing:  # an open transaction holds SQLite's write lock
        audit(writing, "test.during", Thing("test", "1"), at=house.now())
        folder = house.settings.data_dir / "copy"
        folder.mkdir()
        copy_database(house.database.engine, folder)
    with restored(folder, house.database.engine.url) as engine, engine.connect() as connection:
        count = text("SELECT count(*) FROM audit_event WHERE action = 'test.during'")
        assert connection.execute(count).scalar_one() == 0


@pytest.mark.parametrize("place", [200, -40, -1])
def test_a_damaged_file_is_found_by_reading_it(house: House, place: int) -> None:
    row = make_backup(house)
    file = house.settings.backup_dir / row.file
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    with pytest.raises(BackupError):
        check_file(file, PAIR, house.database.engine.url)
    assert list(reread(house)) == [f"{row.file} damaged: its bytes are not the ones that were written"]
    assert [case.key for case in open_cases(house)] == [row.id]
    assert list(reread(house)) == []  # said once
    assert len(open_cases(house)) == 1


def test_a_file_that_is_gone_is_found(house: House) -> None:
    row = make_backup(house)
    (house.settings.backup_dir / row.file).unlink()
    assert list(reread(house)) == [f"{row.file} damaged: the file is gone"]


def test_a_trail_that_does_not_hold_makes_a_backup_that_does_not_count(house: House) -> None:
    with house.database.writing() as writing:
        line = audit(writing, "test.done", Thing("test", "1"), at=house.now()).sequence
    with house.database.engine.execution_options(gatehouse_writes=True).begin() as connection:
        if connection.dialect.name == "sqlite":
            for name in (
                connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars().all()
            ):
                connection.execute(text(f"DROP TRIGGER {name}"))
        else:
            connection.execute(text("ALTER TABLE audit_event DISABLE TRIGGER ALL"))
        connection.execute(text("UPDATE audit_event SET reason = 'changed' WHERE action = 'test.done'"))
    row = make_backup(house)
    assert row.outcome == f"audit: the trail breaks at line {line}"
    case = open_cases(house)[0]
    assert case.facts == {"found": row.outcome} and case.due_at is not None


def test_a_folder_that_cannot_be_written_is_a_failed_backup_and_no_crash(house: House, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("in the way", encoding="utf-8")
    with pytest.raises(BackupError, match="fault|FileExists|not"):
        back_up_if_due(house)
    assert open_cases(house)


def test_the_worker_makes_one_a_day_and_keeps_the_newest_whole_ones(house: House, clock: Clock) -> None:
    assert back_up_if_due(house).startswith("made ")
    assert back_up_if_due(house) == "not due"
    for _ in range(3):
        clock.passes(hours=25)
        assert back_up_if_due(house).startswith("made ")
    with house.database.reading() as reading:
        rows = reading.scalars(select(Backup).order_by(Backup.made_at)).all()
    assert [row.removed_at is None for row in rows] == [False, False, True, True]
    assert sorted(p.name for p in house.settings.backup_dir.iterdir()) == [row.file for row in rows[2:]]


def test_without_recipients_there_is_none_and_it_says_how(house: House) -> None:
    off = dataclasses.replace(house, settings=dataclasses.replace(house.settings, backup=BackupSettings()))
    assert back_up_if_due(off) == "off: no recipients"
    with pytest.raises(BackupError, match="Backups are off") as told:
        make_backup(off)
    assert "keygen" in str(told.value)


def test_the_command_makes_a_pair_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gatehouse", "backup", "keygen", str(tmp_path / "key")]
    first = subprocess.run(command, capture_output=True, text=True, check=False)
    assert first.returncode == 0 and 'recipients = ["age1' in first.stdout and "SECRET" not in first.stdout
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 2 and "exists" in second.stderr
