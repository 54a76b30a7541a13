"""Tip-offs: anybody tells without saying who they are, and only whoever holds the code reads the answer."""

from __future__ import annotations

import io
import re

from flask import Flask
from sqlalchemy import select

from server.accounts.models import RoleAssignment, User
from server.accounts.roles import Role
from server.cases.models import Case
from server.context import House
from server.tipoffs.models import TipOff, TipOffMessage
from server.tipoffs.taking import by_code
from server.uploads.models import Upload
from tests.server.files import bomb, with_position
from tests.server.people import LIBRARY, NOON, Browser, Clock, sign_in

FIELDS = {"sort": "no_check", "told": "北门没人查验，直接放行", "place": "锦江图书馆", "area": "510104"}


def ticket(browser: Browser, page: str = "/tip-off") -> str:
    found = re.search(r'name="ticket" value="([^"]+)"', browser.get(page).text)
    assert found
    return found[1]


def tell(browser: Browser, **fields: object) -> str:
    answer = browser.client.post("/tip-off", data={"ticket": ticket(browser), **FIELDS, **fields})
    assert answer.status_code == 200, answer.text
    assert "Set-Cookie" not in answer.headers
    return re.search(r'id="code">([^<]+)<', answer.text)[1]


def follow(browser: Browser, code: str, **fields: str) -> str:
    return browser.client.post(
        "/tip-off/follow", data={"ticket": ticket(browser, "/tip-off/follow"), "code": code, **fields}
    ).text


def case_of(house: House) -> Case:
    with house.database.reading() as reading:
        return reading.scalars(select(Case).where(Case.machine == "tip_off")).one()


def take(browser: Browser, case_id: str, step: str, **fields: str) -> int:
    page = browser.get(f"/cases/case/{case_id}").text
    version = re.search(r'name="version" value="(\d+)"', page)
    answer = browser.post(f"/cases/case/{case_id}/steps/{step}", {"version": version[1] if version else "1", **fields})
    return answer.status_code


def test_told_screened_answered_and_an_inspection_comes_of_it(app: Flask, house: House, stranger: Browser) -> None:
    code = tell(stranger, photo=(io.BytesIO(with_position()), "me.jpg"))
    assert re.fullmatch(r"([0-9A-Z]{4}-){4}[0-9A-Z]{4}", code)
    case = case_of(house)
    district = sign_in(app, "district")
    page = f"/tip-offs/{case.id}"
    seen = district.get(page).text
    assert "北门没人查验" in seen
    assert b"SecretCam" not in district.get(f"{page}/photo").data
    assert take(district, case.id, "screen") == 303
    assert take(district, case.id, "verify") == 303
    assert take(district, case.id, "substantiate", found="x") == 422  # about which venue?
    assert LIBRARY.hex() in district.get(f"{page}?q=图书").text
    assert district.post(f"{page}/venue", {"venue": LIBRARY.hex()}).status_code == 303
    assert district.post(f"{page}/messages", {"text": "大约几点？"}).status_code == 303
    assert "大约几点" in follow(stranger, code.lower().replace("-", " "))
    assert "留言已添加" in follow(stranger, code, message="上午九点")
    assert "上午九点" in district.get(page).text
    assert take(district, case.id, "substantiate", found="北门无人查验") == 303
    inspection = case_of(house).facts["inspection"]
    assert take(district, case.id, "close", answer="已责令整改") == 303
    assert "已责令整改" in follow(stranger, code)
    with house.database.reading() as reading:
        made = reading.get_one(Case, inspection)
        assert (made.machine, made.state, made.venue_id) == ("inspection", "findings", LIBRARY)
    operator = sign_in(app, "operator")
    assert operator.get(page).status_code in {403, 404}  # the venue never sees who told what
    assert operator.get(f"/cases/case/{case.id}").status_code == 404


def test_neither_text_nor_code_nor_address_is_readable_in_the_database(
    app: Flask, house: House, stranger: Browser
) -> None:
    code = tell(stranger)
    follow(stranger, code, message="再说一句")
    with house.database.engine.connect() as connection:
        dump = "\n".join(
            str(row)
            for table in ("tip_off", "tip_off_message", "case_file", "case_entry", "audit_event", "attempt_count")
            for row in connection.exec_driver_sql(f"SELECT * FROM {table}")
        )
    for secret in ("北门没人查验", "再说一句", code, code.replace("-", ""), "127.0.0.1"):
        assert secret not in dump and secret.encode().hex() not in dump


