"""Writes rows as CSV, piece by piece, or as an XLSX file on disk: text stays text, whatever it begins with."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import IO, Any
from zoneinfo import ZoneInfo

import xlsxwriter

from server.cases.sheets import cell

PIECE_ROWS = 500
MOST_CHARACTERS = 32_767  # of a cell: Excel's own limit


def csv_pieces(
    head: Sequence[str], titles: Sequence[str], rows: Iterable[Sequence[Any]], zone: ZoneInfo
) -> Iterator[bytes]:
    """UTF-8 with a byte order mark; every cell quoted; nothing that a spreadsheet would run."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    out.write("\ufeff")
    writer.writerow([cell(text) for text in head])
    writer.writerow([cell(text) for text in titles])
    for number, row in enumerate(rows, 1):
        writer.writerow([cell(_shown(value, zone)) if isinstance(value, str) else _shown(value, zone) for value in row])
        if number % PIECE_ROWS == 0:
            yield out.getvalue().encode()
            out.seek(0)
            out.truncate()
    yield out.getvalue().encode()


def write_xlsx(
    into: IO[bytes],
    name: str,
    head: Sequence[str],
    titles: Sequence[str],
    rows: Iterable[Sequence[Any]],
    zone: ZoneInfo,
) -> None:
    """One sheet; rows go to disk one by one. Strings become neither formulas nor links nor numbers."""
    options = {
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
    }
    with xlsxwriter.Workbook(into, options) as book:
        sheet = book.add_worksheet(name)
        bold = book.add_format({"bold": True})
        moment = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        sheet.freeze_panes(2, 0)
        sheet.set_column(0, len(titles) - 1, 20)
        for line, texts in enumerate((head, titles)):
            for column, text in enumerate(texts):
                sheet.write_string(line, column, text, bold)
        for line, row in enumerate(rows, 2):
            for column, value in enumerate(row):
                if isinstance(value, datetime):
                    sheet.write_datetime(line, column, value.astimezone(zone).replace(tzinfo=None), moment)
                elif isinstance(value, int | float):
                    sheet.write_number(line, column, value)
                elif value:
                    sheet.write_string(line, column, str(value)[:MOST_CHARACTERS])


def _shown(value: Any, zone: ZoneInfo) -> Any:
    if isinstance(value, datetime):
        return f"{value.astimezone(zone):%Y-%m-%d %H:%M:%S}"
    return "" if value is None else value
