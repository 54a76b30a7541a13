"""CertLogic 1.3: the small rule language of the EU's business rules, evaluated to the letter and within bounds.

Source: "CertLogic: specification", version 1.3.x, of the eHealth Network's business rules repository. Expressions and
data are JSON values as `json.loads` gives them; dates exist only inside, made by `plusTime` and `dccDateOfBirth`.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, TypeGuard, TypeVar

from protocol.errors import ProtocolError

SPECIFICATION_VERSION: Final = "1.3.3"
MAX_DEPTH: Final = 64  # nested operations; the deepest public rule has 14
MAX_STEPS: Final = 100_000  # evaluated operations of one expression; a public rule needs some hundreds
MAX_INTEGER: Final = 2**53 - 1  # what every platform of the specification can hold exactly


_T = TypeVar("_T")


class CertLogicError(ProtocolError):
    """An invalid expression, or operands that the operation does not take; the specification asks for an error."""

    code = "certlogic"


def evaluate(expression: object, data: object) -> object:
    """The value of *expression* over *data*: a JSON value or an aware `datetime` with milliseconds.

    Raises CertLogicError, and nothing else, for an invalid expression, for operands of the wrong type, and when the
    bounds above are exceeded.
    """
    try:
        return _Run().value(expression, data, 0)
    except (OverflowError, RecursionError) as error:
        raise CertLogicError("A value leaves the range that can be computed with.") from error


def to_json_value(value: object) -> object:
    """A result as JSON: date-times become text with milliseconds and Z.

    Raises CertLogicError for a result of more than MAX_STEPS values: `reduce` can build in a few steps what would take
    for ever to write down.
    """
    return _Writing().value(value, 0)


class _Writing:
    """One conversion to JSON, which counts its values."""

    def __init__(self) -> None:
        self.written = 0

    def value(self, value: object, depth: int) -> object:
        self.written += 1
        if self.written > MAX_STEPS or depth > MAX_DEPTH:
            raise CertLogicError("The result is too large to be written down.")
        if isinstance(value, datetime):
            return value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}Z"
        if isinstance(value, list):
            return [self.value(item, depth + 1) for item in value]
        if isinstance(value, Mapping):
            return {name: self.value(item, depth + 1) for name, item in value.items()}
        return value


def is_truthy(value: object) -> bool:
    """True for true, non-empty text, arrays and objects, and integers but 0; a date is neither truthy nor falsy."""
    if isinstance(value, bool):
        return value
    if _is_integer(value):
        return value != 0
    return isinstance(value, str | list | Mapping) and len(value) > 0


def is_falsy(value: object) -> bool:
    """True for false, null, 0, and empty text, arrays and objects."""
    if value is None or value is False:
        return True
    if _is_integer(value):
        return value == 0
    return isinstance(value, str | list | Mapping) and len(value) == 0


def _is_integer(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int) and not isinstance(value, bool) or isinstance(value, float) and value.is_integer()


def _integer(value: object, what: str) -> int:
    if not _is_integer(value):
        raise CertLogicError(f"{what} takes integers.")
    number = int(value)
    if abs(number) > MAX_INTEGER:
        raise CertLogicError("An integer leaves the range of 53 bits.")
    return number


def _same(left: object, right: object) -> bool:
    """Equality without coercion: true is not 1. Two arrays or objects are never equal, as in JavaScript."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if _is_integer(left) or _is_integer(right):
        return _is_integer(left) and _is_integer(right) and left == right
    return type(left) is type(right) and not isinstance(left, list | Mapping) and left == right


_COMPARISONS: Final[dict[str, Callable[[int, int], bool]]] = {
    "<": int.__lt__,
    ">": int.__gt__,
    "<=": int.__le__,
    ">=": int.__ge__,
}
_DATE_COMPARISONS: Final[dict[str, Callable[[datetime, datetime], bool]]] = {
    "after": datetime.__gt__,
    "before": datetime.__lt__,
    "not-after": datetime.__le__,
    "not-before": datetime.__ge__,
}


