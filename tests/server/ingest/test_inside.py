"""Each kiosk is told what the other kiosks of its venue counted inside, on its own day, and nothing of other venues."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from protocol.exchange import TAKES, Answer
from tests.server.ingest.fleet import PaperKiosk
from tests.server.people import MARKET

NewKiosk = Callable[[], PaperKiosk]
DAY = "2026-03-02"


def tells(kiosk: PaperKiosk, count: str) -> tuple[str, ...]:
    return heard(kiosk.exchange(health=(("camera", "live"), ("inside", count))))


def heard(answer: Answer) -> tuple[str, ...]:
    """The commands, but for what the server says of itself."""
    return tuple(command for command in answer.commands if command != TAKES.command())


def test_a_way_in_and_a_way_out_hear_of_each_other(new_kiosk: NewKiosk) -> None:
    door, way_out, elsewhere = new_kiosk(), new_kiosk(), new_kiosk()
    elsewhere.venue = MARKET
    for kiosk in (door, way_out, elsewhere):
        assert kiosk.enrol().status_code == 200
    assert tells(elsewhere, f"{DAY} 900") == (f"inside {DAY} 0",)
    assert tells(door, f"{DAY} 40") == (f"inside {DAY} 0",)
    assert tells(way_out, f"{DAY} -12") == (f"inside {DAY} 40",)
    assert tells(door, f"{DAY} 41") == (f"inside {DAY} -12",)
    assert tells(door, "2026-03-03 1") == ("inside 2026-03-03 0",)  # yesterday's count is over


@pytest.mark.parametrize("count", ["", "many", f"{DAY}", f"{DAY} 1e9", f"{DAY} 99999999", "0000-00-00"])
def test_a_kiosk_that_counts_nothing_sensible_is_told_nothing(kiosk: PaperKiosk, count: str) -> None:
    assert tells(kiosk, count) == ()


def test_an_older_kiosk_is_told_nothing(kiosk: PaperKiosk) -> None:
    assert heard(kiosk.exchange()) == ()
