"""For machines that watch: is the process alive, can it serve, what does it count, and what can be called."""

from __future__ import annotations

from flask import Blueprint, abort, current_app, request
from flask.typing import ResponseReturnValue
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from config.errors import GatehouseError
from server.context import House, house
from server.keystore import IssuerUse
from server.migrations import check_current
from server.vault.client import VaultClient
from server.vault.errors import VaultError
from server.web import metrics
from server.web.access import machines, open_to_all
from server.web.openapi import description

blueprint = Blueprint("web", __name__)

VAULT_SECONDS = 1.0  # a vault that does not answer is only told of, so nobody waits for it
OK, FAILED = "ok", "failed"


@blueprint.get("/healthz")
@open_to_all
def alive() -> ResponseReturnValue:
    """The process answers. Says nothing of what stands behind it."""
    return {"alive": True}


@blueprint.get("/readyz")
@open_to_all
def ready() -> ResponseReturnValue:
    """Database, tables and signing keys can be used; 503 tells a balancer to send people elsewhere.

    Strangers learn no more. Who may read the metrics also learns which of them fails, and whether the vault answers:
    that is for information, since entrances and the console work without it.
    """
    checks = {"database": _database(house()), "migrations": _migrations(house()), "keys": _keys(house())}
    is_ready = set(checks.values()) == {OK}
    answer: dict[str, object] = {"ready": is_ready}
    if metrics.may_read(request):
        answer |= {"checks": checks, "vault": _vault(house())}
    return answer, 200 if is_ready else 503


@blueprint.get("/metrics")
@machines("it comes from this machine itself, or carries the token of operations.metrics_token_file")
def read_metrics() -> ResponseReturnValue:
    """Counters and gauges in Prometheus' text format."""
    if not metrics.may_read(request):
        abort(403)
    return metrics.page()


@blueprint.get("/openapi.json")
@open_to_all
def openapi() -> ResponseReturnValue:
    """What machines can call here, as OpenAPI 3.1."""
    return description(house().settings)


def _database(of: House) -> str:
    try:
        with of.database.reading() as reading:
            reading.execute(text("SELECT 1 FROM user_account LIMIT 1"))
    except SQLAlchemyError:
        return FAILED
    return OK


def _migrations(of: House) -> str:
    """Once they are those of this version they stay so: a newer version stops this process first."""
    if not current_app.extensions.get("gatehouse_schema_is_current"):
        try:
            check_current(of.database.engine)
        except (GatehouseError, SQLAlchemyError):
            return FAILED
        current_app.extensions["gatehouse_schema_is_current"] = True
    return OK


def _keys(of: House) -> str:
    try:
        for use in IssuerUse:
            of.keys.issuer_signing_key(use, of.now())
    except (GatehouseError, OSError):
        return FAILED
    return OK


def _vault(of: House) -> str:
    try:
        VaultClient(of.settings.vault_socket_path, seconds=VAULT_SECONDS).status()
    except VaultError:
        return "away"
    return OK
