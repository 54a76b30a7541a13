"""Destroys what is due: the keys of its epochs, in the vault first and then here, with a certificate; then the rows.

An epoch is due `scan_days` after its first record was received: all it seals was passed before that. Its sealed parts
are unreadable once the vault has it in its log as destroyed and the wrapped key is gone here. A restored backup brings
wrapped keys back; the vault's log does not forget, and `follow_the_vault` takes them away again.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

from protocol import cbor, signed
from server.audit import SYSTEM, Thing, audit
from server.context import House
from server.db import lock_chain
from server.ingest.models import Epoch, JournalRecord, RecordKind
from server.ingest.partitions import day_of, drop_before
from server.queries.models import VaultLine
from server.retention.holding import held_back, holds_in_force
from server.retention.models import GENESIS, DayCount, Destruction
from server.vault.client import VaultClient

EPOCHS_AT_ONCE = 500  # what the vault takes in one call
PURPOSE = "destruction certificate 1"


@dataclass(frozen=True, slots=True)
class Destroyed:
    """What one run did."""

    epochs: int = 0
    passages: int = 0
    held: int = 0
    rows_dropped: int = 0  # of days that are over whole: rows on SQLite, days on PostgreSQL
    is_done: bool = True


def destroy_due(house: House) -> Destroyed:
    """Destroy what is due now. The steps, each of which can be cut off and is made up for by the next run:

    (1) what is due and not held back, (2) the vault closes it for ever and logs it, (3) the wrapped keys go, in one
    transaction with the certificate, (4) days that hold nothing back go whole.
    Raises GatehouseError when the vault does not answer: nothing is destroyed then.
    """
    kept = house.settings.retention.scan_days
    if not kept:
        return Destroyed()
    now = house.now()
    before = day_of(now) - kept
    with house.database.reading() as reading:  # (1)
        due = _due(reading, before)
        held = held_back(reading, due, holds_in_force(reading))
        doomed = [epoch for epoch in due if (epoch.kiosk_id, epoch.epoch) not in held][:EPOCHS_AT_ONCE]
        earliest_held = min((day_of(e.received_at) for e in due if (e.kiosk_id, e.epoch) in held), default=before)
    passages = 0
    if doomed:
        _, head = VaultClient(house.settings.vault_socket_path).destroy([epoch.epoch for epoch in doomed])  # (2)
        keys = [(epoch.kiosk_id, epoch.epoch) for epoch in doomed]
        passages = _certify(house, keys, before, len(held), f"{head}", now)  # (3)
    is_done = len(doomed) + len(held) >= len(due)
    rows = drop_before(house.database, min(before, earliest_held)) if is_done else 0  # (4)
    return Destroyed(len(doomed), passages, len(held), rows, is_done)


def _due(reading: Session, before: int) -> Sequence[Epoch]:
    limit = datetime.fromtimestamp(0, UTC) + timedelta(days=before)
    return reading.scalars(
        select(Epoch)
        .where(Epoch.destroyed_at.is_(None), Epoch.received_at < limit)
        .order_by(Epoch.received_at, Epoch.kiosk_id, Epoch.epoch)
        .limit(20 * EPOCHS_AT_ONCE)
    ).all()


def _certify(
    house: House, keys: list[tuple[bytes, bytes]], before: int, held: int, vault_head: str, now: datetime
) -> int:
    """Take the wrapped keys of *keys* away and certify it; returns how many passages they held.

    *vault_head* is empty when the vault had destroyed them before and we only follow.
    """
    keys.sort()
    with house.database.writing() as writing:
        lock_chain(writing, "destruction")
        by_day = passages_by_day(writing, keys)
        last = writing.scalars(select(Destruction).order_by(Destruction.number.desc()).limit(1)).first()
        row = Destruction(
            number=last.number + 1 if last else 1,
            at=now,
            before_day=before,
            epochs=len(keys),
            epochs_digest=digest_of(keys),
            kiosks=len({kiosk for kiosk, _ in keys}),
            passages=sum(by_day.values()),
            by_day={str(day): count for day, count in sorted(by_day.items())},
            held=held,
            vault_head=vault_head,
            previous_hash=last.hash if last else GENESIS,
        )
        fields = fields_of(row)
        row.hash = hashlib.sha256(cbor.encode(fields)).digest()
        row.signed = signed.sign(PURPOSE, fields, house.keys.server_identity())
        writing.add(row)
        _forget(writing, keys, now)
        audit(
            writing,
            "records.destroyed",
            Thing("destruction", str(row.number)),
            f"{row.epochs} epochs, {row.passages} passages",
            actor=SYSTEM,
            at=now,
        )
        return row.passages


def _forget(writing: Session, keys: Iterable[tuple[bytes, bytes]], now: datetime) -> None:
    rows = writing.scalars(
        select(Epoch).where(tuple_(Epoch.kiosk_id, Epoch.epoch).in_(list(keys)), Epoch.destroyed_at.is_(None))
    ).all()
    for row in rows:
        row.wrapped, row.destroyed_at = None, now


def passages_by_day(reading: Session, keys: Sequence[tuple[bytes, bytes]]) -> Counter[int]:
    """How many passages the epochs *keys* hold, by the day they were received."""
    found: Counter[int] = Counter()
    by_kiosk: dict[bytes, list[bytes]] = {}
    for kiosk, epoch in keys:
        by_kiosk.setdefault(kiosk, []).append(epoch)
    for kiosk, epochs in by_kiosk.items():
        rows = reading.execute(
            select(JournalRecord.received_day, func.count())
            .where(
                JournalRecord.kiosk_id == kiosk,
                JournalRecord.epoch.in_(epochs),
                JournalRecord.kind == RecordKind.PASSAGE.value,
            )
            .group_by(JournalRecord.received_day)
        )
        for day, count in rows:
            found[day] += count
    return found


def digest_of(keys: Sequence[tuple[bytes, bytes]]) -> bytes:
    """SHA-256 over sorted pairs of kiosk (8 bytes) and epoch (16 bytes)."""
    return hashlib.sha256(b"".join(kiosk + epoch for kiosk, epoch in sorted(keys))).digest()


def fields_of(row: Destruction) -> dict[int, object]:
    """What a certificate says, as it is hashed and signed."""
    return {
        1: row.number,
        2: int(row.at.timestamp() * 1000),
        3: row.before_day,
        4: row.epochs,
        5: row.epochs_digest,
        6: row.kiosks,
        7: row.passages,
        8: [[int(day), count] for day, count in sorted(row.by_day.items(), key=lambda pair: int(pair[0]))],
        9: row.held,
        10: row.vault_head,
        11: row.previous_hash,
    }


def follow_the_vault(house: House) -> int:
    """Take away every wrapped key whose epoch the vault's log calls destroyed: a backup was restored, or a run was cut
    off between the vault and us. Returns how many there were."""
    with house.database.reading() as reading:
        raws = reading.scalars(select(VaultLine.raw).where(VaultLine.event == "destroyed")).all()
        gone = {bytes.fromhex(epoch) for raw in raws for epoch in _facts(raw).get("epochs", [])}
        open_ones = reading.execute(select(Epoch.kiosk_id, Epoch.epoch).where(Epoch.destroyed_at.is_(None))).all()
    back = [(row.kiosk_id, row.epoch) for row in open_ones if row.epoch in gone]
    if back:
        _certify(house, back, day_of(house.now()), 0, "", house.now())
    return len(back)


def _facts(raw: str) -> dict[str, list[str]]:
    body = json.loads(raw)
    found = body.get("facts", {})
    return found if isinstance(found, dict) else {}


def count_days(house: House) -> int:
    """Count the passages of each day that is over and not counted yet; returns how many days."""
    today = day_of(house.now())
    with house.database.reading() as reading:
        counted = set(reading.scalars(select(DayCount.day)))
        rows = reading.execute(
            select(JournalRecord.received_day, func.count())
            .where(JournalRecord.kind == RecordKind.PASSAGE.value, JournalRecord.received_day < today)
            .where(JournalRecord.received_day > max(counted, default=-1))
            .group_by(JournalRecord.received_day)
        ).all()
    fresh = [DayCount(day=day, passages=count, counted_at=house.now()) for day, count in rows if day not in counted]
    if fresh:
        with house.database.writing() as writing:
            writing.add_all(fresh)
    return len(fresh)
