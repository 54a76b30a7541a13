"""What a thermometer delivers: frames, and one `Reading` per person - or `NoReading`, which says why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from config.errors import GatehouseError


class Method(Enum):
    """How a reading was taken; travels in records, append-only."""

    INFRARED = "infrared"  # by a driver of this package
    TYPED = "typed"  # staff read a hand-held thermometer and typed the figure (E-24)


class Cause(Enum):
    """Why there is no reading; never mixed up with a normal or a high temperature."""

    NO_THERMOMETER = "no_thermometer"  # none is set up, or its line is lost
    WARMING_UP = "warming_up"  # 30 minutes, or a steady sensor can (hardware.md 3.3 point 1)
    NOT_MEASURABLE = (
        "not_measurable"  # corrected value below 34.0, or the correction has no ambient, or an expired calibration
    )
    UNSTABLE = "unstable"  # too few good frames, or they spread too far
    OUT_OF_RANGE = "out_of_range"  # every value was physically absurd for skin
    STUCK = "stuck"  # identical raw words, or a counter that stands still
    DRIFTING = "drifting"  # the sensor can warms or cools: sun, draught, a body close to it
    NOBODY = "nobody"  # nothing warmer than the room was seen
    DEVICE_FAULT = "device_fault"  # the sensor itself reports an error, or the wrong device answers
    SILENT = "silent"  # the line is up, no frame came inside the window


@dataclass(frozen=True, slots=True)
class Frame:
    """One measurement as the device sent it: nothing corrected, nothing rounded, nothing thrown away."""

    object_celsius: float
    ambient_celsius: float | None  # the sensor can; None when the device does not tell
    received_mono_s: float
    measured_from_mono_s: (
        float  # the value is not older than this (request sent, or buffer last empty, minus one period)
    )
    words: tuple[int, ...]  # the raw words of object and ambient, for the stuck-sensor rule
    device_body_celsius: float | None = None  # the device's own forehead-to-body figure
    faults: tuple[str, ...] = ()  # status bits that are set, by name; empty means clean
    counter: int | None = None  # a free-running number of the device, when it has one


@dataclass(frozen=True, slots=True)
class Quality:
    """What the figure rests on."""

    frames_used: int
    frames_seen: int
    spread_celsius: float  # 90th minus 10th percentile of the frames used
    trend_celsius: float  # median of the later half minus median of the earlier half: still rising or falling?
    stable_ms: int  # from the first to the last frame used


@dataclass(frozen=True, slots=True)
class Reading:
    """One temperature of one person.

    `body_celsius` is corrected and unrounded: the only figure a limit is compared with. Round half to even with
    `shown_celsius` for a screen, and only there.
    """

    method: Method
    raw_celsius: float  # as the device gave it (median of the frames used); equal to body for a typed reading
    ambient_celsius: float | None
    body_celsius: float
    quality: Quality
    taken_at: datetime  # aware, UTC, by the kiosk's clock
    taken_mono_s: float  # by the kiosk's steady clock: the last frame used
    device: str  # identity as found in the handshake, or "staff"
    correction: str  # for example "heat_balance k=0.19", "device", "surface", "typed"
    calibration: str  # reference of the calibration used, or "none"

    @property
    def shown_celsius(self) -> float:
        """Rounded half to even to one decimal, for display only."""
        return round(self.body_celsius, 1)


@dataclass(frozen=True, slots=True)
class NoReading:
    """There is no temperature, and why; `detail` is a stable code for logs and fault reports."""

    cause: Cause
    detail: str = ""
    frames_seen: int = 0


class TypedReadingRefused(GatehouseError):
    """The typed figure is not a body temperature."""

    code = "typed_reading"


TYPED_FROM_CELSIUS = 34.0  # below: not measurable, as for the kiosk's own sensor (hardware.md 3.3 point 5)
TYPED_TO_CELSIUS = 43.0  # the end of a clinical thermometer's scale


def typed_reading(body_celsius: float, *, taken_at: datetime, taken_mono_s: float) -> Reading:
    """The reading that staff took with a hand-held thermometer and typed in.

    Raises TypedReadingRefused when the figure lies outside 34.0 to 43.0 degC: it is then more likely a typing error
    or a wrongly aimed gun than a person, and is to be measured again. Nothing is ever pulled into the range.
    """
    if not math.isfinite(body_celsius) or not TYPED_FROM_CELSIUS <= body_celsius <= TYPED_TO_CELSIUS:
        raise TypedReadingRefused(
            f"{body_celsius} °C 不是可信的体温 is not a believable body temperature.",
            hint=f"请重新测量 Measure again; expected {TYPED_FROM_CELSIUS} to {TYPED_TO_CELSIUS}.",
        )
    return Reading(
        method=Method.TYPED,
        raw_celsius=body_celsius,
        ambient_celsius=None,
        body_celsius=body_celsius,
        quality=Quality(frames_used=1, frames_seen=1, spread_celsius=0.0, trend_celsius=0.0, stable_ms=0),
        taken_at=taken_at,
        taken_mono_s=taken_mono_s,
        device="staff",
        correction="typed",
        calibration="none",
    )
