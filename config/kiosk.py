"""The settings of one entrance, as read from its TOML file; see kiosk.example.toml for what each means."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

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
class ProviderSettings:
    """Who is asked about health codes that cannot be verified offline (V-45); without an address nobody is."""

    url: str = ""  # where a question is posted
    name: str = "provincial"  # stands in the records as the issuer
    region: str = ""  # GB/T 2260, six digits: where this entrance is
    timeout_s: float = 3.0  # from showing the code to "check by hand"
    answer_lives_s: float = 300.0  # an answer about the same code is not asked for again within
    starts_with: tuple[str, ...] = ()  # ask about texts that begin so; empty: about every text of no scheme of ours
    failures_before_pause: int = 3  # so many silences in a row, and nobody is asked for a while
    pause_s: float = 30.0
    token_file: Path | None = None  # a password for the provider, sent as a bearer token
    ca_file: Path | None = None  # own certificate authority of the provider's TLS certificate

    def __post_init__(self) -> None:
        url = urlsplit(self.url)
        if self.url and (url.scheme not in {"http", "https"} or not url.hostname or url.username):
            raise ValueError("provider.url is not an address such as https://HOST/PATH.")
        if url.scheme == "http" and url.hostname not in {"localhost", "127.0.0.1", "::1"}:
            raise ValueError("provider.url is plain http; people's codes go over TLS only.")
        if self.url and not re.fullmatch(r"[0-9]{6}", self.region):
            raise ValueError(f"provider.region is {self.region!r}; expected six digits of GB/T 2260.")
        for name, value, low, high in (
            ("timeout_s", self.timeout_s, 0.2, 10),
            ("answer_lives_s", self.answer_lives_s, 0, 900),
            ("failures_before_pause", self.failures_before_pause, 1, 100),
            ("pause_s", self.pause_s, 1, 3600),
        ):
            if not low <= value <= high:
                raise ValueError(f"provider.{name} is {value}; expected {low} to {high}.")
        if not 0 < len(self.name) <= 40:
            raise ValueError("provider.name has 1 to 40 characters.")


@dataclass(frozen=True, slots=True)
class JournalSettings:
    """How large the journal may grow; what the server has not confirmed is never dropped to make room."""

    soft_mb: int = (
        1000  # from here on, records that have a receipt go at once instead of after sync.keep_after_receipt_h
    )
    most_mb: int = (
        1500  # from here on nothing more is recorded: a partition that is full to the brim cannot be repaired
    )

    def __post_init__(self) -> None:
        if not 16 <= self.most_mb <= 1_000_000:
            raise ValueError(f"journal.most_mb is {self.most_mb}; expected 16 to 1000000.")
        if not 8 <= self.soft_mb < self.most_mb:
            raise ValueError(f"journal.soft_mb is {self.soft_mb}; expected 8 to below journal.most_mb.")

    @property
    def soft_bytes(self) -> int:
        """The lower bound in bytes."""
        return self.soft_mb * 2**20

    @property
    def most_bytes(self) -> int:
        """The upper bound in bytes."""
        return self.most_mb * 2**20


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
    journal: JournalSettings = field(default_factory=JournalSettings)
    provider: ProviderSettings = field(default_factory=ProviderSettings)
    program_dir: Path = Path("/opt/gatehouse")  # where two versions of the program stand side by side (kiosk/slots.py)

    @property
    def journal_path(self) -> Path:
        """The journal's file."""
        return self.data_dir / "journal.db"


def load_kiosk(path: Path) -> KioskSettings:
    """Read a kiosk's settings; raises ConfigError that says what to mend."""
    return load(KioskSettings, path)
