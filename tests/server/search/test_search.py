"""The search finds what a person may open, all of it, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from flask import Flask

from server.context import House
from tests.server.people import KIOSK, LIBRARY, MARKET, PEOPLE, Browser, open_code, put_kiosk, put_resident

AsPerson = Callable[[str], Browser]
OTHER_KIOSK = bytes.fromhex("feed000000000000")


def found(browser: Browser, words: str) -> list[str]:
    """The addresses that the page leads to."""
    answer = browser.client.get("/search", query_string={"q": words})
    assert answer.status_code == 200
    return re.findall(r'<li><a href="([^"]+)">', answer.text.split('id="content"')[1])


@pytest.fixture
def furnished_places(app: Flask, house: House) -> list[tuple[str, str]]:
    """Words, and the address of what they stand for: in the library's district and in the market's."""
    put_kiosk(house)
    put_kiosk(house, OTHER_KIOSK, MARKET, name="市场门机")
    serial = open_code(app)
    return [
        ("图书馆", f"/venues/{LIBRARY.hex()}"),
        ("QINGYANG", f"/venues/{MARKET.hex()}"),
        ("人民路 市场", f"/venues/{MARKET.hex()}"),
        ("锦江 西门", f"/venues/{LIBRARY.hex()}"),
        ("东门左", f"/kiosks/{KIOSK.hex()}"),
        ("feed00", f"/kiosks/{OTHER_KIOSK.hex()}"),
        (f"{serial:08x}", f"/codes/{serial}"),
    ]


@pytest.mark.parametrize("name", PEOPLE)
def test_each_role_finds_exactly_what_it_may_open(
    name: str, furnished_places: list[tuple[str, str]], as_person: AsPerson
) -> None:
    browser = as_person(name)
    for words, address in furnished_places:
        hits = found(browser, words)
        assert (address in hits) == (browser.get(address).status_code == 200), (words, address)
        assert [hit for hit in hits if browser.get(hit).status_code != 200] == []


def test_a_case_is_found_by_its_number_and_with_its_venue(app: Flask, as_person: AsPerson) -> None:
    open_code(app)
    street = as_person("street")
    (case,) = [hit for hit in found(street, "锦江图书馆") if hit.startswith("/cases/")]
    assert found(street, case.rsplit("/", 1)[1]) == [case]
    assert case not in found(as_person("otherstreet"), case.rsplit("/", 1)[1])


@pytest.mark.parametrize("words", ["%", "_", "/", "'; DROP TABLE venue; --", "\\", "<b>", " ", "z " * 60])
def test_signs_are_only_signs(words: str, as_person: AsPerson) -> None:
    assert found(as_person("street"), words) in ([], [f"/venues/{LIBRARY.hex()}"])
    page = as_person("street").client.get("/search", query_string={"q": words}).text
    assert "<b><b>" not in page and 'value="<' not in page


@pytest.mark.parametrize("number", ["13800138001", "510104199003077533", "51010419900307753X", "138 0013 8001"])
def test_numbers_of_people_are_not_searched_and_not_shown_again(number: str, as_person: AsPerson) -> None:
    text = as_person("worker").client.get("/search", query_string={"q": number}).text
    assert number not in text and "身份证号或手机号" in text


def test_residents_are_looked_for_only_by_a_form_and_only_where_the_role_may(
    app: Flask, house: House, as_person: AsPerson
) -> None:
    put_resident(app, house, "ab" * 8)
    assert found(as_person("worker"), "居小民") == []
    form = 'action="/residents/"'
    assert form in as_person("worker").get("/search").text
    for name in ("operator", "inspector", "tech", "city", "wang"):
        assert form not in as_person(name).get("/search").text


def test_the_field_is_on_each_page_of_those_who_have_something_to_search(as_person: AsPerson) -> None:
    assert 'role="search"' in as_person("operator").get("/account/").text
    assert 'role="search"' not in as_person("wang").get("/account/").text
