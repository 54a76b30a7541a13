"""Puts the application together from settings, keys and subjects; nothing connects before the first request."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from datetime import datetime, timedelta

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from config.errors import ConfigError
from config.server import ServerSettings
from server.context import House, utc_now
from server.db import Database
from server.ingest.door import Door
from server.keystore import KeyStore, read_passphrase
from server.web import frame, language, menu, metrics
from server.web.access import check_all_declared

# One blueprint a subject: server/SUBJECT/views.py holds `blueprint`. A new subject is one line here.
SUBJECTS = (
    "web",
    "accounts",
    "console",
    "venues",
    "codes",
    "applications",
    "tipoffs",
    "inspections",
    "checkin",
    "kiosks",
    "search",
    "residents",
    "papers",
    "badges",
    "inspectors",
    "ingest",
    "bundles",
    "queries",
    "cases",
    "policies",
    "notices",
    "retention",
    "quarantine",
    "exports",
)

MIN_SECRET_BYTES = 32


def build(settings: ServerSettings, now: Callable[[], datetime] | None = None) -> Flask:
    """What `server.create_app` promises."""
    app = Flask("server", static_folder="static", template_folder="templates")
    app.config.update(
        SECRET_KEY=_secret_key(settings),
        SESSION_COOKIE_NAME="__Host-gatehouse" if settings.is_https else "gatehouse",
        SESSION_COOKIE_SECURE=settings.is_https,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        PERMANENT_SESSION_LIFETIME=timedelta(hours=settings.session_hours),
        SESSION_REFRESH_EACH_REQUEST=False,
        MAX_CONTENT_LENGTH=settings.limits.form_bytes,
        MAX_FORM_MEMORY_SIZE=settings.limits.form_bytes,
        MAX_FORM_PARTS=200,
        TRUSTED_HOSTS=[settings.host.rsplit(":", 1)[0], *settings.extra_hosts],
        SEND_FILE_MAX_AGE_DEFAULT=timedelta(hours=1),
    )
    keys = KeyStore.open(settings.key_dir, read_passphrase(settings.passphrase_path))
    limits = settings.postgresql
    database = Database(
        settings.database,
        connections=limits.connections,
        statement_s=limits.statement_s,
        synchronous_commit=limits.synchronous_commit,
        replica_url=limits.replica_url,
        replica_lag_s=limits.replica_lag_s,
    )
    app.extensions["gatehouse"] = House(settings, database, keys, now or utc_now)
    language.install(app)
    menu.install(app)
    frame.install(app)
    metrics.install(app)
    for subject in SUBJECTS:
        app.register_blueprint(importlib.import_module(f"server.{subject}.views").blueprint)
    check_all_declared(app)
    app.wsgi_app = Door(app, app.wsgi_app)  # type: ignore[method-assign]
    if settings.listen.trusted_proxies:
        count = settings.listen.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count)  # type: ignore[method-assign]
    return app


def _secret_key(settings: ServerSettings) -> bytes:
    path = settings.secret_key_path
    try:
        secret = path.read_bytes().strip()
    except FileNotFoundError:
        raise ConfigError(f"There is no secret key at {path}.", hint="Make it with: gatehouse admin init") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.", hint="Check its owner and mode.") from error
    if len(secret) < MIN_SECRET_BYTES:
        raise ConfigError(
            f"The secret key in {path} has {len(secret)} bytes; it needs {MIN_SECRET_BYTES}.",
            hint="Remove the file and make a new one with: gatehouse admin init",
        )
    return secret
