"""Registering as an operator: a limited account, the same answer for everybody, no more of it than was promised."""

from __future__ import annotations

import logging
import re
from dataclasses import replace

import pytest
from flask import Flask
from sqlalchemy import ForeignKey, func, select

from server.accounts.models import OperatorRegistration, RoleAssignment, User
from server.accounts.registering import NOTICE, OWN, REGISTRATIONS, forget_unused, notice_version, registration_of
from server.accounts.roles import Role
from server.applications.models import CodeApplication
from server.applications.views import MOST_OPEN
from server.audit import AuditEvent
from server.cases.models import Case
from server.context import House
from server.db import Base
from server.worker.actions import forget_registrations
from tests.server.applications.test_applications import CHECKED, send_file, steps
from tests.server.applications.test_applications import FIELDS as APPLICATION
from tests.server.files import PDF, picture
from tests.server.people import PASSWORD, Browser, Clock, sign_in

FIELDS = {
    "name": "许新店",
    "phone": "138-0013-8000",
    "unit": "河畔书店",
    "area": "510104001",
    "password": PASSWORD,
    "again": PASSWORD,
    "agree": "y",
}


@pytest.fixture
def stranger(app: Flask) -> Browser:
    return Browser(app.test_client())


def registers(browser: Browser, **changes: str) -> str:
    """Send the form; the user name that was given."""
    answer = browser.post("/register", {**FIELDS, **changes}, page="/register")
    assert answer.status_code == 200, answer.text
    found = re.search(r"<code>(op-[a-z0-9]{4}-[a-z0-9]{4})</code>", answer.text)
    assert found
    return found[1]


def count(house: House, table: type[Base]) -> int:
    with house.database.reading() as reading:
        return reading.scalar(select(func.count()).select_from(table)) or 0


def test_a_newcomer_registers_applies_and_runs_the_venue_from_the_approval_on(app: Flask, house: House) -> None:
    stranger = Browser(app.test_client())
    assert 'href="/register"' in stranger.get("/sign-in").text
    assert all(line.split(",")[0] in stranger.get("/register").text.replace("&#39;", "'") for line in NOTICE)
    name = registers(stranger)
    newcomer = Browser(app.test_client())
    answer = newcomer.post("/sign-in", {"name": name, "password": PASSWORD}, page="/sign-in")
    assert answer.location == "/applications/"
    for path in ("/venues", "/codes", "/kiosks", "/users/", "/queries/", "/queries/new", "/audit", "/notices"):
        assert newcomer.get(path).status_code == 403, path
    page = newcomer.post("/applications/new", APPLICATION).location
    send_file(newcomer, page, "proof", PDF)
    send_file(newcomer, page, "plan", picture())
    newcomer.post(f"{page}/entrances", {"name_zh": "正门", "spot.x": "9", "spot.y": "9"})
    assert steps(newcomer, page, "submit") == 303
    street = sign_in(app, "street")
    seen = street.get(page).text
    assert "138-0013-8000" in seen and "许新店" in seen and "未经核实" in seen
    assert "138-0013-8000" not in sign_in(app, "worker").get(page).text  # reads applications, decides none
    assert "138-0013-8000" not in newcomer.get(page).text
    steps(street, page, "take_up")
    assert steps(street, page, "approve", **CHECKED) == 303
    with house.database.reading() as reading:
        user = reading.scalars(select(User).where(User.name == name)).one()
        venue_id = reading.get_one(CodeApplication, page.rsplit("/", 1)[1]).venue_id
        held = {
            row.kind: row for row in reading.scalars(select(RoleAssignment).where(RoleAssignment.user_id == user.id))
        }
        assert held[Role.VENUE_OPERATOR].venue_id == venue_id and held[Role.VENUE_OPERATOR].ends_at is None
        assert held[Role.APPLICANT].ends_at is not None
    assert newcomer.get("/venues").status_code == 200
    assert newcomer.get(f"/venues/{venue_id.hex() if venue_id else ''}").status_code == 200
    assert newcomer.get("/users/").status_code == 200


