"""The kiosk's journal on disk: an append-only, hash-chained queue of sealed passages in SQLite.

One writer, write-ahead log, `synchronous=FULL`: when `append` returns, the record survives a power cut.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import sqlite_utils

from config.errors import GatehouseError
from kiosk.journal_tables import APPEND, END, MIGRATIONS
from kiosk.tallies import Tallies
from protocol.aside import Aside
from protocol.exchange import Receipt
from protocol.journal import Record, genesis
from protocol.passage import Facts, Header, Personal, Place, Stamp
from protocol.sealing import EPOCH_ID_BYTES, EPOCH_KEY_BYTES, EpochSealer, SealPublicKey

log = logging.getLogger("gatehouse.journal")


INSIDE = "inside"  # the counter that may also go down
LOG_BYTES = 1000 * (4096 + 24) + 32  # of its log: SQLite begins it anew after a thousand pages, by its own default


class JournalError(GatehouseError):
    """The journal could not take or give a record.

    Codes: disk_full, journal_full, read_only, damaged, other_kiosk, busy, fork.
    """

    code = "journal"


@dataclass(frozen=True, slots=True)
class Quarantine:
    """What the server keeps apart of this journal, for the finding that says so."""

    count: int = 0
    first: int = 0  # the lowest of these records
    since_ms: int | None = None  # the server's clock when the first of them was named; None: nobody noted it


@dataclass(frozen=True, slots=True)
class Stored:
    """A record that is on disk now, and what it cost (seconds by the steady clock)."""

    sequence: int
    hash: bytes
    seal_s: float
    commit_s: float


class AppendListener(Protocol):
    """Called after each commit, on the writer's thread; must return at once."""

    def __call__(self, stored: Stored) -> None:
        """Take note of a new record."""


