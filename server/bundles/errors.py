"""What can go wrong while a bundle is made."""

from __future__ import annotations

from config.errors import GatehouseError


class PartError(GatehouseError):
    """A part cannot be made; the last published one stays in use."""

    code = "bundle_part"
