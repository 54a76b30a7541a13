"""From settings to drivers: the one place that knows which driver a settings word means."""

from __future__ import annotations

from config.devices import CalibrationFile, GateSettings, ThermometerSettings
from config.errors import ConfigError
from config.loading import load
from firmware_bridge.clock import SYSTEM_CLOCK, Clock
from firmware_bridge.drivers.gy614v import Gy614v
from firmware_bridge.drivers.lcus import LcusGate
from firmware_bridge.gate import Gate
from firmware_bridge.measuring import Calibration, Correction, rule_from
from firmware_bridge.thermometer import Thermometer


def correction_from(settings: ThermometerSettings) -> Correction:
    """The correction of this entrance, with its calibration file. Raises ConfigError or CalibrationRefused."""
    calibration = None
    if settings.calibration is not None:
        calibration = Calibration.from_file(load(CalibrationFile, settings.calibration))
    return Correction(
        kind=settings.correction,
        k=settings.heat_balance_k,
        room_celsius=settings.room_celsius,
        calibration=calibration,
    )


def make_thermometer(settings: ThermometerSettings, *, clock: Clock = SYSTEM_CLOCK) -> Thermometer | None:
    """The thermometer of these settings, not yet started; None for "none". Raises ConfigError or CalibrationRefused."""
    if settings.driver == "none":
        return None
    rule, correction = rule_from(settings), correction_from(settings)
    if settings.driver == "gy614v":
        return Gy614v(
            settings.port,
            bauds=settings.bauds,
            rule=rule,
            correction=correction,
            warm_at_start=settings.warm_at_start,
            clock=clock,
        )
    raise ConfigError(f"thermometer.driver {settings.driver!r} is not available.", hint="Use gy614v.")


def make_gate(settings: GateSettings, *, clock: Clock = SYSTEM_CLOCK) -> Gate | None:
    """The gate of these settings, not yet started; None for "none"."""
    if settings.driver == "none":
        return None
    if settings.driver == "lcus":
        return LcusGate(settings.port, dialect=settings.dialect, channel=settings.channel, clock=clock)
    raise ConfigError(f"gate.driver {settings.driver!r} is not available.", hint="Use lcus.")
