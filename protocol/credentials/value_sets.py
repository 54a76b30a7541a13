"""The agreed lists of codes (vaccines, tests, results ...) that rules and certificates refer to, as a dated whole."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from protocol.errors import ProtocolError

MAX_SETS: Final = 50
MAX_VALUES: Final = 20_000  # over all sets; those of the EU had about 500 in 2022
MAX_BYTES: Final = 512 * 1024
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


class ValueSetError(ProtocolError):
    """A value set that lacks a member or has a wrong one."""

    code = "value_set"


@dataclass(frozen=True, slots=True)
class ValueSet:
    """One list of codes."""

    id: str  # "vaccines-covid-19-names"
    date: str  # of the list, YYYY-MM-DD, as its publisher says
    values: tuple[str, ...]  # sorted, each once


@dataclass(frozen=True, slots=True)
class ValueSets:
    """All lists as they travel in the bundle's part "value_sets"."""

    version: int
    issued_at: datetime  # when they were taken over
    sets: tuple[ValueSet, ...]  # by id

    def age(self, at: datetime) -> timedelta:
        """How long ago they were taken over, for people to see; never negative."""
        return max(timedelta(0), at - self.issued_at)

    def lists(self) -> dict[str, list[str]]:
        """As rules get them: external.valueSets."""
        return {one.id: list(one.values) for one in self.sets}

    def lookup(self) -> dict[str, frozenset[str]]:
        """As the content of a certificate is compared with them (`CheckPolicy.value_sets`)."""
        return {one.id: frozenset(one.values) for one in self.sets}

    def to_bytes(self) -> bytes:
        """JSON in one form: equal sets give equal bytes."""
        content = {
            "version": self.version,
            "issued_at": self.issued_at.astimezone(UTC).isoformat(),
            "sets": {one.id: {"date": one.date, "values": list(one.values)} for one in self.sets},
        }
        return json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def value_set_from_json(content: object) -> ValueSet:
    """Read one file of the EU's repository: `{valueSetId, valueSetDate, valueSetValues: {code: ...}}`.

    Codes that are no longer active stay: certificates with them were issued. Raises ValueSetError.
    """
    if not isinstance(content, Mapping):
        raise ValueSetError("A value set is an object with valueSetId, valueSetDate and valueSetValues.")
    values = content.get("valueSetValues")
    if not isinstance(values, Mapping):
        raise ValueSetError("A value set has valueSetValues, an object whose names are the codes.")
    return _value_set(content.get("valueSetId"), content.get("valueSetDate"), values)


def value_sets_of(sets: Iterable[ValueSet], *, version: int, issued_at: datetime) -> ValueSets:
    """All of *sets* as a whole. Raises ValueSetError when there are none, too many, or one of them twice."""
    ordered = tuple(sorted(sets, key=lambda one: one.id))
    if not 1 <= len(ordered) <= MAX_SETS:
        raise ValueSetError(f"There are {len(ordered)} value sets; expected 1 to {MAX_SETS}.")
    if len({one.id for one in ordered}) != len(ordered):
        raise ValueSetError("One value set is there twice.")
    if sum(len(one.values) for one in ordered) > MAX_VALUES:
        raise ValueSetError(f"The value sets have more than {MAX_VALUES} codes.")
    return ValueSets(version, issued_at, ordered)


def value_sets_from_bytes(data: bytes) -> ValueSets:
    """Read what `to_bytes` made. Raises ValueSetError and nothing else."""
    if len(data) > MAX_BYTES:
        raise ValueSetError("Value sets have at most 512 KiB.")
    try:
        content = json.loads(data)
        issued_at = datetime.fromisoformat(str(content["issued_at"]))
        if issued_at.tzinfo is None or type(content["version"]) is not int:
            raise ValueSetError("Value sets have a version and a time with its zone.")
        sets = [_value_set(name, one["date"], one["values"]) for name, one in content["sets"].items()]
        return value_sets_of(sets, version=content["version"], issued_at=issued_at.astimezone(UTC))
    except ValueSetError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueSetError("The value sets are not as they are written here.") from error


def _value_set(name: object, date: object, values: Iterable[object]) -> ValueSet:
    if not isinstance(name, str) or not _ID.fullmatch(name):
        raise ValueSetError("The id of a value set has 1 to 64 letters, digits and hyphens.")
    if not isinstance(date, str) or not _DATE.fullmatch(date):
        raise ValueSetError(f"The value set {name} has no date (YYYY-MM-DD).")
    codes = list(values)
    if not codes or not all(isinstance(code, str) and 0 < len(code) <= 200 for code in codes):
        raise ValueSetError(f"The value set {name} has no codes, or one that is no text.")
    return ValueSet(name, date, tuple(sorted({str(code) for code in codes})))
