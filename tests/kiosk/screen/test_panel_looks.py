"""The staff panel and the elder pages in a real browser: taps counted, slips shown where they are, nobody shut out."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

from config.screen import ScreenSettings
from kiosk.actions import (
    ActionResult,
    CallFor,
    CallStaff,
    FaultReport,
    Identify,
    ManualEntry,
    Pause,
    PhotographCard,
    ProxyEntry,
    Relation,
    TypedReading,
    WaveThrough,
)
from kiosk.panel_session import Operator
from kiosk.screen import Screen
from tests.browser import SIZES, resize
from tests.kiosk.screen.conftest import Pressed
from tests.kiosk.screen.states import IDLE, INSPECTOR_VIEW, verdict
from tests.kiosk.screen.test_looks import violations, wait_until

pytestmark = pytest.mark.browser

OpenPage = Callable[[], Chrome]
PAGES = (
    "panel",
    "panel/hold",
    "panel/proxy",
    "panel/manual",
    "panel/door",
    "panel/card",
    "panel/record",
    "panel/fault",
    "panel/fault?part=camera",
    "elder/phone",
    "elder/show",
    "elder/call",
)


class Hands:
    """Somebody at the touch screen: everything is done by tapping, and every tap counts."""

    def __init__(self, driver: Chrome, address: str) -> None:
        self.driver = driver
        self.address = address
        self.taps = 0

    def tap(self, selector: str) -> None:
        for element in self.driver.find_elements(By.CSS_SELECTOR, selector):
            if element.is_displayed():
                ActionChains(self.driver).scroll_to_element(element).perform()
                element.click()
                self.taps += 1
                return
        raise AssertionError(f"nothing to tap at {selector}")

    def type_keys(self, selector: str, keys: str) -> None:
        self.tap(selector)
        for key in keys:
            self.tap(f'button[data-key="{key}"]')

    def go(self, page: str) -> None:
        self.driver.get(self.address + page)

    def sign_in(self) -> None:
        self.go("panel")
        self.type_keys("#pin", "2468")
        self.tap("button[type=submit]")
        wait_until(lambda: self.driver.find_elements(By.CSS_SELECTOR, ".operator"))
        self.taps = 0

    def text(self, selector: str) -> str:
        return str(self.driver.find_element(By.CSS_SELECTOR, selector).text)


@pytest.fixture(autouse=True)
def reading_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of a photographed card is looked at whole, whether or not the package is here."""
    monkeypatch.setattr("kiosk.panel_web.is_installed", lambda: True)


@pytest.fixture
def hands(driver: Chrome, screen: Screen) -> Hands:
    screen.publish(IDLE)
    resize(driver, 800, 480)
    driver.delete_all_cookies()
    return Hands(driver, screen.address)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_everybody_can_use_the_panel(hands: Hands, page: str, screen: Screen) -> None:
    screen.publish(verdict("measure_again") if page == "panel/hold" else IDLE)
    hands.sign_in()
    hands.go(page)
    assert violations(hands.driver) == []


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
def test_no_page_is_wider_than_the_screen_and_keys_are_large(hands: Hands, size: tuple[int, int]) -> None:
    hands.sign_in()
    resize(hands.driver, *size)
    for page in PAGES:
        hands.go(page)
        assert hands.driver.execute_script("return document.documentElement.scrollWidth <= innerWidth"), page
        small = hands.driver.execute_script(
            """const keys = "button, a.button, .choices label > span, .tick > span, .field input";
            return [...document.querySelectorAll(keys)]
            .map((e) => e.getBoundingClientRect()).filter((r) => r.width && (r.height < 38 || r.width < 38)).length"""
        )
        assert small == 0, page


def test_a_long_press_on_the_corner_opens_the_panel_and_a_short_one_does_not(hands: Hands) -> None:
    hands.go("")
    corner = hands.driver.find_element(By.ID, "corner")
    ActionChains(hands.driver).click(corner).perform()
    assert hands.driver.current_url == hands.address
    ActionChains(hands.driver).click_and_hold(corner).perform()
    wait_until(lambda: hands.driver.current_url.endswith("/panel"))


