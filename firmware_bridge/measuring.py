"""From frames to a reading: the measuring rule of hardware.md 3.3 as pure functions, without clock or device."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from typing import Literal

from config.devices import CalibrationFile, ThermometerSettings
from config.errors import GatehouseError
from firmware_bridge.reading import Cause, Frame, Method, NoReading, Quality, Reading


@dataclass(frozen=True, slots=True)
class MeasuringRule:
    """The numbers of hardware.md 3.3; points 1 to 6 of that section are named beside each."""

    window_s: float = 2.0  # 1: presence opens a window of at most this
    warm_up_s: float = 1800.0  # 1: no verdict until 30 min after power-on ...
    warm_drift_celsius: float = 0.3  # 1: ... or until the sensor can moved less than this ...
    drift_over_s: float = 300.0  # 1: ... in 5 min
    running_drift_celsius: float = 0.4  # once warm: a can that moves more than this in the same 5 min is not trusted
    min_frames: int = 5  # 2
    min_stable_ms: int = 400  # 2
    plausible_from_celsius: float = 28.0  # 2
    plausible_to_celsius: float = 45.0  # 2
    outlier_mads: float = 3.0  # 3
    min_kept_share: float = 0.6  # 3
    max_spread_celsius: float = 0.4  # 3: p90 - p10
    settled_celsius: float = 0.1  # a window may end early once its later half agrees this well with its earlier half
    retest_after_s: float = 3.0  # 4
    max_retests: int = 2  # 4
    not_measurable_below_celsius: float = 34.0  # 5: after correction
    stuck_frames: int = 20  # 6
    stuck_s: float = 10.0  # 6
    ambient_from_celsius: float = 10.0  # outside, the correction is not believed (FDA: 16..40; we allow a cold lobby)
    ambient_to_celsius: float = 40.0  # a can above this stands in the sun
    person_above_room_celsius: float = 3.0  # less than this above the room: nobody stands there
    resolution_celsius: float = 0.02  # one step of the sensor (MLX90614); a MAD of zero must not drop the neighbours


class CalibrationRefused(GatehouseError):
    """A calibration whose figures cannot be those of a sound sensor."""

    code = "calibration"


@dataclass(frozen=True, slots=True)
class Calibration:
    """Two-point black-body calibration: surface temperature = gain * raw + offset."""

    gain: float
    offset_celsius: float
    made_on: date
    expires_on: date
    operator: str
    device: str

    def __post_init__(self) -> None:
        if not (math.isfinite(self.gain) and 0.95 <= self.gain <= 1.05):
            raise CalibrationRefused(
                f"The calibration's gain is {self.gain:.4f}; a sound sensor lies within 0.95 to 1.05.",
                hint="Check the black body and the distance, then calibrate again; else replace the sensor.",
            )
        if not (math.isfinite(self.offset_celsius) and abs(self.offset_celsius) <= 2.0):
            raise CalibrationRefused(
                f"The calibration's offset is {self.offset_celsius:.2f} degC; a sound sensor lies within +-2.",
                hint="Check the black body and the distance, then calibrate again; else replace the sensor.",
            )

    @property
    def reference(self) -> str:
        """A short stable name to keep with each reading."""
        return f"{self.made_on.isoformat()} gain={self.gain:.4f} offset={self.offset_celsius:+.2f}"

    @classmethod
    def from_file(cls, stored: CalibrationFile) -> Calibration:
        """Check and take over what `gatehouse devices calibrate` wrote. Raises CalibrationRefused."""
        return cls(
            stored.gain, stored.offset_celsius, stored.made_on, stored.expires_on, stored.operator, stored.device
        )

    @classmethod
    def from_two_points(
        cls,
        low: tuple[float, float],
        high: tuple[float, float],
        *,
        made_on: date,
        expires_on: date,
        operator: str,
        device: str,
    ) -> Calibration:
        """Fit gain and offset to (black body, shown) at two temperatures, in degC. Raises CalibrationRefused."""
        (reference_1, shown_1), (reference_2, shown_2) = low, high
        if not all(map(math.isfinite, (*low, *high))) or abs(shown_2 - shown_1) < 0.5:
            raise CalibrationRefused(
                f"The sensor showed {shown_1} and {shown_2} degC at the two black-body temperatures.",
                hint="The two points must be at least 0.5 degC apart; 35.0 and 38.0 are usual.",
            )
        gain = (reference_2 - reference_1) / (shown_2 - shown_1)
        return cls(gain, reference_1 - gain * shown_1, made_on, expires_on, operator, device)


@dataclass(frozen=True, slots=True)
class Correction:
    """How a surface temperature becomes a body temperature (hardware.md 3.1)."""

    kind: Literal["heat_balance", "device", "surface"] = "heat_balance"
    k: float = 0.19
    room_celsius: float | None = None  # a room sensor or a set value; preferred over the sensor's own can
    calibration: Calibration | None = None

    @property
    def name(self) -> str:
        """What is stored with each reading."""
        if self.kind != "heat_balance":
            return self.kind
        return f"heat_balance k={self.k:g}" + ("" if self.room_celsius is None else f" room={self.room_celsius:g}")


def rule_from(settings: ThermometerSettings) -> MeasuringRule:
    """The measuring rule with this entrance's limits."""
    return MeasuringRule(
        window_s=settings.window_s,
        plausible_from_celsius=settings.plausible_from_celsius,
        plausible_to_celsius=settings.plausible_to_celsius,
        not_measurable_below_celsius=settings.not_measurable_below_celsius,
    )


