"""The resident's own page: one large code, its colour in words, and a new code before the old one ends."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Blueprint, abort, render_template
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from server.accounts.rights import person
from server.accounts.roles import Act, Permission
from server.context import house
from server.db import session
from server.keystore import KeyStoreError
from server.residents import desk, looks
from server.residents.codes import ShownCode, make_code
from server.residents.models import Resident
from server.residents.words import CAUSE_NAMES, COLOUR_MEANS, COLOUR_NAMES
from server.vault_keys import VaultKeysError
from server.web.access import needs
from server.web.qr import Level, QrDrawing, draw

blueprint = Blueprint("residents", __name__)
blueprint.register_blueprint(desk.blueprint)
blueprint.register_blueprint(looks.blueprint)

RENEW_BEFORE_S = 30  # the page loads itself again this long before the code ends


@dataclass(frozen=True, slots=True)
class CodePage:
    """What the page shows."""

    code: ShownCode
    drawing: QrDrawing
    colour: str
    colour_name: str
    means: str
    cause: str
    reload_after_s: int


@blueprint.get("/me/code")
@needs(Permission.RESIDENTS, Act.OWN)
def own_code() -> ResponseReturnValue:
    """The resident's code as a page that renews itself without a script."""
    code = _fresh_code()
    shown = CodePage(
        code,
        draw(code.text, Level.M),
        code.standing.colour.name.lower(),
        COLOUR_NAMES[code.standing.colour],
        COLOUR_MEANS[code.standing.colour],
        CAUSE_NAMES.get(code.standing.cause, "Other cause"),
        max(30, house().settings.codes.health_code_minutes * 60 - RENEW_BEFORE_S),
    )
    return render_template("residents/code.html", page=shown)


@blueprint.get("/me/code.json")
@needs(Permission.RESIDENTS, Act.OWN)
def own_code_json() -> ResponseReturnValue:
    """The same for the resident's own programs: the text of the QR code and when it ends."""
    code = _fresh_code()
    return {
        "text": code.text,
        "colour": code.standing.colour.name.lower(),
        "issued_at": code.issued_at.isoformat(),
        "expires_at": code.expires_at.isoformat(),
    }


def _fresh_code() -> ShownCode:
    resident = session().scalar(select(Resident).where(Resident.user_id == person().id))
    if resident is None:
        abort(404)
    try:
        return make_code(session(), resident)
    except (VaultKeysError, KeyStoreError):
        abort(503)
