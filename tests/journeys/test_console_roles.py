"""Console roles in a real browser: an operator who has no account yet, and the three people behind a public notice.

The other roles have theirs beside their subject: applicant, reviewer, operator and inspector in
tests/server/applications, investigator and approver in tests/server/queries, resident in tests/server/checkin.
Set GATEHOUSE_PICTURES=1 to draw docs/pictures/ again.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.ui import WebDriverWait

from protocol.notice import notices_from_bytes
from server.bundles.models import BundlePart
from server.bundles.parts import venue_scope
from server.bundles.publishing import publish_all
from server.context import House
from server.demo import COMMUNITY, STREET, VENUE_ID
from tests.browser import policy_complaints, resize
from tests.server.applications.test_journeys_browser import clicks_plan, decides, fills, uploads
from tests.server.cases.test_cases_browser import violations
from tests.server.conftest import clock as clock  # the fixtures
from tests.server.files import PDF, picture
from tests.server.people import PASSWORD, Clock
from tests.server.test_browser import Console
from tests.server.test_browser import browser as browser
from tests.server.test_browser import driver as driver
from tests.server.test_browser import live as live

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def sign_in_with(console: Console, name: str) -> None:
    """By the page's own form, where the browser stands now."""
    console.driver.find_element(By.ID, "name").send_keys(name)
    console.driver.find_element(By.ID, "password").send_keys(PASSWORD + Keys.ENTER)
    WebDriverWait(console.driver, 20).until(lambda d: "/sign-in" not in d.current_url)


def test_an_operator_registers_applies_and_runs_the_venue(
    live: tuple[Flask, str], driver: Chrome, tmp_path: Path
) -> None:
    (tmp_path / "licence.pdf").write_bytes(PDF)
    (tmp_path / "plan.png").write_bytes(picture((1600, 1000)))
    console = Console(driver, live[1])
    console.is_phone()
    console.open("/sign-in")
    assert violations(driver) == []
    console.presses("注册（场所经营者）")
    console.awaits("您填写的信息如何使用")
    assert violations(driver) == []
    assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    fills(driver, name="许新店", phone="028-5550300", unit="河畔书店", password=PASSWORD, again=PASSWORD)
    Select(driver.find_element(By.NAME, "area")).select_by_value(STREET)
    driver.find_element(By.ID, "agree").click()
    resize(driver, 760, 1920)
    driver.execute_script("scrollTo(0, 0)")
    console.picture("register", tmp_path)
    console.is_desk()
    fills(driver, again=PASSWORD + "x")
    console.presses("创建账号")
    console.awaits("两次输入")
    assert violations(driver) == []
    fills(driver, password=PASSWORD, again=PASSWORD)
    console.presses("创建账号")
    console.awaits("您的用户名")
    assert violations(driver) == []
    console.picture("registered", tmp_path)
    name = driver.find_element(By.CSS_SELECTOR, "main code").text
    console.presses("登录并申请场所码")
    sign_in_with(console, name)
    assert driver.current_url.endswith("/applications/")
    menu = driver.find_element(By.CSS_SELECTOR, "nav").text
    assert "申请场所码" in menu
    assert all(word not in menu for word in ("终端", "查询", "账号管理", "居民"))
    assert violations(driver) == []

    console.presses("为新场所申请")
    fills(driver, name_zh="河畔书店", address="滨江路 8 号", contact_name="许新店", contact_phone="028-5550300")
    fills(driver, keeper_name="许新店", keeper_phone="028-5550300")
    Select(driver.find_element(By.NAME, "area_code")).select_by_value(COMMUNITY)
    console.presses("保存草稿")
    page = driver.current_url.removeprefix(console.address)
    uploads(driver, "proof-file", tmp_path / "licence.pdf")
    uploads(driver, "plan-file", tmp_path / "plan.png")
    fills(driver, name_zh="正门")
    clicks_plan(driver, 0, 0)
    decides(driver, "submit")

    console.signs_in("street")
    console.open(page)
    console.awaits("以下信息未经核实")
    assert violations(driver) == []
    console.picture("review-registered", tmp_path)
    decides(driver, "take_up")
    decides(driver, "approve", is_true="", is_complete="", meets_conditions="")
    console.awaits("由此签发的场所码")

    driver.delete_all_cookies()
    console.open("/sign-in?next=/venues")
    sign_in_with(console, name)
    console.awaits("河畔书店")
    assert policy_complaints(driver) == []


def test_a_notice_goes_through_three_pairs_of_hands(
    live: tuple[Flask, str], driver: Chrome, clock: Clock, tmp_path: Path
) -> None:
    house: House = live[0].extensions["gatehouse"]

    def on_screens() -> bool:
        publish_all(house, clock.at)
        with house.database.reading() as reading:
            part = reading.get_one(BundlePart, (venue_scope(VENUE_ID), "notices"))
            return any(notice.title_zh == "流感疫苗接种" for notice in notices_from_bytes(part.data))

    console = Console(driver, live[1])
    console.is_desk()
    console.signs_in("street")
    console.open("/notices/new")
    assert violations(driver) == []
    Select(driver.find_element(By.NAME, "where")).select_by_value(f"area:{STREET}")
    fills(driver, title_zh="流感疫苗接种", title_en="Flu vaccination", source="区卫健局 2026-12 号")
    fills(driver, body_zh="本周六上午接种，咨询 028-5550100", body_en="Saturday morning; ask 028-5550100")
    for field, value in (("begins", "2026-03-02T08:00"), ("ends", "2026-03-05T20:00")):
        driver.execute_script("arguments[0].value = arguments[1]", driver.find_element(By.NAME, field), value)
    console.presses("保存草稿并预览")
    console.awaits("提交审核")
    page = driver.current_url.removeprefix(console.address)
    decides(driver, "submit")
    console.awaits("初审")
    assert "市级审核" not in driver.find_element(By.CSS_SELECTOR, "section[aria-labelledby=steps]").text

    console.signs_in("district")
    console.open("/cases/inbox")
    console.presses("流感疫苗接种")
    console.open(page)
    assert violations(driver) == []
    decides(driver, "pass_first", is_complete="", is_accurate="")
    assert not on_screens()
    console.signs_in("city")
    console.open(page)
    console.awaits("措施合理")
    assert violations(driver) == []
    resize(driver, 1200, 1400)
    console.picture("notice-review", tmp_path)
    console.is_desk()
    decides(driver, "approve", is_lawful="", is_reasonable="")
    console.awaits("正在显示")
    assert violations(driver) == []
    assert on_screens()
    assert policy_complaints(driver) == []
