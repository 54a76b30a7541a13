"""Every workflow, walked: each state x step x role is allowed or refused as this page says, here and in the inbox.

The tables below are the requirement (part B of the requirements, with the matrix A.3), written a second time by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.accounts.models import User
from server.accounts.rights import Grant, Person, Place
from server.accounts.roles import Role
from server.audit import SYSTEM
from server.cases.inbox import visible_to, waits_for
from server.cases.kernel import (
    COMMAND,
    NotAllowed,
    NotPossible,
    entries_of,
    first_break,
    may_see,
    open_case,
    refusal_of,
    take,
)
from server.cases.machine import Field, Machine, Step
from server.cases.models import Case
from server.cases.registry import machines
from server.codes.models import CodeState
from server.context import House
from server.kiosks.models import KioskState
from server.notices.models import NoticeState
from server.queries.models import QueryState
from tests.server.people import LIBRARY, NOON

pytestmark = pytest.mark.stores("sqlite")  # tables of roles and states; the kernel itself is tested on both

SHORT = {
    "CC": Role.CITY_COMMAND,
    "DC": Role.DISTRICT_COMMAND,
    "ST": Role.STREET_ADMIN,
    "CM": Role.COMMUNITY_WORKER,
    "GR": Role.GRID_WORKER,
    "RG": Role.REGISTRAR,
    "AP": Role.APPLICANT,
    "VO": Role.VENUE_OPERATOR,
    "VK": Role.VENUE_KEEPER,
    "VS": Role.VENUE_STAFF,
    "IN": Role.INSPECTOR,
    "EP": Role.EPI_INVESTIGATOR,
    "TS": Role.TECH_SUPPORT,
    "DO": Role.DATA_OFFICER,
    "TO": Role.TRAINING_OFFICER,
    "RE": Role.RESIDENT,
    "EL": Role.ASSISTED_PERSON,
}
AT_VENUES = {Role.VENUE_OPERATOR, Role.VENUE_KEEPER, Role.VENUE_STAFF}
AT_HOME = {Role.RESIDENT, Role.ASSISTED_PERSON, Role.LANDLORD, Role.VOLUNTEER}

# step | from | to | who: roles; "own X Y": who opened it, if they have a role of these; "about"; "-": no person.
# At the end "!": whoever opened it may not.
TABLES = {
    "anomaly": """
        ask   | found       | asked  | DO
        close | found asked | closed | DO
    """,
    "backup": """
        look  | failed             | looked_into | TS
        close | failed looked_into | closed      | TS
    """,
    "index_lag": """
        look     | behind             | looked_into | TS
        catch_up | behind looked_into | caught_up   | -
    """,
    "hold": """
        impose | requested | in_force | CC DC ST !
        refuse | requested | refused  | CC DC ST
        end    | in_force  | ended    | CC DC ST
    """,
    "quarantine": """
        look   | waiting             | looked_into | ST TS
        settle | waiting looked_into | settled     | ST
    """,
    "tamper": """
        look    | found             | looked_into | ST TS
        explain | found looked_into | explained   | ST
    """,
    "application": """
        submit       | draft                                   | submitted    | own AP VO VK
        take_up      | submitted                               | under_review | ST !
        approve      | under_review                            | approved     | ST !
        return       | under_review                            | returned     | ST !
        amend        | returned                                | draft        | own AP VO VK
        withdraw     | draft submitted under_review returned   | withdrawn    | own AP VO VK
    """,
    "notice": """
        change       | draft returned             | draft        | CC DC ST CM GR RG
        submit       | draft                      | first_review | CC DC ST CM GR RG
        submit_city  | draft                      | final_review | CC DC ST CM GR RG
        pass_first   | first_review               | final_review | DC !
        return_first | first_review               | returned     | DC !
        approve      | final_review               | published    | CC !
        return_final | final_review               | returned     | CC !
        withdraw     | published                  | withdrawn    | CC DC
        drop         | draft returned             | withdrawn    | own CC DC ST CM GR RG
        close        | published                  | over         | -
    """,
    "venue_code": """
        print     | issued                                                          | printed     | VO VK VS
        post      | printed                                                         | posted      | VO VK VS
        activate  | posted                                                          | active      | -
        fall_due  | active                                                          | renewal_due | -
        expire    | issued printed posted active renewal_due reposting suspended    | expired     | -
        spoil     | active renewal_due                                              | reposting   | VO VK VS ST
        repost    | reposting                                                       | active      | VO VK VS
        suspend   | issued printed posted active renewal_due reposting              | suspended   | ST
        suspend_by_order | issued printed posted active renewal_due reposting       | suspended   | -
        resume    | suspended                                                       | active      | ST
        revoke    | issued printed posted active renewal_due reposting suspended    | revoked     | ST
        supersede | issued printed posted active reposting suspended                | superseded  | -
        renew     | renewal_due                                                     | renewed     | -
    """,
    "log_query": """
        review   | requested                              | reviewing | CC DC ST !
        approve  | requested reviewing                    | approved  | CC DC ST !
        refuse   | requested reviewing                    | refused   | CC DC ST !
        withdraw | requested reviewing approved executed  | revoked   | own DC ST VO VK EP
        revoke   | requested reviewing approved executed  | revoked   | CC DC ST
        look     | approved                               | executed  | own DC ST VO VK EP
        expire   | requested reviewing approved executed  | expired   | -
        archive  | expired refused revoked                | archived  | -
    """,
    "inspection": """
        start    | planned                                    | started      | CC DC ST IN
        drop     | planned                                    | dropped      | CC DC ST
        record   | started                                    | recorded     | CC DC ST IN
        pass     | recorded                                   | passed       | CC DC ST IN
        find     | recorded                                   | findings     | CC DC ST IN
        order    | findings                                   | order_issued | CC DC ST IN
        accept   | order_issued                               | rectifying   | CM VO VK
        submit   | order_issued rectifying overdue escalated  | submitted    | CM VO VK
        recheck  | submitted                                  | rechecked    | CC DC ST IN
        reject   | rechecked                                  | rectifying   | CC DC ST
        close    | rechecked                                  | closed       | CC DC ST
        lapse    | order_issued rectifying                    | overdue      | -
        escalate | overdue                                    | escalated    | CC DC ST
    """,
    "tip_off": """
        screen       | received               | screened      | CC DC ST CM
        discard      | received screened      | closed        | CC DC ST CM
        verify       | screened               | verifying     | CC DC ST CM
        substantiate | verifying              | substantiated | CC DC ST CM
        reject       | verifying              | unfounded     | CC DC ST CM
        close        | substantiated unfounded| closed        | CC DC ST CM
    """,
    "fault": """
        substitute  | reported                          | substitute   | VO VK VS
        acknowledge | reported substitute               | acknowledged | ST
        dismiss     | reported substitute acknowledged  | mistaken     | ST
        dispatch    | acknowledged                      | dispatched   | ST
        repair      | acknowledged dispatched           | repairing    | ST TS
        test        | repairing                         | testing      | ST TS
        fail        | testing                           | repairing    | ST TS VO VK VS
        restore     | testing                           | restored     | ST TS VO VK VS
        backfill    | restored                          | backfilled   | ST
        close       | restored backfilled               | closed       | ST
        reopen      | restored backfilled               | reported     | VO VK VS
        heal        | reported substitute acknowledged  | restored     | -
        recur       | restored backfilled               | reported     | -
    """,
    "kiosk": """
        provision | enrolled                                | provisioned | -
        activate  | provisioned                             | active      | -
        suspend   | enrolled provisioned active             | suspended   | ST
        resume    | suspended                               | active      | ST
        retire    | enrolled provisioned active suspended   | retired     | ST
        lose      | enrolled provisioned active suspended   | lost        | ST
        revoke    | lost                                    | revoked     | ST
    """,
    "daily_check": """
        report_ok       | due missed reminded escalated  | done_ok      | -
        report_problem  | due missed reminded escalated  | done_problem | -
        confirm_ok      | due missed reminded escalated  | done_ok      | VO VK VS
        confirm_problem | due missed reminded escalated  | done_problem | VO VK VS
        miss            | due                            | missed       | -
        remind          | missed                         | reminded     | -
        escalate        | reminded                       | escalated    | -
        settle          | done_problem                   | done_ok      | VO VK VS ST
        explain         | escalated                      | not_done     | ST
    """,
    "training": """
        train    | enrolled                            | trained        | ST TO
        test     | trained                             | tested         | ST TO
        pass     | tested                              | passed         | ST TO
        fail     | tested                              | failed         | ST TO
        retrain  | failed                              | enrolled       | ST TO
        sign     | passed                              | access_granted | about
        fall_due | access_granted                      | expiring       | -
        end      | expiring                            | expired        | -
        extend   | expiring                            | access_granted | ST TO
        renew    | expired withdrawn                   | enrolled       | ST TO
        withdraw | access_granted expiring passed      | withdrawn      | ST TO
    """,
}


def rows_of(name: str) -> dict[str, tuple[list[str], str, list[str]]]:
    found = {}
    for line in TABLES[name].strip().splitlines():
        step, sources, target, who = (cell.strip() for cell in line.split("|"))
        found[step] = (sources.split(), target, who.split())
    return found


def somebody(role: Role, user_id: str = "5" * 16) -> Person:
    """A person with *role* around the library."""
    if role in AT_VENUES:
        grant = Grant(role, venue_id=LIBRARY)
    elif role in AT_HOME:
        grant = Grant(role)
    else:
        grant = Grant(role, area_path="510000/510100/510104/510104001/")
    return Person(user_id, role.value, role.value, "", False, (grant,))


PLACE = Place("510000/510100/510104/510104001/510104001001/", LIBRARY)


@pytest.fixture(autouse=True)
def inside(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


def case_in(writing: Session, machine: Machine, state: str, by: str = SYSTEM, **more: Any) -> Case:
    later = (NOON + timedelta(days=90)).isoformat()
    facts = {"expires_at": later, "due_by": later, **more.pop("facts", {})}
    return open_case(writing, machine, by=by, at=NOON, title="x", place=PLACE, state=state, facts=facts, **more)


def allowed(who: list[str], role: Role, *, opened: bool, about: bool) -> bool:
    names = [name for name in who if name in SHORT]
    has_role = role in {SHORT[name] for name in names}
    if who == ["-"]:
        return False
    if who == ["about"]:
        return about
    if who[0] == "own":
        return opened and has_role
    return has_role and not (opened and "!" in who)


def test_nine_workflows_run_on_the_kernel() -> None:
    assert set(TABLES) == set(machines())


@pytest.mark.parametrize("name", sorted(TABLES))
def test_the_table_has_every_step_and_no_other(name: str) -> None:
    machine, rows = machines()[name], rows_of(name)
    assert {step.name: (set(step.sources), step.target) for step in machine.steps} == {
        step: (set(sources), target) for step, (sources, target, _) in rows.items()
    }
    assert {state.name for state in machine.states} == {s for sources, _, _ in rows.values() for s in sources} | {
        target for _, target, _ in rows.values()
    }


@pytest.mark.parametrize("name", sorted(TABLES))
def test_each_state_step_and_role_is_as_the_table_says(house: House, name: str) -> None:
    machine, rows = machines()[name], rows_of(name)
    wrong = []
    with house.database.writing() as writing:
        writing.add(User(id="7" * 16, name="about", display_name="x", password="x", created_at=NOON))
        writing.flush()
        for opened, about in ((False, False), (True, False), (False, True)):
            person_id = ("5" if about else "7") * 16
            if about:
                writing.add(User(id="5" * 16, name="five", display_name="x", password="x", created_at=NOON))
                writing.flush()
            case = case_in(writing, machine, machine.initial[0], by="5" * 16 if opened else SYSTEM, person_id=person_id)
            with writing.no_autoflush:
                for state in machine.states:
                    case.state = state.name
                    for role in Role:
                        for step in machine.steps:
                            bare = _without_guards(step)
                            problem = refusal_of(writing, case, bare, somebody(role), NOON)
                            sources, _, who = rows[step.name]
                            # whom a training is about teaches, tests and passes nobody but others
                            apart = about and name == "training" and who != ["about"]
                            own = opened or (about and who[0] == "own")
                            expected = state.name in sources and allowed(who, role, opened=own, about=about)
                            if (problem is None) != (expected and not apart):
                                wrong.append(f"{state.name} {step.name} {role.value} {opened=} {about=}: {problem}")
                writing.expire(case)
    assert wrong == []


def _without_guards(step: Step) -> Step:
    from dataclasses import replace

    return replace(step, guards=())


@pytest.mark.parametrize("name", sorted(TABLES))
def test_inbox_and_lists_agree_with_the_kernel(house: House, name: str) -> None:
    machine = machines()[name]
    states = [state for state in machine.states if not state.is_final]
    with house.database.writing() as writing:
        cases = {state.name: case_in(writing, machine, state.name) for state in machine.states}
        ids = {case.id: state for state, case in cases.items()}
    wrong = []
    with house.database.reading() as reading:
        for role in Role:
            one = somebody(role)
            waiting = {ids[i] for i in reading.scalars(select(Case.id).where(waits_for(one, name)))}
            seen = {ids[i] for i in reading.scalars(select(Case.id).where(visible_to(one, name)))}
            for state in machine.states:
                case = cases[state.name]
                can = any(
                    step.is_work and refusal_of(reading, case, _without_guards(step), one, NOON) is None
                    for step in machine.steps_from(state.name)
                )
                if (state.name in waiting) != (can and state in states):
                    wrong.append(f"inbox {state.name} {role.value}")
                if (state.name in seen) != may_see(reading, case, one):
                    wrong.append(f"list {state.name} {role.value}")
                if state.name in waiting and state.name not in seen:
                    wrong.append(f"waits for who cannot see it: {state.name} {role.value}")
    assert wrong == []


def filled(fields: tuple[Field, ...]) -> dict[str, Any]:
    """An answer to each question that every guard can live with."""
    made: dict[str, Any] = {}
    for field in fields:
        match field.kind:
            case "yes":
                made[field.name] = True
            case "number":
                made[field.name] = 90
            case "date" | "datetime":
                made[field.name] = (NOON + timedelta(days=3)).isoformat()
            case "choice":
                made[field.name] = field.choices[0][0]
            case "choices":
                made[field.name] = [field.choices[0][0]]
            case _:
                made[field.name] = "words"
    return made


OWN_TESTS = {"venue_code", "log_query", "kiosk", "backup", "hold", "notice"}
WALKED = sorted(set(TABLES) - OWN_TESTS)


@pytest.mark.parametrize("name", WALKED)
def test_every_step_can_really_be_taken_and_leads_where_it_says(house: House, name: str) -> None:
    machine, rows = machines()[name], rows_of(name)
    with house.database.writing() as writing:
        for digit in "57":
            writing.add(User(id=digit * 16, name=f"user{digit}", display_name="x", password="x", created_at=NOON))
        writing.flush()
        for step in machine.steps:
            sources, target, who = rows[step.name]
            if (name, step.name) == ("application", "submit"):  # needs its files: tests/server/applications
                continue
            for source in sources:
                own = who[0] == "own"
                facts = {"score": 10 if step.name == "fail" else 90, "valid_until": NOON.isoformat()}
                case = case_in(
                    writing, machine, source, by="5" * 16 if own else SYSTEM, person_id="7" * 16, facts=facts
                )
                by: Person | str = SYSTEM
                if who == ["about"]:
                    by = somebody(Role.RESIDENT, "7" * 16)
                elif who != ["-"]:
                    by = somebody(SHORT[next(name for name in who if name in SHORT)])
                if machine.name == "inspection" and isinstance(by, Person) and step.name in {"accept", "submit"}:
                    by = somebody(Role.VENUE_KEEPER)
                moved = take(writing, case.id, step.name, by=by, at=NOON, reason="because", values=filled(step.fields))
                assert moved.state == target
                assert (moved.closed_at is not None) == machine.state(target).is_final
                assert first_break(moved, entries_of(writing, moved)) is None
                with pytest.raises((NotPossible, NotAllowed)):
                    take(writing, case.id, step.name, by=by, at=NOON, reason="because", values=filled(step.fields)) if (
                        target not in sources
                    ) else take(writing, case.id, step.name, by="kiosk:00" if by != SYSTEM else somebody(Role.RESIDENT),
                                at=NOON)  # fmt: skip


def test_states_of_rows_are_those_of_their_workflows() -> None:
    for states, name in (
        (CodeState, "venue_code"),
        (KioskState, "kiosk"),
        (QueryState, "log_query"),
        (NoticeState, "notice"),
    ):
        assert {one.value for one in states} == {state.name for state in machines()[name].states}


def test_a_training_officer_does_not_train_themselves(house: House) -> None:
    with house.database.writing() as writing:
        writing.add(User(id="5" * 16, name="five", display_name="x", password="x", created_at=NOON))
        writing.flush()
        case = case_in(writing, machines()["training"], "enrolled", person_id="5" * 16)
        with pytest.raises(NotAllowed, match="another part"):
            take(writing, case.id, "train", by=somebody(Role.TRAINING_OFFICER), at=NOON, values={"hours": 20})


def test_hours_and_marks_have_to_be_enough(house: House) -> None:
    with house.database.writing() as writing:
        machine = machines()["training"]
        case = case_in(writing, machine, "enrolled")
        officer = somebody(Role.TRAINING_OFFICER)
        with pytest.raises(NotPossible, match="hours"):
            take(writing, case.id, "train", by=officer, at=NOON, values={"hours": 15.5})
        take(writing, case.id, "train", by=officer, at=NOON, values={"hours": 16})
        take(writing, case.id, "test", by=officer, at=NOON, values={"score": 79.5})
        with pytest.raises(NotPossible, match="pass mark"):
            take(writing, case.id, "pass", by=officer, at=NOON)
        take(writing, case.id, "fail", by=officer, at=NOON)


def test_an_inspector_with_a_role_in_the_venue_inspects_elsewhere(house: House) -> None:
    inspector = somebody(Role.INSPECTOR)
    partial = Person("5" * 16, "x", "x", "", False, (*inspector.grants, Grant(Role.VENUE_STAFF, venue_id=LIBRARY)))
    with house.database.writing() as writing:
        case = case_in(writing, machines()["inspection"], "planned")
        with pytest.raises(NotPossible, match="role in this venue"):
            take(writing, case.id, "start", by=partial, at=NOON)
        take(writing, case.id, "start", by=inspector, at=NOON)


def test_a_true_tip_off_goes_on_as_an_inspection(house: House) -> None:
    with house.database.writing() as writing:
        case = case_in(writing, machines()["tip_off"], "verifying")
        take(writing, case.id, "substantiate", by=somebody(Role.STREET_ADMIN), at=NOON, values={"found": "no code"})
        made = writing.get_one(Case, case.facts["inspection"])
        assert (made.machine, made.state, made.venue_id) == ("inspection", "findings", LIBRARY)
        assert made.facts == {"found": "no code"} and made.opened_by == SYSTEM


def test_the_command_line_is_asked_for_no_role_but_for_everything_else(house: House) -> None:
    with house.database.writing() as writing:
        case = case_in(writing, machines()["fault"], "reported")
        with pytest.raises(NotPossible):
            take(writing, case.id, "close", by=COMMAND, at=NOON)
        assert take(writing, case.id, "acknowledge", by=COMMAND, at=NOON).state == "acknowledged"
