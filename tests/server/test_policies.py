"""Profiles, emergencies and a venue's terms: who may set them, what is refused, and what the kiosks are told."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask

from protocol.bundle import PlaceNames
from protocol.policy import EntryPolicy
from protocol.profile import Conduct, Hours, Mode, Profile, VenueRules, pick, profiles_from_bytes
from server.audit import AuditEvent
from server.bundles.models import BundlePart
from server.bundles.parts import venue_scope
from server.bundles.publishing import publish_all
from server.context import House
from server.policies.forms import span_of, span_text
from tests.server.ingest.fleet import install_vault
from tests.server.people import LIBRARY, MARKET, PEOPLE, Browser, Clock, put_kiosk, sign_in

V = LIBRARY.hex()
READERS = {"city", "district", "street", "otherstreet", "worker", "inspector"}
COMMAND = {"city", "district", "street", "otherstreet"}
RUNNERS = {"city", "district", "street", "worker", "operator"}

FILLED = {
    "fever_from_celsius": "37.0",
    "remeasure_count": "1",
    "reading_wait_s": "8",
    "health_code_max_age_s": "300",
    "status_max_age_h": "12",
    "bundle_max_age_h": "48",
    "typed_entries_admit": "y",
    "accepts": "health_code",
    "enter_after_s": "5",
    "leave_after_s": "30",
    "opening_test_blocks": "y",
    "near_full_percent": "80",
    "full_holds": "y",
}
CITY_AREA, STREET_AREA = "area:510100", "area:510104001"


@pytest.fixture(autouse=True)
def kiosks(house: House) -> Iterator[None]:
    install_vault(house)
    put_kiosk(house)
    put_kiosk(house, bytes.fromhex("c0ffee00c0ffee01"), MARKET)
    yield


def emergency(clock: Clock, where: str = STREET_AREA, hours: float = 6, **more: str) -> dict[str, str]:
    local = clock.at + timedelta(hours=8 + hours)  # the pages' zone is Chengdu's
    return {"where": where, "reason": "风险升级", "until": local.strftime("%Y-%m-%dT%H:%M"), **more}


def told(house: House, clock: Clock, venue: bytes = LIBRARY) -> VenueRules:
    publish_all(house, clock.at)
    with house.database.reading() as reading:
        return VenueRules.from_bytes(reading.get_one(BundlePart, (venue_scope(venue), "venue")).data)


def profile(house: House, clock: Clock, category: str, mode: Mode = Mode.NORMAL) -> Profile:
    publish_all(house, clock.at)
    with house.database.reading() as reading:
        held = profiles_from_bytes(reading.get_one(BundlePart, ("", "profiles")).data)
    return pick(held, category, mode, EntryPolicy())


def trail(house: House) -> list[tuple[str, str]]:
    with house.database.reading() as reading:
        return [(e.action, e.reason) for e in reading.query(AuditEvent).order_by(AuditEvent.sequence)]


@pytest.mark.parametrize("name", sorted(PEOPLE))
def test_each_person_gets_exactly_what_the_matrix_says(app: Flask, name: str) -> None:
    browser = sign_in(app, name)
    for path, allowed in (
        ("/profiles", READERS),
        ("/profiles/all/normal", {"city"}),
        ("/emergency", COMMAND),
        (f"/venues/{V}/terms", RUNNERS),
    ):
        assert (browser.get(path).status_code == 200) == (name in allowed), path
    for path, allowed in (
        ("/profiles/market/emergency", {"city"}),
        ("/emergency", COMMAND),
        (f"/venues/{V}/terms", RUNNERS),
    ):
        assert (browser.post(path, {}).status_code not in {403, 404}) == (name in allowed), path
    if name != "city":
        assert browser.post("/profiles/all/normal/clearing").status_code in {403, 404}


def test_strangers_see_nothing(app: Flask) -> None:
    for path in ("/profiles", "/emergency", f"/venues/{V}/terms"):
        assert app.test_client().get(path).status_code == 303


def test_a_changed_profile_reaches_that_kind_of_venue_alone_and_can_be_taken_back(
    app: Flask, house: House, clock: Clock
) -> None:
    assert profile(house, clock, "culture") == Profile("", Mode.NORMAL, EntryPolicy())
    city = sign_in(app, "city")
    assert city.post("/profiles/culture/normal", FILLED).status_code == 303
    found = profile(house, clock, "culture")
    assert (found.category, found.entry.fever_from_celsius, found.entry.bundle_max_age_s) == ("culture", 37.0, 172_800)
    assert found.entry.accepts == ("health_code",) and found.entry.typed_entries_admit
    assert found.conduct == Conduct(5, 30, True, 80, True, False)
    assert profile(house, clock, "market").entry == EntryPolicy()
    assert [a for a, why in trail(house) if a.startswith("policy") and "37.3 -> 37.0" in why] == ["policy.changed"]
    assert "37.0" in city.get("/profiles/culture/normal").text and "单独规则" in city.get("/profiles").text
    assert city.post("/profiles/culture/normal/clearing").status_code == 303
    assert profile(house, clock, "culture").entry == EntryPolicy()
    assert city.post("/profiles/culture/normal/clearing").status_code == 404


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("fever_from_celsius", "39.1"),
        ("fever_from_celsius", "nan"),
        ("fever_from_celsius", ""),
        ("health_code_max_age_s", "601"),
        ("enter_after_s", "61"),
        ("leave_after_s", "0"),
        ("near_full_percent", "49"),
        ("accepts", "lottery_ticket"),
        ("accepts", ""),
        ("bundle_max_age_h", "0"),
    ],
)
def test_limits_that_a_kiosk_would_not_take_are_refused_at_the_form(
    app: Flask, house: House, field: str, value: str
) -> None:
    assert sign_in(app, "city").post("/profiles/all/normal", {**FILLED, field: value}).status_code == 422
    assert not [a for a, _ in trail(house) if a == "policy.changed"]


def test_no_profile_is_made_for_a_kind_or_mode_that_does_not_exist(app: Flask) -> None:
    city = sign_in(app, "city")
    for path in ("/profiles/circus/normal", "/profiles/market/panic", "/profiles//normal"):
        assert city.post(path, FILLED).status_code == 404


def test_an_emergency_without_a_profile_of_its_own_is_stricter_than_normal(house: House, clock: Clock) -> None:
    strict = profile(house, clock, "market", Mode.EMERGENCY)
    assert strict.entry.stale_rules_hold and strict.conduct.full_holds


def test_an_emergency_holds_in_its_area_and_ends_by_itself(app: Flask, house: House, clock: Clock) -> None:
    assert told(house, clock) == VenueRules()
    assert sign_in(app, "street").post("/emergency", emergency(clock)).status_code == 303
    rules = told(house, clock)
    assert rules.mode is Mode.EMERGENCY and rules.mode_since_ms < rules.mode_until_ms
    assert told(house, clock, MARKET).mode is Mode.NORMAL
    assert ("emergency.begun", "风险升级") in trail(house)
    page = sign_in(app, "district").get("/emergency").text
    assert "风险升级" in page and "Street" in page
    clock.passes(hours=7)
    assert told(house, clock).mode is Mode.NORMAL
    assert "到期结束" in sign_in(app, "district").get("/emergency").text


def test_an_emergency_is_ended_by_name_and_reason(app: Flask, house: House, clock: Clock) -> None:
    city, street = sign_in(app, "city"), sign_in(app, "street")
    city.post("/emergency", emergency(clock, f"venue:{MARKET.hex()}"))
    assert told(house, clock, MARKET).mode is Mode.EMERGENCY and told(house, clock).mode is Mode.NORMAL
    (path,) = _ends(city)
    assert street.post(path, {"reason": "x"}).status_code == 404  # another street's
    assert city.post(path, {"reason": ""}).status_code == 303
    assert told(house, clock, MARKET).mode is Mode.EMERGENCY
    assert city.post(path, {"reason": "解除"}).status_code == 303
    assert told(house, clock, MARKET).mode is Mode.NORMAL
    assert city.post(path, {"reason": "解除"}).status_code == 404
    assert ("emergency.ended", "解除") in trail(house)


def _ends(browser: Browser) -> list[str]:
    import re

    return re.findall(r'action="(/emergency/[0-9a-f]{16}/end)"', browser.get("/emergency").text)


@pytest.mark.parametrize("hours", [-1, 0, 91 * 24])
def test_an_emergency_needs_an_end_to_come(app: Flask, house: House, clock: Clock, hours: float) -> None:
    assert sign_in(app, "city").post("/emergency", emergency(clock, hours=hours)).status_code == 422
    assert told(house, clock).mode is Mode.NORMAL


def test_nobody_switches_a_place_out_of_reach(app: Flask, house: House, clock: Clock) -> None:
    for where in (CITY_AREA, "area:510105001", f"venue:{MARKET.hex()}", "area:nowhere", "venue:zz", ""):
        assert sign_in(app, "street").post("/emergency", emergency(clock, where)).status_code == 422, where
    assert told(house, clock, MARKET).mode is Mode.NORMAL


def test_a_venues_terms_reach_its_kiosks(app: Flask, house: House, clock: Clock) -> None:
    operator = sign_in(app, "operator")
    week = {"monday": "8:00 - 22:00", "saturday": "20:00-02:00"}
    sent = {"capacity": "300", "elsewhere_zh": "请走西门", "elsewhere_en": "Use the West gate", **week}
    assert operator.post(f"/venues/{V}/terms", sent).status_code == 303
    rules = told(house, clock)
    assert (rules.capacity, rules.elsewhere_zh) == (300, "请走西门")
    closed = Hours(0, 0)
    assert rules.hours == (Hours(480, 1320), *[closed] * 4, Hours(1200, 1560), closed)
    page = operator.get(f"/venues/{V}/terms").text
    assert 'value="08:00-22:00"' in page and 'value="20:00-02:00"' in page and 'value="300"' in page
    assert operator.post(f"/venues/{V}/terms", {"capacity": "0"}).status_code == 303
    assert told(house, clock) == VenueRules()
    assert operator.post(f"/venues/{MARKET.hex()}/terms", sent).status_code == 404


@pytest.mark.parametrize(
    "wrong", [{"monday": "25:00-26:00"}, {"monday": "always"}, {"capacity": "-1"}, {"capacity": "x"}]
)
def test_terms_that_cannot_be_meant_are_refused(app: Flask, wrong: dict[str, str]) -> None:
    assert sign_in(app, "operator").post(f"/venues/{V}/terms", {"capacity": "5", **wrong}).status_code == 422


@pytest.mark.parametrize("text", ["08:00-22:00", "20:00-02:00", "00:00-00:00"])
def test_hours_come_back_as_they_were_typed(text: str) -> None:
    day = span_of(text)
    assert day is not None and span_text(day) == text


def test_a_kiosks_place_and_rules_fit_together(house: House, clock: Clock) -> None:
    publish_all(house, clock.at)
    with house.database.reading() as reading:
        place = next(row for row in reading.query(BundlePart).filter_by(name="place"))
        assert PlaceNames.from_bytes(place.data).category == "culture"