class _Run:
    """One evaluation, which counts its steps."""

    def __init__(self) -> None:
        self.steps = 0

    def value(self, expression: object, data: object, depth: int) -> object:
        if isinstance(expression, str) or isinstance(expression, bool):
            return expression
        if _is_integer(expression):
            return _integer(expression, "A literal")
        if depth > MAX_DEPTH:
            raise CertLogicError("The expression is nested too deeply.")
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise CertLogicError("The expression takes too many steps.")
        if isinstance(expression, list):
            return [self.value(item, data, depth + 1) for item in expression]
        if not isinstance(expression, Mapping) or len(expression) != 1:
            raise CertLogicError("An expression is a boolean, integer, text, array, or an object with one operation.")
        ((name, operands),) = expression.items()
        if name == "var":
            return _drill(operands, data)
        if not isinstance(operands, list) or not operands:
            raise CertLogicError("The operands of an operation stand in a non-empty array.")
        return self._operation(name, operands, data, depth + 1)

    def _operation(self, name: object, operands: Sequence[object], data: object, depth: int) -> object:
        if name == "if":
            guard, then, otherwise = _exactly(operands, 3, "if")
            value = self.value(guard, data, depth)
            if is_truthy(value):
                return self.value(then, data, depth)
            if is_falsy(value):
                return self.value(otherwise, data, depth)
            raise CertLogicError("The guard of an if is neither truthy nor falsy.")
        if name == "and":
            return self._and(operands, data, depth)
        if name == "reduce":
            return self._reduce(operands, data, depth)
        values = [self.value(operand, data, depth) for operand in operands]
        if name == "===":
            return _same(*_exactly(values, 2, "==="))
        if name == "in":
            item, members = _exactly(values, 2, "in")
            if not isinstance(members, list):
                raise CertLogicError("in takes an array on its right-hand side.")
            return any(_same(item, member) for member in members)
        if name == "+":
            left, right = _exactly(values, 2, "+")
            return _integer(_integer(left, "+") + _integer(right, "+"), "+")
        if name == "!":
            (value,) = _exactly(values, 1, "!")
            if not is_truthy(value) and not is_falsy(value):
                raise CertLogicError("! takes something truthy or falsy.")
            return is_falsy(value)
        if name in _COMPARISONS:
            numbers = [_integer(value, str(name)) for value in values]
            return _in_order(numbers, _COMPARISONS[str(name)])
        if name in _DATE_COMPARISONS:
            times = [_date_time(value, str(name)) for value in values]
            return _in_order(times, _DATE_COMPARISONS[str(name)])
        if name == "plusTime":
            text, amount, unit = _exactly(values, 3, "plusTime")
            return plus_time(text, _integer(amount, "plusTime"), unit)
        if name == "dccDateOfBirth":
            (text,) = _exactly(values, 1, "dccDateOfBirth")
            return date_of_birth(text)
        if name == "extractFromUVCI":
            text, index = _exactly(values, 2, "extractFromUVCI")
            return extract_from_uvci(text, _integer(index, "extractFromUVCI"))
        raise CertLogicError("This operation is not part of CertLogic.")

    def _and(self, operands: Sequence[object], data: object, depth: int) -> object:
        if len(operands) < 2:
            raise CertLogicError("and takes at least two operands.")
        value: object = None
        for operand in operands:  # lazily, in order
            value = self.value(operand, data, depth)
            if is_falsy(value):
                return value
            if not is_truthy(value):
                raise CertLogicError("An operand of and is neither truthy nor falsy.")
        return value

    def _reduce(self, operands: Sequence[object], data: object, depth: int) -> object:
        operand, function, initial = _exactly(operands, 3, "reduce")
        items = self.value(operand, data, depth)
        accumulator = self.value(initial, data, depth)
        if items is None:
            return accumulator
        if not isinstance(items, list):
            raise CertLogicError("reduce takes an array.")
        for item in items:
            accumulator = self.value(function, {"current": item, "accumulator": accumulator, "data": data}, depth)
        return accumulator


def _exactly(values: Sequence[object], count: int, name: str) -> Sequence[object]:
    if len(values) != count:
        raise CertLogicError(f"{name} takes {count} operands, not {len(values)}.")
    return values


