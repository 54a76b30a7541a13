"""Codes for many entrances from a sheet: read within limits, judged row by row, carried out whole or not at all."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from xml.etree.ElementTree import ParseError

from openpyxl import load_workbook
from openpyxl.utils.exceptions import InvalidFileException
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, joinedload, selectinload

from config.errors import GatehouseError
from server.accounts.rights import Person, Place
from server.accounts.roles import Act, Permission
from server.areas.models import Area
from server.audit import Thing, audit
from server.codes.issuing import issue
from server.codes.models import VenueCode
from server.venues.models import CATEGORY_NAMES, VENUE_ID_BYTES, Category, Entrance, Venue
from server.web.language import chinese

MOST_ROWS = 300
MOST_BYTES = 1024 * 1024
MOST_TEXT_CHARS = 128 * 1024  # what goes back and forth between the dry run and the real one
MOST_UNPACKED_BYTES = 20 * 1024 * 1024  # of an XLSX, which is a zip: what it says it unfolds to
MOST_PARTS = 200
MOST_CELL = 200

COLUMNS: dict[str, str] = {
    "venue_id": "场所编号",
    "venue": "场所名称",
    "venue_en": "场所英文名",
    "area": "区域代码",
    "address": "地址",
    "category": "类别",
    "keeper": "责任人",
    "keeper_phone": "责任人电话",
    "entrance": "出入口",
    "entrance_en": "出入口英文名",
}
_LIMITS = {
    "venue": 80,
    "venue_en": 80,
    "address": 200,
    "keeper": 80,
    "keeper_phone": 32,
    "entrance": 80,
    "entrance_en": 80,
}


class SheetError(GatehouseError):
    """A file that is no table of entrances; the message is one of the catalogue."""

    code = "sheet"


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the sheet, and what would become of it."""

    number: int  # of the row in the file
    cells: Mapping[str, str]
    problems: tuple[str, ...] = ()  # messages of the catalogue
    outcome: str = ""  # a message of the catalogue
    area: Area | None = None
    venue: Venue | None = None  # one that exists
    door: Entrance | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What the sheet would do; nothing has been done."""

    lines: tuple[Line, ...]
    text: str = field(repr=False)  # the sheet as CSV, for the real run

    @property
    def problems(self) -> int:
        """How many rows stand in the way."""
        return sum(1 for line in self.lines if line.problems)


def read_sheet(data: bytes) -> list[tuple[int, dict[str, str]]]:
    """The rows of an XLSX or CSV file by column, each with its number in the file. Raises SheetError."""
    if not data:
        raise SheetError("Choose a file first.")
    if len(data) > MOST_BYTES:
        raise SheetError("The sheet is too large: at most 1 MB and 300 rows.")
    rows = _xlsx(data) if data.startswith(b"PK\x03\x04") else _csv(data)
    head: list[str] | None = None
    found: list[tuple[int, dict[str, str]]] = []
    for number, row in rows:
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if head is None:
            head = _head(cells)
            continue
        if len(found) >= MOST_ROWS:
            raise SheetError("The sheet is too large: at most 1 MB and 300 rows.")
        found.append((number, {name: cell for name, cell in zip(head, cells, strict=False) if name}))
    if head is None or not found:
        raise SheetError("The sheet holds no row.")
    return found


def as_text(rows: Sequence[tuple[int, Mapping[str, str]]]) -> str:
    """The rows as CSV with their numbers in the first column. Raises SheetError when it is too much for a form."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["#", *COLUMNS])
    for number, cells in rows:
        writer.writerow([number, *(cells.get(name, "") for name in COLUMNS)])
    if len(out.getvalue()) > MOST_TEXT_CHARS:
        raise SheetError("The sheet is too large: at most 1 MB and 300 rows.")
    return out.getvalue()


def from_text(text: str) -> list[tuple[int, dict[str, str]]]:
    """Undo `as_text`; raises SheetError for anything else."""
    try:
        rows = list(csv.reader(io.StringIO(text), strict=True))
        if not rows or rows[0] != ["#", *COLUMNS] or len(rows) > MOST_ROWS + 1:
            raise SheetError("The sheet holds no row.")
        return [(int(row[0]), dict(zip(COLUMNS, row[1:], strict=True))) for row in rows[1:]]
    except (csv.Error, ValueError, IndexError):
        raise SheetError("The sheet holds no row.") from None


