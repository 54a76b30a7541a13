"""The tables of a kiosk's journal, and the one statement that a passage is written with.

The chain ends in a row of its own, the *end*, under the highest number there is: it holds where the chain stands and
what was counted. A new record goes beside it, onto the same page of the file, so that one statement writes one page:
that is what one passage costs on the disk. `record` and `head` are views of that table, for whoever only reads, and for
the program before this one, which an update may bring back (`docs/decisions/0152-a-journal-with-its-end-in-it.md`).
"""

from __future__ import annotations

import sqlite_utils

MIGRATIONS = sqlite_utils.Migrations("journal")  # append only: a released step is never edited
END = 2**63 - 1  # the number of the end; a record never gets as far

# The record and the end, or neither. A record that is there already, and an end that stands anywhere but right before
# it, make the hash NULL, which the table refuses.
APPEND = f"""
    INSERT INTO chain (sequence, epoch, wrapped, header, sealed, hash, at_ms, last, tallies)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, NULL, NULL), ({END}, x'', x'', x'', x'', ?6, 0, ?1, ?8)
    ON CONFLICT (sequence) DO UPDATE SET
      hash = CASE WHEN chain.sequence = {END} AND chain.last + 1 = excluded.last THEN excluded.hash END,
      last = excluded.last, tallies = excluded.tallies"""  # noqa: S608  nothing in it but one number


@MIGRATIONS()
def m0001_records(db: sqlite_utils.Database) -> None:
    """The chain, its head, the server's receipts, and today's counters."""
    for sql in (
        """CREATE TABLE record (
             sequence INTEGER PRIMARY KEY,  -- from 1, without gaps
             epoch    BLOB NOT NULL,
             wrapped  BLOB NOT NULL,        -- empty but in an epoch's first record
             header   BLOB NOT NULL,
             sealed   BLOB NOT NULL,
             hash     BLOB NOT NULL,        -- of the chain, after this record
             at_ms    INTEGER NOT NULL      -- the header's wall time, for the age of the oldest unsent record
           ) STRICT""",
        """CREATE TABLE head (
             id       INTEGER PRIMARY KEY CHECK (id = 1),
             kiosk    BLOB NOT NULL,
             sequence INTEGER NOT NULL,     -- of the last record ever written, purged or not
             hash     BLOB NOT NULL,
             held      INTEGER NOT NULL,    -- up to here the server holds the journal, by its newest word
             held_hash BLOB NOT NULL
           ) STRICT""",
        """CREATE TABLE receipt (
             sequence INTEGER PRIMARY KEY,
             head     BLOB NOT NULL,
             at_ms    INTEGER NOT NULL,     -- the server's clock; the only one that purging goes by
             signed   BLOB NOT NULL
           ) STRICT""",
        """CREATE TABLE quarantined (
             sequence INTEGER PRIMARY KEY,
             reason   TEXT NOT NULL
           ) STRICT""",
        """CREATE TABLE counter (
             day  TEXT NOT NULL,
             name TEXT NOT NULL,
             n    INTEGER NOT NULL,
             PRIMARY KEY (day, name)
           ) STRICT, WITHOUT ROWID""",
    ):
        db.execute(sql)


@MIGRATIONS()
def m0002_quarantined_since(db: sqlite_utils.Database) -> None:
    """Since when the server keeps a record apart; a table of its own, since an older program may run here again."""
    db.execute(
        """CREATE TABLE quarantined_since (
             sequence INTEGER PRIMARY KEY,
             at_ms    INTEGER NOT NULL      -- by the server's clock
           ) STRICT"""
    )


@MIGRATIONS()
def m0003_the_end_in_the_chain(db: sqlite_utils.Database) -> None:
    """The head and the newest counts become the chain's last row; the old names stay, for an older program."""
    for sql in (
        "ALTER TABLE record RENAME TO chain",
        "ALTER TABLE chain ADD COLUMN last INTEGER",  # of the end alone: the last record ever written, purged or not
        "ALTER TABLE chain ADD COLUMN tallies BLOB",  # of the end alone: what was counted and is not in `counter` yet
        f"""INSERT INTO chain (sequence, epoch, wrapped, header, sealed, hash, at_ms, last, tallies)
              SELECT {END}, x'', x'', x'', x'', hash, 0, sequence, x'' FROM head""",  # noqa: S608  see APPEND
        """CREATE TABLE holding (
             id        INTEGER PRIMARY KEY CHECK (id = 1),
             kiosk     BLOB NOT NULL,
             held      INTEGER NOT NULL,    -- up to here the server holds the journal, by its newest word
             held_hash BLOB NOT NULL
           ) STRICT""",
        "INSERT INTO holding SELECT id, kiosk, held, held_hash FROM head",
        "DROP TABLE head",
        f"""CREATE VIEW record AS SELECT sequence, epoch, wrapped, header, sealed, hash, at_ms
              FROM chain WHERE sequence < {END}""",  # noqa: S608
        f"""CREATE VIEW head AS SELECT id, kiosk, last AS sequence, hash, held, held_hash
              FROM holding JOIN chain ON chain.sequence = {END}""",  # noqa: S608
        """CREATE TRIGGER record_is_inserted INSTEAD OF INSERT ON record BEGIN
             INSERT INTO chain (sequence, epoch, wrapped, header, sealed, hash, at_ms) VALUES
               (NEW.sequence, NEW.epoch, NEW.wrapped, NEW.header, NEW.sealed, NEW.hash, NEW.at_ms);
           END""",
        """CREATE TRIGGER record_is_deleted INSTEAD OF DELETE ON record BEGIN
             DELETE FROM chain WHERE sequence = OLD.sequence;
           END""",
        f"""CREATE TRIGGER head_is_inserted INSTEAD OF INSERT ON head BEGIN
             INSERT INTO holding VALUES (NEW.id, NEW.kiosk, NEW.held, NEW.held_hash);
             INSERT INTO chain VALUES ({END}, x'', x'', x'', x'', NEW.hash, 0, NEW.sequence, x'');
           END""",  # noqa: S608
        f"""CREATE TRIGGER head_is_updated INSTEAD OF UPDATE ON head BEGIN
             UPDATE holding SET held = NEW.held, held_hash = NEW.held_hash;
             UPDATE chain SET hash = NEW.hash, last = NEW.sequence WHERE sequence = {END};
           END""",  # noqa: S608
    ):
        db.execute(sql)
