"""A running screen on a free port, and the browser in front of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from config.screen import ScreenSettings
from kiosk.actions import Action, ActionResult, SignIn
from kiosk.screen import Screen
from kiosk.screen_state import Text
from tests.browser import chromium


class Pressed:
    """Remembers the actions that reached the station."""

    def __init__(self) -> None:
        self.actions: list[Action] = []
        self.answers: dict[type[Action], ActionResult] = {}  # what is answered in place of "fine"

    def __call__(self, action: Action) -> ActionResult:
        self.actions.append(action)
        if isinstance(action, SignIn):
            if action.pin != "2468":
                return ActionResult(False)
            return ActionResult(True, None, {"operator": "s-7", "operator_name": "王芳"})
        return self.answers.get(type(action), ActionResult(True, Text("好", "Fine")))


@pytest.fixture
def pressed() -> Pressed:
    return Pressed()


@pytest.fixture
def frames() -> list[bytes | None]:
    """What the camera shows: the last item is the newest frame."""
    return [None]


@pytest.fixture
def screen(tmp_path: Path, pressed: Pressed, frames: list[bytes | None]) -> Iterator[Screen]:
    settings = ScreenSettings(port=0, voice_cache=tmp_path / "voice", voice=False)
    with Screen(settings, on_action=pressed, frame_source=lambda: frames[-1]) as running:
        yield running


@pytest.fixture(scope="module")
def driver() -> Iterator[Chrome]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def open_page(driver: Chrome, screen: Screen) -> Callable[[], Chrome]:
    def open_it() -> Chrome:
        driver.get(screen.address)
        return driver

    return open_it
