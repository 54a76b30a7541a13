"""One event per presentation, whatever the frames and scan heads repeat."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.presence import REMEMBERED, Presence, Presented, Showing


def kinds(events: list[Presented]) -> list[tuple[str, str]]:
    return [(e.text, e.showing.value) for e in events]


def test_a_code_held_still_speaks_once_then_reminds_once() -> None:
    presence = Presence(away_s=1, remind_after_s=5)
    spoken = [event for i in range(600) for event in presence.see(["A"], i / 30)]
    assert [event.showing for event in spoken] == [Showing.NEW, Showing.AGAIN]
    assert spoken[1].at_s == pytest.approx(5, abs=0.05)


def test_a_code_that_was_away_is_again_with_the_time_it_was_first() -> None:
    presence = Presence(away_s=1)
    presence.see(["A"], 10.0)
    assert presence.see(["A"], 10.5) == []
    (event,) = presence.see(["A"], 12.0)
    assert event.showing is Showing.AGAIN and event.first_at_s == 10.0 and event.at_s == 12.0


def test_single_missed_frames_make_no_second_event() -> None:
    presence = Presence(away_s=1)
    events = [e for i in range(100) for e in presence.see([] if i % 7 else ["A"], i / 30)]
    assert kinds(events) == [("A", "new")]


def test_a_different_code_wins_at_once_and_the_first_stays_known() -> None:
    presence = Presence()
    assert kinds(presence.see(["A"], 0.0)) == [("A", "new")]
    assert kinds(presence.see(["B"], 0.01)) == [("B", "new")]
    assert presence.see(["A", "B"], 0.02) == []


def test_after_long_absence_a_code_is_new() -> None:
    presence = Presence(forget_after_s=60)
    presence.see(["A"], 0.0)
    assert kinds(presence.see(["A"], 61.0)) == [("A", "new")]


def test_scan_head_and_camera_make_one_event_whoever_speaks_first() -> None:
    presence = Presence()
    (event,) = presence.see(["A"], 0.0, source="scan_head")
    assert event.source == "scan_head"
    assert presence.see(["A"], 0.04, source="camera") == []


def test_forgetting_makes_everything_new() -> None:
    presence = Presence()
    presence.see(["A"], 0.0)
    presence.forget()
    assert kinds(presence.see(["A"], 0.1)) == [("A", "new")]


def test_memory_is_bounded_and_holds_no_text() -> None:
    presence = Presence()
    for i in range(1000):
        presence.see([f"JK1:secret-{i}"], i / 100)
    assert len(presence._codes) == REMEMBERED
    assert "secret" not in repr(presence._codes)


@given(st.lists(st.tuples(st.sampled_from("AB"), st.floats(0, 3)), max_size=60))
def test_every_code_is_announced_before_it_is_again(steps: list[tuple[str, float]]) -> None:
    presence, now_s, known = Presence(), 0.0, set()
    for text, gap_s in steps:
        now_s += gap_s
        for event in presence.see([text], now_s):
            assert event.text == text
            if event.showing is Showing.AGAIN:
                assert text in known and event.first_at_s < now_s
            known.add(text)
        assert text in known


@pytest.mark.parametrize("wrong", [{"away_s": 0}, {"remind_after_s": 0}, {"away_s": 5, "forget_after_s": 1}])
def test_senseless_times_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Presence(**wrong)
