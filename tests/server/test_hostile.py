"""The hostile tester's list: each attack is carried out, and its test fails when the guard is taken away.

Areas and objects (IDOR) are walked in test_routes.py, sessions and their fixation in accounts/test_sessions.py, open
redirects and enumeration by words in test_sign_in.py, slow clients in test_slow_clients.py, uploads in
test_upload_bombs.py; here is the rest. docs/hostile.md: which test fails without which guard.
"""

from __future__ import annotations

import csv
import html
import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from urllib.parse import quote

import pytest
from flask import Flask
from sqlalchemy import update
from sqlalchemy.exc import DBAPIError
from werkzeug.test import TestResponse

from server.accounts import passwords, views
from server.accounts.models import RoleAssignment, SignInPasskey, User
from server.accounts.roles import Role
from server.areas.models import Area, Level, area_row
from server.cases.models import Case
from server.cases.registry import machines
from server.cases.sheets import cell
from server.codes.models import VenueCode
from server.context import House
from server.db import session
from server.exports.tables import TABLES
from server.inspections.models import InspectionPhoto
from server.uploads.models import Upload
from server.venues.models import Entrance, Venue
from server.web.access import Gate, access_of
from tests.server import guards
from tests.server.accounts.test_users import choose, link_on
from tests.server.inspections.test_inspections import drawn
from tests.server.people import (
    KIOSK,
    LIBRARY,
    NOON,
    PASSWORD,
    Browser,
    Clock,
    open_code,
    put_kiosk,
    put_resident,
    sign_in,
)
from tests.server.test_notices import filled, write
from tests.server.test_routes import ELSEWHERE, OPEN, TABLE, R, put_words
from tests.server.vaults import TestVault

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


def test_a_page_that_is_looked_at_could_not_write_if_it_wanted_to(app: Flask) -> None:
    change = update(Venue).values(name_zh="x")
    for method in ("GET", "HEAD"):
        with app.test_request_context("/", method=method), pytest.raises(DBAPIError, match="readonly|read-only"):
            session().execute(change)
    with app.test_request_context("/", method="POST"):
        session().execute(change)
        session().rollback()


def test_the_cookie_of_a_known_device_is_not_for_scripts_or_other_sites(app: Flask) -> None:
    browser = Browser(app.test_client())
    answer = browser.post("/sign-in", {"name": "street", "password": PASSWORD}, page="/sign-in")
    (cookie,) = (value for value in answer.headers.getlist("Set-Cookie") if value.startswith("gatehouse-device="))
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie


# --- other people's things -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/venues", "/codes", "/kiosks", "/residents/", "/papers", "/cases/venue_code/"])
def test_a_list_holds_nothing_of_another_area(app: Flask, house: House, vault: TestVault, path: str) -> None:
    open_code(app)
    put_kiosk(house, name="东门左机")
    put_resident(app, house, R)
    assert sign_in(app, "worker").post(f"/residents/{R}/papers").status_code == 303
    with house.database.writing() as writing:
        there = writing.query(User).filter_by(name="otherstreet").one()
        role = Role.COMMUNITY_WORKER.value  # who may enter residents of the other district
        writing.add(RoleAssignment(user_id=there.id, role=role, area_code="510105001001", starts_at=NOON))
    mark = "居*民" if path in {"/residents/", "/papers"} else "锦江图书馆"
    here, elsewhere = sign_in(app, "worker" if mark == "居*民" else "street"), sign_in(app, "otherstreet")
    assert mark in here.get(path).text
    answer = elsewhere.get(path)
    assert answer.status_code == 200 and mark not in answer.text


