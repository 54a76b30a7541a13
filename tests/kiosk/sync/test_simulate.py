"""The headless kiosk: exits 0 exactly when the server receipted everything it wrote."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from gatehouse.cli import main
from server.kiosks.models import Kiosk
from tests.kiosk.sync.house import LiveServer, answers


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def simulate(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    status = main(["simulate", "--json", *arguments])
    return status, json.loads(capsys.readouterr().out)


def test_every_passage_is_written_sent_and_receipted(
    server: LiveServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = server.code(url="http://codes.example.cn")  # as people reach it; --server says how we do
    status, report = simulate(capsys, "--server", server.url, "--enrol", code, "--passages", "60")
    assert (status, report["written"], report["receipted"], report["problem"]) == (0, 60, 60, None)
    assert 0 < report["p50_ms"] <= report["p95_ms"]
    assert len(server.held(bytes.fromhex(report["kiosk"]))) == 60
    assert not list(tmp_path.glob("gatehouse-simulated-*"))


def test_a_kept_kiosk_goes_on_where_it_was(
    server: LiveServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "kept")
    first, report = simulate(capsys, "--enrol", server.code(), "--passages", "5", "--dir", folder)
    second, again = simulate(capsys, "--passages", "7", "--rate", "200", "--dir", folder)
    assert (first, second, again["written"], again["receipted"]) == (0, 0, 7, 7)
    assert len(server.held(bytes.fromhex(report["kiosk"]))) == 12


def test_what_is_not_receipted_fails_and_is_kept(
    server: LiveServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "kept"
    simulate(capsys, "--enrol", server.code(), "--passages", "1", "--dir", str(folder))
    server.fault = answers("500 Oops", b"", "text/plain")
    status, report = simulate(capsys, "--passages", "3", "--patience", "0.3", "--dir", str(folder))
    assert (status, report["written"], report["receipted"], report["problem"]) == (1, 3, 0, "server_error")
    server.fault = None
    status, report = simulate(capsys, "--passages", "1", "--dir", str(folder))
    assert status == 0 and len(server.held(bytes.fromhex(report["kiosk"]))) == 5


def test_a_suspended_kiosk_gives_up_at_once(
    server: LiveServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "kept")
    _, report = simulate(capsys, "--enrol", server.code(), "--passages", "1", "--dir", folder)
    with server.house.database.writing() as writing:
        writing.get_one(Kiosk, bytes.fromhex(report["kiosk"])).state = "suspended"
    status, report = simulate(capsys, "--passages", "1", "--dir", folder)
    assert (status, report["problem"]) == (1, "suspended")


@pytest.mark.parametrize(
    "arguments",
    [["--passages", "0"], ["--passages", "1"], ["--passages", "1", "--enrol", "nonsense"]],
)
def test_wrong_arguments_are_named_and_leave_nothing(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", *arguments]) == 2
    assert "gatehouse:" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
