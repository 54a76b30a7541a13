"""docs/hardware.md names every driver and every code that a driver can report."""

from __future__ import annotations

import re
import typing
from pathlib import Path

import pytest

from config.devices import GateSettings, IdCardSettings, ScanHeadSettings, ThermometerSettings

TOP = Path(__file__).resolve().parents[2]
PAGE = (TOP / "docs" / "hardware.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("settings", [ThermometerSettings, GateSettings, ScanHeadSettings, IdCardSettings])
def test_every_driver_of_the_settings_is_on_the_page(settings: type) -> None:
    for driver in typing.get_args(typing.get_type_hints(settings)["driver"]):
        assert f"`{driver}`" in PAGE


def test_every_port_error_code_of_the_drivers_is_on_the_page() -> None:
    source = "".join(
        path.read_text(encoding="utf-8")
        for path in [
            TOP / "firmware_bridge" / "port.py",
            TOP / "firmware_bridge" / "device.py",
            *(TOP / "firmware_bridge" / "drivers").glob("*.py"),
        ]
    )
    codes = set(re.findall(r"code=\"([a-z_]+)\"", source)) | set(re.findall(r"^    code = \"([a-z_]+)\"", source, re.M))
    assert "swapped" in codes
    assert [code for code in sorted(codes) if f"`{code}`" not in PAGE] == []
