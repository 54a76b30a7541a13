"""Agreed lists of codes as a dated whole, and what is said of a rule before it is put in force."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.certlogic import CertLogicError, evaluate
from protocol.credentials.rule_check import MOST_FAULTS, Fault, faults
from protocol.credentials.rules import RuleSet, rule_set_from_json
from protocol.credentials.value_sets import (
    ValueSet,
    ValueSetError,
    ValueSets,
    value_set_from_json,
    value_sets_from_bytes,
    value_sets_of,
)

AT = datetime(2026, 3, 2, tzinfo=UTC)
FILE = {"valueSetId": "covid-19-lab-result", "valueSetDate": "2021-04-27", "valueSetValues": {"b": {}, "a": {}}}
SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "dcc"


def rules(*logic: object, value_sets: dict[str, list[str]] | None = None) -> RuleSet:
    rows = [
        {
            "Identifier": f"GR-XX-{number:04}",
            "Version": "1.0.0",
            "Type": "Acceptance",
            "CertificateType": "General",
            "ValidFrom": "2021-01-01T00:00:00Z",
            "ValidTo": "2040-01-01T00:00:00Z",
            "Logic": one,
        }
        for number, one in enumerate(logic)
    ]
    content = {"version": 1, "issued_at": "2026-01-01T00:00:00Z", "rules": rows, "value_sets": value_sets or {}}
    return rule_set_from_json(content)


def test_value_sets_travel_unchanged_and_say_their_age() -> None:
    sets = value_sets_of([value_set_from_json(FILE)], version=3, issued_at=AT)
    assert value_sets_from_bytes(sets.to_bytes()) == sets
    assert sets.lists() == {"covid-19-lab-result": ["a", "b"]}
    assert sets.age(AT + timedelta(days=4)) == timedelta(days=4) and sets.age(AT - timedelta(days=1)) == timedelta(0)


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        {},
        {**FILE, "valueSetId": 1},
        {**FILE, "valueSetId": "a b"},
        {**FILE, "valueSetDate": "lately"},
        {**FILE, "valueSetValues": ["a"]},
        {**FILE, "valueSetValues": {}},
        {**FILE, "valueSetValues": {"": {}}},
        {**FILE, "valueSetValues": {"x" * 201: {}}},
    ],
)
def test_what_is_no_value_set_is_refused(wrong: object) -> None:
    with pytest.raises(ValueSetError):
        value_set_from_json(wrong)


def test_a_set_that_is_there_twice_or_not_at_all_is_refused() -> None:
    one = ValueSet("a", "2021-01-01", ("x",))
    for sets in ([], [one, one], [ValueSet(f"a{n}", "2021-01-01", ("x",)) for n in range(51)]):
        with pytest.raises(ValueSetError):
            value_sets_of(sets, version=1, issued_at=AT)


@given(st.binary(max_size=200) | st.recursive(st.none() | st.text(), st.lists).map(lambda v: json.dumps(v).encode()))
def test_bytes_of_all_sorts_never_raise_anything_else(data: bytes) -> None:
    try:
        value_sets_from_bytes(data)
    except ValueSetError:
        return
    raise AssertionError("nothing of this is a value set")


@pytest.mark.parametrize(
    ("logic", "what", "where", "found"),
    [
        ({"==": [1, 1]}, "operation", "Logic", "=="),
        ({"and": [{"or": [True, True]}, True]}, "operation", "and[0]", "or"),
        ({"if": [True, False]}, "operands", "Logic", "if: 2"),
        ({"!": True}, "operands", "Logic", "!: 0"),
        ({"===": [1.5, 1]}, "literal", "===[0]", "1.5"),
        ({"===": [None, 1]}, "literal", "===[0]", "null"),
        ({"===": [{"var": "paylod.v"}, 1]}, "variable", "===[0]", "paylod.v"),
        ({"plusTime": [{"var": "external.validationClock"}, 1, "week"]}, "unit", "Logic", "week"),
        ({"in": ["a", {"var": "external.valueSets.no-such"}]}, "value_set", "in[1]", "external.valueSets.no-such"),
        ({"and": [True, {">": [1, 2], "<": [1, 2]}]}, "shape", "and[1]", ">, <"),
        ({"===": [{"var": "current.x"}, 1]}, "variable", "===[0]", "current.x"),
    ],
)
def test_a_rule_that_cannot_work_is_pointed_at(logic: object, what: str, where: str, found: str) -> None:
    assert faults(rules(logic), {}) == [Fault("GR-XX-0000", where, what, found)]


def test_what_works_has_no_fault() -> None:
    reduced = {"reduce": [{"var": "payload.v"}, {"+": [{"var": "accumulator"}, {"var": "current.dn"}]}, 0]}
    listed = {"in": [{"var": "payload.v.0.mp"}, {"var": "external.valueSets.names"}]}
    assert faults(rules({">": [reduced, 2]}, listed, value_sets={"names": ["x"]}), {}) == []
    assert faults(rules(listed), {"names": frozenset()}) == []
    assert len(faults(rules(*[{"==": []}] * 50))) == MOST_FAULTS


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["var", "if", "and", "in", "+", "===", "reduce", "x"]), inner, max_size=2)
    ),
    max_leaves=12,
)


@given(JSON)
def test_whatever_stands_there_is_answered_and_a_faultless_shape_fails_by_its_operands_only(logic: object) -> None:
    found = faults(rules(logic), {})
    if found:
        return
    try:
        evaluate(logic, {"payload": {}, "external": {}})
    except CertLogicError as error:
        assert "not part of CertLogic" not in error.message and "operands, not" not in error.message


@pytest.mark.shared_data
def test_the_public_value_sets_and_rules_are_taken() -> None:
    if not SHARED.exists():
        pytest.skip(f"no shared data at {SHARED}")
    files = sorted((SHARED / "reference" / "valuesets").glob("*.json"))
    found = [value_set_from_json(json.loads(path.read_bytes())) for path in files]
    sets: ValueSets = value_sets_of(found, version=1, issued_at=AT)
    assert len(sets.sets) == len(files) == 8 and len(sets.to_bytes()) < 16_000
    content = json.loads((SHARED / "certlogic" / "business-rules.json").read_bytes())
    known = {name for group in content["valueSets"].values() for name in group} | set(sets.lists())
    for entry in content["rules"]:
        whole = {"version": 1, "issued_at": "2022-01-01T00:00:00Z", "rules": [entry["rule"]]}
        assert faults(rule_set_from_json(whole), dict.fromkeys(known)) == [], entry["rule"]["Identifier"]
