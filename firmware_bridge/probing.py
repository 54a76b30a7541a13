"""Who answers on a port: every driver that can recognise its device asks in turn, the harmless ones first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from firmware_bridge.device import HandshakeFailed, SerialDevice
from firmware_bridge.drivers.gatehouse_mcu import GatehouseMcu
from firmware_bridge.drivers.gm65 import Gm65
from firmware_bridge.drivers.gy614v import Gy614v
from firmware_bridge.drivers.gymcu90614 import Gymcu90614
from firmware_bridge.drivers.lcus import LcusGate
from firmware_bridge.drivers.modbus_ir import ModbusIr
from firmware_bridge.drivers.modbus_relay import ModbusRelayGate
from firmware_bridge.drivers.sam_v import IdCardReader

# A streaming module answers before anybody asks, so it comes first; LCUS relays of dialect A may stay silent and are
# not probed for that reason; a gun cannot be asked at all.
RECOGNISERS: tuple[tuple[str, Callable[[str], SerialDevice]], ...] = (
    ("gymcu90614", lambda port: Gymcu90614(port)),
    ("gy614v", lambda port: Gy614v(port)),
    ("gatehouse_mcu", lambda port: GatehouseMcu(port)),
    ("gm65", lambda port: Gm65(port)),
    ("sam_v", lambda port: IdCardReader(port)),
    ("modbus_ir pyrominibus", lambda port: ModbusIr(port, profile="pyrominibus")),
    ("modbus_ir pyrousb", lambda port: ModbusIr(port, profile="pyrousb")),
    ("modbus_relay", lambda port: ModbusRelayGate(port)),
    ("lcus dialect B", lambda port: LcusGate(port, dialect="B")),
)


@dataclass(frozen=True, slots=True)
class Found:
    """A device that answered."""

    driver: str
    identity: str


def ports(by_path: Path) -> Iterator[Path]:
    """The links in *by_path* (dev/serial/by-path), sorted; nothing when there is no serial port."""
    if by_path.is_dir():
        yield from sorted(by_path.iterdir())


def probe(port: str, on_try: Callable[[str], None] = lambda driver: None) -> Found | None:
    """Ask in every language who is at *port*; None when nobody answers. Takes up to half a minute.

    *on_try* is called with each driver's name before it asks. Raises PortLost when the port cannot be opened.
    """
    for name, make in RECOGNISERS:
        on_try(name)
        device = make(port)
        try:
            return Found(name, device.identify())
        except HandshakeFailed:
            continue
        finally:
            device.stop()
    return None
