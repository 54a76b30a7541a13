"""Issuing and revoking paper codes and badges: each one domain step, audited in the same transaction."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from config.errors import GatehouseError
from protocol.credentials import paper_code, staff_badge
from server.areas.models import Area
from server.audit import Thing, audit
from server.bundles.models import KioskStaff
from server.context import house
from server.db import lock_chain
from server.keystore import ALG, IssuerUse
from server.papers.models import Carried, PaperCode, StaffBadge
from server.residents.models import Resident
from server.venues.models import Venue

LIST_ENTRIES = 65_536  # of one status list: 16 kB before compression; a list leaves the bundle with its last live code


class PaperError(GatehouseError):
    """A step that is not possible now; the message is one of the catalogue."""

    code = "paper"


def issue_paper_code(writing: Session, resident: Resident, area: Area, *, by: str) -> PaperCode:
    """Give *resident* a new paper code; one that was out before is withdrawn, so that a lost one is worth nothing."""
    now, days = house().now().replace(microsecond=0), house().settings.codes.paper_valid_days
    for old in writing.scalars(select(PaperCode).where(PaperCode.resident_id == resident.id)):
        if old.holds(now):
            _end(writing, old, "replaced by a new one", Thing("paper_code", old.short_id, area.path))
    number, position = _next_place(writing, PaperCode)
    code = PaperCode(
        list_number=number,
        position=position,
        resident_id=resident.id,
        issued_at=now,
        expires_at=now + timedelta(days=days),
        issued_by=by,
    )
    writing.add(code)
    writing.flush()
    audit(writing, "paper_code.issued", Thing("paper_code", code.short_id, area.path))
    return code


def issue_badge(writing: Session, venue: Venue, member: KioskStaff, *, by: str) -> StaffBadge:
    """Give a member of staff a new badge; theirs that was out before is withdrawn."""
    now, days = house().now().replace(microsecond=0), house().settings.codes.badge_valid_days
    mine = (StaffBadge.venue_id == venue.id, StaffBadge.staff_id == member.staff_id)
    for old in writing.scalars(select(StaffBadge).where(*mine)):
        if old.holds(now):
            _end(writing, old, "replaced by a new one", Thing("staff_badge", old.short_id, venue.area.path))
    number, position = _next_place(writing, StaffBadge)
    badge = StaffBadge(
        list_number=number,
        position=position,
        venue_id=venue.id,
        staff_id=member.staff_id,
        issued_at=now,
        expires_at=now + timedelta(days=days),
        issued_by=by,
    )
    writing.add(badge)
    writing.flush()
    audit(writing, "staff_badge.issued", Thing("staff_badge", badge.short_id, venue.area.path))
    return badge


def revoke(writing: Session, carried: PaperCode | StaffBadge, reason: str, area_path: str) -> None:
    """End a paper code or badge; doors learn it from the next status list. Raises PaperError when it is over."""
    if not carried.holds(house().now()):
        raise PaperError("This has ended already.")
    kind = "paper_code" if isinstance(carried, PaperCode) else "staff_badge"
    _end(writing, carried, reason, Thing(kind, carried.short_id, area_path))


def end_papers(writing: Session, resident: Resident, reason: str, area_path: str) -> int:
    """End every paper code of *resident* that doors still accept; returns how many."""
    now, ended = house().now(), 0
    for code in writing.scalars(select(PaperCode).where(PaperCode.resident_id == resident.id)):
        if code.holds(now):
            _end(writing, code, reason, Thing("paper_code", code.short_id, area_path))
            ended += 1
    return ended


def text_of(carried: PaperCode | StaffBadge) -> str:
    """The text of its QR code, signed afresh: the database holds none that could be copied.

    With the key that was in force when it was issued, so that a later printing says the same. Raises KeyStoreError.
    """
    is_paper = isinstance(carried, PaperCode)
    use = IssuerUse.PAPER_CODE if is_paper else IssuerUse.STAFF_BADGE
    key = house().keys.issuer_signing_key(use, carried.issued_at)
    make = paper_code.issue if is_paper else staff_badge.issue
    return make(
        key=key.private_key,
        alg=ALG,
        kid=key.kid,
        ref=carried.ref,
        issued_at=carried.issued_at,
        lifetime=carried.expires_at - carried.issued_at,
    )


def _end(writing: Session, carried: Carried, reason: str, thing: Thing) -> None:
    carried.revoked_at, carried.revoked_because = house().now(), reason[:400]
    audit(writing, f"{thing.kind}.revoked", thing, reason)


def _next_place(writing: Session, table: type[PaperCode] | type[StaffBadge]) -> tuple[int, int]:
    """The next free number of list and position."""
    lock_chain(writing, table.__tablename__)
    number = writing.scalar(select(func.max(table.list_number))) or 1
    last = writing.scalar(select(func.max(table.position)).where(table.list_number == number))
    position = 0 if last is None else last + 1
    return (number, position) if position < LIST_ENTRIES else (number + 1, 0)
