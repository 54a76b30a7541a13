"""What kiosks say of themselves becomes faults and daily checks; each once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from protocol.passage import ClockConfidence, Header, Place, Stamp
from server.accounts.rights import Place as Where
from server.audit import SYSTEM
from server.cases.kernel import COMMAND, entries_of, first_break, open_case, take
from server.cases.models import Case
from server.cases.registry import machines
from server.cases.ticking import tick
from server.checks.daily import fill_in, open_checks
from server.codes.models import VenueCode
from server.context import House
from server.faults.reporting import follow_kiosks, report_by_staff
from server.kiosks.models import Kiosk
from tests.server.people import KIOSK, LIBRARY, NOON, Clock, hang, open_code, put_kiosk


@pytest.fixture
def inside(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


def says(house: House, *faults: str, test: str = "", **fields: object) -> None:
    with house.database.writing() as writing:
        kiosk = writing.get_one(Kiosk, KIOSK)
        kiosk.last_seen_at = house.now()
        kiosk.health = {"parts": {"opening_test": test} if test else {}, "faults": list(faults)}
        for name, value in fields.items():
            setattr(kiosk, name, value)


def cases(house: House, machine: str) -> list[tuple[str, str]]:
    with house.database.reading() as reading:
        rows = reading.scalars(select(Case).where(Case.machine == machine).order_by(Case.opened_at, Case.id)).all()
        for case in rows:
            assert first_break(case, entries_of(reading, case)) is None
        return [(case.state, case.key or "") for case in rows]


@pytest.mark.usefixtures("inside")
def test_a_fault_a_kiosk_lists_is_one_case_until_it_works_again(house: House, clock: Clock) -> None:
    put_kiosk(house)
    says(house, "no_camera", "rules_stale")
    assert [follow_kiosks(house, clock()) for _ in range(3)] == [(1, 0), (0, 0), (0, 0)]
    assert cases(house, "fault") == [("reported", f"{KIOSK.hex()}:no_camera")]
    says(house)
    assert [follow_kiosks(house, clock()) for _ in range(2)] == [(0, 1), (0, 0)]
    says(house, "no_camera")
    assert follow_kiosks(house, clock()) == (1, 0)
    assert [state for state, _ in cases(house, "fault")] == ["reported"]


@pytest.mark.usefixtures("inside")
def test_while_people_repair_the_kiosk_ends_nothing_and_a_closed_fault_may_come_again(
    house: House, clock: Clock
) -> None:
    put_kiosk(house)
    says(house, "no_gate")
    follow_kiosks(house, clock())
    with house.database.writing() as writing:
        case = writing.scalars(select(Case).where(Case.machine == "fault")).one()
        take(writing, case.id, "acknowledge", by=COMMAND, at=clock())
        take(writing, case.id, "repair", by=COMMAND, at=clock())
    says(house)
    assert follow_kiosks(house, clock()) == (0, 0)
    with house.database.writing() as writing:
        for step in ("test", "restore", "close"):
            take(writing, case.id, step, by=COMMAND, at=clock())
    says(house, "no_gate")
    assert follow_kiosks(house, clock()) == (1, 0)
    assert sorted(state for state, _ in cases(house, "fault")) == ["closed", "reported"]


@pytest.mark.usefixtures("inside")
def test_a_kiosk_not_heard_of_says_nothing(house: House, clock: Clock) -> None:
    put_kiosk(house)
    says(house, "no_gate")
    clock.passes(minutes=6)
    assert follow_kiosks(house, clock()) == (0, 0)


@pytest.mark.usefixtures("inside")
def test_what_staff_report_at_the_kiosk_arrives_once(house: House) -> None:
    put_kiosk(house)
    header = Header(
        7,
        Place(KIOSK, LIBRARY, 1),
        Stamp(1, 1, bytes(8), ClockConfidence.SYNCED),
        event="fault_reported",
        detail=(("operator", "wei"), ("part", "thermometer"), ("what", "slow")),
    )
    with house.database.writing() as writing:
        kiosk = writing.get_one(Kiosk, KIOSK)
        assert [report_by_staff(writing, kiosk, [header], NOON) for _ in range(2)] == [1, 0]
    with house.database.reading() as reading:
        case = reading.scalars(select(Case)).one()
    assert (case.facts["part"], case.facts["what"], case.venue_id) == ("thermometer", "slow", LIBRARY)
    assert "wei" not in str(case.facts)


@pytest.mark.usefixtures("inside")
def test_a_daily_check_is_done_by_the_kiosks_own_test(house: House, clock: Clock) -> None:
    put_kiosk(house)
    put_kiosk(
        house, bytes.fromhex("c0ffee00c0ffee01"), opening_test_at=NOON, health={"parts": {"opening_test": "passed"}}
    )
    assert [open_checks(house, clock()) for _ in range(2)] == [1, 0]
    assert fill_in(house, clock()) == 0  # one of two has tested itself
    says(house, test="passed", opening_test_at=clock())
    assert [fill_in(house, clock()) for _ in range(2)] == [1, 0]
    assert [state for state, _ in cases(house, "daily_check")] == ["done_ok"]
    assert open_checks(house, clock()) == 0
    clock.passes(days=1)
    assert (open_checks(house, clock()), fill_in(house, clock())) == (1, 0)  # yesterday's test is not today's
    says(house, test="failed", opening_test_at=clock())
    assert fill_in(house, clock()) == 1
    assert sorted(state for state, _ in cases(house, "daily_check")) == ["done_ok", "done_problem"]


@pytest.mark.usefixtures("inside")
def test_a_missed_check_is_reminded_of_and_escalates_once(house: House, clock: Clock) -> None:
    put_kiosk(house)
    open_checks(house, clock())
    clock.passes(hours=8)  # 20:00
    for _ in range(4):
        tick(house, clock())
    assert [state for state, _ in cases(house, "daily_check")] == ["reminded"]
    clock.passes(hours=2)
    for _ in range(4):
        tick(house, clock())
    with house.database.reading() as reading:
        case = reading.scalars(select(Case)).one()
        steps = [entry.step for entry in entries_of(reading, case)]
    assert steps == ["open", "miss", "remind", "escalate", "+escalated"]


def test_an_overdue_order_suspends_the_venue_s_codes(app: Flask, house: House, clock: Clock) -> None:
    serial = open_code(app)
    hang(app, serial)
    with app.app_context():
        with house.database.writing() as writing:
            where = Where("510000/510100/510104/510104001/510104001001/", LIBRARY)
            machine = machines()["inspection"]
            case = open_case(writing, machine, by=SYSTEM, at=NOON, title="x", place=where, state="order_issued")
        clock.passes(days=8)
        tick(house, clock())
        with house.database.writing() as writing:
            take(writing, case.id, "escalate", by=COMMAND, at=clock(), reason="nothing was done")
        with house.database.reading() as reading:
            code = reading.get_one(VenueCode, serial)
            assert (code.state, code.end_reason, code.holds(clock())) == ("suspended", "nothing was done", False)


def test_a_code_falls_due_and_expires_by_itself(app: Flask, house: House, clock: Clock) -> None:
    serial = open_code(app)
    hang(app, serial)
    for days, state in ((334, "active"), (2, "renewal_due"), (30, "expired")):
        clock.passes(days=days)
        with app.app_context():
            tick(house, clock())
        with house.database.reading() as reading:
            assert reading.get_one(VenueCode, serial).state == state
    assert clock() - NOON > timedelta(days=365)
