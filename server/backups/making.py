"""Makes a backup and does not believe it: reads it back from the disk, restores it aside, and looks.

A file is `age` (age-encryption.org/v1) over a tar of the database's copy and the key store, for the recipients of
`[backup]` in the settings; their identities are kept away from this machine. To be able to restore what it just
wrote, each run adds one recipient of its own, whose identity lives in memory until the check is done and nowhere else.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pyrage
from sqlalchemy import URL, Engine, MetaData, func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from config import files
from config.errors import GatehouseError
from config.server import ServerSettings
from server import audit
from server.backups.copying import BackupError, copy_database, place_copy, restored
from server.backups.models import Backup
from server.backups.workflow import raise_case
from server.context import House
from server.db import Database
from server.ingest.models import Journal
from server.ingest.verifying import first_break
from server.migrations import check_current

KEYS_FOLDER = "keys"
JOURNALS_CHECKED = 50  # the ones that changed last; `gatehouse backup check` looks at all
CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Found:
    """What restoring a backup showed."""

    rows: int
    journals: int  # whose chain was followed from end to end
    trouble: str = ""  # empty: whole


def recipient(said: str) -> pyrage.x25519.Recipient:
    """Read a recipient (`age1...`); raises BackupError `key`."""
    try:
        return pyrage.x25519.Recipient.from_str(said)
    except pyrage.RecipientError as error:
        raise BackupError(
            f"{said[:16]}... is no recipient.", hint="Make a pair with: gatehouse backup keygen", code="key"
        ) from error


def identity(said: str) -> pyrage.x25519.Identity:
    """Read an identity (`AGE-SECRET-KEY-1...`) among the lines of a key file; raises BackupError `key`."""
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.startswith("#")]
    try:
        return pyrage.x25519.Identity.from_str(lines[0] if lines else "")
    except pyrage.IdentityError as error:
        raise BackupError("The file holds no identity of a backup.", code="key") from error


def make_backup(house: House, *, journals: int = JOURNALS_CHECKED) -> Backup:
    """Make one backup and restore it aside; returns its row, noted also when it failed.

    The steps: (1) copy, (2) encrypt to the folder, (3) read the bytes back and restore them, (4) note, and raise a
    case when it failed, (5) drop the oldest while newer whole ones stand.
    Raises BackupError `off` when the settings name nobody to encrypt to.
    """
    settings = house.settings.backup
    if not settings.recipients:
        raise BackupError(
            "Backups are off: [backup] names no recipients.",
            hint="Make a pair with: gatehouse backup keygen; put its public half there.",
            code="off",
        )
    readers = [recipient(said) for said in settings.recipients]
    own = pyrage.x25519.Identity.generate()
    folder = house.settings.backup_dir
    now = house.now()
    target = _free_name(folder, now)
    row = Backup(made_at=now, file=target.name, size_bytes=0, digest=b"", rows=0, outcome="")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        row.digest = _write(house, target, [*readers, own.to_public()])  # (1) (2)
        row.size_bytes = target.stat().st_size
        found = check_file(target, own, house.database.engine.url, journals=journals)  # (3)
        row.rows, row.outcome, row.checked_at = found.rows, found.trouble[:200], now
    except (GatehouseError, SQLAlchemyError, OSError) as error:
        told = error.message if isinstance(error, GatehouseError) else type(error).__name__
        row.outcome = f"{getattr(error, 'code', None) or 'fault'}: {told}"[:200]
    note(house, row)  # (4)
    _drop_old(house, folder, settings.keep)  # (5)
    return row


def back_up_if_due(house: House) -> str:
    """What the worker asks for: a backup when `every_hours` have passed since the last try; returns what was done.

    Raises BackupError when the backup is not whole, so that the worker's own table says so as well as the case.
    """
    if not house.settings.backup.recipients:
        return "off: no recipients"
    with house.database.reading() as reading:
        newest = reading.scalars(select(Backup.made_at).order_by(Backup.made_at.desc()).limit(1)).first()
    if newest is not None and newest <= house.now() < newest + timedelta(hours=house.settings.backup.every_hours):
        return "not due"
    row = make_backup(house)
    if row.outcome:
        raise BackupError(row.outcome, code="not_whole")
    return f"made bytes={row.size_bytes} rows={row.rows}"


def note(house: House, row: Backup) -> None:
    """Put *row* into the table; a backup that failed raises a case for technical support."""
    with house.database.writing() as writing:
        writing.add(row)
        writing.flush()
        what = "backup.made" if not row.outcome else "backup.failed"
        audit.audit(
            writing, what, audit.Thing("backup", row.id), row.outcome or row.file, actor=audit.SYSTEM, at=row.made_at
        )
        if row.outcome:
            raise_case(writing, row, house.now())


def _free_name(folder: Path, now: datetime) -> Path:
    stem = f"gatehouse-{now:%Y%m%dT%H%M%SZ}"
    names = (f"{stem}{tail}.tar.age" for tail in ("", *(f"-{n}" for n in range(2, 1000))))
    return next(folder / name for name in names if not (folder / name).exists())


def _write(house: House, target: Path, readers: list[pyrage.x25519.Recipient]) -> bytes:
    """Write the encrypted file whole and synced, or not at all; returns its SHA-256."""
    with tempfile.TemporaryDirectory(prefix="backup-", dir=house.settings.data_dir) as room:
        copy = copy_database(house.database.engine, Path(room))
        plain = Path(room) / "plain.tar"
        with tarfile.open(plain, "w") as tar:
            tar.add(copy, arcname=copy.name)
            tar.add(house.settings.key_dir, arcname=KEYS_FOLDER)
        copy.unlink()
        fresh = target.with_suffix(".new")
        try:
            with plain.open("rb") as source, fresh.open("xb") as sink:
                os.fchmod(sink.fileno(), 0o600)
                pyrage.encrypt_io(source, sink, readers)
                sink.flush()
                os.fsync(sink.fileno())
            os.replace(fresh, target)
        finally:
            fresh.unlink(missing_ok=True)
    descriptor = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return digest_of(target)


def digest_of(file: Path) -> bytes:
    """SHA-256 of *file*, read in pieces."""
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").digest()


def unpack(file: Path, key: pyrage.x25519.Identity, into: Path) -> None:
    """Decrypt *file* into the folder *into*; raises BackupError `damaged` or `key`."""
    plain = into / "plain.tar"
    try:
        with file.open("rb") as source, plain.open("wb") as sink:
            pyrage.decrypt_io(source, sink, [key])
        with tarfile.open(plain) as tar:
            files.unpack(tar, into)
    except pyrage.DecryptError as error:
        if "No matching keys" in str(error):
            raise BackupError(f"{file.name} was not made for this identity.", code="key") from error
        raise BackupError(f"{file.name} is damaged: it does not decrypt to its end.", code="damaged") from error
    except (tarfile.TarError, OSError) as error:
        raise BackupError(f"{file.name} is damaged: {type(error).__name__}.", code="damaged") from error
    finally:
        plain.unlink(missing_ok=True)


def check_file(file: Path, key: pyrage.x25519.Identity, like: URL, *, journals: int | None = None) -> Found:
    """Restore *file* aside and look at what came out; nothing of it stays. *journals*: how many chains; None: all."""
    with tempfile.TemporaryDirectory(prefix="backup-check-", dir=file.parent) as room:
        unpack(file, key, Path(room))
        if not (Path(room) / KEYS_FOLDER / "server-identity.pem").exists():
            return Found(0, 0, "damaged: the key store is not in it")
        with restored(Path(room), like) as engine:
            return look_at(engine, journals=journals)


def look_at(engine: Engine, *, journals: int | None) -> Found:
    """Whether a database is whole: its pages, its version, its audit trail, its journals' chains."""
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            said = connection.execute(text("PRAGMA integrity_check")).scalar_one()
        if said != "ok":
            return Found(0, 0, "damaged: SQLite's integrity check failed")
    try:
        check_current(engine)
    except GatehouseError as error:
        return Found(0, 0, f"schema: {error.message}")
    rows = _count_rows(engine)
    with Session(engine) as reading:
        broken = audit.first_break(reading)
        if broken is not None:
            return Found(rows, 0, f"audit: the trail breaks at line {broken}")
        newest = select(Journal.kiosk_id).order_by(Journal.changed_at.desc(), Journal.kiosk_id).limit(journals)
        kiosks = reading.scalars(newest).all()
        for kiosk in kiosks:
            at = first_break(reading, kiosk)
            if at is not None:
                return Found(rows, 0, f"journal: kiosk {kiosk.hex()} breaks at record {at}")
    return Found(rows, len(kiosks))