def test_a_wrong_code_opens_nothing_and_guessing_is_slowed_down(
    app: Flask, house: House, stranger: Browser, clock: Clock
) -> None:
    code = tell(stranger)
    for n in range(20):
        assert "没有此查询码" in follow(stranger, f"{n:020d}")
    assert "尝试次数过多" in follow(stranger, code)  # from here, for a while
    clock.passes(minutes=11)
    assert "已收到" in follow(stranger, code)
    with app.app_context(), house.database.reading() as reading:
        assert by_code(reading, "x" * 500) is None and by_code(reading, "") is None


def test_one_source_cannot_flood(app: Flask, house: House, stranger: Browser, clock: Clock) -> None:
    for _ in range(5):
        tell(stranger)
    answer = stranger.client.post("/tip-off", data={"ticket": ticket(stranger), **FIELDS})
    assert answer.status_code == 429
    clock.passes(hours=2)
    tell(stranger)


def test_a_form_that_is_not_ours_is_refused(app: Flask, house: House, stranger: Browser, clock: Clock) -> None:
    good = ticket(stranger)
    for bad in ("", "x", good[:-1] + "z", "9" * 10 + good[10:]):
        assert stranger.client.post("/tip-off", data={"ticket": bad, **FIELDS}).status_code == 422, bad
    clock.passes(hours=3)
    assert stranger.client.post("/tip-off", data={"ticket": good, **FIELDS}).status_code == 422
    with house.database.reading() as reading:
        assert reading.scalars(select(TipOff)).all() == []


def test_hostile_words_and_files(app: Flask, house: House, stranger: Browser) -> None:
    answer = stranger.client.post(
        "/tip-off", data={"ticket": ticket(stranger), **FIELDS, "photo": (io.BytesIO(bomb()), "x.png")}
    )
    assert answer.status_code == 422
    with house.database.reading() as reading:
        assert reading.scalars(select(Upload)).all() == [] and reading.scalars(select(TipOff)).all() == []
    code = tell(stranger, told="<script>alert(1)</script>\0", place="=1+1")
    page = sign_in(app, "district").get(f"/tip-offs/{case_of(house).id}").text
    assert "<script>alert" not in page and "&lt;script&gt;" in page
    assert "<script>" not in follow(stranger, code, message="<script>")
    for fields in ({"sort": "nonsense"}, {"told": " "}, {"place": ""}):
        data = {"ticket": ticket(stranger), **FIELDS, **fields}
        assert stranger.client.post("/tip-off", data=data).status_code == 422, fields


def test_staff_elsewhere_and_people_of_the_venue_read_nothing(app: Flask, house: House, stranger: Browser) -> None:
    tell(stranger, venue=LIBRARY.hex())
    case = case_of(house)
    assert case.venue_id == LIBRARY
    assert sign_in(app, "street").get(f"/tip-offs/{case.id}").status_code == 200
    for name in ("otherstreet", "operator", "staff", "marketkeeper", "wang", "epi"):
        browser = sign_in(app, name)
        assert browser.get(f"/tip-offs/{case.id}").status_code in {403, 404}, name
        assert browser.post(f"/tip-offs/{case.id}/messages", {"text": "x"}).status_code in {403, 404}, name
    inspector = sign_in(app, "inspector")  # reads, and does not write
    assert inspector.get(f"/tip-offs/{case.id}").status_code == 200
    assert inspector.post(f"/tip-offs/{case.id}/messages", {"text": "x"}).status_code == 403
    with house.database.reading() as reading:
        assert reading.scalars(select(TipOffMessage)).all() == []


def test_who_handles_tip_offs_and_works_at_the_venue_reads_none_about_it(
    app: Flask, house: House, stranger: Browser
) -> None:
    """Whatever else they are: who told stays protected."""
    tell(stranger, venue=LIBRARY.hex())
    page = f"/tip-offs/{case_of(house).id}"
    district = sign_in(app, "district")
    assert district.get(page).status_code == 200
    with house.database.writing() as writing:
        keeper = writing.query(User).filter_by(name="district").one().id
        role = Role.VENUE_STAFF.value
        writing.add(RoleAssignment(user_id=keeper, role=role, venue_id=LIBRARY, starts_at=NOON))
    assert district.get(page).status_code == 404
