"""What the console's first page counts; every subject adds its own lines.

    @decisions
    def waiting_queries(reading: Session, somebody: Person) -> Iterable[Line]: ...

in the subject's `views.py` puts its lines under "needs a decision". A line with nothing to count is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from server.accounts.rights import Person


@dataclass(frozen=True, slots=True)
class Line:
    """One count with the list behind it."""

    label: str  # a message of the catalogue
    count: int
    url: str | None  # None: this person may know the count and not open the list
    since: datetime | None = None  # the oldest of them
    kind: str = "wait"  # good, wait, bad, off


Source = Callable[[Session, Person], Iterable[Line]]

_DECISIONS: list[Source] = []


def decisions(source: Source) -> Source:
    """Register *source* for "needs a decision"."""
    if source not in _DECISIONS:
        _DECISIONS.append(source)
    return source


def open_decisions(reading: Session, somebody: Person) -> list[Line]:
    """Every line that is not empty, in the order of registration."""
    return [line for source in _DECISIONS for line in source(reading, somebody) if line.count]
