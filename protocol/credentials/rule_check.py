"""Looks at a rule before it is put in force and says in words what cannot work. Pure; no data is evaluated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from protocol.certlogic import MAX_DEPTH
from protocol.credentials.rules import RuleSet

# operation -> how many operands (at least, at most); CertLogic 1.3
OPERATIONS: Final[Mapping[str, tuple[int, int]]] = {
    "if": (3, 3),
    "and": (2, 100),
    "reduce": (3, 3),
    "===": (2, 2),
    "in": (2, 2),
    "+": (2, 2),
    "!": (1, 1),
    **{name: (2, 3) for name in (">", "<", ">=", "<=", "after", "before", "not-after", "not-before")},
    "plusTime": (3, 3),
    "dccDateOfBirth": (1, 1),
    "extractFromUVCI": (2, 2),
}
UNITS: Final = ("day", "hour", "month", "year")
_ROOTS: Final = ("payload", "external")  # what a rule is given
_IN_REDUCE: Final = ("current", "accumulator", "data")
MOST_FAULTS: Final = 20


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that cannot work."""

    identifier: str  # of the rule
    where: str  # the way to it: "if[1].and[0]"
    what: str  # "operation", "operands", "literal", "variable", "unit", "depth", "shape", "value_set"
    found: str  # what stands there, shortened


def faults(rules: RuleSet, value_sets: Mapping[str, object] | None = None) -> list[Fault]:
    """What cannot work in *rules*, at most MOST_FAULTS; *value_sets* are the names that rules may refer to."""
    found: list[Fault] = []
    known = None if value_sets is None else {*value_sets, *rules.value_sets}
    for rule in rules.rules:
        _look(rule.logic, rule.identifier, "", _ROOTS, known, found, 0)
        if len(found) >= MOST_FAULTS:
            break
    return found[:MOST_FAULTS]


def _look(
    part: object,
    rule: str,
    where: str,
    roots: tuple[str, ...],
    value_sets: set[str] | None,
    found: list[Fault],
    depth: int,
) -> None:
    def fault(what: str, shown: object) -> None:
        found.append(Fault(rule, where or "Logic", what, str(shown)[:60]))

    if depth > MAX_DEPTH:
        return fault("depth", MAX_DEPTH)
    if isinstance(part, str | bool | int) or (isinstance(part, float) and part.is_integer()):
        return None
    if isinstance(part, list):
        for number, item in enumerate(part):
            _look(item, rule, f"{where}[{number}]", roots, value_sets, found, depth + 1)
        return None
    if not isinstance(part, Mapping):
        return fault("literal", "null" if part is None else part)
    if len(part) != 1:
        return fault("shape", ", ".join(map(str, part)))
    ((name, operands),) = part.items()
    if name == "var":
        return _look_at_variable(operands, roots, value_sets, fault)
    bounds = OPERATIONS.get(str(name))
    if bounds is None:
        return fault("operation", name)
    if not isinstance(operands, list) or not bounds[0] <= len(operands) <= bounds[1]:
        count = len(operands) if isinstance(operands, list) else 0
        return fault("operands", f"{name}: {count}")
    if name == "plusTime" and isinstance(operands[2], str) and operands[2] not in UNITS:
        fault("unit", operands[2])
    for number, item in enumerate(operands):
        inner = _IN_REDUCE if name == "reduce" and number == 1 else roots
        _look(item, rule, f"{where}{'.' if where else ''}{name}[{number}]", inner, value_sets, found, depth + 1)
    return None


def _look_at_variable(
    path: object, roots: tuple[str, ...], value_sets: set[str] | None, fault: Callable[[str, object], None]
) -> None:
    if path == "" or type(path) is int:
        return
    if not isinstance(path, str):
        fault("variable", path)
        return
    root, *rest = path.split(".")
    if root not in roots:
        fault("variable", path)
    elif rest[:1] == ["valueSets"] and value_sets is not None and (len(rest) < 2 or rest[1] not in value_sets):
        fault("value_set", path)
