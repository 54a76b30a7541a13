"""Certificate rules on the console: checked, tried, put in force where they belong, taken back, and who may."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable

import pytest
from flask import Flask

from protocol.credentials.rules import rule_set_from_bytes
from protocol.credentials.value_sets import ValueSet
from server.audit import AuditEvent
from server.bundles.errors import PartError
from server.bundles.models import BundlePart
from server.bundles.parts import venue_parts
from server.bundles.publishing import publish_all
from server.bundles.rules import EARLIER_FILE
from server.bundles.value_sets import VALUE_SETS, put_value_sets
from server.context import House
from tests.server.people import KIOSK, LIBRARY, MARKET, PEOPLE, Browser, Clock, put_kiosk, sign_in
from tests.server.vaults import TestVault

As = Callable[[str], Browser]
BOOSTER = {">": [{"var": "payload.v.0.dn"}, 2]}
CITY, DISTRICT, OTHER_DISTRICT = "510100", "510104", "510105"
READERS = {"city", "district", "street", "otherstreet", "worker", "inspector"}


def rule_set(version: int = 1, logic: object = BOOSTER, **more: object) -> bytes:
    rule = {
        "Identifier": "VR-XX-0001",
        "Version": "1.0.0",
        "Type": "Acceptance",
        "CertificateType": "Vaccination",
        "ValidFrom": "2021-01-01T00:00:00Z",
        "ValidTo": "2040-01-01T00:00:00Z",
        "Logic": logic,
        "Description": [{"lang": "zh", "desc": "须有加强针"}],
    }
    return json.dumps({"version": version, "issued_at": "2026-03-01T00:00:00Z", "rules": [rule], **more}).encode()


def upload(browser: Browser, data: bytes, area: str = CITY, venue: str = "") -> str:
    """Upload a set; the address of its page, or the page that says what is wrong."""
    fields = {
        "csrf_token": browser.token("/password"),
        "file": (io.BytesIO(data), "rules.json"),
        "area_code": area,
        "venue": venue,
    }
    answer = browser.client.post("/rules/new", data=fields, content_type="multipart/form-data")
    return str(answer.location) if answer.status_code == 303 else answer.text


def put(browser: Browser, data: bytes, area: str = CITY, venue: str = "") -> str:
    address = upload(browser, data, area, venue)
    assert address.startswith("/rules/"), address
    assert browser.post(f"{address}/publication").status_code == 303
    return address


def at_doors(house: House) -> dict[bytes, tuple[int, int]]:
    """What each venue's kiosks would get: version and number of rules."""
    with house.database.reading() as reading:
        parts = [part for part in venue_parts(reading, house.now()) if part.name == "rules"]
    sets = {part.scope.removeprefix("venue:"): rule_set_from_bytes(part.data) for part in parts}
    return {bytes.fromhex(venue): (rules.version, len(rules.rules)) for venue, rules in sets.items()}


@pytest.fixture
def kiosks(house: House) -> None:
    put_kiosk(house)
    put_kiosk(house, bytes(8), MARKET)


@pytest.fixture
def city(app: Flask) -> Browser:
    return sign_in(app, "city")


def test_a_set_is_a_draft_until_it_is_published(house: House, city: Browser, kiosks: None) -> None:
    address = upload(city, rule_set())
    page = city.get(address).text
    assert "须有加强针" in page and "Draft" in page and at_doors(house) == {}
    rows = re.findall(r"<tr><td>(.+?)</td><td>.*?</span> <span class=\"zh\">(.+?)</span>", page)
    said = {re.sub(r"<.+?>", " ", name).split("  ")[-1].strip(): verdict for name, verdict in rows}
    assert said["Booster, 30 days ago"] == "符合" and said["Second of two doses, 10 days ago"] == "不符合"
    assert city.post(f"{address}/publication").status_code == 303
    assert at_doors(house) == {LIBRARY: (1, 1), MARKET: (1, 1)}
    index = city.get("/rules/").text
    assert index.count("成都市") >= 3 and "2026-03-01" in index
    with house.database.reading() as reading:
        assert [e.action for e in reading.query(AuditEvent).filter_by(object_kind="rules")] == [
            "rules.uploaded",
            "rules.set",
        ]


def test_the_nearest_set_counts_and_taking_it_back_uncovers_the_wider_one(
    house: House, city: Browser, kiosks: None, clock: Clock
) -> None:
    wide = put(city, rule_set(1))
    near = put(city, rule_set(7), DISTRICT)
    own = put(city, rule_set(9), venue=LIBRARY.hex())
    assert at_doors(house) == {LIBRARY: (9, 1), MARKET: (1, 1)}
    for address in (own, near):
        clock.passes(minutes=1)
        assert city.post(f"{address}/withdrawal", {"reason": ""}).status_code == 422
        assert city.post(f"{address}/withdrawal", {"reason": "not needed any more"}).status_code == 303
    assert at_doors(house) == {LIBRARY: (1, 1), MARKET: (1, 1)}
    clock.passes(minutes=1)
    assert city.post(f"{wide}/withdrawal", {"reason": "over"}).status_code == 303
    assert at_doors(house) == {LIBRARY: (1, 0), MARKET: (1, 0)}  # a set without rules takes the others back
    page = city.post(f"{wide}/withdrawal", {"reason": "again"})
    assert page.status_code == 303 and "not in force" in city.get("/rules/").text


