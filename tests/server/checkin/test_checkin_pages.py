"""The visitor's page without a browser: what it asks, what is kept of it, and what it refuses."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from config.server import CheckinSettings, ServerSettings
from protocol.checkin import Ticket, reference_holds, seal_person
from protocol.journal import Record, genesis, header_of
from protocol.passage import Header, Personal
from protocol.vault_keys import VaultKeys, claimed_fingerprint
from protocol.words import Colour, EntryMode, Outcome
from server import create_app
from server.checkin.counting import by_hour, drop_old_references
from server.checkin.desk import Desk
from server.checkin.models import PhoneCheckin
from server.checkin.notice import NOTICE, notice_version
from server.codes.models import VenueCode
from server.context import House
from server.ingest.models import Epoch, Journal, JournalRecord
from server.venues.models import Venue
from server.web.language import chinese
from tests.server.people import LIBRARY, MARKET, NOON, Browser, Clock, open_code, sign_in
from tests.server.test_residents import say, wang  # noqa: F401  a fixture
from tests.server.vaults import TestVault

NAME, PHONE = "欧阳小明", "13800138000"
STATIC = Path(__file__).resolve().parents[3] / "server" / "static"


@dataclass
class Visitor:
    """A phone without a script, in front of a poster."""

    client: FlaskClient
    path: str

    def page(self, lang: str = "") -> TestResponse:
        return self.client.get(self.path + lang)

    def ticket(self) -> str:
        found = re.search(r'name="ticket" value="([^"]+)"', self.page().text)
        assert found
        return found[1]

    def sends(self, **fields: str) -> TestResponse:
        form = {"ticket": "", "agree": "yes", "name": NAME, "phone": PHONE, **fields}
        return self.client.post(self.path, data={**form, "ticket": form["ticket"] or self.ticket()})


@pytest.fixture
def serial(app: Flask, vault: TestVault) -> int:
    return open_code(app)


def token_of(house: House, serial: int) -> str:
    with house.database.reading() as reading:
        return reading.get_one(VenueCode, serial).token


@pytest.fixture
def visitor(app: Flask, house: House, serial: int) -> Visitor:
    return Visitor(app.test_client(), f"/v/{token_of(house, serial)}")


def held(house: House) -> list[tuple[JournalRecord, Header]]:
    """What the journals hold, each header read."""
    with house.database.reading() as reading:
        rows = list(reading.scalars(select(JournalRecord).order_by(JournalRecord.sequence)))
    return [(row, Header.from_bytes(row.header)) for row in rows]


def reference_in(answer: TestResponse) -> str:
    found = re.search(r"<b>([A-Z0-9]{3}-[A-Z0-9]{4})</b>", answer.text)
    assert found, answer.text
    return found[1]


def test_the_page_says_where_one_is_and_asks_for_little(visitor: Visitor, serial: int) -> None:
    page = visitor.page()
    assert page.status_code == 200 and page.headers["Referrer-Policy"] == "no-referrer"
    assert "锦江图书馆" in page.text and "东门" in page.text and notice_version() in page.text
    for line in NOTICE:
        assert chinese(line) in page.text and chinese(line) != line
    asked = set(re.findall(r'<(?:input type="(?:text|tel)"|select) id="(\w+)"', page.text))
    assert asked == {"name", "phone", "relation", "other_name"}
    assert "Set-Cookie" not in page.headers
    english = visitor.page("?lang=en").text
    assert '<html lang="en">' in english and "Jinjiang Library" in english and "同意" not in english


def test_everything_a_phone_loads_weighs_less_than_30_kB(visitor: Visitor) -> None:
    page = visitor.page().text
    loaded = re.findall(r'(?:src|href)="/static/([^"?]+)', page)
    assert {"checkin.css", "hpke.js", "checkin.js"} <= set(loaded)
    assert len(page.encode()) + sum((STATIC / name).stat().st_size for name in set(loaded)) < 30_000


def test_scripts_are_of_2016(visitor: Visitor) -> None:
    for name in ("hpke.js", "checkin.js", "looks.js"):
        code = re.sub(r"//.*", "", (STATIC / name).read_text(encoding="utf-8"))
        assert not re.search(r"=>|\b(?:let|const|async|await|class)\s|`|\?\.|\?\?|\.\.\.|\bfetch\(", code), name


def test_a_check_in_without_a_script_is_sealed_on_arrival_and_says_so(
    visitor: Visitor, house: House, vault: TestVault, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        answer = visitor.sends(name=f" {NAME} ", phone="138 0013-8000")
    assert answer.status_code == 200 and "Set-Cookie" not in answer.headers
    assert "已登记" in answer.text and "未核验健康码" in answer.text and "pass grey" in answer.text
    assert NAME not in answer.text and PHONE not in answer.text
    assert NAME not in caplog.text and PHONE not in caplog.text
    ((row, header),) = held(house)
    facts = header.facts
    assert facts and (facts.mode, facts.outcome, facts.colour) == (EntryMode.PHONE, Outcome.HOLD, None)
    assert facts.degraded == ("sealed_on_arrival",) and facts.reasons == ("checked_in_by_phone",)
    assert (row.venue_id, row.entrance, row.mode) == (LIBRARY, 1, "phone")
    files = b"".join(path.read_bytes() for path in house.settings.data_dir.rglob("*") if path.is_file())
    assert NAME.encode() not in files and PHONE.encode() not in files


def test_its_journal_is_chained_and_its_key_is_kept_once(visitor: Visitor, house: House) -> None:
    for _ in range(3):
        assert visitor.sends().status_code == 200
    rows = [row for row, _ in held(house)]
    with house.database.reading() as reading:
        (journal,) = reading.scalars(select(Journal))
        (epoch,) = reading.scalars(select(Epoch))
    chain = genesis(journal.kiosk_id)
    for row in rows:
        wrapped = epoch.wrapped if row.sequence == 1 else b""
        record = Record(row.sequence, row.epoch, wrapped or b"", row.header, row.sealed)
        header_of(record, journal.kiosk_id)
        chain = record.hash_after(chain)
        assert row.hash == chain
    assert (journal.sequence, journal.head) == (3, chain)


def test_many_phones_at_once_make_one_chain_without_gaps(app: Flask, visitor: Visitor, house: House) -> None:
    tickets = [visitor.ticket() for _ in range(12)]

    def press(ticket: str) -> int:
        return Visitor(app.test_client(), visitor.path).sends(ticket=ticket).status_code

    with ThreadPoolExecutor(6) as crowd:
        assert set(crowd.map(press, tickets)) == {200}
    assert [row.sequence for row, _ in held(house)] == list(range(1, 13))


def test_a_new_day_begins_a_new_epoch(visitor: Visitor, house: House, clock: Clock) -> None:
    visitor.sends()
    clock.passes(days=1)
    visitor.sends()
    with house.database.reading() as reading:
        assert reading.scalar(select(func.count()).select_from(Epoch)) == 2


def test_a_write_that_fails_never_uses_a_key_and_number_twice(
    visitor: Visitor, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor.sends()
    with monkeypatch.context() as patch:
        patch.setattr(Desk, "_reference", lambda *_: 1 / 0)
        assert visitor.sends().status_code == 500
    visitor.sends()
    first, second = (row for row, _ in held(house))
    assert (first.sequence, second.sequence) == (1, 2) and first.epoch != second.epoch


def published(settings: ServerSettings) -> VaultKeys:
    data = settings.vault_public_path.read_bytes()
    return VaultKeys.from_signed(data, claimed_fingerprint(data))


def sealed_as_a_browser(visitor: Visitor, settings: ServerSettings, who: Personal) -> dict[str, str]:
    text = visitor.ticket()
    ticket = Ticket.from_bytes(base64.b64decode(text)[:-16])
    assert ticket.notice == notice_version()
    checkin = seal_person(who, ticket, published(settings).checkin[0])
    return {"ticket": text, "agree": "yes", "sealed": base64.b64encode(checkin.sealed).decode()}


def test_what_a_browser_sealed_is_kept_without_the_mark(
    visitor: Visitor, house: House, settings: ServerSettings
) -> None:
    fields = sealed_as_a_browser(visitor, settings, Personal(name=NAME, phone=PHONE))
    assert visitor.client.post(visitor.path, data=fields).status_code == 200
    ((_, header),) = held(house)
    assert header.facts and header.facts.degraded == ()


def test_the_same_ticket_again_is_one_check_in(visitor: Visitor, house: House, settings: ServerSettings) -> None:
    fields = sealed_as_a_browser(visitor, settings, Personal(name=NAME, phone=PHONE))
    first = visitor.client.post(visitor.path, data=fields)
    again = visitor.client.post(visitor.path, data=fields)
    assert reference_in(first) == reference_in(again) and len(held(house)) == 1


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"agree": ""}, 422),
        ({"name": ""}, 422),
        ({"phone": "call me"}, 422),
        ({"phone": "1"}, 422),
        ({"name": "王" * 41}, 422),
        ({"relation": "boss", "other_name": "x"}, 422),
        ({"relation": "child"}, 422),
        ({"other_name": "小明"}, 422),
        ({"sealed": "AAAA"}, 422),
        ({"sealed": "not base64 !"}, 422),
        ({"ticket": "AAAA"}, 409),
        ({"ticket": "A" * 5000}, 409),
        ({"ticket": "…"}, 409),
    ],
)
def test_a_form_that_is_not_right_is_shown_again_and_stores_nothing(
    visitor: Visitor, house: House, fields: dict[str, str], status: int
) -> None:
    answer = visitor.sends(**fields)
    assert answer.status_code == status and 'role="alert"' in answer.text
    assert held(house) == []


def test_what_was_typed_stands_in_the_form_again_as_text(visitor: Visitor) -> None:
    answer = visitor.sends(name='"><script>alert(1)</script>', phone="")
    assert answer.status_code == 422
    assert "<script>alert" not in answer.text and "&lt;script&gt;alert" in answer.text


def test_a_ticket_is_good_for_its_poster_and_a_quarter_of_an_hour(
    app: Flask, visitor: Visitor, house: House, clock: Clock
) -> None:
    ticket = visitor.ticket()
    other = Visitor(visitor.client, f"/v/{token_of(house, open_code(app, 2))}")
    assert other.sends(ticket=ticket).status_code == 409
    spoilt = base64.b64encode(base64.b64decode(ticket)[:-1] + b"\x00").decode()
    assert visitor.sends(ticket=spoilt).status_code == 409
    clock.passes(minutes=16)
    assert visitor.sends(ticket=ticket).status_code == 409
    assert held(house) == []


def test_a_poster_takes_so_many_a_minute_and_then_sends_people_to_the_kiosk(
    house: House, serial: int, clock: Clock
) -> None:
    small = create_app(replace(house.settings, checkin=CheckinSettings(per_minute=2)), now=clock)
    visitor = Visitor(small.test_client(), f"/v/{token_of(house, serial)}")
    assert [visitor.sends().status_code for _ in range(3)] == [200, 200, 429]
    assert "Retry-After" in visitor.sends().headers
    clock.passes(seconds=61)
    assert visitor.sends().status_code == 200
    assert len(held(house)) == 3
    small.extensions["gatehouse"].database.engine.dispose()


def test_a_shop_asks_for_a_phone_number_only(app: Flask, house: House, visitor: Visitor) -> None:
    with house.database.writing() as writing:
        writing.get_one(Venue, LIBRARY).category = "shop"
    assert 'id="name"' not in visitor.page().text
    assert visitor.sends(name="").status_code == 200


@pytest.mark.parametrize(
    ("size", "kind", "status"),
    [
        (9000, "application/x-www-form-urlencoded", 413),
        (10, "multipart/form-data; boundary=x", 400),
        (10, "text/plain", 400),
    ],
)
def test_large_bodies_and_files_are_turned_away(visitor: Visitor, size: int, kind: str, status: int) -> None:
    assert visitor.client.post(visitor.path, data=b"a=" + b"x" * size, content_type=kind).status_code == status


def test_another_site_cannot_send_the_form(visitor: Visitor, house: House) -> None:
    fields = {"ticket": visitor.ticket(), "agree": "yes", "name": NAME, "phone": PHONE}
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        assert visitor.client.post(visitor.path, data=fields, headers=headers).status_code == 403
    # what Chromium says for a form of a page under no-referrer
    ours = {"Sec-Fetch-Site": "same-origin", "Origin": "null"}
    assert visitor.client.post(visitor.path, data=fields, headers=ours).status_code == 200
    assert len(held(house)) == 1


def test_elsewhere_a_null_origin_is_still_refused(app: Flask) -> None:
    street = sign_in(app, "street")
    fields = {"csrf_token": street.token("/password")}
    assert street.client.post("/sign-out", data=fields, headers={"Origin": "null"}).status_code == 403


def test_ended_unknown_and_closed_codes_say_so_in_plain_words(app: Flask, house: House, visitor: Visitor) -> None:
    serial = open_code(app, 2)
    other = Visitor(visitor.client, f"/v/{token_of(house, serial)}")
    ticket = other.ticket()
    street = sign_in(app, "street")
    street.post(f"/codes/{serial}/revocation", {"reason": "搬迁", "venue_name": "锦江图书馆"})
    assert other.page().status_code == 410 and "这张海报已被撤销" in other.page().text
    assert other.client.post(other.path, data={"ticket": ticket, "agree": "yes"}).status_code == 410
    unknown = visitor.client.get(visitor.path[:-4] + "AAAA")
    assert unknown.status_code == 404 and visitor.path[3:] not in unknown.text
    street.post(f"/venues/{LIBRARY.hex()}/entrances/1/close", {"reason": "改建"})
    assert visitor.page().status_code == 410
    assert held(house) == []


def test_without_the_vaults_key_the_page_sends_people_to_the_kiosk(visitor: Visitor, settings: ServerSettings) -> None:
    ticket = visitor.ticket()
    settings.vault_public_path.unlink()
    assert "<form" not in visitor.page().text and "终端" in visitor.page().text
    assert visitor.client.post(visitor.path, data={"ticket": ticket}).status_code == 503


def test_a_signed_in_resident_sees_their_own_colour_with_its_source(
    app: Flask,
    house: House,
    visitor: Visitor,
    wang: str,  # noqa: F811
) -> None:
    say(house, wang, Colour.YELLOW)
    phone = Visitor(sign_in(app, "wang").client, visitor.path)
    answer = phone.sends()
    assert "pass yellow" in answer.text and "王*明" in answer.text and "王小明" not in answer.text
    ((_, header),) = held(house)
    assert header.facts and header.facts.colour is None  # the record is of whoever was typed


def test_the_key_can_be_compared_from_outside(app: Flask, settings: ServerSettings, vault: TestVault) -> None:
    told = app.test_client().get("/checkin/key.json").get_json()
    keys = VaultKeys.from_signed(base64.b64decode(told["signed"]), bytes.fromhex(vault.fingerprint))
    assert keys.checkin[0].key_id.hex() == told["key_id"] and keys.checkin[0].point.hex() == told["point"]


# --- the reference ----------------------------------------------------------------------------


def test_staff_check_a_reference_and_learn_only_when(app: Flask, house: House, visitor: Visitor, clock: Clock) -> None:
    reference = reference_in(visitor.sends())
    assert reference_holds(house.keys.venue_word_key(LIBRARY), "2026-03-02", reference.replace("-", ""))
    path = f"/venues/{LIBRARY.hex()}/references"
    staff = sign_in(app, "staff")
    yes = staff.post(path, {"reference": f" {reference.lower()}"}, page=path)
    assert "是：有人在此登记" in yes.text and NAME not in yes.text
    again = staff.post(path, {"reference": reference}, page=path)
    assert "此前已出示过" in again.text
    wrong = "ACDEFHJ" if reference != "ACD-EFHJ" else "ACDEFHK"
    for other in (wrong, "", "0000000", "<script>"):
        answer = staff.post(path, {"reference": other}, page=path)
        assert "否：" in answer.text and "<script>alert" not in answer.text
    clock.passes(hours=3)
    assert "否：" in staff.post(path, {"reference": reference}, page=path).text


def test_references_are_for_the_staff_of_that_venue(
    house: House, visitor: Visitor, as_person: Callable[[str], Browser], stranger: Browser
) -> None:
    reference = reference_in(visitor.sends())
    here, there = f"/venues/{LIBRARY.hex()}/references", f"/venues/{MARKET.hex()}/references"
    assert as_person("operator").get(here).status_code == 200
    for name in ("wang", "epi", "city", "street", "tech", "officer"):
        assert as_person(name).get(here).status_code in {403, 404}, name
        assert as_person(name).post(here, {"reference": reference}).status_code in {403, 404}, name
    keeper = as_person("marketkeeper")
    assert keeper.get(here).status_code == 404
    assert "否：" in keeper.post(there, {"reference": reference}, page=there).text
    assert stranger.get(here).status_code == 303


def test_references_go_after_two_days_and_the_count_stays(house: House, visitor: Visitor, clock: Clock) -> None:
    visitor.sends()
    clock.passes(minutes=70)
    visitor.sends()
    visitor.sends()
    with house.database.reading() as reading:
        assert [count for _, count in by_hour(reading, LIBRARY, clock())] == [2, 1]
        assert by_hour(reading, MARKET, clock()) == []
    clock.passes(days=3)
    with house.database.writing() as writing:
        assert drop_old_references(writing, clock()) == 3
    with house.database.reading() as reading:
        assert reading.scalar(select(func.count()).select_from(PhoneCheckin)) == 0
        assert len(by_hour(reading, LIBRARY, clock(), hours=100)) == 2


def test_the_venue_page_shows_counts_to_who_may_see_them(visitor: Visitor, as_person: Callable[[str], Browser]) -> None:
    visitor.sends()
    page = as_person("operator").get(f"/venues/{LIBRARY.hex()}")
    assert "最近 24 小时手机登记人数" in page.text and "<td>1</td>" in page.text


def test_a_check_in_is_of_now(visitor: Visitor, house: House) -> None:
    visitor.sends()
    ((row, header),) = held(house)
    assert header.stamp.at_ms == row.at_ms == int(NOON.timestamp() * 1000)
