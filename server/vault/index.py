"""The vault's own index: keyed tags of who passed where, so that a copied server database has none of them.

It holds nothing that cannot be made again from the server's sealed records; when it is lost, indexing starts over.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

INDEX_FILE = "index.db"
CODES_KEPT_MS = 30 * 86_400_000  # uses of codes are compared over days, and then told nothing more
_SCHEMA = """
CREATE TABLE IF NOT EXISTS tag (
    tag BLOB NOT NULL,        -- keyed, of one ID number or phone at one venue on one day
    kiosk BLOB NOT NULL,
    sequence INTEGER NOT NULL,
    epoch BLOB NOT NULL,      -- destroyed together
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (tag, kiosk, sequence, epoch)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tag_epoch ON tag (epoch);
CREATE TABLE IF NOT EXISTS code (
    tag BLOB NOT NULL,            -- keyed, of one dynamic code at one venue on one day
    venue BLOB NOT NULL,
    at_ms INTEGER NOT NULL,
    kiosk BLOB NOT NULL,
    sequence INTEGER NOT NULL,
    epoch BLOB NOT NULL,          -- destroyed together
    direction TEXT NOT NULL,
    is_admitted INTEGER NOT NULL,
    indexed_ms INTEGER NOT NULL,  -- by the vault's clock
    PRIMARY KEY (tag, kiosk, sequence, epoch)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS code_venue ON code (venue, at_ms);
CREATE INDEX IF NOT EXISTS code_at ON code (at_ms);
CREATE INDEX IF NOT EXISTS code_epoch ON code (epoch);
CREATE TABLE IF NOT EXISTS mark (
    kiosk BLOB PRIMARY KEY,
    sequence INTEGER NOT NULL -- everything up to here was looked at
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS problem (
    kiosk BLOB NOT NULL,
    sequence INTEGER NOT NULL,
    code TEXT NOT NULL,       -- why this record could not be indexed
    PRIMARY KEY (kiosk, sequence)
) STRICT, WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One tag of one passage."""

    tag: bytes
    kiosk: bytes
    sequence: int
    epoch: bytes
    at_ms: int


@dataclass(frozen=True, slots=True)
class CodeUse:
    """One use of a dynamic code at one kiosk."""

    tag: bytes
    venue: bytes
    at_ms: int
    kiosk: bytes
    sequence: int
    epoch: bytes
    direction: str
    is_admitted: bool


Passage = tuple[bytes, int]  # kiosk, sequence


class TagIndex:
    """The open index. One writer: the caller holds the vault's lock."""

    def __init__(self, folder: Path) -> None:
        self._db = sqlite3.connect(folder / INDEX_FILE, isolation_level=None, check_same_thread=False)
        (folder / INDEX_FILE).chmod(0o600)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):  # destroyed means overwritten, too
            self._db.execute(f"PRAGMA {pragma}")
        self._db.executescript(_SCHEMA)

    def add(
        self,
        entries: Iterable[Entry],
        marks: Mapping[bytes, int],
        problems: Iterable[tuple[bytes, int, str]],
        codes: Iterable[CodeUse] = (),
        now_ms: int = 0,
    ) -> None:
        """Store one batch whole or not at all; the same batch twice changes nothing.

        *codes* are kept with *now_ms*, and uses older than CODES_KEPT_MS go.
        """
        with self._whole():
            self._db.executemany(
                "INSERT OR IGNORE INTO tag VALUES (?, ?, ?, ?, ?)",
                [(e.tag, e.kiosk, e.sequence, e.epoch, e.at_ms) for e in entries],
            )
            self._db.executemany(
                "INSERT INTO mark VALUES (?, ?)"
                " ON CONFLICT (kiosk) DO UPDATE SET sequence = max(sequence, excluded.sequence)",
                list(marks.items()),
            )
            self._db.executemany("INSERT OR REPLACE INTO problem VALUES (?, ?, ?)", list(problems))
            self._db.executemany(
                "INSERT OR IGNORE INTO code VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (u.tag, u.venue, u.at_ms, u.kiosk, u.sequence, u.epoch, u.direction, int(u.is_admitted), now_ms)
                    for u in codes
                ],
            )
            self._db.execute("DELETE FROM code WHERE at_ms < ?", (now_ms - CODES_KEPT_MS,))

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """A transaction; whatever fails in it leaves none open, or nothing could be stored ever after."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # SQLite ends some by itself: a full disk, a failed read
                self._db.execute("ROLLBACK")
            raise

    def marks(self, kiosks: Sequence[bytes]) -> dict[bytes, int]:
        """How far each of *kiosks* is indexed; 0 for one that was never seen."""
        found = {}
        for kiosk in kiosks:
            row = self._db.execute("SELECT sequence FROM mark WHERE kiosk = ?", (kiosk,)).fetchone()
            found[kiosk] = row[0] if row else 0
        return found

    def find(self, tags: Iterable[bytes], from_ms: int, to_ms: int, limit: int) -> list[tuple[bytes, int]]:
        """The passages (kiosk, sequence) that carry one of *tags* within the period, oldest first, at most *limit*."""
        found: set[tuple[int, bytes, int]] = set()
        for tag in tags:
            rows = self._db.execute(
                "SELECT at_ms, kiosk, sequence FROM tag WHERE tag = ? AND at_ms >= ? AND at_ms < ?",
                (tag, from_ms, to_ms),
            )
            found.update(rows)
        return [(kiosk, sequence) for _, kiosk, sequence in sorted(found)[:limit]]

    def reused(
        self, venues: Iterable[bytes], from_ms: int, to_ms: int, within_ms: int, before_ms: int, limit: int
    ) -> list[tuple[Passage, Passage]]:
        """Pairs of uses of one code at two kiosks of one venue, oldest first, at most *limit*.

        Both lie in the period, go the same way, and at most *within_ms* apart; the first was let in, and both were
        indexed before *before_ms*.
        """
        found: set[tuple[int, bytes, int, int, bytes, int]] = set()
        for venue in venues:
            rows = self._db.execute(
                "SELECT DISTINCT a.at_ms, a.kiosk, a.sequence, b.at_ms, b.kiosk, b.sequence FROM code a"
                " JOIN code b ON b.tag = a.tag AND b.kiosk <> a.kiosk AND b.direction = a.direction"
                " WHERE a.venue = ? AND a.at_ms >= ? AND a.at_ms < ? AND a.is_admitted AND a.indexed_ms < ?"
                " AND (b.at_ms > a.at_ms OR (b.at_ms = a.at_ms AND b.kiosk > a.kiosk))"
                " AND b.at_ms <= a.at_ms + ? AND b.at_ms < ? AND b.indexed_ms < ?"
                " ORDER BY a.at_ms, a.kiosk, a.sequence LIMIT ?",
                (venue, from_ms, to_ms, before_ms, within_ms, to_ms, before_ms, limit),
            )
            found.update(rows)
        return [((kiosk, sequence), (other, number)) for _, kiosk, sequence, _, other, number in sorted(found)[:limit]]

    def forget(self, epochs: Iterable[bytes]) -> int:
        """Delete the tags of destroyed *epochs*; returns how many there were."""
        with self._whole():
            gone = 0
            for epoch in epochs:
                gone += self._db.execute("DELETE FROM tag WHERE epoch = ?", (epoch,)).rowcount
                gone += self._db.execute("DELETE FROM code WHERE epoch = ?", (epoch,)).rowcount
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return gone

    def counts(self) -> tuple[int, int]:
        """How many tags, and how many records with a problem."""
        tags = self._db.execute("SELECT count(*) FROM tag").fetchone()[0]
        problems = self._db.execute("SELECT count(*) FROM problem").fetchone()[0]
        return tags, problems

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()
