"""Card, power and heat are told as Linux tells them, and what a machine keeps to itself is unknown, never fine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kiosk.card_health import Machine, PartHealth, card, health_of, heat, look, power

Tell = dict[str, str]


class Board:
    """A sysfs and procfs of our own, and the folder that lies on its card."""

    def __init__(self, top: Path) -> None:
        self.top, self.folder = top, top / "data"
        self.folder.mkdir()
        number = os.stat(self.folder).st_dev
        self.where = f"{os.major(number)}:{os.minor(number)}"
        self.machine = Machine(top / "sys", top / "proc", lambda command: self.vcgencmd)
        self.vcgencmd: str | None = None
        self.mounted("rw")

    def tell(self, files: Tell) -> None:
        for name, text in files.items():
            path = self.top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n", encoding="ascii")

    def mounted(self, options: str) -> None:
        line = (
            f"36 35 {self.where} / {self.folder} rw,noatime shared:1 - ext4 /dev/mmcblk0p3 {options},errors=remount-ro"
        )
        self.tell({"proc/self/mountinfo": line})

    def on_card(self, kind: str = "SD") -> None:
        disk = "sys/devices/platform/mmc0/mmc0:0001/block/mmcblk0"
        self.tell({f"{disk}/mmcblk0p3/partition": "3", f"{disk}/device/type": kind})
        link = self.top / "sys/dev/block" / self.where
        link.parent.mkdir(parents=True)
        link.symlink_to(self.top / disk / "mmcblk0p3")

    def emmc(self, life_time: str, pre_eol_info: str) -> None:
        self.on_card("MMC")
        disk = "sys/devices/platform/mmc0/mmc0:0001/block/mmcblk0/device"
        self.tell({f"{disk}/life_time": life_time, f"{disk}/pre_eol_info": pre_eol_info})

    def card(self, **journal: int) -> PartHealth:
        return card(self.folder, self.machine, **journal)

    def bits(self, value: str) -> PartHealth:
        self.tell({"sys/devices/platform/soc/soc:firmware/get_throttled": value})
        return power(self.machine)


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path)


def test_a_board_that_tells_nothing_is_unknown_and_nobody_is_sent(board: Board) -> None:
    found = {part.part: part for part in look(board.folder, machine=board.machine)}
    assert (found["power"].word, found["heat"].word) == ("unknown", "unknown")
    assert found["card"].word == "ok" and dict(found["card"].figures)["card_wear"] == "unknown"
    assert all(part.is_fine for part in found.values())


def test_an_sd_card_does_not_tell_its_wear_and_none_is_made_up(board: Board) -> None:
    board.on_card("SD")
    assert board.card().word == "ok" and "寿命未知" in board.card().what.zh


@pytest.mark.parametrize(
    ("life_time", "pre_eol", "word", "wear"),
    [
        ("0x01 0x01", "0x01", "ok", "10%"),
        ("0x09 0x02", "0x01", "wearing", "90%"),
        ("0x03 0x02", "0x02", "wearing", "30%"),
        ("0x0b 0x03", "0x01", "worn_out", ">100%"),
        ("0x05 0x05", "0x03", "worn_out", "50%"),
        ("0x00 0x00", "0x00", "ok", "unknown"),  # JESD84-B51: not defined
    ],
)
def test_an_emmc_tells_how_much_of_its_life_is_used(
    board: Board, life_time: str, pre_eol: str, word: str, wear: str
) -> None:
    board.emmc(life_time, pre_eol)
    told = board.card()
    assert (told.word, dict(told.figures)["card_wear"]) == (word, wear)
    assert told.is_fine is (word == "ok") and (told.is_fine or "eMMC" in told.what.en)


def test_the_register_itself_is_read_where_debugfs_may_be(board: Board) -> None:
    board.on_card("MMC")
    register = bytearray(512)
    register[267:270] = bytes((1, 2, 9))
    (board.top / "sys/devices/platform/mmc0/mmc0:0001/block/mmcblk0/device/type").unlink()
    (board.top / "sys/devices/platform/mmc0/mmc0:0001/block/mmcblk0/device").rmdir()
    (board.top / "sys/devices/platform/mmc0/mmc0:0001/block/mmcblk0/device").symlink_to("../..")
    board.tell({"sys/kernel/debug/mmc0/mmc0:0001/ext_csd": register.hex()})
    assert dict(board.card().figures)["card_wear"] == "90%"
    board.tell({"sys/kernel/debug/mmc0/mmc0:0001/ext_csd": "short"})
    assert dict(board.card().figures)["card_wear"] == "unknown"


def test_a_card_that_linux_made_read_only_is_named(board: Board) -> None:
    board.mounted("ro")
    told = board.card()
    assert told.word == "read_only" and "只读" in told.what.zh and told.do.zh and told.why.zh


def test_errors_that_the_file_system_counted_are_told(board: Board) -> None:
    board.on_card()
    board.tell({"sys/fs/ext4/mmcblk0p3/errors_count": "0"})
    assert board.card().word == "ok"
    board.tell({"sys/fs/ext4/mmcblk0p3/errors_count": "3"})
    told = board.card()
    assert told.word == "errors" and "3" in told.what.zh and "更换存储卡" in told.do.zh


def test_too_little_room_or_too_few_files_are_told(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs(board.folder)

    def with_free(blocks: int, files: int) -> str:
        values = list(real[:10])
        values[1], values[4], values[5], values[7] = 4096, blocks, 1_000_000, files
        monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result(values))
        return board.card().word

    assert with_free(1 << 20, 100_000) == "ok"
    assert with_free(1 << 12, 100_000) == "full"
    assert with_free(1 << 15, 100_000) == "low"
    assert with_free(1 << 20, 10) == "no_files"


def test_a_journal_at_its_limit_is_told_with_the_way_out(board: Board) -> None:
    assert board.card(journal_bytes=10, journal_most=100).word == "ok"
    told = board.card(journal_bytes=100, journal_most=100)
    assert told.word == "journal_full" and "U盘" in told.do.zh


@pytest.mark.parametrize(
    ("bits", "word"),
    [
        ("0", "ok"),
        ("50000", "was_under_voltage"),
        ("50005", "under_voltage"),
        ("20002", "throttled"),
        ("80008", "throttled"),
        ("40000", "was_throttled"),
    ],
)
def test_the_firmware_of_a_pi_tells_of_its_supply(board: Board, bits: str, word: str) -> None:
    told = board.bits(bits)
    assert told.word == word and dict(told.figures) == {"power_bits": f"{int(bits, 16):#x}"}
    assert told.is_fine is (word in ("ok", "was_under_voltage", "was_throttled"))
    if word == "under_voltage":
        assert "电压不足" in told.what.zh and "电源" in told.do.zh


def test_a_newer_kernel_tells_by_its_voltage_alarm(board: Board) -> None:
    hwmon = "sys/class/hwmon/hwmon1"
    board.tell({f"{hwmon}/name": "rpi_volt", f"{hwmon}/in0_lcrit_alarm": "0", "sys/class/hwmon/hwmon0/name": "other"})
    assert power(board.machine).word == "ok"
    board.tell({f"{hwmon}/in0_lcrit_alarm": "1"})
    assert power(board.machine).word == "under_voltage"


def test_the_firmwares_tool_is_asked_where_sysfs_is_silent(board: Board) -> None:
    board.vcgencmd = "throttled=0x50005\n"
    assert power(board.machine).word == "under_voltage"
    board.vcgencmd = "VCHI initialization failed"
    assert power(board.machine).word == "unknown"
    assert board.bits("garbage").word == "unknown"


def test_a_hot_board_is_told(board: Board) -> None:
    board.tell({"sys/class/thermal/thermal_zone0/temp": "61234", "sys/class/thermal/thermal_zone0/type": "cpu-thermal"})
    board.tell({"sys/class/thermal/thermal_zone1/temp": "99000", "sys/class/thermal/thermal_zone1/type": "battery"})
    assert heat(board.machine).word == "ok" and heat(board.machine).figures == (("board_celsius", "61"),)
    board.tell({"sys/class/thermal/thermal_zone0/temp": "81500"})
    assert heat(board.machine).word == "hot" and "82 ℃" in heat(board.machine).what.zh


def test_this_machine_is_looked_at_without_raising(tmp_path: Path) -> None:
    parts = tuple(look(tmp_path / "not" / "there"))
    assert [part.part for part in parts] == ["card", "power", "heat"]
    assert all(len(name) <= 64 and len(value) <= 64 for name, value in health_of(parts))
