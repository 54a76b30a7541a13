"""How far the vault's index is behind, noted after each run and raised on the console when it lasts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from server.accounts.rights import Person
from server.accounts.roles import Act, Permission
from server.console.board import Line, decisions
from server.context import house
from server.db import Database
from server.vault.indexing import IndexRun
from server.vault.models import IndexLag

LATE_AFTER = timedelta(minutes=5)  # a search would miss what came in since
NOTE_EVERY = timedelta(seconds=30)  # while nothing is behind: a run comes every two seconds


def note_lag(database: Database, run: IndexRun, now: datetime) -> None:
    """Keep what *run* left undone."""
    with database.reading() as reading:
        held = reading.get(IndexLag, 1)
        if held is not None and not run.behind and not held.behind and now - held.checked_at < NOTE_EVERY:
            return
    oldest = None if run.oldest_ms is None else datetime.fromtimestamp(run.oldest_ms / 1000, UTC)
    with database.writing() as writing:
        writing.merge(IndexLag(id=1, checked_at=now, behind=run.behind, oldest_at=oldest))


def how_late(lag: IndexLag | None, now: datetime) -> timedelta | None:
    """For how long searches have missed something; None when they miss nothing, or nothing was ever indexed."""
    if lag is None:
        return None
    since = [lag.checked_at] if now - lag.checked_at > LATE_AFTER else []
    if lag.oldest_at is not None:
        since.append(lag.oldest_at)
    return now - min(since) if since else None


def lag_lines(lag: IndexLag | None, now: datetime) -> list[Line]:
    """What the console says of it: nothing while the index keeps up."""
    if lag is None:
        return []
    if now - lag.checked_at > LATE_AFTER:
        return [Line("The vault is not indexing: searches miss what came since", 1, None, lag.checked_at, "bad")]
    is_late = lag.oldest_at is not None and now - lag.oldest_at > LATE_AFTER
    label = "Records the vault has not indexed yet: searches miss them"
    return [Line(label, lag.behind, None, lag.oldest_at, "bad" if is_late else "wait")]


@decisions
def index_lag(reading: Session, somebody: Person) -> Iterable[Line]:
    """For technical support, and for who looks after the vault's log."""
    sees = somebody.holds(Permission.KIOSKS, Act.PERFORM) or somebody.holds(Permission.AUDIT, Act.READ)
    return lag_lines(reading.get(IndexLag, 1), house().now()) if sees else []
