"""The console says how far the vault's index is behind, and nothing while it keeps up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from server.context import House
from server.vault.indexing import IndexRun
from server.vault.lag import LATE_AFTER, lag_lines, note_lag
from server.vault.models import IndexLag
from tests.server.people import Browser

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("checked", "behind", "oldest", "expected"),
    [
        (0, 0, None, []),
        (0, 7, 10, [(7, "wait")]),
        (0, 7, LATE_AFTER.seconds + 1, [(7, "bad")]),
        (LATE_AFTER.seconds + 1, 0, None, [(1, "bad")]),
    ],
)
def test_a_lag_is_said_and_alarmed(
    checked: int, behind: int, oldest: int | None, expected: list[tuple[int, str]]
) -> None:
    since = None if oldest is None else NOW - timedelta(seconds=oldest)
    lag = IndexLag(id=1, checked_at=NOW - timedelta(seconds=checked), behind=behind, oldest_at=since)
    assert [(line.count, line.kind) for line in lag_lines(lag, NOW) if line.count] == expected


def test_support_sees_the_lag_on_the_first_page(house: House, as_person: Callable[[str], Browser]) -> None:
    note_lag(house.database, IndexRun(0, 0, False, behind=4321, oldest_ms=1), house.now())
    page = as_person("tech").get("/").text
    assert "4321" in page and "尚未编入索引" in page
    assert "4321" not in as_person("operator").get("/").text
    note_lag(house.database, IndexRun(9, 0, True), house.now())
    assert "尚未编入索引" not in as_person("tech").get("/").text
