"""A list taken away as a file: what its page shows and no more, without formulas or persons, and on record."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Callable
from xml.etree import ElementTree

import pytest
from flask import Flask
from sqlalchemy import select

from server.audit import AuditEvent
from server.context import House
from server.exports import views
from server.exports.tables import TABLES
from server.venues.models import Venue
from server.web.language import catalogue
from tests.server.people import KIOSK, LIBRARY, MARKET, PEOPLE, Browser, open_code, put_kiosk

AsPerson = Callable[[str], Browser]
SPREADSHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def rows_of(browser: Browser, path: str) -> list[list[str]]:
    answer = browser.post(path)
    assert answer.status_code == 200, answer.status_code
    assert answer.data.startswith("\ufeff".encode()) and answer.mimetype == "text/csv"
    return list(csv.reader(io.StringIO(answer.data.decode("utf-8-sig"))))


@pytest.fixture
def places(app: Flask, house: House) -> None:
    put_kiosk(house)
    put_kiosk(house, bytes.fromhex("feed000000000000"), MARKET, name="市场门机")
    open_code(app)


@pytest.mark.parametrize("name", PEOPLE)
def test_each_role_takes_away_what_its_page_shows(name: str, places: None, as_person: AsPerson) -> None:
    browser = as_person(name)
    for table in TABLES:
        page = browser.get(f"/{table.name}")
        answer = browser.post(f"/exports/{table.name}.csv")
        assert (page.status_code == 200) == (answer.status_code == 200), table.name
        for mark in ("锦江图书馆", "青羊市场", "市场门机"):
            assert (mark in page.text) == (mark in answer.text), (table.name, mark)


def test_filters_of_the_page_carry_into_the_file(places: None, as_person: AsPerson) -> None:
    tech = as_person("tech")
    assert {row[1] for row in rows_of(tech, "/exports/venues.csv")[2:]} == {"锦江图书馆", "青羊市场"}
    found = rows_of(tech, "/exports/venues.csv?q=青羊")
    assert [row[1] for row in found[2:]] == ["青羊市场"] and "q = 青羊" in found[0][2]
    assert len(rows_of(tech, "/exports/kiosks.csv?condition=suspended")) == 2


def test_no_column_holds_a_person(places: None, as_person: AsPerson) -> None:
    for table in TABLES:
        text = as_person("inspector").post(f"/exports/{table.name}.csv").text
        assert "李管理" not in text and "028-5550100" not in text


def test_nothing_becomes_a_formula_or_a_link(house: House, as_person: AsPerson) -> None:
    with house.database.writing() as writing:
        venue = writing.get_one(Venue, LIBRARY)
        venue.name_zh, venue.name_en, venue.address = "=1+1", "@SUM(A1)\n+2", "http://example.org/x"
    found = rows_of(as_person("street"), "/exports/venues.csv")[2]
    assert found[1:3] == ["'=1+1", "'@SUM(A1) +2"]
    book = zipfile.ZipFile(io.BytesIO(as_person("street").post("/exports/venues.xlsx").data))
    sheet = ElementTree.fromstring(book.read("xl/worksheets/sheet1.xml"))
    assert sheet.findall(f".//{SPREADSHEET}f") == [] and sheet.findall(f".//{SPREADSHEET}hyperlink") == []
    texts = [text.text for text in sheet.iter(f"{SPREADSHEET}t")]
    assert "=1+1" in texts and "http://example.org/x" in texts


def test_an_export_is_on_record_before_it_is_read(places: None, house: House, as_person: AsPerson) -> None:
    as_person("street").post("/exports/kiosks.csv?condition=alive")
    with house.database.reading() as reading:
        event = reading.scalars(select(AuditEvent).where(AuditEvent.action == "list.exported")).one()
    assert (event.object_id, event.reason) == ("kiosks", "csv, filter condition")


def test_an_export_ends_at_its_most_rows(house: House, as_person: AsPerson, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1, 6):
        put_kiosk(house, bytes([number]) * 8)
    monkeypatch.setattr(views, "MOST_ROWS", 3)
    assert len(rows_of(as_person("street"), "/exports/kiosks.csv")) == 2 + 3


def test_an_export_wants_the_form_s_token_and_a_list_that_exists(app: Flask, as_person: AsPerson) -> None:
    street = as_person("street")
    assert street.client.post("/exports/kiosks.csv").status_code == 400
    assert street.post("/exports/users.csv").status_code == 404
    assert street.client.get("/exports/kiosks.csv").status_code == 405


def test_the_page_offers_its_list_with_its_filters(places: None, as_person: AsPerson) -> None:
    page = as_person("street").get("/kiosks?condition=alive").text
    assert re.search(r'action="/exports/kiosks\.csv\?condition=alive"', page)
    assert KIOSK.hex() in page


def test_every_column_has_its_chinese() -> None:
    messages = {table.label for table in TABLES} | {column.label for table in TABLES for column in table.columns}
    assert [message for message in sorted(messages) if catalogue().gettext(message) == message] == []
