"""Residents from a table (CSV): read and judged line by line first, and taken in whole or not at all."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from protocol.credentials.health_code import mask_name
from protocol.credentials.identity import Identity
from server.areas.models import Area
from server.residents.entries import read_entry
from server.residents.errors import ResidentError

COLUMNS = ("name", "id_number", "phone", "area")
CHINESE_COLUMNS = ("姓名", "证件号码", "手机号", "区域代码")
MAX_ROWS = 1000
MAX_BYTES = 128 * 1024  # below the limit of a form, with the rest of the form


@dataclass(frozen=True, slots=True)
class ImportLine:
    """One line of the table and what would become of it."""

    number: int  # of the line in the file
    shown: str  # the masked name
    problem: str  # a message of the catalogue; "" when it can be taken
    is_known: bool = False  # registered already: left as it is
    who: Identity | None = field(default=None, repr=False)
    area: Area | None = None


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What an import would do; nothing has been done."""

    lines: tuple[ImportLine, ...]

    @property
    def problems(self) -> int:
        """How many lines stand in the way."""
        return sum(1 for line in self.lines if line.problem)

    @property
    def known(self) -> int:
        """How many are registered already and stay as they are."""
        return sum(1 for line in self.lines if line.is_known and not line.problem)

    @property
    def fresh(self) -> tuple[ImportLine, ...]:
        """The lines that would be registered."""
        return tuple(line for line in self.lines if not line.problem and not line.is_known)


def read_text(data: bytes) -> str:
    """The file as text: UTF-8, or GB 18030 as spreadsheets on Chinese machines write it. Raises ResidentError."""
    if len(data) > MAX_BYTES:
        raise ResidentError("The file is too large: at most 1000 lines and 128 KiB at a time.")
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ResidentError("The file is no text. Save it as CSV.")


def read_rows(text: str) -> list[tuple[int, tuple[str, str, str, str]]]:
    """The rows of the table with their line numbers; raises ResidentError when it is no such table."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[tuple[int, tuple[str, str, str, str]]] = []
    try:
        heading = tuple(cell.strip() for cell in next(reader, []))
        if heading not in (COLUMNS, CHINESE_COLUMNS):
            raise ResidentError("The first line must name the columns: name, id_number, phone, area.")
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) > len(COLUMNS):
                raise ResidentError("A line has more than four columns.")
            name, number, phone, area = (*cells, "", "", "")[:4]
            rows.append((reader.line_num, (name, number, phone, area)))
            if len(rows) > MAX_ROWS:
                raise ResidentError("The file is too large: at most 1000 lines and 128 KiB at a time.")
    except csv.Error:
        raise ResidentError("The file is no table. Save it as CSV.") from None
    if not rows:
        raise ResidentError("The file holds no residents.")
    return rows


def judge(
    rows: Sequence[tuple[int, tuple[str, str, str, str]]], areas: Mapping[str, Area], known: set[str], today: date
) -> ImportPlan:
    """What would become of each row. *areas* are those this person may register in, by code; *known* ID numbers."""
    seen: set[str] = set()
    lines: list[ImportLine] = []
    for number, (name, id_number, phone, area_code) in rows:
        shown = mask_name(name.strip()) if name.strip() else "—"
        try:
            who = read_entry(name, id_number, phone, today)
            area = areas.get(area_code.strip())
            if area is None:
                raise ResidentError("This is no community or grid of yours.", "area_code")
            if who.id_number in seen:
                raise ResidentError("This number stands in the file twice.", "id_number")
        except ResidentError as error:
            lines.append(ImportLine(number, shown, error.message))
            continue
        seen.add(who.id_number)
        lines.append(ImportLine(number, shown, "", who.id_number in known, who, area))
    return ImportPlan(tuple(lines))
