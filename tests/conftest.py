"""Rules for the whole suite: a test that cannot run says so, and under CI it fails."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# two busy cores draw slowly now and then; that says nothing about the product
settings.register_profile("gatehouse", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("daily", parent=settings.get_profile("gatehouse"), max_examples=25)
settings.load_profile("gatehouse")


def pytest_configure(config: pytest.Config) -> None:
    """Fewer examples a property in the daily subset."""
    if config.getoption("--daily"):
        settings.load_profile("daily")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--store` chooses the databases that the server's tests run on, `--daily` what ./run test --fast reads."""
    parser.addoption(
        "--store",
        choices=("both", "sqlite", "postgresql"),
        default="both",
        help="stores of the server's tests",
    )
    parser.addoption("--daily", action="store_true", help="leave out, unread, the rooms of NOT_DAILY")


# Left out of ./run test --fast as a whole, below tests/: each of their tests opens pages, starts processes or waits for
# a line. What is daily checked of these rooms is the few files that are not named here.
NOT_DAILY = frozenset(
    """
    faults firmware_bridge/test_controller.py firmware_bridge/test_devices_command.py
    firmware_bridge/test_devices_on_a_cable.py firmware_bridge/test_failures.py firmware_bridge/test_gy614v.py
    firmware_bridge/test_lcus.py journeys kiosk/sync/test_bundle_store.py kiosk/sync/test_catch_up.py
    kiosk/sync/test_credentials.py kiosk/sync/test_own_authority.py kiosk/sync/test_simulate.py
    kiosk/test_camera_scene.py kiosk/test_card_ocr.py kiosk/test_id_card.py kiosk/test_occupancy.py
    kiosk/test_provider.py kiosk/test_readers.py kiosk/updating server/accounts/test_admin_accounts.py
    server/accounts/test_registering.py server/accounts/test_second_factor.py server/accounts/test_sessions.py
    server/accounts/test_users.py server/applications server/backups server/cases/test_machines.py
    server/cases/test_pages.py server/checkin server/exports server/ingest/test_bundles.py
    server/ingest/test_door.py server/ingest/test_early.py server/ingest/test_enrolment.py server/inspections
    server/operations
    server/posters server/queries server/retention server/scale server/search server/test_codes.py
    server/test_commands.py server/test_frame.py server/test_hostile.py server/test_inspectors.py
    server/test_kiosks.py server/test_notices.py server/test_papers.py server/test_policies.py
    server/test_register.py server/test_residents.py server/test_rule_pages.py server/test_rules_command.py
    server/test_slow_clients.py server/test_upload_bombs.py server/test_venues.py server/tipoffs server/vault
    server/worker
    """.split()
)
_TESTS = Path(__file__).parent


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `--daily` do not even import what NOT_DAILY names."""
    return True if config.getoption("--daily") and _is_left_out(collection_path) else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what NOT_DAILY names as slow; a name that is no longer there is an error."""
    if gone := [name for name in NOT_DAILY if not (_TESTS / name).exists()]:
        raise pytest.UsageError(f"tests/conftest.py, NOT_DAILY: there is no {', '.join(sorted(gone))}")
    for item in items:
        if _is_left_out(item.path):
            item.add_marker(pytest.mark.slow)


def _is_left_out(path: Path) -> bool:
    below = path.relative_to(_TESTS) if path.is_relative_to(_TESTS) else path
    return not NOT_DAILY.isdisjoint(top.as_posix() for top in (below, *below.parents))


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
