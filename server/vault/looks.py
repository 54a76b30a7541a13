"""Which lines of the access log concern whom, and by which word that person asks; kept by the vault alone.

Persons stand here under the access log's keyed tags. Nothing of this leaves the vault but log lines, to whoever knows
the word (docs/decisions/0104).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import sqlite3
from collections.abc import Iterable
from enum import Enum
from pathlib import Path

LOOKS_FILE = "looks.db"
MAX_TRIES_A_DAY = 5  # wrong words for one person
MAX_NEW_A_DAY = 200  # persons who choose their word on one day, in all
DAY_MS = 86_400_000
_SALT_BYTES = 16
_SCRYPT = {"n": 2**14, "r": 8, "p": 1}  # RFC 7914 interactive figures: 16 MiB
_SCHEMA = """
CREATE TABLE IF NOT EXISTS seen (
    tag BLOB NOT NULL,        -- keyed, of one ID number or phone (Person.log_tag)
    line INTEGER NOT NULL,    -- of the access log
    PRIMARY KEY (tag, line)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claim (
    tag BLOB PRIMARY KEY,
    salt BLOB NOT NULL,
    word BLOB NOT NULL,       -- scrypt of the word
    made_ms INTEGER NOT NULL,
    wrong_day INTEGER NOT NULL DEFAULT 0, -- the UTC day of the last wrong word
    wrong INTEGER NOT NULL DEFAULT 0      -- wrong words on that day
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS claim_made ON claim (made_ms);
"""


class Claim(Enum):
    """What became of a word."""

    HOLDS = "holds"
    NEW = "new"  # nobody had asked for this person before; from now on only this word counts
    WRONG = "wrong_word"
    TOO_MANY = "too_many"  # wrong words for this person today, or new ones in all


class LooksOfPersons:
    """The open file. One writer: the caller holds the vault's lock."""

    def __init__(self, folder: Path) -> None:
        self._db = sqlite3.connect(folder / LOOKS_FILE, isolation_level=None, check_same_thread=False)
        (folder / LOOKS_FILE).chmod(0o600)
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.executescript(_SCHEMA)

    def note(self, tags: Iterable[bytes], line: int) -> None:
        """Line *line* of the log concerns *tags*; on the disk when this returns."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?)", [(tag, line) for tag in tags])
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def lines(self, tags: Iterable[bytes], limit: int) -> list[int]:
        """The newest *limit* lines that concern any of *tags*, newest first."""
        found: set[int] = set()
        for tag in tags:
            rows = self._db.execute("SELECT line FROM seen WHERE tag = ? ORDER BY line DESC LIMIT ?", (tag, limit))
            found.update(row[0] for row in rows)
        return sorted(found, reverse=True)[:limit]

    def claim(self, tag: bytes, word: str, now_ms: int) -> Claim:
        """Hold *word* against the one that *tag* is asked for with, or make it that one."""
        day = now_ms // DAY_MS
        row = self._db.execute("SELECT salt, word, wrong_day, wrong FROM claim WHERE tag = ?", (tag,)).fetchone()
        if row is None:
            made = self._db.execute("SELECT count(*) FROM claim WHERE made_ms >= ?", (day * DAY_MS,)).fetchone()[0]
            if made >= MAX_NEW_A_DAY:
                return Claim.TOO_MANY
            salt = secrets.token_bytes(_SALT_BYTES)
            self._db.execute(
                "INSERT INTO claim (tag, salt, word, made_ms) VALUES (?, ?, ?, ?)",
                (tag, salt, _stretched(word, salt), now_ms),
            )
            return Claim.NEW
        salt, stored, wrong_day, wrong = row
        wrong = wrong if wrong_day == day else 0
        if wrong >= MAX_TRIES_A_DAY:
            return Claim.TOO_MANY
        if hmac.compare_digest(stored, _stretched(word, salt)):
            return Claim.HOLDS
        self._db.execute("UPDATE claim SET wrong_day = ?, wrong = ? WHERE tag = ?", (day, wrong + 1, tag))
        return Claim.WRONG

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()


def _stretched(word: str, salt: bytes) -> bytes:
    return hashlib.scrypt(word.encode(), salt=salt, dklen=32, **_SCRYPT)
