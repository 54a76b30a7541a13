"""Carries the journal by hand where there is no network: writes it to a file, and takes the server's receipt back."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from config.errors import GatehouseError
from config.files import sync_folder
from kiosk.clock import KioskClock
from kiosk.enrol import Identity, app_version, load_identity
from kiosk.store import Journal, JournalError
from protocol.carried import (
    END,
    LENGTH_BYTES,
    MAGIC,
    MAX_CLOSING_BYTES,
    MAX_RECEIPT_BYTES,
    CarriedReceipt,
    Closing,
    framed,
)
from protocol.errors import ProtocolError
from protocol.exchange import MAX_RECORDS, Receipt, Upload

BATCH_BYTES = 2 * 1024 * 1024  # of records in one upload; well below the server's limit


class CarryError(GatehouseError):
    """The journal was not carried.

    Codes: not_enrolled, nothing, exists, disk, bad_receipt, bad_file, other_kiosk, no_start.
    """

    code = "carry"


@dataclass(frozen=True, slots=True)
class Exported:
    """What `export_journal` wrote."""

    records: int
    first: int
    last: int
    uploads: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a receipt file changed."""

    result: str
    through: int  # the server holds the journal up to here
    newly_held: int
    quarantined: int
    purged: int
    unsent: int


@contextlib.contextmanager
def stopped_journal(data_dir: Path) -> Iterator[tuple[Identity, Journal]]:
    """The identity and journal of a kiosk that is not running; raises CarryError or JournalError with what to do."""
    identity = load_identity(data_dir)
    if identity is None:
        raise CarryError(
            f"{data_dir} is not the folder of an enrolled kiosk.",
            hint="Give the kiosk's data folder (data_dir in its settings).",
            code="not_enrolled",
        )
    try:
        journal = Journal(data_dir / "journal.db", identity.enrolment.kiosk, identity.vault.seal[0].load())
    except JournalError as error:
        if error.code == "busy":
            raise JournalError(
                "The kiosk is running: its journal is locked.",
                hint="Stop it first (systemctl stop gatehouse-kiosk), start it again afterwards.",
                code="busy",
            ) from error
        raise
    try:
        yield identity, journal
    finally:
        journal.close()


