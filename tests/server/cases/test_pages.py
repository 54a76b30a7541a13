"""The case pages: each does what the kernel says, refuses strangers, and tells the second of two who was first."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import select, text

from server.audit import AuditEvent
from server.cases.models import Case, CaseEntry
from server.cases.sheets import cell
from server.context import House
from server.web.access import Gate, access_of
from tests.server.people import LIBRARY, MARKET, PEOPLE, Browser, Clock, sign_in
from tests.server.stores import without_triggers

V = LIBRARY.hex()


def report(app: Flask, by: str = "operator", venue: str = V, seen: str = "黑屏") -> str:
    """Report a fault as a person does; the case's id."""
    browser = sign_in(app, by)
    answer = browser.post(
        "/cases/fault/new",
        {"venue": venue, "part": "camera", "what": "broken", "seen": seen},
        page=f"/cases/fault/new?venue={venue}",
    )
    assert answer.status_code == 303, answer.text
    return answer.location.rsplit("/", 1)[1]


def version_in(page: str) -> str:
    found = re.search(r'name="version" value="(\d+)"', page)
    assert found
    return found[1]


def press(browser: Browser, case_id: str, step: str, **fields: str) -> int:
    page = browser.get(f"/cases/case/{case_id}").text
    fields.setdefault("version", version_in(page))
    return browser.post(f"/cases/case/{case_id}/steps/{step}", fields).status_code


def test_a_fault_from_report_to_closing(app: Flask, house: House, clock: Clock) -> None:
    case_id = report(app)
    street, tech, operator = sign_in(app, "street"), sign_in(app, "tech"), sign_in(app, "operator")
    assert case_id in street.get("/cases/inbox").text
    assert "锦江图书馆" in street.get("/cases/fault/").text
    clock.passes(minutes=20)
    assert press(street, case_id, "acknowledge") == 303
    assert press(street, case_id, "dispatch", due_on="2026-03-04") == 303
    assert press(tech, case_id, "repair") == 303
    assert press(tech, case_id, "test") == 422  # what was done is missing
    assert press(tech, case_id, "test", done="换了摄像头") == 303
    assert press(operator, case_id, "restore", reason="好了") == 303
    assert press(street, case_id, "close") == 303
    page = operator.get(f"/cases/case/{case_id}").text
    assert "换了摄像头" in page and "All 7 entries fit the chain" in page
    assert case_id not in street.get("/cases/inbox").text
    assert "You were told" in operator.get("/cases/inbox").text
    operator.post("/cases/notes/read")
    assert "You were told" not in operator.get("/cases/inbox").text


def test_the_second_of_two_sees_who_was_first_and_nothing_happens_twice(app: Flask, house: House) -> None:
    case_id = report(app)
    street = sign_in(app, "street")
    stale = version_in(street.get(f"/cases/case/{case_id}").text)
    assert press(street, case_id, "acknowledge") == 303
    answer = street.post(f"/cases/case/{case_id}/steps/dismiss", {"version": stale, "reason": "no"})
    assert answer.status_code == 409 and "Somebody else was first: Street" in answer.text
    with house.database.reading() as reading:
        assert reading.get_one(Case, case_id).state == "acknowledged"


@pytest.mark.parametrize("name", sorted(PEOPLE))
def test_a_case_exists_for_those_who_may_see_it(app: Flask, name: str) -> None:
    case_id = report(app)
    browser = sign_in(app, name)
    sees = name in {"city", "district", "street", "worker", "operator", "staff", "inspector", "tech"}
    assert browser.get(f"/cases/case/{case_id}").status_code == (200 if sees else 404)
    status = browser.post(f"/cases/case/{case_id}/steps/acknowledge", {"version": "1"}).status_code
    assert status == (303 if name == "street" else 403 if sees else 404)
    for act in ("remarks", "hold", "resume", "assignee"):
        if not sees:
            assert browser.post(f"/cases/case/{case_id}/{act}", {"reason": "x", "version": "1"}).status_code == 404
    listed = browser.get("/cases/fault/")
    may_list = sees or name in {"otherstreet", "marketkeeper"}
    assert listed.status_code == (200 if may_list else 404)
    assert (case_id in listed.text) == sees


def test_nobody_opens_a_case_elsewhere(app: Flask, house: House) -> None:
    operator = sign_in(app, "operator")
    fields = {"venue": MARKET.hex(), "part": "camera", "what": "broken", "seen": "x"}
    assert operator.post("/cases/fault/new", fields).status_code == 422
    assert operator.post("/cases/fault/new", {**fields, "venue": "zz"}).status_code == 422
    assert sign_in(app, "city").get("/cases/fault/new").status_code == 403
    assert sign_in(app, "wang").get("/cases/fault/new").status_code == 404
    with house.database.reading() as reading:
        assert reading.scalars(select(Case)).all() == []


def test_pages_refuse_strangers_and_what_is_not_there(app: Flask, stranger: Browser) -> None:
    case_id = report(app)
    for path in ("/cases/inbox", "/cases/fault/", "/cases/fault/new", f"/cases/case/{case_id}"):
        assert stranger.get(path).status_code == 303
    street = sign_in(app, "street")
    for path in ("/cases/nothing/", "/cases/nothing/new", "/cases/case/zz", f"/cases/case/{case_id}/steps/close"):
        assert street.get(path).status_code in {404, 405}
    for step in ("nothing", "heal"):
        assert street.post(f"/cases/case/{case_id}/steps/{step}", {"version": "1"}).status_code in {403, 404}
    for wrong in ({}, {"version": "x"}, {"version": "9" * 30}):
        assert street.post(f"/cases/case/{case_id}/steps/acknowledge", wrong).status_code == 400


