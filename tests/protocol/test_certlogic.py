"""CertLogic: the traps of the specification, and what is an error there."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.commands.certlogic import answer
from protocol.certlogic import CertLogicError, evaluate, to_json_value


def plus(text: str, amount: int, unit: str) -> object:
    return to_json_value(evaluate({"plusTime": [text, amount, unit]}, None))


@pytest.mark.parametrize(
    ("text", "amount", "unit", "expected"),
    [
        ("2020-02-29", 1, "day", "2020-03-01T00:00:00.000Z"),
        ("2020-02-29", 1, "month", "2020-03-29T00:00:00.000Z"),
        ("2020-02-29", 1, "year", "2021-03-01T00:00:00.000Z"),
        ("2021-01-31", 1, "month", "2021-03-03T00:00:00.000Z"),
        ("2021-01-31", -2, "month", "2020-12-01T00:00:00.000Z"),
        ("2004", 18, "year", "2022-12-31T00:00:00.000Z"),
        ("2004-02", 0, "day", "2004-02-29T00:00:00.000Z"),
        ("2021-05-01T10:00:00+02:00", 0, "hour", "2021-05-01T08:00:00.000Z"),
        ("2021-05-01T10:00:00+2", 0, "hour", "2021-05-01T08:00:00.000Z"),
        ("2021-05-01T10:00:00-0230", 0, "hour", "2021-05-01T12:30:00.000Z"),
        ("2021-05-01T10:00:00+230", 0, "hour", "2021-05-01T07:30:00.000Z"),
        ("2021-05-01T10:00:00.98765432Z", -1, "hour", "2021-05-01T09:00:00.987Z"),
        ("2021-05-01T10:00:00.5", 24, "hour", "2021-05-02T10:00:00.500Z"),
    ],
)
def test_dates_are_reckoned_as_the_specification_says(text: str, amount: int, unit: str, expected: str) -> None:
    assert plus(text, amount, unit) == expected


@pytest.mark.parametrize(
    "expression",
    [
        None,
        1.5,
        {},
        {"and": [True, True], "or": []},
        {"or": [True, False]},
        {"and": [True]},
        {"if": [True, 1]},
        {"===": [1]},
        {"+": [1, "1"]},
        {"+": [True, 1]},
        {">": [1, None]},
        {">": ["2", "1"]},
        {">": [1, 2, 3, 4]},
        {"in": [1, "123"]},
        {"!": []},
        {"!": [{"plusTime": ["2021-01-01", 0, "day"]}]},
        {"if": [{"plusTime": ["2021-01-01", 0, "day"]}, 1, 2]},
        {"after": ["2021-01-01", "2020-01-01"]},
        {"plusTime": ["yesterday", 1, "day"]},
        {"plusTime": ["2021-02-30", 1, "day"]},
        {"plusTime": ["2021-13", 1, "day"]},
        {"plusTime": ["0000-01-01", 1, "day"]},
        {"plusTime": ["2021-01-01", 1, "week"]},
        {"plusTime": ["2021-01-01", 10**12, "year"]},
        {"plusTime": [{"plusTime": ["2021-01-01", 1, "day"]}, 1, "day"]},
        {"dccDateOfBirth": [""]},
        {"reduce": ["abc", 1, 2]},
        {"var": [1]},
        {"extractFromUVCI": [7, 0]},
        {">": 1},
    ],
)
def test_an_invalid_expression_is_our_error_and_never_another(expression: object) -> None:
    with pytest.raises(CertLogicError):
        evaluate(expression, {})


def test_a_hostile_rule_ends() -> None:
    deep: object = True
    for _ in range(5_000):
        deep = {"!": [deep]}
    doubling = {"reduce": [{"var": ""}, {"+": [{"var": "accumulator"}, {"var": "accumulator"}]}, 1]}
    square = {"reduce": [{"var": ""}, {"reduce": [{"var": "data"}, {"===": [1, 1]}, 0]}, 0]}
    with pytest.raises(CertLogicError, match="deep"):
        evaluate(deep, {})
    with pytest.raises(CertLogicError, match="53"):
        evaluate(doubling, [1] * 100)
    with pytest.raises(CertLogicError, match="steps"):
        evaluate(square, [1] * 2_000)


@pytest.mark.parametrize("step", [{"var": ""}, [{"var": "accumulator"}, {"var": "accumulator"}]])
def test_a_result_too_large_to_write_down_is_our_error(step: object) -> None:
    value = evaluate({"reduce": [{"var": ""}, step, {"plusTime": ["2021", 0, "day"]}]}, [1] * 5_000)
    with pytest.raises(CertLogicError, match="large"):
        to_json_value(value)


def test_a_date_inside_an_object_is_written_as_text() -> None:
    value = evaluate({"reduce": [[7], {"var": ""}, {"plusTime": ["2021-01-01", 0, "day"]}]}, {})
    written = json.loads(json.dumps(to_json_value(value)))
    assert written["current"] == 7 and written["accumulator"] == "2021-01-01T00:00:00.000Z"


def test_arrays_are_never_equal_so_that_comparing_stays_cheap() -> None:
    doubled = {"reduce": [{"var": "l"}, [{"var": "accumulator"}, {"var": "accumulator"}], 0]}
    assert evaluate({"===": [doubled, doubled]}, {"l": [1] * 60}) is False
    assert evaluate({"in": [[1], [[1]]]}, {}) is False


def test_equality_does_not_mix_types() -> None:
    for left, right in ((1, True), (0, False), ("1", 1), (0, ""), (None, False)):
        data = {"l": left, "r": right}
        assert evaluate({"===": [{"var": "l"}, {"var": "r"}]}, data) is False
        assert evaluate({"in": [{"var": "l"}, [{"var": "r"}]]}, data) is False


def test_the_command_answers_every_line() -> None:
    assert answer('{"logic": {"+": [1, 2]}}') == {"result": 3}
    assert "error" in answer('{"logic": {"+": [1]}}')
    assert "error" in answer("{")
    assert "error" in answer("[]")
    assert "error" in answer("[" * 100_000)
    assert "error" in answer(b'{"logic": "\xff"}')
    assert "error" in answer('{"logic": {"var": ""}, "data": NaN}')
    born = {"logic": {"dccDateOfBirth": [{"var": "dob"}]}, "data": {"dob": "1999-02"}}
    assert answer(json.dumps(born)) == {"result": "1999-02-28T00:00:00.000Z"}


OPERATIONS = ["if", "and", "===", "in", "+", "!", "<", "after", "plusTime", "dccDateOfBirth", "reduce", "var"]
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.dates().map(str)
expressions = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(OPERATIONS), st.lists(inner, max_size=3) | inner, max_size=2)
    ),
    max_leaves=12,
)


@given(expressions, st.dictionaries(st.text(max_size=3), leaves, max_size=3))
def test_any_expression_gives_a_value_or_our_error(expression: object, data: object) -> None:
    try:
        value = evaluate(expression, data)
    except CertLogicError:
        return
    json.dumps(to_json_value(value))


def test_a_result_that_is_a_date_is_printed_in_utc() -> None:
    moment = datetime(2021, 5, 1, 10, 0, 0, 123_000, tzinfo=UTC)
    assert to_json_value([moment]) == ["2021-05-01T10:00:00.123Z"]
