"""From settings to drivers: the one place that knows which driver a settings word means."""

from __future__ import annotations

from config.devices import CalibrationFile, GateSettings, IdCardSettings, ScanHeadSettings, ThermometerSettings
from config.loading import load
from firmware_bridge.clock import SYSTEM_CLOCK, Clock
from firmware_bridge.drivers.gatehouse_mcu import GatehouseMcu
from firmware_bridge.drivers.gm65 import Gm65
from firmware_bridge.drivers.gy614v import Gy614v
from firmware_bridge.drivers.gymcu90614 import Gymcu90614
from firmware_bridge.drivers.lcus import LcusGate
from firmware_bridge.drivers.line_scanner import LineScanner
from firmware_bridge.drivers.modbus_ir import ModbusIr
from firmware_bridge.drivers.modbus_relay import ModbusRelayGate
from firmware_bridge.drivers.sam_v import IdCardReader
from firmware_bridge.drivers.wedge import Wedge
from firmware_bridge.gate import Gate
from firmware_bridge.measuring import Calibration, Correction, rule_from
from firmware_bridge.scan_head import ScanHead
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
    port, bauds, warm = settings.port, settings.bauds, settings.warm_at_start
    if settings.driver == "gy614v":
        return Gy614v(port, bauds=bauds, rule=rule, correction=correction, warm_at_start=warm, clock=clock)
    if settings.driver == "gymcu90614":
        return Gymcu90614(port, bauds=bauds, rule=rule, correction=correction, warm_at_start=warm, clock=clock)
    if settings.driver == "modbus_ir":
        return ModbusIr(
            port,
            profile=settings.profile,
            address=settings.bus_address,
            serial_number=settings.serial_number,
            bauds=bauds,
            rule=rule,
            correction=correction,
            warm_at_start=warm,
            clock=clock,
        )
    return GatehouseMcu(
        port,
        unique_id=settings.serial_number,
        bauds=bauds,
        rule=rule,
        correction=correction,
        warm_at_start=warm,
        clock=clock,
    )


def make_gate(
    settings: GateSettings, *, thermometer: Thermometer | None = None, clock: Clock = SYSTEM_CLOCK
) -> Gate | None:
    """The gate of these settings, not yet started; None for "none".

    When gate and thermometer are the same controller, pass *thermometer*: both then share its line.
    """
    if settings.driver == "none":
        return None
    if settings.driver == "lcus":
        return LcusGate(settings.port, dialect=settings.dialect, channel=settings.channel, clock=clock)
    if settings.driver == "modbus_relay":
        return ModbusRelayGate(settings.port, address=settings.bus_address, channel=settings.channel, clock=clock)
    if isinstance(thermometer, GatehouseMcu) and thermometer.port == settings.port:
        return thermometer.gate
    return GatehouseMcu(settings.port, warm_at_start=True, clock=clock).gate


def make_scan_head(settings: ScanHeadSettings, *, clock: Clock = SYSTEM_CLOCK) -> ScanHead | None:
    """The scan head of these settings, not yet started; None for "none"."""
    port, bauds, limit = settings.port, settings.bauds, settings.max_code_bytes
    if settings.driver == "gm65":
        return Gm65(port, zones=settings.zones, bauds=bauds, max_code_bytes=limit, clock=clock)
    if settings.driver == "line":
        return LineScanner(port, trigger=settings.trigger, bauds=bauds, max_code_bytes=limit, clock=clock)
    if settings.driver == "wedge":
        return Wedge(port, max_code_bytes=limit, clock=clock)
    return None


def make_id_card_reader(settings: IdCardSettings, *, clock: Clock = SYSTEM_CLOCK) -> IdCardReader | None:
    """The ID card reader of these settings, not yet started; None for "none"."""
    return None if settings.driver == "none" else IdCardReader(settings.port, bauds=settings.bauds, clock=clock)
