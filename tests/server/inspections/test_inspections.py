"""Inspections: draws that can be repeated, photographs, an order to its end or to a suspended code, and the score."""

from __future__ import annotations

import io
import re
from datetime import timedelta

from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from server.cases.kernel import entries_of
from server.cases.models import Case
from server.cases.ticking import tick
from server.codes.models import VenueCode
from server.context import House
from server.inspections.drawing import digest_of, draw
from server.inspections.models import InspectionDraw
from server.inspections.scores import score_of
from tests.server.files import bomb, picture, with_position
from tests.server.people import LIBRARY, NOON, Browser, Clock, hang, open_code, sign_in
from tests.server.tipoffs.test_tipoffs import take

DRAW = {"area_code": "510104", "count": "1", "planned_on": "2026-03-03"}
IDS = st.lists(st.binary(min_size=6, max_size=6).map(bytes.hex), unique=True, min_size=1, max_size=40)


@given(IDS, st.binary(min_size=32, max_size=32), st.randoms())
def test_a_draw_is_the_same_for_everybody_and_in_any_order(ids: list[str], seed: bytes, random: object) -> None:
    shuffled = list(ids)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    whole = draw(seed, ids, len(ids))
    assert draw(seed, shuffled, 3) == whole[:3] and sorted(whole) == sorted(ids)
    assert digest_of(ids) == digest_of(shuffled)


def test_every_venue_is_drawn_about_as_often() -> None:
    ids = [n.to_bytes(6, "big").hex() for n in range(10)]
    counts = dict.fromkeys(ids, 0)
    for n in range(2000):
        for one in draw(n.to_bytes(32, "big"), ids, 2):
            counts[one] += 1
    assert all(320 < count < 480 for count in counts.values()), counts  # 400 expected, 4 sigma


def drawn(app: Flask, house: House) -> tuple[Browser, str]:
    """An inspection of the library that came out of a draw."""
    street = sign_in(app, "street")
    answer = street.post("/inspections/draws", {**DRAW, "area_code": "510104001"})
    assert answer.status_code == 303, answer.text
    with house.database.reading() as reading:
        return street, reading.scalars(select(Case.id).where(Case.machine == "inspection")).one()


def test_a_draw_stays_and_can_be_checked(app: Flask, house: House) -> None:
    street, case_id = drawn(app, house)
    with house.database.reading() as reading:
        row = reading.scalars(select(InspectionDraw)).one()
        case = reading.get_one(Case, case_id)
        assert (row.candidates, row.picked, case.facts["draw"]) == ([LIBRARY.hex()], [LIBRARY.hex()], row.id)
        draw_id = row.id
    assert "结果一致" in street.get(f"/inspections/draws/{draw_id}").text
    assert sign_in(app, "otherstreet").get(f"/inspections/draws/{draw_id}").status_code == 404
    again = street.post("/inspections/draws", {**DRAW, "area_code": "510104001"})
    assert again.status_code == 422  # nobody is left to be drawn
    for name in ("operator", "staff"):  # unannounced
        assert sign_in(app, name).get(f"/inspections/{case_id}").status_code == 404
        assert sign_in(app, name).get(f"/cases/case/{case_id}").status_code == 404
    with house.database.writing() as writing:
        writing.get_one(InspectionDraw, draw_id).seed = bytes(32)
        writing.get_one(InspectionDraw, draw_id).candidates = ["00" * 6, LIBRARY.hex()]
    assert "重算结果不一致" in street.get(f"/inspections/draws/{draw_id}").text
    assert sign_in(app, "inspector").post("/inspections/draws", DRAW).status_code == 403
    assert street.post("/inspections/draws", {**DRAW, "area_code": "510105001"}).status_code == 422


def add(browser: Browser, case_id: str, data: bytes) -> int:
    fields = {"csrf_token": browser.token("/password"), "file": (io.BytesIO(data), "x")}
    return browser.client.post(f"/inspections/{case_id}/photos", data=fields).status_code


def ordered(app: Flask, house: House) -> tuple[Browser, Browser, Browser, str]:
    street, case_id = drawn(app, house)
    inspector, operator = sign_in(app, "inspector"), sign_in(app, "operator")
    assert add(inspector, case_id, picture()) == 403  # before it began
    assert take(inspector, case_id, "start") == 303
    assert add(inspector, case_id, with_position()) == 303
    assert add(inspector, case_id, bomb()) == 422
    assert take(inspector, case_id, "record", found="海报破损") == 303
    assert take(inspector, case_id, "find") == 303
    assert take(street, case_id, "order", order="更换海报", due_on="2026-03-05") == 303
    return street, inspector, operator, case_id


def test_found_ordered_answered_rechecked_and_closed(app: Flask, house: House) -> None:
    street, inspector, operator, case_id = ordered(app, house)
    page = f"/inspections/{case_id}"
    photos = re.findall(rf'src="({page}/photos/[0-9a-f]+)"', operator.get(page).text)
    assert len(photos) == 1
    assert b"SecretCam" not in operator.get(photos[0]).data
    for name in ("marketkeeper", "otherstreet", "wang"):
        assert sign_in(app, name).get(photos[0]).status_code == 404, name
    assert add(operator, case_id, picture()) == 303
    assert take(operator, case_id, "submit", answer="已更换") == 303
    assert add(operator, case_id, picture()) == 403
    assert take(inspector, case_id, "recheck", recheck="属实") == 303
    assert take(inspector, case_id, "close") == 403
    assert take(street, case_id, "close") == 303
    with house.database.reading() as reading:
        case = reading.get_one(Case, case_id)
        reasons = [entry.reason for entry in entries_of(reading, case)]
        assert sum(reason.startswith("photo ") for reason in reasons) == 2  # in the chain, by digest
        score = score_of(reading, LIBRARY, NOON)
    assert (score.value, [item.points for item in score.items]) == (90, [-10])
    assert "被责令整改" in operator.get(f"/venues/{LIBRARY.hex()}/score").text
    assert "90" in inspector.get("/inspections/scores").text
    assert sign_in(app, "marketkeeper").get(f"/venues/{LIBRARY.hex()}/score").status_code == 404


def test_an_overdue_order_ends_in_a_suspended_code(app: Flask, house: House, clock: Clock) -> None:
    serial = open_code(app)
    hang(app, serial)
    _street, _inspector, _operator, case_id = ordered(app, house)
    clock.passes(days=4)
    with app.app_context():
        tick(house, clock())
    street = sign_in(app, "street")
    assert take(street, case_id, "escalate", reason="逾期未整改") == 303
    with house.database.reading() as reading:
        assert reading.get_one(VenueCode, serial).state == "suspended"
        score = score_of(reading, LIBRARY, clock())
        assert score.value == 100 - 10 - 15 - 20
        assert score_of(reading, LIBRARY, clock() + timedelta(days=366)).value is None
    assert "暂停" in sign_in(app, "operator").get(f"/inspections/{case_id}").text
