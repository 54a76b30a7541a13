"""The approver's two ways: an approval key on their own machine, and a passkey in the browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.virtual_authenticator import Protocol, Transport, VirtualAuthenticatorOptions
from selenium.webdriver.support.expected_conditions import url_changes, visibility_of_element_located
from selenium.webdriver.support.ui import WebDriverWait

from server.queries.models import QueryRow
from tests.browser import chromium, policy_complaints
from tests.server.people import LIBRARY, PASSWORD, sign_in
from tests.server.queries.conftest import LI, OUYANG, form, store
from tests.server.queries.site import Site, running_site
from tests.server.vault.world import ID_NUMBER, NAME

KEY_PASSPHRASE = "the approver's own passphrase"
pytestmark = pytest.mark.slow


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running_site(tmp_path) as running:
        kiosk = running.world.kiosk()
        store(running.house, [kiosk.pass_with_code(who, venue=LIBRARY) for who in (OUYANG, LI)])
        yield running


def ask(site: Site, **changes: str) -> str:
    epi = sign_in(site.app, "epi")
    answer = epi.post("/queries/new", {**form(site.house), **changes}, page="/queries/new")
    assert answer.status_code == 303, answer.text
    return answer.location


def state(site: Site, address: str) -> str:
    with site.house.database.reading() as reading:
        return reading.get_one(QueryRow, bytes.fromhex(address.rsplit("/", 1)[1])).state


def test_the_whole_way_on_the_command_line(site: Site) -> None:
    address = ask(site, reveal="id_number")
    query_id = address.rsplit("/", 1)[1]
    key = site.folder / "district.key"
    made = site.command("approve", "keygen", "--out", str(key), passphrase=KEY_PASSPHRASE)
    assert made.returncode == 0, made.stderr
    assert key.stat().st_mode & 0o077 == 0
    fingerprint = made.stdout.rsplit("you: ", 1)[1].strip()
    vault = ("--dir", str(site.world.folder))
    added = site.command(
        "vault", "approvers", "add", "district", "--key", f"{key}.pub", "--purposes", "epi_trace", "--yes", *vault
    )
    assert added.returncode == 0, added.stderr
    assert fingerprint in added.stdout
    assert fingerprint in site.command("vault", "approvers", "list", *vault).stdout

    where = ("--server", site.url, "--user", "district")
    listed = site.command("approve", "list", *where, password=PASSWORD)
    assert query_id[:8] in listed.stdout and "EPI-2026-17" in listed.stdout, listed.stderr
    shown = site.command("approve", "show", query_id[:8], *where, password=PASSWORD)
    for word in ("证件号码", "流调溯源", "传染病防治法", "锦江图书馆", "epi", "10 条"):
        assert word in shown.stdout
    sign = ("approve", "sign", query_id[:8], *where, "--key", str(key), "--yes")
    wrong = site.command(*sign, password=PASSWORD, passphrase="not the passphrase")
    assert wrong.returncode == 2 and "does not open" in wrong.stderr
    assert state(site, address) == "requested"
    signed = site.command(*sign, password=PASSWORD, passphrase=KEY_PASSPHRASE)
    assert signed.returncode == 0, signed.stderr
    assert state(site, address) == "approved"

    page = sign_in(site.app, "epi").post(f"{address}/look", page=address).text
    assert ID_NUMBER in page and NAME not in page
    verified = site.command("vault", "log", "verify", *vault)
    assert verified.returncode == 0, verified.stderr


@pytest.mark.parametrize(
    ("arguments", "user", "password", "words"),
    [
        (("list",), "district", "wrong password", "sign-in failed"),
        (("list",), "epi", PASSWORD, "approves no queries"),
        (("show", "00000000"), "district", PASSWORD, "0 waiting queries"),
    ],
)
def test_the_command_says_what_is_wrong(
    site: Site, arguments: tuple[str, ...], user: str, password: str, words: str
) -> None:
    answer = site.command("approve", *arguments, "--server", site.url, "--user", user, password=password)
    assert answer.returncode == 2
    assert words in answer.stderr


def test_a_plain_http_address_gets_no_password(site: Site) -> None:
    answer = site.command("approve", "list", "--server", "http://gatehouse.example", "--user", "x", password="y")
    assert answer.returncode == 2 and "not the address" in answer.stderr


@pytest.fixture
def driver() -> Iterator[Chrome]:
    with chromium("--window-size=1180,1000") as found:
        yield found


class Person:
    """Somebody in front of the browser."""

    def __init__(self, driver: Chrome, site: Site, pictures: Path | None = None) -> None:
        self.driver, self.site, self.pictures = driver, site, pictures

    def signs_in(self, name: str) -> None:
        self.driver.delete_all_cookies()
        self.opens("/sign-in")
        self.driver.find_element(By.NAME, "name").send_keys(name)
        self.driver.find_element(By.NAME, "password").send_keys(PASSWORD)
        self.presses("form button")

    def opens(self, path: str) -> None:
        self.driver.get(self.site.url + path)

    def presses(self, selector: str) -> None:
        """Press a button that leads to a freshly loaded page."""
        self.driver.execute_script("window.wasHere = true")
        WebDriverWait(self.driver, 20).until(visibility_of_element_located((By.CSS_SELECTOR, selector))).click()
        WebDriverWait(self.driver, 20).until(
            lambda d: d.execute_script("return !window.wasHere && document.readyState === 'complete'")
        )

    def reads(self) -> str:
        return self.driver.find_element(By.TAG_NAME, "body").text

    def keeps(self, name: str) -> None:
        """A picture of the page; only wanted when somebody looks at them."""
        if self.pictures:
            self.driver.save_screenshot(str(self.pictures / f"{name}.png"))


@pytest.mark.browser
def test_a_passkey_approves_the_query_it_was_shown_and_no_other(
    site: Site, driver: Chrome, request: pytest.FixtureRequest
) -> None:
    pictures = request.config.cache.makedir("query-pages")
    somebody = Person(driver, site, Path(pictures))
    options = VirtualAuthenticatorOptions(
        protocol=Protocol.CTAP2,
        transport=Transport.INTERNAL,
        has_resident_key=True,
        has_user_verification=True,
        is_user_verified=True,
    )
    driver.add_virtual_authenticator(options)

    somebody.signs_in("district")
    somebody.opens("/queries/passkeys/")
    somebody.presses("form[data-passkey] button")
    assert "Not accepted yet" in somebody.reads()
    somebody.keeps("passkeys")
    fingerprint = driver.find_element(By.CSS_SELECTOR, "td.fingerprint").text
    cookies = {cookie["name"]: cookie["value"] for cookie in driver.get_cookies()}
    file = site.folder / "district.offer"
    link = driver.find_element(By.CSS_SELECTOR, "td a").get_attribute("href")
    assert link
    file.write_bytes(requests.get(link, cookies=cookies, timeout=20).content)

    address = ask(site)
    somebody.opens(address)
    assert "The vault knows no key of yours yet" in somebody.reads()
    accepted = site.command(
        "vault", "approvers", "accept", str(file), "--purposes", "epi_trace", "--yes", "--dir", str(site.world.folder)
    )
    assert accepted.returncode == 0, accepted.stderr
    assert fingerprint in accepted.stdout
    somebody.opens("/queries/passkeys/")
    assert "Accepted" in somebody.reads()

    somebody.opens("/queries/inbox")
    somebody.keeps("inbox")
    somebody.presses("td form button")
    assert "Under review" in somebody.reads()
    somebody.keeps("decide")
    # a page that a broken-in web server has made: it shows one query and has another signed
    other = ask(site, case_reference="EPI-2026-99")
    somebody.opens(address)
    swapped = "document.querySelector('form[data-passkey]').dataset.challenge = arguments[0]"
    somebody.opens(other)
    foreign = driver.find_element(By.CSS_SELECTOR, "form[data-passkey]").get_attribute("data-challenge")
    somebody.opens(address)
    driver.execute_script(swapped, foreign)
    somebody.presses("form[data-passkey] button")
    assert "was not taken" in somebody.reads()
    assert state(site, address) == "reviewing"

    somebody.presses("form[data-passkey] button")
    assert state(site, address) == "approved"
    assert "was approved" in somebody.reads()

    somebody.signs_in("epi")
    somebody.opens("/queries/new")
    somebody.keeps("new")
    assert "同一健康码在两处门口使用" in somebody.reads()
    somebody.opens(address)
    somebody.keeps("approved")
    somebody.presses("main form button")
    text = somebody.reads()
    assert "欧**明" in text and "110*************2X" in text and NAME not in text
    somebody.keeps("result")
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    marks = driver.find_elements(By.CSS_SELECTOR, ".watermark span")
    assert len(marks) == 24 and all(mark.is_displayed() and mark.text.startswith("epi 2") for mark in marks)
    assert not driver.find_element(By.CSS_SELECTOR, ".bar").is_displayed()
    somebody.keeps("result-printed")
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    somebody.opens("/queries/")
    somebody.keeps("mine")
    somebody.signs_in("officer")
    somebody.opens("/queries/looks")
    somebody.presses("main form button")
    assert "The log holds" in somebody.reads()
    somebody.keeps("looks")
    problems = policy_complaints(driver)
    assert problems == []


@pytest.mark.browser
def test_a_passkey_without_its_owner_s_check_approves_nothing(site: Site, driver: Chrome) -> None:
    somebody = Person(driver, site)
    options = VirtualAuthenticatorOptions(
        transport=Transport.INTERNAL, has_resident_key=True, has_user_verification=True, is_user_verified=False
    )
    driver.add_virtual_authenticator(options)
    somebody.signs_in("district")
    somebody.opens("/queries/passkeys/")
    before = driver.current_url
    driver.find_element(By.CSS_SELECTOR, "form[data-passkey] button").click()
    WebDriverWait(driver, 20).until(visibility_of_element_located((By.CSS_SELECTOR, ".problem")))
    assert "NotAllowedError" in somebody.reads()
    assert not url_changes(before)(driver)
