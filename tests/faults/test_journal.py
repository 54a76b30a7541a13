"""The kiosk's journal on a disk that fails: named, undone, and no worse afterwards."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlite_utils

from kiosk.store import MIGRATIONS, Journal, JournalError
from protocol.exchange import Receipt
from protocol.passage import Personal
from tests.fakes import DAY, Device, VaultKey, facts, stamp


class Failing:
    """A connection on which statements that begin with a word fail, once."""

    def __init__(self, db: sqlite3.Connection, word: str) -> None:
        self._db, self._word = db, word

    def _check(self, sql: str) -> None:
        if self._word and sql.startswith(self._word):
            self._word = ""
            raise sqlite3.OperationalError("disk I/O error")

    def execute(self, sql: str, *args: Any) -> Any:
        self._check(sql)
        return self._db.execute(sql, *args)

    def executemany(self, sql: str, *args: Any) -> Any:
        self._check(sql)
        return self._db.executemany(sql, *args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    device = Device()
    made = Journal(tmp_path / "journal.db", device.id, VaultKey().public)
    for n in range(4):
        made.append(device.place, stamp(n), facts(), Personal(name="x"), day=DAY)
    sequence, head = made.head()
    made.accept_receipt(Receipt(device.id, sequence, head, 1), b"signed")
    yield made
    made.close()


CALLS: dict[str, tuple[str, Callable[[Journal], object]]] = {
    "what is unsent": ("SELECT", lambda j: j.unsent(10)),
    "a run of records": ("SELECT", lambda j: j.records_after(0, 10)),
    "the newest receipt": ("SELECT", lambda j: j.receipt()),
    "before the first": ("SELECT", lambda j: j.before_first()),
    "the last stamp": ("SELECT", lambda j: j.last_stamp_ms()),
    "counters": ("SELECT", lambda j: j.counts(DAY)),
    "going back": ("UPDATE", lambda j: j.rewind_to(2)),
    "going back, at the commit": ("COMMIT", lambda j: j.rewind_to(2)),
    "what is kept apart": ("INSERT", lambda j: j.note_quarantined([(1, "x")], 1)),
    "purging": ("DELETE", lambda j: j.purge(0, 10**15)),
}


READ_BESIDE = {"what is unsent", "a run of records"}  # on a connection of their own, beside the writer


@pytest.mark.parametrize("what", CALLS)
def test_a_disk_that_fails_is_named_and_the_next_passage_is_recorded(journal: Journal, what: str) -> None:
    word, call = CALLS[what]
    held, (sequence, _) = journal.held(), journal.head()
    if what in READ_BESIDE:
        journal.newest(0, 1, 1000)  # opens the connection that only reads
        journal._reader = Failing(journal._reader, word)  # type: ignore[assignment]
    else:
        journal._db = Failing(journal._db, word)  # type: ignore[assignment]
    with pytest.raises(JournalError) as error:
        call(journal)
    assert error.value.code == "damaged" and error.value.hint
    assert journal.held() == held  # nothing was half done
    place = Device().place
    assert journal.append(place, stamp(9), facts(), Personal(name="y"), day=DAY).sequence == sequence + 1


def test_a_journal_is_made_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library makes its own table in two steps: a power cut between them left it without its index for ever."""
    device, vault = Device(), VaultKey()

    def no_index(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patched:
        patched.setattr(sqlite_utils.db.Table, "create_index", no_index)
        with pytest.raises(JournalError):
            Journal(tmp_path / "journal.db", device.id, vault.public)
    with sqlite3.connect(tmp_path / "journal.db") as db:
        assert db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    db.close()
    Journal(tmp_path / "journal.db", device.id, vault.public).close()
    with sqlite3.connect(tmp_path / "journal.db") as db:
        assert not MIGRATIONS.pending(sqlite_utils.Database(db))
        indexes = db.execute("SELECT count(*) FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL").fetchone()
    db.close()
    assert indexes == (1,)
