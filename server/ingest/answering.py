"""Answers one upload of a kiosk: a signed receipt for what is committed, or a refusal.

It knows nothing of how the upload came in, so that the kiosks' own door (door.py) and the route beside all others
(views.py) cannot differ in what they do.
"""

from __future__ import annotations

import hashlib
import logging
from datetime import datetime, timedelta

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from protocol.errors import ProtocolError
from protocol.exchange import COPIED, TAKES, Answer, Receipt, Upload
from server.context import House
from server.ingest.aside import aside_command
from server.ingest.devices import Device, find_device, find_quiet_device, require_active, to_ms
from server.ingest.exchange import take
from server.ingest.inside import inside_command
from server.ingest.pace import Pace
from server.ingest.prepared import Prepared, prepare
from server.ingest.refusals import Refused, refused_bytes
from server.ingest.throttle import Throttle

log = logging.getLogger("gatehouse.ingest")

exchange_pace = Pace()  # a kiosk that succeeds without end
exchange_throttle = Throttle("exchange", 60, timedelta(minutes=1))  # an address that fails to be one kiosk


def answer(house: House, body: bytes, source: str | None) -> bytes:
    """Take the upload *body* that came from the address *source*; the signed answer. Raises Refused. The steps:

    (1) whose is it, (2) its signature and shape, (3) may this kiosk exchange, (4) chain and read the records,
    (5) append in one transaction, (6) sign - only after the commit.
    """
    with house.database.few():
        return _answer(house, body, source)


def _answer(house: House, body: bytes, source: str | None) -> bytes:
    now = house.now()
    with house.database.beside() as connection:
        device, upload = _verified(house, connection, body, source, now)  # (1) (2)
        require_active(device.state)  # (3)
        exchange_pace.count(device.kiosk_id)
        prepared = _prepared(upload, device.venue_id)  # (4)
        with connection.begin(), Session(connection, expire_on_commit=False) as writing:  # (5)
            done = take(writing, upload, prepared, now, as_sent=body)
            others = (*inside_command(writing, device, upload), *aside_command(writing, upload))
            writing.flush()
    appended = done.appended
    identity = house.keys.server_identity()  # (6)
    receipt = Receipt(upload.kiosk, appended.sequence, appended.head, to_ms(now)).to_signed(identity)
    told = Answer(
        exchange=upload.exchange,
        upload_digest=hashlib.sha256(body).digest(),
        at_ms=to_ms(now),
        result=appended.result.value,
        receipt=receipt,
        want=appended.sequence + 1,
        quarantined=appended.quarantined,
        bundle_version=done.bundle_version,
        commands=(TAKES.command(), *((COPIED,) if done.is_copied else ()), *others),
    )
    log.info(
        "exchange kiosk=%s sent=%d stored=%d held=%d result=%s quarantined=%d",
        upload.kiosk.hex(),
        len(upload.records),
        appended.new_records,
        appended.sequence,
        appended.result.value,
        len(appended.quarantined),
    )
    return told.to_signed(identity)


def _verified(
    house: House, connection: Connection, body: bytes, source: str | None, now: datetime
) -> tuple[Device, Upload]:
    """Whose upload it is, and the upload; *connection* has no transaction, before and after."""
    try:
        claimed = Upload.claimed_kiosk(body)
        counted_as = exchange_throttle.key_of(source, claimed.hex())
        found: Device | Refused | None = find_quiet_device(connection, claimed, counted_as)
        if found is None:
            found = _device_or_refusal(house, source, claimed, now)
        try:
            if isinstance(found, Refused):
                raise found
            return found, Upload.from_bytes(body, found.key)
        except (Refused, ProtocolError):
            exchange_throttle.note_failure(source, now, claimed.hex())
            raise
    except ProtocolError as error:
        log.info("exchange refused code=%s bytes=%d", error.code, len(body))
        raise refused_bytes(error) from error


def _device_or_refusal(house: House, source: str | None, claimed: bytes, now: datetime) -> Device | Refused:
    """The device, or that there is none; raises Refused (429) when this source has failed too often as this kiosk."""
    with house.database.reading() as reading:
        exchange_throttle.check(source, now, claimed.hex(), reading=reading)
        try:
            return find_device(reading, claimed)
        except Refused as refusal:
            return refusal


def _prepared(upload: Upload, venue: bytes) -> tuple[Prepared, ...]:
    try:
        return prepare(upload, venue)
    except ProtocolError as error:
        raise refused_bytes(error) from error
