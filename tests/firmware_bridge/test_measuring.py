"""The measuring rule: what becomes a temperature, and all that must not."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.measuring import (
    Calibration,
    CalibrationRefused,
    Confirmation,
    Correction,
    MeasuringRule,
    SensorWatch,
    confirm,
    measure,
    percentile,
)
from firmware_bridge.reading import (
    Cause,
    Frame,
    Method,
    NoReading,
    Quality,
    Reading,
    TypedReadingRefused,
    typed_reading,
)
from tests.firmware_bridge.conftest import NOON, frames_of

RULE = MeasuringRule()
BALANCE = Correction()


def outcome(frames: list[Frame], correction: Correction = BALANCE, rule: MeasuringRule = RULE) -> Reading | NoReading:
    return measure(frames, rule, correction, device="test", taken_at=NOON)


def reading(body: float) -> Reading:
    return Reading(
        Method.INFRARED, body, 25.0, body, Quality(8, 8, 0.1, 0.0, 700), NOON, 1.0, "test", "surface", "none"
    )


def test_the_published_example_of_the_heat_balance() -> None:
    """hardware.md 3.1: skin 34.5, ambient 25.0, k 0.19 gives 36.3."""
    result = outcome(frames_of([34.5, 34.52, 34.48, 34.5, 34.5, 34.52]))
    assert isinstance(result, Reading)
    assert result.body_celsius == pytest.approx(34.5 + 0.19 * 9.5)
    assert result.shown_celsius == 36.3
    assert (result.raw_celsius, result.ambient_celsius, result.method) == (34.5, 25.0, Method.INFRARED)
    assert (result.quality.frames_used, result.quality.stable_ms) == (6, 500)
    assert result.correction == "heat_balance k=0.19"


STEADY = [34.5, 34.52, 34.48, 34.5, 34.52, 34.5]


@pytest.mark.parametrize(
    ("frames", "cause", "detail"),
    [
        ([], Cause.SILENT, "no_frame_in_window"),
        (frames_of(STEADY[:4]), Cause.UNSTABLE, "too_few_frames"),
        (frames_of(STEADY, every_s=0.05), Cause.UNSTABLE, "too_short"),
        (frames_of([33.9, 34.3, 34.7, 34.1, 34.5, 34.9, 33.7]), Cause.UNSTABLE, "spread"),
        (frames_of([34.5, 34.5, 34.5, 34.5, 34.5, 29.0, 36.0, 38.0, 40.0]), Cause.UNSTABLE, "too_many_outliers"),
        (frames_of(STEADY, faults=("measurement_error",)), Cause.DEVICE_FAULT, "measurement_error"),
        (frames_of([25.1, 25.0, 24.9, 25.2, 25.0, 25.1]), Cause.NOBODY, "only_the_room"),
        (frames_of([25.1, 25.0, 24.9, 25.2, 25.0, 30.0]), Cause.NOBODY, "only_the_room"),
        (frames_of([31.0, 31.02, 31.0, 30.98, 31.0, 31.02]), Cause.NOT_MEASURABLE, "below_body_temperature"),
        (frames_of(STEADY, ambient=None), Cause.NOT_MEASURABLE, "no_ambient"),
        (frames_of(STEADY, ambient=45.0), Cause.NOT_MEASURABLE, "ambient_out_of_range"),
        (frames_of(STEADY, ambient=math.nan), Cause.NOT_MEASURABLE, "ambient_out_of_range"),
        (frames_of([44.0, 44.02, 44.0, 44.0, 44.0, 44.02]), Cause.OUT_OF_RANGE, "above_body_temperature"),
    ],
)
def test_what_cannot_be_trusted_is_no_reading(frames: list[Frame], cause: Cause, detail: str) -> None:
    result = outcome(frames)
    assert isinstance(result, NoReading)
    assert (result.cause, result.detail, result.frames_seen) == (cause, detail, len(frames))


@pytest.mark.parametrize("absurd", [327.67, -0.01, 231.30, -70.0, 0.0, 85.0, math.nan, math.inf, -math.inf])
def test_a_valid_checksum_does_not_make_an_absurd_value_a_temperature(absurd: float) -> None:
    rows = [replace(f, object_celsius=absurd) for f in frames_of(STEADY)]
    result = outcome(rows)
    assert isinstance(result, NoReading) and result.cause is Cause.OUT_OF_RANGE
    mixed = outcome(frames_of(STEADY) + [replace(f, object_celsius=absurd) for f in frames_of(STEADY, start_s=0.6)])
    assert isinstance(mixed, Reading) and mixed.raw_celsius == 34.5


def test_the_edges_of_the_rule_are_inside() -> None:
    exactly = frames_of([34.5] * 5)  # five frames over exactly 400 ms
    assert isinstance(outcome(exactly), Reading)
    assert isinstance(outcome(frames_of([28.0] * 6), Correction(kind="surface")), NoReading)
    assert isinstance(outcome(frames_of([34.0] * 6), Correction(kind="surface")), Reading)
    assert isinstance(outcome(frames_of([33.99] * 6), Correction(kind="surface")), NoReading)


def test_a_single_hot_frame_does_not_move_the_result() -> None:
    calm = outcome(frames_of(STEADY))
    spiked = outcome(frames_of([*STEADY, 44.0]))
    assert isinstance(calm, Reading) and isinstance(spiked, Reading)
    assert spiked.body_celsius == calm.body_celsius and spiked.quality.frames_used == 6


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=40), st.floats())
def test_any_numbers_give_a_believable_reading_or_none(objects: list[float], ambient: float) -> None:
    frames = [Frame(celsius, ambient, number * 0.1, number * 0.1, (number,)) for number, celsius in enumerate(objects)]
    result = outcome(frames)
    if isinstance(result, Reading):
        assert 34.0 <= result.body_celsius <= 45.0
        assert min(objects) <= result.raw_celsius <= max(objects)


@given(st.lists(st.floats(34.3, 34.5), min_size=6, max_size=20))
def test_the_result_lies_between_the_frames_and_never_on_a_made_up_value(objects: list[float]) -> None:
    result = outcome(frames_of(objects), Correction(kind="surface"))
    if isinstance(result, Reading):
        assert min(objects) <= result.body_celsius <= max(objects)


def test_the_devices_own_body_value_is_used_only_when_every_frame_has_one() -> None:
    own = Correction(kind="device")
    result = outcome(frames_of(STEADY, device_body_celsius=36.71), own)
    assert isinstance(result, Reading) and result.body_celsius == 36.71
    assert outcome(frames_of(STEADY), own) == NoReading(Cause.NOT_MEASURABLE, "no_device_body_value", 6)


def test_a_room_sensor_wins_over_the_sensor_can() -> None:
    result = outcome(frames_of(STEADY, ambient=29.0), Correction(room_celsius=25.0))
    assert isinstance(result, Reading) and result.body_celsius == pytest.approx(34.5 + 0.19 * 9.5)


TODAY = NOON.date()


def calibrated(gain: float, offset: float, expires: date = TODAY) -> Calibration:
    return Calibration(gain, offset, date(2026, 10, 1), expires, "Li", "test")


def test_calibration_is_applied_before_the_correction_and_named() -> None:
    result = outcome(frames_of(STEADY), Correction(kind="surface", calibration=calibrated(1.02, -0.3)))
    assert isinstance(result, Reading)
    assert result.body_celsius == pytest.approx(34.5 * 1.02 - 0.3)
    assert result.raw_celsius == 34.5
    assert result.calibration == "2026-10-01 gain=1.0200 offset=-0.30"


def test_an_expired_calibration_measures_nobody() -> None:
    old = Correction(calibration=calibrated(1.0, 0.0, NOON.date() - timedelta(days=1)))
    assert outcome(frames_of(STEADY), old) == NoReading(Cause.NOT_MEASURABLE, "calibration_expired", 6)


@pytest.mark.parametrize(
    ("gain", "offset"), [(0.94, 0), (1.06, 0), (1.0, 2.01), (1.0, -2.01), (math.nan, 0), (1, math.inf)]
)
def test_a_calibration_of_a_broken_sensor_is_refused(gain: float, offset: float) -> None:
    with pytest.raises(CalibrationRefused):
        calibrated(gain, offset)


def test_two_black_body_points_give_gain_and_offset() -> None:
    made = Calibration.from_two_points(
        (35.0, 34.6), (38.0, 37.7), made_on=NOON.date(), expires_on=NOON.date(), operator="Li", device="test"
    )
    assert made.gain * 34.6 + made.offset_celsius == pytest.approx(35.0)
    assert made.gain * 37.7 + made.offset_celsius == pytest.approx(38.0)
    with pytest.raises(CalibrationRefused):
        Calibration.from_two_points(
            (35.0, 35.0), (38.0, 35.2), made_on=NOON.date(), expires_on=NOON.date(), operator="Li", device="test"
        )


HIGH, NORMAL, NOTHING = reading(37.3), reading(37.299999), NoReading(Cause.UNSTABLE, "spread", 9)


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([], Confirmation.AGAIN),
        ([NORMAL], Confirmation.NORMAL),
        ([HIGH], Confirmation.AGAIN),
        ([HIGH, HIGH], Confirmation.HIGH),
        ([HIGH, NORMAL], Confirmation.AGAIN),
        ([HIGH, NORMAL, HIGH], Confirmation.HIGH),
        ([HIGH, NORMAL, NORMAL], Confirmation.NORMAL),
        ([HIGH, NOTHING], Confirmation.AGAIN),
        ([HIGH, NOTHING, NORMAL], Confirmation.NOT_MEASURABLE),
        ([HIGH, NOTHING, HIGH], Confirmation.HIGH),
        ([NOTHING], Confirmation.AGAIN),
        ([NOTHING, NOTHING], Confirmation.AGAIN),
        ([NOTHING, NOTHING, NOTHING], Confirmation.NOT_MEASURABLE),
        ([NOTHING, NORMAL], Confirmation.NORMAL),
    ],
)
def test_high_needs_two_windows_that_agree(results: list[Reading | NoReading], expected: Confirmation) -> None:
    assert confirm(results, 37.3, RULE) is expected


def feed(watch: SensorWatch, minutes: float, can: float = 25.0, per_min: float = 0.0, start_s: float = 0.0) -> None:
    noise = random.Random(4)
    for tick in range(int(minutes * 60)):
        at = start_s + tick
        word = noise.randrange(1000)
        ambient = can + per_min * tick / 60 + noise.gauss(0, 0.01)
        watch.feed(Frame(30 + word / 100, ambient, at, at, (word, tick)))


def test_a_fresh_sensor_is_warming_up_until_its_can_is_steady() -> None:
    watch = SensorWatch(RULE)
    feed(watch, 4.9)
    assert watch.cause == NoReading(Cause.WARMING_UP, "warming_up")
    feed(watch, 1.0, start_s=294)
    assert watch.cause is None


def test_a_can_that_keeps_warming_needs_the_full_half_hour_and_is_then_drifting() -> None:
    watch = SensorWatch(RULE)
    feed(watch, 29, per_min=0.1)
    assert watch.cause == NoReading(Cause.WARMING_UP, "warming_up")
    feed(watch, 1.1, can=25 + 2.9, per_min=0.1, start_s=29 * 60)
    assert watch.cause == NoReading(Cause.DRIFTING, "sensor_can_drifts")


def test_a_warm_sensor_that_drifts_is_noticed_and_trusted_again_when_steady() -> None:
    watch = SensorWatch(RULE, warm_at_start=True)
    feed(watch, 5)
    assert watch.cause is None
    feed(watch, 5, per_min=0.1, start_s=300)
    assert watch.cause == NoReading(Cause.DRIFTING, "sensor_can_drifts")
    feed(watch, 6, can=25.5, start_s=600)
    assert watch.cause is None


def test_a_stuck_sensor_and_a_stuck_counter_are_two_faults() -> None:
    watch = SensorWatch(RULE, warm_at_start=True)
    for tick in range(110):
        watch.feed(Frame(34.5, 25.0, tick * 0.1, tick * 0.1, (3450, 2500)))
    assert watch.cause == NoReading(Cause.STUCK, "identical_raw_words")
    watch.feed(Frame(34.52, 25.0, 11.0, 11.0, (3452, 2500)))
    assert watch.cause is None
    for tick in range(25):
        watch.feed(Frame(34.5, 25.0, 11 + tick * 0.1, 0, (3450 + tick, 2500), counter=7))
    assert watch.cause == NoReading(Cause.STUCK, "counter_stands_still")


def test_a_lost_supply_starts_the_warm_up_again() -> None:
    watch = SensorWatch(RULE)
    feed(watch, 6)
    assert watch.cause is None
    watch.restart()
    feed(watch, 1, start_s=400)
    assert watch.cause == NoReading(Cause.WARMING_UP, "warming_up")


def test_staff_may_type_a_reading_and_it_says_so() -> None:
    typed = typed_reading(36.6, taken_at=NOON, taken_mono_s=5.0)
    assert (typed.method, typed.body_celsius, typed.device) == (Method.TYPED, 36.6, "staff")


@pytest.mark.parametrize("figure", [33.9, 43.1, 366.0, math.nan, math.inf, 0.0])
def test_a_typing_error_is_refused_not_bent_into_range(figure: float) -> None:
    with pytest.raises(TypedReadingRefused):
        typed_reading(figure, taken_at=NOON, taken_mono_s=5.0)


def test_display_rounds_half_to_even_and_the_limit_does_not_round() -> None:
    assert reading(37.25).shown_celsius == 37.2
    assert confirm([reading(37.29), reading(37.29)], 37.3, RULE) is Confirmation.NORMAL


def test_percentile_is_linear() -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0, 5.0], 0.5) == 3.0
    assert percentile([4.0], 0.9) == 4.0
    assert percentile([0.0, 1.0], 0.25) == 0.25
