"""The pages in a real browser: journeys, labels, contrast, keyboard, phone width, and pictures for the manual.

Set GATEHOUSE_PICTURES=1 to draw docs/pictures/ again.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from PIL import Image
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException, WebDriverException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait
from werkzeug.serving import make_server

from config.server import ServerSettings
from protocol.credentials.identity import check_digit
from protocol.words import Colour
from server import create_app
from server.codes.models import VenueCode
from server.context import House
from server.demo import VENUE_ID, seed
from server.kiosks.models import EnrolmentCode, Kiosk
from server.residents.models import HealthStatus
from server.setup import initialise
from tests.browser import chromium, policy_complaints, resize
from tests.server.people import NOON, PASSWORD, PASSWORD_ALONE, Clock
from tests.server.vaults import publish_vault

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PICTURES = Path(__file__).resolve().parents[2] / "docs" / "pictures"
V = VENUE_ID.hex()


def _is_gone(element: WebElement) -> bool:
    """Whether the page it was on has been replaced; caught in the act, Chromium says so in other words."""
    try:
        element.is_enabled()
    except StaleElementReferenceException:
        return True
    except WebDriverException as error:
        if "does not belong to the document" not in str(error):
            raise
        return True
    return False


class Console:
    """What a person does with the browser, in the person's words."""

    def __init__(self, driver: Chrome, address: str) -> None:
        self.driver, self.address = driver, address

    def open(self, path: str) -> None:
        self.driver.get(self.address + path)

    def signs_in(self, name: str) -> None:
        self.driver.delete_all_cookies()
        self.open("/sign-in")
        self.driver.find_element(By.ID, "name").send_keys(name)
        self.driver.find_element(By.ID, "password").send_keys(PASSWORD + Keys.ENTER)
        WebDriverWait(self.driver, 20).until(lambda d: not d.current_url.endswith("/sign-in"))

    def presses(self, words: str) -> None:
        """Press the button or follow the link that says *words*."""
        ways = (
            f"//button[contains(., '{words}')]",
            f"//a[contains(., '{words}')]",
            f"//summary[contains(., '{words}')]",
        )
        found = [element for way in ways for element in self.driver.find_elements(By.XPATH, way)]
        shown = [element for element in found if element.is_displayed()]
        assert shown, f"nothing to press says {words}: {self.sees()}"
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", shown[0])
        before = self.driver.find_element(By.TAG_NAME, "html")
        is_fold = shown[0].tag_name == "summary"
        shown[0].click()
        if not is_fold:
            # a form's answer replaces the page; a download does not, and gets three seconds to begin
            with contextlib.suppress(TimeoutException):
                WebDriverWait(self.driver, 3).until(lambda _: _is_gone(before))

    def awaits(self, words: str) -> None:
        """Look until the page says *words*."""
        WebDriverWait(self.driver, 20).until(lambda d: words in self.sees(), f"never seen: {words}")

    def sees(self) -> str:
        return str(self.driver.execute_script("return document.body ? document.body.innerText : ''"))

    def is_phone(self) -> None:
        resize(self.driver, 390, 844, mobile=True)

    def is_desk(self) -> None:
        resize(self.driver, 1200, 860)

    def picture(self, name: str, folder: Path) -> None:
        """Keep what is shown now: always in the test's folder, and in the manual when asked to."""
        path = folder / f"{name}.png"
        self.driver.save_screenshot(str(path))
        if os.environ.get("GATEHOUSE_PICTURES"):
            PICTURES.mkdir(exist_ok=True)
            with Image.open(path) as image:
                small = image.convert("RGB").quantize(64)
                small.save(PICTURES / f"console-{name}.png", optimize=True)


@pytest.fixture
def live(tmp_path: Path, clock: Clock) -> Iterator[tuple[Flask, str]]:
    """The demo's district, served over HTTP, with a kiosk in each condition."""
    settings = ServerSettings(public_url="http://localhost", data_dir=tmp_path / "data", accounts=PASSWORD_ALONE)
    initialise(settings, now=NOON)
    app = create_app(settings, now=clock)
    publish_vault(settings.vault_public_path)
    house: House = app.extensions["gatehouse"]
    with app.app_context(), house.database.writing() as writing:
        seed(writing, password=PASSWORD, at=NOON - timedelta(hours=2))
    with house.database.writing() as writing:
        for n, (name, seen, unsent) in enumerate(
            (("东门左", 4, None), ("东门右", 9, None), ("西门", 1260, 1500), ("儿童馆", 12, 2400))
        ):
            writing.add(_kiosk(n, name, NOON - timedelta(seconds=seen), unsent))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield app, f"http://localhost:{server.server_port}"
    server.shutdown()
    thread.join(10)
    server.server_close()
    house.database.engine.dispose()


