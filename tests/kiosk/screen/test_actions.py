"""What may be pressed: by whom, with which values, and that nothing else gets through."""

from __future__ import annotations

import dataclasses
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk import actions, texts
from kiosk.actions import (
    STAFF_ACTIONS,
    VISITOR_ACTIONS,
    ActionRefused,
    Document,
    Identify,
    ManualEntry,
    ManualWhy,
    ProxyEntry,
    Relation,
    TypedReading,
    parse_action,
)

TODAY = date(2026, 11, 21)
PERSON = {
    "name": " 王 明 ",
    "document": "resident_id",
    "number": "11010519491231002x",
    "phone": "138 0013 8000",
}
PROXY = {"identify": "typed", "person": PERSON, "relation": "child", "helper_name": "王芳", "consent": True}
MANUAL = {"person": PERSON, "why": "no_phone", "celsius": "36.5"}
GOOD: dict[str, dict[str, Any]] = {
    "acknowledge": {},
    "remeasure": {},
    "pause": {"number": 3},
    "resume": {},
    "call_staff": {"why": "elder"},
    "sign_in": {"pin": "2468"},
    "sign_out": {},
    "typed_reading": {"celsius": "36.5"},
    "refuse": {},
    "confirm_card": {},
    "photograph_card": {},
    "proxy_entry": PROXY,
    "manual_entry": MANUAL,
    "leave": {},
    "wave_through": {"direction": "out"},
    "set_inside": {"people": "138"},
    "close_entrance": {"why": "cleaning"},
    "open_entrance": {},
    "fault_report": {"part": "camera", "what": "dirty"},
    "self_test": {},
}


def parse(name: str, values: dict[str, Any], operator: str | None = "s-7") -> Any:
    return parse_action(name, values, operator=operator, today=TODAY)


def test_every_action_has_a_good_example_here_and_a_line_in_the_table() -> None:
    assert GOOD.keys() == VISITOR_ACTIONS.keys() | STAFF_ACTIONS.keys()
    for name in GOOD:
        parse(name, GOOD[name])
        assert name in (actions.__doc__ or "")


@pytest.mark.parametrize("name", STAFF_ACTIONS)
def test_staff_actions_need_somebody_signed_in(name: str) -> None:
    with pytest.raises(ActionRefused) as caught:
        parse(name, GOOD[name], operator=None)
    assert caught.value.field == "operator"


@pytest.mark.parametrize("name", STAFF_ACTIONS)
def test_the_page_cannot_choose_the_operator(name: str) -> None:
    assert parse(name, {**GOOD[name], "operator": "boss"}).operator == "s-7"


def test_an_unknown_action_is_no_action() -> None:
    with pytest.raises(LookupError):
        parse("admit", {})


def test_no_action_can_name_an_outcome() -> None:
    for kind in actions.Action.__args__:
        names = {f.name for f in dataclasses.fields(kind)}
        assert not names & {"outcome", "verdict", "admit", "face"}


def test_a_typed_proxy_entry_is_kept_tidy() -> None:
    action = parse("proxy_entry", PROXY)
    assert isinstance(action, ProxyEntry) and action.person is not None
    assert (action.person.name, action.person.number) == ("王 明", "11010519491231002X")
    assert (action.person.phone, action.person.doubts) == ("+8613800138000", ())
    assert (action.relation, action.helper_name, action.celsius) == (Relation.CHILD, "王芳", None)


@pytest.mark.parametrize("identify", ["paper_code", "id_card"])
def test_a_code_or_card_names_the_helped_person_by_itself(identify: str) -> None:
    action = parse("proxy_entry", {"identify": identify, "relation": "staff", "consent": True})
    assert (action.identify, action.person, action.helper_name) == (Identify(identify), None, None)


@pytest.mark.parametrize("consent", [None, False, "true", 1])
def test_nobody_is_helped_without_consent(consent: object) -> None:
    with pytest.raises(ActionRefused) as caught:
        parse("proxy_entry", {**PROXY, "consent": consent})
    assert caught.value.field == "consent"


