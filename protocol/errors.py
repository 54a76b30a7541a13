"""The error that `protocol` raises for bytes it will not believe; the rooms turn it into an answer for people."""

from __future__ import annotations


class ProtocolError(ValueError):
    """Bytes that break an agreement. `code` is stable and for machines; the message says found and expected."""

    code = "protocol"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


class ChainBroken(ProtocolError):
    """A journal record that does not continue the chain; `sequence` says where."""

    code = "chain_broken"

    def __init__(self, sequence: int, message: str) -> None:
        super().__init__(message)
        self.sequence = sequence
