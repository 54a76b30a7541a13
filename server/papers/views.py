"""Pages of paper health codes: find a resident, issue, print, revoke."""

from __future__ import annotations

from flask import Blueprint, Response, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from protocol.credentials.health_code import mask_name
from server.accounts.rights import Place, person, require
from server.accounts.roles import Act, Permission
from server.areas.models import Area
from server.context import house
from server.db import session
from server.keystore import KeyStoreError
from server.papers.drawing import FORMS, paper_sheet, render
from server.papers.forms import EndForm, FindForm
from server.papers.issuing import PaperError, issue_paper_code, revoke, text_of
from server.papers.models import PaperCode
from server.residents.codes import open_identity, standing
from server.residents.finding import matching
from server.residents.models import Resident
from server.residents.words import COLOUR_NAMES
from server.web.access import needs, personal
from server.web.language import tell
from server.web.pages import PAGE_ROWS, page_of

blueprint = Blueprint("papers", __name__)

# Who registers residents may give them a paper code (requirements.md A.3: community worker F, grid worker and
# registrar C).
ISSUES = (Permission.RESIDENTS, Act.CREATE)
MOST_FOUND = 20


@blueprint.get("/papers")
@needs(*ISSUES)
@personal
def index() -> ResponseReturnValue:
    """The paper codes within reach, newest first; `after` goes on."""
    rows = (
        select(PaperCode, Area)
        .join(Resident, Resident.id == PaperCode.resident_id)
        .join(Area, Area.code == Resident.area_code)
        .where(person().reach(*ISSUES).condition(Area.path))
        .options(joinedload(PaperCode.resident))
    )
    after = _after()
    if after is not None:
        number, position = after
        rows = rows.where(
            (PaperCode.list_number < number) | ((PaperCode.list_number == number) & (PaperCode.position < position))
        )
    rows = rows.order_by(PaperCode.list_number.desc(), PaperCode.position.desc()).limit(PAGE_ROWS + 1)
    page = page_of(session().execute(rows).all(), lambda row: str(row.PaperCode.short_id))
    return render_template("papers/index.html", page=page, now=house().now(), name_of=_masked)


@blueprint.get("/papers/new")
@needs(*ISSUES)
@personal
def find() -> ResponseReturnValue:
    """The form that asks whom a paper code is for."""
    return render_template("papers/find.html", form=FindForm(formdata=None), found=None)


@blueprint.post("/papers/new")
@needs(*ISSUES)
@personal
def found() -> ResponseReturnValue:
    """The residents within reach that fit the words. A POST, so that no name or number stands in an address or log."""
    form = FindForm()
    if not form.validate_on_submit():
        return render_template("papers/find.html", form=form, found=None), 422
    matches = [
        (resident, area, mask_name(who.name))
        for resident, area, who in matching(session(), person().reach(*ISSUES), form.words.data.strip())
    ]
    return render_template("papers/find.html", form=form, found=matches[:MOST_FOUND], is_cut=len(matches) > MOST_FOUND)


@blueprint.post("/residents/<resident_id>/papers")
@needs(*ISSUES)
@personal
def issue(resident_id: str) -> ResponseReturnValue:
    """Issue a paper code for a resident; one that was out before ends."""
    resident = session().get(Resident, resident_id)
    area = session().get(Area, resident.area_code) if resident is not None and resident.area_code else None
    if resident is None or resident.withdrawn_at is not None or area is None:
        abort(404)
    require(*ISSUES, place=Place(area.path))
    code = issue_paper_code(session(), resident, area, by=person().id)
    session().commit()
    tell("The paper code was issued. Print it now; entrances know it within minutes.")
    return redirect(url_for("papers.show", short_id=code.short_id), 303)


@blueprint.get("/papers/<short_id>")
@needs(*ISSUES)
@personal
def show(short_id: str) -> ResponseReturnValue:
    """One paper code: whose, its colour of now, its state, and what can be done."""
    code, area = _find(session(), short_id)
    return _page(code, area, EndForm(formdata=None))


@blueprint.get("/papers/<short_id>/page.<any(pdf, svg):form>")
@needs(*ISSUES)
@personal
def page(short_id: str, form: str) -> ResponseReturnValue:
    """The page to print."""
    code, area = _find(session(), short_id)
    if not code.holds(house().now()):
        abort(410)
    try:
        sheet = paper_sheet(
            text_of(code),
            masked_name=_masked(code.resident),
            community=area.name_zh,
            short_id=code.short_id,
            life=(code.issued_at, code.expires_at),
        )
    except KeyStoreError:
        abort(503)
    answer = Response(render("paper", sheet, form), mimetype=FORMS[form])
    answer.headers["Content-Disposition"] = f'attachment; filename="paper-code-{code.short_id}.{form}"'
    return answer


@blueprint.post("/papers/<short_id>/revocation")
@needs(*ISSUES)
@personal
def revoke_code(short_id: str) -> ResponseReturnValue:
    """Revoke a paper code, with a reason."""
    code, area = _find(session(), short_id)
    form = EndForm()
    if not form.validate_on_submit():
        return _page(code, area, form), 422
    try:
        revoke(session(), code, form.reason.data.strip(), area.path)
    except PaperError as error:
        tell(error.message, "error")
        return redirect(url_for("papers.show", short_id=short_id), 303)
    session().commit()
    tell("The paper code was revoked. Entrances refuse it within minutes.")
    return redirect(url_for("papers.show", short_id=short_id), 303)


def place_of(short_id: str) -> tuple[int, int] | None:
    """The list and position that a short id such as "1-42" names; None for anything else."""
    number, dash, position = short_id.partition("-")
    if dash and all(part.isascii() and part.isdigit() and len(part) <= 10 for part in (number, position)):
        return int(number), int(position)
    return None


def _after() -> tuple[int, int] | None:
    return place_of(request.args.get("after", ""))


def _find(reading: Session, short_id: str) -> tuple[PaperCode, Area]:
    """The paper code and where its resident lives, if the signed-in person may deal with it; else 404."""
    place = place_of(short_id)
    code = reading.get(PaperCode, place, options=[joinedload(PaperCode.resident)]) if place else None
    area = reading.get(Area, code.resident.area_code) if code is not None and code.resident.area_code else None
    if code is None or area is None:
        abort(404)
    require(*ISSUES, place=Place(area.path))
    return code, area


def _page(code: PaperCode, area: Area, form: EndForm) -> str:
    now = house().now()
    colour = standing(session(), code.resident_id, now).colour
    return render_template(
        "papers/show.html",
        code=code,
        area=area,
        name=_masked(code.resident),
        colour=colour.name.lower(),
        colour_name=COLOUR_NAMES[colour],
        now=now,
        form=form,
    )


def _masked(resident: Resident) -> str:
    try:
        return mask_name(open_identity(resident).name)
    except KeyStoreError:
        return "—"