def export_journal(
    data_dir: Path,
    out: Path,
    *,
    everything: bool = False,
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> Exported:
    """Write what the server does not hold (*everything*: all that is still here) to the new file *out*.

    Changes nothing in the journal. The file is whole or not there. Raises CarryError and JournalError.
    """
    with stopped_journal(data_dir) as (identity, journal):
        start = journal.before_first() if everything else journal.held()
        if start is None:
            raise CarryError(
                "The oldest record here has no receipt before it: the journal was cut.",
                hint="Run gatehouse kiosk journal verify, and keep the card as it is.",
                code="no_start",
            )
        if journal.head()[0] == start[0]:
            raise CarryError(
                f"The server holds everything up to record {start[0]}: there is nothing to carry.",
                hint="With --all the file holds every record that is still here.",
                code="nothing",
            )
        fresh = out.with_name(out.name + ".part")
        try:
            if out.exists():
                raise CarryError(f"{out} is there already.", hint="Give another name with --out.", code="exists")
            exported = _write(fresh, identity, journal, start, random)
            os.replace(fresh, out)
            sync_folder(out.resolve().parent)
        except OSError as error:
            raise CarryError(
                f"{out} cannot be written: {error.strerror}.",
                hint="Is the stick in, not full and not write-protected?",
                code="disk",
            ) from error
        finally:
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
    return exported


def _write(
    path: Path, identity: Identity, journal: Journal, start: tuple[int, bytes], random: Callable[[int], bytes]
) -> Exported:
    clock = KioskClock(journal.last_stamp_ms())
    digest, size, uploads = hashlib.sha256(), 0, 0
    after, after_hash = start
    with path.open("wb") as file:

        def put(data: bytes) -> None:
            nonlocal size
            file.write(data)
            digest.update(data)
            size += len(data)

        put(MAGIC)
        while records := journal.records_after(after, MAX_RECORDS, BATCH_BYTES):
            stamp = clock.stamp()
            upload = Upload(
                kiosk=identity.enrolment.kiosk,
                exchange=random(16),
                sent_at_ms=stamp.at_ms,
                mono_ms=stamp.mono_ms,
                boot=stamp.boot,
                after_sequence=after,
                after_hash=after_hash,
                records=records,
                head_sequence=journal.head()[0],
                oldest_unsent_ms=journal.oldest_unsent_ms(),
                bundle_version=0,
                app_version=app_version(),
            )
            put(framed(upload.to_bytes(identity.key)))
            uploads += 1
            for record in records:
                after, after_hash = record.sequence, record.hash_after(after_hash)
        put(END)
        closing = Closing(
            identity.enrolment.kiosk, random(16), clock.stamp().at_ms, start[0], after, uploads, digest.digest()
        ).to_signed(identity.key)
        file.write(closing)
        file.flush()
        os.fsync(file.fileno())
    return Exported(after - start[0], start[0] + 1, after, uploads, size + len(closing))


def carried_through(file: Path, identity: Identity) -> tuple[int, int]:
    """Which records an exported *file* of this kiosk holds: those after the first number, up to the second.

    The whole file is read: a stick that lost a part of it carries nothing. Raises CarryError `bad_file`.
    """
    try:
        with file.open("rb") as opened:
            closing = _closing_of(opened, identity)
    except OSError as error:
        raise CarryError(
            f"{file} cannot be read: {error.strerror}.", hint="Is the stick in?", code="bad_file"
        ) from error
    except ProtocolError as error:
        raise CarryError(
            f"{file} is not a whole journal file of this kiosk ({error.code}).",
            hint="Export the journal again.",
            code="bad_file",
        ) from error
    return closing.after_sequence, closing.last_sequence


def _closing_of(file: BinaryIO, identity: Identity) -> Closing:
    digest, uploads = hashlib.sha256(), 0

    def take(size: int) -> bytes:
        data = file.read(size)
        if len(data) != size:
            raise ProtocolError("journal file: it ends early", code="cut")
        digest.update(data)
        return data

    if take(len(MAGIC)) != MAGIC:
        raise ProtocolError("journal file: it is none", code="no_file")
    while (length := take(LENGTH_BYTES)) != END:
        if int.from_bytes(length, "big") > 4 * BATCH_BYTES:
            raise ProtocolError("journal file: an upload is too large", code="too_large")
        take(int.from_bytes(length, "big"))
        uploads += 1
    closing = Closing.from_signed(file.read(MAX_CLOSING_BYTES), identity.key.public_key())
    if (closing.uploads, closing.digest) != (uploads, digest.digest()):
        raise ProtocolError("journal file: its content is not the one that was signed", code="wrong_digest")
    return closing


def accept_receipt_file(data_dir: Path, file: Path, *, keep_after_receipt_h: float) -> Accepted:
    """Take the server's receipt from *file* and purge what it, and time by the server's clock, allow. The steps:

    (1) the file is our server's and about this kiosk, (2) so is the receipt inside, (3) it fits our own chain,
    (4) remember what the server keeps apart, (5) purge. Raises CarryError and JournalError (`fork`).
    """
    with stopped_journal(data_dir) as (identity, journal):
        server = identity.enrolment.server
        try:
            with file.open("rb") as opened:
                data = opened.read(MAX_RECEIPT_BYTES + 1)
            carried = CarriedReceipt.from_signed(data, server)  # (1)
            receipt = Receipt.from_signed(carried.receipt, server)  # (2)
        except OSError as error:
            raise CarryError(f"{file} cannot be read: {error.strerror}.", hint="Is the stick in?") from error
        except ProtocolError as error:
            raise CarryError(
                f"{file} is not a receipt of this kiosk's server ({error.code}).",
                hint="Take the file that gatehouse admin import-journal wrote on the server.",
                code="bad_receipt",
            ) from error
        if {carried.kiosk, receipt.kiosk} != {identity.enrolment.kiosk}:
            raise CarryError(
                f"This is the receipt of kiosk {carried.kiosk.hex()}, here is {identity.enrolment.kiosk.hex()}.",
                hint="Take it to the other kiosk, and this kiosk's own receipt here.",
                code="other_kiosk",
            )
        before = journal.held()[0]
        newest = journal.receipt()
        if carried.result == "gap" and receipt.sequence < before and newest and receipt.at_ms > newest.at_ms:
            journal.rewind_to(receipt.sequence)  # the server was restored from a backup and asks for them again
        journal.accept_receipt(receipt, carried.receipt)  # (3)
        if carried.quarantined:
            journal.note_quarantined(carried.quarantined, receipt.at_ms)  # (4)
        purged = journal.purge(int(keep_after_receipt_h * 3_600_000), receipt.at_ms)  # (5)
        held = journal.held()[0]
        return Accepted(
            carried.result, held, max(0, held - before), len(carried.quarantined), purged, journal.unsent_count()
        )
