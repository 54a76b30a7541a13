"""The table of routes: who may use each, held against what the application really has and really does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from server.context import House
from server.web.access import Gate, access_of
from tests.server.people import KIOSK, LIBRARY, PEOPLE, Browser, open_code, put_kiosk, put_resident, sign_in
from tests.server.vaults import TestVault

V, K, R = LIBRARY.hex(), KIOSK.hex(), "cd" * 8
EVERYBODY = frozenset(PEOPLE)
RESIDENTS = {"wang", "zhao"}
PRINTERS = {"street", "worker", "operator", "staff", "inspector"}  # around the library; look or print
REGISTER_READERS = {"street", "otherstreet", "worker"}
CODE_READERS = {"city", "district", "street", "worker", "inspector"}
KIOSK_READERS = {"street", "operator", "inspector", "tech"}

# (method, address) -> who gets in at the library. Strangers never do, unless the row says OPEN.
OPEN = "open"
TABLE: dict[tuple[str, str], set[str] | frozenset[str] | str] = {
    ("GET", "/healthz"): OPEN,
    ("GET", "/readyz"): OPEN,
    ("GET", "/sign-in"): OPEN,
    ("POST", "/sign-in"): OPEN,
    ("GET", "/v/TOKEN"): OPEN,
    ("GET", "/"): EVERYBODY,
    ("GET", "/password"): EVERYBODY,
    ("POST", "/password"): EVERYBODY,
    ("POST", "/sign-out"): EVERYBODY,
    ("POST", "/sign-out-everywhere"): EVERYBODY,
    ("GET", "/audit"): {"city", "district", "street", "otherstreet", "inspector", "officer", *RESIDENTS},
    ("GET", "/venues"): PRINTERS | {"tech", "otherstreet", "marketkeeper"},
    ("GET", "/venues/new"): {"street", "otherstreet"},
    ("POST", "/venues/new"): {"street", "otherstreet"},
    ("GET", f"/venues/{V}"): PRINTERS | {"tech"},
    ("GET", f"/venues/{V}/edit"): {"street"},
    ("POST", f"/venues/{V}/edit"): {"street"},
    ("POST", f"/venues/{V}/entrances"): {"street"},
    ("POST", f"/venues/{V}/entrances/2/close"): {"street"},
    ("POST", f"/venues/{V}/entrances/1/codes"): {"street"},
    ("GET", "/codes"): CODE_READERS | {"otherstreet"},
    ("GET", "/codes/1"): PRINTERS,
    ("GET", "/codes/1/poster.svg"): PRINTERS - {"staff"},
    ("POST", "/codes/1/prints"): {"operator", "staff"},
    ("POST", "/codes/1/posting"): {"operator", "staff"},
    ("POST", "/codes/1/revocation"): {"street"},
    ("GET", "/kiosks"): KIOSK_READERS | {"otherstreet", "marketkeeper"},
    ("GET", f"/kiosks/{K}"): KIOSK_READERS,
    ("POST", f"/kiosks/{K}/suspend"): {"street"},
    ("GET", f"/venues/{V}/enrol"): {"street", "tech"},
    ("POST", f"/venues/{V}/enrol"): {"street", "tech"},
    ("GET", "/enrolment/CODE"): {"street", "tech"},
    ("POST", "/enrolment/CODE/cancel"): {"street", "tech"},
    ("GET", "/residents/"): REGISTER_READERS,
    ("POST", "/residents/"): REGISTER_READERS,
    ("GET", "/residents/new"): {"worker"},
    ("POST", "/residents/new"): {"worker"},
    ("GET", "/residents/import"): {"worker"},
    ("POST", "/residents/import"): {"worker"},
    ("POST", "/residents/import/now"): {"worker"},
    ("GET", f"/residents/{R}"): {"city", "district", "street", "worker"},
    ("POST", f"/residents/{R}/change"): {"worker"},
    ("POST", f"/residents/{R}/statements"): {"city", "district", "street", "worker"},
    ("POST", f"/residents/{R}/account"): {"worker"},
    ("POST", f"/residents/{R}/withdrawal"): {"worker"},
    ("GET", "/me/code"): RESIDENTS,
    ("GET", "/me/code.json"): RESIDENTS,
}
REFUSED = {401, 403, 404}
OURS = {"web", "accounts", "console", "venues", "codes", "kiosks", "residents"}


def test_the_table_has_every_route(app: Flask) -> None:
    """A new page is a new line here; subjects with tests of their own hold their own table."""
    adapter = app.url_map.bind("localhost")
    listed = set()
    for method, address in TABLE:
        endpoint, _ = adapter.match(address, method)
        listed.add((method, endpoint))
    real = {
        (method, rule.endpoint)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.endpoint.split(".")[0] in OURS
    }
    assert real - listed == set()


def test_machine_routes_say_how_a_machine_proves_itself(app: Flask) -> None:
    for rule in app.url_map.iter_rules():
        access = access_of(app, rule.endpoint)
        if access.gate is Gate.MACHINE:
            assert access.proof, rule.rule
            assert rule.rule.startswith(("/sync/v1/", "/kiosks/v1/", "/bundle/v1/")), rule.rule


@pytest.fixture
def enrolment_id(app: Flask, house: House, vault: TestVault) -> str:
    open_code(app)
    put_kiosk(house)
    put_resident(app, house, "cd" * 8)
    answer = sign_in(app, "street").post(f"/venues/{V}/enrol", {"entrance": "1", "kiosk_name": "东门右"})
    return answer.location.rsplit("/", 1)[1]


def test_strangers_get_into_open_pages_only(app: Flask, enrolment_id: str) -> None:
    for (method, address), allowed in TABLE.items():
        browser = Browser(app.test_client())
        path = address.replace("CODE", enrolment_id)
        if method == "GET":
            status = browser.get(path).status_code
            expected = {200, 404} if allowed is OPEN else {303}
        else:
            status = browser.post(path, page="/sign-in").status_code
            expected = {422} if allowed is OPEN else {401}
        assert status in expected, f"{method} {path}: {status}"


@pytest.mark.parametrize("name", sorted(PEOPLE))
def test_each_person_gets_exactly_what_the_table_says(app: Flask, enrolment_id: str, name: str) -> None:
    browser = sign_in(app, name)
    token = browser.token("/password")
    wrong = []
    for (method, address), allowed in TABLE.items():
        if allowed is OPEN or "sign-out" in address:
            continue
        path = address.replace("CODE", enrolment_id)
        if method == "GET":
            status = browser.get(path).status_code
        else:  # an empty form: whoever is let in is told what is missing, and nothing changes
            status = browser.client.post(path, data={"csrf_token": token}).status_code
        got_in = status not in REFUSED
        if name in RESIDENTS and address.startswith("/me/") and status in {404, 503}:
            got_in = True  # let in by right; this resident has no record here
        if got_in != (name in allowed):
            wrong.append(f"{method} {path}: {status}")
    assert wrong == []


def test_no_page_answers_to_the_other_method(
    app: Flask, enrolment_id: str, as_person: Callable[[str], Browser]
) -> None:
    street = as_person("street")
    token = street.token("/password")
    pairs = set(TABLE)
    adapter = app.url_map.bind("localhost")
    for method, address in TABLE:
        path = address.replace("CODE", enrolment_id)
        other = "POST" if method == "GET" else "GET"
        if (other, address) in pairs or address == "/v/TOKEN":
            continue
        assert other not in adapter.allowed_methods(path)
        answer = street.client.open(path, method=other, data={"csrf_token": token} if other == "POST" else None)
        assert answer.status_code == 405, f"{other} {path}"