class Journal:
    """The journal of one kiosk in one file. Safe to use from several threads; writers take turns."""

    def __init__(
        self,
        path: Path,
        kiosk: bytes,
        vault: SealPublicKey,
        *,
        random: Callable[[int], bytes] = os.urandom,
        soft_bytes: int = 0,
        most_bytes: int = 0,
    ) -> None:
        """Open or create the journal at *path*; raises JournalError with what to do.

        From *soft_bytes* on `purge` keeps nothing longer than it must, from *most_bytes* on `append` refuses (0: no
        bound). Unsent records are kept in any case.
        """
        self.path = path
        self._soft_bytes, self._most_bytes = soft_bytes, most_bytes
        self.kiosk = kiosk
        self._vault = vault
        self._random = random
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._reader: sqlite3.Connection | None = None  # for what is sent: a passage does not wait for a long read
        self._sealer: EpochSealer | None = None
        self._wrapped_is_written = False
        self._epoch_day = ""
        self.on_append: AppendListener | None = None
        self._tallies = Tallies()  # counted since they were last moved to the table of counters
        self._moved: dict[str, dict[str, int]] = {}  # what that table has, by day, as far as it was asked for
        self._quarantine: Quarantine | None = None  # as last read; None: to be read again
        self._oldest: tuple[int, int | None] = (0, None)  # sequence of the oldest unsent record, and its wall time
        with ExitStack() as undoing:
            self._only = _take_alone(path)
            undoing.callback(os.close, self._only)
            try:
                self._db = _open(path)
                undoing.callback(self._db.close)
                # sqlite-utils makes its own table in two steps, which a cut can part
                self._db.execute("BEGIN IMMEDIATE")
                MIGRATIONS.apply(sqlite_utils.Database(self._db))
                row = self._db.execute("SELECT kiosk FROM holding").fetchone() or self._begin_chain()
                self._db.execute("COMMIT")
                if row[0] != kiosk:
                    raise JournalError(
                        f"{path} is the journal of kiosk {row[0].hex()}, this device is {kiosk.hex()}.",
                        hint="Keep that file (it may hold unsent passages) and give this device a folder of its own.",
                        code="other_kiosk",
                    )
                _make_room(path)
                self._reload()
            except sqlite3.Error as error:
                raise _explain(error, path) from error
            undoing.pop_all()

    def _begin_chain(self) -> tuple[bytes]:
        first = genesis(self.kiosk)
        self._db.execute("INSERT INTO holding VALUES (1, ?, 0, ?)", (self.kiosk, first))
        self._db.execute("INSERT INTO chain VALUES (?, x'', x'', x'', x'', ?, 0, 0, x'')", (END, first))
        return (self.kiosk,)

    def _reload(self) -> None:
        """Read the end from disk into memory; the journal is ours alone, so the two stay equal after each commit."""
        held: tuple[int, bytes] = self._db.execute("SELECT held, held_hash FROM holding").fetchone()
        end = self._db.execute("SELECT last, hash, tallies FROM chain WHERE sequence = ?", (END,)).fetchone()
        try:
            tallies = Tallies.from_bytes(end[2])
        except (TypeError, ValueError) as error:
            raise _damaged(self.path, "its end is missing" if end is None else "its counts cannot be read") from error
        self._head: tuple[int, bytes] = (end[0], end[1])
        self._held, self._tallies = held, tallies
        self._moved, self._oldest, self._quarantine = {}, (0, None), None

    def close(self) -> None:
        """Close the file and forget the epoch key; a second call does nothing."""
        with self._lock:
            if self._only < 0:
                return
            self._sealer = None
            with self._reading:
                if self._reader is not None:
                    self._reader.close()
                    self._reader = None
            self._db.close()
            os.close(self._only)
            self._only = -1

    def append(
        self,
        place: Place,
        stamp: Stamp,
        what: Facts | str,
        personal: Personal | None = None,
        *,
        detail: Sequence[tuple[str, str | int]] = (),
        count: Sequence[str] = (),
        day: str = "",
        inside: tuple[str, int] | None = None,
    ) -> Stored:
        """Seal, chain and commit one record: a passage's facts with its personal part, or an event by name.

        *count* names the counters of *day* that grow by one in the same transaction; *inside* is a venue's day and by
        how much the number of people inside changes. When this returns, the record is on disk. Raises JournalError when
        it is not; then nothing was kept, and the epoch has ended (no key and nonce can meet twice).
        """
        with self._lock:
            started = time.perf_counter()
            self._refuse_when_too_large()
            sealer = self._sealer_for(day)
            changes = [(day, name, 1) for name in count]
            if inside is not None and inside[1]:
                changes.append((inside[0], INSIDE, inside[1]))
            try:
                tallies = self._tallies.plus(changes)
                if tallies.has_days_enough():
                    self._move_tallies()
                    tallies = self._tallies.plus(changes)
                last, previous = self._head
                sequence = last + 1
                facts, event = (what, None) if isinstance(what, Facts) else (None, what)
                header = Header(sequence, place, stamp, facts, event, tuple(detail)).to_bytes()
                sealed = sealer.seal(sequence, header, personal.to_bytes() if personal else b"")
                wrapped = b"" if self._wrapped_is_written else sealer.wrapped
                after = Record(sequence, sealer.epoch, wrapped, header, sealed).hash_after(previous)
                sealed_at = time.perf_counter()
                self._db.execute(  # a transaction of its own: when it returns, the record is on disk
                    APPEND, (sequence, sealer.epoch, wrapped, header, sealed, after, stamp.at_ms, tallies.to_bytes())
                )
            except BaseException as error:
                self._sealer = None  # whatever was sealed under this key may exist somewhere: never use it again
                self._undo()
                if isinstance(error, sqlite3.Error):
                    raise _explain(error, self.path) from error
                raise
            self._wrapped_is_written = True
            self._head = (sequence, after)
            self._tallies = tallies
            if sequence == self._held[0] + 1:
                self._oldest = (sequence, stamp.at_ms)
            stored = Stored(sequence, after, sealed_at - started, time.perf_counter() - sealed_at)
        if self.on_append:
            self.on_append(stored)
        return stored

    def _move_tallies(self) -> None:
        """Add what was counted to the table of counters, so that the end of the chain stays small."""
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany(
            "INSERT INTO counter VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n", self._tallies.rows()
        )
        self._db.execute("UPDATE chain SET tallies = x'' WHERE sequence = ?", (END,))
        self._db.execute("COMMIT")
        self._tallies, self._moved = Tallies(), {}

    def _refuse_when_too_large(self) -> None:
        if not self._most_bytes or journal_bytes(self.path) < self._most_bytes:  # the usual case, without SQLite
            return
        if self._used_bytes() >= self._most_bytes:
            raise JournalError(
                f"{self.path} has reached its limit of {self._most_bytes // 2**20} MB.",
                hint="Connect the network, or carry the journal on a stick and take the server's receipt.",
                code="journal_full",
            )

    def _used_bytes(self) -> int:
        """What the records take, without the room that purged ones left in the file."""
        pages, free, size = (
            self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def _undo(self) -> None:
        """After a failure: end the transaction, then believe the disk and not the memory."""
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._reload()
        except (sqlite3.Error, JournalError):
            log.error("journal cannot be read after a failure")  # the next append fails too, and says why

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """The lock, for everything but `append`: whatever SQLite says against it is undone and told in our words."""
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                self._undo()
                raise _explain(error, self.path) from error

    def _sealer_for(self, day: str) -> EpochSealer:
        """The sealer of the current epoch; a new day, a restart or a failed commit starts another one."""
        if self._sealer is None or day != self._epoch_day:
            self._sealer = EpochSealer(self.kiosk, self._vault, self._random(EPOCH_ID_BYTES + EPOCH_KEY_BYTES))
            self._epoch_day = day
            self._wrapped_is_written = False
        return self._sealer

    def use_vault_key(self, vault: SealPublicKey) -> None:
        """Seal to another key of the vault from the next record on."""
        with self._lock:
            if vault.key_id != self._vault.key_id:
                self._vault, self._sealer = vault, None

    def head(self) -> tuple[int, bytes]:
        """Sequence and hash of the last record ever written (0 and the genesis hash before the first)."""
        return self._head

    def receipt(self) -> Receipt | None:
        """The newest receipt of the server, or None."""
        with self._locked():
            row = self._db.execute(
                "SELECT sequence, head, at_ms FROM receipt ORDER BY sequence DESC LIMIT 1"
            ).fetchone()
        return Receipt(self.kiosk, row[0], row[1], row[2]) if row else None

    def unsent(self, limit_records: int, limit_bytes: int = 512 * 1024) -> tuple[int, bytes, tuple[Record, ...]]:
        """The records that the server does not hold, oldest first: (after_sequence, after_hash, records)."""
        after, after_hash = self._held
        return after, after_hash, self.run_after(after, limit_records, limit_bytes)[0]

    def records_after(self, sequence: int, limit_records: int, limit_bytes: int = 512 * 1024) -> tuple[Record, ...]:
        """The records after *sequence*, receipted or not, oldest first; within the limits, but at least one."""
        return self.run_after(sequence, limit_records, limit_bytes)[0]

    def run_after(self, sequence: int, limit_records: int, limit_bytes: int) -> tuple[tuple[Record, ...], bytes | None]:
        """`records_after`, and the chain hash after the last of them (None when there is none)."""
        records: list[Record] = []
        size, after = 0, None
        with self._looking() as db:
            rows = db.execute(
                "SELECT sequence, epoch, wrapped, header, sealed, hash FROM record WHERE sequence > ?"
                " ORDER BY sequence LIMIT ?",
                (sequence, limit_records),
            )
            for number, epoch, wrapped, header, sealed, its_hash in rows:
                size += len(wrapped) + len(header) + len(sealed) + 80
                if records and size > limit_bytes:
                    break
                records.append(Record(number, epoch, wrapped, header, sealed))
                after = its_hash
            rows.close()
        return tuple(records), after

    def newest(self, after: int, most_records: int, most_bytes: int) -> tuple[Record, ...]:
        """The newest records after *after*, ascending, as many as fit; none when the newest alone is too large."""
        records: list[Record] = []
        size = 0
        with self._looking() as db:
            rows = db.execute(
                "SELECT sequence, epoch, wrapped, header, sealed FROM record WHERE sequence > ?"
                " ORDER BY sequence DESC LIMIT ?",
                (after, most_records),
            )
            for row in rows:
                size += sum(len(part) for part in row[1:]) + 32
                if size > most_bytes:
                    break
                records.append(Record(*row))
            rows.close()
        return tuple(reversed(records))

    @contextmanager
    def _looking(self) -> Iterator[sqlite3.Connection]:
        """A connection that only reads, beside the writer; raises JournalError."""
        with self._reading:
            try:
                if self._reader is None:
                    if self._only < 0:
                        raise JournalError(f"{self.path} was closed.", code="busy")
                    self._reader = sqlite3.connect(
                        self.path, isolation_level=None, check_same_thread=False, timeout=5.0
                    )
                    self._reader.execute("PRAGMA query_only=ON")
                yield self._reader
            except sqlite3.Error as error:
                raise _explain(error, self.path) from error

    def held(self) -> tuple[int, bytes]:
        """Up to where the server holds this journal, by its newest word, and the chain hash there."""
        return self._held

    def before_first(self) -> tuple[int, bytes] | None:
        """Sequence and chain hash before the oldest record still here; None when no receipt tells that hash."""
        with self._locked():
            first = self._db.execute("SELECT min(sequence) FROM record").fetchone()[0]
            at = self._head[0] if first is None else first - 1
            known = self._hash_at(at)
        return None if known is None else (at, known)

    def unsent_count(self) -> int:
        """How many records no receipt covers yet."""
        return self._head[0] - self._held[0]

    def oldest_unsent_ms(self) -> int | None:
        """Wall time (ms) of the oldest record without a receipt, or None when all is sent."""
        with self._locked():
            oldest = self._held[0] + 1
            if oldest > self._head[0]:
                return None
            if self._oldest[0] != oldest:  # asked for several times a second, while it changes with a receipt
                row = self._db.execute("SELECT at_ms FROM record WHERE sequence = ?", (oldest,)).fetchone()
                self._oldest = (oldest, int(row[0]) if row else None)
            return self._oldest[1]

    def accept_receipt(self, receipt: Receipt, signed: bytes) -> None:
        """Keep a verified receipt when it matches our own chain; raises JournalError `fork` when it does not.

        A receipt older than the newest one is ignored; see `rewind_to` for a server that lost records.
        """
        with self._locked():
            if receipt.sequence < self._held[0]:
                return
            ours = self._hash_at(receipt.sequence)
            if receipt.kiosk != self.kiosk or ours != receipt.head:
                raise JournalError(
                    f"The server's receipt for record {receipt.sequence} "
                    + ("has another hash than our journal." if ours else "names a record that this journal lacks."),
                    hint="Export this journal and call technical support: was the memory card copied or restored?",
                    code="fork",
                )
            if receipt.sequence == 0:
                return
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(
                "INSERT OR IGNORE INTO receipt VALUES (?, ?, ?, ?)",
                (receipt.sequence, receipt.head, receipt.at_ms, signed),
            )
            self._db.execute("UPDATE holding SET held = ?, held_hash = ?", (receipt.sequence, receipt.head))
            self._db.execute("COMMIT")
            self._held = (receipt.sequence, receipt.head)

    def _hash_at(self, sequence: int) -> bytes | None:
        if sequence == 0:
            return genesis(self.kiosk)
        row = self._db.execute(
            "SELECT hash FROM record WHERE sequence = ?1"
            " UNION ALL SELECT hash FROM head WHERE sequence = ?1"
            " UNION ALL SELECT head FROM receipt WHERE sequence = ?1 LIMIT 1",
            (sequence,),
        ).fetchone()
        return row[0] if row else None

    def rewind_to(self, sequence: int) -> bool:
        """Send again what comes after *sequence*: the server was restored from a backup and lost it.

        Forgets the receipts after it. Returns False, and changes nothing, when records after it are already purged.
        """
        with self._locked():
            first = self._db.execute("SELECT min(sequence) FROM record").fetchone()[0]
            if sequence < self._head[0] and (first is None or first > sequence + 1):
                return False
            at = self._hash_at(sequence)
            if at is None:
                return False
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("DELETE FROM receipt WHERE sequence > ?", (sequence,))
            self._db.execute("UPDATE holding SET held = ?, held_hash = ?", (sequence, at))
            self._db.execute("COMMIT")
            self._held = (sequence, at)
        return True

    def note_quarantined(self, quarantined: Sequence[tuple[int, str]], server_ms: int) -> None:
        """Remember what the server took but keeps apart, and that it said so at *server_ms*; the first time counts."""
        with self._locked():
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT OR REPLACE INTO quarantined VALUES (?, ?)", list(quarantined))
            self._db.executemany(
                "INSERT OR IGNORE INTO quarantined_since VALUES (?, ?)",
                [(sequence, server_ms) for sequence, _ in quarantined],
            )
            self._db.execute("COMMIT")
            self._quarantine = None

    def keep_quarantined(self, still: Aside) -> None:
        """Forget those records that the server keeps apart no longer, by its newest word."""
        with self._locked():
            noted = [row[0] for row in self._db.execute("SELECT sequence FROM quarantined")]
            released = [(sequence,) for sequence in noted if not still.may_hold(sequence)]
            if not released:
                return
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("DELETE FROM quarantined WHERE sequence = ?", released)
            self._db.executemany("DELETE FROM quarantined_since WHERE sequence = ?", released)
            self._db.execute("COMMIT")
            self._quarantine = None

    def quarantine(self) -> Quarantine:
        """How much the server keeps apart, and since when; asked for several times a second, read once a change."""
        with self._locked():
            if self._quarantine is None:
                row = self._db.execute(
                    "SELECT count(*), coalesce(min(sequence), 0), min(at_ms)"
                    " FROM quarantined LEFT JOIN quarantined_since USING (sequence)"
                ).fetchone()
                self._quarantine = Quarantine(*row)
            return self._quarantine

    def quarantined(self) -> list[tuple[int, str]]:
        """What the server keeps apart: (sequence, reason)."""
        with self._locked():
            return list(self._db.execute("SELECT sequence, reason FROM quarantined ORDER BY sequence"))

    def purge(self, keep_ms: int, server_now_ms: int) -> int:
        """Delete records whose receipt is older than *keep_ms*, by the server's clock alone; returns how many.

        *server_now_ms* is the time in a verified answer of the server: our own clock may be wrong.

        The record at the receipt itself stays until a later one replaces it, and the head always stays. A journal
        above its lower bound keeps nothing that has a receipt.
        """
        with self._locked():
            try:
                if self._soft_bytes and self._used_bytes() >= self._soft_bytes:
                    keep_ms = 0
                self._db.execute("BEGIN IMMEDIATE")
                through = self._db.execute(
                    "SELECT coalesce(max(sequence), 0) FROM receipt WHERE at_ms <= ?", (server_now_ms - keep_ms,)
                ).fetchone()[0]
                gone = self._db.execute("DELETE FROM chain WHERE sequence <= ?", (through,)).rowcount
                self._db.execute("DELETE FROM receipt WHERE sequence < ?", (through,))
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                self._undo()
                raise _explain(error, self.path) from error
        return int(gone)

    def counts(self, day: str) -> dict[str, int]:
        """The counters of *day* by name; who is inside is not among them."""
        with self._locked():
            counts = self._counted(day)
        counts.pop(INSIDE, None)
        return counts

    def inside(self, venue_day: str) -> int:
        """How many people came in through here on *venue_day*, less those who left; negative for a way out."""
        with self._locked():
            return self._counted(venue_day).get(INSIDE, 0)

    def _counted(self, day: str) -> dict[str, int]:
        """What was counted on *day*: what the table has, and what came since."""
        if day not in self._moved:  # asked for several times a second; the table changes with the days
            self._moved[day] = dict(self._db.execute("SELECT name, n FROM counter WHERE day = ?", (day,)))
        counts = dict(self._moved[day])
        for name, by in self._tallies.of(day).items():
            counts[name] = counts.get(name, 0) + by
        return counts

    def last_inside_day(self) -> str:
        """The newest day of the venue on which anybody was counted; "" when nobody was."""
        with self._locked():
            row = self._db.execute("SELECT max(day) FROM counter WHERE name = ?", (INSIDE,)).fetchone()
            return max(row[0] or "", self._tallies.last_day_of(INSIDE))

    def last_stamp_ms(self) -> int | None:
        """Wall time of the newest record still held, so that a clock behind it is noticed; None when there is none."""
        with self._locked():
            row = self._db.execute("SELECT max(at_ms) FROM record").fetchone()
        return row[0] if row else None


def quarantined_since(db: sqlite3.Connection, sequence: int) -> int | None:
    """Since when the server keeps a record apart, by its clock; None in a journal of an older program, which told not.

    *db* is any connection to a journal, also one that may only read.
    """
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'quarantined_since'").fetchone() is None:
        return None
    row = db.execute("SELECT at_ms FROM quarantined_since WHERE sequence = ?", (sequence,)).fetchone()
    return None if row is None else int(row[0])


def journal_bytes(path: Path) -> int:
    """What the journal at *path* takes on disk, its write-ahead log included; 0 before there is one."""
    size = 0
    for name in (path, path.with_name(path.name + "-wal")):
        try:
            size += name.stat().st_size
        except OSError:
            continue
    return size


def _take_alone(path: Path) -> int:
    """Lock the journal for this process, since two kiosks on one folder would fork the chain; returns a descriptor."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise JournalError(
            f"{path.parent} cannot be written: {error.strerror}.",
            hint="Check that the folder exists, belongs to the kiosk's user and is not mounted read-only.",
            code="read_only",
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise JournalError(
            f"{path} is in use by another process.",
            hint="Is a second kiosk running on this folder? Stop it.",
            code="busy",
        ) from error
    return lock


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("PRAGMA secure_delete=ON")
    db.execute("PRAGMA foreign_keys=ON")
    return db


def _make_room(path: Path) -> None:
    """Let the write-ahead log take all the room it will ever need, before anybody waits at the door.

    A commit into blocks that the file already has writes its page and nothing else; one that makes the file longer
    costs the disk a second write, for the file's length. SQLite's log gets there by itself with its first thousand
    pages; zeros behind its end get it there at once, and are no frames to SQLite, whose checksums they do not have
    (file format, section 4.1). All of it or nothing: where there is no room, none is taken.
    """
    try:
        with path.with_name(path.name + "-wal").open("r+b", buffering=0) as file:
            size = at = file.seek(0, os.SEEK_END)
            try:
                while at < LOG_BYTES:
                    at += os.write(file.fileno(), bytes(LOG_BYTES - at))
                os.fsync(file.fileno())
            except OSError:
                os.ftruncate(file.fileno(), size)
                raise
    except OSError as error:
        log.warning("no room for the log: %s", error.strerror)


def _explain(error: sqlite3.Error, path: Path) -> JournalError:
    """Turn SQLite's words into ours: what was found and what to do."""
    text = str(error)
    if "full" in text:
        return JournalError(
            f"The disk that holds {path} is full.",
            hint="Free space; the entrance records again by itself.",
            code="disk_full",
        )
    if "readonly" in text or "unable to open" in text or "read-only" in text:
        return JournalError(
            f"{path} cannot be written ({text}).",
            hint="Check that the folder exists, belongs to the kiosk's user and is not mounted read-only.",
            code="read_only",
        )
    if "locked" in text or "busy" in text:
        return JournalError(
            f"{path} is in use by another process.",
            hint="Is a second kiosk running on this folder? Stop it.",
            code="busy",
        )
    return _damaged(path, text)


def _damaged(path: Path, found: str) -> JournalError:
    return JournalError(
        f"{path} is damaged ({found}).",
        hint="Keep the file, start with a new folder, and import the old one on the server.",
        code="damaged",
    )