def test_a_proxy_scan_with_a_paper_code_takes_four_taps(hands: Hands, pressed: Pressed) -> None:
    hands.sign_in()
    hands.go("panel/proxy")
    hands.tap('section:not([hidden]) [data-go="1"]')  # paper code is chosen already
    hands.tap(".tick")  # the operator helps; the consent line is read out
    hands.tap('section:not([hidden]) [data-go="1"]')
    hands.tap("button[type=submit]")  # the kiosk measures
    wait_until(lambda: hands.driver.current_url == hands.address)
    assert pressed.actions[-1] == ProxyEntry("s-7", Identify.PAPER_CODE, None, None, None, Relation.STAFF, None)
    assert hands.taps == 4


def test_a_typed_proxy_scan_needs_no_keyboard(hands: Hands, pressed: Pressed) -> None:
    hands.sign_in()
    hands.go("panel/proxy")
    hands.tap('label:has([value="typed"])')
    hands.tap('[data-insert="王"]')
    hands.tap('[data-insert="女士"]')
    hands.type_keys('[name="person.number"]', "11010519491231002X")
    wait_until(lambda: "正确" in hands.text('[id="person.number-said"]'))
    hands.tap('section:not([hidden]) [data-go="1"]')
    hands.tap('label:has([value="neighbour"])')
    hands.tap('[data-insert="李"][data-into="helper_name"]')
    hands.tap(".tick:has([name=consent])")
    hands.tap('section:not([hidden]) [data-go="1"]')
    hands.tap("button[type=submit]")
    wait_until(lambda: hands.driver.current_url == hands.address)
    action = pressed.actions[-1]
    assert isinstance(action, ProxyEntry) and action.person is not None
    assert (action.person.name, action.person.number) == ("王女士", "11010519491231002X")
    assert (action.relation, action.helper_name) == (Relation.NEIGHBOUR, "李")


def _by_paper_or_card(hands: Hands) -> None:
    hands.tap('section:not([hidden]) [data-go="1"]')
    hands.tap(".tick")
    hands.tap('section:not([hidden]) [data-go="1"]')
    hands.tap("button[type=submit]")


def _by_card(hands: Hands) -> None:
    hands.tap('label:has([value="id_card"])')
    _by_paper_or_card(hands)


def _by_typing(hands: Hands) -> None:
    hands.tap('label:has([value="typed"])')
    hands.tap('[data-insert="王"]')
    hands.tap('[data-insert="女士"]')
    hands.type_keys('[name="person.number"]', "11010519491231002X")
    hands.tap('section:not([hidden]) [data-go="1"]')
    hands.tap(".tick:has([name=consent])")
    hands.tap('section:not([hidden]) [data-go="1"]')
    hands.tap("button[type=submit]")


