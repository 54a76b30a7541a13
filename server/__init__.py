"""The central server: `create_app` builds it. What needs one room only, as the vault does, loads that room alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from config.server import ServerSettings


def create_app(settings: ServerSettings, *, now: Callable[[], datetime] | None = None) -> Flask:
    """Build the application; *now* is its clock. Raises ConfigError or KeyStoreError when secrets or keys are missing.

    The database is not touched: `gatehouse server` checks that its tables are those of this version.
    """
    from server.application import build

    return build(settings, now)
