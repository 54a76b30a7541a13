"""Rules for the whole suite: a test that cannot run says so, and under CI it fails."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

OPTIONAL = "optional extra"  # the words in a skip's reason that CI accepts


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under CI a skip is a gap that nobody would see, so it counts as a failure."""
    report = yield
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if OPTIONAL not in reason:
            report.outcome = "failed"
            report.longrepr = f"under CI nothing is skipped, and this was: {reason}"
    return report
