"""Turns CBOR maps with small integer keys into checked Python values and back; everything that travels uses it."""

from __future__ import annotations

from typing import Any, TypeVar

from protocol.errors import ProtocolError

T = TypeVar("T")


class Fields:
    """A decoded CBOR map whose values are taken out one by one, each with its type and bounds.

    `done()` refuses whatever was not taken: a field we do not know is a version we do not speak.
    """

    def __init__(self, value: object, what: str) -> None:
        if not isinstance(value, dict) or not all(type(k) is int for k in value):
            raise ProtocolError(f"{what} is not a map with integer keys", code="not_a_map")
        self._left: dict[int, Any] = dict(value)
        self._what = what

    def _wrong(self, key: int, found: object, expected: str) -> ProtocolError:
        return ProtocolError(
            f"{self._what}: field {key} is {type(found).__name__}, expected {expected}", code="bad_field"
        )

    def maybe(self, key: int, kind: type[T]) -> T | None:
        """Take field *key*, or None when it is absent; raises ProtocolError when it has another type."""
        if key not in self._left:
            return None
        value = self._left.pop(key)
        if type(value) is not kind:
            raise self._wrong(key, value, kind.__name__)
        return value

    def take(self, key: int, kind: type[T]) -> T:
        """Take field *key*; raises ProtocolError when it is absent or has another type."""
        value = self.maybe(key, kind)
        if value is None:
            raise ProtocolError(f"{self._what}: field {key} is missing", code="missing_field")
        return value

    def integer(self, key: int, low: int = 0, high: int = 2**63 - 1) -> int:
        """Take an integer within *low*..*high*, both included."""
        value = self.take(key, int)
        if not low <= value <= high:
            raise ProtocolError(f"{self._what}: field {key} is {value}, expected {low}..{high}", code="out_of_range")
        return value

    def octets(self, key: int, *, exactly: int | None = None, at_most: int = 65536) -> bytes:
        """Take a byte string of the given length."""
        value = self.take(key, bytes)
        if (exactly is not None and len(value) != exactly) or len(value) > at_most:
            expected = exactly if exactly is not None else f"at most {at_most}"
            raise ProtocolError(
                f"{self._what}: field {key} has {len(value)} bytes, expected {expected}", code="bad_length"
            )
        return value

    def text(self, key: int, *, at_most: int = 200) -> str:
        """Take a text of at most *at_most* characters."""
        value = self.take(key, str)
        if len(value) > at_most:
            raise ProtocolError(
                f"{self._what}: field {key} has {len(value)} characters, limit {at_most}", code="too_long"
            )
        return value

    def maybe_text(self, key: int, *, at_most: int = 200) -> str | None:
        """Take a text of at most *at_most* characters, or None when it is absent."""
        return self.text(key, at_most=at_most) if key in self._left else None

    def maybe_octets(self, key: int, *, exactly: int | None = None, at_most: int = 65536) -> bytes | None:
        """Take a byte string, or None when it is absent."""
        return self.octets(key, exactly=exactly, at_most=at_most) if key in self._left else None

    def number(self, key: int) -> float | None:
        """Take a finite number, or None when it is absent."""
        if key not in self._left:
            return None
        value = self._left.pop(key)
        if type(value) not in (int, float) or value != value or value in (float("inf"), float("-inf")):
            raise self._wrong(key, value, "a finite number")
        return float(value)

    def texts(self, key: int, *, most: int = 32, at_most: int = 64) -> tuple[str, ...]:
        """Take a list of at most *most* short texts; an absent field is an empty list."""
        values = self.maybe(key, list)
        if values is None:
            return ()
        if len(values) > most or not all(type(v) is str and len(v) <= at_most for v in values):
            raise ProtocolError(
                f"{self._what}: field {key} is not a list of at most {most} short texts", code="bad_list"
            )
        return tuple(values)

    def any(self, key: int) -> Any:
        """Take field *key* whatever it is, or None when it is absent."""
        return self._left.pop(key, None)

    def done(self) -> None:
        """Raise ProtocolError when fields are left that nobody asked for."""
        if self._left:
            raise ProtocolError(f"{self._what}: unknown fields {sorted(self._left)}", code="unknown_field")


def without_none(fields: dict[int, Any]) -> dict[int, Any]:
    """Drop the fields whose value is None or an empty list: absent and empty are one thing on the wire."""
    return {k: v for k, v in fields.items() if v is not None and v != []}
