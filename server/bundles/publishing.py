"""Publishes parts whose bytes changed; each change takes the next number of one count, so versions only go up.

The count never falls behind the minutes since 1970: a server that was restored from a backup does not give out numbers
again that kiosks have already seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from protocol.bundle import MAX_PART_BYTES
from server.bundles.errors import PartError
from server.bundles.models import BundlePart
from server.bundles.parts import EVERYBODY, MadePart, global_parts, kiosk_parts, venue_parts
from server.context import House
from server.db import lock_chain


def publish_all(house: House, now: datetime) -> int:
    """Make every part again and publish those that changed; returns how many.

    Parts are made outside the writing transaction, which is not even begun when nothing changed.
    """
    with house.database.reading() as reading:
        made = [*global_parts(house, reading, now), *venue_parts(reading, now), *kiosk_parts(house, reading)]
        digests = {(row.scope, row.name): row.digest for row in reading.scalars(select(BundlePart))}
    changed = [p for p in made if digests.get((p.scope, p.name)) != hashlib.sha256(p.data).digest()]
    is_left = (EVERYBODY, "rules") in digests  # of an earlier version; rules belong to venues since
    if not changed and not is_left:
        return 0
    with house.database.writing() as writing:
        if is_left:  # with the parts that replace it: a part's name stands in one scope only
            writing.execute(delete(BundlePart).where(BundlePart.scope == EVERYBODY, BundlePart.name == "rules"))
        return publish(writing, changed, now)


def publish_for_kiosk(writing: Session, house: House, kiosk: bytes, venue: bytes, now: datetime) -> None:
    """Publish all that one kiosk needs, in the caller's transaction: a kiosk that was just enrolled has a bundle."""
    writing.flush()
    try:
        everybodys = list(global_parts(house, writing, now))
    except PartError:
        if writing.scalar(select(func.count()).where(BundlePart.scope == EVERYBODY)) == 0:
            raise
        everybodys = []  # the published ones stay in use; the worker's runs say what is wrong
    publish(writing, [*everybodys, *venue_parts(writing, now, venue), *kiosk_parts(house, writing, kiosk)], now)


def publish(writing: Session, made: Iterable[MadePart], now: datetime) -> int:
    """Store the parts whose bytes differ from what is published, under the next version; returns how many."""
    lock_chain(writing, "bundle_part")
    version: int = (writing.scalar(select(func.max(BundlePart.version))) or 0) + 1
    version = max(version, int(now.timestamp()) // 60)
    changed = 0
    for part in made:
        if len(part.data) > MAX_PART_BYTES:
            raise PartError(
                f"The part {part.name} has {len(part.data)} bytes, limit {MAX_PART_BYTES}.",
                hint="The last published one stays in use; make its source smaller.",
            )
        digest = hashlib.sha256(part.data).digest()
        row = writing.get(BundlePart, (part.scope, part.name))
        if row is not None and row.digest == digest:
            continue
        if row is None:
            row = BundlePart(scope=part.scope, name=part.name)
            writing.add(row)
        row.digest, row.size, row.data = digest, len(part.data), part.data
        row.version, row.changed_at = version, now
        changed += 1
    writing.flush()
    return changed
