"""The addresses where kiosks enrol and exchange."""

from __future__ import annotations

import hashlib
import logging
from datetime import datetime, timedelta

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection
from sqlalchemy.orm import Session
from werkzeug.exceptions import RequestEntityTooLarge

from protocol.enrolment import ENROL_PATH, EnrolRequest
from protocol.errors import ProtocolError
from protocol.exchange import CONTENT_TYPE, COPIED, EXCHANGE_PATH, MAX_UPLOAD_BYTES, TAKES, Answer, Receipt, Upload
from server.bundles.manifests import bundle_version
from server.bundles.parts import vault_keys
from server.bundles.publishing import publish_for_kiosk
from server.context import house
from server.db import looking, session
from server.ingest.aside import aside_command
from server.ingest.devices import Device, find_device, find_quiet_device, require_active, to_ms
from server.ingest.enrolment import enrol
from server.ingest.exchange import take
from server.ingest.inside import inside_command
from server.ingest.pace import Pace
from server.ingest.prepared import Prepared, prepare
from server.ingest.refusals import CBOR_TYPE, Refused, refused_bytes
from server.ingest.throttle import Throttle
from server.vault_keys import VaultKeysError
from server.web.access import machines

log = logging.getLogger("gatehouse.ingest")
blueprint = Blueprint("ingest", __name__)

MAX_ENROL_BYTES = 4096
enrol_throttle = Throttle("enrol", 20, timedelta(minutes=1))  # an address that tries codes; a token has 128 bits
exchange_pace = Pace()  # and a kiosk that succeeds without end
exchange_throttle = Throttle("exchange", 60, timedelta(minutes=1))  # an address that fails to be one kiosk


@blueprint.post(EXCHANGE_PATH)
@machines("an upload signed by the kiosk's device key", max_bytes=MAX_UPLOAD_BYTES)
def exchange() -> ResponseReturnValue:
    """Take a kiosk's records and answer with a signed receipt for what is committed. The steps:

    (1) read the body within its limit, (2) whose is it, (3) its signature and shape, (4) may this kiosk exchange,
    (5) chain and read the records, (6) append in one transaction, (7) sign - only after the commit.
    """
    now = house().now()
    body = _body()  # (1)
    if request.mimetype != CONTENT_TYPE:
        raise Refused(415, "wrong_type", f"An exchange has the content type {CONTENT_TYPE}.")
    with house().database.beside() as connection:
        device, upload = _verified(connection, body)  # (2) (3)
        require_active(device.state)  # (4)
        exchange_pace.count(device.kiosk_id)
        prepared = _prepared(upload, device.venue_id)  # (5)
        with connection.begin(), Session(connection, expire_on_commit=False) as writing:  # (6)
            done = take(writing, upload, prepared, now, as_sent=body)
            version = bundle_version(writing, device.kiosk_id, device.venue_id)
            others = (*inside_command(writing, device, upload), *aside_command(writing, upload))
            writing.flush()
    appended = done.appended
    identity = house().keys.server_identity()  # (7)
    receipt = Receipt(upload.kiosk, appended.sequence, appended.head, to_ms(now)).to_signed(identity)
    answer = Answer(
        exchange=upload.exchange,
        upload_digest=hashlib.sha256(body).digest(),
        at_ms=to_ms(now),
        result=appended.result.value,
        receipt=receipt,
        want=appended.sequence + 1,
        quarantined=appended.quarantined,
        bundle_version=version,
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
    return Response(answer.to_signed(identity), content_type=CONTENT_TYPE)


@blueprint.post(ENROL_PATH)
@machines("a one-time enrolment code and the device's own key", max_bytes=MAX_ENROL_BYTES)
def enrol_kiosk() -> ResponseReturnValue:
    """Make a kiosk of the device that proves it saw an enrolment code."""
    now, source = house().now(), request.remote_addr
    enrol_throttle.check(source, now)
    body = _body()
    try:
        asked = EnrolRequest.from_body(body)
    except ProtocolError as error:
        enrol_throttle.note_failure(source, now)
        raise refused_bytes(error) from error
    try:
        keys = vault_keys(house())
    except VaultKeysError as error:
        log.error("enrolment refused: %s", error.message)
        raise Refused(503, "no_vault_keys", "This server has no vault keys yet. Tell its administrator.") from error
    try:
        with session().begin():
            answer = enrol(session(), asked, body, keys, now)
            publish_for_kiosk(session(), house(), answer.kiosk, answer.venue, now)
    except Refused as refusal:
        enrol_throttle.note_failure(source, now)
        log.info("enrolment refused code=%s", refusal.reason)
        raise
    log.info("enrolled kiosk=%s", answer.kiosk.hex())
    return Response(answer.to_signed(house().keys.server_identity()), content_type=CBOR_TYPE)


def _body() -> bytes:
    try:
        return request.get_data(cache=False)
    except RequestEntityTooLarge as error:
        limit = request.max_content_length or MAX_UPLOAD_BYTES
        raise Refused(413, "too_large", f"More than {limit} bytes. Send a smaller batch.") from error


def _verified(connection: Connection, body: bytes) -> tuple[Device, Upload]:
    """Whose upload it is, and the upload; *connection* has no transaction, before and after."""
    now = house().now()
    try:
        claimed = Upload.claimed_kiosk(body)
        source = request.remote_addr
        with looking(connection):
            counted_as = exchange_throttle.key_of(source, claimed.hex())
            found: Device | Refused | None = find_quiet_device(connection, claimed, counted_as)
        if found is None:
            found = _device_or_refusal(source, claimed, now)
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


def _device_or_refusal(source: str | None, claimed: bytes, now: datetime) -> Device | Refused:
    """The device, or that there is none; raises Refused (429) when this source has failed too often as this kiosk."""
    with house().database.reading() as reading:
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
