"""A kiosk learns which of its records still wait in quarantine, in words short enough for any answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.aside import MOST_CHARACTERS, Aside

SEQUENCES = st.lists(st.integers(1, 2**53), unique=True, max_size=20).map(sorted)


@given(SEQUENCES, st.integers(1, 2**53))
def test_no_record_that_waits_is_taken_for_released(waiting: list[int], other: int) -> None:
    said = Aside.fitting(waiting)
    assert len(said.command()) <= MOST_CHARACTERS
    heard = Aside.from_commands(("copied", said.command()))
    assert heard == said
    assert all(heard.may_hold(sequence) for sequence in waiting)
    if not said.more:
        assert heard.may_hold(other) == (other in waiting)


def test_nothing_that_waits_releases_all_and_silence_releases_none() -> None:
    assert Aside.from_commands(("aside",)) == Aside()
    assert not Aside().may_hold(7)
    assert Aside.from_commands(("copied", "asides 1", "")) is None


@pytest.mark.parametrize("numbers", ["x", "1 -2", "+ 1", "٣", "12345678901234567", ""])
def test_what_is_no_list_of_numbers_says_nothing(numbers: str) -> None:
    assert Aside.from_commands((f"aside {numbers}",)) is None