WAYS: dict[str, tuple[Callable[[Hands], None], int, int]] = {  # in the manual's words: taps, and fields typed into
    "Paper code": (_by_paper_or_card, 4, 0),
    "ID card": (_by_card, 5, 0),
    "Typed": (_by_typing, 26, 2),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_proxy_scan_takes_three_steps_and_the_taps_that_the_manual_says(
    hands: Hands, pressed: Pressed, way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    walk, taps, fields = WAYS[way]
    hands.sign_in()
    hands.go("panel/proxy")
    steps = len(hands.driver.find_elements(By.CSS_SELECTOR, "[data-step]"))
    walk(hands)
    wait_until(lambda: pressed.actions and isinstance(pressed.actions[-1], ProxyEntry))
    with capsys.disabled():
        print(f"proxy scan, {way}: {steps} steps, {hands.taps} taps, {fields} fields typed into")
    assert (steps, hands.taps) == (3, taps)
    manual = (Path(__file__).parents[3] / "docs" / "manual" / "staff.en.md").read_text(encoding="utf-8")
    assert f"| {way} | {taps} | {fields} |" in manual


def test_forgotten_consent_leads_back_to_its_step(hands: Hands, pressed: Pressed) -> None:
    hands.sign_in()
    hands.go("panel/proxy")
    hands.tap('section:not([hidden]) [data-go="1"]')
    hands.tap('section:not([hidden]) [data-go="1"]')
    hands.tap("button[type=submit]")
    wait_until(lambda: "同意" in hands.text("#said"))
    assert hands.driver.find_element(By.NAME, "consent").is_displayed() or hands.driver.find_element(
        By.CSS_SELECTOR, "section:not([hidden]) .tick"
    )
    assert not [a for a in pressed.actions if isinstance(a, ProxyEntry)]


def test_a_wrong_digit_is_shown_at_once_and_stops_the_entry(hands: Hands, pressed: Pressed) -> None:
    hands.sign_in()
    hands.go("panel/manual")
    hands.tap('[data-insert="张"]')
    hands.type_keys('[name="person.number"]', "110105194912310021")
    wait_until(lambda: "校验位" in hands.text('[id="person.number-said"]'))
    hands.tap("button[type=submit]")
    wait_until(lambda: "校验位" in hands.text("#said"))
    assert hands.driver.find_element(By.NAME, "person.number").get_attribute("aria-invalid") == "true"
    hands.tap('button[data-key="delete"]')
    hands.driver.find_element(By.NAME, "person.number").clear()
    hands.type_keys('[name="person.number"]', "11010519491231002X")
    hands.tap("button[type=submit]")
    wait_until(lambda: hands.driver.current_url == hands.address)
    assert isinstance(pressed.actions[-1], ManualEntry)


def test_a_fault_is_reported_in_two_taps(hands: Hands, pressed: Pressed) -> None:
    hands.sign_in()
    hands.go("panel/fault")
    hands.tap('a[href$="part=thermometer"]')
    hands.tap("[data-values*=wrong]")
    wait_until(lambda: pressed.actions[-1] == FaultReport("s-7", "thermometer", "wrong"))
    assert hands.taps == 2


def test_waving_through_is_one_tap_each(hands: Hands, pressed: Pressed) -> None:
    hands.sign_in()
    hands.tap("[data-action=wave_through]")
    wait_until(lambda: pressed.actions[-1] == WaveThrough("s-7") and "好" in hands.text("#said"))


def test_an_elder_is_led_one_question_at_a_time_to_a_person(hands: Hands, pressed: Pressed) -> None:
    hands.go("")
    wait_until(lambda: hands.driver.find_elements(By.CSS_SELECTOR, ".elder-open"))
    hands.tap(".elder-open")
    for question in ("手机", "纸质健康码", "身份证"):
        wait_until(lambda question=question: question in hands.text("h1"))
        assert len(hands.driver.find_elements(By.CSS_SELECTOR, ".answers > *")) == 2
        hands.tap(".answers > :nth-child(2)")
    wait_until(lambda: hands.driver.find_elements(By.CSS_SELECTOR, "[data-action=call_staff]"))
    hands.tap("[data-action=call_staff]")
    wait_until(lambda: pressed.actions == [CallStaff(CallFor.ELDER)])


def test_an_elder_page_gives_way_to_the_verdict(hands: Hands, screen: Screen) -> None:
    hands.go("elder/paper_show")
    wait_until(lambda: screen.pages)
    screen.publish(verdict("admitted"))
    wait_until(lambda: hands.driver.current_url == hands.address)


def test_a_photographed_card_is_compared_field_by_field_before_anything_is_kept(hands: Hands, pressed: Pressed) -> None:
    fields = {
        "name": "测试甲",
        "sex": "男",
        "birth": "1949-12-31",
        "address": "测试路1号",
        "number": "11010519491231002X",
    }
    pressed.answers[PhotographCard] = ActionResult(True, None, {"fields": fields, "doubts": ["sex"]})
    hands.sign_in()
    hands.go("panel/card")
    hands.tap('button[data-action="photograph_card"]')
    name = hands.driver.find_element(By.ID, "person.name")
    wait_until(lambda: name.get_attribute("value") == "测试甲")
    assert hands.text('[data-read="address"]') == "测试路1号"
    assert hands.driver.find_elements(By.CSS_SELECTOR, '[data-read="sex"][data-doubt]')
    hands.tap("button[type=submit]")
    for key in ("name", "number", "sex", "birth"):
        hands.tap(f'.tick:has([name="person.compared.{key}"])')
    hands.tap("button[type=submit]")
    assert not [a for a in pressed.actions if isinstance(a, ManualEntry)], "the address was not compared yet"
    hands.tap('.tick:has([name="person.compared.address"])')
    name.send_keys("乙")
    assert not hands.driver.find_element(By.NAME, "person.compared.name").is_selected(), "changed, so compare again"
    hands.tap('.tick:has([name="person.compared.name"])')
    hands.tap("button[type=submit]")
    wait_until(lambda: [a for a in pressed.actions if isinstance(a, ManualEntry)])
    (entry,) = [a for a in pressed.actions if isinstance(a, ManualEntry)]
    assert (entry.person.name, entry.person.number) == ("测试甲乙", fields["number"])
    assert entry.person.is_from_photo


def test_a_page_left_alone_warns_before_it_closes(hands: Hands) -> None:
    hands.go("elder/phone")
    hands.driver.execute_script("document.body.dataset.idleS = '20'")
    wait_until(hands.driver.find_element(By.ID, "idle").is_displayed)
    hands.driver.execute_script("document.body.dataset.idleS = '120'")
    hands.tap("#stay")
    wait_until(lambda: not hands.driver.find_element(By.ID, "idle").is_displayed())
    hands.driver.execute_script("document.body.dataset.idleS = '0'")
    wait_until(lambda: hands.driver.current_url == hands.address)


def test_staff_at_the_panel_see_what_happens_at_the_entrance(hands: Hands, screen: Screen) -> None:
    hands.sign_in()
    strip = hands.driver.find_element(By.ID, "strip")
    wait_until(lambda: screen.pages)
    assert not strip.is_displayed()
    screen.publish(verdict("fever"))
    wait_until(lambda: "请止步" in strip.text)
    screen.publish(IDLE)
    wait_until(lambda: not strip.is_displayed())


def test_the_held_person_stays_on_the_screen_while_staff_sign_in(
    hands: Hands, screen: Screen, pressed: Pressed
) -> None:
    screen.publish(verdict("measure_again"))
    hands.go("panel")
    wait_until(lambda: Pause() in pressed.actions)


def test_a_hand_taken_temperature_falls_on_the_person_it_was_taken_of(
    hands: Hands, screen: Screen, pressed: Pressed
) -> None:
    hands.sign_in()
    screen.publish(verdict("measure_again"))
    hands.go("panel/hold")
    hands.type_keys("#celsius", "36.4")
    screen.publish(verdict("not_green", reference="#000124"))
    hands.tap("button[type=submit]")
    wait_until(lambda: "下一位" in hands.text("#said"))
    assert not [a for a in pressed.actions if isinstance(a, TypedReading)]
    hands.go("panel/hold")
    hands.type_keys("#celsius", "36.4")
    hands.tap("button[type=submit]")
    wait_until(lambda: TypedReading("s-7", Decimal("36.4")) in pressed.actions)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
def test_the_inspectors_page_is_readable_and_fits(driver: Chrome, tmp_path: Path, size: tuple[int, int]) -> None:
    settings = ScreenSettings(port=0, voice_cache=tmp_path / "voice", voice=False)
    with Screen(settings, on_inspect=lambda: INSPECTOR_VIEW) as running:
        running.publish(IDLE)
        driver.delete_all_cookies()
        running.badge_shown(Operator("s-9", "李强", "inspector"))
        driver.get(f"{running.address}panel/inspect")
        resize(driver, *size)
        assert violations(driver) == []
        assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        assert "记录链完整" in driver.page_source
