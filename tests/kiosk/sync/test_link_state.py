"""When the kiosk counts as online and how long it waits: a table, and bounds for every history."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kiosk.link_state import LONGEST_RETRY_S, Link, LinkState

HISTORIES = st.lists(st.booleans(), max_size=40)


def after(history: list[bool]) -> Link:
    link = Link()
    for worked in history:
        link = link.succeeded() if worked else link.failed()
    return link


@given(HISTORIES)
def test_three_failures_in_a_row_are_offline_and_two_successes_online(history: list[bool]) -> None:
    assert after([*history, False, False, False]).state is LinkState.OFFLINE
    assert after([*history, True, True]).state is LinkState.ONLINE


@given(HISTORIES)
def test_one_lost_exchange_never_makes_an_online_kiosk_offline(history: list[bool]) -> None:
    assert after([*history, True, True, False]).state is LinkState.DEGRADED


@given(HISTORIES, st.floats(0, 1, exclude_max=True), st.floats(1, 3600))
def test_the_wait_is_bounded_and_never_zero(history: list[bool], chance: float, interval_s: float) -> None:
    wait_s = after(history).next_try_s(interval_s, chance)
    assert 0 < wait_s <= max(interval_s, LONGEST_RETRY_S)


def test_waits_grow_and_are_spread() -> None:
    waits = [after([False] * n).next_try_s(30, 0.999) for n in range(1, 9)]
    assert waits == sorted(waits) and waits[-1] > 59
    assert after([False] * 8).next_try_s(30, 0.0) == LONGEST_RETRY_S / 2


def test_a_server_that_names_a_time_is_given_it() -> None:
    assert after([False]).next_try_s(30, 0.5, retry_after_s=120) == 120
