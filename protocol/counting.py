"""How many people kiosks counted inside, as short words of the exchange: each tells its own and hears the others."""

from __future__ import annotations

import re

PART = "inside"  # in an upload's health: "2026-11-21 138", the venue's day and who came in less who left
_COMMAND = "inside "  # in an answer's commands, the same of the venue's other kiosks together
_COUNT = re.compile(r"(\d{4}-\d{2}-\d{2}) (-?\d{1,7})")


def count_to_text(day: str, people: int) -> str:
    """A count on a venue's day."""
    return f"{day} {people}"


def count_from_text(text: str) -> tuple[str, int] | None:
    """The day and the count, or None for anything else."""
    found = _COUNT.fullmatch(text)
    return (found[1], int(found[2])) if found else None


def command(day: str, people: int) -> str:
    """Tells a kiosk what the others of its venue counted on that day."""
    return _COMMAND + count_to_text(day, people)


def from_commands(commands: tuple[str, ...]) -> tuple[str, int] | None:
    """What the others counted, if one of *commands* says so."""
    for text in commands:
        if text.startswith(_COMMAND):
            return count_from_text(text.removeprefix(_COMMAND))
    return None
