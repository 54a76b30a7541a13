"""The addresses where kiosks enrol and exchange."""

from __future__ import annotations

import logging
from datetime import timedelta

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import RequestEntityTooLarge

from protocol.enrolment import ENROL_PATH, EnrolRequest
from protocol.errors import ProtocolError
from protocol.exchange import CONTENT_TYPE, EXCHANGE_PATH, MAX_UPLOAD_BYTES
from server.bundles.parts import vault_keys
from server.bundles.publishing import publish_for_kiosk
from server.context import house
from server.db import session
from server.ingest import door
from server.ingest.answering import answer
from server.ingest.enrolment import enrol
from server.ingest.refusals import CBOR_TYPE, Refused, refused_bytes
from server.ingest.throttle import Throttle
from server.vault_keys import VaultKeysError
from server.web.access import machines

log = logging.getLogger("gatehouse.ingest")
blueprint = Blueprint("ingest", __name__)

MAX_ENROL_BYTES = 4096
enrol_throttle = Throttle("enrol", 20, timedelta(minutes=1))  # an address that tries codes; a token has 128 bits


@blueprint.post(EXCHANGE_PATH)
@machines("an upload signed by the kiosk's device key", max_bytes=MAX_UPLOAD_BYTES)
def exchange() -> ResponseReturnValue:
    """Take a kiosk's records and answer with a signed receipt for what is committed.

    A plain upload was taken by the door (door.py) and comes here only when that failed, to be answered.
    """
    if (failure := door.failure_of(request.environ)) is not None:
        raise failure
    body = _body()
    if request.mimetype != CONTENT_TYPE:
        raise Refused(415, "wrong_type", f"An exchange has the content type {CONTENT_TYPE}.")
    return Response(answer(house(), body, request.remote_addr), content_type=CONTENT_TYPE)


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
            made = enrol(session(), asked, body, keys, now)
            publish_for_kiosk(session(), house(), made.kiosk, made.venue, now)
    except Refused as refusal:
        enrol_throttle.note_failure(source, now)
        log.info("enrolment refused code=%s", refusal.reason)
        raise
    log.info("enrolled kiosk=%s", made.kiosk.hex())
    return Response(made.to_signed(house().keys.server_identity()), content_type=CBOR_TYPE)


def _body() -> bytes:
    try:
        return request.get_data(cache=False)
    except RequestEntityTooLarge as error:
        limit = request.max_content_length or MAX_UPLOAD_BYTES
        raise Refused(413, "too_large", f"More than {limit} bytes. Send a smaller batch.") from error
