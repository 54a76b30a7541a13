"""The hostile tester's list: each attack is carried out, and its test fails when the guard is taken away.

Areas and objects (IDOR) are walked in test_routes.py, sessions and their fixation in accounts/test_sessions.py, open
redirects and enumeration by words in test_sign_in.py, slow clients in test_slow_clients.py, uploads in
test_upload_bombs.py; here is the rest. docs/hostile.md: which test fails without which guard.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Callable
from urllib.parse import quote

import pytest
from flask import Flask

from server.accounts import passwords
from server.accounts.models import User
from server.cases.sheets import cell
from server.codes.models import VenueCode
from server.context import House
from server.venues.models import Entrance, Venue
from server.web.access import Gate, access_of
from tests.server.people import LIBRARY, PASSWORD, Browser, open_code, put_kiosk, sign_in
from tests.server.test_routes import ELSEWHERE, OPEN, TABLE, put_words

pytestmark = pytest.mark.stores("sqlite")  # about requests and pages, not the database

As = Callable[[str], Browser]
V = LIBRARY.hex()
SCRIPT = "<script>alert(1)</script>"
PICTURE = "\"><img src=x onerror=alert(1)>'"
SVG = "</text><svg onload=alert(1)>"


# --- forged posts ----------------------------------------------------------------------------------------------------


def _posts() -> list[str]:
    return [address for method, address in (*TABLE, *ELSEWHERE) if method == "POST"]


def test_every_post_wants_the_token_of_its_own_session(app: Flask) -> None:
    """No token, the token of another browser, and one that was made up."""
    foreign = sign_in(app, "tech").token("/password")
    street = sign_in(app, "street")
    adapter = app.url_map.bind("localhost")
    for address in _posts():
        path = put_words(address, {"USER": "0" * 16, "ROLE": "0" * 16, "CODE": "0" * 16, "SESSION": "0" * 16})
        endpoint, _ = adapter.match(path, "POST")
        if access_of(app, endpoint).proof:  # a ticket of its own stands for the token
            continue
        for data in ({}, {"csrf_token": foreign}, {"csrf_token": "made.up.here"}):
            answer = street.client.post(path, data=data)
            assert answer.status_code == 400, f"{path} {data}: {answer.status_code}"
    assert street.get("/").status_code == 200


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_no_other_site_posts_even_with_the_token(app: Flask, headers: dict[str, str]) -> None:
    street = sign_in(app, "street")
    token = street.token("/password")
    for address in _posts():
        path = put_words(address, {"USER": "0" * 16, "ROLE": "0" * 16, "CODE": "0" * 16, "SESSION": "0" * 16})
        answer = street.client.post(path, data={"csrf_token": token}, headers=headers)
        assert answer.status_code == 403, f"{path}: {answer.status_code}"


def test_nothing_changes_by_looking(app: Flask, house: House) -> None:
    """GET runs on a session that cannot write, so no page can be made to act by a link or a picture."""
    street = sign_in(app, "street")
    with house.database.reading() as reading:
        before = reading.connection().exec_driver_sql("SELECT count(*) FROM audit_event").scalar()
    for method, address in TABLE:
        if method == "GET":
            street.get(put_words(address, {"USER": "0" * 16, "PAPER": "1-0", "BADGE": "1-0", "CODE": "0" * 16})).close()
    with house.database.reading() as reading:
        assert reading.connection().exec_driver_sql("SELECT count(*) FROM audit_event").scalar() == before


# --- names that are code ---------------------------------------------------------------------------------------------


@pytest.fixture
def poisoned(app: Flask, house: House) -> int:
    """The library, its entrance, kiosk and people have names that a page could be tricked with."""
    serial = open_code(app)
    put_kiosk(house, name=SCRIPT[:40])
    with house.database.writing() as writing:
        venue = writing.get_one(Venue, LIBRARY)
        venue.name_zh, venue.name_en, venue.address, venue.keeper_name = SCRIPT, PICTURE, SVG, SCRIPT
        door = writing.get_one(Entrance, (LIBRARY, 1))
        door.name_zh, door.name_en = SVG, PICTURE
        for user in writing.query(User):
            user.display_name = f"{SCRIPT}{user.name}"
    return serial


@pytest.mark.parametrize("name", ["city", "district", "street", "worker", "operator", "inspector", "tech", "officer"])
def test_names_are_text_on_every_page(app: Flask, house: House, poisoned: int, name: str) -> None:
    browser = sign_in(app, name)
    with house.database.reading() as reading:
        people = [user.id for user in reading.query(User)]
    pages = [address for method, address in TABLE if method == "GET" and not re.search(r"[A-Z]{4}", address)]
    pages += [f"/users/{user_id}" for user_id in people] + ["/audit?day=all", "/cases/inbox"]
    seen = 0
    for path in pages:
        with browser.get(path) as answer:
            if answer.status_code != 200 or "html" not in answer.content_type:
                continue
            page = answer.text
        for attack in ("<script>alert", "<img src=x", "<svg onload"):
            assert attack not in page, f"{path}: {attack}"
        seen += "&lt;script&gt;alert" in page
    assert seen > 2, "the names were shown at all"


def test_names_are_text_on_posters_and_the_scanned_page(app: Flask, house: House, poisoned: int) -> None:
    operator = sign_in(app, "operator")
    svg = operator.get(f"/codes/{poisoned}/poster.svg")
    assert svg.status_code == 200
    for attack in ("<script", "<img", "<svg onload", "onload=alert(1)>"):
        assert attack not in svg.text.replace("&lt;svg onload=alert(1)&gt;", ""), attack
    for form, magic in (("pdf", b"%PDF"), ("png", b"\x89PNG")):
        drawn = operator.get(f"/codes/{poisoned}/poster.{form}")
        assert drawn.status_code == 200 and drawn.data.startswith(magic)
        assert b"/JavaScript" not in drawn.data
    with house.database.reading() as reading:
        token = reading.query(VenueCode).one().token
    page = Browser(app.test_client()).get(f"/v/{token}").text
    assert "<script>alert" not in page and "<img src=x" not in page


def test_a_file_that_is_shown_cannot_run_here(app: Flask, poisoned: int) -> None:
    answer = sign_in(app, "operator").get(f"/codes/{poisoned}/poster.svg")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1", " =1", "=cmd|' /C calc'!A0"])
def test_a_cell_of_an_export_is_never_a_formula(name: str) -> None:
    shown = cell(name)
    assert shown.startswith("'") or shown.lstrip()[:1] not in {"=", "+", "-", "@", "＝"}
    assert "\r" not in shown[:1] and "\t" not in shown[:1]


# --- bombs -----------------------------------------------------------------------------------------------------------


def png_bomb(side: int = 60_000) -> bytes:
    """A few kilobytes that unfold to gigabytes of pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(100_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("path", ["/sign-in", "/sign-in/passkey", "/choose-password/x", "/password", "/users/new"])
def test_a_body_over_the_limit_is_refused_unread(app: Flask, path: str) -> None:
    street = sign_in(app, "street")
    token = street.token("/password")
    assert street.client.post(path, data={"csrf_token": token, "x": "y" * 400_000}).status_code == 413


def test_every_limit_is_stated(app: Flask, house: House) -> None:
    for rule in app.url_map.iter_rules():
        access = access_of(app, rule.endpoint)
        limit = access.max_bytes or house.settings.limits.machine_bytes
        assert limit <= 32 * 1024 * 1024, rule.rule
        assert access.gate is not Gate.MACHINE or access.proof


def test_a_picture_bomb_sent_as_a_form_costs_nothing(app: Flask) -> None:
    street = sign_in(app, "street")
    bomb = (io.BytesIO(png_bomb()), "photo.png")
    answer = street.client.post("/venues/new", data={"csrf_token": street.token("/password"), "photo": bomb})
    assert answer.status_code == 422, "a file where none was asked for is not opened"


# --- enumeration -----------------------------------------------------------------------------------------------------


def test_names_that_exist_cost_the_same_work_as_names_that_do_not(
    app: Flask, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many hashes for a stranger's guess, an existing name, a disabled account and one without a password yet."""
    with house.database.writing() as writing:
        writing.query(User).filter_by(name="tech").one().is_active = False
        writing.query(User).filter_by(name="epi").one().password = "!"
    work: list[str] = []
    real = passwords.hasher

    class Counting:
        def verify(self, stored: str, given: str) -> bool:
            work.append(stored.split("$")[3])
            return real.verify(stored, given)

    monkeypatch.setattr(passwords, "hasher", Counting())
    for name in ("street", "nobody-of-this-name", "tech", "epi"):
        before = len(work)
        answer = Browser(app.test_client()).post("/sign-in", {"name": name, "password": "guess"}, page="/sign-in")
        assert answer.status_code == 401 and len(work) == before + 1, name
    assert len(set(work)) == 1, "with the same figures, too"


def test_one_source_that_tries_many_names_is_slowed_down(app: Flask) -> None:
    known = sign_in(app, "street")
    known.post("/sign-out")
    guesser = Browser(app.test_client())
    token = guesser.token("/sign-in")
    answers = [
        guesser.client.post(
            "/sign-in", data={"csrf_token": token, "name": f"name{n}", "password": "Spring2026!"}
        ).status_code
        for n in range(62)
    ]
    assert answers[:60] == [401] * 60 and answers[60:] == [429, 429]
    signed = known.post("/sign-in", {"name": "street", "password": PASSWORD}, page="/sign-in")
    assert signed.status_code == 303, "a colleague behind the same address, in a browser that was there before"


def test_a_known_browser_is_not_slowed_down_by_its_neighbour(app: Flask) -> None:
    owner = sign_in(app, "street")
    owner.post("/sign-out")
    neighbour = Browser(app.test_client())  # the same address
    for _ in range(5):
        neighbour.post("/sign-in", {"name": "street", "password": "guess"}, page="/sign-in")
    assert neighbour.post("/sign-in", {"name": "street", "password": PASSWORD}, page="/sign-in").status_code == 429
    assert owner.post("/sign-in", {"name": "street", "password": PASSWORD}, page="/sign-in").status_code == 303


def test_a_forged_device_cookie_is_no_known_browser(app: Flask, house: House) -> None:
    other = sign_in(app, "tech").client.get_cookie("gatehouse-device")
    assert other
    for value in (other.value, "x", other.value[:-2] + "aa"):
        guesser = Browser(app.test_client())
        guesser.client.set_cookie("gatehouse-device", value)
        guesser.post("/sign-in", {"name": "street", "password": "guess"}, page="/sign-in")
    again = Browser(app.test_client())
    answers = [
        again.post("/sign-in", {"name": "street", "password": "guess"}, page="/sign-in").status_code for _ in range(2)
    ]
    assert answers == [401, 429], "all of them counted for one address"


def test_a_stranger_learns_nothing_of_what_exists(app: Flask, stranger: Browser) -> None:
    for path in (
        f"/venues/{V}",
        "/venues/" + "0" * 12,
        "/codes/1",
        "/codes/999999",
        "/users/x",
        "/queries/" + "0" * 32,
    ):
        answer = stranger.get(path)
        assert answer.status_code == 303 and answer.location == f"/sign-in?next={path}"
    texts = {stranger.get(f"/choose-password/{token}").text for token in ("x", "y" * 32, "z" * 5000)}
    assert len({re.sub(r'value="[^"]*"', "", text) for text in texts}) == 1


# --- addresses, headers, hosts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/static/../config/server.toml",
        "/static/..%2f..%2fsecret-key",
        "/static/%2e%2e/%2e%2e/etc/passwd",
        "/static//etc/passwd",
        "/static/....//....//etc/passwd",
        "/static/%00",
        "/codes/1/poster.svg/../../secret",
    ],
)
def test_no_address_leads_out_of_the_static_folder(stranger: Browser, path: str) -> None:
    with stranger.get(path) as answer:
        assert answer.status_code in {303, 308, 400, 404} and b"root:" not in answer.data