def _kiosk(n: int, name: str, seen: datetime, unsent_s: int | None) -> Kiosk:
    return Kiosk(
        id=(n + 1).to_bytes(8, "big"),
        venue_id=VENUE_ID,
        entrance=1 + n // 2 % 2,
        name=name,
        public_key=(n + 1).to_bytes(32, "big"),
        state="active",
        enrolled_at=NOON - timedelta(days=20),
        last_seen_at=seen,
        last_sequence=4100 + n,
        unsent_count=12 if unsent_s else 0,
        oldest_unsent_at=NOON - timedelta(seconds=unsent_s) if unsent_s else None,
        bundle_version=17,
        app_version="0.1.0",
        clock_offset_ms=180 * (n + 1),
        opening_test_at=NOON - timedelta(hours=4),
        health={"card": "ok", "power": "ok"},
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    with chromium() as found:
        yield found


@pytest.fixture
def driver(browser: Chrome) -> Chrome:
    """The one browser of a module, with nobody signed in and nothing said yet."""
    browser.execute_cdp_cmd("Network.clearBrowserCookies", {})
    browser.get("about:blank")
    browser.get_log("browser")
    return browser


@pytest.fixture
def console(live: tuple[Flask, str], driver: Chrome) -> Iterator[Console]:
    console = Console(driver, live[1])
    console.is_desk()
    yield console
    assert policy_complaints(driver) == []


def test_a_code_from_issue_to_poster_to_revocation(console: Console, tmp_path: Path) -> None:
    console.open("/")
    console.picture("sign-in", tmp_path)
    console.signs_in("street")
    console.awaits("各出入口是否正常")
    console.picture("home", tmp_path)
    console.open(f"/venues/{V}")
    console.picture("venue", tmp_path)
    console.presses("签发场所码")
    console.awaits("场所码已签发")
    code_page = console.driver.current_url.removeprefix(console.address)
    console.picture("code", tmp_path)
    console.signs_in("operator")
    console.open(code_page)
    console.presses("打印")
    console.open(code_page)
    console.driver.find_element(By.ID, "note").send_keys("门左侧")
    console.presses("已张贴")
    console.awaits("场所码已启用")
    console.signs_in("street")
    console.open(code_page)
    console.presses("撤销此场所码")
    console.driver.find_element(By.ID, "reason").send_keys("入口搬迁")
    console.driver.find_element(By.ID, "venue_name").send_keys("锦江图书馆")
    console.driver.find_element(By.ID, "venue_name").send_keys(Keys.ENTER)
    WebDriverWait(console.driver, 20).until(lambda d: "场所码已撤销" in console.sees())
    console.open("/audit")
    assert "入口搬迁" in console.sees()
    console.picture("audit", tmp_path)


def test_a_kiosk_is_enrolled_from_a_code_on_the_screen(
    live: tuple[Flask, str], console: Console, clock: Clock, tmp_path: Path
) -> None:
    house: House = live[0].extensions["gatehouse"]
    console.signs_in("tech")
    console.open("/kiosks")
    console.picture("kiosks", tmp_path)
    console.open(f"/venues/{V}/enrol?entrance=1")
    console.driver.find_element(By.ID, "kiosk_name").send_keys("新终端")
    console.presses("生成登记码")
    assert console.driver.find_element(By.CSS_SELECTOR, "svg.qr").size["width"] > 300
    console.picture("enrolment", tmp_path)
    with house.database.writing() as writing:
        fresh = _kiosk(8, "新终端", NOON, None)
        writing.add(fresh)
        writing.flush()
        code = writing.query(EnrolmentCode).one()
        code.used_at, code.kiosk_id = NOON, fresh.id
    # without any script of ours, the page notices by itself
    WebDriverWait(console.driver, 30).until(lambda _: "终端已登记并上线" in console.sees())
    console.presses("查看终端")
    assert "新终端" in console.sees()
    console.picture("kiosk", tmp_path)


def test_residents_and_visitors_use_a_phone(live: tuple[Flask, str], console: Console, tmp_path: Path) -> None:
    house: House = live[0].extensions["gatehouse"]
    console.is_phone()
    for name, word in (("wang", "绿码"), ("zhang", "黄码"), ("zhao", "红码")):
        console.signs_in(name)
        assert word in console.sees()
        _fits_the_width(console)
        console.picture(f"resident-{name}", tmp_path)
    with house.database.writing() as writing:
        writing.query(HealthStatus).filter_by(colour=int(Colour.RED)).one().expires_at = NOON
    console.presses("立即更新")
    assert "无数据" in console.sees()
    console.driver.delete_all_cookies()
    with house.database.reading() as reading:
        token = reading.query(VenueCode).one().token
    console.open(f"/v/{token}?lang=zh")
    assert "填写之前请阅读" in console.sees()
    _fits_the_width(console)


def test_a_resident_from_entry_to_a_paper_code(console: Console, tmp_path: Path) -> None:
    console.signs_in("community")
    console.presses("居民登记")
    _is_fit_for_everybody(console)
    console.picture("residents", tmp_path)
    console.presses("登记居民")
    number = "51010419910203404" + check_digit("51010419910203404")
    for field, text in (("name", "陈大文"), ("id_number", number[:-1]), ("phone", "138 0013 8000")):
        console.driver.find_element(By.ID, field).send_keys(text)
    console.driver.find_element(By.ID, "phone").send_keys(Keys.ENTER)
    console.awaits("身份证号码应为 18 位")
    _is_fit_for_everybody(console)
    console.driver.find_element(By.ID, "id_number").send_keys(number[-1] + Keys.ENTER)
    console.awaits("居民已登记")
    _is_fit_for_everybody(console)
    console.driver.find_element(By.CSS_SELECTOR, "form[action$=statements] button").click()
    console.awaits("已记录")
    console.picture("resident-entry", tmp_path)
    console.presses("签发纸质码")
    console.awaits("陈*文")
    console.driver.back()
    console.presses("生成用户名和密码")
    console.awaits("初始密码")
    _is_fit_for_everybody(console)
    console.picture("resident-account", tmp_path)
    table = tmp_path / "residents.csv"
    other = "51010419910203405" + check_digit("51010419910203405")
    lines = f"林小花,{other},,510104001001", f"陈大文,{number},,510104001001", "错一行,1,,510104001001"
    table.write_text("姓名,证件号码,手机号,区域代码\n" + "\n".join(lines) + "\n", encoding="gb18030")
    console.open("/residents/import")
    console.driver.find_element(By.ID, "table").send_keys(str(table))
    console.presses("预检表格")
    console.awaits("1 行有问题")
    _is_fit_for_everybody(console)
    table.write_text("姓名,证件号码,手机号,区域代码\n" + "\n".join(lines[:2]) + "\n", encoding="gb18030")
    console.driver.find_element(By.ID, "table").send_keys(str(table))
    console.presses("预检表格")
    console.awaits("将登记")
    console.picture("residents-import", tmp_path)
    console.presses("登记这 1 人")
    console.awaits("已登记 1 名居民")


def test_a_paper_code_from_search_to_revocation(console: Console, tmp_path: Path) -> None:
    console.signs_in("community")
    console.presses("纸质码")
    console.presses("签发纸质码")
    console.driver.find_element(By.ID, "words").send_keys("欧阳娜娜")
    console.presses("查找居民")
    console.picture("paper-find", tmp_path)
    _is_fit_for_everybody(console)
    console.presses("为此人签发")
    console.picture("paper-code", tmp_path)
    _is_fit_for_everybody(console)
    assert "欧*娜" in console.sees() and "绿码" in console.sees()
    console.presses("作废此纸质码")
    console.driver.find_element(By.ID, "reason").send_keys("遗失" + Keys.ENTER)
    WebDriverWait(console.driver, 20).until(lambda d: "已作废" in console.sees())
    console.presses("纸质码")
    console.picture("paper-codes", tmp_path)
    _is_fit_for_everybody(console)


def test_a_badge_is_given_out(console: Console, tmp_path: Path) -> None:
    console.signs_in("operator")
    console.open(f"/venues/{V}")
    console.presses("工作证")
    console.presses("签发工作证")
    assert "使用中" in console.sees()
    console.picture("badges", tmp_path)
    _is_fit_for_everybody(console)


def _is_fit_for_everybody(console: Console) -> None:
    for width in (console.is_phone, console.is_desk):
        width()
        assert console.driver.execute_script(_CHECKS) == []
        _fits_the_width(console)


PAGES = (
    "/",
    "/venues",
    "/venues/new",
    f"/venues/{V}",
    "/codes",
    "/codes/1",
    "/kiosks",
    "/kiosks/0000000000000001",
    "/audit",
    "/password",
)


def test_every_page_can_be_used_by_everybody(console: Console) -> None:
    console.signs_in("street")
    problems: list[str] = []
    for width in (console.is_desk, console.is_phone):
        width()
        for path in PAGES:
            console.open(path)
            problems += [f"{path}: {problem}" for problem in console.driver.execute_script(_CHECKS)]
            _fits_the_width(console)
    assert problems == []


def test_one_can_work_with_the_keyboard_alone(console: Console) -> None:
    console.signs_in("street")
    body = console.driver.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.TAB)
    first = console.driver.switch_to.active_element
    assert first.get_attribute("class") == "skip" and first.rect["x"] >= 0, "the skip link shows when it has the focus"
    first.send_keys(Keys.ENTER)
    assert console.driver.current_url.endswith("#content")
    seen = set()
    for _ in range(40):
        console.driver.switch_to.active_element.send_keys(Keys.TAB)
        element = console.driver.switch_to.active_element
        if element.tag_name == "body":
            break
        outline = console.driver.execute_script("return getComputedStyle(arguments[0]).outlineStyle", element)
        assert outline != "none", element.text
        seen.add(element.get_attribute("href"))
    assert any(link and "condition=alive" in link for link in seen)


