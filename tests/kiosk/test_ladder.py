"""The mode that people are told changes with patience, ends at the truth, and never hides that nobody may pass."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.ladder import AT_ONCE, Ladder, Rung, rung_of
from protocol.profile import Conduct

PATIENCE = Conduct()
WORDS = ("no_network", "no_rules", "rules_stale", "no_camera", "no_thermometer", "no_gate", "clock_unsure")


def walk(*seconds: tuple[str, ...]) -> list[tuple[str, ...]]:
    """What is told after each second of these truths."""
    ladder, told = Ladder(), []
    for now_s, found in enumerate(seconds):
        ladder = ladder.step(found, float(now_s), PATIENCE)
        told.append(ladder.standing)
    return told


def changes(told: list[tuple[str, ...]]) -> int:
    return sum(a != b for a, b in itertools.pairwise(told))


def test_a_plug_that_is_pushed_in_again_at_once_is_not_told() -> None:
    assert changes(walk((), ("no_camera",), ("no_camera",), (), *[()] * 20)) == 0


def test_a_loose_plug_is_one_mode_and_not_sixty() -> None:
    broken = [("no_camera",)] * 4
    loose = [("no_camera",) if n % 3 else () for n in range(60)]
    told = walk((), *broken, *loose)
    assert changes(told) == 1 and told[-1] == ("no_camera",)


def test_a_device_that_stays_well_is_believed_again() -> None:
    told = walk(*[("no_gate",)] * 5, *[()] * 12)
    assert told[3] == ("no_gate",) and told[-1] == () and changes(told) == 2
    assert told[5 + PATIENCE.leave_after_s - 1] == ("no_gate",)


@pytest.mark.parametrize("word", sorted(AT_ONCE))
def test_what_stops_admissions_is_told_at_once(word: str) -> None:
    assert walk((), (word,)) == [(), (word,)]


def test_a_kiosk_that_starts_with_a_camera_still_opening_tells_of_none() -> None:
    assert changes(walk(("no_camera",), ("no_camera",), (), ())) == 0


TRUTHS = st.lists(st.sets(st.sampled_from(WORDS)), min_size=1, max_size=60)


@given(TRUTHS)
def test_after_a_quiet_while_the_truth_is_told(truths: list[set[str]]) -> None:
    last = tuple(sorted(truths[-1]))
    told = walk(*(tuple(sorted(truth)) for truth in truths), *[last] * (PATIENCE.leave_after_s + 2))
    assert set(told[-1]) == set(last)


@given(TRUTHS)
def test_devices_change_the_mode_at_most_once_in_each_patience(truths: list[set[str]]) -> None:
    told = walk(*(tuple(sorted(truth)) for truth in truths))
    for word in ("no_camera", "no_gate"):
        turns = [n for n, (a, b) in enumerate(itertools.pairwise(told)) if (word in a) != (word in b)]
        assert all(later - earlier >= PATIENCE.enter_after_s for earlier, later in itertools.pairwise(turns))
        for at in turns:
            entered = word in told[at + 1]
            since = int(PATIENCE.enter_after_s if entered else PATIENCE.leave_after_s)
            assert all((word in truths[n]) is entered for n in range(at + 1 - since, at + 2))


@given(TRUTHS)
def test_nothing_is_told_twice_or_made_up(truths: list[set[str]]) -> None:
    seen: set[str] = set()
    ladder = Ladder()
    for now_s, truth in enumerate(truths):
        seen |= truth
        ladder = ladder.step(tuple(sorted(truth)), float(now_s), PATIENCE)
        assert len(set(ladder.standing)) == len(ladder.standing) and set(ladder.standing) <= seen


@pytest.mark.parametrize(
    ("words", "has_scanner", "rung"),
    [
        ((), False, Rung.FULL),
        (("no_gate", "clock_unsure"), False, Rung.FULL),
        (("no_network",), False, Rung.OFFLINE),
        (("no_thermometer", "no_network"), True, Rung.TYPED),
        (("no_camera",), True, Rung.FULL),
        (("no_camera",), False, Rung.MANUAL),
        (("no_camera", "no_scanner"), True, Rung.MANUAL),
        (("no_scanner",), True, Rung.FULL),
        (("no_camera", "journal_unavailable"), False, Rung.CLOSED),
        (("no_rules", "no_network"), False, Rung.CLOSED),
    ],
)
def test_the_rung_is_what_can_still_be_done(words: tuple[str, ...], has_scanner: bool, rung: Rung) -> None:
    assert rung_of(words, has_scanner=has_scanner) is rung


def test_the_profile_says_how_much_patience_there_is() -> None:
    at_once = Conduct(enter_after_s=0, leave_after_s=1)
    ladder = Ladder().step(("no_gate",), 0.0, at_once)
    assert ladder.standing == ("no_gate",)
    ladder = ladder.step((), 1.0, at_once).step((), 2.0, at_once)
    assert ladder.standing == ()