def test_an_applicant_applies_in_their_own_area_only_and_not_without_end(app: Flask, house: House) -> None:
    name = registers(Browser(app.test_client()))
    newcomer = sign_in(app, name)
    form = newcomer.get("/applications/new").text
    assert "510104001001" in form and "510105001" not in form
    assert newcomer.post("/applications/new", {**APPLICATION, "area_code": "510105001001"}).status_code == 422
    for _ in range(MOST_OPEN + 2):
        newcomer.post("/applications/new", APPLICATION)
    assert count(house, CodeApplication) == MOST_OPEN
    assert "510105001" in sign_in(app, "operator").get("/applications/new").text  # who has a venue goes anywhere


def test_the_answer_tells_nothing_of_who_is_there_already(app: Flask, house: House, stranger: Browser) -> None:
    first = stranger.post("/register", FIELDS, page="/register")
    again = stranger.post("/register", FIELDS, page="/register")  # the same person, phone and unit once more
    staff = stranger.post("/register", {**FIELDS, "name": "street", "phone": "028-5550100"}, page="/register")

    def without_name(text: str) -> str:
        return re.sub(r"op-\w{4}-\w{4}|[?&]v=\w+", "", text)

    assert first.status_code == again.status_code == staff.status_code == 200
    assert without_name(first.text) == without_name(again.text) == without_name(staff.text)
    assert count(house, OperatorRegistration) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"agree": ""},
        {"name": "  "},
        {"phone": "call me"},
        {"phone": ""},
        {"unit": "x" * 81},
        {"area": ""},
        {"area": "510104001001"},  # a community is not offered
        {"area": "510000"},
        {"area": "' OR 1=1 --"},
        {"password": "short", "again": "short"},
        {"password": "aaaaaaaaaaaa", "again": "aaaaaaaaaaaa"},
        {"password": "x" * 5000, "again": "x" * 5000},
        {"again": "something else"},
    ],
)
def test_a_form_that_does_not_hold_makes_no_account(house: House, stranger: Browser, wrong: dict[str, str]) -> None:
    before = count(house, User)
    fields = {name: value for name, value in {**FIELDS, **wrong}.items() if value or name != "agree"}
    assert stranger.post("/register", fields, page="/register").status_code == 422
    assert count(house, User) == before


