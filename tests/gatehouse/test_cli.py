"""The command line: every command teaches, and everything that goes wrong says what to do."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from gatehouse.cli import COMMANDS, main


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_teaches(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert len(text) > 300 and f"gatehouse {name}" in text


def test_an_unknown_command_is_answered_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["open-sesame"])
    assert end.value.code == 2
    assert "doctor" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["kiosk", "--config", "/nowhere/kiosk.toml"], "no settings file"),
        (["kiosk", "journal", "verify", "/nowhere"], "no journal"),
        (["check", "--trust", "/nowhere/trust.cbor"], "nowhere"),
        (["vault", "run"], "--config"),
    ],
)
def test_what_is_missing_is_named_on_standard_error_with_exit_code_2(
    words: list[str], found: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("gatehouse: ") and found in said and "Traceback" not in said


def test_a_screen_port_in_use_is_named_with_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = tmp_path / "kiosk.toml"
        settings.write_text(f'data_dir = "k"\n[camera]\nsource = "none"\n[screen]\nport = {port}\n', encoding="utf-8")
        assert main(["kiosk", "--config", str(settings)]) == 2
    said = capsys.readouterr().err
    assert str(port) in said and "another" in said.lower()


def test_a_wrong_key_in_the_settings_is_named_with_the_known_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "kiosk.toml"
    settings.write_text('data_dir = "k"\n[thermometer]\nprot = "x"\n', encoding="utf-8")
    assert main(["kiosk", "--config", str(settings)]) == 2
    said = capsys.readouterr().err
    assert "thermometer.prot is not a setting" in said and "port" in said


def test_a_journal_is_verified_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from kiosk.store import Journal
    from tests.fakes import DAY, Device, VaultKey, facts, stamp

    device = Device()
    journal = Journal(tmp_path / "journal.db", device.id, VaultKey().public)
    for n in range(3):
        journal.append(device.place, stamp(n), facts(), day=DAY)
    assert main(["kiosk", "journal", "verify", str(tmp_path)]) == 0
    journal._db.execute("DELETE FROM record WHERE sequence = 2")
    journal.close()
    assert main(["kiosk", "journal", "verify", str(tmp_path)]) == 1
    assert "missing" in capsys.readouterr().out