@pytest.mark.parametrize("name", ["../../x", "a\r\nSet-Cookie: x=1", 'x"; filename="evil.html', "名字", "x\x00y"])
def test_no_name_reaches_a_header(app: Flask, house: House, name: str) -> None:
    serial = open_code(app)
    with house.database.writing() as writing:
        writing.get_one(Venue, LIBRARY).name_zh = name.replace("\x00", "")
    answer = sign_in(app, "operator").get(f"/codes/{serial}/poster.pdf")
    assert re.fullmatch(r'attachment; filename="[\w.-]+"', answer.headers["Content-Disposition"])
    assert "x=1" not in str(answer.headers.getlist("Set-Cookie"))


@pytest.mark.parametrize(
    "wish", ["/venues%0d%0aSet-Cookie:x=1", "/venues\r\nSet-Cookie: x=1", "/\tvenues", "//evil.example"]
)
def test_no_header_is_injected_through_next(app: Flask, wish: str) -> None:
    browser = Browser(app.test_client())
    fields = {"name": "street", "password": PASSWORD, "next": wish}
    answer = browser.post("/sign-in", fields, page="/sign-in")
    assert answer.status_code == 303 and "\r" not in answer.location and "evil" not in answer.location
    assert not any("x=1" in value for value in answer.headers.getlist("Set-Cookie"))


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "localhost@evil.example", "evil.example:80"]
)
def test_another_host_is_answered_nothing(app: Flask, host: str) -> None:
    answer = app.test_client().get("/sign-in", headers={"Host": host})
    assert answer.status_code == 400 and "evil" not in answer.text
    assert "evil" not in app.test_client().get("/", headers={"X-Forwarded-Host": host}).headers.get("Location", "")


