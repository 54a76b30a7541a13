"""Applying for a code: filled in, sent, returned, sent again, approved; and what a stranger or a hurried click gets."""

from __future__ import annotations

import io
import re

import pytest
from flask import Flask
from sqlalchemy import select
from werkzeug.datastructures import FileStorage
from werkzeug.test import encode_multipart

from server.accounts.models import RoleAssignment, User
from server.accounts.roles import Role
from server.applications.details import Details, position
from server.applications.models import ApplicationVersion, CodeApplication
from server.cases.kernel import entries_of, find, first_break
from server.codes.models import VenueCode
from server.context import House
from server.uploads.models import Upload
from server.venues.models import Venue
from tests.server.files import PDF, bomb, picture
from tests.server.people import LIBRARY, MARKET, NOON, Browser, sign_in

FIELDS = {
    "applicant": "enterprise",
    "name_zh": "河畔书店",
    "name_en": "Riverside Books",
    "address": "滨江路 8 号",
    "area_code": "510104001001",
    "category": "shop",
    "contact_name": "周联系",
    "contact_phone": "028-5550200",
    "keeper_name": "吴负责",
    "keeper_phone": "028-5550201",
}


def send_file(browser: Browser, page: str, which: str, data: bytes, name: str = "x.bin") -> int:
    fields = {"csrf_token": browser.token("/password"), "file": FileStorage(io.BytesIO(data), name)}
    boundary, body = encode_multipart(fields)
    kind = f"multipart/form-data; boundary={boundary}"
    return browser.client.post(f"{page}/files/{which}", input_stream=io.BytesIO(body), content_type=kind).status_code


def steps(browser: Browser, page: str, name: str, **fields: str) -> int:
    version = re.search(r'name="version" value="(\d+)"', browser.get(page).text)
    return browser.post(f"{page}/steps/{name}", {"version": version[1] if version else "1", **fields}).status_code


def drafted(app: Flask) -> tuple[Browser, str]:
    """A draft of the operator with everything but the sending."""
    operator = sign_in(app, "operator")
    page = operator.post("/applications/new", FIELDS).location
    assert send_file(operator, page, "proof", PDF) == 303
    assert send_file(operator, page, "plan", picture()) == 303
    assert operator.post(f"{page}/entrances", {"name_zh": "东门", "spot.x": "320", "spot.y": "100"}).status_code == 303
    typed = {"name_zh": "后门", "across": "12.5", "down": "80", "spot.x": "0", "spot.y": "0"}
    assert operator.post(f"{page}/entrances", typed).status_code == 303
    return operator, page


def case_at(house: House, page: str) -> tuple[str, str]:
    with house.database.reading() as reading:
        case = find(reading, "application", page.rsplit("/", 1)[1])
        assert case is not None and first_break(case, entries_of(reading, case)) is None
        return case.id, case.state


CHECKED = {"is_true": "y", "is_complete": "y", "meets_conditions": "y"}


def test_returned_and_sent_again_until_there_is_a_code_for_each_entrance(app: Flask, house: House) -> None:
    operator, page = drafted(app)
    assert "可以提交" in operator.get(page).text
    assert steps(operator, page, "submit") == 303
    street = sign_in(app, "street")
    assert page.rsplit("/", 1)[1] in street.get(f"/cases/case/{case_at(house, page)[0]}").text
    assert steps(street, page, "take_up") == 303
    assert steps(street, page, "approve", is_true="y") == 422  # the checklist has three boxes
    assert steps(street, page, "return") == 422  # and returning a reason
    assert steps(street, page, "return", reason="执照看不清，请重拍") == 303
    assert "执照看不清" in operator.get(page).text
    assert steps(operator, page, "amend") == 303
    assert operator.post(f"{page}/edit", {**FIELDS, "address": "滨江路 9 号"}).status_code == 303
    assert send_file(operator, page, "proof", picture()) == 303
    assert steps(operator, page, "submit") == 303
    seen = street.get(page).text
    assert seen.count("较上次提交有改动") == 2  # the address, and the proof
    assert "滨江路 8 号" in street.get(f"{page}?version=1").text
    assert steps(street, page, "take_up") == 303
    assert steps(street, page, "approve", **CHECKED) == 303
    assert case_at(house, page)[1] == "approved"
    with house.database.reading() as reading:
        venue = reading.scalars(select(Venue).where(Venue.name_zh == "河畔书店")).one()
        assert [(d.number, d.name_zh) for d in venue.entrances] == [(1, "东门"), (2, "后门")]
        assert (venue.address, venue.keeper_name) == ("滨江路 9 号", "吴负责")
        codes = reading.scalars(select(VenueCode).where(VenueCode.venue_id == venue.id)).all()
        assert [(c.entrance, c.version, c.state) for c in codes] == [(1, 1, "issued"), (2, 1, "issued")]
        versions = reading.scalars(select(ApplicationVersion).order_by(ApplicationVersion.number)).all()
        entries = entries_of(reading, find(reading, "application", page.rsplit("/", 1)[1]))
        sent = [e.values["digest"] for e in entries if e.step == "submit"]
        assert sent == [v.digest.hex() for v in versions] and len(set(sent)) == 2
        serial = codes[0].serial
    assert sign_in(app, "operator").get(f"/codes/{serial}").status_code == 200  # theirs to print, from now on


