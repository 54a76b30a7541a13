"""Which venues, entrances and kiosks have the words somebody typed, within a reach."""

from __future__ import annotations

from flask import request
from sqlalchemy import ColumnElement, and_
from sqlalchemy.orm import InstrumentedAttribute

from server.accounts.rights import Reach
from server.search.models import SearchEntry

MOST_CHARACTERS = 80
MOST_WORDS = 6


def words_asked() -> str:
    """The `q` of the address, as the page shows it again."""
    return request.args.get("q", "").strip()[:MOST_CHARACTERS]


def matches(reach: Reach, kind: str, words: str) -> ColumnElement[bool]:
    """The SQL condition over SearchEntry: of *kind*, within *reach*, and has each of *words*, separated by spaces."""
    return and_(
        SearchEntry.kind == kind,
        reach.condition(SearchEntry.area_path, SearchEntry.venue_id),
        holds(SearchEntry.words, words),
    )


def holds(column: InstrumentedAttribute[str], words: str) -> ColumnElement[bool]:
    """The SQL condition "*column* has each of these words somewhere in it"; letters' case does not matter."""
    return and_(*(column.contains(word, autoescape=True) for word in words.lower().split()[:MOST_WORDS]))
