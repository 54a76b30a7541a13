"""The account pages in a real browser: a passkey from making to signing in, and each page fit for everybody."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.virtual_authenticator import VirtualAuthenticatorOptions
from werkzeug.serving import make_server

from config.server import ServerSettings
from server import create_app
from server.accounts.models import AccountSession, User
from server.context import House
from server.demo import seed
from server.setup import initialise
from tests.browser import chromium
from tests.kiosk.screen.test_looks import axe_source
from tests.server.people import NOON, PASSWORD, Clock
from tests.server.test_browser import Console

pytestmark = [pytest.mark.browser, pytest.mark.slow]

AXE = """
const done = arguments[arguments.length - 1];
const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
axe.run(document, {runOnly: {type: "tag", values: tags}, resultTypes: ["violations"]})
  .then(r => done(r.violations.map(v => v.id + ": " + v.nodes.map(n => n.html.slice(0, 100)).join(" | "))));
"""


@pytest.fixture
def site(tmp_path: Path, clock: Clock) -> Iterator[tuple[House, str]]:
    """The demo's district under the strict policy, at an address that passkeys can be bound to."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        url = f"http://localhost:{listener.getsockname()[1]}"
        settings = ServerSettings(public_url=url, data_dir=tmp_path / "data")
        initialise(settings, now=NOON)
        app = create_app(settings, now=clock)
        house: House = app.extensions["gatehouse"]
        with app.app_context(), house.database.writing() as writing:
            seed(writing, password=PASSWORD, at=NOON - timedelta(hours=2))
        server = make_server("127.0.0.1", 0, app, threaded=True, fd=listener.fileno())
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield house, url
        server.shutdown()
        thread.join(10)
        server.server_close()
        house.database.engine.dispose()


@pytest.fixture
def console(site: tuple[House, str]) -> Iterator[Console]:
    with chromium() as driver:
        console = Console(driver, site[1])
        console.is_desk()
        yield console


def look(console: Console, name: str, folder: Path) -> None:
    """Keep a picture, at a desk and on a phone, and let axe-core look at the page."""
    for width, word in ((console.is_phone, "-phone"), (console.is_desk, "")):
        width()
        console.picture(f"accounts-{name}{word}", folder)
        console.driver.execute_script("if (!window.axe) {" + axe_source() + "}")
        assert console.driver.execute_async_script(AXE) == [], name
        beyond = "const page = document.documentElement; return page.scrollWidth - page.clientWidth"
        assert console.driver.execute_script(beyond) <= 0, f"{name}{word} is too wide"


def test_accounts_from_the_first_passkey_to_the_review(
    site: tuple[House, str], console: Console, tmp_path: Path
) -> None:
    house, driver = site[0], console.driver
    authenticator = VirtualAuthenticatorOptions()
    authenticator.has_resident_key = authenticator.has_user_verification = authenticator.is_user_verified = True
    driver.add_virtual_authenticator(authenticator)
    console.signs_in("street")
    console.awaits("您的角色除密码外还需要第二因素")
    look(console, "second-factor-first", tmp_path)
    console.presses("设置验证器应用")
    assert driver.find_element(By.CSS_SELECTOR, "svg.qr").is_displayed()
    look(console, "second-factor-app", tmp_path)
    driver.find_element(By.ID, "name").send_keys("工作手机")
    console.presses("生成通行密钥")
    console.awaits("恢复码仅显示这一次")
    look(console, "recovery-codes", tmp_path)
    console.presses("我已保存")
    look(console, "own", tmp_path)
    console.presses("退出")
    look(console, "sign-in", tmp_path)
    console.presses("用通行密钥登录")
    console.awaits("总览")
    with house.database.reading() as reading:
        assert reading.query(AccountSession).one().method == "passkey"
    driver.delete_all_cookies()
    console.signs_in("street")
    console.awaits("第二因素")
    look(console, "second", tmp_path)
    console.presses("使用通行密钥")
    console.awaits("总览")
    for path, name in (("/account/second-factor", "second-factor"), ("/account/agreement", "agreement")):
        console.open(path)
        look(console, name, tmp_path)
    for path, name in (("/users/", "list"), ("/users/access", "access"), ("/users/new", "new")):
        console.open(path)
        look(console, name, tmp_path)
    driver.find_element(By.ID, "name").send_keys("xin")
    driver.find_element(By.ID, "display_name").send_keys("新来的")
    console.presses("创建账号")
    console.awaits("此链接仅显示这一次")
    look(console, "link", tmp_path)
    link = driver.find_element(By.XPATH, "//code[contains(., 'choose-password')]").text
    with house.database.reading() as reading:
        staff = reading.query(User.id).filter_by(name="staff").scalar()
    console.open(f"/users/{staff}")
    for fold in driver.find_elements(By.TAG_NAME, "details"):
        driver.execute_script("arguments[0].open = true", fold)
    look(console, "one", tmp_path)
    driver.delete_all_cookies()
    driver.get(link)
    look(console, "choose-password", tmp_path)
    for field in ("new", "again"):
        driver.find_element(By.ID, field).send_keys("a fresh pass phrase")
    console.presses("使用此密码")
    console.awaits("请用新密码登录")
    driver.get(link)
    look(console, "link-ended", tmp_path)