def _in_order(values: Sequence[_T], test: Callable[[_T, _T], bool]) -> bool:
    if len(values) not in (2, 3):
        raise CertLogicError("A comparison takes two or three operands.")
    return all(test(left, right) for left, right in zip(values, values[1:], strict=False))


def _drill(path: object, data: object) -> object:
    """`var`: null for whatever is not there."""
    if isinstance(path, int) and not isinstance(path, bool):
        path = str(path)
    if not isinstance(path, str):
        raise CertLogicError("var takes a path.")
    if path == "":
        return data
    here = data
    for fragment in path.split("."):
        if isinstance(here, Mapping):
            here = here.get(fragment)
        elif isinstance(here, list) and fragment.isascii() and fragment.isdigit() and len(fragment) <= 9:
            index = int(fragment)
            here = here[index] if index < len(here) else None
        else:
            return None
    return here


_DATE: Final = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?", re.ASCII)
_DATE_TIME: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:Z|([+-])(\d{1,2}?)(?::?(\d\d))?)?", re.ASCII
)


def _date_time(value: object, what: str) -> datetime:
    if not isinstance(value, datetime):
        raise CertLogicError(f"{what} takes date-times, made with plusTime or dccDateOfBirth.")
    return value


def date_of_birth(text: object) -> datetime:
    """`dccDateOfBirth`: midnight UTC of the last day that the (partial) date can mean. Raises CertLogicError."""
    found = _DATE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise CertLogicError("A date of birth is YYYY, YYYY-MM or YYYY-MM-DD.")
    year, month = int(found[1]), int(found[2] or 12)
    try:
        return datetime(year, month, int(found[3] or monthrange(year, month)[1]), tzinfo=UTC)
    except ValueError as error:  # calendar.IllegalMonthError is one too
        raise CertLogicError("This day is not in the calendar.") from error


def _parse(text: object) -> datetime:
    if not isinstance(text, str):
        raise CertLogicError("plusTime takes a text with a date or date-time.")
    found = _DATE_TIME.fullmatch(text)
    if found is None:
        return date_of_birth(text)
    year, month, day, hour, minute, second = (int(found[group]) for group in range(1, 7))
    milliseconds = int((found[7] or "0")[:3].ljust(3, "0"))
    offset = timedelta(hours=int(found[9] or 0), minutes=int(found[10] or 0))
    try:
        local = datetime(year, month, day, hour, minute, second, milliseconds * 1000, tzinfo=UTC)
        return local + offset if found[8] == "-" else local - offset
    except (ValueError, OverflowError) as error:
        raise CertLogicError("This moment is not in the calendar.") from error


def plus_time(text: object, amount: int, unit: object) -> datetime:
    """`plusTime`: *amount* years, months, days or hours after the moment in *text*, as ECMAScript's Date reckons.

    A day that the target month lacks runs over: 29 February plus a year is 1 March. Raises CertLogicError.
    """
    moment = _parse(text)
    try:
        if unit == "hour":
            return moment + timedelta(hours=amount)
        if unit == "day":
            return moment + timedelta(days=amount)
        if unit in ("month", "year"):
            months = moment.year * 12 + moment.month - 1 + (amount if unit == "month" else 12 * amount)
            first = moment.replace(year=months // 12, month=months % 12 + 1, day=1)
            return first + timedelta(days=moment.day - 1)
    except (ValueError, OverflowError) as error:
        raise CertLogicError("The moment leaves the calendar.") from error
    raise CertLogicError("A time unit is year, month, day or hour.")


_SEPARATORS: Final = re.compile(r"[/#:]")


def extract_from_uvci(text: object, index: int) -> str | None:
    """`extractFromUVCI`: the fragment of a certificate id at *index*, without the optional URN:UVCI: in front."""
    if text is None:
        return None
    if not isinstance(text, str):
        raise CertLogicError("extractFromUVCI takes a text or null.")
    fragments = _SEPARATORS.split(text.removeprefix("URN:UVCI:"))
    return fragments[index] if 0 <= index < len(fragments) else None
