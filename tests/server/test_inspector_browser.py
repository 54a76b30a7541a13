"""A pass from the console to the kiosk's decoder, in a real browser: issued at a desk, read from a phone, stopped."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import cv2
import pytest
from flask import Flask
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from kiosk.decoder import Decoder
from protocol.credentials import check
from protocol.words import CredentialKind
from server.bundles.parts import trust_list
from server.context import House
from server.demo import VENUE_ID
from tests.server.people import NOON
from tests.server.test_browser import Console
from tests.server.test_browser import browser as browser  # the fixtures
from tests.server.test_browser import driver as driver
from tests.server.test_browser import live as live

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_pass_is_issued_at_a_desk_and_read_from_a_phone(
    live: tuple[Flask, str], driver: Chrome, tmp_path: Path
) -> None:
    app, address = live
    console = Console(driver, address)
    console.is_desk()
    console.signs_in("street")
    console.open("/inspectors")
    Select(driver.find_element(By.NAME, "inspector")).select_by_index(0)
    Select(driver.find_element(By.NAME, "venues")).select_by_value(VENUE_ID.hex())
    console.picture("inspector-passes", tmp_path)
    console.presses("签发检查员证")
    console.awaits("已签发")
    page = driver.current_url.removeprefix(address)

    console.is_phone()
    console.signs_in("inspector")
    console.open(page)
    console.awaits("检查员证")
    driver.execute_script("document.querySelector('svg.qr').scrollIntoView({block: 'center'})")
    console.picture("inspector-pass", tmp_path)
    shown = cv2.imread(str(tmp_path / "inspector-pass.png"))
    texts = [code.text for _ in range(5) for code in Decoder().read(shown)]
    house: House = app.extensions["gatehouse"]
    checked = check(texts[0], trust_list(house, house.now()), at=NOON)
    assert checked.valid and checked.kind is CredentialKind.INSPECTOR_PASS
    assert checked.credential is not None and checked.credential.expires_at == NOON + timedelta(hours=8)
    assert "撤销此证" not in console.sees(), "its holder cannot end it"

    console.is_desk()
    console.signs_in("street")
    console.open(page)
    console.presses("撤销此证")
    driver.find_element(By.NAME, "reason").send_keys("手机丢失")
    console.presses("撤销此证")
    console.awaits("已撤销")
    assert not driver.find_elements(By.CSS_SELECTOR, "svg.qr")
