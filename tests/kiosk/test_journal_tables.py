"""The journal's tables: one statement a record, a chain with its end in it, and programs of yesterday and tomorrow."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlite_utils

from kiosk.journal_tables import APPEND, END, MIGRATIONS
from kiosk.store import INSIDE, LOG_BYTES, Journal, JournalError
from kiosk.tallies import Tallies
from kiosk.verifying import verify_journal
from protocol.journal import Record, genesis
from protocol.passage import Header
from protocol.sealing import EpochSealer
from tests.fakes import DAY, Device, VaultKey, facts, stamp

NEXT_DAY, LATER = "2026-11-22", "2026-11-23"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def write(journal: Journal, device: Device, n: int = 1, day: str = DAY, inside: int = 0) -> None:
    for _ in range(n):
        journal.append(
            device.place,
            stamp(journal.head()[0] * 10.0),
            facts(),
            day=day,
            count=("admit",),
            inside=(day, inside) if inside else None,
        )


class OlderProgram:
    """The statements of the program before this one, as it wrote them: what an update may bring back."""

    def __init__(self, path: Path, device: Device, vault: VaultKey) -> None:
        self._device = device
        self._db = sqlite3.connect(path, isolation_level=None)
        self._sealer = EpochSealer(device.id, vault.public, bytes(range(48)))
        if not self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'head'").fetchone():
            MIGRATIONS.apply(sqlite_utils.Database(self._db), stop_before="m0003_the_end_in_the_chain")
        first = genesis(device.id)
        self._db.execute("INSERT OR IGNORE INTO head VALUES (1, ?1, 0, ?2, 0, ?2)", (device.id, first))

    def append(self, name: str = "admit", day: str = DAY) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        last, previous = self._db.execute("SELECT sequence, hash FROM head").fetchone()
        sequence, at = last + 1, stamp(last * 10.0)
        header = Header(sequence, self._device.place, at, facts(), None, ()).to_bytes()
        record = Record(sequence, self._sealer.epoch, self._sealer.wrapped, header, b"")
        after = record.hash_after(previous)
        self._db.execute(
            "INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?)",
            (sequence, record.epoch, record.wrapped, header, b"", after, at.at_ms),
        )
        self._db.execute("UPDATE head SET sequence = ?, hash = ?", (sequence, after))
        self._db.execute(
            "INSERT INTO counter VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET n = n + excluded.n", (day, name)
        )
        self._db.execute("COMMIT")

    def take_receipt(self, sequence: int) -> None:
        (at,) = self._db.execute("SELECT hash FROM record WHERE sequence = ?", (sequence,)).fetchone()
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute("INSERT OR IGNORE INTO receipt VALUES (?, ?, 1000, x'00')", (sequence, at))
        self._db.execute("UPDATE head SET held = ?, held_hash = ?", (sequence, at))
        self._db.execute("COMMIT")

    def purge(self, through: int) -> None:
        self._db.execute("DELETE FROM record WHERE sequence <= ?", (through,))

    def close(self) -> None:
        self._db.close()


def test_a_journal_of_the_program_before_is_taken_over_whole(path: Path, device: Device, vault: VaultKey) -> None:
    older = OlderProgram(path, device, vault)
    for _ in range(5):
        older.append()
    older.take_receipt(3)
    older.close()
    before = verify_journal(path)
    assert before.is_whole and before.last == 5
    journal = Journal(path, device.id, vault.public)
    assert (journal.head()[0], journal.held()[0], journal.counts(DAY)) == (5, 3, {"admit": 5})
    write(journal, device, 2)
    assert journal.counts(DAY) == {"admit": 7}
    assert [record.sequence for record in journal.unsent(10)[2]] == [4, 5, 6, 7]
    journal.close()
    after = verify_journal(path)
    assert after.is_whole and after.last == 7


def test_an_update_taken_back_finds_a_journal_it_can_go_on_with(path: Path, device: Device, vault: VaultKey) -> None:
    journal = Journal(path, device.id, vault.public)
    write(journal, device, 4, inside=1)
    journal.close()
    older = OlderProgram(path, device, vault)
    older.append()
    older.append("hold")
    older.take_receipt(5)
    older.purge(2)
    older.close()
    report = verify_journal(path)
    assert report.last == 6 and report.records == 4
    journal = Journal(path, device.id, vault.public)
    assert (journal.head()[0], journal.held()[0]) == (6, 5)
    assert journal.counts(DAY) == {"admit": 5, "hold": 1} and journal.inside(DAY) == 4
    write(journal, device)
    assert [record.sequence for record in journal.unsent(10)[2]] == [6, 7]
    journal.close()


def test_a_record_is_written_over_by_nothing(path: Path, device: Device, vault: VaultKey) -> None:
    with closing(Journal(path, device.id, vault.public)) as journal:
        write(journal, device, 3)
        held = journal._db.execute("SELECT * FROM chain ORDER BY sequence").fetchall()
        for sequence in (2, 3, 5):  # there already, there already, not the next
            with pytest.raises(sqlite3.IntegrityError):
                journal._db.execute(APPEND, (sequence, bytes(16), b"", b"other", b"", bytes(32), 1, b""))
            assert not journal._db.in_transaction
        assert journal._db.execute("SELECT * FROM chain ORDER BY sequence").fetchall() == held


def test_a_journal_without_its_end_is_damaged_and_stays_as_it_is(path: Path, device: Device, vault: VaultKey) -> None:
    with closing(Journal(path, device.id, vault.public)) as journal:
        write(journal, device, 3)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM chain WHERE sequence > 2")
    for _ in range(2):  # the lock is given back
        with pytest.raises(JournalError, match="its end is missing") as refused:
            Journal(path, device.id, vault.public)
        assert refused.value.code == "damaged"
    with pytest.raises(JournalError):
        verify_journal(path)


@pytest.mark.parametrize("counts", [b"\xff", b"\x01", b"\x82\x61a\x61b", b"\x83\x61a\x61b\x61c", "text"])
def test_counts_that_cannot_be_read_are_named(counts: object, path: Path, device: Device, vault: VaultKey) -> None:
    Journal(path, device.id, vault.public).close()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE chain SET tallies = CAST(? AS BLOB) WHERE sequence = ?", (counts, END))
    with pytest.raises(JournalError, match="counts cannot be read") as refused:
        Journal(path, device.id, vault.public)
    assert refused.value.code == "damaged"


def test_one_record_is_one_statement_on_one_page(path: Path, device: Device, vault: VaultKey) -> None:
    with closing(Journal(path, device.id, vault.public)) as journal:
        write(journal, device, 2)
        said: list[str] = []
        journal._db.set_trace_callback(said.append)
        write(journal, device)
        journal._db.set_trace_callback(None)
        assert len(said) == 1
        log = path.with_name("journal.db-wal")
        with closing(sqlite3.connect(path)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        write(journal, device)
        assert log.stat().st_size == 32 + 24 + 4096, "the log's header, and one page with its own"


def test_the_log_has_its_room_before_anybody_comes(path: Path, device: Device, vault: VaultKey) -> None:
    log = path.with_name("journal.db-wal")
    with closing(Journal(path, device.id, vault.public)) as journal:
        room = log.stat().st_size
        assert room == LOG_BYTES
        write(journal, device, 200)
        assert log.stat().st_size == room
        left = (path.read_bytes(), log.read_bytes())  # as after a power cut
    path.write_bytes(left[0])
    log.write_bytes(left[1])
    with closing(Journal(path, device.id, vault.public)) as journal:
        assert journal.head()[0] == 200, "zeros are no records"
    assert verify_journal(path).is_whole


def test_a_full_disk_gives_the_log_no_room_and_loses_none(
    path: Path, device: Device, vault: VaultKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.write, []

    def write_some(file: int, data: bytes) -> int:
        calls.append(len(data))
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(file, data[: len(data) // 2])

    monkeypatch.setattr("kiosk.store.os.write", write_some)
    with closing(Journal(path, device.id, vault.public)) as journal:
        assert len(calls) == 2
        assert path.with_name("journal.db-wal").stat().st_size < LOG_BYTES / 2, "what was taken is given back"
        monkeypatch.undo()
        write(journal, device, 3)
    assert verify_journal(path).is_whole


def test_counts_ride_on_the_records_and_move_when_days_end(path: Path, device: Device, vault: VaultKey) -> None:
    journal = Journal(path, device.id, vault.public)
    write(journal, device, 3, inside=1)
    write(journal, device, 2, NEXT_DAY, inside=-1)
    assert not journal._db.execute("SELECT count(*) FROM counter").fetchone()[0]
    for _ in range(2):
        assert journal.counts(DAY) == {"admit": 3} and journal.inside(DAY) == 3
        assert journal.counts(NEXT_DAY) == {"admit": 2} and journal.inside(NEXT_DAY) == -2
        assert journal.last_inside_day() == NEXT_DAY
        journal.close()
        journal = Journal(path, device.id, vault.public)
    write(journal, device, 1, LATER)
    moved = set(journal._db.execute("SELECT * FROM counter"))
    assert moved == {(DAY, "admit", 3), (DAY, INSIDE, 3), (NEXT_DAY, "admit", 2), (NEXT_DAY, INSIDE, -2)}
    write(journal, device, 1, NEXT_DAY)
    assert [journal.counts(day) for day in (DAY, NEXT_DAY, LATER)] == [{"admit": 3}, {"admit": 3}, {"admit": 1}]
    assert journal.last_inside_day() == NEXT_DAY
    journal.close()


def test_tallies_are_read_as_they_were_written() -> None:
    tallies = Tallies().plus([(DAY, "admit", 1), (DAY, "进", 2), (NEXT_DAY, INSIDE, -4), (DAY, "admit", 1)])
    read = Tallies.from_bytes(tallies.to_bytes())
    assert sorted(read.rows()) == sorted(tallies.rows())
    assert read.of(DAY) == {"admit": 2, "进": 2} and read.of(LATER) == {}
    assert Tallies().to_bytes() == b"" and Tallies.from_bytes(b"").rows() == []
