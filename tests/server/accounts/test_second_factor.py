"""The second factor: who needs one, that a stolen password alone opens nothing, and the way back for who lost it."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from flask import Flask

from config.server import OFFICIAL_ROLES, OTHER_ROLES, AccountSettings, ServerSettings
from server.accounts.models import RecoveryCode, TotpSecret, User
from server.accounts.roles import Role
from server.context import House
from tests.server.people import PASSWORD, Browser, Clock, sign_in

As = Callable[[str], Browser]


@pytest.fixture
def settings(settings: ServerSettings) -> ServerSettings:
    return replace(settings, accounts=AccountSettings())


class App:
    """An authenticator app on a phone whose clock is right."""

    def __init__(self, page: str, clock: Clock) -> None:
        found = re.search(r"<code>([A-Z2-7 ]{39})</code>", page)
        assert found, "the page shows a secret to type"
        self.secret = base64.b32decode(found[1].replace(" ", ""))
        self.totp, self.clock = TOTP(self.secret, 6, SHA1(), 30, enforce_key_length=False), clock

    def code(self, later_s: int = 0) -> str:
        return self.totp.generate(int(self.clock().timestamp()) + later_s).decode()


def set_up(browser: Browser, clock: Clock) -> tuple[App, list[str]]:
    """Set up an app as a person does; the app and the recovery codes that were shown."""
    browser.post("/account/second-factor/app", page="/account/second-factor")
    page = browser.get("/account/second-factor").text
    app = App(page, clock)
    shown = browser.post("/account/second-factor/app/confirm", {"code": app.code()}, page="/account/second-factor")
    assert shown.status_code == 200, shown.text
    clock.passes(minutes=2)
    return app, re.findall(r"<code>([a-z0-9]{4}-[a-z0-9]{4}-[a-z0-9]{4})</code>", shown.text)


def give_password(app: Flask, name: str = "street", source: str = "203.0.113.7") -> Browser:
    browser = Browser(app.test_client())
    browser.client.environ_base["REMOTE_ADDR"] = source
    answer = browser.post("/sign-in", {"name": name, "password": PASSWORD}, page="/sign-in")
    assert answer.location == "/sign-in/second"
    return browser


def give_code(browser: Browser, code: str) -> int:
    return browser.post("/sign-in/second", {"code": code}, page="/sign-in/second").status_code


def test_every_role_is_told_whether_it_needs_one() -> None:
    assert {*OFFICIAL_ROLES, *OTHER_ROLES} == {role.value for role in Role}


def test_an_official_does_nothing_before_a_second_factor_is_set_up(app: Flask, clock: Clock) -> None:
    street = sign_in(app, "street")
    for path in ("/", "/venues", "/users/", "/account/"):
        assert street.get(path).location == "/account/second-factor", path
    assert street.client.post("/venues/new", data={"csrf_token": street.token("/password")}).status_code == 303
    set_up(street, clock)
    assert street.get("/").status_code == 200


def test_a_resident_needs_none(app: Flask) -> None:
    assert sign_in(app, "wang").get("/account/").status_code == 200


def test_the_password_alone_opens_nothing_once_there_is_a_factor(app: Flask, clock: Clock) -> None:
    phone, _ = set_up(sign_in(app, "street"), clock)
    thief = give_password(app)
    for path in ("/", "/password", "/account/", "/account/second-factor", "/venues"):
        assert thief.get(path).location.startswith("/sign-in?next="), path
    token = thief.token("/sign-in/second")
    assert thief.client.post("/account/second-factor/app/remove", data={"csrf_token": token}).status_code == 401
    assert give_code(thief, phone.code()) == 303
    assert thief.get("/").status_code == 200


def test_a_code_is_good_once_also_in_another_browser(app: Flask, clock: Clock) -> None:
    phone, _ = set_up(sign_in(app, "street"), clock)
    code = phone.code()
    assert give_code(give_password(app), code) == 303
    watcher = give_password(app)
    assert give_code(watcher, code) == 401, "somebody looked over the shoulder"
    clock.passes(seconds=30)
    assert give_code(watcher, code) == 401
    assert give_code(watcher, phone.code()) == 303


def test_an_older_code_is_not_taken_after_a_newer_one(app: Flask, clock: Clock) -> None:
    phone, _ = set_up(sign_in(app, "street"), clock)
    assert give_code(give_password(app), phone.code(30)) == 303, "a phone whose clock is a little fast"
    assert give_code(give_password(app), phone.code()) == 401


@pytest.mark.parametrize("code", ["", "000000", "12345", "１２３４５６", "1234567", "abcdef", "9" * 41])
def test_nonsense_is_not_a_code(app: Flask, clock: Clock, code: str) -> None:
    set_up(sign_in(app, "street"), clock)
    assert give_code(give_password(app), code) in {401, 422}


def test_after_a_few_wrong_codes_the_password_is_asked_for_again(app: Flask, clock: Clock) -> None:
    phone, _ = set_up(sign_in(app, "street"), clock)
    guesser = give_password(app)
    answers = [give_code(guesser, "000000") for _ in range(4)]
    assert answers == [401] * 4
    token = guesser.token("/sign-in/second")
    last = guesser.client.post("/sign-in/second", data={"csrf_token": token, "code": "000000"})
    assert last.location == "/sign-in"
    assert guesser.get("/sign-in/second").location == "/sign-in"
    assert guesser.get("/").status_code == 303 and phone


def test_guessing_codes_ends_and_the_owner_still_gets_in(app: Flask, clock: Clock) -> None:
    owner = sign_in(app, "street")
    phone, codes = set_up(owner, clock)
    for round_ in range(5):
        guesser = give_password(app, source=f"198.51.100.{round_}")
        for _ in range(4):
            give_code(guesser, "000000")
    assert give_code(give_password(app, source="198.51.100.99"), phone.code()) == 429, "not even the right one"
    owner.post("/sign-out")
    assert owner.post("/sign-in", {"name": "street", "password": PASSWORD}, page="/sign-in").status_code == 303
    assert give_code(owner, phone.code()) == 303, "a browser that was there before is not held up"
    assert codes


def test_half_a_sign_in_ends_by_itself(app: Flask, clock: Clock) -> None:
    phone, _ = set_up(sign_in(app, "street"), clock)
    slow = give_password(app)
    token = slow.token("/sign-in/second")
    clock.passes(minutes=11)
    answer = slow.client.post("/sign-in/second", data={"csrf_token": token, "code": phone.code()})
    assert answer.location == "/sign-in" and slow.get("/").status_code == 303


def test_the_session_changes_when_the_factor_is_passed(app: Flask, clock: Clock) -> None:
    phone, _ = set_up(sign_in(app, "street"), clock)
    browser = give_password(app)
    half = browser.client.get_cookie("gatehouse")
    assert half
    give_code(browser, phone.code())
    planted = Browser(app.test_client())
    planted.client.set_cookie("gatehouse", half.value)
    assert planted.get("/").status_code == 303


def test_recovery_codes_are_good_once_and_kept_as_hashes(app: Flask, house: House, clock: Clock) -> None:
    _, codes = set_up(sign_in(app, "street"), clock)
    assert len(set(codes)) == 10
    assert give_code(give_password(app), codes[0].upper().replace("-", " ")) == 303
    assert give_code(give_password(app), codes[0]) == 401
    assert give_code(give_password(app), codes[1]) == 303
    with house.database.reading() as reading:
        kept = b"".join(row.key for row in reading.query(RecoveryCode))
    assert not any(code.replace("-", "").encode() in kept for code in codes)


def test_new_recovery_codes_void_the_old_ones_and_need_the_password(app: Flask, clock: Clock) -> None:
    street = sign_in(app, "street")
    _, codes = set_up(street, clock)
    page = "/account/second-factor"
    assert street.post(f"{page}/recovery-codes", {"password": "wrong"}, page=page).status_code == 303
    fresh = street.post(f"{page}/recovery-codes", {"password": PASSWORD}, page=page).text
    assert re.findall(r"<code>([a-z0-9-]{14})</code>", fresh)
    assert give_code(give_password(app), codes[0]) == 401


def test_a_recovery_code_of_somebody_else_is_none(app: Flask, clock: Clock) -> None:
    _, codes = set_up(sign_in(app, "street"), clock)
    set_up(sign_in(app, "tech"), clock)
    assert give_code(give_password(app, "tech"), codes[0]) == 401


def test_the_secret_is_sealed_to_its_account(app: Flask, house: House, clock: Clock) -> None:
    phone, _ = set_up(sign_in(app, "street"), clock)
    other, _ = set_up(sign_in(app, "tech"), clock)
    with house.database.writing() as writing:
        mine, theirs = (
            writing.get_one(TotpSecret, writing.query(User).filter_by(name=name).one().id)
            for name in ("street", "tech")
        )
        assert phone.secret not in mine.sealed
        theirs.sealed = mine.sealed  # somebody with the database puts their own secret into another's row
    thief = give_password(app, "tech")
    app.config["PROPAGATE_EXCEPTIONS"] = False
    assert give_code(thief, phone.code()) == 500
    assert thief.get("/").status_code == 303 and other


def test_the_factor_is_changed_with_the_password_only(app: Flask, house: House, clock: Clock) -> None:
    street = sign_in(app, "street")
    set_up(street, clock)
    page = "/account/second-factor"
    street.post(f"{page}/app/remove", {"password": "wrong"}, page=page)
    with house.database.reading() as reading:
        assert reading.query(TotpSecret).count() == 1
    street.post(f"{page}/app/remove", {"password": PASSWORD}, page=page)
    with house.database.reading() as reading:
        assert reading.query(TotpSecret).count() == 0
    assert street.get("/").location == page, "the role needs one"


def test_a_pending_app_does_not_count(app: Flask, clock: Clock) -> None:
    street = sign_in(app, "street")
    street.post("/account/second-factor/app", page="/account/second-factor")
    wrong = street.post("/account/second-factor/app/confirm", {"code": "000000"}, page="/account/second-factor")
    assert wrong.status_code == 422
    assert sign_in(app, "street").get("/").location == "/account/second-factor"


def test_a_server_without_second_factor_says_so(app: Flask, stranger: Browser) -> None:
    words = "the password alone signs in"
    assert words not in stranger.get("/sign-in").text
    object.__setattr__(app.extensions["gatehouse"].settings.accounts, "second_factor_roles", ())
    assert words in stranger.get("/sign-in").text