def test_no_notice_and_no_pass_of_another_area_is_listed(app: Flask, house: House, clock: Clock) -> None:
    street, elsewhere = sign_in(app, "street"), sign_in(app, "otherstreet")
    write(street, filled(clock, where="area:510104001"))
    with house.database.reading() as reading:
        inspector = reading.query(User).filter_by(name="inspector").one().id
    given = {"inspector": inspector, "venues": LIBRARY.hex(), "hours": "4"}
    assert street.post("/inspectors", given, page="/inspectors").status_code == 303
    for path, mark in (("/notices", "流感疫苗接种"), ("/inspectors", 'href="/inspectors/')):
        assert mark in street.get(path).text
        answer = elsewhere.get(path)
        assert answer.status_code == 200 and mark not in answer.text, path


def test_the_first_page_counts_nothing_of_another_area(app: Flask, house: House) -> None:
    def numbers(name: str) -> dict[str, str]:
        return dict(re.findall(r'href="([^"]+)"><span class="number">(\d+)<', sign_in(app, name).get("/").text))

    before, elsewhere = numbers("street"), numbers("otherstreet")
    open_code(app)
    put_kiosk(house, oldest_unsent_at=NOON)
    with house.database.writing() as writing:
        writing.get_one(Venue, LIBRARY).keeper_name = ""
    changed = {address for address, number in numbers("street").items() if number != before.get(address, "0")}
    lists = ("/kiosks?condition=alive", "/kiosks?condition=unsent", "/codes?state=issued", "/venues?keeper=none")
    assert changed >= set(lists)
    assert numbers("otherstreet") == elsewhere


def test_what_is_out_of_reach_looks_like_what_does_not_exist(app: Flask, house: House) -> None:
    serial = open_code(app)
    put_kiosk(house)
    browser = sign_in(app, "otherstreet")
    for real, made_up in (
        (f"/venues/{V}", "/venues/" + "00" * 6),
        (f"/codes/{serial}", "/codes/99999"),
        (f"/kiosks/{KIOSK.hex()}", "/kiosks/" + "00" * 8),
    ):
        answers = [browser.get(path) for path in (real, made_up)]
        assert {answer.status_code for answer in answers} == {404}, real
        texts = [  # without what is of each answer alone: its number, and a token that holds the second it was made
            re.sub(r'name="csrf_token" value="[^"]+"', "", answer.text.replace(answer.headers["X-Request-Id"], ""))
            for answer in answers
        ]
        assert texts[0].replace(real, "") == texts[1].replace(made_up, ""), real


def test_a_photograph_is_not_reached_through_another_inspection(app: Flask, house: House) -> None:
    """Whoever may see one inspection puts the number of another one's photograph into its address."""
    _street, case_id = drawn(app, house)
    with house.database.writing() as writing:
        case = writing.get_one(Case, case_id)
        theirs = Case(**{column.key: getattr(case, column.key) for column in Case.__table__.columns})
        theirs.id, theirs.key, theirs.area_path = "another0inspect0", None, "nowhere/"
        theirs.venue_id = None
        writing.add(theirs)
        upload = Upload(
            id="u" * 32, media_type="image/jpeg", size_bytes=1, digest=bytes(32), sealed=b"x", sent_by="x", at=NOON
        )
        writing.add(upload)
        writing.flush()
        by = writing.query(User).filter_by(name="inspector").one().id
        writing.add(InspectionPhoto(upload_id=upload.id, case_id=theirs.id, stage="finding", at=NOON, by=by))
    inspector = sign_in(app, "inspector")
    assert inspector.get(f"/inspections/{case_id}").status_code == 200
    assert inspector.get(f"/inspections/{theirs.id}/photos/{upload.id}").status_code == 404
    assert inspector.get(f"/inspections/{case_id}/photos/{upload.id}").status_code == 404


def test_nobody_removes_the_passkey_of_somebody_else(app: Flask, house: House) -> None:
    street = sign_in(app, "street")
    with house.database.writing() as writing:
        ids = {}
        for name in ("tech", "street"):
            owner = writing.query(User).filter_by(name=name).one().id
            kept = name.encode()
            row = SignInPasskey(user_id=owner, credential_id=kept, public_key=b"k", sign_count=0, name="", made_at=NOON)
            writing.add(row)
            writing.flush()
            ids[name] = row.id
    answer = street.post(f"/account/second-factor/passkeys/{ids['tech']}/remove", {"password": PASSWORD})
    assert answer.status_code == 404
    answer = street.post(f"/account/second-factor/passkeys/{ids['street']}/remove", {"password": PASSWORD})
    assert answer.status_code == 303
    with house.database.reading() as reading:
        assert [row.id for row in reading.query(SignInPasskey)] == [ids["tech"]]


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