def test_a_one_time_link_names_our_own_host(app: Flask, house: House) -> None:
    street = sign_in(app, "street")
    with house.database.reading() as reading:
        staff = reading.query(User).filter_by(name="staff").one().id
    page = street.client.post(
        f"/users/{staff}/link",
        data={"csrf_token": street.token("/password")},
        headers={"X-Forwarded-Host": "evil.example"},
    ).text
    assert "http://localhost/choose-password/" in page and "evil" not in page


def test_no_page_can_be_framed_or_sniffed(app: Flask) -> None:
    for path in (
        "/sign-in",
        "/",
        f"/venues/{V}",
        "/account/",
        "/nothing",
        "/static/gatehouse.css",
        "/choose-password/x",
    ):
        with sign_in(app, "street").get(path) as answer:
            assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"], path
            assert answer.headers["X-Frame-Options"] == "DENY"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "unsafe" not in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("value", ["' OR 1=1 --", "%27%20OR%201=1", "\\", "%", "_", "\x00", "𝕏" * 50, "9" * 400])
def test_searches_and_pages_take_anything(app: Flask, value: str) -> None:
    street = sign_in(app, "street")
    for path in ("/venues", "/users/", "/codes", "/kiosks", "/audit", "/papers", "/residents/"):
        for name in ("q", "after", "actor", "action", "state", "day", "condition"):
            answer = street.get(f"{path}?{name}={quote(value)}")
            assert answer.status_code in {200, 303, 400, 403, 404}, f"{path}?{name}: {answer.status_code}"


# --- the gate ---------------------------------------------------------------------------------------------------------


def test_a_nul_byte_is_refused_before_a_database_chokes_on_it(app: Flask) -> None:
    """PostgreSQL takes none in a text: without the gate this is a fault of ours, on each form there is."""
    street = sign_in(app, "street")
    assert street.get("/venues?q=a%00b").status_code == 400
    form = {"csrf_token": street.token("/password"), "words": "a\x00b"}
    assert street.client.post("/residents/", data=form).status_code == 400


def test_a_route_is_open_only_where_the_table_says(app: Flask) -> None:
    adapter = app.url_map.bind("localhost")
    listed = {adapter.match(address, method)[0] for (method, address), who in TABLE.items() if who is OPEN}
    real = {rule.endpoint for rule in app.url_map.iter_rules() if access_of(app, rule.endpoint).gate is Gate.OPEN}
    assert real == listed
