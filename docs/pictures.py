"""Takes the README's pictures: plays the demo and photographs its entrance screen in a real headless Chromium."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
from selenium.webdriver import Chrome

from gatehouse.demo.street import PARTS, Part, Ports, Street
from tests.browser import chromium, resize

SCREEN = (1280, 800)


def take(folder: Path) -> None:
    """Write the pictures into *folder* as PNG files of modest size."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gatehouse-pictures-") as top:
        with Street(Path(top), Ports(18570, 18560), print) as street, chromium("--lang=zh-CN") as driver:
            resize(driver, *SCREEN)
            driver.get(street.screen + "/")
            time.sleep(2)
            _save(driver, folder / "entrance-idle.png")
            for name, part in (("pass", PARTS[0]), ("stop", PARTS[1]), ("check", PARTS[7])):
                _walk_and_save(street, driver, part, folder / f"entrance-{name}.png")


def _walk_and_save(street: Street, driver: Chrome, part: Part, path: Path) -> None:
    street.thermometer.scene.set(part.scene)
    street.scene.show(street.code_of(part), part.style)
    _until(lambda: street.state().get("view") == "verdict")
    time.sleep(0.4)
    _save(driver, path)
    street.scene.show(None)
    street.thermometer.scene.set("empty")
    time.sleep(3)


def _until(is_so: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError("the page did not come")
        time.sleep(0.05)


def _save(driver: Chrome, path: Path) -> None:
    """A palette PNG: small, and sharp enough for type."""
    png = driver.get_screenshot_as_png()
    path.write_bytes(png)
    image = cv2.imread(str(path))
    if image is not None:
        cv2.imwrite(str(path), image, [cv2.IMWRITE_PNG_COMPRESSION, 9])
