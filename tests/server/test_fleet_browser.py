"""The fleet at a glance, the search and the steps after a loss in a real browser, by keyboard and by axe's rules."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By

from server.context import House
from server.demo import VENUE_ID
from server.kiosks.fleet_counting import count_new
from tests.server.cases.test_cases_browser import violations
from tests.server.people import NOON
from tests.server.test_browser import Console
from tests.server.test_browser import browser as browser  # the fixtures
from tests.server.test_browser import driver as driver
from tests.server.test_browser import live as live
from tests.server.test_fleet import put_passages

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_from_the_chart_to_a_door_and_from_the_search_to_a_kiosk(
    live: tuple[Flask, str], driver: Chrome, tmp_path: Path
) -> None:
    app, address = live
    house: House = app.extensions["gatehouse"]
    outcomes = ("admit", "admit", "admit", "hold", "admit", "deny", "admit")
    rows = [(-minute * 60_000, outcomes[minute % 7]) for minute in range(0, 1200, 3) if minute % 180 < 130]
    put_passages(house, b"c" * 8, VENUE_ID, *rows)
    while count_new(house, NOON)[1]:
        pass
    console = Console(driver, address)
    console.is_desk()
    console.signs_in("street")
    console.open("/kiosks/overview")
    console.awaits("每小时通行人次")
    console.picture("fleet", tmp_path)
    assert violations(driver) == []
    driver.find_elements(By.CSS_SELECTOR, ".plan a.tile")[0].click()
    console.awaits("出入口分布")
    console.picture("fleet-doors", tmp_path)
    assert violations(driver) == []

    console.open("/")
    field = driver.find_element(By.CSS_SELECTOR, "header [name=q]")
    field.send_keys("儿童馆" + Keys.ENTER)
    console.awaits("找到")
    console.picture("search", tmp_path)
    assert violations(driver) == []
    driver.find_element(By.PARTIAL_LINK_TEXT, "儿童馆").send_keys(Keys.ENTER)
    console.awaits("问题与处理办法")
    console.picture("findings", tmp_path)
    assert violations(driver) == []
    console.presses("终端丢失时怎么办")
    console.awaits("终端丢失")
    console.picture("lost", tmp_path)
    assert violations(driver) == []
    for path in ("/venues", "/kiosks", "/codes"):
        console.open(path)
        assert violations(driver) == [], path
    console.picture("codes-list", tmp_path)
    console.is_phone()
    console.open("/kiosks/overview")
    console.picture("fleet-phone", tmp_path)
    assert driver.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
