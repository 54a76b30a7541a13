"""Builds the firmware, its host build and the simulated board once per test run; says loudly what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "firmware_bridge" / "firmware"
NEEDED = {
    "all": [("avr-gcc", "gcc-avr"), ("avr-objcopy", "binutils-avr"), ("/usr/lib/avr/include/avr/io.h", "avr-libc")],
    "host": [("gcc", "gcc")],
    "board": [("/usr/include/simavr/sim_avr.h", "libsimavr-dev"), ("/usr/include/libelf.h", "libelf-dev")],
}


def build(target: str, out: Path) -> None:
    """`make TARGET` into *out*. Without the tools: fails where CI is set, elsewhere skips and names the packages."""
    missing = [
        package
        for probe, package in [("make", "make"), *NEEDED[target]]
        if not (Path(probe).exists() if probe.startswith("/") else shutil.which(probe))
    ]
    if missing:
        words = f"the firmware cannot be built here: install {', '.join(missing)} (./run test does it as root)"
        if os.environ.get("CI"):
            pytest.fail(words)
        pytest.skip(words)
    done = subprocess.run(["make", "-s", f"OUT={out}", target], cwd=SOURCE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
