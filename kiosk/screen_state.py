"""What the entrance screen shows at one moment, as one value: the station makes it, the screen draws it.

Nothing in it is personal beyond a masked name, and a stop screen has not even that (field.md, entrance screen 12).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any


class View(Enum):
    """Which picture stands on the screen."""

    SETUP = "setup"  # not enrolled: shows how to scan the server's code
    IDLE = "idle"  # status board
    MEASURING = "measuring"  # a code was taken; the person stands in front of the thermometer
    VERDICT = "verdict"
    CLOSED = "closed"  # nobody is let in: what visitors should do instead
    NOTE = "note"  # a short answer to something that is no passage: poster tested, badge read, same code again


class Face(Enum):
    """The four verdicts; each has its own colour, shape, word, tone and voice."""

    PASS = "pass"  # noqa: S105  the word on the screen, not a password
    CHECK = "check"  # check by hand
    STOP = "stop"
    UNKNOWN = "unknown"  # cannot tell


@dataclass(frozen=True, slots=True)
class Text:
    """One sentence in both languages; Chinese stands first."""

    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class VerdictView:
    """A verdict as it fills the screen."""

    face: Face
    headline: Text  # one big word: 请进 / Come in
    reason: Text | None  # for the visitor
    next_step: Text | None  # for the visitor
    staff: Text | None  # for the staff: what to check
    code: str  # stable code of the first reason, for voice and for staff
    temperature: str | None  # "36.5", one decimal, only when it was measured; never on a stop screen
    masked_name: str | None  # never on a stop screen
    reference: str  # "#000123"; points at the record, not at the person
    closes_in_ms: int | None  # None: stays until acknowledged or until another code comes
    direction: str  # "in" or "out"


@dataclass(frozen=True, slots=True)
class PartStatus:
    """One part of the kiosk in words: camera, scanner, thermometer, gate, sound, network, clock, disk, rules."""

    part: str
    good: bool
    text: Text


@dataclass(frozen=True, slots=True)
class Banner:
    """The permanent line: mode, age of the rules, what is unsent and since when."""

    level: str  # "ok", "warn", "bad"
    mode: Text  # 在线 / Online, 离线运行 / Running offline ...
    rules: Text  # 规则 3 小时前更新
    unsent: int
    oldest: Text | None  # 最早 08:12


@dataclass(frozen=True, slots=True)
class NoticeView:
    """One public notice; never about a person."""

    level: str  # "tip", "important", "urgent"
    label: Text  # the level in a word
    title: Text
    body: Text


@dataclass(frozen=True, slots=True)
class Occupancy:
    """How many people are inside, as counted."""

    inside: int
    capacity: int  # 0: no limit is set
    fill: str  # "free", "near", "full"


@dataclass(frozen=True, slots=True)
class ScreenState:
    """Everything the screen needs; a new value replaces the old one whole."""

    revision: int
    view: View
    venue: Text
    entrance: Text
    day_word: Text  # against imitation: changes each day, same on every kiosk of the venue
    banner: Banner
    parts: tuple[PartStatus, ...]
    counts: tuple[tuple[str, int], ...]  # today: admit, hold, deny, manual, proxy
    occupancy: Occupancy | None  # None where no capacity is set and nobody is counted out
    verdict: VerdictView | None = None
    note: Text | None = None
    prompt: Text | None = None  # what the person should do now
    progress_ms: int | None = None  # how long measuring may take at most
    findings: tuple[Text, ...] = ()  # the device doctor's banner: what, why it matters, what to do
    notices: tuple[NoticeView, ...] = ()  # shown while nobody is served, the weightiest first
    notices_age: Text | None = None  # how old they are, once they may be out of date
    direction: str = "in"  # which way people walk here: "in" or "out"
    exit_is_free: bool = False  # a button lets people out without a code
    is_closed: bool = False  # by staff or by the venue's hours; a device that cannot record is another matter
    subject: int = 0  # another person or thing than before: an equal verdict is heard again

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""

        def plain(value: Any) -> Any:
            if isinstance(value, Enum):
                return value.value
            if isinstance(value, dict):
                return {k: plain(v) for k, v in value.items()}
            if isinstance(value, (list, tuple)):
                return [plain(v) for v in value]
            return value

        return {k: plain(v) for k, v in asdict(self).items()}
