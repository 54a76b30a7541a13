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

from sqlalchemy import func, literal, select, tuple_
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
        due = _look(reading, before)
    passages = 0
    if due.doomed:
        _, head = VaultClient(house.settings.vault_socket_path).destroy([epoch for _, epoch in due.doomed])  # (2)
        passages = _certify(house, due.doomed, before, due.held, f"{head}", now)  # (3)
    rows = drop_before(house.database, min(before, due.first_held_day)) if due.is_all else 0  # (4)
    return Destroyed(len(due.doomed), passages, due.held, rows, due.is_all)


@dataclass(frozen=True, slots=True)
class _Due:
    doomed: list[tuple[bytes, bytes]]  # (kiosk, epoch), at most EPOCHS_AT_ONCE
    held: int  # held back among those looked at
    first_held_day: int  # the day the oldest of those was received
    is_all: bool  # False: more are due than fit


def _look(reading: Session, before: int) -> _Due:
    """Go through what is due, oldest first, past whatever is held back, until there is enough for one run."""
    limit = datetime.fromtimestamp(0, UTC) + timedelta(days=before)
    place = tuple_(Epoch.received_at, Epoch.kiosk_id, Epoch.epoch)
    rows = select(Epoch).where(Epoch.destroyed_at.is_(None), Epoch.received_at < limit)
    rows = rows.order_by(Epoch.received_at, Epoch.kiosk_id, Epoch.epoch).limit(EPOCHS_AT_ONCE)
    holds = holds_in_force(reading)
    doomed: list[tuple[bytes, bytes]] = []
    held, first_held_day = 0, before
    page = reading.scalars(rows).all()
    while page:
        kept = held_back(reading, page, holds)
        if kept and not held:
            first_held_day = min(day_of(e.received_at) for e in page if (e.kiosk_id, e.epoch) in kept)
        held += len(kept)
        doomed += [(e.kiosk_id, e.epoch) for e in page if (e.kiosk_id, e.epoch) not in kept]
        if len(doomed) > EPOCHS_AT_ONCE:
            return _Due(doomed[:EPOCHS_AT_ONCE], held, first_held_day, False)
        last = page[-1]
        after = place > tuple_(
            literal(last.received_at, Epoch.received_at.type), literal(last.kiosk_id), literal(last.epoch)
        )
        page = reading.scalars(rows.where(after)).all()
    return _Due(doomed, held, first_held_day, True)


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


def follow_the_vault(house: House, after: int = 0) -> int:
    """Take away every wrapped key whose epoch the vault's log calls destroyed after line *after* of our copy: a backup
    was restored, or a run was cut off between the vault and us. Returns how many there were.

    One line of the log at a time: what it takes does not grow with the log.
    """
    found = 0
    while line := _next_destruction(house, after):
        back, after = line
        if back:
            _certify(house, back, day_of(house.now()), 0, "", house.now())
        found += len(back)
    return found


def _next_destruction(house: House, after: int) -> tuple[list[tuple[bytes, bytes]], int] | None:
    """The keys that are still here of the next line after *after* that destroyed some, and that line's number."""
    with house.database.reading() as reading:
        line = reading.execute(
            select(VaultLine.sequence, VaultLine.raw)
            .where(VaultLine.event == "destroyed", VaultLine.sequence > after)
            .order_by(VaultLine.sequence)
            .limit(1)
        ).one_or_none()
        if line is None:
            return None
        gone = [bytes.fromhex(epoch) for epoch in _facts(line.raw).get("epochs", [])]
        rows = reading.execute(
            select(Epoch.kiosk_id, Epoch.epoch).where(Epoch.destroyed_at.is_(None), Epoch.epoch.in_(gone))
        ).all()
        return [(row.kiosk_id, row.epoch) for row in rows], line.sequence


def _facts(raw: str) -> dict[str, list[str]]:
    body = json.loads(raw)
    found = body.get("facts", {})
    return found if isinstance(found, dict) else {}


def count_days(house: House) -> int:
    """Count the passages of each day that is over and not counted yet, days without any as well; returns how many days.

    The first day counted is the oldest that has a passage.
    """
    today = day_of(house.now())
    passages = JournalRecord.kind == RecordKind.PASSAGE.value
    with house.database.reading() as reading:
        newest = reading.scalar(select(func.max(DayCount.day)))
        if newest == today - 1:
            return 0
        days = JournalRecord.received_day < today
        if newest is not None:
            days &= JournalRecord.received_day > newest
        rows = reading.execute(
            select(JournalRecord.received_day, func.count()).where(passages, days).group_by(JournalRecord.received_day)
        ).all()
    counted: dict[int, int] = {day: count for day, count in rows}
    first = newest + 1 if newest is not None else min(counted, default=today)
    now = house.now()
    fresh = [DayCount(day=day, passages=counted.get(day, 0), counted_at=now) for day in range(first, today)]
    if fresh:
        with house.database.writing() as writing:
            writing.add_all(fresh)
    return len(fresh)
