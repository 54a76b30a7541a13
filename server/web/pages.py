"""Long lists in pages: one index range a page, never an offset that reads what it skips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import urlencode

from flask import request

Row = TypeVar("Row")

PAGE_ROWS = 50


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """One page of a list; `next_after` is what the link to the next one carries."""

    rows: Sequence[Row]
    next_after: str | None

    @property
    def next_url(self) -> str:
        """Where the next page is: this address, with its filters, and where it goes on."""
        return f"{request.script_root}{request.path}?{urlencode({**request.args.to_dict(), 'after': self.next_after})}"


def page_of(rows: Sequence[Row], key: Callable[[Row], str]) -> Page[Row]:
    """Cut *rows*, read with a limit of PAGE_ROWS + 1, into a page; *key* names the last row for the next query."""
    if len(rows) <= PAGE_ROWS:
        return Page(rows, None)
    return Page(rows[:PAGE_ROWS], key(rows[PAGE_ROWS - 1]))


def after_bytes(size: int) -> bytes | None:
    """The `after` of the address as an identifier of *size* bytes; None for the first page or nonsense."""
    given = request.args.get("after", "")
    try:
        found = bytes.fromhex(given)
    except ValueError:
        return None
    return found if len(found) == size else None


def after_place(size: int) -> tuple[str, bytes] | None:
    """The `after` of the address as an area's path and an identifier of *size* bytes; None for the first page."""
    path, found, given = request.args.get("after", "").rpartition("/")
    try:
        identifier = bytes.fromhex(given)
    except ValueError:
        return None
    return (path + found, identifier) if found and len(identifier) == size else None


def after_number() -> int | None:
    """The `after` of the address as a number; None for the first page or nonsense."""
    given = request.args.get("after", "")
    return int(given) if given.isascii() and given.isdigit() and len(given) < 19 else None
