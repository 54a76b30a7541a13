"""The console's home page."""

from __future__ import annotations

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from server.web.access import signed_in

blueprint = Blueprint("console", __name__)


@blueprint.get("/")
@signed_in
def home() -> ResponseReturnValue:
    """What the signed-in person looks at first."""
    return render_template("console/home.html")
