"""Health checks: is the process alive, and can it serve."""

from __future__ import annotations

from flask import Blueprint
from flask.typing import ResponseReturnValue
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from config.errors import GatehouseError
from server.context import house
from server.keystore import IssuerUse
from server.web.access import open_to_all

blueprint = Blueprint("web", __name__)


@blueprint.get("/healthz")
@open_to_all
def alive() -> ResponseReturnValue:
    """The process answers. Says nothing of what stands behind it."""
    return {"alive": True}


@blueprint.get("/readyz")
@open_to_all
def ready() -> ResponseReturnValue:
    """Database and signing keys can be used; 503 tells a balancer to send people elsewhere. No details to strangers."""
    try:
        with house().database.reading() as reading:
            reading.execute(text("SELECT 1 FROM user_account LIMIT 1"))
        for use in IssuerUse:
            house().keys.issuer_signing_key(use, house().now())
    except (GatehouseError, OSError, SQLAlchemyError):
        return {"ready": False}, 503
    return {"ready": True}
