"""The settings of one entrance, as read from its TOML file; see kiosk.example.toml for what each means."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from config.camera import CameraSettings
from config.devices import GateSettings, IdCardSettings, ScanHeadSettings, ThermometerSettings
from config.loading import load
from config.screen import ScreenSettings


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """How often the kiosk talks to its server (F-14); a new passage is sent at once in any case."""

    interval_s: float = 30.0
    batch: int = 200
    timeout_s: float = 10.0
    keep_after_receipt_h: float = (
        48.0  # F-06 retention.kiosk_hours_after_ack: sealed records kept for a restored server
    )
    ca_file: Path | None = None  # own certificate authority of the server's TLS certificate

    def __post_init__(self) -> None:
        if not 1 <= self.interval_s <= 3600:
            raise ValueError(f"sync.interval_s is {self.interval_s}; expected 1 to 3600.")
        if not 1 <= self.batch <= 1000:
            raise ValueError(f"sync.batch is {self.batch}; expected 1 to 1000.")
        if not 1 <= self.timeout_s <= 120:
            raise ValueError(f"sync.timeout_s is {self.timeout_s}; expected 1 to 120.")


@dataclass(frozen=True, slots=True)
class KioskSettings:
    """Everything one entrance is told by its own file. What a verdict depends on comes in the signed bundle."""

    data_dir: Path  # journal, keys and the last good bundle; one folder a kiosk
    direction: Literal["in", "out"] = "in"
    camera: CameraSettings = field(default_factory=CameraSettings)
    thermometer: ThermometerSettings = field(default_factory=ThermometerSettings)
    gate: GateSettings = field(default_factory=GateSettings)
    scan_head: ScanHeadSettings = field(default_factory=ScanHeadSettings)
    id_card: IdCardSettings = field(default_factory=IdCardSettings)
    screen: ScreenSettings = field(default_factory=ScreenSettings)
    sync: SyncSettings = field(default_factory=SyncSettings)

    @property
    def journal_path(self) -> Path:
        """The journal's file."""
        return self.data_dir / "journal.db"


def load_kiosk(path: Path) -> KioskSettings:
    """Read a kiosk's settings; raises ConfigError that says what to mend."""
    return load(KioskSettings, path)
