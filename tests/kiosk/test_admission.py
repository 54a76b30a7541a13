"""The verdict as a table: green and normal admits, red and fever never do, everything else has a way forward."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.reading import Cause, Method, NoReading, Reading
from kiosk.admission import Next, Rules, Verdict, decide, measured
from protocol.credentials.reasons import Reason
from protocol.policy import EntryPolicy
from protocol.words import Colour, CredentialKind, Measured, Outcome
from tests.fakes import health_code, no_reading, reading, refusal

POLICY = EntryPolicy()
FRESH = Rules(version=7, age_s=60)
STALE = Rules(version=7, age_s=POLICY.bundle_max_age_s + 1)
NORMAL = (reading(36.5),)
FEVER = (reading(38.2), reading(38.1))


@pytest.mark.parametrize(
    ("checked", "results", "outcome", "reason"),
    [
        (health_code(), NORMAL, Outcome.ADMIT, None),
        (health_code(), (reading(37.29),), Outcome.ADMIT, None),
        (health_code(), (reading(37.3), reading(37.3)), Outcome.DENY, "fever"),
        (health_code(), FEVER, Outcome.DENY, "fever"),
        (health_code(), (reading(38.0), reading(36.6), reading(36.5)), Outcome.ADMIT, None),
        (health_code(Colour.RED), NORMAL, Outcome.DENY, "red_code"),
        (health_code(Colour.YELLOW), NORMAL, Outcome.HOLD, "not_green"),
        (health_code(Colour.GREY), NORMAL, Outcome.HOLD, "grey_code"),
        (health_code(None), NORMAL, Outcome.HOLD, "no_colour"),
        (refusal(Reason.EXPIRED), NORMAL, Outcome.HOLD, "expired"),
        (refusal(Reason.SIGNATURE_WRONG), NORMAL, Outcome.DENY, "signature_wrong"),
        (refusal(Reason.REVOKED), NORMAL, Outcome.DENY, "revoked"),
        (refusal(Reason.UNKNOWN_SCHEME, kind=CredentialKind.UNKNOWN), NORMAL, Outcome.HOLD, "unknown_scheme"),
        (refusal(Reason.STATUS_UNKNOWN), NORMAL, Outcome.HOLD, "status_unknown"),
        (health_code(None, kind=CredentialKind.EU_DCC), NORMAL, Outcome.HOLD, "accepted_foreign_only"),
        (health_code(), (no_reading(Cause.NO_THERMOMETER),), Outcome.HOLD, "no_thermometer"),
        (health_code(), (no_reading(Cause.SILENT),), Outcome.HOLD, "no_thermometer"),
        (health_code(), (no_reading(Cause.WARMING_UP),), Outcome.HOLD, "thermometer_warming_up"),
        (health_code(), (no_reading(Cause.NOT_MEASURABLE),) * 3, Outcome.HOLD, "not_measurable"),
        (health_code(), (reading(36.6, Method.TYPED),), Outcome.ADMIT, None),
        (health_code(), (reading(38.6, Method.TYPED),), Outcome.DENY, "fever"),
        (health_code(), (no_reading(Cause.NO_THERMOMETER), reading(36.6, Method.TYPED)), Outcome.ADMIT, None),
    ],
)
def test_the_verdict_table(
    checked: object, results: tuple[Reading | NoReading, ...], outcome: Outcome, reason: str | None
) -> None:
    verdict = decide(checked, results, POLICY, FRESH)  # type: ignore[arg-type]
    assert isinstance(verdict, Verdict)
    assert verdict.outcome is outcome
    assert verdict.reasons[:1] == ((reason,) if reason else ())


@pytest.mark.parametrize(
    "results",
    [(reading(38.0),), (no_reading(Cause.UNSTABLE),), (no_reading(Cause.NOBODY), no_reading(Cause.UNSTABLE))],
)
def test_a_single_high_or_missing_reading_is_measured_again(results: tuple[Reading | NoReading, ...]) -> None:
    assert decide(health_code(), results, POLICY, FRESH) is Next.MEASURE_AGAIN


def test_without_rules_nobody_is_judged() -> None:
    verdict = decide(health_code(), NORMAL, POLICY, Rules(version=0, age_s=0))
    assert verdict == Verdict(Outcome.HOLD, ("no_rules",), cannot_tell=True)


def test_stale_rules_mark_the_passage_or_hold_it_as_the_policy_says() -> None:
    assert decide(health_code(), NORMAL, POLICY, STALE) == Verdict(Outcome.ADMIT, ("rules_stale",))
    held = decide(health_code(), NORMAL, POLICY.replace(stale_rules_hold=True), STALE)
    assert held == Verdict(Outcome.HOLD, ("rules_stale",), cannot_tell=True)


def test_a_code_that_admitted_somebody_is_shown_to_staff_when_it_comes_again() -> None:
    verdict = decide(health_code(), NORMAL, POLICY, FRESH, shown_before=True)
    assert verdict == Verdict(Outcome.HOLD, ("shown_before",))


def test_an_unsure_clock_judges_no_code_of_minutes() -> None:
    verdict = decide(health_code(), NORMAL, POLICY, Rules(7, 60, clock_sure=False))
    assert verdict == Verdict(Outcome.HOLD, ("clock_unsure",), cannot_tell=True)


def test_an_old_status_list_is_noted_on_the_admission() -> None:
    assert decide(health_code(Colour.GREEN, Reason.STATUS_OLD), NORMAL, POLICY, FRESH) == Verdict(
        Outcome.ADMIT, ("status_old",)
    )


RESULTS = st.lists(
    st.one_of(
        st.floats(28, 45).map(reading),
        st.floats(34, 43).map(lambda t: reading(t, Method.TYPED)),
        st.sampled_from(list(Cause)).map(no_reading),
    ),
    max_size=4,
).map(tuple)
CHECKED = st.one_of(
    st.sampled_from([*Colour, None]).map(health_code),
    st.sampled_from([r for r in Reason if r.refuses]).map(refusal),
)


@given(CHECKED, RESULTS, st.booleans(), st.sampled_from([FRESH, STALE, Rules(0, 0), Rules(7, 1, clock_sure=False)]))
def test_only_a_believed_green_code_with_a_normal_reading_ever_admits(
    checked: object, results: tuple[Reading | NoReading, ...], shown: bool, rules: Rules
) -> None:
    verdict = decide(checked, results, POLICY, rules, shown_before=shown)  # type: ignore[arg-type]
    if isinstance(verdict, Verdict) and verdict.outcome is Outcome.ADMIT:
        assert checked.valid and checked.credential.colour is Colour.GREEN  # type: ignore[attr-defined]
        normal = [r for r in results if isinstance(r, Reading) and r.body_celsius < POLICY.fever_from_celsius]
        assert normal and not shown and rules.version
        assert measured(results, POLICY) is Measured.NORMAL
    if isinstance(verdict, Verdict) and verdict.outcome is not Outcome.ADMIT:
        assert verdict.reasons, "a refusal without a reason helps nobody"


def test_the_header_word_for_a_temperature() -> None:
    assert measured((), POLICY) is Measured.NONE
    assert measured(NORMAL, POLICY) is Measured.NORMAL
    assert measured(FEVER, POLICY) is Measured.FEVER
    assert measured((no_reading(Cause.NOT_MEASURABLE),) * 3, POLICY) is Measured.NOT_MEASURABLE
    assert measured((no_reading(Cause.NO_THERMOMETER),), POLICY) is Measured.NONE