def test_more_entrances_for_a_venue_that_exists_keep_its_data(app: Flask, house: House) -> None:
    operator = sign_in(app, "operator")
    page = operator.post(f"/applications/new?venue={LIBRARY.hex()}", {**FIELDS, "name_zh": "别的名字"}).location
    send_file(operator, page, "proof", PDF)
    send_file(operator, page, "plan", picture())
    operator.post(f"{page}/entrances", {"name_zh": "东门", "spot.x": "9", "spot.y": "9"})
    operator.post(f"{page}/entrances", {"name_zh": "北门", "spot.x": "99", "spot.y": "9"})
    steps(operator, page, "submit")
    street = sign_in(app, "street")
    steps(street, page, "take_up")
    assert steps(street, page, "approve", **CHECKED) == 303
    with house.database.reading() as reading:
        venue = reading.get_one(Venue, LIBRARY)
        assert venue.name_zh == "锦江图书馆" and venue.keeper_name == "吴负责"
        assert [d.name_zh for d in venue.entrances] == ["东门", "西门", "北门"]
        assert {c.entrance for c in reading.scalars(select(VenueCode))} == {1, 3}


def test_somebody_without_a_venue_applies_for_a_first_one(app: Flask, house: House) -> None:
    with house.database.writing() as writing:
        user = writing.scalars(select(User).where(User.name == "wang")).one()
        user.assignments[0].role, user.assignments[0].area_code = Role.APPLICANT.value, "510104001"
        wang = user.id
    newcomer = sign_in(app, "wang")
    page = newcomer.post("/applications/new", FIELDS).location
    send_file(newcomer, page, "proof", PDF)
    send_file(newcomer, page, "plan", picture())
    newcomer.post(f"{page}/entrances", {"name_zh": "正门", "spot.x": "9", "spot.y": "9"})
    assert steps(newcomer, page, "submit") == 303
    street = sign_in(app, "street")
    steps(street, page, "take_up")
    assert steps(street, page, "approve", **CHECKED) == 303
    with house.database.reading() as reading:
        venue_id = reading.get_one(CodeApplication, page.rsplit("/", 1)[1]).venue_id
        held = reading.scalars(select(RoleAssignment.venue_id).where(RoleAssignment.user_id == wang)).all()
        assert venue_id is not None and venue_id in held


def test_nothing_is_sent_while_something_is_missing(app: Flask, house: House) -> None:
    operator = sign_in(app, "operator")
    page = operator.post("/applications/new", FIELDS).location
    assert "请上传平面图" in operator.get(page).text
    assert steps(operator, page, "submit") == 422
    assert case_at(house, page)[1] == "draft"
    assert operator.post("/applications/new", {**FIELDS, "keeper_name": ""}).status_code == 422  # V-30


