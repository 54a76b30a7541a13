"""Odd looks: each rule at its limit and one below it, and one case for each occurrence, for the officer alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from flask import Flask
from sqlalchemy import select

from config.server import AnomalySettings
from protocol.query import QUERY_ID_BYTES
from server.accounts.models import User
from server.anomalies.rules import Decision, Kind, Line, occurrences, pairs
from server.anomalies.watching import watch
from server.cases.models import Case
from server.context import House
from server.queries.models import Look, QueryRow, VaultLine, VaultLogCheck
from tests.server.people import NOON, Browser, Clock

LIMITS = AnomalySettings(bulk_records=3, person_looks=3, pair_queries=3, refusals_in_row=3)
ZONE = ZoneInfo("Asia/Shanghai")
pytestmark = pytest.mark.stores("sqlite")


def lines(*events: tuple[str, dict[str, object]], at=NOON, apart=timedelta(minutes=1)) -> list[Line]:  # type: ignore[no-untyped-def]
    start = at - apart * len(events)
    return [Line(n + 1, start + apart * n, event, dict(facts)) for n, (event, facts) in enumerate(events)]


def kinds(found: list[Line], now=NOON, known: range = range(100)) -> list[Kind]:  # type: ignore[no-untyped-def]
    return [one.kind for one in occurrences(found, frozenset(known), now, LIMITS, ZONE)]


def opened(*rows: str, **facts: object) -> tuple[str, dict[str, object]]:
    return "opened", {"requester": "boris", "rows": list(rows), "uid": 33, **facts}


REFUSED = ("refused", {"uid": 33})


def test_many_records_in_a_day_are_told_and_the_same_ones_again_are_not() -> None:
    assert kinds(lines(opened("a", "b"), opened("b", "c"), opened("a", "c"))) == []
    assert kinds(lines(opened("a", "b"), opened("c", "d"))) == [Kind.BULK]
    assert kinds(lines(opened("a", "b"), opened("c", "d", requester="carla"))) == []
    assert kinds(lines(opened("a", "b"), opened("c", "d"), apart=timedelta(hours=23))) == []


@pytest.mark.parametrize(("hour", "is_odd"), [(21, False), (22, True), (2, True), (5, True), (6, False), (12, False)])
def test_looks_at_night_are_told_by_the_local_clock(hour: int, is_odd: bool) -> None:
    local = NOON.astimezone(ZONE).replace(hour=hour, minute=30)
    found = [Line(1, local, *opened("a"))]
    assert kinds(found, local + timedelta(minutes=1)) == ([Kind.HOURS] if is_odd else [])


def test_one_person_again_and_again_is_told_whoever_asks() -> None:
    looks = [("found", {"requester": who, "person": "aa"}) for who in ("boris", "carla", "boris")]
    assert kinds(lines(*looks)) == [Kind.PERSON]
    assert kinds(lines(*looks[:2])) == []
    both = [event for look in looks[:2] for event in (look, opened("a", person="aa"))]
    assert kinds(lines(*both)) == []  # finding and opening is one look
    assert kinds(lines(*looks, apart=timedelta(days=4))) == []
    others = [("found", {"requester": "boris", "person": tag}) for tag in ("aa", "bb", "cc")]
    assert kinds(lines(*others)) == []


def test_refusals_in_a_row_are_told_and_a_success_between_ends_the_row() -> None:
    assert kinds(lines(REFUSED, REFUSED, REFUSED)) == [Kind.REFUSALS]
    assert kinds(lines(REFUSED, REFUSED, opened("a"), REFUSED, REFUSED)) == []
    assert kinds(lines(REFUSED, REFUSED, ("refused", {"uid": 34}))) == []
    assert kinds(lines(REFUSED, REFUSED, REFUSED, apart=timedelta(minutes=40))) == []
    assert kinds(lines(("too_many", {"uid": 33}))) == [Kind.REFUSALS]


def test_an_opening_that_no_look_stands_for_is_told_once_it_is_old_enough() -> None:
    found = lines(opened("a"), apart=timedelta(minutes=6))
    assert kinds(found, known=range(0)) == [Kind.UNKNOWN]
    assert kinds(found) == []
    assert kinds(lines(opened("a"), apart=timedelta(minutes=4)), known=range(0)) == []


def decision(after: int = 5, *, is_approved: bool = True, approver: str = "anna") -> Decision:
    return Decision("boris", approver, NOON, NOON + timedelta(seconds=after), is_approved)


def test_a_pair_that_always_agrees_within_seconds_is_told() -> None:
    assert [one.kind for one in pairs([decision(), decision(), decision()], LIMITS)] == [Kind.PAIR]
    for broken in (
        [decision(), decision()],
        [decision(), decision(), decision(31)],
        [decision(), decision(), decision(is_approved=False)],
        [decision(), decision(), decision(approver="district")],
    ):
        assert pairs(broken, LIMITS) == []


# -- with the database -----------------------------------------------------------------------------------------------


@pytest.fixture
def watched(house: House) -> House:
    return replace(house, settings=replace(house.settings, anomalies=LIMITS))


def told(app: Flask, house: House) -> int:
    """How many cases the worker opens now."""
    with app.app_context():
        return watch(house, house.now())


def put(house: House, number: int, event: str, facts: dict[str, object], at=None) -> None:  # type: ignore[no-untyped-def]
    at_ms = int((at or house.now()).timestamp() * 1000)
    body = {"sequence": number, "at_ms": at_ms, "event": event, "facts": facts}
    with house.database.writing() as writing:
        writing.add(VaultLine(sequence=number, at_ms=at_ms, event=event, hash="", raw=json.dumps(body) + "\n"))


def cases(house: House) -> list[Case]:
    with house.database.reading() as reading:
        return list(reading.scalars(select(Case).where(Case.machine == "anomaly").order_by(Case.opened_at, Case.key)))


def test_each_occurrence_is_one_case_for_the_officer_and_nobody_else(
    app: Flask, watched: House, clock: Clock, as_person: Callable[[str], Browser]
) -> None:
    for number in range(1, 4):
        put(watched, number, "refused", {"uid": 33, "code": "bad_signature"})
    assert told(app, watched) == 1
    clock.passes(minutes=5)
    put(watched, 4, "refused", {"uid": 33})
    assert told(app, watched) == 0  # the same occurrence goes on
    clock.passes(hours=2)
    for number in range(5, 8):
        put(watched, number, "refused", {"uid": 33})
    assert told(app, watched) == 1  # a new one
    [first, _] = cases(watched)
    assert (first.state, first.facts["lines"], first.facts["who"]) == ("found", "1, 2, 3", "uid 33")
    officer = as_person("officer")
    assert "Refused again and again" in officer.get(f"/cases/case/{first.id}").text
    assert first.id in officer.get("/cases/inbox").text
    for name in ("city", "district", "epi", "tech"):
        assert as_person(name).get(f"/cases/case/{first.id}").status_code == 404


def test_every_opening_behind_the_servers_back_is_a_case_and_a_noted_look_is_none(
    app: Flask, watched: House, clock: Clock
) -> None:
    put(watched, 1, "opened", {"requester": "boris", "rows": []})
    put(watched, 2, "opened", {"requester": "boris", "rows": []})
    with watched.database.writing() as writing:
        epi = writing.scalars(select(User).where(User.name == "epi")).one()
        row = QueryRow(
            id=bytes(QUERY_ID_BYTES), body=b"", digest=bytes(32), requester_id=epi.id, state="executed",
            created_at=NOON, expires_at=NOON,
        )  # fmt: skip
        writing.add(row)
        writing.flush()
        writing.add(
            Look(query_id=row.id, user_id=epi.id, at=NOON, rows=0, legal_ground="", log_sequence=2, log_hash="")
        )
    clock.passes(minutes=10)
    assert told(app, watched) == 1
    clock.passes(hours=20)
    assert told(app, watched) == 0
    [case] = cases(watched)
    assert (case.facts["kind"], case.facts["lines"]) == ("unknown", "1")


def test_a_pair_is_told_by_name_and_a_broken_log_as_well(app: Flask, watched: House, clock: Clock) -> None:
    with watched.database.writing() as writing:
        epi, anna = (writing.scalars(select(User).where(User.name == name)).one() for name in ("epi", "district"))
        for number in range(3):
            writing.add(
                QueryRow(
                    id=bytes([number]) * QUERY_ID_BYTES,
                    body=b"",
                    digest=bytes([number]) * 32,
                    requester_id=epi.id,
                    state="expired",
                    created_at=NOON,
                    expires_at=NOON,
                    decided_by=anna.id,
                    decided_at=NOON + timedelta(seconds=4),
                )  # fmt: skip
            )
        writing.add(VaultLogCheck(id=1, checked_at=NOON, problem="The access log breaks at line 3."))
    clock.passes(minutes=1)
    assert told(app, watched) == 2
    assert told(app, watched) == 0
    assert sorted((case.facts["kind"], case.facts["who"]) for case in cases(watched)) == [
        ("log", "log"),
        ("pair", "epi, district"),
    ]


def test_limits_out_of_reason_are_refused() -> None:
    for wrong in ({"bulk_records": 0}, {"person_days": 32}, {"odd_from": "25:00"}):
        with pytest.raises(ValueError, match="anomalies"):
            AnomalySettings(**wrong)  # type: ignore[arg-type]
