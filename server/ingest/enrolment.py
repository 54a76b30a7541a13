"""Turns a one-time code and a device's own key into a kiosk, once."""

from __future__ import annotations

import hashlib
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import select
from sqlalchemy.orm import Session

from protocol import signed
from protocol.enrolment import EnrolAnswer, EnrolRequest
from server.audit import Thing, audit
from server.ingest.appending import open_journal
from server.ingest.devices import offset_ms, plain, require_active, to_ms
from server.ingest.refusals import Refused
from server.kiosks.models import EnrolmentCode, Kiosk, KioskState
from server.kiosks.workflow import case_of_kiosk


def enrol(writing: Session, request: EnrolRequest, body: bytes, vault_keys: bytes, now: datetime) -> EnrolAnswer:
    """Make the kiosk that *request* asks for, in the caller's transaction; *body* is the request as it came.

    A device that lost the answer may ask again with the same code. Raises Refused with what is wrong with the code.
    """
    code = writing.scalars(
        select(EnrolmentCode).where(EnrolmentCode.id == request.token_id.hex()).with_for_update()
    ).one_or_none()
    if code is None or not request.proves(code.token_hash):
        raise Refused(
            403, "unknown_code", "This server did not make that code, or it was read wrongly. Make a new one."
        )
    if code.cancelled_at is not None:
        raise Refused(410, "code_cancelled", "This code was cancelled. Make a new one in the console.")
    if now >= code.expires_at:
        raise Refused(
            410, "code_expired", "This code is too old. Make a new one in the console and scan it right away."
        )
    kiosk_id = signed.key_id(Ed25519PublicKey.from_public_bytes(request.device_key))
    kiosk = writing.get(Kiosk, kiosk_id)
    if code.used_at is not None and code.kiosk_id != kiosk_id:
        raise Refused(410, "code_used", "This code was used already, by another device. Make a new one in the console.")
    if kiosk is None:
        kiosk = _new_kiosk(writing, kiosk_id, code, request, now)
    elif code.used_at is None:
        raise Refused(
            409, "already_enrolled", "This device is a kiosk already. Remove its data folder to enrol it anew."
        )
    require_active(KioskState(kiosk.state))
    return EnrolAnswer(
        kiosk=kiosk_id,
        venue=kiosk.venue_id,
        entrance=kiosk.entrance,
        vault_keys=vault_keys,
        at_ms=to_ms(now),
        request_digest=hashlib.sha256(body).digest(),
    )


def _new_kiosk(writing: Session, kiosk_id: bytes, code: EnrolmentCode, request: EnrolRequest, now: datetime) -> Kiosk:
    kiosk = Kiosk(
        id=kiosk_id,
        venue_id=code.venue_id,
        entrance=code.entrance,
        name=code.kiosk_name,
        public_key=request.device_key,
        state=KioskState.ENROLLED.value,
        enrolled_at=now,
        app_version=plain(request.app_version, 40),
        clock_offset_ms=offset_ms(request.sent_at_ms, now),
    )
    writing.add(kiosk)
    writing.flush()
    open_journal(writing, kiosk_id, now)
    code.used_at, code.kiosk_id = now, kiosk_id
    case_of_kiosk(writing, kiosk, now)
    area_path = code.door.venue.area.path
    audit(
        writing,
        "kiosk.enrolled",
        Thing("kiosk", kiosk_id.hex(), area_path),
        f"code {code.id}, hardware {plain(request.hardware, 64)}",
        actor=f"kiosk:{kiosk_id.hex()}",
        at=now,
    )
    return kiosk
