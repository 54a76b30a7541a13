"""What every view may reach for: settings, database, keys and the clock, held by the application."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from flask import current_app

from config.server import ServerSettings
from server.db import Database
from server.keystore import KeyStore


def utc_now() -> datetime:
    """The wall clock, aware, UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class House:
    """The application's parts; `create_app` makes one, tests hand in their own clock."""

    settings: ServerSettings
    database: Database
    keys: KeyStore
    now: Callable[[], datetime] = utc_now


def house() -> House:
    """The parts of the application that serves the current request."""
    found: House = current_app.extensions["gatehouse"]
    return found
