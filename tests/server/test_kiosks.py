"""The fleet: what the console says of a kiosk, enrolment by a one-time code, and decisions about kiosks."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import cairosvg
import numpy as np
import pytest
import zxingcpp
from cv2 import IMREAD_GRAYSCALE, imdecode
from flask import Flask
from sqlalchemy import select

from config.server import FleetSettings
from protocol.credentials import enrolment_code
from protocol.enrolment import token_id, token_secret
from server.audit import AuditEvent
from server.context import House
from server.kiosks.fleet import Condition, condition_column, condition_of, is_in
from server.kiosks.models import EnrolmentCode, Kiosk
from server.vault_keys import VaultKeysError, read_vault_keys
from tests.server.people import KIOSK, LIBRARY, MARKET, NOON, Browser, Clock, put_kiosk, sign_in
from tests.server.stores import everything_stored
from tests.server.vaults import TestVault

V, K = LIBRARY.hex(), KIOSK.hex()
MINUTE = timedelta(minutes=1)

CASES: list[tuple[dict[str, Any], Condition]] = [
    ({}, Condition.ALIVE),
    ({"last_seen_at": NOON - MINUTE}, Condition.ALIVE),
    ({"last_seen_at": NOON - 2 * MINUTE - timedelta(seconds=1)}, Condition.UNREACHABLE),
    ({"last_seen_at": None, "state": "enrolled"}, Condition.WAITING),
    ({"oldest_unsent_at": NOON - 14 * MINUTE}, Condition.ALIVE),
    ({"oldest_unsent_at": NOON - 16 * MINUTE}, Condition.STUCK),
    ({"last_seen_at": NOON - 5 * MINUTE, "oldest_unsent_at": NOON - 16 * MINUTE}, Condition.UNREACHABLE),
    ({"state": "suspended", "last_seen_at": NOON - 99 * MINUTE}, Condition.SUSPENDED),
    ({"state": "retired"}, Condition.RETIRED),
    ({"state": "lost", "last_seen_at": None}, Condition.LOST),
]


@pytest.mark.parametrize(("fields", "condition"), CASES)
def test_one_word_says_how_a_kiosk_is_doing_and_counting_agrees(
    house: House, fields: dict[str, Any], condition: Condition
) -> None:
    put_kiosk(house, **fields)
    settings = FleetSettings()
    with house.database.reading() as reading:
        assert condition_of(reading.get_one(Kiosk, KIOSK), NOON, settings) is condition
        for other in Condition:
            counted = reading.query(Kiosk).where(is_in(other, NOON, settings)).count()
            assert counted == (other is condition), other
        assert reading.scalars(select(condition_column(NOON, settings))).all() == [condition.value]


def test_the_home_page_counts_doors_and_links_to_the_list(
    house: House, clock: Clock, as_person: Callable[[str], Browser]
) -> None:
    put_kiosk(house)
    put_kiosk(house, bytes(8), last_seen_at=NOON - 10 * MINUTE, oldest_unsent_at=NOON - 30 * MINUTE)
    page = as_person("street").get("/").text
    assert re.search(r'condition=alive"><span class="number">1<', page)
    assert re.search(r'condition=unreachable"><span class="number">1<', page)
    assert re.search(r'condition=unsent"><span class="number">1<', page)
    city = as_person("city").get("/").text
    assert '<span class="number">1<' in city and "condition=alive" not in city, "counts only: no list for the city"


def test_a_kiosk_of_another_area_is_counted_nowhere_else(house: House, as_person: Callable[[str], Browser]) -> None:
    put_kiosk(house, venue_id=MARKET)
    assert "东门左" not in as_person("street").get("/kiosks").text
    assert "东门左" in as_person("otherstreet").get("/kiosks").text
    assert as_person("street").get(f"/kiosks/{K}").status_code == 404


def test_kiosks_that_are_gone_stay_on_the_list(house: House, as_person: Callable[[str], Browser]) -> None:
    put_kiosk(house, state="lost", last_seen_at=NOON - timedelta(days=90))
    assert "东门左" in as_person("street").get("/kiosks").text


def test_a_long_list_comes_in_pages(house: House, as_person: Callable[[str], Browser]) -> None:
    with house.database.writing() as writing:
        for n in range(120):
            kiosk_id = n.to_bytes(8, "big")
            fields = {"name": f"k{n:03}", "public_key": kiosk_id * 4, "state": "active", "enrolled_at": NOON}
            writing.add(Kiosk(id=kiosk_id, venue_id=LIBRARY, entrance=1, last_seen_at=NOON, **fields))
    street = as_person("street")
    seen, path = [], "/kiosks"
    while path:
        page = street.get(path).text
        seen += re.findall(r">(k\d{3})<", page)
        found = re.search(r'href="(/kiosks\?[^"]*after=[^"]+)"', page)
        path = found[1].replace("&amp;", "&") if found else ""
    assert seen == [f"k{n:03}" for n in range(120)]


@pytest.mark.parametrize("after", ["zz", "00", "'; DROP TABLE kiosk; --", "ff" * 100])
def test_a_nonsense_page_mark_is_the_first_page(house: House, as_person: Callable[[str], Browser], after: str) -> None:
    put_kiosk(house)
    answer = as_person("street").client.get("/kiosks", query_string={"after": after})
    assert answer.status_code == 200 and "东门左" in answer.text


# --- decisions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decision", "before", "after"),
    [
        ("suspend", "active", "suspended"),
        ("suspend", "enrolled", "suspended"),
        ("resume", "suspended", "active"),
        ("retire", "active", "retired"),
        ("lost", "suspended", "lost"),
        ("resume", "active", "active"),
        ("resume", "lost", "lost"),
        ("suspend", "retired", "retired"),
        ("lost", "retired", "retired"),
    ],
)
def test_decisions_lead_where_the_table_says(
    house: House, as_person: Callable[[str], Browser], decision: str, before: str, after: str
) -> None:
    put_kiosk(house, state=before)
    fields = {"reason": "检修", "kiosk_name": "东门左"}
    assert as_person("street").post(f"/kiosks/{K}/{decision}", fields).status_code == 303
    with house.database.reading() as reading:
        assert reading.get_one(Kiosk, KIOSK).state == after
        audited = reading.query(AuditEvent).filter_by(object_kind="kiosk", reason="检修").count()
    assert audited == (before != after)


@pytest.mark.parametrize("decision", ["retire", "lost"])
@pytest.mark.parametrize("fields", [{"reason": "x"}, {"kiosk_name": "东门左"}, {"reason": "x", "kiosk_name": "other"}])
def test_what_cannot_be_taken_back_wants_reason_and_name(
    house: House, as_person: Callable[[str], Browser], decision: str, fields: dict[str, str]
) -> None:
    put_kiosk(house, unsent_count=12)
    answer = as_person("street").post(f"/kiosks/{K}/{decision}", fields)
    assert answer.status_code == 422 and "此终端上有 12 条未上传记录" in answer.text
    with house.database.reading() as reading:
        assert reading.get_one(Kiosk, KIOSK).state == "active"


# --- enrolment --------------------------------------------------------------------------------


def make_code(street: Browser) -> str:
    answer = street.post(f"/venues/{V}/enrol", {"entrance": "1", "kiosk_name": "东门右"})
    assert answer.status_code == 303
    return answer.location


def shown_text(page: str) -> str:
    """What the kiosk's camera reads off the page's drawing."""
    svg = re.search(r'<svg class="qr".*?</svg>', page, re.S)
    assert svg
    drawn = svg[0].replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" width="600" height="600" ')
    picture = imdecode(np.frombuffer(cairosvg.svg2png(bytestring=drawn.encode()), np.uint8), IMREAD_GRAYSCALE)
    assert picture is not None
    return zxingcpp.read_barcodes(picture, formats=zxingcpp.BarcodeFormat.QRCode)[0].text


def test_the_page_shows_a_code_that_a_camera_reads(
    house: House, vault: TestVault, as_person: Callable[[str], Browser]
) -> None:
    street = as_person("street")
    address = make_code(street)
    page = street.get(address).text
    code = enrolment_code.parse(shown_text(page))
    assert code.server_url == "http://localhost"
    assert code.server_key == house.keys.server_identity().public_key().public_bytes_raw()
    assert code.vault_fingerprint.hex() == vault.fingerprint
    assert code.expires_at == NOON + timedelta(minutes=15)
    assert code.entrance_name == "锦江图书馆 东门"
    with house.database.reading() as reading:
        row = reading.get_one(EnrolmentCode, token_id(code.token).hex())
        assert row.token_hash == token_secret(code.token)
    assert code.token.hex() not in page


def test_the_token_is_in_no_table(house: House, vault: TestVault, as_person: Callable[[str], Browser]) -> None:
    street = as_person("street")
    token = enrolment_code.parse(shown_text(street.get(make_code(street)).text)).token
    dump = everything_stored(house)
    assert token not in dump and token.hex().encode() not in dump


def test_only_the_browser_that_made_a_code_can_show_it(app: Flask, vault: TestVault) -> None:
    address = make_code(sign_in(app, "street"))
    page = sign_in(app, "street").get(address).text
    assert 'class="qr"' not in page and "只有生成此码的浏览器才能显示" in page


def test_the_page_follows_the_enrolment(house: House, vault: TestVault, as_person: Callable[[str], Browser]) -> None:
    street = as_person("street")
    address = make_code(street)
    assert 'http-equiv="refresh"' in street.get(address).text
    put_kiosk(house, state="enrolled", last_seen_at=None)
    with house.database.writing() as writing:
        row = writing.get_one(EnrolmentCode, address.rsplit("/", 1)[1])
        row.used_at, row.kiosk_id = NOON, KIOSK
    page = street.get(address).text
    assert 'class="qr"' not in page and "等待首次联系" in page and 'http-equiv="refresh"' in page
    with house.database.writing() as writing:
        writing.get_one(Kiosk, KIOSK).last_seen_at = NOON
    page = street.get(address).text
    assert "终端已登记并上线" in page and 'http-equiv="refresh"' not in page


@pytest.mark.parametrize("after_minutes", [14, 15])
def test_a_code_is_shown_for_fifteen_minutes(
    clock: Clock, vault: TestVault, as_person: Callable[[str], Browser], after_minutes: int
) -> None:
    street = as_person("street")
    address = make_code(street)
    clock.passes(minutes=after_minutes)
    page = street.get(address).text
    assert ('class="qr"' in page) == (after_minutes < 15)
    assert ("此码已过期" in page) == (after_minutes >= 15)


def test_a_cancelled_code_is_not_shown(vault: TestVault, as_person: Callable[[str], Browser]) -> None:
    street = as_person("street")
    address = make_code(street)
    assert street.post(f"{address}/cancel").status_code == 303
    page = street.get(address).text
    assert 'class="qr"' not in page and "此码已取消" in page


def test_without_the_vault_nobody_is_enrolled_and_the_page_says_why(as_person: Callable[[str], Browser]) -> None:
    street = as_person("street")
    assert "密钥库尚未公布公钥" in street.get(make_code(street)).text


def test_a_foreign_vault_file_is_refused(house: House, vault: TestVault) -> None:
    path = house.settings.vault_public_path
    assert read_vault_keys(path, vault.fingerprint).fingerprint.hex() == vault.fingerprint
    with pytest.raises(VaultKeysError, match="another vault"):
        read_vault_keys(path, "00" * 16)
    last = path.read_bytes()[-1]
    path.write_bytes(path.read_bytes()[:-1] + bytes((last ^ 1,)))
    with pytest.raises(VaultKeysError, match="cannot be used"):
        read_vault_keys(path)


@pytest.mark.parametrize("fields", [{"entrance": "9", "kiosk_name": "x"}, {"entrance": "1"}, {"kiosk_name": "x"}, {}])
def test_an_incomplete_enrolment_form_makes_nothing(
    house: House, as_person: Callable[[str], Browser], fields: dict[str, str]
) -> None:
    assert as_person("street").post(f"/venues/{V}/enrol", fields).status_code == 422
    with house.database.reading() as reading:
        assert reading.query(EnrolmentCode).count() == 0


def test_card_and_supply_stand_in_words_beside_each_kiosk(house: House, as_person: Callable[[str], Browser]) -> None:
    parts = {"card": "wearing", "card_wear": "90%", "power": "under_voltage", "heat": "ok"}
    put_kiosk(house, last_seen_at=NOON, health={"parts": parts, "faults": ["no_thermometer"]})
    fleet = as_person("street").get("/kiosks").text
    assert "寿命将尽" in fleet and "电压不足" in fleet
    page = as_person("street").get(f"/kiosks/{KIOSK.hex()}").text
    assert "寿命将尽" in page and "90%" in page and "no_thermometer" in page and "{" not in page.split("<dl")[1]


@pytest.mark.parametrize("health", [None, {}, {"parts": {}}, {"parts": "nonsense"}, {"parts": {"card": "of later"}}])
def test_what_a_kiosk_does_not_say_is_a_dash_and_a_word_of_later_is_shown(
    house: House, as_person: Callable[[str], Browser], health: dict[str, Any] | None
) -> None:
    put_kiosk(house, last_seen_at=NOON, health=health)
    fleet = as_person("street").get("/kiosks")
    assert fleet.status_code == 200 and "—" in fleet.text
    assert ("of later" in fleet.text) is (health == {"parts": {"card": "of later"}})
