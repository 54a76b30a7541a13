"""What the vault refuses, in words that may leave it: never anything personal."""

from __future__ import annotations

from config.errors import GatehouseError


class VaultError(GatehouseError):
    """The vault, its files or its settings are not as they must be."""

    code = "vault"


class Refused(GatehouseError):
    """The vault will not do what was asked; `code` says why, stable and for machines."""

    code = "refused"