def test_every_route_of_cases_wants_a_sign_in(app: Flask) -> None:
    found = [rule.endpoint for rule in app.url_map.iter_rules() if rule.endpoint.startswith("cases.")]
    assert len(found) >= 10
    assert all(access_of(app, endpoint).gate is Gate.SIGNED_IN for endpoint in found)


def test_the_deadline_is_stopped_and_goes_on(app: Flask, house: House, clock: Clock) -> None:
    case_id = report(app)
    street = sign_in(app, "street")
    assert street.post(f"/cases/case/{case_id}/hold", {"reason": ""}).status_code == 422
    assert street.post(f"/cases/case/{case_id}/hold", {"reason": "停电"}).status_code == 303
    assert "Deadline stopped by hand" in street.get(f"/cases/case/{case_id}").text
    assert sign_in(app, "operator").post(f"/cases/case/{case_id}/resume").status_code == 403
    assert street.post(f"/cases/case/{case_id}/resume").status_code == 303
    assert street.post(f"/cases/case/{case_id}/resume").status_code == 422


def test_a_case_is_assigned_to_somebody_who_works_here(app: Flask, house: House) -> None:
    case_id = report(app)
    street = sign_in(app, "street")
    page = street.get(f"/cases/case/{case_id}").text
    offered = dict(re.findall(r'<option value="([0-9a-f]{16})">(\w+) \(', page))
    assert sorted(offered.values()) == ["Street", "Tech"]
    tech_id = next(key for key, name in offered.items() if name == "Tech")
    assert street.post(f"/cases/case/{case_id}/assignee", {"assignee": tech_id, "version": "1"}).status_code == 303
    assert "Tech" in street.get(f"/cases/case/{case_id}").text
    assert street.post(f"/cases/case/{case_id}/assignee", {"assignee": tech_id, "version": "1"}).status_code == 409
    assert street.post(f"/cases/case/{case_id}/assignee", {"assignee": "x", "version": "2"}).status_code == 422
    assert case_id in sign_in(app, "tech").get("/cases/inbox").text  # a note


def test_filters_narrow_and_what_is_hostile_is_shown_as_text(app: Flask, clock: Clock) -> None:
    hostile = report(app, seen="<script>alert(1)</script>")
    street = sign_in(app, "street")
    assert "<script>alert" not in street.get(f"/cases/case/{hostile}").text
    assert hostile in street.get("/cases/fault/?state=reported").text
    assert hostile not in street.get("/cases/fault/?state=closed").text
    assert hostile not in street.get("/cases/fault/?due=over").text
    assert hostile not in street.get("/cases/fault/?q=%25").text
    assert hostile not in street.get("/cases/fault/?mine=1").text
    clock.passes(hours=3)
    page = street.get("/cases/fault/?due=over").text
    assert hostile in page and "Overdue" in page
    assert "没有符合" in street.get("/cases/fault/?state=closed").text


def test_a_changed_history_is_called_out_on_the_page(app: Flask, house: House) -> None:
    case_id = report(app)
    with house.database.writing() as writing:
        without_triggers(writing, "case_entry")
        writing.execute(text("UPDATE case_entry SET actor = 'system'"))
    assert "The chain breaks at entry 1" in sign_in(app, "street").get(f"/cases/case/{case_id}").text


def test_the_export_runs_no_formula_leaves_people_out_and_is_on_record(app: Flask, house: House) -> None:
    report(app, seen="=HYPERLINK(1)")
    report(app, seen="+1\n2")
    street = sign_in(app, "street")
    answer = street.post("/cases/fault/export?state=open")
    assert answer.status_code == 200 and answer.data.startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(io.StringIO(answer.data.decode("utf-8-sig"))))
    assert len(rows) == 4 and "Asia/Shanghai" in rows[0][0] and "open" in rows[0][0]
    assert {row[rows[1].index("What you saw")] for row in rows[2:]} == {"'=HYPERLINK(1)", "'+1 2"}
    with house.database.reading() as reading:
        line = reading.scalars(select(AuditEvent).where(AuditEvent.action == "case.exported")).one()
    assert "2 cases" in line.reason and "open" in line.reason
    assert sign_in(app, "wang").post("/cases/fault/export").status_code == 404
    assert len(sign_in(app, "otherstreet").post("/cases/fault/export").data.splitlines()) == 2


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\t=1", "\r=1", " =1", "＝1"])
def test_no_cell_begins_a_formula(text: str) -> None:
    assert cell(text).startswith("'")


def test_a_plain_cell_stays_as_it_is() -> None:
    assert cell("门 1-2 = ok") == "门 1-2 = ok"


def test_the_inbox_is_counted_on_the_first_page(app: Flask, as_person: Callable[[str], Browser]) -> None:
    report(app)
    assert "/cases/inbox" in as_person("street").get("/").text
    assert "Cases that wait for you" in as_person("street").get("/").text
    assert "Cases that wait for you" not in as_person("otherstreet").get("/").text


def test_remarks_stand_in_the_history(app: Flask, house: House) -> None:
    case_id = report(app)
    inspector = sign_in(app, "inspector")
    assert inspector.post(f"/cases/case/{case_id}/remarks", {"reason": "看过"}).status_code == 303
    assert "看过" in inspector.get(f"/cases/case/{case_id}").text
    with house.database.reading() as reading:
        steps = reading.scalars(select(CaseEntry.step).where(CaseEntry.case_id == case_id)).all()
    assert steps == ["open", "+remarked"]
