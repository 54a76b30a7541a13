"""The console says how far the vault's index is behind, and nothing while it keeps up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from server.cases.models import Case
from server.context import House
from server.vault.indexing import IndexRun
from server.vault.lag import LATE_AFTER, lag_lines, note_lag
from server.vault.models import IndexLag
from server.worker.actions import watch_index
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


def test_an_index_that_stays_behind_is_a_case_until_it_has_caught_up(house: House, app: Flask) -> None:
    def states() -> list[str]:
        with house.database.reading() as reading:
            found = reading.scalars(select(Case.state).where(Case.machine == "index_lag").order_by(Case.opened_at))
            return list(found)

    def behind(minutes: int) -> None:
        since_ms = int((house.now() - timedelta(minutes=minutes)).timestamp() * 1000)
        note_lag(house.database, IndexRun(0, 0, False, behind=7, oldest_ms=since_ms), house.now())
        watch()

    def watch() -> None:
        with app.app_context():
            watch_index(house)

    watch()
    behind(house.settings.cases.index_minutes - 1)
    assert states() == []
    for _ in range(2):
        behind(house.settings.cases.index_minutes + 1)
        assert states() == ["behind"]
    note_lag(house.database, IndexRun(9, 0, True), house.now())
    watch()
    assert states() == ["caught_up"]
    behind(house.settings.cases.index_minutes + 1)
    assert sorted(states()) == ["behind", "caught_up"]


def test_a_vault_that_does_not_answer_is_a_case_too(house: House, app: Flask) -> None:
    """Then nothing notes a lag at all, and the last note grows old."""
    note_lag(house.database, IndexRun(9, 0, True), house.now() - timedelta(hours=1))
    with app.app_context():
        watch_index(house)
    with house.database.reading() as reading:
        case = reading.scalars(select(Case).where(Case.machine == "index_lag")).one()
    assert (case.state, case.facts) == ("behind", {"found": "60 min"})
