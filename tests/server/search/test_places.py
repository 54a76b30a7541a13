"""Where things lie and by what they are found stays true, whatever is added, renamed or moved."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import select

from server.codes.models import VenueCode
from server.context import House
from server.kiosks.models import Kiosk
from server.search.models import SearchEntry
from server.venues.models import Entrance, Venue
from server.web import pages
from tests.server.people import KIOSK, LIBRARY, Browser, open_code, put_kiosk

AsPerson = Callable[[str], Browser]
STREET = "510000/510100/510104/510104001/510104001001/"
OTHER = "510000/510100/510105/510105001/510105001001/"


def entries(house: House) -> dict[tuple[str, int], tuple[str, str]]:
    with house.database.reading() as reading:
        rows = reading.scalars(select(SearchEntry).where(SearchEntry.venue_id == LIBRARY))
        return {(row.kind, row.entrance): (row.area_path, row.words) for row in rows}


def next_page(page: str) -> str:
    return page.split('class="button second" href="')[1].split('"')[0].replace("&amp;", "&")


def test_each_venue_entrance_and_kiosk_has_its_words(house: House) -> None:
    put_kiosk(house)
    assert entries(house) == {
        ("venue", 0): (STREET, "锦江图书馆 jinjiang library 人民路 1 号"),
        ("entrance", 1): (STREET, "锦江图书馆 jinjiang library 东门 east gate"),
        ("entrance", 2): (STREET, "锦江图书馆 jinjiang library 西门 west gate"),
        ("kiosk", 1): (STREET, f"东门左 {KIOSK.hex()} 锦江图书馆"),
    }


def test_paths_and_words_follow_when_a_venue_moves_and_things_are_renamed(app: Flask, house: House) -> None:
    put_kiosk(house)
    open_code(app)
    with house.database.writing() as writing:
        venue = writing.get_one(Venue, LIBRARY)
        venue.area_code, venue.name_zh = "510105001001", "新馆"
        writing.get_one(Entrance, (LIBRARY, 2)).name_zh = "北门"
        writing.get_one(Kiosk, KIOSK).name = "右机"
    with house.database.reading() as reading:
        venue = reading.get_one(Venue, LIBRARY)
        assert venue.area_path == OTHER
        assert reading.scalars(select(VenueCode.area_path)).all() == [OTHER]
        assert reading.scalars(select(Kiosk.area_path)).all() == [OTHER]
    found = entries(house)
    assert {path for path, _ in found.values()} == {OTHER}
    assert found["entrance", 2][1] == "新馆 jinjiang library 北门 west gate"
    assert found["kiosk", 1][1] == f"右机 {KIOSK.hex()} 新馆"


def test_a_list_of_kiosks_goes_on_where_its_page_ended(
    house: House, as_person: AsPerson, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGE_ROWS", 2)
    monkeypatch.setattr("server.kiosks.views.PAGE_ROWS", 2)
    ids = [bytes([number]) * 8 for number in range(1, 6)]
    for kiosk in ids:
        put_kiosk(house, kiosk)
    street, path, seen = as_person("street"), "/kiosks", []
    for _ in range(3):
        page = street.get(path).text
        seen += [kiosk for kiosk in ids if f"/kiosks/{kiosk.hex()}" in page]
        path = (
            page.split('class="button second" href="')[1].split('"')[0].replace("&amp;", "&") if len(seen) < 5 else ""
        )
    assert seen == ids


def test_a_list_of_cases_goes_on_where_its_page_ended(
    app: Flask, as_person: AsPerson, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGE_ROWS", 1)
    monkeypatch.setattr("server.cases.lists.PAGE_ROWS", 1)
    open_code(app, 1)
    open_code(app, 2)
    street = as_person("street")
    page = street.get("/cases/venue_code/").text
    path = next_page(page)
    assert path.startswith("/cases/venue_code/?after=")
    assert street.get(path).status_code == 200
    hostile = street.get("/cases/venue_code/?_external=1&_scheme=javascript&endpoint=static")
    assert next_page(hostile.text).startswith(
        "/cases/venue_code/?_external=1&_scheme=javascript&endpoint=static&after="
    )
