"""The register of residents: who may enter whom, what the database holds of them, and what follows from an entry."""

from __future__ import annotations

import io

import pytest
from flask import Flask
from sqlalchemy import select

from protocol.credentials.identity import check_digit
from protocol.words import Colour
from server.accounts.models import User
from server.audit import AuditEvent, first_break
from server.context import House
from server.db import Base
from server.residents.models import Resident
from tests.server.people import NOON, PASSWORD, Browser, Clock, put_resident, sign_in
from tests.server.test_papers import Kiosk, text_on
from tests.server.test_residents import checked
from tests.server.vaults import TestVault

HERE, ELSEWHERE = "510104001001", "510105001001"
NUMBER = "51010419910203404" + check_digit("51010419910203404")
OTHER = "51010419910203405" + check_digit("51010419910203405")
FORM = {"name": "陈大文", "id_number": NUMBER, "phone": "138 0013 8000", "area_code": HERE}


@pytest.fixture
def worker(app: Flask) -> Browser:
    return sign_in(app, "worker")


def register(worker: Browser, **fields: str) -> str:
    """Register somebody; their id."""
    answer = worker.post("/residents/new", {**FORM, **fields}, page="/residents/new")
    assert answer.status_code == 303, answer.text
    return str(answer.location.rsplit("/", 1)[1])


def upload(worker: Browser, table: str | bytes) -> str:
    data = table if isinstance(table, bytes) else table.encode()
    fields = {"csrf_token": worker.token("/password"), "table": (io.BytesIO(data), "residents.csv")}
    return worker.client.post("/residents/import", data=fields, content_type="multipart/form-data").text


def actions(house: House, kind: str = "resident") -> list[str]:
    with house.database.reading() as reading:
        return [event.action for event in reading.query(AuditEvent).filter_by(object_kind=kind)]


def test_a_registered_resident_is_shown_masked_and_stored_encrypted(house: House, worker: Browser) -> None:
    resident = register(worker)
    for page in (worker.get("/residents/").text, worker.get(f"/residents/{resident}").text):
        assert "陈*文" in page and "陈大文" not in page and NUMBER not in page
    with house.database.reading() as reading:
        stored = repr([reading.execute(select(table)).all() for table in Base.metadata.sorted_tables])
    for personal in ("陈大文", NUMBER, "13800138000", repr("陈大文".encode())[2:-1]):
        assert personal not in stored
    assert actions(house) == ["resident.created"]


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("id_number", NUMBER[:-1], "18 characters"),
        ("id_number", NUMBER[:-2] + "0" + NUMBER[-1], "check digit"),
        ("id_number", "51010429910203404" + check_digit("51010429910203404"), "birth date"),
        ("id_number", "99999", "18 characters"),
        ("phone", "12", "phone number"),
        ("phone", "call me", "phone number"),
        ("name", "", "Please fill this in."),
        ("name", " ", "1 to 40"),
        ("name", "a\u202eb", "1 to 40"),
        ("area_code", ELSEWHERE, "Not a valid choice"),
    ],
)
def test_a_wrong_entry_is_refused_with_the_reason(
    house: House, worker: Browser, field: str, value: str, says: str
) -> None:
    answer = worker.post("/residents/new", {**FORM, field: value}, page="/residents/new")
    assert answer.status_code == 422 and says in answer.text
    with house.database.reading() as reading:
        assert reading.query(Resident).count() == 0


@pytest.mark.parametrize("number", ["E12345678", "e1234 5678", "CA1234567", OTHER.lower()])
def test_other_documents_are_taken(worker: Browser, number: str) -> None:
    register(worker, id_number=number)


def test_nobody_is_registered_twice(worker: Browser) -> None:
    register(worker)
    answer = worker.post("/residents/new", {**FORM, "id_number": f" {NUMBER[:6]} {NUMBER[6:]}"}, page="/residents/new")
    assert answer.status_code == 422 and "registered already" in answer.text


def test_the_street_reads_and_other_streets_do_not(app: Flask, worker: Browser) -> None:
    resident = register(worker)
    assert "陈*文" in sign_in(app, "street").get("/residents/").text
    assert "陈*文" in sign_in(app, "street").get(f"/residents/{resident}").text
    assert "13800138000" not in sign_in(app, "street").get(f"/residents/{resident}").text
    other = sign_in(app, "otherstreet")
    assert "陈*文" not in other.get("/residents/").text
    assert other.get(f"/residents/{resident}").status_code == 404
    assert "陈*文" not in other.post("/residents/", {"words": "陈大文"}, page="/residents/").text


