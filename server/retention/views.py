"""Pages that show what was destroyed: the monthly statement and each certificate."""

from __future__ import annotations

from flask import Blueprint, Response, abort, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from server.accounts.roles import Act, Permission
from server.cases.models import Case
from server.context import house
from server.db import session
from server.retention.holding import IN_FORCE, MACHINE
from server.retention.models import Destruction
from server.retention.statement import first_wrong_certificate, statement_of
from server.web.access import needs

blueprint = Blueprint("retention", __name__, url_prefix="/retention")


@blueprint.get("/")
@needs(Permission.AUDIT, Act.READ)
def index() -> ResponseReturnValue:
    """The statement of one month, this one by default."""
    local = house().now().astimezone(house().settings.zone)
    month = request.args.get("month", "") or f"{local:%Y-%m}"
    reading = session()
    try:
        statement = statement_of(reading, month, house().now())
    except ValueError:
        abort(404)
    holds = reading.scalars(
        select(Case).where(Case.machine == MACHINE, Case.state == IN_FORCE).order_by(Case.opened_at)
    ).all()
    return render_template(
        "retention/index.html",
        statement=statement,
        holds=holds,
        kept_days=house().settings.retention.scan_days,
        wrong=first_wrong_certificate(reading, house().keys.server_identity().public_key()),
    )


@blueprint.get("/certificates/<int:number>")
@needs(Permission.AUDIT, Act.READ)
def certificate(number: int) -> ResponseReturnValue:
    """One certificate, to be printed."""
    return render_template("retention/certificate.html", row=_certificate(number))


@blueprint.get("/certificates/<int:number>.cose")
@needs(Permission.AUDIT, Act.READ)
def signed_certificate(number: int) -> ResponseReturnValue:
    """The signed bytes of one certificate, as docs/protocol.md describes them."""
    row = _certificate(number)
    headers = {"Content-Disposition": f'attachment; filename="destruction-{row.number}.cose"'}
    return Response(row.signed, mimetype="application/cose", headers=headers)


def _certificate(number: int) -> Destruction:
    row = session().get(Destruction, number) if number < 2**63 else None
    if row is None:
        abort(404)
    return row
