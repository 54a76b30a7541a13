"""Reading the area tree from a CSV file: all of it fits, or nothing is changed."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy.orm import Session

from config.errors import GatehouseError
from server.areas.models import MAX_DEPTH, Area, Level, area_row
from server.audit import Thing, audit

COLUMNS = ("code", "parent", "level", "name_zh", "name_en")
MAX_ROWS = 100_000


class ImportProblem(GatehouseError):
    """What is wrong with the file, line by line."""

    code = "import"


@dataclass(frozen=True, slots=True)
class Imported:
    """How many areas were added, renamed, or there already."""

    added: int
    renamed: int
    unchanged: int


def import_areas(writing: Session, path: Path, *, at: datetime) -> Imported:
    """Add the areas of *path* (UTF-8 CSV with a header of COLUMNS; parents before children) and rename known ones.

    An area never moves: codes stand in records and rights. Raises ImportProblem that names every bad line.
    """
    problems: list[str] = []
    added = renamed = unchanged = 0
    for number, row in _rows(path):
        code, parent_code = row["code"].strip(), row["parent"].strip()
        known = writing.get(Area, code) if code else None
        parent = writing.get(Area, parent_code) if parent_code else None
        try:
            if parent_code and parent is None:
                raise ValueError(f"its parent {parent_code} is not known; parents stand before their children")
            if known is not None:
                if (known.parent_code or "") != parent_code or known.level != row["level"].strip():
                    raise ValueError(f"{code} is known with another parent or level; areas do not move")
                names = (row["name_zh"].strip(), row["name_en"].strip())
                if (known.name_zh, known.name_en) == names:
                    unchanged += 1
                else:
                    known.name_zh, known.name_en = names
                    renamed += 1
                continue
            level = _level(row["level"].strip())
            fresh = area_row(code, level, row["name_zh"], row["name_en"], parent)
            if fresh.path.count("/") > MAX_DEPTH:
                raise ValueError(f"the tree is deeper than {MAX_DEPTH} levels")
        except ValueError as error:
            problems.append(f"line {number}: {error}")
            continue
        writing.add(fresh)
        writing.flush()
        added += 1
    if problems:
        shown = "\n  ".join(problems[:20]) + (f"\n  and {len(problems) - 20} more" if len(problems) > 20 else "")
        raise ImportProblem(f"{path} cannot be imported:\n  {shown}", hint="Nothing was changed. Mend the file first.")
    audit(writing, "area.imported", Thing("area", "tree"), f"{added} added, {renamed} renamed", at=at)
    return Imported(added, renamed, unchanged)


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise ImportProblem(
                    f"{path} has the columns {reader.fieldnames}.", hint=f"Expected {', '.join(COLUMNS)}."
                )
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ImportProblem(f"{path} cannot be read: {error}.", hint="Save it as CSV in UTF-8.") from error
    if len(rows) > MAX_ROWS:
        raise ImportProblem(f"{path} has {len(rows)} rows.", hint=f"Import at most {MAX_ROWS} at a time.")
    for number, row in rows:
        if None in row or None in row.values():
            raise ImportProblem(f"{path}, line {number}: not {len(COLUMNS)} columns.", hint="Mend that line.")
    return rows


def _level(text: str) -> Level:
    try:
        return Level(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a level; known are {', '.join(level.value for level in Level)}") from None
