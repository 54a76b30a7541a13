"""The base of every error the product shows to people: what was found, what was expected, what to do."""

from __future__ import annotations


class GatehouseError(Exception):
    """Something a person can act on.

    `code` is stable and for machines; the message is one or two sentences; `hint` is the next step.
    """

    code = "error"

    def __init__(self, message: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class ConfigError(GatehouseError):
    """A setting that is missing, unknown or out of range."""

    code = "config"
