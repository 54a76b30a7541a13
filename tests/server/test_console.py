"""The console's first page, the audit page, the languages, and what the log may say."""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from babel.messages.pofile import read_po
from flask import Flask
from sqlalchemy import text

from server.accounts.roles import ROLE_NAMES
from server.areas.models import LEVEL_NAMES
from server.codes.models import STATE_NAMES, VenueCode
from server.console.words import ACTION_NAMES
from server.context import House
from server.kiosks.deciding import DECISION_NAMES
from server.kiosks.fleet import CONDITION_NAMES
from server.residents.words import CAUSE_NAMES, COLOUR_MEANS, COLOUR_NAMES
from server.venues.models import CATEGORY_NAMES
from server.web.frame import ERROR_TEXTS
from server.web.language import both, catalogue
from tests.server.people import LIBRARY, PEOPLE, Browser, Clock, open_code, put_kiosk, sign_in
from tests.server.stores import without_triggers
from tests.server.vaults import TestVault

SERVER = Path(__file__).resolve().parents[2] / "server"


def test_home_says_what_needs_a_decision(app: Flask, house: House, as_person: Callable[[str], Browser]) -> None:
    assert "没有待办事项" in as_person("street").get("/").text
    open_code(app)
    page = as_person("street").get("/").text
    assert re.search(r'href="/codes\?state=issued"><span class="number">1<', page)
    assert "已签发未打印的场所码" not in as_person("otherstreet").get("/").text


def test_codes_that_end_soon_are_a_decision(app: Flask, clock: Clock, as_person: Callable[[str], Browser]) -> None:
    open_code(app)
    clock.passes(days=334)
    assert "即将到期的场所码" not in as_person("street").get("/").text
    clock.passes(days=2)
    assert "即将到期的场所码" in as_person("street").get("/").text


def test_the_trail_is_read_within_ones_area(app: Flask, as_person: Callable[[str], Browser]) -> None:
    open_code(app)
    assert "签发场所码" in as_person("street").get("/audit?action=code.issued").text.split("<tbody>")[-1]
    assert "没有符合条件的记录" in as_person("otherstreet").get("/audit?action=code.issued").text


def test_the_trail_page_says_when_the_chain_is_broken(
    app: Flask, house: House, as_person: Callable[[str], Browser]
) -> None:
    open_code(app)
    street = as_person("street")
    assert "行记录哈希链完整" in street.get("/audit").text
    with house.database.writing() as writing:
        without_triggers(writing, "audit_event")
        writing.execute(text("UPDATE audit_event SET reason = 'version 9' WHERE action = 'code.issued'"))
    assert "哈希链在第" in street.get("/audit").text


def test_the_trail_shows_today_by_default(app: Flask, clock: Clock) -> None:
    open_code(app)
    clock.passes(days=1)
    street = sign_in(app, "street")
    assert "签发场所码</span>" not in street.get("/audit").text.split("<tbody>")[-1]
    assert "签发场所码</span>" in street.get("/audit?day=all").text.split("<tbody>")[-1]


# --- languages


TABLES = (
    ACTION_NAMES,
    ROLE_NAMES,
    LEVEL_NAMES,
    STATE_NAMES,
    CONDITION_NAMES,
    DECISION_NAMES,
    CATEGORY_NAMES,
    COLOUR_NAMES,
    COLOUR_MEANS,
    CAUSE_NAMES,
)


def test_every_audited_action_has_a_name() -> None:
    """The trail is read by officials: no code of ours may stand in it."""
    used = set()
    for path in SERVER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "audit":
                used |= {a.value for a in node.args[1:2] if isinstance(a, ast.Constant)}
    assert len(used) > 20
    assert used - ACTION_NAMES.keys() == set()


def test_no_message_of_a_catalogue_is_empty_or_doubtful() -> None:
    bad = []
    for path in sorted(SERVER.glob("*/translations/zh_Hans.po")):
        with path.open("rb") as file:
            bad += [f"{path.parts[-3]}: {m.id}" for m in read_po(file) if m.id and (not m.string or m.fuzzy)]
    assert bad == []


def test_every_word_of_the_tables_has_its_chinese() -> None:
    messages = {message for table in TABLES for message in table.values()}
    messages |= {sentence for pair in ERROR_TEXTS.values() for sentence in pair}
    assert [m for m in sorted(messages) if catalogue().gettext(m) == m] == []


def test_every_text_of_the_templates_has_its_chinese() -> None:
    calls = re.compile(r'\b(?:both|zh|nothing)\("((?:[^"\\]|\\.)+)"|(?:hint=|state\("\w+", )"([^"]+)"')
    missing = []
    for path in sorted((SERVER / "templates").rglob("*.html")):
        for found in calls.finditer(path.read_text(encoding="utf-8")):
            message = found[1] or found[2]
            if catalogue().gettext(message) == message:
                missing.append(f"{path.name}: {message}")
    assert missing == []


@pytest.mark.parametrize("name", sorted(PEOPLE))
def test_no_page_shows_a_text_in_english_alone(app: Flask, house: House, vault: TestVault, name: str) -> None:
    open_code(app)
    put_kiosk(house)
    browser = sign_in(app, name)
    v = LIBRARY.hex()
    for path in ("/", "/password", "/audit", "/venues", f"/venues/{v}", "/codes", "/codes/1", "/kiosks", "/me/code"):
        assert '<span lang="en">' not in browser.get(path).text, path


def test_values_are_escaped_in_both_languages() -> None:
    shown = both("Times in zone %(zone)s", zone="<b>")
    assert shown.count("&lt;b&gt;") == 2 and "<b>" not in shown


# --- the log


def test_the_log_holds_routes_and_never_a_token(
    app: Flask, house: House, vault: TestVault, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    serial = open_code(app)
    with house.database.reading() as reading:
        token = reading.get_one(VenueCode, serial).token
    Browser(app.test_client()).get(f"/v/{token}")
    Browser(app.test_client()).get(f"/v/{token}x?next=secret")
    address = (
        sign_in(app, "street").post(f"/venues/{LIBRARY.hex()}/enrol", {"entrance": "1", "kiosk_name": "k"}).location
    )
    log = caplog.text
    assert "route=checkin.scanned status=200" in log
    for word in (token, token[:20], "a long pass phrase", "street", "secret", address.rsplit("/", 1)[1]):
        assert word not in log


def test_a_fault_is_logged_and_says_nothing_to_people(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    street = sign_in(app, "street")
    app.testing = False
    app.config["PROPAGATE_EXCEPTIONS"] = False

    def broken() -> None:
        raise RuntimeError("the password is swordfish")

    broken.gatehouse_access = app.view_functions["console.home"].gatehouse_access  # type: ignore[attr-defined]
    app.view_functions["console.home"] = broken
    answer = street.get("/")
    assert answer.status_code == 500
    assert "swordfish" not in answer.text and "Traceback" not in answer.text
    assert "fault endpoint=console.home" in caplog.text


def test_the_home_page_is_dated(as_person: Callable[[str], Browser], clock: Clock) -> None:
    clock.passes(minutes=1)
    shown = (clock() + timedelta(hours=8)).strftime("%Y-%m-%d %H:%M:%S")
    assert shown in as_person("street").get("/").text