def test_a_draft_is_its_applicants_alone_and_a_reviewer_reaches_the_own_street(app: Flask, house: House) -> None:
    operator, page = drafted(app)
    for name in ("street", "otherstreet", "staff", "marketkeeper", "wang", "city"):
        assert sign_in(app, name).get(page).status_code == 404, name
    steps(operator, page, "submit")
    assert sign_in(app, "street").get(page).status_code == 200
    for name in ("otherstreet", "marketkeeper", "wang", "staff"):
        other = sign_in(app, name)
        assert other.get(page).status_code == 404, name
        assert other.get(f"{page}/files/proof").status_code == 404, name
        assert other.post(f"{page}/steps/withdraw", {"version": "2"}).status_code == 404, name
    street = sign_in(app, "street")
    assert street.post(f"{page}/edit", FIELDS).status_code == 403
    assert steps(street, page, "withdraw") == 403
    assert operator.post(f"{page}/edit", FIELDS).status_code == 409  # what is under review is not changed


def test_nobody_applies_for_somebody_elses_venue(app: Flask) -> None:
    assert sign_in(app, "operator").post(f"/applications/new?venue={MARKET.hex()}", FIELDS).status_code == 404
    for name in ("staff", "street", "wang", "inspector"):
        assert sign_in(app, name).post("/applications/new", FIELDS).status_code == 403, name


def test_two_reviewers_at_once_and_the_second_is_told(app: Flask, house: House) -> None:
    operator, page = drafted(app)
    steps(operator, page, "submit")
    street = sign_in(app, "street")
    steps(street, page, "take_up")
    version = re.search(r'name="version" value="(\d+)"', street.get(page).text)[1]
    assert street.post(f"{page}/steps/return", {"version": version, "reason": "x"}).status_code == 303
    answer = street.post(f"{page}/steps/approve", {"version": version, **CHECKED})
    assert answer.status_code == 409 and "先行处理" in answer.text
    with house.database.reading() as reading:
        assert reading.scalars(select(VenueCode)).all() == []


@pytest.mark.parametrize(
    "data", [bomb(), b"<svg onload=alert(1)>", b"%PDF-1.4 /JavaScript %%EOF", bytes(9 * 1024 * 1024)]
)
def test_hostile_files_are_refused_and_leave_nothing(app: Flask, house: House, data: bytes) -> None:
    operator = sign_in(app, "operator")
    page = operator.post("/applications/new", FIELDS).location
    assert send_file(operator, page, "proof", data) in {413, 422}
    with house.database.reading() as reading:
        assert reading.scalars(select(Upload)).all() == []


def test_files_are_handed_out_so_that_nothing_in_them_runs(app: Flask) -> None:
    operator, page = drafted(app)
    proof, plan = operator.get(f"{page}/files/proof"), operator.get(f"{page}/files/plan")
    assert proof.mimetype == "application/pdf" and proof.headers["Content-Disposition"].startswith("attachment")
    assert plan.mimetype == "image/jpeg"
    for answer in (proof, plan):
        assert "sandbox" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_replaced_file_that_nobody_saw_is_not_kept(app: Flask, house: House) -> None:
    operator, page = drafted(app)
    send_file(operator, page, "plan", picture((500, 500)))
    with house.database.reading() as reading:
        assert len(reading.scalars(select(Upload)).all()) == 2


def test_hostile_names_stay_text(app: Flask) -> None:
    operator = sign_in(app, "operator")
    page = operator.post("/applications/new", {**FIELDS, "name_zh": "<script>x</script>", "name_en": "=1+1"}).location
    assert "<script>x" not in operator.get(page).text and "&lt;script&gt;x" in operator.get(page).text


@pytest.mark.parametrize(
    ("clicked", "typed", "expected"),
    [
        ({"spot.x": "320", "spot.y": "120"}, ("", ""), (500, 250)),
        ({"spot.x": "0", "spot.y": "0"}, ("12.5", "80"), (125, 800)),
        ({}, ("100", "0"), (1000, 0)),
        ({"spot.x": "641", "spot.y": "3"}, ("", ""), None),
        ({"spot.x": "-1", "spot.y": "3"}, ("", ""), None),
        ({"spot.x": "nan", "spot.y": "3"}, ("", ""), None),
        ({}, ("nan", "1"), None),
        ({}, ("1e400", "1"), None),
        ({}, ("", ""), None),
    ],
)
def test_where_a_click_lands(clicked: dict[str, str], typed: tuple[str, str], expected: object) -> None:
    assert position(clicked, (640, 480), typed) == expected


def test_details_survive_the_database() -> None:
    said = {k: v for k, v in FIELDS.items() if k != "area_code"}
    details = Details(**said)
    assert Details.from_json(details.to_json()) == details and NOON is not None
