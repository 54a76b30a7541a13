"""Issuing, posting, replacing and revoking venue codes: each one domain step, audited in the same transaction."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from config.errors import GatehouseError
from protocol.credentials import venue_code
from protocol.status_list import VenueSerials
from server.audit import SYSTEM, audit
from server.cases.kernel import CaseError
from server.codes.models import LIVE, LIVE_VALUES, CodeState, PosterPrint, VenueCode
from server.codes.workflow import case_of_code, move_code, thing
from server.context import house
from server.db import lock_chain
from server.keystore import ALG, IssuerUse
from server.venues.models import Entrance


class CodeError(GatehouseError):
    """A step that this code's state does not allow; the message is one of the catalogue."""

    code = "venue_code"


def issue(writing: Session, door: Entrance, *, by: str) -> VenueCode:
    """Sign the next code of *door*. Older ones keep working until this one hangs, so that the door stays open."""
    if door.closed_at is not None:
        raise CodeError("This entrance is closed.")
    now, settings = house().now(), house().settings
    lock_chain(writing, "venue_code")
    serial = (writing.scalar(select(func.max(VenueCode.serial))) or 0) + 1
    here = (VenueCode.venue_id == door.venue_id, VenueCode.entrance == door.number)
    version = (writing.scalar(select(func.max(VenueCode.version)).where(*here)) or 0) + 1
    key = house().keys.issuer_signing_key(IssuerUse.VENUE_CODE, now)
    lifetime = timedelta(days=settings.codes.venue_valid_days)
    issued_at = now.replace(microsecond=0)
    code = VenueCode(
        serial=serial,
        venue_id=door.venue_id,
        entrance=door.number,
        version=version,
        state=CodeState.ISSUED.value,
        token=venue_code.issue_token(
            key=key.private_key,
            alg=ALG,
            kid=key.kid,
            venue_id=door.venue_id,
            entrance=door.number,
            serial=serial,
            issued_at=issued_at,
            lifetime=lifetime,
        ),
        kid=key.kid,
        issued_at=issued_at,
        expires_at=issued_at + lifetime,
        issued_by=by,
    )
    writing.add(code)
    writing.flush()
    writing.refresh(code, ["door"])
    case_of_code(writing, code, opened_by=by)
    audit(writing, "code.issued", thing(code, door), f"version {version}")
    return code


def record_print(writing: Session, code: VenueCode, form: str, *, by: str) -> None:
    """Note that a poster was printed; the first time, the code becomes printed."""
    _require_live(code)
    writing.add(PosterPrint(serial=code.serial, at=house().now(), by=by, form=form))
    if code.kind is CodeState.ISSUED:
        _move(writing, code, "print", form)
    audit(writing, "code.printed", thing(code, code.door), form)


def record_posting(writing: Session, code: VenueCode, note: str) -> int:
    """Note that the poster hangs: it is in use if a responsible person is named (V-30), and older versions are over.

    Returns how many older codes of this entrance were replaced.
    """
    _require_live(code)
    if code.kind is CodeState.ISSUED:
        raise CodeError("Print the poster first.")
    now = house().now()
    code.posted_at, code.posted_note = now, note
    if code.kind is CodeState.REPOSTING:
        _move(writing, code, "repost", note)  # which the audit trail is told there
    else:
        if code.kind is CodeState.PRINTED:
            _move(writing, code, "post", note)
            if code.door.venue.keeper_name:
                _move(writing, code, "activate", by=SYSTEM)
        audit(writing, "code.posted", thing(code, code.door), note)
    older = writing.scalars(
        select(VenueCode).where(
            VenueCode.venue_id == code.venue_id,
            VenueCode.entrance == code.entrance,
            VenueCode.version < code.version,
            VenueCode.state.in_((*LIVE_VALUES, CodeState.SUSPENDED.value)),
        )
    ).all()
    for old in older:
        step = "renew" if old.kind is CodeState.RENEWAL_DUE else "supersede"
        _move(writing, old, step, f"replaced by version {code.version}", by=SYSTEM)
        audit(writing, "code.superseded", thing(old, code.door), old.end_reason)
    return len(older)


def revoke(writing: Session, code: VenueCode, reason: str) -> None:
    """End a code for good; kiosks learn it from the next status list and refuse it from then on (V-44)."""
    if code.kind is not CodeState.SUSPENDED:
        _require_live(code)
    _move(writing, code, "revoke", reason)
    audit(writing, "code.revoked", thing(code, code.door), reason)


def suspend_by_order(writing: Session, venue_id: bytes, reason: str) -> int:
    """Suspend every live code of a venue whose rectification order is overdue (V-40); returns how many."""
    codes = writing.scalars(
        select(VenueCode).where(VenueCode.venue_id == venue_id, VenueCode.state.in_(LIVE_VALUES))
    ).all()
    for code in codes:
        _move(writing, code, "suspend_by_order", reason, by=SYSTEM)
    return len(codes)


def keeper_named(writing: Session, venue_id: bytes) -> None:
    """A responsible person was named: posters that hang come into use."""
    for code in writing.scalars(
        select(VenueCode).where(VenueCode.venue_id == venue_id, VenueCode.state == CodeState.POSTED.value)
    ):
        _move(writing, code, "activate", by=SYSTEM)
        audit(writing, "code.activated", thing(code, code.door))


def venue_serials(reading: Session, *, at: datetime, valid_for: timedelta) -> VenueSerials:
    """The status list of venue codes for kiosks: every serial that was ended before its time; not signed yet."""
    ended = reading.scalars(
        select(VenueCode.serial).where(VenueCode.state.not_in(LIVE_VALUES), VenueCode.expires_at > at)
    )
    return VenueSerials(frozenset(ended), {}, at, at + valid_for)


def renewal_line(now: datetime) -> datetime:
    """Codes that end before this moment are due for renewal (F-07)."""
    return now + timedelta(days=house().settings.codes.renew_notice_days)


def _require_live(code: VenueCode) -> None:
    if code.kind not in LIVE:
        raise CodeError("This code has ended; issue a new one.")
    if code.is_expired(house().now()):
        raise CodeError("This code has expired; issue a new one.")


def _move(writing: Session, code: VenueCode, step: str, reason: str = "", *, by: str | None = None) -> None:
    try:
        move_code(writing, code, step, reason, by=by)
    except CaseError as error:
        raise CodeError(error.message, hint=error.hint) from error
