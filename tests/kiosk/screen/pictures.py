"""Takes the entrance screen's pictures for the manual: `python -m tests.kiosk.screen.pictures [FOLDER]`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from unittest import mock

import cv2
from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from config.screen import ScreenSettings
from gatehouse.demo.scene import Scene
from kiosk.panel_session import Operator
from kiosk.screen import Screen
from kiosk.screen_state import ScreenState
from protocol.staff import StaffRole
from tests.browser import chromium, resize
from tests.kiosk.screen.states import GALLERY, IDLE, INSPECTOR_VIEW
from tests.kiosk.screen.test_looks import wait_until

TOP = Path(__file__).resolve().parents[3]
WIDE, TALL, SMALL = (1280, 800), (1080, 1920), (800, 480)
VIEWS = (
    "idle",
    "idle-offline",
    "measuring",
    "pass",
    "check",
    "stop",
    "unknown",
    "setup",
    "closed",
    "emergency",
    "exit",
)
PANEL = ("hold", "proxy", "manual", "card", "door", "fault")


def take(folder: Path) -> list[Path]:
    """Draw every picture anew; returns their paths."""
    scene = Scene(640, 360, seed=7)
    scene.show("JK1:EXAMPLE", at_s=0.0)
    lobby = cv2.imencode(".jpg", scene.frame(at_s=20.0))[1].tobytes()
    taken: list[Path] = []

    def save(driver: Chrome, name: str, size: tuple[int, int]) -> None:
        # 64 colours keep a screen of flat areas as it is, at a fifth of the bytes
        raw = folder / f"kiosk-{name}.png"
        driver.save_screenshot(str(raw))
        with Image.open(raw) as full:
            narrow = full.convert("RGB").resize(
                (size[0] // (2 if size == TALL else 1), size[1] // (2 if size == TALL else 1))
            )
            narrow.quantize(64).save(raw, optimize=True)
        taken.append(raw)

    with tempfile.TemporaryDirectory() as cache, chromium() as driver:
        settings = ScreenSettings(port=0, voice_cache=Path(cache), voice=False)
        with Screen(settings, frame_source=lambda: lobby, on_inspect=lambda: INSPECTOR_VIEW) as screen:
            for size, views in ((SMALL, VIEWS), (TALL, ("idle", "check"))):
                for name in views:
                    driver.get(screen.address)
                    resize(driver, *size)
                    _show(screen, driver, GALLERY[name])
                    save(driver, name if size == SMALL else f"{name}-tall", size)
            resize(driver, *SMALL)
            _show(screen, driver, GALLERY["measure-again"])
            screen.badge_shown(Operator("s-7", "王芳"))
            driver.get(f"{screen.address}panel")
            save(driver, "panel", SMALL)
            with mock.patch("kiosk.panel_web.is_installed", lambda: True):  # as where gatehouse[ocr] is
                for name in PANEL:
                    driver.get(f"{screen.address}panel/{name}")
                    save(driver, f"panel-{name}", SMALL)
            screen.publish(IDLE)
            driver.delete_all_cookies()
            screen.badge_shown(Operator("s-9", "李强", StaffRole.INSPECTOR.value))
            driver.get(f"{screen.address}panel/inspect")
            save(driver, "panel-inspect", SMALL)
            driver.get(f"{screen.address}elder/phone")
            save(driver, "elder", SMALL)
    return taken


def _show(screen: Screen, driver: Chrome, state: ScreenState) -> None:
    screen.publish(state)
    wait_until(lambda: driver.find_element(By.TAG_NAME, "body").get_attribute("data-view") == state.view.value)
    wait_until(
        lambda: driver.execute_script(
            "const p = document.getElementById('picture'); return p.hidden || p.naturalWidth > 64"
        )
    )


if __name__ == "__main__":
    for path in take(Path(sys.argv[1]) if len(sys.argv) > 1 else TOP / "docs" / "pictures"):
        print(path.name, path.stat().st_size)
