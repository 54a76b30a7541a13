"""A kiosk's manifest: nothing that is stored, but what follows from the published parts it may have."""

from __future__ import annotations

from typing import cast

from sqlalchemy import Table, bindparam, func, or_, select
from sqlalchemy.orm import Session, undefer

from protocol.bundle import Manifest, Part
from server.bundles.models import BundlePart
from server.bundles.parts import EVERYBODY, kiosk_scope, venue_scope
from server.ingest.devices import to_ms

_parts = cast(Table, BundlePart.__table__).c
_SCOPES = ("everybody", "of_venue", "of_kiosk")  # as scopes_of has them
# The version of a kiosk's bundle, with the values of `named_scopes`; None while it has none.
# It never goes down: a kiosk that is moved gets a new "place", which takes a number above all others.
NEWEST = select(func.max(_parts.version)).where(or_(*[_parts.scope == bindparam(of) for of in _SCOPES]))


def scopes_of(kiosk: bytes, venue: bytes) -> tuple[str, str, str]:
    """The scopes whose parts this kiosk gets; no name stands in two of them."""
    return (EVERYBODY, venue_scope(venue), kiosk_scope(kiosk))


def named_scopes(kiosk: bytes, venue: bytes) -> dict[str, str]:
    """The values that NEWEST names."""
    return dict(zip(_SCOPES, scopes_of(kiosk, venue), strict=True))


def manifest(reading: Session, kiosk: bytes, venue: bytes) -> Manifest | None:
    """What the kiosk should hold now, or None while nothing is published for it."""
    rows = reading.scalars(
        select(BundlePart).where(BundlePart.scope.in_(scopes_of(kiosk, venue))).order_by(BundlePart.name)
    ).all()
    if not any(row.scope == kiosk_scope(kiosk) for row in rows):
        return None
    return Manifest(
        kiosk,
        max(row.version for row in rows),
        max(to_ms(row.changed_at) for row in rows),
        tuple(Part(row.name, row.digest, row.size) for row in rows),
    )


def part_data(reading: Session, kiosk: bytes, venue: bytes, digest: bytes) -> bytes | None:
    """The bytes of a part by digest, if it is one of this kiosk's; None otherwise."""
    row = reading.scalars(
        select(BundlePart)
        .where(BundlePart.scope.in_(scopes_of(kiosk, venue)), BundlePart.digest == digest)
        .options(undefer(BundlePart.data))
        .limit(1)
    ).one_or_none()
    return row.data if row else None
