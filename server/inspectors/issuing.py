"""Issuing and revoking inspectors' passes, and telling the doors which ones were revoked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from config.errors import GatehouseError
from protocol.credentials import inspector_pass
from protocol.credentials.model import Inspection
from protocol.status_list import BadgeStatus, StatusList, status_list
from server.accounts.models import User
from server.accounts.rights import person_of
from server.accounts.roles import Role
from server.areas.models import is_within
from server.audit import Thing, audit
from server.context import house
from server.db import lock_chain
from server.inspectors.models import InspectorPass
from server.keystore import ALG, IssuerUse
from server.kiosks.models import Kiosk
from server.papers.issuing import LIST_ENTRIES
from server.venues.models import Venue

KIND = "inspector_pass"


class PassError(GatehouseError):
    """A pass that is not issued; the message is one of the catalogue."""

    code = "inspector_pass"


@dataclass(frozen=True, slots=True)
class Places:
    """Where a pass holds: whole venues, and single kiosks beside."""

    venues: Sequence[Venue]
    kiosks: Sequence[Kiosk] = ()

    def area_path(self) -> str:
        """The smallest area around all of them."""
        paths = [venue.area.path for venue in self.venues] + [kiosk.door.venue.area.path for kiosk in self.kiosks]
        common = paths[0]
        while not all(is_within(path, common) for path in paths):
            common = common[:-1].rpartition("/")[0] + "/"
        return common


def issue_pass(writing: Session, user: User, places: Places, hours: int, *, by: str) -> InspectorPass:
    """Give *user* a pass for *hours*. Raises PassError for somebody who may not inspect there.

    An inspector has no other role at a place that they inspect (requirements A): who works there does not inspect it.
    """
    if not places.venues and not places.kiosks:
        raise PassError("Choose a venue or a kiosk.")
    if max(len(places.venues), len(places.kiosks)) > inspector_pass.MOST_PLACES:
        raise PassError("A pass names up to eight venues and eight kiosks.")
    _check_inspector(writing, user, places)
    now = house().now().replace(microsecond=0)
    number, position = _next_place(writing)
    issued = InspectorPass(
        list_number=number,
        position=position,
        user_id=user.id,
        name=user.display_name[:40],
        places={
            "venues": [venue.id.hex() for venue in places.venues],
            "kiosks": [kiosk.id.hex() for kiosk in places.kiosks],
        },
        area_path=places.area_path(),
        issued_at=now,
        expires_at=now + timedelta(hours=hours),
        issued_by=by,
    )
    writing.add(issued)
    writing.flush()
    audit(writing, f"{KIND}.issued", Thing(KIND, issued.short_id, issued.area_path), user.name)
    return issued


def _check_inspector(reading: Session, user: User, places: Places) -> None:
    grants = person_of(reading, user).grants
    venues = [*places.venues, *(kiosk.door.venue for kiosk in places.kiosks)]
    for venue in venues:
        around = [g for g in grants if g.area_path is not None and is_within(venue.area.path, g.area_path)]
        if not any(grant.role is Role.INSPECTOR for grant in around):
            raise PassError("This person is no inspector of that area now.")
        if any(grant.venue_id == venue.id for grant in grants):
            raise PassError("This person works at that venue, so somebody else must inspect it.")


def revoke_pass(writing: Session, issued: InspectorPass, reason: str) -> None:
    """End a pass; doors learn it from the next status list. Raises PassError when it is over."""
    if not issued.holds(house().now()):
        raise PassError("This has ended already.")
    issued.revoked_at, issued.revoked_because = house().now(), reason[:400]
    audit(writing, f"{KIND}.revoked", Thing(KIND, issued.short_id, issued.area_path), reason)


def text_of(issued: InspectorPass) -> str:
    """The text of its QR code, signed afresh. Raises KeyStoreError."""
    key = house().keys.issuer_signing_key(IssuerUse.STAFF_BADGE, issued.issued_at)
    return inspector_pass.issue(
        key=key.private_key,
        alg=ALG,
        kid=key.kid,
        ref=issued.ref,
        inspection=Inspection(issued.user_id, issued.name, issued.venues, issued.kiosks),
        issued_at=issued.issued_at,
        expires_at=issued.expires_at,
    )


def inspector_lists(reading: Session, *, at: datetime, valid_for: timedelta) -> Iterator[StatusList]:
    """Of each list with a pass that is still out: which hold."""
    live = select(InspectorPass.list_number).where(InspectorPass.expires_at > at).distinct()
    rows = reading.execute(
        select(InspectorPass.list_number, InspectorPass.revoked_at)
        .where(InspectorPass.list_number.in_(live))
        .order_by(InspectorPass.list_number, InspectorPass.position)
    )
    lists: dict[int, list[int]] = {}
    for number, revoked_at in rows:
        lists.setdefault(number, []).append(BadgeStatus.VALID if revoked_at is None else BadgeStatus.REVOKED)
    for number, statuses in lists.items():
        yield status_list("inspector", number, statuses, issued_at=at, expires_at=at + valid_for)


def _next_place(writing: Session) -> tuple[int, int]:
    lock_chain(writing, InspectorPass.__tablename__)
    number = writing.scalar(select(func.max(InspectorPass.list_number))) or 1
    last = writing.scalar(select(func.max(InspectorPass.position)).where(InspectorPass.list_number == number))
    position = 0 if last is None else last + 1
    return (number, position) if position < LIST_ENTRIES else (number + 1, 0)