def _count_rows(engine: Engine) -> int:
    tables = MetaData()
    tables.reflect(engine)
    with engine.connect() as connection:
        return sum(connection.execute(select(func.count()).select_from(t)).scalar_one() for t in tables.sorted_tables)


def restore(file: Path, key: pyrage.x25519.Identity, settings: ServerSettings) -> Found:
    """Put a backup where *settings* point, and look at what stands there then. Overwrites nothing.

    Raises BackupError `exists` when a database or keys are there already.
    """
    keys = settings.key_dir
    if keys.exists():
        raise BackupError(f"{keys} exists.", hint="Move it away first; nothing was overwritten.", code="exists")
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="restore-", dir=settings.data_dir) as room:
        unpack(file, key, Path(room))
        place_copy(Path(room), settings.database)
        os.replace(Path(room) / KEYS_FOLDER, keys)
    database = Database(settings.database)
    try:
        return look_at(database.engine, journals=None)
    finally:
        database.engine.dispose()


def _drop_old(house: House, folder: Path, keep: int) -> None:
    """Delete files beyond the newest *keep* whole ones; a failed one goes when a whole one is newer."""
    with house.database.writing() as writing:
        rows = writing.scalars(
            select(Backup).where(Backup.removed_at.is_(None)).order_by(Backup.made_at.desc(), Backup.id)
        ).all()
        whole = 0
        for row in rows:
            whole += not row.outcome
            if whole > keep or (row.outcome and whole > 0):
                (folder / row.file).unlink(missing_ok=True)
                row.removed_at = house.now()


def reread(house: House) -> Iterable[str]:
    """Read every file that should lie in the folder and compare it with what was written; yields what does not fit.

    A disk that rots shows here, without the identity. Each finding becomes the row's outcome, and a case.
    """
    folder = house.settings.backup_dir
    with house.database.reading() as reading:
        rows = reading.scalars(select(Backup).where(Backup.removed_at.is_(None), Backup.outcome == "")).all()
    for row in rows:
        file = folder / row.file
        trouble = "damaged: the file is gone" if not file.exists() else ""
        if not trouble and digest_of(file) != row.digest:
            trouble = "damaged: its bytes are not the ones that were written"
        with house.database.writing() as writing:
            held = writing.get_one(Backup, row.id)
            held.checked_at = house.now()
            held.outcome = trouble
            if trouble:
                raise_case(writing, held, house.now())
        if trouble:
            yield f"{row.file} {trouble}"
