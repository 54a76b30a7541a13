"""The check of all cases finds what a page of one case cannot: a case that is gone, or written anew as a whole."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import text

from server.accounts.rights import Place
from server.cases.checking import check_all
from server.cases.kernel import COMMAND, entries_of, open_case, take
from server.cases.models import GENESIS, Case
from server.cases.registry import machines
from server.context import House
from tests.server.people import LIBRARY, NOON


@pytest.fixture
def two_cases(app: Flask, house: House) -> list[str]:
    with app.app_context(), house.database.writing() as writing:
        place = Place("510000/510100/510104/510104001/510104001001/", LIBRARY)
        made = [
            open_case(writing, machines()["fault"], by="system", at=NOON, title=title, place=place).id for title in "ab"
        ]
        take(writing, made[0], "acknowledge", by=COMMAND, at=NOON)
    return made


def problems(house: House) -> tuple[tuple[str, str], ...]:
    with house.database.reading() as reading:
        return check_all(reading).problems


def without_triggers(house: House, *statements: str) -> None:
    with house.database.writing() as writing:
        if house.database.engine.dialect.name == "sqlite":
            for name in ("no_update", "no_rewriting", "no_delete"):
                writing.execute(text(f"DROP TRIGGER case_entry_{name}"))
        else:
            writing.execute(text("ALTER TABLE case_entry DISABLE TRIGGER ALL"))
        for statement in statements:
            writing.execute(text(statement))


def test_whole_histories_hold(house: House, two_cases: list[str]) -> None:
    with house.database.reading() as reading:
        checked = check_all(reading)
    assert (checked.cases, checked.entries, checked.problems) == (2, 3, ())


def test_a_case_removed_as_a_whole_shows(house: House, two_cases: list[str]) -> None:
    gone = two_cases[1]
    without_triggers(
        house, f"DELETE FROM case_entry WHERE case_id = '{gone}'", f"DELETE FROM case_file WHERE id = '{gone}'"
    )
    assert problems(house) == ((gone, "entry 1 is not the one that the audit trail knows"),)


def test_a_history_written_anew_with_every_hash_shows(house: House, two_cases: list[str]) -> None:
    forged = two_cases[0]
    without_triggers(house)
    with house.database.writing() as writing:
        case = writing.get_one(Case, forged)
        previous = GENESIS
        for entry in entries_of(writing, case):
            entry.actor, entry.previous_hash = "somebody", previous
            previous = entry.hash = entry.computed_hash()
        case.head = previous
    assert [what for case_id, what in problems(house) if case_id == forged] == [
        "entry 1 is not the one that the audit trail knows",
        "entry 2 is not the one that the audit trail knows",
    ]


def test_a_case_without_any_history_shows(house: House, two_cases: list[str]) -> None:
    without_triggers(house, f"DELETE FROM case_entry WHERE case_id = '{two_cases[1]}'")
    assert (two_cases[1], "its whole history is gone") in problems(house)
