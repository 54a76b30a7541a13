"""The kernel's promises: one winner, separate duties, a chain that shows every change, a clock that rings once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask, current_app
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError

from server.accounts.models import RoleAssignment, User
from server.accounts.rights import Person, Place, person_of
from server.accounts.roles import Act, Permission, Role
from server.areas.models import Area
from server.audit import SYSTEM, AuditEvent
from server.cases import kernel, registry, ticking
from server.cases.inbox import how_many, unread, visible_to, waiting
from server.cases.kernel import (
    CaseError,
    NotAllowed,
    NotPossible,
    Overtaken,
    assign,
    choices,
    entries_of,
    erase_words,
    first_break,
    hold_clock,
    may_see,
    open_case,
    remark,
    resume_clock,
    take,
)
from server.cases.machine import (
    ABOUT,
    OPENED,
    Attempt,
    Clock,
    Field,
    Guard,
    Machine,
    MachineError,
    State,
    Step,
    holders,
)
from server.cases.models import Case, CaseEntry
from server.cases.ticking import tick
from server.context import House
from tests.server.people import LIBRARY, MARKET, NOON
from tests.server.people import Clock as WallClock
from tests.server.stores import without_triggers

STREETS = holders(Permission.CODES, Act.APPROVE)
EFFECTS: list[str] = []


def _note(attempt: Attempt) -> None:
    EFFECTS.append(attempt.case.state)
    if attempt.values.get("explode"):
        raise RuntimeError


PAPER = Machine(
    name="paper",
    label="Papers",
    readers=holders(Permission.CODES, Act.READ),
    initial=("asked", "granted"),
    assigns=STREETS,
    assignees=STREETS,
    states=(
        State("asked", "Asked"),
        State("reviewed", "Reviewed"),
        State("waiting", "Waiting for the applicant"),
        State("hidden", "Hidden", readers=frozenset({Role.INSPECTOR})),
        State("late", "Late"),
        State("granted", "Granted", "good", is_final=True),
        State("refused", "Refused", "off", is_final=True),
    ),
    steps=(
        Step("review", "Review", ("asked",), "reviewed", roles=STREETS, apart_from=(OPENED,), by_assignee=True),
        Step("ask_back", "Ask back", ("asked", "reviewed"), "waiting", roles=STREETS, tells=("opener",), is_work=False),
        Step("answer", "Answer", ("waiting",), "asked", is_own=True),
        Step(
            "grant",
            "Grant",
            ("reviewed", "late"),
            "granted",
            roles=STREETS | frozenset({Role.DISTRICT_COMMAND}),
            apart_from=(OPENED, ABOUT, "review"),
            effect=_note,
            guards=(
                Guard("Say how many.", lambda a: a.values.get("count", 0) > 0, needs_values=True),
                Guard("Not today.", lambda a: not a.case.facts.get("closed_day")),
            ),
            fields=(Field("count", "How many", "number"),),
        ),
        Step("refuse", "Refuse", ("asked", "reviewed"), "refused", roles=STREETS, needs_reason=True),
        Step("hide", "Hide", ("reviewed",), "hidden", roles=STREETS, is_work=False),
        Step("show", "Show", ("hidden",), "reviewed", roles=frozenset({Role.INSPECTOR})),
        Step("run_out", "Time is over", ("reviewed",), "late"),
        Step("order", "Order", ("late",), "reviewed", roles=STREETS, due_from="by",
             fields=(Field("by", "By", "date"),), is_work=False),
    ),
    clocks=(
        Clock("answer", runs_in=("asked",), stands_in=("waiting",), after=lambda s: timedelta(hours=2), quiet=True,
              escalates_to=frozenset({Role.DISTRICT_COMMAND})),
        Clock("decide", runs_in=("reviewed",), after=lambda s: timedelta(days=1), fires="run_out"),
    ),
)  # fmt: skip


@pytest.fixture(autouse=True)
def paper(monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setitem(registry.machines(), "paper", PAPER)
    EFFECTS.clear()
    return PAPER


@pytest.fixture
def place(house: House) -> Place:
    return Place("510000/510100/510104/510104001/510104001001/", LIBRARY)


@pytest.fixture(autouse=True)
def inside(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


def who(house: House, name: str) -> Person:
    with house.database.reading() as reading:
        return person_of(reading, reading.scalars(select(User).where(User.name == name)).one())


def opened(house: House, place: Place | list[Place], by: Person | str = SYSTEM, **more: Any) -> str:
    with house.database.writing() as writing:
        return open_case(writing, PAPER, by=by, at=house.now(), title="纸", place=place, **more).id


def does(house: House, case_id: str, step: str, by: Person | str, **more: Any) -> Case:
    with house.database.writing() as writing:
        return take(writing, case_id, step, by=by, at=house.now(), **more)


def now_of(house: House, case_id: str) -> Case:
    with house.database.reading() as reading:
        return reading.get_one(Case, case_id)


def second_street(house: House) -> Person:
    """Another administrator of the same street, since duties are separate."""
    with house.database.writing() as writing:
        user = User(name="street2", display_name="Street2", password="x", created_at=NOON)
        user.assignments = [
            RoleAssignment(role="street_admin", area_code="510104001", starts_at=NOON - timedelta(days=1))
        ]
        writing.add(user)
    return who(house, "street2")


def test_a_case_goes_its_way_and_its_chain_tells_of_every_step(house: House, place: Place) -> None:
    street, other = who(house, "street"), second_street(house)
    case_id = opened(house, place, by=who(house, "operator"))
    does(house, case_id, "review", street, reason="looks good")
    case = does(house, case_id, "grant", other, values={"count": 3})
    assert (case.state, case.version, case.closed_at, case.facts["count"]) == ("granted", 3, NOON, 3)
    assert EFFECTS == ["granted"]
    with house.database.reading() as reading:
        entries = entries_of(reading, case)
        assert first_break(reading.get_one(Case, case_id), entries) is None
        trail = reading.scalars(select(AuditEvent).where(AuditEvent.object_id == case_id)).all()
    assert [(e.step, e.source, e.target, e.reason) for e in entries] == [
        ("open", "", "asked", ""),
        ("review", "asked", "reviewed", "looks good"),
        ("grant", "reviewed", "granted", ""),
    ]
    assert entries[1].actor == street.id and entries[1].previous_hash == entries[0].hash
    assert [entry.hash.hex()[:16] in line.reason for entry, line in zip(entries, trail, strict=True)] == [True] * 3


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE case_entry SET actor = 'somebody' WHERE sequence = 2",
        "UPDATE case_entry SET at = '2020-01-01 00:00:00' WHERE sequence = 2",
        "UPDATE case_entry SET words = replace(words, 'good', 'bad') WHERE sequence = 2",
        "UPDATE case_entry SET target = 'granted' WHERE sequence = 2",
        "DELETE FROM case_entry WHERE sequence = 2",
        "DELETE FROM case_entry WHERE sequence = 3",
        "UPDATE case_file SET state = 'granted'",
        r"UPDATE case_file SET head = '\x00'",
    ],
)
def test_a_changed_history_shows(house: House, place: Place, change: str) -> None:
    case_id = opened(house, place)
    does(house, case_id, "review", who(house, "street"), reason="looks good")
    does(house, case_id, "ask_back", who(house, "street"))
    with house.database.writing() as writing:
        if "case_entry" in change:
            with pytest.raises(DBAPIError, match="append-only"), writing.begin_nested():
                writing.execute(text(change))
            without_triggers(writing, "case_entry")  # somebody with the database's own rights
        writing.execute(text(change))
    with house.database.reading() as reading:
        case = reading.get_one(Case, case_id)
        assert first_break(case, entries_of(reading, case)) is not None


def test_words_can_be_erased_and_the_chain_still_holds(house: House, place: Place) -> None:
    case_id = opened(house, place, facts={"phone": "13800138000"})
    with house.database.writing() as writing, pytest.raises(NotPossible):
        erase_words(writing, writing.get_one(Case, case_id), at=NOON, why="retention")
    does(house, case_id, "refuse", who(house, "street"), reason="called 13800138000")
    with house.database.writing() as writing:
        erase_words(writing, writing.get_one(Case, case_id), at=NOON, why="retention")
    with house.database.reading() as reading:
        case = reading.get_one(Case, case_id)
        entries = entries_of(reading, case)
        assert first_break(case, entries) is None
        assert "13800138000" not in str(reading.execute(text("SELECT * FROM case_entry")).all())
        assert "13800138000" not in str(reading.execute(text("SELECT * FROM case_file")).all())
    assert [entry.reason for entry in entries] == ["", "", "retention"]


def test_of_two_who_decide_at_once_exactly_one_wins_and_the_other_sees_who(house: House, place: Place) -> None:
    street, other = who(house, "street"), second_street(house)
    case_id = opened(house, place)
    seen = now_of(house, case_id).version
    start, won, lost = threading.Barrier(2), [], []

    def decide(somebody: Person, step: str, reason: str, app: Flask) -> None:
        with app.app_context():
            start.wait(20)
            try:
                does(house, case_id, step, somebody, reason=reason, version=seen)
                won.append(somebody.id)
            except Overtaken as error:
                lost.append((somebody.id, error.first.actor))

    app = current_app._get_current_object()
    threads = [
        threading.Thread(target=decide, args=(street, "review", "", app)),
        threading.Thread(target=decide, args=(other, "refuse", "no", app)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(won) == len(lost) == 1
    assert lost[0][1] == won[0]
    with house.database.reading() as reading:
        case = reading.get_one(Case, case_id)
        assert len(entries_of(reading, case)) == 2 and first_break(case, entries_of(reading, case)) is None


def test_a_write_that_lost_the_version_leaves_nothing(house: House, place: Place) -> None:
    """The compare-and-set itself, as it happens where writers do not exclude each other."""
    case_id = opened(house, place)
    with pytest.raises(Overtaken), house.database.writing() as writing:
        case = writing.get_one(Case, case_id)
        writing.execute(
            update(Case).where(Case.id == case_id).values(version=5), execution_options={"synchronize_session": False}
        )
        writing.execute(text("UPDATE case_file SET version = 5"))
        kernel._append(writing, case, "review", "asked", "x", NOON, "", {})
    assert now_of(house, case_id).version == 1


def test_an_effect_that_fails_takes_the_step_back(house: House, place: Place) -> None:
    case_id = opened(house, place)
    does(house, case_id, "review", who(house, "street"))
    with pytest.raises(RuntimeError):
        does(house, case_id, "grant", second_street(house), values={"count": 1, "explode": True})
    assert now_of(house, case_id).state == "reviewed"
    with house.database.reading() as reading:
        assert len(entries_of(reading, reading.get_one(Case, case_id))) == 2


def test_duties_are_separate(house: House, place: Place) -> None:
    street, other = who(house, "street"), second_street(house)
    own = opened(house, place, by=street)
    with pytest.raises(NotAllowed, match="another part"):
        does(house, own, "review", street)
    does(house, own, "review", other)
    for somebody in (street, other):  # one opened it, the other reviewed it
        with pytest.raises(NotAllowed, match="another part"):
            does(house, own, "grant", somebody, values={"count": 1})
    about = opened(house, place, person_id=other.id, facts={})
    does(house, about, "review", street)
    with pytest.raises(NotAllowed, match="another part"):
        does(house, about, "grant", other, values={"count": 1})
    does(house, about, "grant", who(house, "district"), values={"count": 1})


def test_roles_reach_downward_only_and_own_steps_are_own(house: House, place: Place) -> None:
    operator = who(house, "operator")
    case_id = opened(house, place, by=operator)
    for name in ("otherstreet", "worker", "operator", "city", "tech", "wang"):
        with pytest.raises(NotAllowed):
            does(house, case_id, "review", who(house, name))
    with pytest.raises(NotAllowed):
        does(house, case_id, "review", SYSTEM)  # a person has to decide this
    does(house, case_id, "ask_back", who(house, "street"))
    for name in ("street", "marketkeeper", "staff"):
        with pytest.raises(NotAllowed):
            does(house, case_id, "answer", who(house, name))
    does(house, case_id, "answer", operator)
    with pytest.raises(NotPossible):
        does(house, case_id, "answer", operator)
    does(house, case_id, "review", who(house, "street"))
    with pytest.raises(NotAllowed):
        does(house, case_id, "run_out", who(house, "street"))  # the worker's alone


def test_a_case_at_several_places_wants_all_of_them(house: House, place: Place) -> None:
    with house.database.reading() as reading:
        market = Place(reading.get_one(Area, "510105001001").path, MARKET)
    case_id = opened(house, [place, market])
    assert now_of(house, case_id).area_path == "510000/510100/"
    street = who(house, "street")
    with pytest.raises(NotAllowed):
        does(house, case_id, "review", street)
    with house.database.reading() as reading:
        assert not waiting(reading, street, limit=9)
        both = Person(street.id, "x", "x", 0, False, street.grants + who(house, "otherstreet").grants)
        assert [case.id for case in waiting(reading, both, limit=9)] == [case_id]
        assert reading.scalars(select(Case.id).where(visible_to(both))).all() == [case_id]
        assert reading.scalars(select(Case.id).where(visible_to(street))).all() == []
    assert does(house, case_id, "review", both).state == "reviewed"


def test_guards_and_reasons_hold(house: House, place: Place) -> None:
    other = second_street(house)
    case_id = opened(house, place, facts={"closed_day": True})
    does(house, case_id, "review", who(house, "street"))
    with house.database.reading() as reading:
        offered = {c.step.name: c.problem for c in choices(reading, reading.get_one(Case, case_id), other, NOON)}
    assert offered == {"ask_back": "", "grant": "Not today.", "refuse": "", "hide": ""}
    for values, sentence in (({"count": 0}, "how many"), ({"count": 2}, "Not today")):
        with pytest.raises(NotPossible, match=sentence):
            does(house, case_id, "grant", other, values=values)
    with pytest.raises(NotPossible, match="say why"):
        does(house, case_id, "refuse", other, reason="  ")
    assert EFFECTS == []


def test_hidden_states_are_for_their_readers_and_who_opened_it(house: House, place: Place) -> None:
    operator, street, inspector = who(house, "operator"), who(house, "street"), who(house, "inspector")
    case_id = opened(house, place, by=operator)

    def seen_by(somebody: Person) -> bool:
        with house.database.reading() as reading:
            listed = reading.scalars(select(Case.id).where(visible_to(somebody, "paper"))).all() == [case_id]
            assert listed == may_see(reading, reading.get_one(Case, case_id), somebody)
            return listed

    assert seen_by(operator) and seen_by(street) and seen_by(inspector) and not seen_by(who(house, "staff"))
    does(house, case_id, "review", street)
    does(house, case_id, "hide", street)
    assert seen_by(operator) and not seen_by(street) and seen_by(inspector) and not seen_by(who(house, "staff"))


def test_the_inbox_shows_the_oldest_deadline_first_and_only_what_one_can_decide(
    house: House, place: Place, clock: WallClock
) -> None:
    street, other, operator = who(house, "street"), second_street(house), who(house, "operator")
    first = opened(house, place, by=operator)
    clock.passes(minutes=1)
    own = opened(house, place, by=street)
    clock.passes(minutes=1)
    third = opened(house, place, by=operator)
    does(house, first, "review", other)  # now it has a day

    def inbox(somebody: Person, **more: Any) -> list[str]:
        with house.database.reading() as reading:
            found = [case.id for case in waiting(reading, somebody, limit=9, **more)]
            if not more:
                assert how_many(reading, somebody)[0] == len(found)
            return found

    assert inbox(street) == [own, third, first]  # own: street may refuse, refusing does not keep duties apart here
    assert inbox(street, after=third) == [first]
    assert inbox(other) == [own, third, first]
    assert inbox(operator) == [] and inbox(who(house, "otherstreet")) == [] and inbox(who(house, "district")) == [first]
    does(house, third, "ask_back", street)
    assert inbox(operator) == [third]
    with house.database.reading() as reading:
        assert [(note.case_id, note.sequence) for note in unread(reading, operator, 9)] == [(third, 2)]
    assert inbox(street) == [own, first]


def test_a_case_assigned_to_somebody_is_theirs(house: House, place: Place) -> None:
    street, other = who(house, "street"), second_street(house)
    case_id = opened(house, place)
    with house.database.writing() as writing, pytest.raises(NotAllowed):
        assign(writing, case_id, who(house, "operator"), by=street, at=NOON)
    with house.database.writing() as writing, pytest.raises(NotAllowed):
        assign(writing, case_id, other, by=who(house, "inspector"), at=NOON)
    with house.database.writing() as writing:
        assign(writing, case_id, other, by=street, at=NOON)
    with house.database.reading() as reading:
        assert unread(reading, other, 9)[0].case_id == case_id
    worker_alike = Person("z" * 16, "z", "z", 0, False, who(house, "street").grants)
    assert does(house, case_id, "review", worker_alike).state == "reviewed"  # who may assign may also step in
    with house.database.writing() as writing, pytest.raises(Overtaken):
        assign(writing, case_id, street, by=other, at=NOON, version=1)


def test_a_deadline_escalates_exactly_once_and_fires_exactly_once(house: House, place: Place, clock: WallClock) -> None:
    street, district = who(house, "street"), who(house, "district")
    case_id = opened(house, place)
    assert now_of(house, case_id).due_at == NOON + timedelta(hours=2)
    clock.passes(hours=1, minutes=59)
    assert tick(house, clock()).escalated == 0
    with house.database.reading() as reading:
        assert [c.id for c in waiting(reading, district, limit=9)] == []
    clock.passes(minutes=1)
    assert [tick(house, clock()).escalated for _ in range(3)] == [1, 0, 0]
    with house.database.reading() as reading:
        assert [c.id for c in waiting(reading, district, limit=9)] == [case_id]
        assert [e.step for e in entries_of(reading, reading.get_one(Case, case_id))] == ["open", "+escalated"]
    does(house, case_id, "review", street)
    with house.database.reading() as reading:  # the district reads and may grant; its inbox is by that right now
        assert now_of(house, case_id).escalated_to == ""
    clock.passes(days=1)
    assert [tick(house, clock()).stepped for _ in range(3)] == [1, 0, 0]
    assert now_of(house, case_id).state == "late"
    assert now_of(house, case_id).due_at is None


def test_two_workers_ring_a_clock_once(house: House, place: Place, clock: WallClock) -> None:
    case_id = opened(house, place)
    clock.passes(hours=3)
    assert [ticking._ring(house, case_id, clock()).escalated for _ in range(2)] == [1, 0]


def test_a_clock_stands_still_while_the_applicant_has_the_word(house: House, place: Place, clock: WallClock) -> None:
    operator, street = who(house, "operator"), who(house, "street")
    case_id = opened(house, place, by=operator)
    clock.passes(hours=1)
    does(house, case_id, "ask_back", street)
    case = now_of(house, case_id)
    assert (case.due_at, case.remaining_s) == (None, 3600)
    clock.passes(hours=3)
    assert tick(house, clock()).escalated == 0
    does(house, case_id, "answer", operator)
    assert now_of(house, case_id).due_at == clock() + timedelta(hours=1)


def test_a_clock_stands_still_in_quiet_hours(house: House, place: Place, clock: WallClock) -> None:
    clock.passes(hours=9)  # 21:00 in Chengdu
    case_id = opened(house, place)
    assert now_of(house, case_id).due_at == clock() + timedelta(hours=11)  # 08:00
    clock.passes(hours=5)  # 02:00: held in the quiet hours, an hour is left
    with house.database.writing() as writing:
        hold_clock(writing, case_id, by=who(house, "street"), at=clock(), reason="power cut")
    assert now_of(house, case_id).remaining_s == 3600
    clock.passes(days=2)
    assert tick(house, clock()).escalated == 0
    clock.passes(hours=6)  # 08:00
    with house.database.writing() as writing:
        resume_clock(writing, case_id, by=who(house, "street"), at=clock())
    assert now_of(house, case_id).due_at == clock() + timedelta(hours=1)
    with house.database.writing() as writing, pytest.raises(NotPossible):
        resume_clock(writing, case_id, by=who(house, "street"), at=clock())


def test_an_order_names_its_own_deadline(house: House, place: Place, clock: WallClock) -> None:
    case_id = opened(house, place)
    does(house, case_id, "review", who(house, "street"))
    clock.passes(days=2)
    tick(house, clock())
    by = clock() + timedelta(days=9)
    does(house, case_id, "order", who(house, "street"), values={"by": by.isoformat()})
    assert now_of(house, case_id).due_at == by


def test_remarks_are_for_those_who_see_the_case(house: House, place: Place) -> None:
    case_id = opened(house, place)
    with house.database.writing() as writing:
        remark(writing, case_id, by=who(house, "inspector"), at=NOON, reason="was there")
    with house.database.writing() as writing, pytest.raises(NotAllowed):
        remark(writing, case_id, by=who(house, "staff"), at=NOON, reason="was there")


def test_one_key_has_one_case(house: House, place: Place) -> None:
    opened(house, place, key="door 1")
    with pytest.raises(CaseError, match="already"):
        opened(house, place, key="door 1")


def test_case_ids_from_outside_are_looked_up_and_not_believed(house: House) -> None:
    with pytest.raises(LookupError):
        does(house, "f" * 16, "review", who(house, "street"))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"steps": (Step("a", "A", ("x",), "y"),)}, "names the states"),
        ({"steps": (Step("a", "A", ("end",), "begin"), Step("b", "B", ("begin",), "end"))}, "final"),
        ({"steps": ()}, "nothing leads"),
        ({"steps": (Step("a", "A", ("begin",), "end", apart_from=("b",)),)}, "apart from"),
        ({"clocks": (Clock("c", ("begin",), after=lambda s: timedelta(1), fires="z"),)}, "fires"),
        ({"clocks": (Clock("c", ("begin",)),)}, "needs one of"),
        ({"initial": ()}, "begins"),
        ({"steps": (Step("a", "A", ("begin",), "end", due_from="x"),)}, "deadline"),
        ({"steps": (Step("open", "A", ("begin",), "end"),)}, "first entry"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(changes: dict[str, Any], sentence: str) -> None:
    sound: dict[str, Any] = {
        "name": "m",
        "label": "M",
        "states": (State("begin", "Begin"), State("end", "End", is_final=True)),
        "steps": (Step("a", "A", ("begin",), "end"),),
        "initial": ("begin",),
        "readers": frozenset(),
    }
    Machine(**sound)
    with pytest.raises(MachineError, match=sentence):
        Machine(**{**sound, **changes})


def test_entries_hold_no_gap(house: House, place: Place) -> None:
    case_id = opened(house, place)
    does(house, case_id, "review", who(house, "street"))
    with house.database.reading() as reading:
        rows = reading.scalars(select(CaseEntry.sequence).where(CaseEntry.case_id == case_id)).all()
    assert rows == [1, 2]
