"""Pages of bulk issue: a sheet, a dry run that names every row's problem, then all codes at once and their posters."""

from __future__ import annotations

import io
import zipfile

from flask import Blueprint, Response, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from flask_wtf.file import FileField
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from wtforms import HiddenField

from server.accounts.rights import Place, person
from server.accounts.roles import Act, Permission
from server.codes.bulk import COLUMNS, MOST_BYTES, MOST_ROWS, Plan, SheetError, carry_out, from_text, judge, read_sheet
from server.codes.models import VenueCode
from server.context import house
from server.db import session
from server.posters.drawing import poster_of, render
from server.uploads.keeping import received
from server.venues.models import Entrance, Venue
from server.web.access import needs, takes_files
from server.web.language import tell

blueprint = Blueprint("bulk", __name__)

POSTERS_AT_ONCE = 50  # drawn in one answer; more come in further files


class SheetForm(FlaskForm):  # type: ignore[misc]
    """The sheet."""

    sheet = FileField("Sheet")


class NowForm(FlaskForm):  # type: ignore[misc]
    """The sheet that was looked at, to be carried out."""

    text = HiddenField()


@blueprint.get("/codes/bulk")
@needs(Permission.CODES, Act.APPROVE)
def sheet() -> ResponseReturnValue:
    """The form that takes a sheet, with an example."""
    return _page()


@blueprint.get("/codes/bulk/example.csv")
@needs(Permission.CODES, Act.APPROVE)
def example() -> ResponseReturnValue:
    """An empty sheet with its columns."""
    answer = Response("\ufeff" + ",".join(COLUMNS.values()) + "\r\n", mimetype="text/csv")
    answer.headers["Content-Disposition"] = 'attachment; filename="codes.csv"'
    return answer


@blueprint.post("/codes/bulk")
@needs(Permission.CODES, Act.APPROVE)
@takes_files(MOST_BYTES + 64 * 1024)
def dry_run() -> ResponseReturnValue:
    """Say what would become of each row. Nothing is changed or kept."""
    form = SheetForm()
    if not form.validate_on_submit():
        abort(400)
    try:
        return _page(judge(session(), read_sheet(received(form.sheet.data)), person()))
    except SheetError as error:
        return _page(problem=error.message), 422


@blueprint.post("/codes/bulk/now")
@needs(Permission.CODES, Act.APPROVE)
def issue_now() -> ResponseReturnValue:
    """Issue every code of the sheet, judged again; all of them or none."""
    form = NowForm()
    if not form.validate_on_submit():
        abort(400)
    try:
        plan = judge(session(), from_text(form.text.data or ""), person())
    except SheetError as error:
        return _page(problem=error.message), 422
    if plan.problems:
        return _page(plan), 422
    codes = carry_out(session(), plan, by=person(), at=house().now())
    session().commit()
    tell("%(n)s codes were issued. Save their posters here.", n=len(codes))
    return redirect(url_for("codes.bulk.issued", first=codes[0].serial, last=codes[-1].serial), 303)


@blueprint.get("/codes/bulk/issued")
@needs(Permission.CODES, Act.APPROVE)
def issued() -> ResponseReturnValue:
    """The codes of one run, with the files of their posters."""
    codes = _codes()
    if not codes:
        abort(404)
    serials = [code.serial for code in codes]
    parts = [
        (part[0], part[-1])
        for n in range(0, len(serials), POSTERS_AT_ONCE)
        if (part := serials[n : n + POSTERS_AT_ONCE])
    ]
    return render_template("codes/bulk_issued.html", codes=codes, parts=parts)


@blueprint.get("/codes/posters.zip")
@needs(Permission.CODE_PRINT, Act.READ)
def posters() -> ResponseReturnValue:
    """The posters of up to POSTERS_AT_ONCE codes as PDF files in one zip; `size=a3` for the large ones."""
    form = "a3" if request.args.get("size", "").lower() == "a3" else "pdf"
    now = house().now()
    codes = [code for code in _codes() if code.holds(now)][:POSTERS_AT_ONCE]
    if not codes:
        abort(404)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as folder:
        for code in codes:
            name = f"{code.venue_id.hex()}-{code.entrance}-{code.serial:08x}.pdf"  # never a name that somebody typed
            folder.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), render(poster_of(code), form))
    answer = Response(out.getvalue(), mimetype="application/zip")
    answer.headers["Content-Disposition"] = f'attachment; filename="posters-{codes[0].serial:08x}.zip"'
    return answer


def _codes() -> list[VenueCode]:
    """The codes between the address's two serials that the signed-in person may see, at most MOST_ROWS."""
    first, last = (request.args.get(name, "") for name in ("first", "last"))
    if not all(text.isascii() and text.isdigit() and len(text) < 11 for text in (first, last)):
        abort(404)
    rows = session().scalars(
        select(VenueCode)
        .where(VenueCode.serial.between(int(first), int(last)))
        .options(joinedload(VenueCode.door).joinedload(Entrance.venue).joinedload(Venue.area))
        .order_by(VenueCode.serial)
        .limit(MOST_ROWS)
    )
    right = Permission.CODE_PRINT, Act.READ
    return [code for code in rows if person().may_at(Place(code.door.venue.area.path, code.venue_id), *right)]


def _page(plan: Plan | None = None, problem: str = "") -> str:
    return render_template(
        "codes/bulk.html",
        form=SheetForm(formdata=None),
        now_form=NowForm(formdata=None, text=plan.text) if plan is not None else None,
        plan=plan,
        problem=problem,
        columns=COLUMNS,
    )