@pytest.mark.parametrize("words", ["陈大文", NUMBER, NUMBER[-4:], "8000"])
def test_a_resident_is_found_and_no_address_holds_the_words(worker: Browser, words: str) -> None:
    resident = register(worker)
    assert f"/residents/{resident}" in worker.post("/residents/", {"words": words}, page="/residents/").text


def test_phone_and_home_change(house: House, worker: Browser, clock: Clock, app: Flask, vault: TestVault) -> None:
    resident = register(worker)
    fields = {"area_code": HERE, "phone": "139 0013 9000"}
    assert worker.post(f"/residents/{resident}/change", fields).status_code == 303
    assert "+8613900139000" in worker.get(f"/residents/{resident}").text
    answer = worker.post(f"/residents/{resident}/change", {"area_code": ELSEWHERE, "phone": ""})
    assert answer.status_code == 422
    assert actions(house) == ["resident.created", "resident.phone_changed"]


def test_from_entry_to_a_green_paper_code_at_the_entrance(
    app: Flask, house: House, worker: Browser, clock: Clock
) -> None:
    resident = register(worker)
    answer = worker.post(f"/residents/{resident}/papers")
    short_id = answer.location.rsplit("/", 1)[1]
    shown = text_on(worker.get(f"/papers/{short_id}/page.svg").data)
    seen = Kiosk(house).sees(shown, house.now())
    assert seen.credential is not None and seen.credential.colour is Colour.GREY  # nothing is known: not green
    assert worker.post(f"/residents/{resident}/statements", {"cause": "test_negative"}).status_code == 303
    clock.passes(minutes=5)
    seen = Kiosk(house).sees(shown, house.now())
    assert seen.valid and seen.credential is not None and seen.credential.colour is Colour.GREEN
    clock.passes(days=3)
    seen = Kiosk(house).sees(shown, house.now())
    assert seen.credential is not None and seen.credential.colour is Colour.GREY


def test_the_resident_gets_a_page_of_their_own(
    app: Flask, house: House, worker: Browser, clock: Clock, vault: TestVault
) -> None:
    resident = register(worker)
    with house.database.reading() as reading:
        name = reading.get_one(User, reading.get_one(Resident, resident).user_id).name
    stranger = Browser(app.test_client())
    assert stranger.post("/sign-in", {"name": name, "password": "-"}, page="/sign-in").status_code == 401
    page = worker.post(f"/residents/{resident}/account").text
    password = page.split('<code class="large">')[2].split("<")[0]
    assert name in page
    worker.post(f"/residents/{resident}/statements", {"cause": "no_risk_known"})
    own = sign_in(app, name, password)
    change = {"old": password, "new": PASSWORD, "again": PASSWORD}
    assert own.post("/password", change, page="/password").status_code == 303
    clock.passes(minutes=1)
    code = own.get("/me/code.json").json
    assert code is not None and code["colour"] == "green"
    found = checked(house, code["text"], clock())
    assert found.valid and found.credential is not None and found.credential.name_masked == "陈*文"
    assert worker.post(f"/residents/{resident}/account").status_code == 200  # the slip was lost: all sessions end
    assert own.get("/me/code").status_code == 303


def test_a_red_code_is_lifted_from_above_only(app: Flask, worker: Browser, clock: Clock) -> None:
    resident = register(worker)
    worker.post(f"/residents/{resident}/statements", {"cause": "close_contact"})
    clock.passes(hours=1)
    answer = worker.post(f"/residents/{resident}/statements", {"cause": "test_negative"})
    assert answer.status_code == 422 and "lifted by the district" in answer.text
    assert worker.post(f"/residents/{resident}/statements", {"cause": "test_positive"}).status_code == 303
    clock.passes(hours=1)
    district = sign_in(app, "district")
    assert district.post(f"/residents/{resident}/statements", {"cause": "test_negative"}).status_code == 303
    clock.passes(hours=1)
    assert "Green code" in worker.get(f"/residents/{resident}").text


