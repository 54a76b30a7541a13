"""Settings of the hardware at an entrance: which driver, on which socket, and how a reading may be made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class ThermometerSettings:
    """The infrared thermometer; `driver = "none"` means that staff measure by hand.

    `port` is text and not a path: a path would be resolved through its symbolic link when the settings are read,
    and the link (dev/serial/by-path/...) is the only stable name of a socket.
    """

    driver: Literal["none", "gy614v", "gymcu90614", "modbus_ir", "gatehouse_mcu"] = "none"
    port: str = ""
    bauds: tuple[int, ...] = ()  # empty: the driver's own list, most likely first
    profile: Literal["pyrominibus", "pyrousb", "mq485a"] = "pyrominibus"  # modbus_ir only
    bus_address: int = 1  # modbus_ir only; 0 (broadcast) renumbers sensors and is refused
    serial_number: str = ""  # when given, a device that names another one is refused as swapped
    warm_at_start: bool = False  # the sensor has its own supply and was warm before this kiosk started
    correction: Literal["heat_balance", "device", "surface"] = "heat_balance"
    heat_balance_k: float = 0.19  # hardware.md 3.1: body = skin + k * (skin - ambient)
    room_celsius: float | None = None  # a known room temperature in place of the sensor's own can
    calibration: Path | None = None  # written by `gatehouse devices calibrate`
    plausible_from_celsius: float = 28.0
    plausible_to_celsius: float = 45.0
    not_measurable_below_celsius: float = 34.0  # after correction
    window_s: float = 2.0

    def __post_init__(self) -> None:
        if self.driver != "none" and not self.port:
            raise ValueError(f"thermometer.port is missing; {self.driver} needs the socket it is plugged into.")
        if not 1 <= self.bus_address <= 247:
            raise ValueError(f"thermometer.bus_address is {self.bus_address}; expected 1 to 247.")
        if not 0.0 <= self.heat_balance_k <= 0.5:
            raise ValueError(f"thermometer.heat_balance_k is {self.heat_balance_k}; expected 0 to 0.5.")
        if not 20.0 <= self.plausible_from_celsius < self.plausible_to_celsius <= 50.0:
            raise ValueError(
                "thermometer.plausible_from_celsius and .plausible_to_celsius must lie in order within 20 to 50."
            )
        if self.room_celsius is not None and not 0.0 <= self.room_celsius <= 45.0:
            raise ValueError(f"thermometer.room_celsius is {self.room_celsius}; expected 0 to 45.")
        if not 0.5 <= self.window_s <= 10.0:
            raise ValueError(f"thermometer.window_s is {self.window_s}; expected 0.5 to 10.")


@dataclass(frozen=True, slots=True)
class GateSettings:
    """What opens the door: a relay board, or our own controller, which ends the pulse by itself."""

    driver: Literal["none", "lcus", "modbus_relay", "gatehouse_mcu"] = "none"
    port: str = ""
    dialect: Literal["A", "B", "C"] = "A"  # lcus only: who made the board decides what it answers
    channel: int = 1  # 1 is the first relay
    bus_address: int = 1  # modbus_relay only
    open_ms: int = 500

    def __post_init__(self) -> None:
        if self.driver != "none" and not self.port:
            raise ValueError(f"gate.port is missing; {self.driver} needs the socket it is plugged into.")
        if not 1 <= self.channel <= 16:
            raise ValueError(f"gate.channel is {self.channel}; expected 1 to 16.")
        if not 1 <= self.bus_address <= 247:
            raise ValueError(f"gate.bus_address is {self.bus_address}; expected 1 to 247.")
        if not 100 <= self.open_ms <= 5000:
            raise ValueError(f"gate.open_ms is {self.open_ms}; expected 100 to 5000.")


@dataclass(frozen=True, slots=True)
class ScanHeadSettings:
    """A reader of codes that is not the camera: a serial head, or a hand-held gun that types like a keyboard."""

    driver: Literal["none", "gm65", "line", "wedge"] = "none"
    port: str = ""  # the serial socket; for `wedge` the input device (dev/input/by-id/...)
    bauds: tuple[int, ...] = ()
    trigger: Literal["none", "honeywell", "newland"] = "none"  # line only
    zones: Literal["gm65", "unknown"] = (
        "gm65"  # gm65 only: GM812 and GM861 number theirs differently; nothing is written
    )
    max_code_bytes: int = 4096

    def __post_init__(self) -> None:
        if self.driver != "none" and not self.port:
            raise ValueError(f"scan_head.port is missing; {self.driver} needs the socket it is plugged into.")
        if not 64 <= self.max_code_bytes <= 65536:
            raise ValueError(f"scan_head.max_code_bytes is {self.max_code_bytes}; expected 64 to 65536.")


@dataclass(frozen=True, slots=True)
class IdCardSettings:
    """The reader of resident ID cards; only the text side is ever read."""

    driver: Literal["none", "sam_v"] = "none"
    port: str = ""
    bauds: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.driver != "none" and not self.port:
            raise ValueError(f"id_card.port is missing; {self.driver} needs the socket it is plugged into.")


@dataclass(frozen=True, slots=True)
class CalibrationFile:
    """A two-point black-body calibration as stored; `firmware_bridge.measuring.Calibration` checks its values."""

    made_on: date
    expires_on: date
    operator: str
    device: str
    gain: float
    offset_celsius: float
    points: tuple[float, ...]  # reference 1, shown 1, reference 2, shown 2, in degrees Celsius
