"""A fault from report to repair in a real browser, without scripts, on a desk and on a phone, and by axe's rules."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from server.demo import VENUE_ID
from tests.kiosk.screen.test_looks import axe_source
from tests.server.people import Clock
from tests.server.test_browser import Console
from tests.server.test_browser import browser as browser  # the fixtures
from tests.server.test_browser import driver as driver
from tests.server.test_browser import live as live

pytestmark = [pytest.mark.browser, pytest.mark.slow]

V = VENUE_ID.hex()
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def violations(driver: Chrome) -> list[str]:
    """What axe-core says against WCAG 2.2 AA and its best practices, everything unfolded."""
    driver.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    driver.execute_script("if (!window.axe) {" + axe_source() + "}")
    found = driver.execute_async_script(
        "const [tags, done] = arguments;"
        "axe.run(document, {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']})"
        ".then(r => done(r.violations.map(v => v.id + ': ' + v.nodes.map(n => n.html).join(' | '))))",
        RULES,
    )
    return [str(line)[:300] for line in found]


def test_a_fault_is_reported_taken_up_and_told_of(
    live: tuple[Flask, str], driver: Chrome, clock: Clock, tmp_path: Path
) -> None:
    console = Console(driver, live[1])
    console.is_phone()
    console.signs_in("staff")
    console.open(f"/cases/fault/new?venue={V}")
    assert violations(driver) == []
    Select(driver.find_element(By.NAME, "part")).select_by_value("thermometer")
    Select(driver.find_element(By.NAME, "what")).select_by_value("wrong")
    driver.find_element(By.NAME, "seen").send_keys("一直显示 36.0")
    console.picture("fault-new", tmp_path)
    console.presses("提交")
    console.awaits("已登记")
    page = driver.current_url.removeprefix(console.address)
    assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    console.picture("fault-phone", tmp_path)

    clock.passes(hours=3)
    console.is_desk()
    console.signs_in("street")
    console.open("/cases/inbox")
    console.awaits("待我处理")
    assert "已逾期" in console.sees()
    assert violations(driver) == []
    console.picture("inbox", tmp_path)
    console.open(page)
    assert violations(driver) == []
    console.open(page)
    console.presses("受理")
    driver.find_element(By.ID, "acknowledge-reason").send_keys("马上安排")
    driver.find_element(By.CSS_SELECTOR, "form[action$='/steps/acknowledge'] button").click()
    console.awaits("链条完整")
    console.awaits("马上安排")
    console.picture("case", tmp_path)
    console.open("/cases/fault/?state=open")
    assert violations(driver) == []
    console.picture("faults", tmp_path)
    console.open("/cases/fault/?state=closed")
    console.awaits("没有符合此筛选的事项")
    assert violations(driver) == []

    console.signs_in("staff")
    console.open("/cases/inbox")
    console.awaits("通知我的事项")
    assert violations(driver) == []


def test_training_is_entered_for_somebody_else(live: tuple[Flask, str], driver: Chrome, tmp_path: Path) -> None:
    console = Console(driver, live[1])
    console.is_desk()
    console.signs_in("street")
    console.open("/cases/training/new")
    console.awaits("哪个地点")
    assert violations(driver) == []
    driver.find_element(By.CSS_SELECTOR, "ul.notes a").click()
    driver.find_element(By.NAME, "account").send_keys("staff")
    driver.find_element(By.NAME, "course").send_keys("个人信息保护")
    console.presses("提交")
    console.awaits("已登记")
    assert violations(driver) == []
    driver.find_element(By.ID, "train-hours").send_keys("3")
    driver.find_element(By.CSS_SELECTOR, "form[action$='/steps/train'] button").click()
    console.awaits("学时少于规定")
    console.picture("training", tmp_path)
    assert violations(driver) == []
