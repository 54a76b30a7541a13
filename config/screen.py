"""Settings of the entrance screen and its sound: the loopback port, the camera preview, tones and voice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import time
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class ScreenSettings:
    """The page that Chromium shows in kiosk mode; it is served to this machine only, so there is no host setting."""

    port: int = 8460  # 0: any free port, for tests
    preview_fps: float = 8.0
    preview_width: int = 640  # a wider preview picture is made smaller before it is sent
    sound: Literal["page", "speaker", "none"] = "page"  # who plays: the browser, this process through aplay, nobody
    voice: bool = True  # speak after the tone
    voice_languages: tuple[str, ...] = ("zh", "en")  # spoken in this order
    voice_cache: Path = Path("voice")  # made clips and tones, may be deleted at any time; the default is in data_dir
    voice_recorded: Path | None = None  # a folder of the site's own clips, CODE.wav; they come before the made ones
    volume_percent: int = 90
    night_volume_percent: int = 40
    night_from: str = "22:00"  # local time, HH:MM
    night_to: str = "07:00"

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"screen.port is {self.port}; expected 1 to 65535, or 0 for any free port")
        if not 0.5 <= self.preview_fps <= 30:
            raise ValueError(f"screen.preview_fps is {self.preview_fps}; expected 0.5 to 30")
        if not 64 <= self.preview_width <= 1920:
            raise ValueError(f"screen.preview_width is {self.preview_width}; expected 64 to 1920")
        if not self.voice_languages or set(self.voice_languages) - {"zh", "en"}:
            raise ValueError('screen.voice_languages may name "zh" and "en", at least one')
        for name in ("volume_percent", "night_volume_percent"):
            if not 0 <= getattr(self, name) <= 100:
                raise ValueError(f"screen.{name} is {getattr(self, name)}; expected 0 to 100")
        for name in ("night_from", "night_to"):
            try:
                time.fromisoformat(getattr(self, name))
            except ValueError:
                raise ValueError(f"screen.{name} is {getattr(self, name)!r}; expected HH:MM") from None

    def volume_at(self, now: time) -> int:
        """Percent to play at, at the local time of day *now*; a night from 22:00 to 07:00 spans midnight."""
        begin, end = time.fromisoformat(self.night_from), time.fromisoformat(self.night_to)
        night = begin <= now < end if begin <= end else (now >= begin or now < end)
        return self.night_volume_percent if night else self.volume_percent
