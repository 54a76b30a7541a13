"""Slows down who tries too often, whichever web process they meet: counts in the database, per source and purpose.

Asking costs one look-up by primary key; only what is counted costs a write, and a source over its limit is refused
before it costs any more. Keys are keyed hashes, because an address is personal. For a form, in this order:

    wait_s = LOOKS.seconds_to_wait(reading, source_of(request.remote_addr), now)   # 0: go on; else answer 429
    LOOKS.note(writing, source_of(request.remote_addr), now)                       # this one counts

`note` belongs in a transaction of its own, or in one that commits whatever becomes of the request.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from flask import current_app
from sqlalchemy import case, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from server.web.models import AttemptCount

KEPT_AFTER_END = timedelta(minutes=5)
_SWEPT = 50  # old rows removed with each note: more than it can add, so the table stays small without a worker


@dataclass(frozen=True, slots=True)
class Throttle:
    """At most *limit* counted attempts of one source in one *window*, which begins with the first of them."""

    name: str  # what is counted; two throttles of one name would share their counts
    limit: int
    window: timedelta

    def seconds_to_wait(self, reading: Session, source: str, now: datetime) -> int:
        """How long *source* has to wait, in whole seconds; 0 when it may try now."""
        row = reading.execute(
            select(AttemptCount.count, AttemptCount.ends_at).where(AttemptCount.key == self.key_of(source))
        ).one_or_none()
        if row is None:
            return 0
        count, ends_at = row
        return max(1, round((ends_at - now).total_seconds())) if count >= self.limit and ends_at > now else 0

    def note(self, writing: Session, source: str, now: datetime) -> None:
        """Count one attempt of *source*; two processes that count at once both count."""
        stale = select(AttemptCount.key).where(AttemptCount.ends_at < now - KEPT_AFTER_END).limit(_SWEPT)
        writing.execute(delete(AttemptCount).where(AttemptCount.key.in_(stale)))
        insert = upsert(writing)(AttemptCount).values(key=self.key_of(source), count=1, ends_at=now + self.window)
        is_over = AttemptCount.ends_at <= now
        writing.execute(
            insert.on_conflict_do_update(
                index_elements=[AttemptCount.key],
                set_={
                    "count": case((is_over, 1), else_=AttemptCount.count + 1),
                    "ends_at": case((is_over, now + self.window), else_=AttemptCount.ends_at),
                },
            )
        )

    def forget(self, writing: Session, source: str) -> None:
        """Forget what *source* did."""
        writing.execute(delete(AttemptCount).where(AttemptCount.key == self.key_of(source)))

    def key_of(self, source: str) -> bytes:
        """Under which key *source* is counted."""
        return keyed_hash("throttle", self.name, source)


@lru_cache(maxsize=1024)  # every exchange asks, and most come from the same few addresses
def source_of(address: str | None) -> str:
    """Whom an address stands for: itself, or for IPv6 its /64, which one household or attacker has whole."""
    try:
        found = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return address or ""
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)


def keyed_hash(*words: str) -> bytes:
    """32 bytes that stand for *words* in this server's tables; without its secret key nobody can try values out."""
    secret: str | bytes = current_app.config["SECRET_KEY"]
    key = secret if isinstance(secret, bytes) else secret.encode()
    return hmac.digest(key, "\0".join(words).encode(), hashlib.sha256)


def upsert(writing: Session) -> Any:
    """The `insert` of the session's database, which knows ON CONFLICT (SQLite and PostgreSQL spell it alike)."""
    return postgresql.insert if writing.get_bind().dialect.name == "postgresql" else sqlite.insert
