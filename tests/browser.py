"""The one headless Chromium of every test and picture: Debian's package, a fresh profile, and no errands of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

BINARY, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
SIZES = ((800, 480), (1080, 1920), (1280, 800))  # of entrance screens
SWITCHES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
    "--autoplay-policy=no-user-gesture-required",  # as on the kiosk, which speaks by itself
)
PATIENCE_S = 60  # for a page or a script, on a machine that is busy with other tests


@contextmanager
def chromium(
    *switches: str, prefs: Mapping[str, object] | None = None, logs: tuple[str, ...] = ("browser",)
) -> Iterator[Chrome]:
    """A browser with nothing loaded. *switches* and *prefs* (of the profile) come on top; *logs* can be asked for
    with `get_log`."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ChromeOptions()
        options.binary_location = BINARY
        for switch in (*SWITCHES, *switches, f"--user-data-dir={profile}"):
            options.add_argument(switch)
        if prefs:
            options.add_experimental_option("prefs", dict(prefs))
        options.set_capability("goog:loggingPrefs", dict.fromkeys(logs, "ALL"))
        driver = Chrome(options=options, service=Service(DRIVER))
        driver.set_page_load_timeout(PATIENCE_S)
        driver.set_script_timeout(PATIENCE_S)
        try:
            yield driver
        finally:
            driver.quit()


def policy_complaints(driver: Chrome) -> list[str]:
    """What the browser said about our Content-Security-Policy since it was asked last; a sound page leaves nothing."""
    return [line["message"] for line in driver.get_log("browser") if "Content Security Policy" in line["message"]]


def resize(driver: Chrome, width: int, height: int, *, mobile: bool = False) -> None:
    """Give the page itself this size."""
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile},
    )


def picture(driver: Chrome, path: Path) -> None:
    """Save what is on the screen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert driver.save_screenshot(str(path))