def test_a_changed_set_needs_a_higher_version(city: Browser, house: House, kiosks: None) -> None:
    put(city, rule_set(3))
    for version in (2, 3):
        address = upload(city, rule_set(version))
        city.post(f"{address}/publication")
        assert "higher version" in city.get(address).text
    assert at_doors(house)[LIBRARY] == (3, 1)
    put(city, rule_set(4))
    assert at_doors(house)[LIBRARY] == (4, 1)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not JSON"),
        (b"[]", "at most 500 rules"),
        (b"{}", "This is no rule set."),
        (rule_set(logic={"==": [1, 2]}), "不属于 CertLogic"),
        (rule_set(logic={"if": [True, 1]}), "参数个数不对"),
        (rule_set(logic={"in": ["x", {"var": "external.valueSets.names"}]}), "请先导入代码表"),
        (rule_set(logic={"===": [{"var": "<script>"}, 1]}), "&lt;script&gt;"),
        (b"[" * 100_000, "This is no rule set."),
    ],
)
def test_what_cannot_work_is_refused_in_words(city: Browser, house: House, data: bytes, says: str) -> None:
    page = upload(city, data)
    assert says in page and "<script>" not in page and '<span lang="en">' not in page


def test_rules_may_name_lists_that_are_imported(app: Flask, city: Browser, house: House, kiosks: None) -> None:
    with app.app_context():
        put_value_sets(house, [ValueSet("names", "2022-04-01", ("EU/1/20/1528",))])
    address = upload(city, rule_set(logic={"in": [{"var": "payload.v.0.mp"}, {"var": "external.valueSets.names"}]}))
    assert "符合" in city.get(address).text
    index = city.get("/rules/").text
    assert "names" in index and "2022-04-01" in index
    (house.settings.data_dir / VALUE_SETS).write_bytes(b"{")
    assert "damaged" in city.get("/rules/").text


@pytest.mark.parametrize("name", sorted(PEOPLE))
def test_each_person_reads_and_sets_what_the_matrix_says(app: Flask, city: Browser, kiosks: None, name: str) -> None:
    published, draft = put(city, rule_set(1), DISTRICT), upload(city, rule_set(2), DISTRICT)
    somebody = sign_in(app, name)
    assert (somebody.get("/rules/").status_code == 200) == (name in READERS)
    near = READERS - {"otherstreet"}
    assert (somebody.get(published).status_code == 200) == (name in near)
    assert (somebody.get(draft).status_code == 200) == (name == "city")
    assert (somebody.get("/rules/new").status_code == 200) == (name == "city")
    statuses = {
        somebody.post(f"{draft}/publication").status_code,
        somebody.post(f"{published}/withdrawal", {"reason": "x"}).status_code,
    }
    assert (statuses == {303}) == (name == "city") and (name == "city" or statuses <= {403, 404})


def test_a_venue_out_of_reach_is_as_one_that_does_not_exist(city: Browser) -> None:
    assert "within your reach" in upload(city, rule_set(), venue="ffffffffffff")
    assert "12 characters" in upload(city, rule_set(), venue="library")


def test_rules_of_an_earlier_version_are_not_lost_unseen(
    house: House, city: Browser, kiosks: None, vault: TestVault, clock: Clock, app: Flask
) -> None:
    with house.database.writing() as writing:
        old = BundlePart(scope="", name="rules", digest=bytes(32), size=1, version=1, changed_at=clock(), data=b"x")
        writing.add(old)
    path = house.settings.data_dir / EARLIER_FILE
    path.write_bytes(rule_set())
    with pytest.raises(PartError, match="earlier version"):
        publish_all(house, clock())
    path.unlink()
    put(city, rule_set(2))
    publish_all(house, clock())
    with house.database.reading() as reading:
        scopes = {part.scope for part in reading.query(BundlePart).filter_by(name="rules")}
    assert scopes == {f"venue:{LIBRARY.hex()}", f"venue:{MARKET.hex()}"}
    assert KIOSK


def test_no_page_shows_a_text_in_english_alone(city: Browser, kiosks: None) -> None:
    address = put(city, rule_set())
    for path in ("/rules/", "/rules/new", address):
        assert '<span lang="en">' not in city.get(path).text, path
