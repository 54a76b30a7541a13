"""Sessions: every process knows them, they end by themselves, and everybody sees and ends their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from flask import Flask

from config.server import AccountSettings, ServerSettings
from server import create_app
from server.accounts.models import AccountSession, User
from server.context import House
from server.web.frame import CHANGE_PASSWORD, SET_UP_FACTOR
from tests.server.people import PASSWORD, Browser, Clock, sign_in

As = Callable[[str], Browser]


@pytest.fixture
def settings(settings: ServerSettings) -> ServerSettings:
    return replace(settings, session_hours=12, accounts=AccountSettings(second_factor_roles=(), idle_minutes=30))


@pytest.fixture
def other(app: Flask, settings: ServerSettings, clock: Clock, store: str) -> Iterator[Flask]:
    """A second web process of the same server."""
    app = create_app(replace(settings, database_url=store), now=clock)
    yield app
    app.extensions["gatehouse"].database.engine.dispose()


def cookie_of(browser: Browser) -> str:
    found = browser.client.get_cookie("gatehouse")
    assert found
    return found.value


def carry(cookie: str, app: Flask) -> Browser:
    """A browser that holds this cookie and nothing else."""
    browser = Browser(app.test_client())
    browser.client.set_cookie("gatehouse", cookie)
    return browser


def test_any_process_knows_a_session_and_its_end(app: Flask, other: Flask) -> None:
    street = sign_in(app, "street")
    elsewhere = carry(cookie_of(street), other)
    assert elsewhere.get("/").status_code == 200
    street.post("/sign-out")
    assert elsewhere.get("/").status_code == 303


def test_a_cookie_from_before_signing_out_is_worth_nothing(app: Flask) -> None:
    street = sign_in(app, "street")
    kept = cookie_of(street)
    street.post("/sign-out")
    assert carry(kept, app).get("/").status_code == 303


def test_a_planted_cookie_is_never_signed_in(app: Flask) -> None:
    """Session fixation: the attacker's cookie in the victim's browser stays the attacker's."""
    attacker = sign_in(app, "tech")
    planted = cookie_of(attacker)
    victim = carry(planted, app)
    victim.client.post("/sign-out", data={"csrf_token": victim.token("/password")})
    victim = carry(planted, app)
    answer = victim.post("/sign-in", {"name": "street", "password": PASSWORD}, page="/sign-in")
    assert answer.status_code == 303 and cookie_of(victim) != planted
    assert carry(planted, app).get("/").status_code == 303


def test_signing_in_again_ends_the_session_that_was_there(app: Flask, house: House) -> None:
    browser = sign_in(app, "street")
    first = cookie_of(browser)
    browser.post("/sign-in", {"name": "street", "password": PASSWORD}, page="/sign-in")
    assert carry(first, app).get("/").status_code == 303
    with house.database.reading() as reading:
        assert reading.query(AccountSession).count() == 1


def test_a_session_nobody_uses_ends(app: Flask, clock: Clock) -> None:
    street = sign_in(app, "street")
    for _ in range(4):
        clock.passes(minutes=20)
        assert street.get("/").status_code == 200, "in use it goes on"
    clock.passes(minutes=31)
    assert street.get("/").status_code == 303


def test_a_session_ends_at_last_however_much_it_is_used(app: Flask, clock: Clock) -> None:
    street = sign_in(app, "street")
    for _ in range(35):
        clock.passes(minutes=20)
        street.get("/")
    assert street.get("/").status_code == 200
    clock.passes(minutes=21)
    assert street.get("/").status_code == 303


def test_one_sees_ones_sessions_and_ends_a_lost_phone(app: Flask, house: House) -> None:
    desk, phone = sign_in(app, "street"), Browser(app.test_client())
    phone.client.environ_base["HTTP_USER_AGENT"] = "Mozilla/5.0 (Linux; Android 9) Chrome/70 Mobile Safari/537.36"
    phone.post("/sign-in", {"name": "street", "password": PASSWORD}, page="/sign-in")
    page = desk.get("/account/").text
    assert "Chrome, Android" in page and "This browser" in page
    with house.database.reading() as reading:
        lost = reading.query(AccountSession.id).filter_by(browser="Chrome, Android").scalar()
    assert desk.post(f"/account/sessions/{lost}/end").status_code == 303
    assert phone.get("/").status_code == 303 and desk.get("/").status_code == 200


def test_nobody_ends_the_session_of_somebody_else(as_person: As, house: House) -> None:
    tech = as_person("tech")
    with house.database.reading() as reading:
        theirs = reading.query(AccountSession.id).scalar()
    assert as_person("street").post(f"/account/sessions/{theirs}/end").status_code == 404
    assert tech.get("/").status_code == 200


def test_the_database_holds_no_token(app: Flask, house: House) -> None:
    browser = sign_in(app, "street")
    with browser.client.session_transaction() as cookie:
        token = cookie["session"]
    with house.database.reading() as reading:
        row = reading.query(AccountSession).one()
        assert token.encode() not in row.key and len(row.key) == 32
    with browser.client.session_transaction() as cookie:
        cookie["session"] = row.key.hex()
    assert browser.get("/").status_code == 303


def test_a_new_password_ends_sessions_elsewhere(app: Flask) -> None:
    here, there = sign_in(app, "street"), sign_in(app, "street")
    before = cookie_of(here)
    change = {"old": PASSWORD, "new": "another pass phrase", "again": "another pass phrase"}
    assert here.post("/password", change).status_code == 303
    assert there.get("/").status_code == 303 and carry(before, app).get("/").status_code == 303
    assert here.get("/").status_code == 200


def test_guessing_the_present_password_in_an_open_session_is_slowed_down(as_person: As) -> None:
    street = as_person("street")
    change = {"old": "guess", "new": "another pass phrase", "again": "another pass phrase"}
    for _ in range(4):
        assert "not your present password" in street.post("/password", change).text
    assert "Too many attempts" in street.post("/password", {**change, "old": PASSWORD}).text


def test_the_forced_pages_exist(app: Flask) -> None:
    assert {*CHANGE_PASSWORD, *SET_UP_FACTOR} <= app.view_functions.keys()


def test_a_disabled_account_has_no_session(app: Flask, house: House) -> None:
    street = sign_in(app, "street")
    with house.database.writing() as writing:
        writing.query(User).filter_by(name="street").one().is_active = False
    assert street.get("/").status_code == 303
