"""Cells of exported tables: a spreadsheet shows them as text and never runs them."""

from __future__ import annotations

# what spreadsheet programs begin a formula with, and what they skip before one (OWASP, CSV injection)
_BEGINS_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def cell(text: object) -> str:
    """*text* for a cell of a CSV file: one line, and quoted with an apostrophe when it could begin a formula."""
    plain = " ".join(str(text).split("\x00")).replace("\r", " ").replace("\n", " ")
    return "'" + plain if plain.lstrip(" ").startswith(_BEGINS_FORMULA) or plain.startswith("\t") else plain