def judge(reading: Session, rows: Sequence[tuple[int, Mapping[str, str]]], somebody: Person) -> Plan:
    """What would become of each row if *somebody* carried it out; every problem of every row is named."""
    lines: list[Line] = []
    seen: set[tuple[str, str]] = set()
    firsts: dict[str, Mapping[str, str]] = {}
    for number, cells in rows:
        line = _judge(reading, number, cells, somebody)
        key = (_venue_key(cells), cells.get("entrance", ""))
        more = list(line.problems)
        if key in seen:
            more.append("This entrance stands in the sheet twice.")
        seen.add(key)
        first = firsts.setdefault(key[0], cells)
        if line.venue is None and any(cells.get(n) != first.get(n) for n in ("category", "keeper", "keeper_phone")):
            more.append("The rows of one venue disagree about its data.")
        lines.append(Line(number, cells, tuple(more), line.outcome, line.area, line.venue, line.door))
    return Plan(tuple(lines), as_text(rows))


def carry_out(writing: Session, plan: Plan, *, by: Person, at: datetime) -> list[VenueCode]:
    """Make the venues and entrances that are missing and issue a code for each row, in the sheet's order.

    The caller has looked that the plan has no problems, and commits: all rows or none.
    """
    if plan.problems:
        raise ValueError("A sheet with problems is not carried out.")
    made: dict[str, Venue] = {}
    codes = []
    for line in plan.lines:
        venue = line.venue or made.get(_venue_key(line.cells))
        if venue is None and line.area is not None:
            venue = made[_venue_key(line.cells)] = _new_venue(writing, line.cells, line.area, at)
        if venue is None:
            raise ValueError("A row without venue or area was judged as good.")
        door = line.door or _new_door(writing, venue, line.cells)
        codes.append(issue(writing, door, by=by.id))
    what = Thing("venue_code", f"{codes[0].serial:08x}", codes[0].door.venue.area.path)
    audit(writing, "code.issued_in_bulk", what, f"{len(codes)} codes")
    return codes


# --- reading ------------------------------------------------------------------------------------------------------


