"""The address that hands out a list as a file; a POST, because each export is put on record first."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing

from flask import Blueprint, Response, abort, request, send_file, stream_with_context
from flask.typing import ResponseReturnValue

from server.accounts.rights import person
from server.audit import Thing, audit
from server.context import house
from server.db import session
from server.exports.tables import BY_NAME, EVERY_RIGHT, Table, Value
from server.exports.writing import csv_pieces, write_xlsx
from server.web.access import needs_any
from server.web.language import chinese

blueprint = Blueprint("exports", __name__)

MOST_ROWS = 100_000
XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


@blueprint.post("/exports/<name>.<any(csv, xlsx):form>")
@needs_any(*EVERY_RIGHT)
def export(name: str, form: str) -> ResponseReturnValue:
    """The list *name* with the filters in the address, at most MOST_ROWS rows of it. The steps:

    (1) may they open the list, (2) put it on record, (3) only then read and hand out.
    """
    table, somebody = BY_NAME.get(name), person()
    if table is None:
        abort(404)
    if not somebody.holds_any(table.rights):  # (1)
        abort(403)
    used = ", ".join(f for f in table.filters if request.args.get(f))
    audit(session(), "list.exported", Thing("list", table.name), f"{form}, filter {used or 'none'}")  # (2)
    session().commit()
    now, zone = house().now(), house().settings.zone
    head = [
        f"{chinese(table.label)} {table.label}",
        f"{now.astimezone(zone):%Y-%m-%d %H:%M:%S} {house().settings.time_zone}",
        f"{chinese('Filter')} Filter: "
        + ("; ".join(f"{f} = {request.args[f]}" for f in table.filters if request.args.get(f)) or "-"),
        f"{chinese('At most this many rows')} At most this many rows: {MOST_ROWS}",
    ]
    titles = [f"{chinese(column.label)} {column.label}" for column in table.columns]
    file_name = f"{table.name}-{now.astimezone(zone):%Y%m%d-%H%M}.{form}"
    if form == "csv":  # (3)
        pieces = csv_pieces(head, titles, _rows(table), zone)
        answer = Response(stream_with_context(pieces), mimetype="text/csv")
        answer.headers["Content-Disposition"] = f'attachment; filename="{file_name}"'
        return answer
    file = io.BytesIO()  # a few MB at most: rows are bounded, and the file is compressed
    write_xlsx(file, table.name, head, titles, _rows(table), zone)
    file.seek(0)
    return send_file(file, XLSX_TYPE, as_attachment=True, download_name=file_name)


def _rows(table: Table) -> Iterator[list[Value]]:
    """The rows, read piece by piece in a session that cannot change anything."""
    rows = table.rows(person()).limit(MOST_ROWS)
    with house().database.reading() as reading:
        found = reading.scalars(rows.execution_options(yield_per=500))
        with closing(found):
            for item in found:
                yield [column.value(item) for column in table.columns]
