"""The vault's own index: keyed tags of who passed where, so that a copied server database has none of them.

It holds nothing that cannot be made again from the server's sealed records; when it is lost, indexing starts over. Its
tables are ordered by venue and day: what comes in together is stored together, and what a search reads lies side by
side (docs/decisions/0137).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from server.vault.overlaps import Seen, Stay, stays
from server.vault.person import DAY_MS

INDEX_FILE = "index.db"
LAYOUT = 2  # another layout is thrown away, and made again from the server's records
CODES_KEPT_MS = 30 * DAY_MS  # uses of codes are compared over days, and then told nothing more
_CACHE_KIB = 65_536
_SCHEMA = """
CREATE TABLE IF NOT EXISTS venue (no INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE) STRICT;
CREATE TABLE IF NOT EXISTS kiosk (no INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE) STRICT;
CREATE TABLE IF NOT EXISTS epoch (no INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE) STRICT;
CREATE TABLE IF NOT EXISTS tag (
    venue INTEGER NOT NULL,   -- numbers of the three tables above
    day INTEGER NOT NULL,     -- UTC, counted from 1970
    tag BLOB NOT NULL,        -- keyed, of one ID number or phone at this venue on this day; or of nobody
    ms INTEGER NOT NULL,      -- of the day
    kiosk INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    epoch INTEGER NOT NULL,   -- destroyed together
    is_out INTEGER NOT NULL,
    indexed_ms INTEGER NOT NULL,  -- by the vault's clock
    PRIMARY KEY (venue, day, tag, ms, kiosk, sequence, epoch)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS code (
    venue INTEGER NOT NULL,
    day INTEGER NOT NULL,
    tag BLOB NOT NULL,        -- keyed, of one dynamic code at this venue on this day
    kiosk INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    is_out INTEGER NOT NULL,
    is_admitted INTEGER NOT NULL,
    indexed_ms INTEGER NOT NULL,
    PRIMARY KEY (venue, day, tag, kiosk, sequence, epoch)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reach (
    epoch INTEGER NOT NULL,   -- has rows at
    venue INTEGER NOT NULL,
    day INTEGER NOT NULL,
    PRIMARY KEY (epoch, venue, day)
) STRICT, WITHOUT ROWID;
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
CREATE TABLE IF NOT EXISTS total (tags INTEGER NOT NULL) STRICT;  -- one row: counting a hundred million takes a minute
INSERT INTO total SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM total);
"""
_SEEN = """
WITH asked (day, tag) AS (VALUES {})
SELECT t.day, t.ms, k.id, t.sequence, t.is_out, t.indexed_ms FROM asked a
CROSS JOIN tag t ON t.venue = ? AND t.day = a.day AND t.tag = a.tag CROSS JOIN kiosk k ON k.no = t.kiosk
"""
_REUSED = """
SELECT DISTINCT a.at_ms, ka.id, a.sequence, b.at_ms, kb.id, b.sequence FROM code a
JOIN code b ON b.venue = a.venue AND b.day = a.day AND b.tag = a.tag AND b.kiosk <> a.kiosk AND b.is_out = a.is_out
JOIN kiosk ka ON ka.no = a.kiosk JOIN kiosk kb ON kb.no = b.kiosk
WHERE a.venue = (SELECT no FROM venue WHERE id = ?) AND a.day BETWEEN ? AND ?
AND a.at_ms >= ? AND a.at_ms < ? AND a.is_admitted AND a.indexed_ms < ?
AND (b.at_ms > a.at_ms OR (b.at_ms = a.at_ms AND kb.id > ka.id))
AND b.at_ms <= a.at_ms + ? AND b.at_ms < ? AND b.indexed_ms < ?
ORDER BY a.at_ms, ka.id, a.sequence LIMIT ?
"""


class CodeUse(NamedTuple):
    """One use of a dynamic code."""

    tag: bytes
    day: int  # of its tag; near midnight one use has a tag on either day
    is_admitted: bool


class Entry(NamedTuple):
    """What the index keeps of one passage."""

    tags: tuple[bytes, ...]  # at least one
    kiosk: bytes
    sequence: int
    epoch: bytes
    venue: bytes
    at_ms: int
    is_out: bool
    codes: tuple[CodeUse, ...] = ()


Passage = tuple[bytes, int]  # kiosk, sequence


class TagIndex:
    """The open index. One writer: the caller holds the vault's lock."""

    def __init__(self, folder: Path) -> None:
        path = folder / INDEX_FILE
        self._db = _connected(path)
        if self._db.execute("PRAGMA user_version").fetchone()[0] != LAYOUT:
            self._db.close()
            for suffix in ("", "-wal", "-shm"):
                path.with_name(INDEX_FILE + suffix).unlink(missing_ok=True)
            self._db = _connected(path)
            self._db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {LAYOUT}; COMMIT")
        self._kiosks: dict[bytes, int] = {}
        self._venues: dict[bytes, int] = {}
        self._swept_day = 0

    def add(
        self,
        entries: Sequence[Entry],
        marks: Mapping[bytes, int],
        problems: Iterable[tuple[bytes, int, str]],
        now_ms: int = 0,
    ) -> None:
        """Store one batch whole or not at all, as indexed at *now_ms*; the same batch twice changes nothing.

        Uses of codes that are older than CODES_KEPT_MS go, once a day.
        """
        kiosks, venues = dict(self._kiosks), dict(self._venues)
        with self._whole():
            venues |= {id_: self._number("venue", id_) for id_ in {e.venue for e in entries} - venues.keys()}
            kiosks |= {id_: self._number("kiosk", id_) for id_ in {e.kiosk for e in entries} - kiosks.keys()}
            epochs = {epoch: self._number("epoch", epoch) for epoch in {e.epoch for e in entries}}
            tags: list[tuple[int, int, bytes, int, int, int, int, bool, int]] = []
            codes: list[tuple[int, int, bytes, int, int, int, int, bool, bool, int]] = []
            reach: set[tuple[int, int, int]] = set()
            for found, kiosk_id, sequence, epoch_id, venue_id, at_ms, is_out, uses in entries:
                kiosk, venue, epoch = kiosks[kiosk_id], venues[venue_id], epochs[epoch_id]
                day, ms = divmod(at_ms, DAY_MS)
                for tag in found:
                    tags.append((venue, day, tag, ms, kiosk, sequence, epoch, is_out, now_ms))
                reach.add((epoch, venue, day))
                for use in uses:
                    row = (venue, use.day, use.tag, kiosk, sequence, epoch, at_ms, is_out, use.is_admitted, now_ms)
                    codes.append(row)
                    reach.add((epoch, venue, use.day))
            tags.sort()
            stored = self._db.executemany("INSERT OR IGNORE INTO tag VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", tags)
            self._db.execute("UPDATE total SET tags = tags + ?", (max(stored.rowcount, 0),))
            self._db.executemany("INSERT OR IGNORE INTO code VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", codes)
            self._db.executemany("INSERT OR IGNORE INTO reach VALUES (?, ?, ?)", reach)
            self._db.executemany(
                "INSERT INTO mark VALUES (?, ?)"
                " ON CONFLICT (kiosk) DO UPDATE SET sequence = max(sequence, excluded.sequence)",
                list(marks.items()),
            )
            self._db.executemany("INSERT OR REPLACE INTO problem VALUES (?, ?, ?)", list(problems))
            oldest_day = (now_ms - CODES_KEPT_MS) // DAY_MS
            if oldest_day > self._swept_day:
                venue_numbers = self._db.execute("SELECT no FROM venue").fetchall()
                rows = [(venue, oldest_day) for (venue,) in venue_numbers]
                self._db.executemany("DELETE FROM code WHERE venue = ? AND day < ?", rows)
        self._kiosks, self._venues = kiosks, venues  # only what was committed
        self._swept_day = max(self._swept_day, oldest_day)

    def _number(self, table: str, id_: bytes) -> int:
        """The number that stands for *id_* in the rows."""
        sql = f"INSERT INTO {table} (id) VALUES (?) ON CONFLICT (id) DO UPDATE SET id = id RETURNING no"  # noqa: S608
        (number,) = self._db.execute(sql, (id_,)).fetchone()
        return int(number)

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

    def seen(self, tags: Iterable[tuple[bytes, int, bytes]], from_ms: int, to_ms: int) -> list[Seen]:
        """Where and when one of *tags*, each given with its venue and day, passed within the period, oldest first."""
        found: set[Seen] = set()
        for venue, places in groupby(tags, itemgetter(0)):
            number, asked = self._venue_number(venue), [(day, tag) for _, day, tag in places]
            if number is None:
                continue
            sql = _SEEN.format(", ".join(["(?, ?)"] * len(asked)))  # one question a venue: a query has a hundred
            for day, ms, kiosk, sequence, is_out, indexed_ms in self._db.execute(sql, (*chain(*asked), number)):
                at_ms = day * DAY_MS + ms
                if from_ms <= at_ms < to_ms:
                    found.add(Seen(at_ms, kiosk, sequence, venue, bool(is_out), indexed_ms))
        return sorted(found)

    def around(
        self, venue: bytes, day: int, period: tuple[int, int], reach: tuple[int, int], before_ms: int
    ) -> list[Stay]:
        """Everybody's stays at *venue* on *day* that touch *reach*, made of passages in *period* that were indexed
        before *before_ms*. Their kiosks are numbers (`kiosk_of`)."""
        start = day * DAY_MS
        rows = self._db.execute(  # in the order of the primary key: nothing is sorted
            "SELECT tag, ms, is_out, kiosk, sequence FROM tag WHERE venue = ? AND day = ? AND ms >= ? AND ms < ?"
            " AND indexed_ms < ? ORDER BY tag, ms, kiosk, sequence",
            (self._venue_number(venue), day, period[0] - start, period[1] - start, before_ms),
        )
        return stays(rows, start, reach)

    def kiosk_of(self, number: int) -> bytes:
        """The kiosk behind a number that `around` gave."""
        return bytes(self._db.execute("SELECT id FROM kiosk WHERE no = ?", (number,)).fetchone()[0])

    def number_of(self, kiosk: bytes) -> int:
        """The number that `around` gives for a kiosk of the index."""
        return int(self._db.execute("SELECT no FROM kiosk WHERE id = ?", (kiosk,)).fetchone()[0])

    def _venue_number(self, venue: bytes) -> int | None:
        if venue not in self._venues:
            row = self._db.execute("SELECT no FROM venue WHERE id = ?", (venue,)).fetchone()
            if row is None:
                return None
            self._venues[venue] = row[0]
        return self._venues[venue]

    def reused(
        self, venues: Iterable[bytes], from_ms: int, to_ms: int, within_ms: int, before_ms: int, limit: int
    ) -> list[tuple[Passage, Passage]]:
        """Pairs of uses of one code at two kiosks of one venue, oldest first, at most *limit*.

        Both lie in the period, go the same way, and at most *within_ms* apart; the first was let in, and both were
        indexed before *before_ms*.
        """
        found: set[tuple[int, bytes, int, int, bytes, int]] = set()
        days = (from_ms // DAY_MS, to_ms // DAY_MS + 1)
        for venue in venues:
            times = (from_ms, to_ms, before_ms, within_ms, to_ms, before_ms)
            found.update(self._db.execute(_REUSED, (venue, *days, *times, limit)))
        return [((kiosk, sequence), (other, number)) for _, kiosk, sequence, _, other, number in sorted(found)[:limit]]

    def forget(self, epochs: Iterable[bytes]) -> int:
        """Delete the tags of destroyed *epochs*; returns how many there were."""
        with self._whole():
            tags = codes = 0
            for id_ in epochs:
                for number, venue, day in self._db.execute(
                    "SELECT r.epoch, r.venue, r.day FROM epoch e JOIN reach r ON r.epoch = e.no WHERE e.id = ?", (id_,)
                ).fetchall():
                    place = (venue, day, number)
                    tags += self._db.execute(
                        "DELETE FROM tag WHERE venue = ? AND day = ? AND epoch = ?", place
                    ).rowcount
                    codes += self._db.execute(
                        "DELETE FROM code WHERE venue = ? AND day = ? AND epoch = ?", place
                    ).rowcount
                    self._db.execute("DELETE FROM reach WHERE epoch = ?", (number,))
            self._db.execute("UPDATE total SET tags = tags - ?", (tags,))
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return tags + codes

    def counts(self) -> tuple[int, int]:
        """How many tags, and how many records with a problem."""
        tags = self._db.execute("SELECT tags FROM total").fetchone()[0]
        problems = self._db.execute("SELECT count(*) FROM problem").fetchone()[0]
        return tags, problems

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()


def _connected(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    path.chmod(0o600)
    # destroyed means overwritten, too
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", f"cache_size=-{_CACHE_KIB}"):
        db.execute(f"PRAGMA {pragma}")
    return db
