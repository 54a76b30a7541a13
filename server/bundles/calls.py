"""Who makes a signed GET: the kiosk it names, for this very address, now, and once."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.exc import IntegrityError

from protocol import signed
from protocol.errors import ProtocolError
from protocol.exchange import Call
from server.bundles.models import CallNonce
from server.context import House
from server.ingest.devices import Device, find_device, require_active, to_ms
from server.ingest.refusals import Refused

SCHEME = "Gatehouse "
MAX_HEADER_CHARACTERS = 1024
WINDOW = timedelta(minutes=10)  # either side, by the kiosk's clock as the last exchange measured it
KEEP_NONCES = 3 * WINDOW


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for, as the server saw it."""

    method: str
    path: str
    authorization: str


def caller(house: House, asked: Asked, now: datetime) -> Device:
    """The kiosk that signed this call. Raises Refused.

    The steps: (1) the header's shape, (2) a kiosk we know, (3) its signature, (4) it may talk to us, (5) for this
    address, (6) within the time window, (7) not seen before. A kiosk's clock may be wrong: the window is laid around
    the time its clock should show, by the offset that enrolment or its last exchange measured.
    """
    data = _from_header(asked.authorization)  # (1)
    try:
        kiosk_id = signed.signer_of(data)
        with house.database.reading() as reading:
            device = find_device(reading, kiosk_id)  # (2)
        call = Call.from_signed(data, device.key)  # (3)
    except ProtocolError as error:
        raise Refused(401, "bad_signature", "The call is not signed by a kiosk that this server knows.") from error
    require_active(device.state)  # (4)
    if (call.method, call.path) != (asked.method, asked.path):  # (5)
        raise Refused(401, "other_call", "The signature was made for another address.")
    expected_ms = to_ms(now) + (device.clock_offset_ms or 0)
    if abs(call.at_ms - expected_ms) > WINDOW // timedelta(milliseconds=1):  # (6)
        raise Refused(
            401, "clock", "The kiosk's clock has moved since its last exchange. Exchange first, then ask again."
        )
    try:  # (7)
        with house.database.writing() as writing:
            writing.add(CallNonce(kiosk_id=kiosk_id, nonce=call.nonce, seen_at=now))
    except IntegrityError:
        raise Refused(401, "replayed", "This call was made before. Sign a new one for each.") from None
    return device


def _from_header(header: str) -> bytes:
    if not header.startswith(SCHEME) or len(header) > MAX_HEADER_CHARACTERS:
        raise Refused(401, "no_call", "A kiosk signs this call: Authorization: Gatehouse BASE64URL.")
    text = header[len(SCHEME) :]
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise Refused(401, "no_call", "The signed call is not base64url.") from None
