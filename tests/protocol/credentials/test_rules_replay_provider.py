"""Rules of a place, pass-back, and what a provincial provider may say."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from protocol.credentials import CheckPolicy, Reason, check
from protocol.credentials.provincial import CheckAnswer, CheckRequest, ProviderError, Status, to_checked
from protocol.credentials.replay import ReplayWindow
from protocol.credentials.rules import RuleError, RuleSet, rule_set_from_json
from protocol.words import Colour

from .makers import NOW, TRUST, health
from .test_dcc import AT, TEST, dcc, reasons

YOUNG_TEST = {
    "Identifier": "TR-XX-0001",
    "Version": "1.0.0",
    "Type": "Acceptance",
    "CertificateType": "Test",
    "ValidFrom": "2021-01-01T00:00:00Z",
    "ValidTo": "2030-01-01T00:00:00Z",
    "Logic": {
        "before": [
            {"plusTime": [{"var": "external.validationClock"}, 0, "day"]},
            {"plusTime": [{"var": "payload.t.0.sc"}, 48, "hour"]},
        ]
    },
    "Description": [{"lang": "en", "desc": "A test is younger than 48 hours."}],
}


def rules(*rows: dict[str, object], **more: object) -> RuleSet:
    return rule_set_from_json({"version": 3, "issued_at": "2021-09-30T00:00:00Z", "rules": list(rows), **more})


def asked(rule_set: RuleSet, groups: dict[str, object] | None = None) -> tuple[Reason, ...]:
    return reasons(dcc(groups), policy=CheckPolicy(rules=rule_set))


def test_a_place_can_ask_for_a_test_under_48_hours_as_data() -> None:
    old = TEST | {"sc": "2021-09-29T08:00:00Z"}
    assert asked(rules(YOUNG_TEST), {"t": [TEST]}) == ()
    assert asked(rules(YOUNG_TEST), {"t": [old]}) == (Reason.RULE_NOT_MET,)
    assert asked(rules(YOUNG_TEST)) == ()  # a vaccination is not looked at by a rule for tests


def test_the_highest_version_in_force_counts() -> None:
    never = YOUNG_TEST | {"Version": "1.10.0", "Logic": False}
    assert asked(rules(YOUNG_TEST, never), {"t": [TEST]}) == (Reason.RULE_NOT_MET,)
    later = never | {"ValidFrom": "2029-01-01T00:00:00Z"}
    assert asked(rules(YOUNG_TEST, later), {"t": [TEST]}) == ()


def test_an_invalidation_rule_refuses_when_it_is_true() -> None:
    row = YOUNG_TEST | {"Type": "Invalidation", "CertificateType": "General", "Logic": {"===": [1, 1]}}
    assert asked(rules(row)) == (Reason.RULE_NOT_MET,)
    assert asked(rules(row | {"Logic": {"===": [1, 2]}})) == ()


def test_a_rule_that_cannot_be_evaluated_leaves_the_decision_to_people() -> None:
    row = YOUNG_TEST | {"CertificateType": "General", "Logic": {">": [{"var": "payload.nothing"}, 1]}}
    assert asked(rules(row)) == (Reason.RULE_UNDECIDED,)
    assert asked(rules(row, row | {"Identifier": "GR-XX-0002", "Logic": False})) == (Reason.RULE_NOT_MET,)


def test_value_sets_and_country_are_given_to_the_rules() -> None:
    logic = {
        "and": [
            {"in": [{"var": "payload.v.0.mp"}, {"var": "external.valueSets.names"}]},
            {"===": [{"var": "external.countryCode"}, "NL"]},
        ]
    }
    row = YOUNG_TEST | {"CertificateType": "Vaccination", "Logic": logic}
    assert asked(rules(row, value_sets={"names": ["EU/1/20/1528"]}, country="NL")) == ()
    assert asked(rules(row, value_sets={"names": []}, country="NL")) == (Reason.RULE_NOT_MET,)


def test_rules_have_a_version_and_an_age() -> None:
    rule_set = rules(YOUNG_TEST)
    assert rule_set.version == 3
    assert rule_set.age(AT) == timedelta(days=1, hours=12)
    assert rule_set.age(AT - timedelta(days=9)) == timedelta(0)


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        {"version": "x", "issued_at": "2021-09-30", "rules": []},
        {"version": 1, "issued_at": "soon", "rules": []},
        {"version": 1, "issued_at": "2021-09-30", "rules": [{}]},
        {"version": 1, "issued_at": "2021-09-30", "rules": [YOUNG_TEST | {"Version": "1"}]},
        {"version": 1, "issued_at": "2021-09-30", "rules": [YOUNG_TEST | {"Type": "Other"}]},
        {"version": 1, "issued_at": "2021-09-30", "rules": [YOUNG_TEST] * 501},
        {"version": 1, "issued_at": "2021-09-30", "rules": ["x"]},
    ],
)
def test_a_malformed_rule_set_is_our_error(content: object) -> None:
    with pytest.raises(RuleError):
        rule_set_from_json(content)


def shown(window: ReplayWindow, seconds: float, *, cti: bytes = b"\x01\x02\x03\x04", issued: float = 0) -> bool:
    text = health(cti=cti, issued_at=NOW + timedelta(seconds=issued))
    credential = check(text, TRUST, at=NOW + timedelta(seconds=issued)).credential
    assert credential is not None
    return window.show(credential, NOW + timedelta(seconds=seconds)) is not None


def test_one_person_before_the_camera_is_no_pass_back_and_a_second_showing_is() -> None:
    window = ReplayWindow()
    assert [shown(window, second) for second in (0, 0.03, 5, 20)] == [False] * 4
    assert shown(window, 100)
    assert not shown(window, 100, cti=b"\x05\x05\x05\x05")


def test_looking_notes_nothing_and_ends_with_the_life_of_the_code() -> None:
    window = ReplayWindow()
    credential = check(health(), TRUST, at=NOW).credential
    assert credential is not None
    assert window.first_shown(credential, NOW) is None and len(window) == 0
    window.show(credential, NOW)
    assert window.first_shown(credential, NOW + timedelta(minutes=6)) == NOW
    assert window.first_shown(credential, NOW + timedelta(minutes=8)) is None
    assert window.first_shown(replace(credential, cti=None), NOW) is None


def test_a_code_is_forgotten_when_its_life_is_over() -> None:
    window = ReplayWindow()
    shown(window, 0)
    shown(window, 600, cti=b"\x09\x09\x09\x09", issued=600)
    assert len(window) == 1


def test_the_window_is_bounded_and_counts_what_it_drops() -> None:
    window = ReplayWindow(capacity=3)
    for number in range(5):
        shown(window, number, cti=bytes((number, 0, 0, 0)), issued=number)
    assert (len(window), window.dropped) == (3, 2)
    assert shown(window, 60, cti=bytes((4, 0, 0, 0)), issued=4)


REQUEST = CheckRequest("opaque text", "entrance-1", "430102", "r1")


def test_a_provider_is_asked_about_the_text_and_told_nothing_else() -> None:
    assert REQUEST.to_json() == {
        "version": 1,
        "requestId": "r1",
        "codeContent": "opaque text",
        "sceneCode": "entrance-1",
        "regionCode": "430102",
    }
    assert "opaque" not in repr(REQUEST)
    for wrong in ({"text": ""}, {"text": "x" * 2049}, {"region": "43"}):
        with pytest.raises(ProviderError):
            replace(REQUEST, **wrong)  # type: ignore[arg-type]


def test_an_answer_becomes_a_checked_credential() -> None:
    answer = CheckAnswer(Status.YELLOW, NOW, "张*三")
    assert CheckAnswer.from_json(answer.to_json(request_id="r1"), request_id="r1") == answer
    checked = to_checked(answer, provider="sim", at=NOW)
    assert checked.valid and checked.credential is not None
    assert (checked.credential.colour, checked.credential.name_masked) == (Colour.YELLOW, "张*三")
    assert to_checked(None, provider="sim", at=NOW).reasons == (Reason.PROVIDER_SILENT,)
    unsure = to_checked(CheckAnswer(Status.UNKNOWN), provider="sim", at=NOW)
    assert unsure.reasons == (Reason.PROVIDER_UNSURE,) and unsure.is_undecided
    assert to_checked(CheckAnswer(Status.EXPIRED), provider="sim", at=NOW).reasons == (Reason.EXPIRED,)


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"requestId": "other", "healthStatus": "green"},
        {"requestId": "r1", "healthStatus": "GREEN"},
        {"requestId": "r1", "healthStatus": ["green"]},
        {"requestId": "r1", "healthStatus": "green", "updatedAt": "today"},
        {"requestId": "r1", "healthStatus": "green", "updatedAt": "2026-01-01T00:00:00"},
        {"requestId": "r1", "healthStatus": "green", "maskedName": "x\n"},
        {"requestId": "r1", "healthStatus": "green", "maskedName": 7},
    ],
)
def test_an_answer_of_another_shape_is_no_answer(body: object) -> None:
    with pytest.raises(ProviderError):
        CheckAnswer.from_json(body, request_id="r1")