FORMULAS = (
    "=cmd|' /C calc'!A0",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    "＝1",
    '=HYPERLINK("http://x")',
)
OFFSET_MS = -5  # a number below zero is one, and no formula


@pytest.fixture
def formulas(app: Flask, house: House) -> None:
    """For each formula: a venue, its entrance, code, kiosk and a fault there, a person who told of it, and an area."""
    with house.database.writing() as writing:
        for n, formula in enumerate(FORMULAS):
            code = f"51010400101{n}"
            street = writing.get_one(Area, "510104001")
            writing.add(area_row(code, Level.COMMUNITY, formula, formula, street))
            venue_id = bytes([n]) * 6
            words = dict.fromkeys(("name_zh", "name_en", "address", "keeper_name", "keeper_phone"), formula)
            writing.add(Venue(id=venue_id, area_code=code, category="culture", created_at=NOON, **words))
            writing.flush()
            writing.add(Entrance(venue_id=venue_id, number=1, name_zh=formula, name_en=formula))
        for user in writing.query(User):
            user.display_name = FORMULAS[0]
    for n, formula in enumerate(FORMULAS):
        parts = {"health": {"parts": {"card": formula, "power": formula}}, "app_version": formula}
        put_kiosk(house, bytes([n]) * 8, bytes([n]) * 6, name=formula, clock_offset_ms=OFFSET_MS, **parts)
    street = sign_in(app, "street")
    token = street.token("/password")
    for n, formula in enumerate(FORMULAS):
        issued = street.client.post(f"/venues/{bytes([n]).hex() * 6}/entrances/1/codes", data={"csrf_token": token})
        assert issued.status_code == 303
        told = {"csrf_token": token, "venue": bytes([n]).hex() * 6, "part": "camera", "what": "broken", "seen": formula}
        assert street.client.post("/cases/fault/new", data=told).status_code == 303


def cells_of(answer: TestResponse) -> tuple[list[str], int]:
    """The texts of a table as CSV or XLSX, and how many cells a spreadsheet would work out by itself."""
    if answer.mimetype == "text/csv":
        rows = csv.reader(io.StringIO(answer.data.decode("utf-8-sig")))
        cells = [cell for row in rows for cell in row]
        runs = [c for c in cells if c.lstrip(" ")[:1] in set("=+-@＝＋－＠\t\r\n") - {""} and c and c != str(OFFSET_MS)]
        return cells, len(runs)
    with zipfile.ZipFile(io.BytesIO(answer.data)) as book:
        parts = [book.read(name).decode() for name in book.namelist() if name.endswith((".xml", ".rels"))]
    runs = [found for part in parts for found in re.findall(r"<f[ >]|<hyperlink|<ddeLink|TargetMode=.External", part)]
    return [html.unescape(text) for part in parts for text in re.findall(r"<t(?: [^>]*)?>([^<]*)</t>", part)], len(runs)


