"""Signing in: who gets in, what a guesser learns, and that nobody can be locked out by others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from server.accounts.models import User
from server.context import House
from tests.server.people import PASSWORD, Browser, Clock, sign_in


def attempt(browser: Browser, name: str, password: str, source: str = "203.0.113.7") -> int:
    fields = {"csrf_token": browser.token("/sign-in"), "name": name, "password": password}
    return browser.client.post("/sign-in", data=fields, environ_base={"REMOTE_ADDR": source}).status_code


def test_a_stranger_is_sent_to_the_sign_in_page_and_back(app: Flask) -> None:
    browser = Browser(app.test_client())
    answer = browser.get("/password")
    assert answer.status_code == 303
    assert answer.location == "/sign-in?next=/password"
    fields = {"name": "street", "password": PASSWORD, "next": "/password"}
    assert browser.post("/sign-in", fields, page="/sign-in").location == "/password"


def test_a_wrong_name_and_a_wrong_password_look_alike(stranger: Browser) -> None:
    token = stranger.token("/sign-in")

    def page(name: str) -> str:
        answer = stranger.client.post("/sign-in", data={"csrf_token": token, "name": name, "password": "wrong"})
        assert answer.status_code == 401
        return answer.text.replace(name, "NAME").replace(token, "TOKEN")

    def same_but_tokens(text: str) -> str:
        return "".join(
            line for line in text.splitlines(keepends=True) if "csrf_token" not in line and "data-challenge" not in line
        )

    assert same_but_tokens(page("street")) == same_but_tokens(page("nobody"))


def test_guessing_is_slowed_down_for_the_guesser_only(app: Flask, clock: Clock) -> None:
    guesser, owner = Browser(app.test_client()), Browser(app.test_client())
    answers = [attempt(guesser, "street", f"guess {n}", "198.51.100.1") for n in range(5)]
    assert answers == [401, 401, 401, 401, 429]
    assert attempt(guesser, "street", PASSWORD, "198.51.100.1") == 429, "even the right password waits there"
    assert attempt(owner, "street", PASSWORD, "203.0.113.9") == 303, "the owner elsewhere is not locked out"
    clock.passes(minutes=2)
    assert attempt(guesser, "street", PASSWORD, "198.51.100.1") == 303


def test_names_that_do_not_exist_are_slowed_down_alike(stranger: Browser) -> None:
    assert [attempt(stranger, "nobody", f"guess {n}") for n in range(5)] == [401, 401, 401, 401, 429]


@pytest.mark.parametrize(
    "wish",
    [
        "//evil.example",
        "https://evil.example/",
        "/\\evil.example",
        "\\\\evil.example",
        "/%5Cevil.example\n",
        "javascript:alert(1)",
        "/no-such-page",
        "/sign-out",
        "",
    ],
)
def test_sign_in_leads_to_our_own_pages_only(app: Flask, wish: str) -> None:
    browser = Browser(app.test_client())
    fields = {"name": "street", "password": PASSWORD, "next": wish}
    assert browser.post("/sign-in", fields, page="/sign-in").location == "/"


def test_signing_out_is_a_post_and_ends_the_session(as_person: Callable[[str], Browser]) -> None:
    street = as_person("street")
    assert street.get("/sign-out").status_code == 405
    assert street.get("/").status_code == 200
    assert street.post("/sign-out").status_code == 303
    assert street.get("/").status_code == 303


def test_a_session_from_before_the_sign_in_is_not_kept(app: Flask) -> None:
    browser = Browser(app.test_client())
    with browser.client.session_transaction() as cookie:
        cookie["planted"] = "by somebody else"
    browser.post("/sign-in", {"name": "street", "password": PASSWORD}, page="/sign-in")
    with browser.client.session_transaction() as cookie:
        assert "planted" not in cookie


def test_signing_out_everywhere_ends_other_browsers(app: Flask) -> None:
    at_work, at_home = sign_in(app, "street"), sign_in(app, "street")
    assert at_home.post("/sign-out-everywhere").status_code == 303
    assert at_work.get("/").status_code == 303


def test_a_disabled_account_is_out_at_once(app: Flask, house: House, as_person: Callable[[str], Browser]) -> None:
    street = as_person("street")
    with house.database.writing() as writing:
        writing.query(User).filter_by(name="street").one().is_active = False
    assert street.get("/").status_code == 303
    assert attempt(Browser(app.test_client()), "street", PASSWORD) == 401


def test_a_first_password_must_be_changed_before_anything_else(app: Flask, house: House) -> None:
    with house.database.writing() as writing:
        writing.query(User).filter_by(name="street").one().must_change_password = True
    street = sign_in(app, "street")
    assert street.get("/").location == "/password"
    change = {"old": PASSWORD, "new": "another pass phrase", "again": "another pass phrase"}
    assert street.post("/password", change).status_code == 303
    assert street.get("/").status_code == 200
    assert sign_in(app, "street", "another pass phrase").get("/").status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"old": "wrong", "new": "another pass phrase", "again": "another pass phrase"},
        {"old": PASSWORD, "new": "short", "again": "short"},
        {"old": PASSWORD, "new": "another pass phrase", "again": "another pass phrasE"},
        {"old": PASSWORD, "new": PASSWORD, "again": PASSWORD},
        {"old": PASSWORD, "new": "street street", "again": "street street"},
        {"old": PASSWORD, "new": "aaaaaaaaaaaa", "again": "aaaaaaaaaaaa"},
    ],
)
def test_a_bad_new_password_is_refused(as_person: Callable[[str], Browser], change: dict[str, str]) -> None:
    assert as_person("street").post("/password", change).status_code == 422
