"""A server with passages in it and a real vault beside it, as the tests of queries have them."""

from __future__ import annotations

from tests.server.queries.conftest import clock, entrance, settings, vault, world

__all__ = ["clock", "entrance", "settings", "vault", "world"]
