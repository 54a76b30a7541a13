"""The parts "profiles" and "venue" of a bundle: how an entrance behaves, by kind of venue and mode, and at a venue."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

from protocol import cbor
from protocol.errors import ProtocolError
from protocol.fields import Fields, without_none
from protocol.policy import EntryPolicy

MAX_PROFILES = 64
MAX_CAPACITY = 100_000
DAY_MINUTES = 1440
MAX_WORDS = 120  # of where to go instead; it stands on the screen


class Mode(Enum):
    """In which mode an area or a venue works (requirements SM-10)."""

    NORMAL = "normal"
    EMERGENCY = "emergency"


@dataclass(frozen=True, slots=True)
class Conduct:
    """What an entrance does beside judging one person. The limits are those of `from_fields`; times in seconds."""

    # A device must be gone this long before the mode changes; a plug that is pushed in again takes a second or two.
    enter_after_s: int = 3
    # And back this long before the mode is left: a device that fails every few seconds cannot be relied on.
    leave_after_s: int = 10
    opening_test_blocks: bool = False  # True: until today's opening test passed, everybody is checked by hand
    near_full_percent: int = 90  # of the venue's capacity: from here the screen says that it is nearly full
    full_holds: bool = False  # at capacity: True checks by hand, False only says so
    exit_is_free: bool = False  # who leaves needs neither a code nor a temperature; they are counted out

    def to_fields(self) -> dict[int, object]:
        """As a map with small integer keys."""
        return {
            1: self.enter_after_s,
            2: self.leave_after_s,
            3: self.opening_test_blocks,
            4: self.near_full_percent,
            5: self.full_holds,
            6: self.exit_is_free,
        }

    @staticmethod
    def from_fields(value: object) -> Conduct:
        """Read back; raises ProtocolError for limits that cannot be meant."""
        f = Fields(value, "conduct")
        conduct = Conduct(
            enter_after_s=f.integer(1, 0, 60),
            leave_after_s=f.integer(2, 1, 600),
            opening_test_blocks=f.take(3, bool),
            near_full_percent=f.integer(4, 50, 100),
            full_holds=f.take(5, bool),
            exit_is_free=f.take(6, bool),
        )
        f.done()
        return conduct


@dataclass(frozen=True, slots=True)
class Profile:
    """The rules of one kind of venue in one mode."""

    category: str  # a kind of venue; "" is for all that have no profile of their own
    mode: Mode
    entry: EntryPolicy
    conduct: Conduct = Conduct()


def profiles_to_bytes(profiles: Iterable[Profile]) -> bytes:
    """The part "profiles", encoded deterministically in the order of kind and mode."""
    rows = sorted(profiles, key=lambda p: (p.category, p.mode.value))
    return cbor.encode({1: [[p.category, p.mode.value, p.entry.to_bytes(), p.conduct.to_fields()] for p in rows]})


def profiles_from_bytes(data: bytes) -> tuple[Profile, ...]:
    """Read the part "profiles"; raises ProtocolError. No two profiles are for the same kind and mode."""
    f = Fields(cbor.decode_strict(data), "profiles")
    rows = f.take(1, list)
    f.done()
    if len(rows) > MAX_PROFILES:
        raise ProtocolError(f"profiles: {len(rows)}, limit {MAX_PROFILES}", code="bad_list")
    profiles = tuple(_profile(row) for row in rows)
    if len({(p.category, p.mode) for p in profiles}) != len(profiles):
        raise ProtocolError("profiles: one stands there twice", code="bad_list")
    return profiles


def _profile(row: object) -> Profile:
    if isinstance(row, list) and len(row) == 4:
        category, mode, entry, conduct = row
        if type(category) is str and len(category) <= 32 and type(entry) is bytes:
            return Profile(category, _mode(mode), EntryPolicy.from_bytes(entry), Conduct.from_fields(conduct))
    raise ProtocolError("profiles: an entry is not [kind of venue, mode, policy, conduct]", code="bad_list")


def _mode(value: object) -> Mode:
    try:
        return Mode(value)
    except ValueError as error:
        raise ProtocolError(f"mode {value!r} is not known", code="unknown_word") from error


def pick(profiles: Iterable[Profile], category: str, mode: Mode, otherwise: EntryPolicy) -> Profile:
    """The profile of a venue of *category* in *mode*: its own, the one for all, the one of normal times, or plain.

    A mode without a profile falls back to normal times, never to no rules; *otherwise* is the bundle's plain policy.
    """
    held = {(p.category, p.mode): p for p in profiles}
    for wanted in ((category, mode), ("", mode), (category, Mode.NORMAL), ("", Mode.NORMAL)):
        if wanted in held:
            found = held[wanted]
            return replace(found, entry=found.entry.at_venue(category))
    return Profile(category, mode, otherwise.at_venue(category))


@dataclass(frozen=True, slots=True)
class Hours:
    """When a venue lets people in on one weekday, in minutes after local midnight; *until* may be past 24:00."""

    from_min: int
    until_min: int

    def __post_init__(self) -> None:
        if not 0 <= self.from_min < DAY_MINUTES or not self.from_min <= self.until_min <= self.from_min + DAY_MINUTES:
            raise ProtocolError(f"hours: {self.from_min} to {self.until_min} minutes cannot be meant", code="bad_hours")


@dataclass(frozen=True, slots=True)
class VenueRules:
    """The part "venue": what holds at this venue alone."""

    mode: Mode = Mode.NORMAL
    mode_since_ms: int = 0  # 0 in normal times
    mode_until_ms: int = 0  # as announced; 0: until it is ended. The server ends it, never a kiosk's clock
    capacity: int = 0  # people inside at most; 0: no limit is set
    hours: tuple[Hours, ...] = ()  # Monday to Sunday, or empty: always open. from = until: closed that day
    elsewhere_zh: str = ""  # where to go while this entrance is closed
    elsewhere_en: str = ""

    def is_open(self, weekday: int, minute: int) -> bool:
        """Whether people are let in on *weekday* (0 is Monday), *minute* minutes after local midnight."""
        if not self.hours:
            return True
        today, before = self.hours[weekday], self.hours[weekday - 1]
        return today.from_min <= minute < today.until_min or minute + DAY_MINUTES < before.until_min

    def opens_at(self, weekday: int, minute: int) -> int | None:
        """The minute after midnight at which a closed venue opens later today, or None when it does not."""
        if not self.hours:
            return None
        today = self.hours[weekday]
        return today.from_min if minute < today.from_min < today.until_min else None

    def to_bytes(self) -> bytes:
        """Encode deterministically."""
        return cbor.encode(
            without_none(
                {
                    1: self.mode.value,
                    2: self.mode_since_ms or None,
                    3: self.mode_until_ms or None,
                    4: self.capacity or None,
                    5: [[h.from_min, h.until_min] for h in self.hours],
                    6: self.elsewhere_zh or None,
                    7: self.elsewhere_en or None,
                }
            )
        )

    @staticmethod
    def from_bytes(data: bytes) -> VenueRules:
        """Decode; raises ProtocolError."""
        f = Fields(cbor.decode_strict(data), "venue")
        rules = VenueRules(
            _mode(f.text(1, at_most=32)),
            f.maybe(2, int) or 0,
            f.maybe(3, int) or 0,
            _capacity(f.maybe(4, int) or 0),
            _hours(f.maybe(5, list) or []),
            f.maybe_text(6, at_most=MAX_WORDS) or "",
            f.maybe_text(7, at_most=MAX_WORDS) or "",
        )
        f.done()
        return rules


def _capacity(value: int) -> int:
    if not 0 <= value <= MAX_CAPACITY:
        raise ProtocolError(f"venue: a capacity of {value} cannot be meant", code="out_of_range")
    return value


def _hours(rows: list[object]) -> tuple[Hours, ...]:
    if not rows:
        return ()
    if len(rows) != 7 or not all(isinstance(r, list) and len(r) == 2 and all(type(x) is int for x in r) for r in rows):
        raise ProtocolError("venue: the hours are not seven pairs of minutes", code="bad_list")
    return tuple(Hours(*row) for row in rows)  # type: ignore[misc]
