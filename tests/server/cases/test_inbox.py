"""The inbox and the lists as SQL find exactly the cases that the kernel's rules give, and look no further for them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from flask import Flask
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from server.accounts.models import User
from server.accounts.rights import Grant, Person
from server.accounts.roles import Role
from server.cases.inbox import how_many, ids_near, visible_to, waiting, waits_for
from server.cases.kernel import common_path, holds_role, may_see, refusal_of
from server.cases.models import GENESIS, Case, CaseEntry, CasePlace
from server.cases.registry import machines
from server.context import House
from tests.server.people import LIBRARY, MARKET, NOON, Browser, open_code

CITY = "510000/510100/"
LIBRARY_PATH, MARKET_PATH = f"{CITY}510104/510104001/510104001001/", f"{CITY}510105/510105001/510105001001/"
PLACES: tuple[tuple[str, bytes | None], ...] = (
    *((LIBRARY_PATH, LIBRARY), (LIBRARY_PATH, None), (MARKET_PATH, MARKET)),
    *((f"{CITY}510104/510104001/", None), (f"{CITY}510104/", None)),
)
SCOPES = ("510000/", CITY, f"{CITY}510104/", f"{CITY}510104/510104001/", f"{CITY}510105/", MARKET_PATH)
PEOPLE, CASES = 14, 110
WORKING = sorted({role for one in machines().values() for step in one.steps for role in step.roles}, key=str)


@pytest.fixture
def inside(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


def somebody(chance: random.Random, number: int) -> Person:
    """With one to three roles, each in an area or at a venue."""
    grants = []
    for _ in range(chance.choice((1, 1, 2, 3))):
        role = chance.choice(WORKING)
        at_venue = chance.random() < 0.25
        scope = {"venue_id": chance.choice((LIBRARY, MARKET))} if at_venue else {"area_path": chance.choice(SCOPES)}
        grants.append(Grant(role, **scope))  # type: ignore[arg-type]
    return Person(f"{number:016x}", f"p{number}", "x", "", False, tuple(grants))


def put_case(writing: Session, chance: random.Random, people: list[Person]) -> None:
    """A case anywhere, in any state, with any history."""
    machine = chance.choice(list(machines().values()))
    state = chance.choice(machine.states)
    places = chance.sample(PLACES, chance.choice((1, 1, 1, 2, 3)))
    ids = [one.id for one in people]
    clock = chance.choice((None, *machine.clocks)) if not state.is_final else None
    escalated = clock is not None and bool(clock.escalates_to) and chance.random() < 0.6
    case = Case(
        machine=machine.name,
        state=state.name,
        version=1,
        head=GENESIS,
        title="x",
        area_path=common_path([path for path, _ in places]),
        venue_id=places[0][1] if len(places) == 1 else None,
        is_spread=len(places) > 1,
        person_id=chance.choice((None, None, *ids)),
        opened_by=chance.choice(("system", *ids)),
        opened_at=NOON,
        entered_at=NOON,
        assignee_id=chance.choice((None, None, None, *ids[:4])),
        facts={},
        clock=clock.name if clock else "",
        due_at=chance.choice((None, NOON)),
        escalated_at=NOON if escalated else None,
        escalated_to=" ".join(role.value for role in clock.escalates_to) if clock and escalated else "",
        closed_at=NOON if state.is_final else None,
    )
    writing.add(case)
    writing.flush()
    if case.is_spread:
        for number, (path, venue_id) in enumerate(places):
            writing.add(CasePlace(case_id=case.id, number=number, area_path=path, venue_id=venue_id))
    for sequence, step in enumerate(chance.sample(machine.steps, min(2, len(machine.steps))), 1):
        entry = CaseEntry(case_id=case.id, sequence=sequence, at=NOON, actor=chance.choice(ids), step=step.name)
        entry.source = entry.target = "x"
        entry.words_digest = entry.previous_hash = entry.hash = GENESIS
        writing.add(entry)


def waits(reading: Session, case: Case, one: Person) -> bool:
    """The inbox's rule, said with the kernel's own."""
    machine = machines()[case.machine]
    if case.closed_at is not None:
        return False
    for step in machine.steps_from(case.state):
        is_anothers = step.by_assignee and case.assignee_id not in {None, one.id}
        if step.is_work and not is_anothers:
            if refusal_of(reading, case, replace(step, guards=()), one, NOON) is None:
                return True
    clocks = [clock for clock in machine.clocks if clock.name == case.clock and case.escalated_at is not None]
    return any(holds_role(reading, case, one, clock.escalates_to) for clock in clocks)


@pytest.mark.slow
@pytest.mark.usefixtures("inside")
@pytest.mark.parametrize("seed", range(2))
def test_for_anybody_and_any_cases_the_inbox_and_the_lists_are_the_kernels(house: House, seed: int) -> None:
    chance = random.Random(seed)
    people = [somebody(chance, number) for number in range(PEOPLE)]
    with house.database.writing() as writing:
        for one in people:
            writing.add(User(id=one.id, name=one.name, display_name="x", password="x", created_at=NOON))
        writing.flush()
        for _ in range(CASES):
            put_case(writing, chance, people)
    found = 0
    with house.database.reading() as reading:
        cases = reading.scalars(select(Case)).all()
        for one in people:
            expected = {case.id for case in cases if waits(reading, case, one)}
            assert set(reading.scalars(select(Case.id).where(waits_for(one)))) == expected, one
            shown = waiting(reading, one, limit=CASES)
            assert {case.id for case in shown} == expected and len(shown) == len(expected)
            assert how_many(reading, one) == (
                len(expected),
                min((case.due_at for case in shown if case.due_at is not None), default=None),
            )
            seen = {case.id for case in cases if may_see(reading, case, one)}
            assert set(reading.scalars(select(Case.id).where(visible_to(one)))) == seen, one
            name = chance.choice(cases).machine
            of_one = {case.id for case in cases if case.machine == name}
            assert set(reading.scalars(select(Case.id).where(waits_for(one, name)))) == expected & of_one
            assert set(reading.scalars(select(Case.id).where(visible_to(one, name)))) == seen & of_one
            near = select(Case.id).where(Case.machine == name, Case.id.in_(ids_near(one, machines()[name])))
            assert set(reading.scalars(near)) == seen & of_one
            found += len(expected)
    assert found > CASES / 2  # the people and cases do have to do with each other


@pytest.mark.stores("sqlite")
@pytest.mark.parametrize("role", [Role.STREET_ADMIN, Role.DISTRICT_COMMAND, Role.TECH_SUPPORT, Role.VENUE_KEEPER])
def test_no_inbox_is_looked_for_in_the_whole_table(house: House, role: Role) -> None:
    scope = {"venue_id": LIBRARY} if role is Role.VENUE_KEEPER else {"area_path": CITY}
    one = Person("5" * 16, "x", "x", "", False, (Grant(role, **scope),))  # type: ignore[arg-type]
    asked: list[tuple[str, object]] = []
    with house.database.reading() as reading:
        event.listen(
            house.database.engine, "before_cursor_execute", lambda _c, _d, sql, given, *_: asked.append((sql, given))
        )
        how_many(reading, one)
        sql, given = asked[0]
        plan = [row[3] for row in reading.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", given)]  # type: ignore[arg-type]
    assert any("ix_case_file_open" in line or "ix_case_file_venue_id" in line for line in plan), plan
    assert [line for line in plan if line.startswith("SCAN case_file") and "ix_case_file_spread" not in line] == []


@pytest.mark.stores("sqlite")
@pytest.mark.parametrize("most", [0, 1, 1000])
def test_a_list_is_the_same_however_it_is_read(
    app: Flask, as_person: Callable[[str], Browser], monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr("server.cases.lists.MOST_GATHERED", most)
    open_code(app, 1)
    open_code(app, 2)
    street = as_person("street")

    def rows(query: str) -> int:
        return street.get(f"/cases/venue_code/{query}").text.count('href="/cases/case/')

    everything = ("", "?state=open", "?state=issued", "?mine=1", "?q=图书馆", "?q=图书馆&state=open")
    nothing = ("?state=revoked", "?q=nowhere", "?due=over", "?q=图书馆&due=over&mine=1")
    assert {query: rows(query) for query in (*everything, *nothing)} == {
        **dict.fromkeys(everything, 2),
        **dict.fromkeys(nothing, 0),
    }