def measure(
    frames: Sequence[Frame], rule: MeasuringRule, correction: Correction, *, device: str, taken_at: datetime
) -> Reading | NoReading:
    """One reading from the *frames* of one person's window, or the reason why there is none.

    *frames* in order of arrival, all measured inside the window; *taken_at* aware UTC. The result is the median of the
    frames that survive points 2 and 3 of hardware.md 3.3, corrected, unrounded. Nothing is clamped or filled in: a
    value that cannot be trusted gives NoReading. A retest (point 4) is `confirm`; warm-up, drift and stuck sensors
    (1 and 6) are `SensorWatch`, because they need more than one window.
    """
    seen = len(frames)
    if not seen:
        return NoReading(Cause.SILENT, "no_frame_in_window")
    if correction.calibration is not None and taken_at.date() > correction.calibration.expires_on:
        return NoReading(Cause.NOT_MEASURABLE, "calibration_expired", seen)
    clean = [f for f in frames if not f.faults]
    if not clean:
        return NoReading(Cause.DEVICE_FAULT, frames[-1].faults[0], seen)
    valid = [f for f in clean if rule.plausible_from_celsius <= f.object_celsius <= rule.plausible_to_celsius]
    room = sum(_looks_like_the_room(f, rule) for f in clean)
    if len(valid) < rule.min_frames and room >= rule.min_frames:
        return NoReading(Cause.NOBODY, "only_the_room", seen)  # maybe somebody walked past, or just left
    if not valid:
        return NoReading(Cause.OUT_OF_RANGE, "no_frame_in_range", seen)
    if len(valid) < rule.min_frames:
        return NoReading(Cause.UNSTABLE, "too_few_frames", seen)

    median = statistics.median(f.object_celsius for f in valid)
    mad = statistics.median(abs(f.object_celsius - median) for f in valid)
    reach = max(rule.outlier_mads * mad, 1.01 * rule.resolution_celsius)  # 1.01: the step itself, past rounding
    kept = [f for f in valid if abs(f.object_celsius - median) <= reach]
    if len(kept) < rule.min_kept_share * len(valid) or len(kept) < rule.min_frames:
        return NoReading(Cause.UNSTABLE, "too_many_outliers", seen)
    stable_ms = round((kept[-1].received_mono_s - kept[0].received_mono_s) * 1000)
    if stable_ms < rule.min_stable_ms:
        return NoReading(Cause.UNSTABLE, "too_short", seen)
    values = [f.object_celsius for f in kept]
    spread = percentile(values, 0.9) - percentile(values, 0.1)
    if spread > rule.max_spread_celsius:
        return NoReading(Cause.UNSTABLE, "spread", seen)

    raw = statistics.median(values)
    half = len(values) // 2
    trend = statistics.median(values[-half:]) - statistics.median(values[:half])
    ambients = [f.ambient_celsius for f in kept if f.ambient_celsius is not None]
    ambient = statistics.median(ambients) if ambients else None
    corrected = _correct(raw, ambient, kept, rule, correction)
    if isinstance(corrected, str):
        return NoReading(Cause.NOT_MEASURABLE, corrected, seen)
    if corrected < rule.not_measurable_below_celsius:
        return NoReading(Cause.NOT_MEASURABLE, "below_body_temperature", seen)
    if corrected > rule.plausible_to_celsius:
        return NoReading(Cause.OUT_OF_RANGE, "above_body_temperature", seen)
    return Reading(
        method=Method.INFRARED,
        raw_celsius=raw,
        ambient_celsius=ambient,
        body_celsius=corrected,
        quality=Quality(len(kept), seen, spread_celsius=spread, trend_celsius=trend, stable_ms=stable_ms),
        taken_at=taken_at,
        taken_mono_s=kept[-1].received_mono_s,
        device=device,
        correction=correction.name,
        calibration=correction.calibration.reference if correction.calibration else "none",
    )


