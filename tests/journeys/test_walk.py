"""Journeys over the whole product: real processes, real HTTP, real ptys, real SQLite, a real browser.

One street is set up for all of them; each journey speaks the language of the person who makes it.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import requests
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from gatehouse.demo.console import Visitor
from gatehouse.demo.processes import DemoError
from gatehouse.demo.street import PARTS, Part, Ports, Street
from server.demo import PHONE, RESIDENTS, VENUE_ID
from tests.browser import chromium, resize

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(600)]

WELL, RED, FEVER = PARTS[0], PARTS[1], PARTS[2]
UNPLUGGED = next(part for part in PARTS if part.without_thermometer)
EXPIRED = next(part for part in PARTS if part.is_expired)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    folder = tmp_path_factory.mktemp("street")
    with Street(folder, Ports(free_port(), free_port()), lambda line: None) as street:
        yield street


@pytest.fixture(scope="module")
def screen(street: Street) -> Iterator[Chrome]:
    with chromium("--lang=zh-CN") as driver:
        resize(driver, 1280, 800)
        driver.get(street.screen + "/")
        yield driver


def until(is_so: Callable[[], object], what: str, timeout_s: float = 40.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.05)


def words(driver: Chrome) -> str:
    return str(driver.execute_script("return document.body.innerText"))


def step_up(street: Street, part: Part) -> None:
    """Somebody comes and holds up what they have; they stay until `leave`."""
    street.thermometer.scene.set(part.scene)
    street.scene.show(street.code_of(part), part.style)


def leave(street: Street) -> None:
    street.scene.show(None)
    street.thermometer.scene.set("empty")


@pytest.mark.parametrize(
    ("part", "word", "face"), [(WELL, "请进", "pass"), (RED, "请止步", "stop"), (EXPIRED, "人工核验", "check")]
)
def test_a_visitor_sees_the_verdict_on_the_screen(
    street: Street, screen: Chrome, part: Part, word: str, face: str
) -> None:
    step_up(street, part)
    until(lambda: word in words(screen), f"{word} on the screen")
    verdict = street.state()["verdict"]
    assert verdict["face"] == face
    shown = words(screen)
    if face == "stop":
        assert verdict["masked_name"] is None
    for resident in RESIDENTS:
        assert resident.full_name not in shown and resident.id_number not in shown
    leave(street)
    until(lambda: street.state()["view"] in ("idle", "verdict"), "an answer that stays or goes")


def test_the_thermometer_is_pulled_out_and_the_person_is_sent_to_the_staff(street: Street) -> None:
    assert street.walk(UNPLUGGED) == "hold"
    assert street.walk(WELL) == "admit"


def test_an_investigator_sees_an_admitted_person_masked_and_only_after_approval(street: Street) -> None:
    assert street.walk(WELL) == "admit"
    until(lambda: street.state()["banner"]["unsent"] == 0, "the passage at the server")
    resident = next(r for r in RESIDENTS if r.name == WELL.resident)
    with chromium("--lang=zh-CN") as driver:
        resize(driver, 1280, 900)
        driver.get(f"{street.base}/sign-in")
        driver.find_element(By.NAME, "name").send_keys("investigator")
        driver.find_element(By.NAME, "password").send_keys(street.password)
        driver.find_element(By.CSS_SELECTOR, "main form button, form button").click()
        until(lambda: "/sign-in" not in driver.current_url, "the first page after signing in")
        driver.get(f"{street.base}/queries/new")
        Select(driver.find_element(By.NAME, "purpose")).select_by_value("epi_trace")
        driver.find_element(By.NAME, "case_reference").send_keys("CASE-7")
        driver.find_element(By.NAME, "legal_ground").send_keys("Epidemic control act, article 40")
        _choose_venue(driver)
        now = datetime.now(ZoneInfo("Asia/Shanghai"))
        for name, at in (("from_at", now - timedelta(hours=1)), ("to_at", now + timedelta(minutes=5))):
            driver.execute_script(
                "document.getElementsByName(arguments[0])[0].value = arguments[1]", name, f"{at:%Y-%m-%dT%H:%M}"
            )
        _send(driver)
        until(lambda: "/queries/" in driver.current_url and "/new" not in driver.current_url, "the query's page")
        path = driver.current_url.removeprefix(street.base)
        with pytest.raises(DemoError, match="answered 4"):
            Visitor(street.base, "investigator", street.password).post(f"{path}/look", {}, form="/queries/new")
        _sign(street, path.rsplit("/", 1)[-1])
        driver.get(street.base + path)
        driver.find_element(By.CSS_SELECTOR, f"form[action='{path}/look'] button").click()
        until(lambda: "CASE-7" in words(driver) and driver.find_elements(By.TAG_NAME, "table"), "the result")
        shown = words(driver)
    assert resident.id_number[:3] in shown and "*" in shown, "the masked ID number that was sealed on the code"
    assert resident.id_number not in shown
    assert resident.full_name not in shown
    assert PHONE not in shown and PHONE[3:] not in shown
    assert "investigator" in shown, "the watermark names who looked"


def _choose_venue(driver: Chrome) -> None:
    boxes = driver.find_elements(By.CSS_SELECTOR, f"[name=venues][value='{VENUE_ID.hex()}']")
    if boxes:
        boxes[0].click()
    else:
        Select(driver.find_element(By.NAME, "venues")).select_by_value(VENUE_ID.hex())


def _send(driver: Chrome) -> None:
    driver.find_element(By.CSS_SELECTOR, "main form[method=post] button").click()


def _sign(street: Street, query: str) -> None:
    password = street.folder / "password"
    password.write_text(street.password + "\n")
    street.processes.run(
        *("approve", "sign", query, "--server", street.base, "--user", "district", "--yes"),
        *("--key", str(street.folder / "approver.key"), "--password-file", str(password)),
        *("--passphrase-file", str(street.folder / "approver-passphrase")),
    )


def test_the_entrance_works_on_without_its_server_and_sends_everything_afterwards(street: Street) -> None:
    on_their_phones = [(part, street.code_of(part)) for part in (WELL, RED)]
    street.processes.stop("server", kill=True)
    try:
        until(lambda: street.state()["banner"]["level"] != "ok", "a banner that says so")
        before = _stored(street)
        assert [street.walk(part, code) for part, code in on_their_phones] == ["admit", "deny"]
        assert street.state()["banner"]["unsent"] >= 2
        assert street.state()["banner"]["oldest"] is not None
    finally:
        street.start_server()
    until(lambda: street.state().get("banner", {}).get("unsent") == 0, "everything at the server", 120)
    assert _stored(street) >= before + 2
    assert street.receipted() == _stored(street)


def _stored(street: Street) -> int:
    with sqlite3.connect(f"file:{street.folder / 'server' / 'server.db'}?mode=ro", uri=True) as db:
        return int(db.execute("SELECT count(*) FROM journal_record").fetchone()[0])


def test_a_kiosk_that_is_killed_comes_back_to_its_queue(street: Street) -> None:
    street.processes.stop("kiosk", kill=True)
    street.processes.start("kiosk", "kiosk", "--config", str(street.folder / "kiosk.toml"))
    until(lambda: street.state().get("view") == "idle", "the idle screen", 60)
    until(lambda: street.state()["banner"]["level"] == "ok", "the kiosk on line", 60)
    assert street.walk(WELL) == "admit"
    until(lambda: street.state()["banner"]["unsent"] == 0, "everything at the server")


def test_nothing_on_any_disk_or_in_any_log_names_a_visitor(street: Street) -> None:
    assert street.walk(WELL) == "admit"
    until(lambda: street.state()["banner"]["unsent"] == 0, "everything at the server")
    secrets = [PHONE.encode(), PHONE[1:].encode(), PHONE[3:].encode(), b"JK1:"]
    for resident in RESIDENTS:
        secrets += [resident.id_number.encode(), resident.id_number[:17].encode(), resident.full_name.encode()]
    looked = 0
    for top, _, names in os.walk(street.folder):
        for name in names:
            path = Path(top) / name
            if not path.is_file() or path.is_symlink():
                continue
            data = path.read_bytes()
            looked += 1
            for secret in secrets:
                assert secret not in data, f"{path.relative_to(street.folder)} holds {secret[:6]!r}..."
    assert looked > 15


def test_a_page_of_the_console_is_not_for_strangers(street: Street) -> None:
    answer = requests.get(f"{street.base}/kiosks", timeout=10, allow_redirects=False)
    assert answer.status_code == 303 and "/sign-in" in answer.headers["Location"]