def _fits_the_width(console: Console) -> None:
    wide, offenders = console.driver.execute_script(_WIDTH)
    assert wide <= 0, f"{console.driver.current_url} is {wide} px too wide: {offenders}"


_WIDTH = r"""
const page = document.documentElement, width = page.clientWidth;
const beyond = e => e.getBoundingClientRect().right > width + 1 && !e.closest('.scroll');
const offenders = [...document.querySelectorAll('body *')].filter(beyond);
return [page.scrollWidth - width, offenders.slice(0, 3).map(e => e.outerHTML.slice(0, 120))];
"""

# WCAG 2.2: 1.1.1, 1.3.1, 2.4.2, 2.5.8, 3.1.1, 4.1.2 in part, and 1.4.3 for every text that is shown.
_CHECKS = r"""
const problems = [];
const shown = e => e.getClientRects().length && getComputedStyle(e).visibility !== 'hidden';
if (!document.title.trim()) problems.push('no title');
if (document.documentElement.lang !== 'zh-Hans') problems.push('no language');
if (document.querySelectorAll('h1').length !== 1) problems.push('not one h1');
for (const e of document.querySelectorAll('input:not([type=hidden]), select, textarea'))
  if (!e.labels.length && !e.getAttribute('aria-label')) problems.push('no label: ' + e.outerHTML);
for (const e of document.querySelectorAll('img')) if (!e.hasAttribute('alt')) problems.push('no alt: ' + e.src);
for (const e of document.querySelectorAll('a, button'))
  if (!e.textContent.trim() && !e.getAttribute('aria-label')) problems.push('no name: ' + e.outerHTML);
const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
for (const id of new Set(ids.filter((id, i) => ids.indexOf(id) !== i))) problems.push('id twice: ' + id);
if (document.querySelector('[style], [onclick], style, script:not([src])')) problems.push('something inline');
for (const e of document.querySelectorAll('button, .button')) {
  const box = e.getBoundingClientRect();
  if (shown(e) && (box.height < 24 || box.width < 24)) problems.push('too small: ' + e.textContent);
}
const luminance = ([r, g, b]) => {
  const f = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b);
};
const numbers = c => c.match(/[\d.]+/g).map(Number);
const ground = e => {
  for (; e; e = e.parentElement) {
    const c = numbers(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] === 1) return c;
  }
  return [255, 255, 255];
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const e = walker.currentNode.parentElement;
  if (!walker.currentNode.textContent.trim() || !shown(e) || e.closest('option, svg')) continue;
  const [a, b] = [luminance(numbers(getComputedStyle(e).color)), luminance(ground(e))].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  if (ratio < 4.5) problems.push(`contrast ${ratio.toFixed(2)}: ${walker.currentNode.textContent.trim().slice(0, 30)}`);
}
return problems;
"""