def test_no_export_holds_a_formula(app: Flask, house: House, formulas: None) -> None:
    """Every table that can be taken away, found by its address or its view's name."""
    exports = {
        rule.endpoint: rule.rule
        for rule in app.url_map.iter_rules()
        if re.search(r"csv|xls|export", f"{rule.rule} {rule.endpoint}")
    }
    assert exports == {
        "exports.export": "/exports/<name>.<any(csv, xlsx):form>",
        "cases.export": "/cases/<machine_name>/export",
        "codes.bulk.example": "/codes/bulk/example.csv",  # a line of our own
        "quarantine.export": "/kiosks/<kiosk_id:kiosk_id>/quarantine.json",  # no table
    }, "a new export has to be walked here"
    street = sign_in(app, "street")
    token = street.token("/password")
    paths = [f"/exports/{table.name}.{form}" for table in TABLES for form in ("csv", "xlsx")]
    paths += [f"/cases/{name}/export" for name in machines()]
    held = {"csv": 0, "xlsx": 0, "export": 0}
    for path in paths:
        answer = street.client.post(path, data={"csrf_token": token})
        if answer.status_code == 404 and path.endswith("/export"):
            continue  # a workflow that a street has no part in
        assert answer.status_code == 200, path
        cells, runs = cells_of(answer)
        assert runs == 0, f"{path}: {[c for c in cells if c[:1] in '=+-@']}"
        held[re.split(r"[./]", path)[-1]] += sum("cmd|" in text for text in cells)
    assert min(held.values()) >= 5, f"the names were there at all: {held}"


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


def test_guessing_password_links_is_slowed_down(app: Flask, house: House, clock: Clock) -> None:
    """Not even the right one opens from there; from elsewhere it does."""
    street = sign_in(app, "street")
    with house.database.reading() as reading:
        staff = reading.query(User).filter_by(name="staff").one().id
    link = link_on(street.post(f"/users/{staff}/link").text)
    guesser = Browser(app.test_client())
    guesser.client.environ_base["REMOTE_ADDR"] = "198.51.100.7"
    token = guesser.token("/sign-in")
    guess = {"csrf_token": token, "new": "another pass phrase", "again": "another pass phrase"}
    answers = [guesser.client.post(f"/choose-password/guess-{n}", data=guess).status_code for n in range(21)]
    assert answers == [410] * 20 + [429]
    assert guesser.client.post(link, data=guess).status_code == guesser.get(link).status_code == 429
    assert Browser(app.test_client()).get(link).status_code == 200
    clock.passes(minutes=11)
    assert guesser.get(link).status_code == 200


def test_guessing_passkeys_is_slowed_down(app: Flask) -> None:
    guesser = Browser(app.test_client())
    form = {"csrf_token": guesser.token("/sign-in"), "credential": "{}"}
    answers = [guesser.client.post("/sign-in/passkey", data=form).status_code for _ in range(31)]
    assert answers == [303] * 30 + [429]


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


@pytest.mark.parametrize("wish", ["//evil.example", "https://evil.example/", "/\\evil.example", "/no-such-page", ""])
def test_a_passkey_leads_to_our_own_pages_only(
    app: Flask, house: House, monkeypatch: pytest.MonkeyPatch, wish: str
) -> None:
    with house.database.reading() as reading:
        owner = reading.query(User).filter_by(name="street").one()
    monkeypatch.setattr(views, "verify", lambda _writing, _credential, _now: owner)  # its signature is tried elsewhere
    for asked, leads_to in ((wish, "/"), ("/venues", "/venues")):
        browser = Browser(app.test_client())
        answer = browser.post("/sign-in/passkey", {"credential": "x", "next": asked}, page="/sign-in")
        assert answer.location == leads_to


def test_a_password_chosen_through_a_link_ends_sessions(app: Flask, house: House) -> None:
    """Somebody has lost their phone, on which they were signed in; the street gives them a link."""
    phone, street = sign_in(app, "staff"), sign_in(app, "street")
    with house.database.reading() as reading:
        staff = reading.query(User).filter_by(name="staff").one().id
    link = link_on(street.post(f"/users/{staff}/link").text)
    assert phone.get("/").status_code == 200
    assert choose(app, link) == 303
    assert phone.get("/").status_code == 303


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


# --- this list itself -------------------------------------------------------------------------------------------------


def test_the_list_of_guards_is_of_this_tree() -> None:
    """Each text that guards.py takes away stands in its file once, its tests exist, and the page holds its table."""
    assert guards.problems() == []
    page = (guards.TOP / "docs" / "hostile.md").read_text()
    assert guards.table() in page, "write the table anew: python -m tests.server.guards --table"
