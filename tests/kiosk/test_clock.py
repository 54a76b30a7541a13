"""The kiosk's clock says how sure it is and never corrects itself in silence."""

from __future__ import annotations

from kiosk.clock import BUILT_AFTER_MS, KioskClock
from protocol.passage import ClockConfidence

NOW = BUILT_AFTER_MS + 10_000_000_000


class Hands:
    """A wall clock and a steady clock that a test moves by hand."""

    def __init__(self, wall: int = NOW) -> None:
        self.wall, self.mono = wall, 1_000

    def pass_ms(self, ms: int) -> None:
        self.wall += ms
        self.mono += ms

    def clock(self, last_record_ms: int | None = None) -> KioskClock:
        return KioskClock(last_record_ms, wall_ms=lambda: self.wall, mono_ms=lambda: self.mono, boot=b"bootboot")


def test_a_plausible_clock_is_held_until_the_server_confirms_it() -> None:
    hands = Hands()
    clock = hands.clock()
    assert clock.stamp().confidence is ClockConfidence.HELD
    assert clock.server_said(hands.wall + 900) == -900
    assert clock.stamp().confidence is ClockConfidence.SYNCED


def test_a_clock_that_starts_in_1970_is_unsure() -> None:
    assert Hands(wall=5_000).clock().stamp().confidence is ClockConfidence.UNSURE


def test_a_clock_behind_the_last_record_is_unsure() -> None:
    hands = Hands()
    assert hands.clock(last_record_ms=NOW + 60_000).stamp().confidence is ClockConfidence.UNSURE
    assert hands.clock(last_record_ms=NOW - 60_000).stamp().confidence is ClockConfidence.HELD


def test_a_moved_clock_is_noticed_once_and_no_longer_synced() -> None:
    hands = Hands()
    clock = hands.clock()
    clock.server_said(hands.wall)
    hands.pass_ms(50_000)
    assert clock.take_jump_ms() is None
    hands.wall -= 3_600_000
    assert clock.take_jump_ms() == -3_600_000
    assert clock.take_jump_ms() is None
    assert clock.stamp().confidence is ClockConfidence.HELD


def test_a_server_that_is_ahead_makes_the_clock_unsure_and_the_offset_is_kept() -> None:
    hands = Hands()
    clock = hands.clock()
    clock.server_said(hands.wall + 86_400_000)
    assert clock.stamp().confidence is ClockConfidence.UNSURE
    assert clock.server_offset_ms == -86_400_000
    hands.wall += 86_400_000  # somebody sets it right
    assert clock.stamp().confidence is ClockConfidence.HELD


def test_steady_time_and_boot_stand_in_every_stamp() -> None:
    hands = Hands()
    clock = hands.clock()
    first = clock.stamp()
    hands.mono += 7
    assert (clock.stamp().mono_ms - first.mono_ms, first.boot) == (7, b"bootboot")