def _looks_like_the_room(frame: Frame, rule: MeasuringRule) -> bool:
    ambient = frame.ambient_celsius
    return ambient is not None and abs(frame.object_celsius - ambient) <= rule.person_above_room_celsius


def _correct(
    raw: float, ambient: float | None, kept: Sequence[Frame], rule: MeasuringRule, correction: Correction
) -> float | str:
    """The body temperature, or the code of the reason why there is none."""
    if ambient is not None and not rule.ambient_from_celsius <= ambient <= rule.ambient_to_celsius:
        return "ambient_out_of_range"  # the sun on the sensor can biases every kind of correction
    if correction.kind == "device":
        bodies = [f.device_body_celsius for f in kept if f.device_body_celsius is not None]
        body = statistics.median(bodies) if len(bodies) == len(kept) else math.nan
        code = "no_device_body_value"
    else:
        calibration = correction.calibration
        body = raw if calibration is None else calibration.gain * raw + calibration.offset_celsius
        code = "not_a_number"
        if correction.kind == "heat_balance":
            room = correction.room_celsius if correction.room_celsius is not None else ambient
            if room is None:
                return "no_ambient"
            body += correction.k * (body - room)
    return body if math.isfinite(body) else code


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which *share* (0 to 1) of *values* lie, linear between neighbours; *values* must not be empty."""
    ordered = sorted(values)
    at = share * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


class Confirmation(Enum):
    """What one or more windows of the same person add up to."""

    NORMAL = "normal"
    HIGH = "high"  # two windows agree; staff measure with a contact thermometer, nobody names an illness
    AGAIN = "again"  # wait `retest_after_s`, then measure once more
    NOT_MEASURABLE = "not_measurable"  # attempts are used up without an answer; see the last NoReading


def confirm(results: Sequence[Reading | NoReading], limit_celsius: float, rule: MeasuringRule) -> Confirmation:
    """Judge the windows of one person so far, oldest first (hardware.md 3.3 point 4).

    High needs two windows at or above *limit_celsius*; one high window always asks for another, at most `max_retests`
    times. The comparison uses the unrounded corrected value. An empty sequence gives AGAIN.
    """
    readings = [r for r in results if isinstance(r, Reading)]
    high = sum(r.body_celsius >= limit_celsius for r in readings)
    normal = len(readings) - high
    if high >= 2:
        return Confirmation.HIGH
    if normal >= 1 and normal > high:
        return Confirmation.NORMAL
    if len(results) <= rule.max_retests:
        return Confirmation.AGAIN
    return Confirmation.NOT_MEASURABLE


class SensorWatch:
    """What can only be seen over many frames: warm-up, drift of the sensor can, a stuck sensor, a stuck counter.

    Pure: time comes in with the frames. Feed every frame, also those of nobody; ask `cause` before a window counts.
    """

    def __init__(self, rule: MeasuringRule, *, warm_at_start: bool = False) -> None:
        self._rule = rule
        self._declared_warm = warm_at_start
        self.restart()

    def restart(self) -> None:
        """The device was away and may have lost its supply: warm-up begins again unless it was declared warm."""
        self._first_mono_s: float | None = None
        self._was_warm = self._declared_warm
        self._last: Frame | None = None
        self._same_words = 0
        self._same_since_mono_s = 0.0
        self._same_counter = 0
        self._bucket: list[float] = []
        self._bucket_from_mono_s = 0.0
        self._can: deque[tuple[float, float]] = deque()  # (time, median) of 10-second buckets inside drift_over_s

    def feed(self, frame: Frame) -> None:
        """Take one frame, in order of arrival."""
        now = frame.received_mono_s
        if self._first_mono_s is None:
            self._first_mono_s = now
        last = self._last
        if last is not None and last.words == frame.words:
            self._same_words += 1
        else:
            self._same_words, self._same_since_mono_s = 0, now
        if last is not None and frame.counter is not None and last.counter == frame.counter:
            self._same_counter += 1
        else:
            self._same_counter = 0
        self._last = frame
        if frame.ambient_celsius is not None and math.isfinite(frame.ambient_celsius):
            self._feed_can(now, frame.ambient_celsius)
        if not self._was_warm and self._is_warm(now):
            self._was_warm = True

    def _feed_can(self, now: float, celsius: float) -> None:
        if self._bucket and now - self._bucket_from_mono_s >= BUCKET_S:
            self._can.append((self._bucket_from_mono_s, statistics.median(self._bucket)))
            self._bucket.clear()
        if not self._bucket:
            self._bucket_from_mono_s = now
        if len(self._bucket) < 256:  # bounded even when frames come far too fast
            self._bucket.append(celsius)
        while self._can and now - self._can[0][0] > self._rule.drift_over_s + BUCKET_S:
            self._can.popleft()

    @property
    def can_drift_celsius(self) -> float:
        """How far the sensor can moved within the last `drift_over_s`; 0.0 while nothing is known."""
        medians = [celsius for _, celsius in self._can]
        return max(medians) - min(medians) if medians else 0.0

    def _is_warm(self, now: float) -> bool:
        assert self._first_mono_s is not None
        if now - self._first_mono_s >= self._rule.warm_up_s:
            return True
        known_for = now - self._can[0][0] if self._can else 0.0
        return known_for >= self._rule.drift_over_s and self.can_drift_celsius < self._rule.warm_drift_celsius

    @property
    def cause(self) -> NoReading | None:
        """Why no window may count now, or None when the sensor can be trusted."""
        last = self._last
        if last is None:
            return None
        if self._same_counter >= self._rule.stuck_frames:
            return NoReading(Cause.STUCK, "counter_stands_still")
        same_for = last.received_mono_s - self._same_since_mono_s
        if self._same_words >= self._rule.stuck_frames and same_for >= self._rule.stuck_s:
            return NoReading(Cause.STUCK, "identical_raw_words")
        if not self._was_warm:
            return NoReading(Cause.WARMING_UP, "warming_up")
        if self.can_drift_celsius >= self._rule.running_drift_celsius:
            return NoReading(Cause.DRIFTING, "sensor_can_drifts")
        return None


BUCKET_S = 10.0
