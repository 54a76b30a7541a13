"""The screen in a real browser, in every view and at every size: nothing cut off, nothing unreadable, nothing mute."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

from config.screen import ScreenSettings
from kiosk import texts
from kiosk.actions import Acknowledge, Pause, Resume
from kiosk.screen import Screen
from kiosk.screen_state import Face, ScreenState
from protocol.credentials.reasons import Reason
from tests.browser import SIZES, resize
from tests.kiosk.screen.conftest import Pressed
from tests.kiosk.screen.states import GALLERY, IDLE, verdict

pytestmark = pytest.mark.browser

OpenPage = Callable[[], Chrome]

# Elements that stick out of their part of the page, or whose text is wider than they are. Drawings, and lines that
# end in an ellipsis on purpose, are left out.
CUT_OFF = """
const cut = [];
const trims = (e) => e && getComputedStyle(e).textOverflow === "ellipsis";
for (const e of document.querySelectorAll("body *")) {
  const r = e.getBoundingClientRect();
  if (!r.width || !r.height || e.closest("svg, [hidden]") || trims(e) || trims(e.parentElement)) continue;
  const part = e.closest("main, header, footer, section, aside, form") || document.body;
  const b = part.getBoundingClientRect();
  const out = r.left < b.left - 1 || r.top < b.top - 1 || r.right > b.right + 1 || r.bottom > b.bottom + 1
    || r.right > innerWidth + 1 || r.bottom > innerHeight + 1;
  const wide = getComputedStyle(e).display !== "inline" && e.scrollWidth > e.clientWidth + 2;
  if (out || wide) cut.push(`${e.tagName} ${e.className} ${e.textContent.trim().slice(0, 30)}`);
}
return cut;
"""


def show(screen: Screen, driver: Chrome, state: ScreenState) -> None:
    """Publish, and wait until the page says that it has painted it."""
    before = len(screen.shown())
    screen.publish(state)
    number = screen._feed.newest()[0]
    wait_until(lambda: any(s.number == number for s in screen.shown()[before - 256 :]))


def wait_until(claim: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 15
    while not (value := claim()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return value


def axe_source() -> str:
    spec = importlib.util.find_spec("axe_playwright_python")
    assert spec is not None and spec.submodule_search_locations
    return (Path(spec.submodule_search_locations[0]) / "axe.min.js").read_text(encoding="utf-8")


def violations(driver: Chrome) -> list[str]:
    """What axe-core says against WCAG 2.2 AA, its best practices, and a contrast of 7 to 1 (AAA)."""
    driver.execute_script("if (!window.axe) {" + axe_source() + "}")
    found = driver.execute_async_script(
        """
        const done = arguments[arguments.length - 1];
        const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
        const rules = {"color-contrast-enhanced": {enabled: true}, "target-size": {enabled: true}};
        axe.run(document, {runOnly: {type: "tag", values: tags}, rules, resultTypes: ["violations"]})
          .then((r) => r.violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.target} ${n.failureSummary}`)))
          .then(done);
        """
    )
    assert isinstance(found, list)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("name", GALLERY)
def test_nothing_is_cut_off(open_page: OpenPage, screen: Screen, name: str, size: tuple[int, int]) -> None:
    driver = open_page()
    resize(driver, *size)
    show(screen, driver, GALLERY[name])
    assert driver.execute_script(CUT_OFF) == []


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
def test_every_reason_fits_the_verdict_screen(open_page: OpenPage, screen: Screen, size: tuple[int, int]) -> None:
    driver = open_page()
    resize(driver, *size)
    cut = {}
    for code in [*texts.ADMISSION, *(r.value for r in Reason if r.refuses)]:
        show(screen, driver, verdict(code))
        if found := driver.execute_script(CUT_OFF):
            cut[code] = found
    assert cut == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", GALLERY)
def test_everybody_can_use_it(open_page: OpenPage, screen: Screen, name: str) -> None:
    driver = open_page()
    resize(driver, 800, 480)
    show(screen, driver, GALLERY[name])
    assert violations(driver) == []


def test_the_check_for_violations_can_fail(open_page: OpenPage, screen: Screen) -> None:
    driver = open_page()
    show(screen, driver, IDLE)
    driver.execute_script("document.querySelector('h2').style.color = '#2b4553'")
    assert any("color-contrast" in found for found in violations(driver))


def test_the_four_verdicts_differ_in_grey_and_without_reading(open_page: OpenPage, screen: Screen) -> None:
    driver = open_page()
    shapes, words, grounds = set(), set(), set()
    for face in Face:
        show(screen, driver, verdict("not_green", face=face, reference=f"#{face.value}"))
        shapes.add(driver.find_element(By.CSS_SELECTOR, ".shape .edge").get_attribute("outerHTML"))
        words.add(driver.find_element(By.CSS_SELECTOR, ".headline").text)
        grounds.add(driver.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert len(shapes) == len(words) == len(grounds) == 4


def test_the_stop_colour_is_used_for_nothing_else(open_page: OpenPage, screen: Screen) -> None:
    driver = open_page()
    colours = """return [...document.querySelectorAll("body, body *")].flatMap((e) => {
        const s = getComputedStyle(e); return [s.backgroundColor, s.color, s.borderTopColor, s.fill, s.stroke]; });"""
    show(screen, driver, verdict("fever"))
    stop = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert stop in driver.execute_script(colours)
    for name in ("idle", "idle-offline", "pass", "check", "unknown", "note", "measuring"):
        show(screen, driver, GALLERY[name])
        assert stop not in driver.execute_script(colours), name


def test_a_dead_kiosk_leaves_no_green_screen_standing(driver: Chrome, tmp_path: Path) -> None:
    with Screen(ScreenSettings(port=0, voice_cache=tmp_path, voice=False)) as screen:
        driver.get(screen.address)
        show(screen, driver, verdict("admitted"))
        assert not driver.find_element(By.ID, "lost").is_displayed()
    wait_until(driver.find_element(By.ID, "lost").is_displayed)
    assert "失去联系" in driver.find_element(By.ID, "lost").text


def test_the_page_finds_the_kiosk_again_by_itself(driver: Chrome, tmp_path: Path) -> None:
    first = Screen(ScreenSettings(port=0, voice_cache=tmp_path, voice=False))
    first.start()
    port = int(first.address.rsplit(":", 1)[1].strip("/"))
    driver.get(first.address)
    show(first, driver, IDLE)
    first.stop()
    with Screen(ScreenSettings(port=port, voice_cache=tmp_path, voice=False)) as second:
        show(second, driver, GALLERY["check"])
        wait_until(lambda: "人工核验" in driver.find_element(By.ID, "main").text)
        assert not driver.find_element(By.ID, "lost").is_displayed()


def test_the_live_picture_is_shown_and_a_lost_camera_hides_it(
    open_page: OpenPage, screen: Screen, frames: list[bytes | None]
) -> None:
    import cv2
    import numpy as np

    frames.append(cv2.imencode(".jpg", np.full((360, 640, 3), 200, np.uint8))[1].tobytes())
    driver = open_page()
    show(screen, driver, IDLE)
    wait_until(lambda: driver.execute_script("return document.getElementById('picture').naturalWidth") == 640)
    assert driver.execute_script("return getComputedStyle(document.getElementById('picture')).transform").startswith(
        "matrix(-1"
    )
    show(screen, driver, GALLERY["idle-offline"])
    words = driver.find_element(By.CSS_SELECTOR, ".no-camera")
    image = driver.find_element(By.ID, "picture")
    assert words.rect == image.rect


def test_staff_hold_a_verdict_by_finger_and_by_key(open_page: OpenPage, screen: Screen, pressed: Pressed) -> None:
    driver = open_page()
    show(screen, driver, verdict("admitted"))
    button = driver.find_element(By.CSS_SELECTOR, "button[data-hold]")
    ActionChains(driver).click_and_hold(button).perform()
    wait_until(lambda: pressed.actions == [Pause()])
    show(screen, driver, replace(verdict("admitted"), revision=2))
    ActionChains(driver).release().perform()
    wait_until(lambda: pressed.actions == [Pause(), Resume()])
    driver.find_element(By.CSS_SELECTOR, "button[data-hold]").send_keys(Keys.SPACE)
    wait_until(lambda: pressed.actions == [Pause(), Resume()] * 2)


def test_a_hold_stays_until_it_is_acknowledged(open_page: OpenPage, screen: Screen, pressed: Pressed) -> None:
    driver = open_page()
    show(screen, driver, verdict("not_green"))
    driver.find_element(By.CSS_SELECTOR, "button[data-action=acknowledge]").click()
    assert wait_until(lambda: pressed.actions) == [Acknowledge()]


def test_the_page_breaks_no_rule_of_its_own(open_page: OpenPage, screen: Screen) -> None:
    driver = open_page()
    driver.get_log("browser")
    for state in GALLERY.values():
        show(screen, driver, state)
    # the tones are not made in this test, so their absence is the one thing that may be said
    assert [m for m in driver.get_log("browser") if "/tone/" not in m["message"]] == []


def test_each_verdict_is_heard_once_as_tone_and_then_as_words(driver: Chrome, tmp_path: Path) -> None:
    settings = ScreenSettings(port=0, voice_cache=tmp_path / "cache", voice_recorded=tmp_path)
    screen = Screen(settings)
    screen._voice._phrases = {}  # nothing to make: the words come from a recording
    screen._voice.prepare()
    (tmp_path / "fever.wav").write_bytes((tmp_path / "cache" / "tone-pass.wav").read_bytes())
    screen._voice._phrases = texts.voice_phrases()
    record = """
        window.heard = [];
        const start = AudioBufferSourceNode.prototype.start;
        AudioBufferSourceNode.prototype.start = function (at) {
          heard.push([at, this.buffer.duration]);
          return start.call(this, at);
        };"""
    with screen:
        driver.get(screen.address)
        driver.execute_script(record)
        show(screen, driver, IDLE)
        show(screen, driver, verdict("fever"))
        wait_until(lambda: len(driver.execute_script("return heard")) == 2)
        (tone_at, tone_s), (words_at, _) = driver.execute_script("return heard")
        assert words_at >= tone_at + tone_s
        show(screen, driver, replace(verdict("fever"), revision=9))
        assert len(driver.execute_script("return heard")) == 2
        show(screen, driver, verdict("fever", reference="#000999"))
        wait_until(lambda: len(driver.execute_script("return heard")) == 4)
