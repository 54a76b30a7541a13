"""The audit trail: who did what to which object and why, append-only and hash-chained.

The hash covers the previous hash and every column, so a changed, removed or inserted row shows at `first_break`. A
cut tail shows only against a head noted elsewhere: `head` is what to note (the bundle and the receipts carry it off
the machine). Rows hold identifiers, never names, numbers or codes of residents.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

from flask import g, has_request_context
from sqlalchemy import BigInteger, Index, LargeBinary, String, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from server.context import house
from server.db import Base, lock_chain

GENESIS = bytes(32)
SYSTEM = "system"  # the actor of commands and of the worker


class AuditEvent(Base):
    """One line of the trail. Triggers refuse UPDATE and DELETE."""

    __tablename__ = "audit_event"
    __table_args__ = (Index(None, "object_kind", "object_id"), Index(None, "actor", "sequence"))

    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)  # 1, 2, 3 ... no gaps
    at: Mapped[datetime] = mapped_column(index=True)
    actor: Mapped[str] = mapped_column(String(40))  # a user's id, "kiosk:HEX", or "system"
    action: Mapped[str] = mapped_column(String(60), index=True)  # "code.issued"
    object_kind: Mapped[str] = mapped_column(String(30))
    object_id: Mapped[str] = mapped_column(String(64))
    area_path: Mapped[str] = mapped_column(String(300), default="", index=True)  # "" concerns no area
    reason: Mapped[str] = mapped_column(String(400), default="")
    previous_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))

    def computed_hash(self) -> bytes:
        """SHA-256 over the previous hash and the canonical JSON array of the other columns."""
        columns = [
            self.sequence,
            self.at.isoformat(),
            self.actor,
            self.action,
            self.object_kind,
            self.object_id,
            self.area_path,
            self.reason,
        ]
        body = json.dumps(columns, ensure_ascii=False, separators=(",", ":")).encode()
        return hashlib.sha256(b"gatehouse audit 1\0" + self.previous_hash + body).digest()


@dataclass(frozen=True, slots=True)
class Thing:
    """What an audit line is about."""

    kind: str  # "venue_code", "kiosk", "user" ...
    id: str
    area_path: str = ""


def audit(
    writing: Session,
    action: str,
    thing: Thing,
    reason: str = "",
    *,
    actor: str | None = None,
    at: datetime | None = None,
) -> AuditEvent:
    """Append one line in the caller's transaction: it stands exactly if the change it tells of stands.

    *actor* defaults to the signed-in person, else to "system"; *at* to the application's clock.
    """
    lock_chain(writing, "audit_event")
    last = writing.execute(
        select(AuditEvent.sequence, AuditEvent.hash).order_by(AuditEvent.sequence.desc()).limit(1)
    ).one_or_none()
    if actor is None:
        somebody = g.get("person") if has_request_context() else None
        actor = somebody.id if somebody is not None else SYSTEM
    event = AuditEvent(
        sequence=last.sequence + 1 if last else 1,
        at=at or house().now(),
        actor=actor,
        action=action,
        object_kind=thing.kind,
        object_id=thing.id,
        area_path=thing.area_path,
        reason=reason[:400],
        previous_hash=last.hash if last else GENESIS,
    )
    event.hash = event.computed_hash()
    writing.add(event)
    writing.flush()
    return event


def first_break(reading: Session, *, last: int | None = None) -> int | None:
    """The sequence number of the first line that does not fit the chain, or None when the whole trail holds.

    With *last* only that many lines at the end are checked, the first of them against what it says itself.
    """
    previous, expected = GENESIS, 1
    lines = select(AuditEvent).order_by(AuditEvent.sequence)
    newest = head(reading)[0]
    if last is not None and newest > last:
        expected = newest - last + 1
        lines = lines.where(AuditEvent.sequence >= expected)
        first = reading.get(AuditEvent, expected)
        previous = first.previous_hash if first is not None else GENESIS
    with closing(reading.scalars(lines.execution_options(yield_per=1000))) as events:
        for event in events:
            if event.sequence != expected or event.previous_hash != previous or event.hash != event.computed_hash():
                return expected
            previous, expected = event.hash, expected + 1
    return None


def head(reading: Session) -> tuple[int, bytes]:
    """The newest line's sequence and hash; (0, 32 zero bytes) while the trail is empty."""
    row = reading.execute(
        select(AuditEvent.sequence, AuditEvent.hash).order_by(AuditEvent.sequence.desc()).limit(1)
    ).one_or_none()
    return (row.sequence, row.hash) if row else (0, GENESIS)