def _xlsx(data: bytes) -> Iterable[tuple[int, list[str]]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as parts:
            inside = parts.infolist()
            if len(inside) > MOST_PARTS or sum(part.file_size for part in inside) > MOST_UNPACKED_BYTES:
                raise SheetError("The sheet is too large: at most 1 MB and 300 rows.")
        book = load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
        try:
            sheet = book.worksheets[0]
            sheet.reset_dimensions()  # what the file says of its size is not believed
            rows = sheet.iter_rows(max_row=MOST_ROWS + 50, max_col=len(COLUMNS) + 10, values_only=True)
            return [
                (n, ["" if cell is None else str(cell)[: MOST_CELL + 1] for cell in row])
                for n, row in enumerate(rows, 1)
            ]
        finally:
            book.close()
    except (zipfile.BadZipFile, InvalidFileException, ParseError, KeyError, ValueError, IndexError, TypeError, OSError):
        raise SheetError("This is no sheet that can be read: send XLSX or CSV.") from None


def _csv(data: bytes) -> Iterable[tuple[int, list[str]]]:
    """UTF-8, or GB 18030 as spreadsheets on Chinese machines write it."""
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            text = data.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        raise SheetError("This is no sheet that can be read: send XLSX or CSV.")
    if "\0" in text:
        raise SheetError("This is no sheet that can be read: send XLSX or CSV.")
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error:
        raise SheetError("This is no sheet that can be read: send XLSX or CSV.") from None
    return list(enumerate(rows, 1))


def _head(cells: Sequence[str]) -> list[str]:
    """The columns by name; others are left out. Raises SheetError when one that is needed is missing."""
    names = {**{name: name for name in COLUMNS}, **{chinese_name: name for name, chinese_name in COLUMNS.items()}}
    head = [names.get(cell.lower(), "") for cell in cells]
    if "entrance" not in head or not {"venue", "venue_id"} & set(head):
        raise SheetError("The first row has to name the columns; see the example.")
    if len([name for name in head if name]) != len({name for name in head if name}):
        raise SheetError("The first row names a column twice.")
    return head


# --- judging ------------------------------------------------------------------------------------------------------


def _venue_key(cells: Mapping[str, str]) -> str:
    return cells.get("venue_id", "").lower() or "\0".join(cells.get(n, "") for n in ("area", "venue", "address"))


def _judge(reading: Session, number: int, cells: Mapping[str, str], somebody: Person) -> Line:
    problems = []
    if not cells.get("entrance"):
        problems.append("The entrance has no name.")
    if any(len(cells.get(name, "")) > most for name, most in _LIMITS.items()):
        problems.append("A cell is too long.")
    if any(not char.isprintable() for cell in cells.values() for char in cell):
        problems.append("A cell holds characters that cannot be printed.")
    if cells.get("venue_id"):
        venue = _by_number(reading, cells["venue_id"])
        if venue is None or not _may(somebody, venue.area, venue.id):
            return Line(number, cells, (*problems, "There is no venue with this number in your area."))
        return _for_venue(number, cells, problems, venue)
    area = reading.scalar(select(Area).where(Area.code == cells.get("area", "")))
    if area is None or not _may(somebody, area, None):
        problems.append("The area code is not one of your areas.")
        area = None
    same = Venue.name_zh == cells.get("venue", ""), Venue.address == cells.get("address", "")
    if area is not None:
        known = reading.scalar(_venues().where(Venue.area_code == area.code, *same).limit(1))
        if known is not None:
            return _for_venue(number, cells, problems, known)
    if not cells.get("venue"):
        problems.append("The venue has no name.")
    if not cells.get("address"):
        problems.append("The venue has no address.")
    if _category(cells.get("category", "")) is None:
        problems.append("This kind of venue is not known.")
    if not cells.get("keeper"):
        problems.append("The venue has no responsible person.")
    return Line(number, cells, tuple(problems), "New venue, new entrance, first code", area)


def _for_venue(number: int, cells: Mapping[str, str], problems: list[str], venue: Venue) -> Line:
    door = next((d for d in venue.entrances if d.name_zh == cells.get("entrance") and d.closed_at is None), None)
    outcome = "Next version of the code" if door else "New entrance, first code"
    return Line(number, cells, tuple(problems), outcome, venue.area, venue, door)


def _venues() -> Select[Venue]:
    return select(Venue).options(joinedload(Venue.area), selectinload(Venue.entrances))


def _by_number(reading: Session, text: str) -> Venue | None:
    try:
        venue_id = bytes.fromhex(text)
    except ValueError:
        return None
    if len(venue_id) != VENUE_ID_BYTES:
        return None
    return reading.scalar(_venues().where(Venue.id == venue_id))


def _may(somebody: Person, area: Area, venue_id: bytes | None) -> bool:
    return somebody.may_at(Place(area.path, venue_id), Permission.CODES, Act.APPROVE)


def _category(text: str) -> Category | None:
    for kind, name in CATEGORY_NAMES.items():
        if text.lower() in {kind.value, name.lower(), chinese(name)}:
            return kind
    return None


# --- carrying out -------------------------------------------------------------------------------------------------


def _new_venue(writing: Session, cells: Mapping[str, str], area: Area, at: datetime) -> Venue:
    kind = _category(cells.get("category", "")) or Category.OTHER
    venue = Venue(area_code=area.code, category=kind.value, created_at=at)
    venue.name_zh, venue.name_en, venue.address = cells["venue"], cells.get("venue_en", ""), cells["address"]
    venue.keeper_name, venue.keeper_phone = cells["keeper"], cells.get("keeper_phone", "")
    writing.add(venue)
    writing.flush()
    audit(writing, "venue.created", Thing("venue", venue.id.hex(), area.path), "from a sheet")
    return venue


def _new_door(writing: Session, venue: Venue, cells: Mapping[str, str]) -> Entrance:
    last = writing.scalar(select(func.max(Entrance.number)).where(Entrance.venue_id == venue.id)) or 0
    door = Entrance(venue_id=venue.id, number=last + 1, name_zh=cells["entrance"], name_en=cells.get("entrance_en", ""))
    writing.add(door)
    writing.flush()
    writing.refresh(door, ["venue"])
    audit(writing, "entrance.added", Thing("venue", venue.id.hex(), venue.area.path), f"entrance {door.number}")
    return door