def test_a_form_from_elsewhere_makes_no_account(app: Flask, house: House) -> None:
    before = count(house, User)
    client = app.test_client()
    assert client.post("/register", data=FIELDS).status_code == 400
    browser = Browser(app.test_client())
    token = browser.token("/register")
    for headers in ({"Origin": "https://elsewhere.example"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = browser.client.post("/register", data={**FIELDS, "csrf_token": token}, headers=headers)
        assert answer.status_code == 403, headers
    assert client.post("/register", data={**FIELDS, "csrf_token": token}).status_code == 400  # another browser's token
    assert count(house, User) == before


def test_one_source_is_held_up_and_nobody_else(app: Flask, clock: Clock, stranger: Browser) -> None:
    def tries(address: str) -> int:
        fields = {**FIELDS, "csrf_token": stranger.token("/register")}
        return stranger.client.post("/register", data=fields, environ_base={"REMOTE_ADDR": address}).status_code

    assert [tries("198.51.100.7") for _ in range(REGISTRATIONS.limit)] == [200] * REGISTRATIONS.limit
    assert tries("198.51.100.7") == 429
    assert tries("198.51.100.8") == 200  # same name, phone, area
    assert [tries(f"2001:db8::{n:x}") for n in range(1, REGISTRATIONS.limit + 2)][-1] == 429  # a /64 is one source
    clock.passes(hours=1, seconds=1)
    assert tries("198.51.100.7") == 200


def test_what_was_typed_is_sealed_and_in_no_log(
    app: Flask, house: House, stranger: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        registers(stranger)
        stranger.post("/register", {**FIELDS, "again": "not the same"}, page="/register")
    logged = caplog.text
    assert "accounts.registration.send" in logged
    for word in (FIELDS["name"], FIELDS["phone"], FIELDS["unit"], PASSWORD):
        assert word not in logged
    with app.app_context(), house.database.reading() as reading:
        row = reading.scalars(select(OperatorRegistration)).one()
        assert FIELDS["phone"].encode() not in row.sealed and row.notice == notice_version()
        found = registration_of(reading, row.user_id)
        assert found is not None and (found.said.phone, found.said.unit) == (FIELDS["phone"], FIELDS["unit"])
        told = [event.reason for event in reading.scalars(select(AuditEvent)) if event.action == "account.registered"]
        assert told == [f"notice {notice_version()}"]
        everything = " ".join(f"{e.action} {e.reason} {e.object_id}" for e in reading.scalars(select(AuditEvent)))
        assert FIELDS["phone"] not in everything and FIELDS["name"] not in everything


def test_the_account_that_was_never_used_is_forgotten_with_everything_it_had(
    app: Flask, house: House, clock: Clock
) -> None:
    unused, used, trusted = (registers(Browser(app.test_client())) for _ in range(3))
    sign_in(app, unused).post("/account/second-factor/app")
    sign_in(app, used).post("/applications/new", APPLICATION)
    with house.database.writing() as writing:
        user = writing.scalars(select(User).where(User.name == trusted)).one()
        row = RoleAssignment(user_id=user.id, role="grid_worker", area_code="510104001", starts_at=clock.at)
        writing.add(row)
    clock.passes(days=13)
    with app.app_context():
        assert forget_registrations(house).words == "forgotten=0"
        clock.passes(days=2)
        assert forget_registrations(house).words == "forgotten=1"
        assert forget_unused(house) == 0
    with house.database.reading() as reading:
        names = set(reading.scalars(select(User.name).where(User.name.startswith("op-"))))
        assert names == {used, trusted}
        assert reading.scalar(select(func.count()).select_from(Case)) == 1
    stranger = Browser(app.test_client())
    answer = stranger.post("/sign-in", {"name": unused, "password": PASSWORD}, page="/sign-in")
    assert answer.status_code == 401


def test_every_table_about_an_account_is_forgotten_with_it_or_needs_a_right_an_applicant_has_not() -> None:
    """A new table of accounts is either its own (OWN), or belongs to work that no unused account can have done."""
    pointing = {
        table.name
        for table in Base.metadata.tables.values()
        for column in table.columns
        for key in column.foreign_keys
        if isinstance(key, ForeignKey) and key.column.table.name == "user_account"
    }
    accounts = {
        m.class_.__tablename__ for m in Base.registry.mappers if m.class_.__module__ == "server.accounts.models"
    }
    assert pointing & accounts == {table.__tablename__ for table in OWN}


def test_it_can_be_switched_off(house: House, stranger: Browser) -> None:
    object.__setattr__(house.settings, "accounts", replace(house.settings.accounts, registration=False))
    assert "/register" not in stranger.get("/sign-in").text
    assert stranger.get("/register").status_code == 404
    assert stranger.post("/register", FIELDS, page="/sign-in").status_code == 404


def test_the_street_can_close_it_and_give_it_a_new_password(app: Flask, house: House) -> None:
    name = registers(Browser(app.test_client()))
    with house.database.reading() as reading:
        user_id = reading.scalars(select(User.id).where(User.name == name)).one()
    assert sign_in(app, "otherstreet").get(f"/users/{user_id}").status_code == 404
    street = sign_in(app, "street")
    assert street.get(f"/users/{user_id}").status_code == 200
    assert street.post(f"/users/{user_id}/link").status_code in {200, 303}
    assert street.post(f"/users/{user_id}/disable", {"reason": "no such shop"}).status_code == 303
    stranger = Browser(app.test_client())
    assert stranger.post("/sign-in", {"name": name, "password": PASSWORD}, page="/sign-in").status_code == 401
