"""Venues: adding, changing, searching, and staying inside one's own area."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import select

from server.context import House
from server.venues.models import Entrance, Venue
from tests.server.people import LIBRARY, MARKET, Browser

V = LIBRARY.hex()
FIELDS = {"name_zh": "新书店", "name_en": "Bookshop", "address": "书院街 2 号", "category": "shop"}
HERE, ELSEWHERE = "510104001001", "510105001001"


def test_a_street_adds_a_venue_and_its_entrances(house: House, as_person: Callable[[str], Browser]) -> None:
    street = as_person("street")
    added = street.post("/venues/new", {**FIELDS, "area_code": HERE}, page="/venues/new")
    assert added.status_code == 303
    for name in ("正门", "后门"):
        assert street.post(f"{added.location}/entrances", {"name_zh": name, "name_en": ""}).status_code == 303
    with house.database.reading() as reading:
        venue = reading.scalars(select(Venue).where(Venue.name_zh == "新书店")).one()
        assert [(door.number, door.name_zh) for door in venue.entrances] == [(1, "正门"), (2, "后门")]


@pytest.mark.parametrize(
    "fields",
    [
        {**FIELDS, "area_code": ELSEWHERE},
        {**FIELDS, "area_code": "nowhere"},
        {**FIELDS},
        {**FIELDS, "area_code": HERE, "name_zh": ""},
        {**FIELDS, "area_code": HERE, "name_zh": "长" * 81},
        {**FIELDS, "area_code": HERE, "category": "casino"},
        {**FIELDS, "area_code": HERE, "keeper_phone": "call me"},
    ],
)
def test_a_venue_that_cannot_be_is_refused(
    house: House, as_person: Callable[[str], Browser], fields: dict[str, str]
) -> None:
    answer = as_person("street").post("/venues/new", fields)
    assert answer.status_code == 422
    with house.database.reading() as reading:
        assert reading.query(Venue).count() == 2


def test_a_venue_cannot_be_moved_out_of_ones_area(house: House, as_person: Callable[[str], Browser]) -> None:
    assert as_person("street").post(f"/venues/{V}/edit", {**FIELDS, "area_code": ELSEWHERE}).status_code == 422
    with house.database.reading() as reading:
        assert reading.get_one(Venue, LIBRARY).area_code == HERE


@pytest.mark.parametrize(
    ("words", "found"), [("图书馆", 1), ("LIBRARY", 1), ("人民路", 1), ("%", 0), ("_", 0), ("市场", 0)]
)
def test_search_takes_words_as_they_are_and_stays_in_the_area(
    as_person: Callable[[str], Browser], words: str, found: int
) -> None:
    page = as_person("street").client.get("/venues", query_string={"q": words}).text
    assert page.count('href="/venues/a1') == found
    assert MARKET.hex() not in page


def test_an_operator_sees_their_venue_and_no_other(as_person: Callable[[str], Browser]) -> None:
    operator = as_person("operator")
    page = operator.get("/venues").text
    assert "锦江图书馆" in page and "青羊市场" not in page
    assert operator.get(f"/venues/{MARKET.hex()}").status_code == 404


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7*7 }}", "%(name)s %s", "' OR 1=1 --"]
)
def test_names_are_text_on_every_page(house: House, as_person: Callable[[str], Browser], name: str) -> None:
    street = as_person("street")
    fields = {**FIELDS, "area_code": HERE, "name_zh": name, "name_en": name, "address": name, "keeper_name": name}
    venue_page = street.post("/venues/new", fields).location
    street.post(f"{venue_page}/entrances", {"name_zh": name, "name_en": name})
    code_page = street.post(f"{venue_page}/entrances/1/codes").location
    for path in (
        "/",
        "/venues",
        venue_page,
        f"{venue_page}/edit",
        "/codes",
        code_page,
        "/audit",
        f"{venue_page}/enrol",
    ):
        page = street.get(path)
        assert page.status_code == 200, path
        assert "<script>alert" not in page.text and "<img src=x" not in page.text and ">49<" not in page.text, path


def test_an_entrance_closes_once(house: House, as_person: Callable[[str], Browser]) -> None:
    street = as_person("street")
    street.post(f"/venues/{V}/entrances/2/close", {"reason": ""})
    with house.database.reading() as reading:
        assert reading.get_one(Entrance, (LIBRARY, 2)).closed_at is None, "without a reason nothing happens"
    assert street.post(f"/venues/{V}/entrances/2/close", {"reason": "封闭"}).status_code == 303
    assert street.post(f"/venues/{V}/entrances/2/close", {"reason": "封闭"}).status_code == 404
