"""Rules for the whole suite: a test that cannot run says so, and under CI it fails."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

# two busy cores draw slowly now and then; that says nothing about the product
settings.register_profile("gatehouse", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gatehouse")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--store` chooses the databases that the server's tests run on."""
    parser.addoption(
        "--store",
        choices=("both", "everywhere", "sqlite", "postgresql"),
        default="both",
        help="stores of the server's tests",
    )


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
