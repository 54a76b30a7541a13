"""The generated frames: the same for the same numbers, and holds levelled by the engine alone."""

from __future__ import annotations

import numpy as np
import pytest

from bench import frames


def test_a_hold_is_the_same_for_the_same_numbers() -> None:
    first, again = (frames.hold(9, "motion", 2, frames=2) for _ in range(2))
    assert first == again
    text, film = frames.filming(9, "motion", 2, frames=2)
    assert (text, tuple(film)) == (first.text, first.frames)
    assert frames.hold(10, "motion", 2, frames=1).text != first.text


def test_the_levels_follow_what_the_engine_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that reads all glare below 0.2 and nothing above puts the range round 0.2."""
    asked: list[float] = []

    def reads(seed: int, family: str, index: int, knob: float | None = None) -> bool:
        assert knob is not None and seed >= frames.CALIBRATED_WITH
        asked.append(knob)
        return knob < 0.2

    monkeypatch.setattr(frames, "_engine_reads", reads)
    easiest, hardest, share = frames.calibrate("glare")
    assert easiest < 0.2 < hardest
    assert 0.4 <= share <= 0.6
    assert np.isclose(min(asked), frames.HOLD_SEARCH["glare"][0], atol=0.02)