def test_a_withdrawn_resident_leaves_nothing_of_the_person(
    app: Flask, house: House, worker: Browser, clock: Clock, vault: TestVault
) -> None:
    resident = register(worker)
    short_id = worker.post(f"/residents/{resident}/papers").location.rsplit("/", 1)[1]
    text_shown = text_on(worker.get(f"/papers/{short_id}/page.svg").data)
    page = worker.post(f"/residents/{resident}/account").text
    name, password = (part.split("<")[0] for part in page.split('<code class="large">')[1:])
    assert worker.post(f"/residents/{resident}/withdrawal", {"reason": ""}).status_code == 422
    assert worker.post(f"/residents/{resident}/withdrawal", {"reason": "moved away"}).status_code == 303
    clock.passes(minutes=1)
    with house.database.reading() as reading:
        row = reading.get_one(Resident, resident)
        assert row.identity == b"" and row.number_tag is None and row.withdrawn_at == NOON
        assert first_break(reading) is None
    assert worker.get(f"/residents/{resident}").status_code == 404
    assert worker.post(f"/residents/{resident}/papers").status_code == 404
    assert not Kiosk(house).sees(text_shown, house.now()).valid
    stranger = Browser(app.test_client())
    assert stranger.post("/sign-in", {"name": name, "password": password}, page="/sign-in").status_code == 401
    register(worker)  # the same person may come back, as a new entry


def test_a_table_is_looked_at_first_and_taken_whole(house: House, worker: Browser) -> None:
    register(worker)
    table = f"name,id_number,phone,area\n陈大文,{NUMBER},,{HERE}\n林小花,{OTHER},13900139000,{HERE}\n"
    page = upload(worker, table)
    assert "1 new" in page and "1 registered already" in page and "林*花" in page
    with house.database.reading() as reading:
        assert reading.query(Resident).count() == 1  # nothing was done
    answer = worker.post("/residents/import/now", {"text": table.replace("\n", "\r\n")})
    assert answer.status_code == 303
    with house.database.reading() as reading:
        assert reading.query(Resident).count() == 2
        assert reading.query(AuditEvent).filter_by(action="resident.created", reason="import").count() == 1


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (f"林小花,{OTHER},13900139000,{ELSEWHERE}", "no community or grid of yours"),
        (f"林小花,{OTHER[:-1]},,{HERE}", "18 characters"),
        (f"林小花,{OTHER},,{HERE}\n林小花,{OTHER},,{HERE}", "twice"),
        (f"林小花,{OTHER},no,{HERE}", "phone number"),
    ],
)
def test_one_bad_line_stops_a_table(house: House, worker: Browser, row: str, says: str) -> None:
    table = f"name,id_number,phone,area\n陈大文,{NUMBER},,{HERE}\n{row}\n"
    page = upload(worker, table)
    assert says in page and "Register these" not in page
    assert worker.post("/residents/import/now", {"text": table}).status_code == 422
    with house.database.reading() as reading:
        assert reading.query(Resident).count() == 0


@pytest.mark.parametrize(
    "table",
    [
        b"",
        b"\xff\xfe\x00\x01",
        "a,b\n1,2\n",
        "name,id_number,phone,area\n",
        'name,id_number,phone,area\n"open',
        "name,id_number,phone,area\n1,2,3,4,5\n",
        b"name,id_number,phone,area\n" + b"x" * 200_000,
        "name,id_number,phone,area\n" + "x,y,z,w\n" * 1001,
    ],
)
def test_what_is_no_table_is_refused_in_words(house: House, worker: Browser, table: str | bytes) -> None:
    page = upload(worker, table)
    assert 'class="problem"' in page and "Register these" not in page


def test_a_table_of_a_chinese_spreadsheet_is_read(worker: Browser) -> None:
    table = f"姓名,证件号码,手机号,区域代码\n林小花,{OTHER},,{HERE}\n".encode("gb18030")
    assert "1 new" in upload(worker, table)


def test_every_text_of_the_register_has_its_chinese(app: Flask, worker: Browser, clock: Clock, house: House) -> None:
    resident = register(worker)
    put_resident(app, house, "ee" * 8)
    clock.passes(hours=1)
    for path in ("/residents/", "/residents/new", "/residents/import", f"/residents/{resident}"):
        assert '<span lang="en">' not in worker.get(path).text, path
    assert '<span lang="en">' not in upload(worker, f"name,id_number,phone,area\n林小花,{OTHER},,{HERE}\n")
    assert '<span lang="en">' not in upload(worker, f"name,id_number,phone,area\nx,1,,{HERE}\n")