def test_a_manual_entry_says_why() -> None:
    action = parse("manual_entry", MANUAL)
    assert isinstance(action, ManualEntry)
    assert (action.why, action.celsius) == (ManualWhy.NO_PHONE, Decimal("36.5"))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"name": "x" * 61}, "name"),
        ({"name": "王\u202e明"}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"document": "library_card"}, "document"),
        ({"number": "110105194912310021"}, "number"),
        ({"number": 5}, "number"),
        ({"document": "passport", "number": "E1;DROP"}, "number"),
        ({"phone": "12345"}, "phone"),
        ({"document": "none", "phone": ""}, "phone"),
    ],
)
def test_a_slip_is_pointed_at(change: dict[str, Any], field: str) -> None:
    with pytest.raises(ActionRefused) as caught:
        parse("manual_entry", {**MANUAL, "person": {**PERSON, **change}})
    assert caught.value.field == field
    assert caught.value.text.zh and caught.value.text.en


def test_staff_may_overrule_the_check_digit_and_the_record_shows_it() -> None:
    odd = {**PERSON, "number": "110105194912310021", "phone": "14912345678", "checked_by_staff": True}
    action = parse("manual_entry", {**MANUAL, "person": odd})
    assert action.person.doubts == ("number", "phone")


def test_nobody_overrules_the_form_of_a_number() -> None:
    for number in ("1234", "1101051949123100211", "11010519491231002Y"):
        with pytest.raises(ActionRefused):
            person = {**PERSON, "number": number, "checked_by_staff": True}
            parse("manual_entry", {**MANUAL, "person": person})


def test_a_person_without_a_document_is_known_by_phone() -> None:
    person = {"name": "李", "document": "none", "phone": "13800138000"}
    action = parse("manual_entry", {**MANUAL, "person": person})
    assert (action.person.document, action.person.number) == (Document.NONE, None)


@pytest.mark.parametrize(("typed", "value"), [("36.5", "36.5"), ("３６．５", "36.5"), ("37", "37"), ("36,8", "36.8")])
def test_a_typed_temperature_is_read(typed: str, value: str) -> None:
    assert parse("typed_reading", {"celsius": typed}) == TypedReading("s-7", Decimal(value))


@pytest.mark.parametrize(
    "typed", ["", None, "nan", "inf", "3e1", "29.9", "45.1", "-36", "36.55", "365", 36.5, "三十六"]
)
def test_a_temperature_that_cannot_be_meant_is_refused(typed: object) -> None:
    with pytest.raises(ActionRefused):
        parse("typed_reading", {"celsius": typed})


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(GOOD)), st.data())
def test_hostile_values_are_refused_and_never_break_the_parser(name: str, data: st.DataObject) -> None:
    values = dict(GOOD[name])
    for key in values:
        if data.draw(st.booleans()):
            values[key] = data.draw(anything)
    if isinstance(values.get("person"), dict):
        values["person"] = {
            key: data.draw(anything) if data.draw(st.booleans()) else value for key, value in values["person"].items()
        }
    try:
        parse(name, values)
    except ActionRefused as refused:
        assert refused.text.zh and refused.text.en


def test_nothing_personal_stands_in_a_printed_action() -> None:
    for name in ("proxy_entry", "manual_entry", "sign_in"):
        shown = repr(parse(name, GOOD[name]))
        for secret in ("王", "1949", "138001", "2468"):
            assert secret not in shown


@pytest.mark.parametrize(
    ("words", "kind"),
    [("identify", Identify), ("document", Document), ("relation", Relation), ("why", ManualWhy)],
)
def test_every_choice_has_its_words(words: str, kind: Any) -> None:
    assert set(texts.WORDS[words]) == {member.value for member in kind}
    assert set(texts.WORDS["part"]) == set(actions.FAULT_PARTS)
    assert set(texts.WORDS["what"]) == set(actions.FAULT_KINDS)
