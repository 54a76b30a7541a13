"""The systemd units start commands that exist, under users of their own, locked down as docs/install-pi.md says."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from config.kiosk import load_kiosk
from gatehouse.cli import COMMANDS

TOP = Path(__file__).parents[2]
UNITS = sorted((TOP / "deploy" / "systemd").glob("*.service"))
PROGRAMS = {f"/opt/gatehouse/{place}bin/gatehouse" for place in ("", "current/", "good/")}
OURS = [unit for unit in UNITS if unit.stem != "gatehouse-screen"]  # the rest run our own command


def settings(unit: Path) -> dict[str, list[str]]:
    """Every setting with all of its values, in order."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def test_there_is_a_unit_for_each_process() -> None:
    names = ("kiosk", "screen", "server", "settle", "update@", "vault", "worker")
    assert [unit.stem for unit in UNITS] == [f"gatehouse-{name}" for name in names]


@pytest.mark.parametrize("unit", OURS, ids=lambda unit: unit.stem)
def test_the_command_line_is_one_that_the_command_understands(unit: Path) -> None:
    starts = settings(unit)
    for line in starts["ExecStart"] + starts.get("ExecStartPre", []):
        program, command, *rest = shlex.split(line)
        assert program in PROGRAMS and command in COMMANDS
        parser = argparse.ArgumentParser(exit_on_error=False)
        importlib.import_module(f"gatehouse.commands.{command}").configure(parser)
        parser.parse_args(rest)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_nothing_runs_as_root_or_may_become_root(unit: Path) -> None:
    held = settings(unit)
    assert held["User"][0] not in ("", "root") and held["NoNewPrivileges"] == ["yes"]
    assert held["ProtectSystem"] == ["strict"] and held["LimitCORE"] == ["0"]


def test_the_vault_has_its_own_user_and_no_network() -> None:
    vault, others = settings(TOP / "deploy/systemd/gatehouse-vault.service"), [settings(u) for u in UNITS]
    assert vault["PrivateNetwork"] == ["yes"] and vault["RestrictAddressFamilies"] == ["AF_UNIX"]
    assert [other["User"] for other in others].count(vault["User"]) == 1


def test_the_kiosk_is_watched_and_always_comes_back() -> None:
    kiosk = settings(TOP / "deploy/systemd/gatehouse-kiosk.service")
    assert kiosk["Type"] == ["notify"] and kiosk["Restart"] == ["always"] and kiosk["StartLimitIntervalSec"] == ["0"]
    assert int(kiosk["WatchdogSec"][0]) >= 30, "an enrolment waits for its server up to 10 s, and then 5 s more"
    assert "ProcSubset" not in kiosk, "the boot id of the records would change with each start"


def test_an_update_is_settled_before_the_kiosk_by_the_version_that_proved_itself() -> None:
    kiosk, settle, update = (
        settings(TOP / f"deploy/systemd/gatehouse-{name}.service") for name in ("kiosk", "settle", "update@")
    )
    assert "gatehouse-settle.service" in kiosk["After"][0] and kiosk["Wants"] == ["gatehouse-settle.service"]
    assert "/current/" in kiosk["ExecStart"][0]
    assert "/good/" in settle["ExecStart"][0] and "/good/" in update["ExecStart"][0]
    assert update["Conflicts"] == ["gatehouse-kiosk.service"] == update["OnSuccess"] == update["OnFailure"]
    assert update["User"] == settle["User"] == kiosk["User"], "what it writes belongs to the kiosk"
    missing = set(kiosk["DeviceAllow"]) - set(update["DeviceAllow"])
    assert not missing, "its trial needs the devices of the entrance"


def test_the_kiosk_writes_to_its_own_partition_and_nowhere_else() -> None:
    """The read-mostly layout of docs/install-pi.md: programs and settings are read-only to the running kiosk."""
    page = (TOP / "docs" / "install-pi.md").read_text(encoding="utf-8")
    for name, writes in (
        ("kiosk", set()),
        ("screen", set()),
        ("settle", {"/opt/gatehouse"}),
        ("update@", {"/opt/gatehouse"}),
    ):
        held = settings(TOP / f"deploy/systemd/gatehouse-{name}.service")
        assert held["ProtectSystem"] == ["strict"] and held["PrivateTmp"] == ["yes"], name
        assert set(" ".join(held.get("ReadWritePaths", [])).split()) == writes, name
        assert not {"StateDirectory", "CacheDirectory", "LogsDirectory"} & held.keys() or held["StateDirectory"] == [
            "gatehouse-kiosk"
        ]
    assert "CacheDirectory" not in (TOP / "deploy/systemd/gatehouse-screen.service").read_text(encoding="utf-8")
    flags = settings(TOP / "deploy/systemd/gatehouse-screen.service")["ExecStart"][0]
    for flag in ("--user-data-dir=", "--disk-cache-dir="):
        assert flag + "/run/gatehouse-screen/" in flags, "Chromium writes to memory"
    logs = (TOP / "deploy/journald/gatehouse.conf").read_text(encoding="utf-8")
    assert "Storage=volatile" in logs, "system logs stay in memory"
    for mount in ("LABEL=gatehouse /var/lib/gatehouse-kiosk ext4", "LABEL=gatehouse-app /opt/gatehouse ext4"):
        assert mount in page
        options = page.split(mount)[1].split()[0].split(",")
        assert {"noatime", "nodev", "nosuid"} <= set(options), mount
    example = load_kiosk(TOP / "config" / "kiosk.example.toml")
    assert str(example.program_dir) == "/opt/gatehouse" and "most_mb" in page


def test_the_browser_reaches_this_machine_only() -> None:
    screen = settings(TOP / "deploy/systemd/gatehouse-screen.service")
    assert (screen["IPAddressDeny"], screen["IPAddressAllow"]) == (["any"], ["localhost"])
    addresses = re.findall(r"https?://[^ ]+", " ".join(screen["ExecStart"]))
    assert addresses == ["http://127.0.0.1:8460/"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_understands_the_unit(unit: Path, tmp_path: Path) -> None:
    text = re.sub(r"^(Exec\w+)=.*$", r"\1=/bin/true", unit.read_text(encoding="utf-8"), flags=re.MULTILINE)
    text = re.sub(r"^(After|Before|Wants|Conflicts)=.*$", "", text, flags=re.MULTILINE)  # units of other packages
    copy = tmp_path / unit.name
    copy.write_text(text, encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True)
    complaints = [line for line in done.stderr.splitlines() if unit.name in line]
    assert complaints == [], done.stderr
