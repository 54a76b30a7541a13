"""Takes a journal that was carried here by hand (protocol/carried.py) through the very same door as the exchange."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from config.errors import GatehouseError
from protocol.carried import (
    END,
    LENGTH_BYTES,
    MAGIC,
    MAX_CLOSING_BYTES,
    MAX_UPLOADS,
    MOST_QUARANTINED,
    CarriedReceipt,
    Closing,
)
from protocol.errors import ProtocolError
from protocol.exchange import MAX_UPLOAD_BYTES, Receipt, Upload
from server.audit import Thing, audit
from server.context import House
from server.ingest.appending import Result
from server.ingest.devices import find_device, require_active, to_ms
from server.ingest.exchange import take
from server.ingest.prepared import prepare
from server.ingest.refusals import Refused


class ImportRefused(GatehouseError):
    """Nothing was taken from a file, or no more than its receipt says. Codes: those of `protocol`, and not_a_journal,
    incomplete, changed, other_kiosk, unknown_kiosk, suspended, retired, lost."""

    code = "import"


@dataclass(slots=True)
class Imported:
    """What one file brought."""

    kiosk: bytes
    file_id: bytes
    after_sequence: int  # the file's records begin after this one
    last_sequence: int
    records: int = 0  # looked at
    stored: int = 0  # new to us
    held: int = 0  # the journal is held up to here
    head: bytes = b""
    result: Result = Result.OK
    quarantined: list[tuple[int, str]] = field(default_factory=list)


def import_journal(house: House, path: Path) -> tuple[Imported, bytes]:
    """Append the records of the file at *path*; returns what it brought and the signed receipt for the way back.

    The steps: (1) whose is it, (2) the closing signature holds for the whole file, (3) may this kiosk exchange,
    (4) each upload in a transaction of its own, as from the network, until one does not fit, (5) one line on the audit
    trail, (6) sign - only after the commits. Repeating a file changes nothing. Raises ImportRefused.
    """
    try:
        with path.open("rb") as file:
            digest, uploads, signed_closing = _survey(file)
            kiosk = Closing.claimed_kiosk(signed_closing)  # (1)
            with house.database.reading() as reading:
                device = find_device(reading, kiosk)
            closing = Closing.from_signed(signed_closing, device.key)  # (2)
            if (closing.digest, closing.uploads) != (digest, uploads):
                raise ImportRefused(
                    f"{path} is not as the kiosk signed it: a byte was changed or a part is missing.",
                    hint="Copy it from the stick again, or export it again on the kiosk. Nothing was taken.",
                    code="changed",
                )
            require_active(device.state)  # (3)
            done = Imported(kiosk, closing.file_id, closing.after_sequence, closing.last_sequence)
            file.seek(len(MAGIC))
            for body in _uploads(file):  # (4)
                _take(house, body, device.key, device.venue_id, done)
                if done.result is not Result.OK:
                    break
    except OSError as error:
        raise ImportRefused(f"{path} cannot be read: {error.strerror}.", hint="Is the stick in?") from error
    except ProtocolError as error:
        raise ImportRefused(
            f"{path}: {error.message}.", hint="Export it again on the kiosk; keep this file if that fails too."
        ) from error
    except Refused as refusal:
        raise ImportRefused(
            refusal.sentence, hint=f"The file is of kiosk {kiosk.hex()}.", code=refusal.reason
        ) from None
    now = house.now()
    with house.database.writing() as writing:  # (5)
        audit(
            writing,
            "journal.imported",
            Thing("kiosk", done.kiosk.hex()),
            f"{done.result.value}: {done.records} records, {done.stored} new, held up to {done.held}",
            at=now,
        )
    identity = house.keys.server_identity()  # (6)
    receipt = Receipt(done.kiosk, done.held, done.head, to_ms(now)).to_signed(identity)
    carried = CarriedReceipt(
        done.kiosk,
        done.file_id,
        to_ms(now),
        done.result.value,
        receipt,
        tuple(done.quarantined[:MOST_QUARANTINED]),
    )
    return done, carried.to_signed(identity)


def _take(house: House, body: bytes, key: Ed25519PublicKey, venue: bytes, done: Imported) -> None:
    upload = Upload.from_bytes(body, key)
    prepared = prepare(upload, venue)
    with house.database.writing(beside=True) as writing:
        appended = take(writing, upload, prepared, house.now(), as_sent=body, was_carried=True).appended
    done.records += len(upload.records)
    done.stored += appended.new_records
    done.held, done.head, done.result = appended.sequence, appended.head, appended.result
    done.quarantined += appended.quarantined


def _survey(file: BinaryIO) -> tuple[bytes, int, bytes]:
    """Walk the file once without keeping it: digest before the closing, number of uploads, the closing."""
    digest = hashlib.sha256()
    if file.read(len(MAGIC)) != MAGIC:
        raise ImportRefused(
            "This is not a journal file.",
            hint="Expected what gatehouse kiosk journal export wrote.",
            code="not_a_journal",
        )
    digest.update(MAGIC)
    uploads = 0
    for body in _uploads(file):
        uploads += 1
        digest.update(len(body).to_bytes(LENGTH_BYTES, "big") + body)
        if uploads > MAX_UPLOADS:
            raise ProtocolError(f"journal file: more than {MAX_UPLOADS} uploads", code="too_large")
    digest.update(END)
    closing = file.read(MAX_CLOSING_BYTES + 1)
    if not 0 < len(closing) <= MAX_CLOSING_BYTES:
        raise _incomplete() if not closing else ProtocolError("journal file: more follows its end", code="too_large")
    return digest.digest(), uploads, closing


def _uploads(file: BinaryIO) -> Iterator[bytes]:
    """The uploads from where the file stands to its end mark; one in memory at a time."""
    while True:
        prefix = file.read(LENGTH_BYTES)
        if prefix == END:
            return
        length = int.from_bytes(prefix, "big")
        if len(prefix) < LENGTH_BYTES:
            raise _incomplete()
        if length > MAX_UPLOAD_BYTES:
            raise ProtocolError(
                f"journal file: an upload of {length} bytes, limit {MAX_UPLOAD_BYTES}", code="too_large"
            )
        body = file.read(length)
        if len(body) < length:
            raise _incomplete()
        yield body


def _incomplete() -> ImportRefused:
    return ImportRefused(
        "The journal file is cut short.",
        hint="Was the stick pulled out early? Copy it again, or export it again on the kiosk. Nothing was taken.",
        code="incomplete",
    )
