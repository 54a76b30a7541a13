"""The doctor says in words what is wrong, and what it found goes on record as the entrance's opening test."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.kiosk import load_kiosk
from gatehouse.cli import main
from kiosk.doctor import Finding, examine, record_opening_test
from kiosk.opening import FILE, OpeningTest
from kiosk.screen_state import Text
from kiosk.store import JournalError
from protocol.journal import header_of
from tests.kiosk.sync.house import Door, LiveServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    made = LiveServer(tmp_path_factory.mktemp("server"))
    yield made
    made.stop()


@pytest.fixture
def config(tmp_path: Path, server: LiveServer) -> Path:
    """An enrolled, stopped kiosk without devices."""
    Door.enrolled(tmp_path / "data", server).close()
    path = tmp_path / "kiosk.toml"
    path.write_text('data_dir = "data"\n[camera]\nsource = "none"\n[screen]\nvoice = false\n', encoding="utf-8")
    return path


def opening_tests(folder: Path) -> list[dict[str, object]]:
    door = Door.opened(folder)
    headers = [header_of(record, door.id) for record in door.journal.records_after(0, 1000)]
    door.close()
    return [dict(header.detail) for header in headers if header.event == "opening_test"]


def test_an_entrance_in_order_passes_and_the_result_is_on_record(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--config", str(config), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["part"] for line in lines} >= {"disk", "clock", "journal", "server", "camera", "thermometer"}
    (told,) = opening_tests(config.parent / "data")
    assert (told["operator"], told["result"], told["disk"]) == ("doctor", "passed", "ok")
    assert OpeningTest.from_json((config.parent / "data" / FILE).read_bytes()).passed


def test_a_part_that_needs_somebody_fails_the_test_by_name(config: Path) -> None:
    settings = load_kiosk(config)
    found = [*examine(settings), Finding("camera", False, Text("无画面", "no picture"))]
    test = record_opening_test(settings, found)
    assert test is not None and not test.passed and "摄像头" in test.text().zh
    assert opening_tests(settings.data_dir)[-1]["result"] == "failed"


def test_looking_only_writes_nothing(config: Path) -> None:
    assert main(["doctor", "--config", str(config), "--look"]) == 0
    assert opening_tests(config.parent / "data") == []


def test_beside_a_running_kiosk_it_looks_and_says_why_nothing_is_recorded(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    door = Door.opened(config.parent / "data")
    with pytest.raises(JournalError) as error:
        record_opening_test(load_kiosk(config), [])
    assert error.value.code == "busy"
    assert main(["doctor", "--config", str(config)]) == 0
    said = capsys.readouterr()
    assert "Stop it first" in said.err and "nothing needs you" in said.out
    door.close()
    assert opening_tests(config.parent / "data") == []


def test_a_card_that_does_not_give_back_what_was_written_is_named(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = os.fsync

    def dying(descriptor: int) -> None:
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        if ".write-test-" in name or FILE in name:
            raise OSError(5, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", dying)
    assert main(["doctor", "--config", str(config)]) == 1
    assert "更换存储卡" in capsys.readouterr().out
    (told,) = opening_tests(config.parent / "data")
    assert (told["result"], told["disk"]) == ("failed", "bad")


def test_a_device_that_is_not_enrolled_has_no_record_to_write(tmp_path: Path) -> None:
    path = tmp_path / "kiosk.toml"
    path.write_text('data_dir = "data"\n[camera]\nsource = "none"\n', encoding="utf-8")
    assert record_opening_test(load_kiosk(path), []) is None
    assert not (tmp_path / "data" / "journal.db").exists()
