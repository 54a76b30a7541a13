"""Settings files: complete examples load, mistakes are named with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.errors import ConfigError
from config.kiosk import KioskSettings, load_kiosk

EXAMPLE = Path(__file__).resolve().parents[2] / "config" / "kiosk.example.toml"


def test_the_example_file_loads_and_shows_the_defaults() -> None:
    settings = load_kiosk(EXAMPLE)
    assert settings == KioskSettings(data_dir=EXAMPLE.parent / "kiosk-data")


@pytest.mark.parametrize(
    ("text", "found", "expected"),
    [
        ('data_dir = "d"\nthermometre = 1\n', "thermometre is not a setting", "thermometer"),
        ('data_dir = "d"\n[gate]\nprot = "x"\n', "gate.prot is not a setting", "port"),
        ('data_dir = "d"\n[sync]\nbatch = "many"\n', "sync.batch is 'many'", "int"),
        ('data_dir = "d"\n[sync]\nbatch = 0\n', "sync.batch is 0", "Mend"),
        ('data_dir = "d"\ndirection = "up"\n', "direction is 'up'", "'in', 'out'"),
        ('data_dir = "d"\n[thermometer]\ndriver = "gy614v"\n', "thermometer.port is missing", "Mend"),
        ("direction = 'in'\n", "data_dir is missing", "add it"),
        ("data_dir = \n", "not valid TOML", "Mend that line"),
        ("data_dir = 3\n", "data_dir is 3", "a path"),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_expected(tmp_path: Path, text: str, found: str, expected: str) -> None:
    path = tmp_path / "kiosk.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        load_kiosk(path)
    assert found in error.value.message
    assert expected in error.value.hint


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no settings file"):
        load_kiosk(tmp_path / "nothing.toml")


def test_relative_paths_count_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "kiosk.toml").write_text('data_dir = "here"\n', encoding="utf-8")
    assert load_kiosk(tmp_path / "kiosk.toml").data_dir == tmp_path.resolve() / "here"
