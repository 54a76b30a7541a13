"""Applicant, reviewer, keeper, inspector and somebody unknown in a real browser, desk and phone, and by axe's rules."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask import Flask
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.ui import WebDriverWait
from sqlalchemy import select

from server.applications.models import CodeApplication
from server.cases.models import Case
from server.context import House
from server.demo import VENUE_ID
from tests.server.cases.test_cases_browser import violations
from tests.server.files import PDF, picture, with_position
from tests.server.people import Clock
from tests.server.test_browser import Console
from tests.server.test_browser import browser as browser  # the fixtures
from tests.server.test_browser import driver as driver
from tests.server.test_browser import live as live

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def fills(driver: Chrome, **fields: str) -> None:
    for name, text in fields.items():
        found = driver.find_element(By.NAME, name)
        found.clear()
        found.send_keys(text)


def uploads(driver: Chrome, field: str, path: Path) -> None:
    before = driver.find_element(By.TAG_NAME, "html")
    driver.find_element(By.ID, field).send_keys(str(path))
    driver.find_element(By.ID, field).submit()
    WebDriverWait(driver, 20).until(lambda d: _is_gone(before))


def _is_gone(element: object) -> bool:
    from selenium.common.exceptions import StaleElementReferenceException

    try:
        element.tag_name  # type: ignore[attr-defined]  # noqa: B018 - asking is the test
    except StaleElementReferenceException:
        return True
    return False


def clicks_plan(driver: Chrome, right: int, down: int) -> None:
    """Click at a point of the plan, counted from its middle."""
    plan = driver.find_element(By.CSS_SELECTOR, "input[type=image]")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", plan)
    ActionChains(driver).move_to_element_with_offset(plan, right, down).click().perform()
    WebDriverWait(driver, 20).until(lambda d: _is_gone(plan))


def decides(driver: Chrome, step: str, reason: str = "", **fields: str) -> None:
    form = driver.find_element(By.CSS_SELECTOR, f"form[action$='/steps/{step}']")
    driver.execute_script("arguments[0].closest('details').open = true", form)
    for name, text in fields.items():
        found = driver.find_element(By.ID, f"{step}-{name}")
        if found.get_attribute("type") == "checkbox":
            found.click()
        elif found.get_attribute("type") == "date":
            driver.execute_script("arguments[0].value = arguments[1]", found, text)
        else:
            found.send_keys(text)
    if reason:
        driver.find_element(By.ID, f"{step}-reason").send_keys(reason)
    form.find_element(By.TAG_NAME, "button").click()
    WebDriverWait(driver, 20).until(lambda d: _is_gone(form))


def test_a_shop_applies_is_returned_and_gets_its_posters(
    live: tuple[Flask, str], driver: Chrome, tmp_path: Path
) -> None:
    (tmp_path / "licence.pdf").write_bytes(PDF)
    (tmp_path / "plan.png").write_bytes(picture((1600, 1000)))
    console = Console(driver, live[1])
    console.is_desk()
    console.signs_in("operator")
    console.open("/applications/")
    assert violations(driver) == []
    console.presses("为新场所申请")
    console.awaits("场所码申请")
    fills(driver, name_zh="河畔书店", contact_phone="x" + Keys.TAB)
    console.awaits("格式不符")  # a hint while one types
    assert violations(driver) == []
    console.picture("apply-form", tmp_path)
    fills(driver, name_en="Riverside Books", address="滨江路 8 号", contact_name="周联系", contact_phone="028-5550200")
    fills(driver, keeper_name="吴负责", keeper_phone="028-5550201")
    area = Select(driver.find_element(By.NAME, "area_code"))
    house: House = live[0].extensions["gatehouse"]
    with house.database.reading() as reading:
        from server.venues.models import Venue

        area.select_by_value(reading.get_one(Venue, VENUE_ID).area_code)
    console.presses("保存草稿")
    console.awaits("请上传平面图")
    page = driver.current_url.removeprefix(console.address)
    uploads(driver, "proof-file", tmp_path / "licence.pdf")
    uploads(driver, "plan-file", tmp_path / "plan.png")
    fills(driver, name_zh="东门", name_en="East gate")
    clicks_plan(driver, 200, 0)
    fills(driver, name_zh="后门")
    clicks_plan(driver, -150, 120)
    with house.database.reading() as reading:
        doors = reading.scalars(select(CodeApplication)).one().content["entrances"]
    assert [(round(d["x"] / 100), round(d["y"] / 100)) for d in doors] == [(8, 5), (3, 8)], doors
    assert violations(driver) == []
    plan = driver.find_element(By.CSS_SELECTOR, "input[type=image]")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", plan)
    console.picture("apply-plan", tmp_path)
    decides(driver, "submit")

    console.signs_in("street")
    console.open("/cases/inbox")
    console.awaits("河畔书店")
    console.open(page)
    decides(driver, "take_up")
    assert violations(driver) == []
    console.open(page)
    decides(driver, "return", "执照看不清，请重拍")
    console.signs_in("operator")
    console.open(page)
    console.awaits("执照看不清")
    decides(driver, "amend")
    uploads(driver, "proof-file", tmp_path / "plan.png")
    decides(driver, "submit")
    console.signs_in("street")
    console.open(page)
    decides(driver, "take_up")
    console.awaits("较上次提交有改动")
    console.picture("review", tmp_path)
    decides(driver, "approve", is_true="", is_complete="", meets_conditions="")
    console.awaits("由此签发的场所码")

    console.signs_in("operator")  # who applied keeps the codes
    console.is_phone()
    console.open(page)
    assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    driver.find_element(By.CSS_SELECTOR, "section[aria-labelledby=codes] a").click()
    console.awaits("打印海报")
    assert violations(driver) == []
    console.picture("code-phone", tmp_path)
    console.is_desk()
    console.signs_in("street")
    console.open("/codes/bulk")
    assert violations(driver) == []
    sheet = tmp_path / "codes.csv"
    sheet.write_text("场所编号,出入口\n" + f"{VENUE_ID.hex()},新门\n" + f"{VENUE_ID.hex()},\n", "utf-8")
    uploads(driver, "sheet", sheet)
    console.awaits("缺出入口名称")
    assert violations(driver) == []
    console.picture("bulk", tmp_path)


def test_somebody_unknown_tells_and_an_inspector_goes(
    live: tuple[Flask, str], driver: Chrome, clock: Clock, tmp_path: Path
) -> None:
    (tmp_path / "seen.jpg").write_bytes(with_position())
    console = Console(driver, live[1])
    console.is_phone()
    console.open(f"/tip-off?venue={VENUE_ID.hex()}&lang=zh")
    assert violations(driver) == []
    Select(driver.find_element(By.NAME, "sort")).select_by_value("no_check")
    fills(driver, told="北门没人查验，直接放行")
    driver.find_element(By.ID, "photo").send_keys(str(tmp_path / "seen.jpg"))
    console.picture("tip-off", tmp_path)
    console.presses("提交举报")
    console.awaits("举报已收到")
    assert violations(driver) == [] and driver.get_cookies() == []
    code = driver.find_element(By.ID, "code").text
    assert re.fullmatch(r"([0-9A-Z]{4}-){4}[0-9A-Z]{4}", code)
    console.picture("tip-off-code", tmp_path)

    house: House = live[0].extensions["gatehouse"]
    with house.database.reading() as reading:
        case = reading.scalars(select(Case).where(Case.machine == "tip_off")).one().id
    console.is_desk()
    console.signs_in("street")
    console.open(f"/tip-offs/{case}")
    console.awaits("直接放行")
    assert violations(driver) == []
    fills(driver, text="大约几点？")
    console.presses("提交")
    console.awaits("持查询码者可见")
    console.picture("tip-off-staff", tmp_path)
    for step, fields in (("screen", {}), ("verify", {}), ("substantiate", {"found": "北门无人查验"})):
        console.open(f"/cases/case/{case}")
        decides(driver, step, **fields)

    with house.database.reading() as reading:
        inspection = reading.scalars(select(Case).where(Case.machine == "inspection")).one().id
    console.open(f"/cases/case/{inspection}")
    decides(driver, "order", order="北门须有人查验", due_on="2026-03-04")
    console.signs_in("operator")
    console.open(f"/inspections/{inspection}")
    uploads(driver, "file", tmp_path / "seen.jpg")
    console.awaits("照片已添加")
    assert violations(driver) == []
    console.picture("inspection", tmp_path)
    console.open(f"/venues/{VENUE_ID.hex()}/score")
    console.awaits("被责令整改")
    assert violations(driver) == []
    console.picture("score", tmp_path)

    console.signs_in("street")
    console.open("/inspections/draws")
    assert violations(driver) == []
    console.picture("draws", tmp_path)

    console.driver.delete_all_cookies()
    console.is_phone()
    console.open("/tip-off/follow?lang=zh")
    assert violations(driver) == []
    fills(driver, code=code.lower())
    console.presses("查看")
    console.awaits("大约几点")
    console.awaits("经核实属实")
    assert violations(driver) == []
    console.picture("tip-off-follow", tmp_path)
