"""How the board, its memory card and its power are doing, read from Linux; what a machine does not tell is "unknown".

Wear: eMMC tells it (JEDEC JESD84-B51, EXT_CSD 267 to 269), SD cards and most USB sticks do not. Power: the Raspberry
Pi's firmware tells of under-voltage, other boards do not. Nothing here is guessed from anything else.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kiosk.screen_state import Text

LEAST_FREE_MB = 200  # a month of passages without network and the system's own logs
LEAST_FREE_FILES = 500  # a bundle's parts, clips and the journal's own files, many times over
HOT_CELSIUS = 80.0  # a Raspberry Pi slows itself down from here on (Raspberry Pi documentation, "Frequency management")
WORN_STEPS = 9  # JESD84-B51 7.4.x: step n of 10 means n*10 % of the life is used; 11 is beyond it
ANSWER_WITHIN_S = 2.0  # vcgencmd asks the firmware and may hang with it
NOTHING = Text("", "")

FINE = frozenset({"ok", "unknown", "was_under_voltage", "was_throttled"})
# Bits of get_throttled (Raspberry Pi documentation, vcgencmd): of now in 0 to 3, "since the start" in 16 to 19.
NOW = ((0x1, "under_voltage"), (0x4, "throttled"), (0x8, "throttled"), (0x2, "throttled"))
SINCE_START = ((0x10000, "was_under_voltage"), (0x40000, "was_throttled"), (0x80000, "was_throttled"))


@dataclass(frozen=True, slots=True)
class PartHealth:
    """One part of the machine in a stable word, and in sentences for people."""

    part: str  # "card", "power", "heat"
    word: str
    what: Text
    why: Text = NOTHING
    do: Text = NOTHING
    figures: tuple[tuple[str, str], ...] = ()  # name and value beside the word, for the server

    @property
    def is_fine(self) -> bool:
        """Whether nobody has to do anything about it now; what cannot be known is no fault."""
        return self.word in FINE


@dataclass(frozen=True, slots=True)
class Machine:
    """Where Linux tells about itself; another root in tests."""

    sys: Path = Path("/sys")
    proc: Path = Path("/proc")
    run: Callable[[str], str | None] = lambda command: _vcgencmd(command)


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system that a folder lies on, and the device under it; None and "" where Linux names none."""

    device: str  # of the file system, like "mmcblk0p2"
    block: Path | None  # of the whole device in sysfs
    kind: str  # "ext4", ...
    is_read_only: bool


def look(
    folder: Path, *, machine: Machine | None = None, journal_bytes: int = 0, journal_most: int = 0
) -> Iterator[PartHealth]:
    """Card, power and heat of the machine that keeps *folder*; reads a few small files, raises nothing."""
    machine = machine or Machine()
    yield card(folder, machine, journal_bytes=journal_bytes, journal_most=journal_most)
    yield power(machine)
    yield heat(machine)


def health_of(parts: tuple[PartHealth, ...]) -> tuple[tuple[str, str], ...]:
    """For the server's fleet page: each part's word, and its figures."""
    return tuple(pair for part in parts for pair in ((part.part, part.word), *part.figures))


# -- the card --------------------------------------------------------------------------------------------------------


def card(folder: Path, machine: Machine, *, journal_bytes: int = 0, journal_most: int = 0) -> PartHealth:
    """The memory card or disk of *folder*: the first of these that is so.

    read_only, errors, worn_out, full, no_files, journal_full, low, wearing, ok. Words are those of the server's page.
    """
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    disk = disk_of(folder, machine)
    name = _name_of(disk)
    wear = _wear(disk, machine)
    free_mb, free_files = _free(folder)
    errors = _errors(disk, machine)
    figures = (("card_free_mb", str(free_mb)), ("card_wear", "unknown" if wear is None else wear.text))

    def said(word: str, zh: str, en: str, why: Text = NOTHING, do: Text = NOTHING) -> PartHealth:
        return PartHealth("card", word, Text(zh, en), why, do, figures)

    replace = Text(f"导出记录后更换{name.zh}", f"export the journal, then replace the {name.en}")
    if disk.is_read_only or not os.access(folder, os.W_OK):
        return said(
            "read_only",
            f"{name.zh}变为只读：{folder}",
            f"the {name.en} is read-only: {folder} cannot be written",
            Text("记录无法保存，入口会暂停放行", "passages cannot be kept, so nobody can be admitted"),
            Text(
                "检查写保护；Linux 因写入错误转为只读时，请更换",
                "look for a write lock; if Linux made it read-only after errors, replace it",
            ),
        )
    if errors:
        return said(
            "errors",
            f"{name.zh}有 {errors} 处文件系统错误",
            f"{errors} file system errors on the {name.en}",
            Text("它正在坏掉，或断电时写坏了", "it is failing, or a power cut damaged it"),
            replace,
        )
    if wear is not None and wear.is_over:
        return said(
            "worn_out",
            f"{name.zh}寿命已用尽（{wear.text}）",
            f"the {name.en} is worn out ({wear.text})",
            _LOSE,
            replace,
        )
    if free_mb < 20:
        return said("full", f"{name.zh}已满", f"the {name.en} is full ({free_mb} MB free)", _FULL, _SPACE)
    if free_files is not None and free_files < LEAST_FREE_FILES:
        return said(
            "no_files",
            f"{name.zh}只能再建 {free_files} 个文件",
            f"room for {free_files} more files only on the {name.en}",
            _FULL,
            Text("清理小文件，或重新格式化", "remove small files, or make the file system anew"),
        )
    if journal_most and journal_bytes >= journal_most:
        return said(
            "journal_full",
            f"记录已达上限 {journal_most // 2**20} MB",
            f"the journal has reached its limit of {journal_most // 2**20} MB",
            Text("新记录被拒绝，入口会暂停放行", "new records are refused, so nobody can be admitted"),
            Text("联网上传，或导出到U盘并取回回执", "connect the network, or carry it on a stick and take the receipt"),
        )
    if free_mb < LEAST_FREE_MB:
        return said("low", f"{name.zh}只剩 {free_mb} MB", f"{free_mb} MB free on the {name.en}", _FULL, _SPACE)
    if wear is not None and wear.is_near:
        return said(
            "wearing", f"{name.zh}寿命已用 {wear.text}", f"{wear.text} of the {name.en}'s life is used", _LOSE, replace
        )
    known = Text("", "") if wear is not None else Text("，寿命未知", "; it does not tell its wear")
    return said("ok", f"可用 {free_mb} MB{known.zh}", f"{free_mb} MB free{known.en}")


_LOSE = Text("随时可能写不进去", "writing may fail any day")
_FULL = Text("写满后无法记录", "when it is full nothing can be recorded")
_SPACE = Text("清理空间或换更大的存储卡", "free space, or fit a larger card")


@dataclass(frozen=True, slots=True)
class Wear:
    """How much of a flash memory's life is gone, as it says itself."""

    steps: int  # tenths of its life, 11: beyond
    pre_end: int  # PRE_EOL_INFO: 1 normal, 2 80 % of the reserve used, 3 urgent; 0 not told

    @property
    def text(self) -> str:
        """In percent, an upper end."""
        return ">100%" if self.steps > 10 else f"{self.steps * 10}%"

    @property
    def is_over(self) -> bool:
        """Replace it now."""
        return self.steps > 10 or self.pre_end == 3

    @property
    def is_near(self) -> bool:
        """Replace it soon."""
        return self.steps >= WORN_STEPS or self.pre_end == 2


def disk_of(folder: Path, machine: Machine) -> Disk:
    """The disk under *folder*, from the mount table and sysfs."""
    number = os.stat(folder).st_dev
    where = f"{os.major(number)}:{os.minor(number)}"
    kind, is_read_only = "", False
    for line in _lines(machine.proc / "self" / "mountinfo"):
        before, _, after = line.partition(" - ")
        fields, told = before.split(), after.split()
        if len(fields) >= 6 and fields[2] == where and len(told) >= 3:
            kind = told[0]
            # errors=remount-ro shows in the file system's own options, a read-only mount in those of the mount;
            # a mount of elsewhere (a bind of a unit's sandbox) may be read-only while the folder's own is not
            is_read_only = "ro" in told[2].split(",")
    link = machine.sys / "dev" / "block" / where
    if not link.exists():
        return Disk("", None, kind, is_read_only)
    found = link.resolve()
    block = found.parent if (found / "partition").exists() else found
    return Disk(found.name, block, kind, is_read_only)


def _name_of(disk: Disk) -> Text:
    if disk.block is not None and disk.block.name.startswith("mmcblk"):
        kind = _text(disk.block / "device" / "type")
        return Text("板载存储", "built-in memory (eMMC)") if kind == "MMC" else Text("存储卡", "memory card")
    if disk.block is not None and disk.block.name.startswith(("sd", "nvme")):
        return Text("固态盘", "SSD or USB disk")
    return Text("存储卡", "disk")


def _wear(disk: Disk, machine: Machine) -> Wear | None:
    """What the memory says of its wear; None when it says nothing, as SD cards do."""
    if disk.block is None:
        return None
    steps = [int(part, 16) for part in re.findall(r"0x[0-9a-fA-F]+", _text(disk.block / "device" / "life_time"))]
    pre_end = re.match(r"0x[0-9a-fA-F]+", _text(disk.block / "device" / "pre_eol_info"))
    if not steps or not any(steps):
        steps, told = _ext_csd(disk, machine)
        pre_end_value = told
    else:
        pre_end_value = int(pre_end[0], 16) if pre_end else 0
    return Wear(max(steps), pre_end_value) if steps and any(steps) else None


def _ext_csd(disk: Disk, machine: Machine) -> tuple[list[int], int]:
    """The same from the register itself, where debugfs may be read (root only)."""
    for path in sorted((machine.sys / "kernel" / "debug").glob("mmc*/mmc*/ext_csd")) if disk.block else ():
        if disk.block is not None and path.parent.parent.name not in str((disk.block / "device").resolve()):
            continue
        try:
            register = bytes.fromhex(_text(path))
        except ValueError:
            continue
        if len(register) == 512:
            return [register[268], register[269]], register[267]
    return [], 0


def _errors(disk: Disk, machine: Machine) -> int:
    told = _text(machine.sys / "fs" / "ext4" / disk.device / "errors_count") if disk.device else ""
    return int(told) if told.isdigit() else 0


def _free(folder: Path) -> tuple[int, int | None]:
    """Free megabytes, and free files (None: a file system without a limit on them)."""
    told = os.statvfs(folder)
    return told.f_bavail * told.f_frsize // 2**20, told.f_favail if told.f_files else None


# -- power and heat --------------------------------------------------------------------------------------------------


def power(machine: Machine) -> PartHealth:
    """What a Raspberry Pi's firmware says of its supply; "unknown" on boards that say nothing."""
    bits = _throttled(machine)
    alarm = _voltage_alarm(machine)
    if bits is None and alarm is None:
        return PartHealth("power", "unknown", Text("本机不报告供电情况", "this board does not tell of its supply"))
    figures = () if bits is None else (("power_bits", f"{bits:#x}"),)
    words = [word for mask, word in (*NOW, *SINCE_START) if bits is not None and bits & mask]
    word = "under_voltage" if alarm or "under_voltage" in words else words[0] if words else "ok"
    supply = Text("换成原装电源和短而粗的线", "fit the board's own supply and a short, thick cable")
    if word == "under_voltage":
        return PartHealth(
            "power",
            word,
            Text("供电电压不足", "the supply's voltage is too low"),
            Text("本机会变慢、死机，存储卡会写坏", "the kiosk slows down, hangs, and may damage its card"),
            supply,
            figures,
        )
    if word == "throttled":
        return PartHealth(
            "power",
            word,
            Text("本机因过热或供电不足降速", "the board slows itself down, from heat or a weak supply"),
            Text("识码变慢", "reading codes takes longer"),
            Text("检查通风和电源", "look at ventilation and supply"),
            figures,
        )
    if word == "was_under_voltage":
        told = Text(
            "开机以来出现过电压不足，建议更换电源", "the voltage was too low since the start; a better supply is due"
        )
        return PartHealth("power", word, told, do=supply, figures=figures)
    if word == "was_throttled":
        told = Text("开机以来曾降速", "the board slowed itself down since the start")
        return PartHealth("power", word, told, figures=figures)
    return PartHealth("power", "ok", Text("供电正常", "the supply is sound"), figures=figures)


def _throttled(machine: Machine) -> int | None:
    for path in sorted((machine.sys / "devices" / "platform" / "soc").glob("*/get_throttled")):
        if re.fullmatch(r"(0x)?[0-9a-fA-F]{1,8}", told := _text(path)):
            return int(told, 16)
    answer = re.fullmatch(r"throttled=(0x[0-9a-fA-F]{1,8})", (machine.run("get_throttled") or "").strip())
    return int(answer[1], 16) if answer else None


def _voltage_alarm(machine: Machine) -> bool | None:
    """The same from the kernel's own driver, which newer kernels have instead."""
    for name in sorted((machine.sys / "class" / "hwmon").glob("hwmon*/name")):
        if _text(name) == "rpi_volt" and (told := _text(name.parent / "in0_lcrit_alarm")) in ("0", "1"):
            return told == "1"
    return None


def _vcgencmd(command: str) -> str | None:
    """The firmware's own tool, where there is one."""
    program = shutil.which("vcgencmd")
    if program is None:
        return None
    try:
        done = subprocess.run([program, command], capture_output=True, text=True, timeout=ANSWER_WITHIN_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def heat(machine: Machine) -> PartHealth:
    """The processor's temperature, "unknown" when the board has no sensor."""
    found = []
    for zone in sorted((machine.sys / "class" / "thermal").glob("thermal_zone*")):
        told = _text(zone / "temp")
        if re.fullmatch(r"-?[0-9]{1,7}", told):
            found.append(("cpu" in _text(zone / "type").lower(), int(told) / 1000))
    processors = [celsius for is_cpu, celsius in found if is_cpu] or [celsius for _, celsius in found]
    if not processors:
        return PartHealth("heat", "unknown", Text("本机没有温度传感器", "this board has no temperature sensor"))
    celsius = max(processors)
    figures = (("board_celsius", f"{celsius:.0f}"),)
    if celsius >= HOT_CELSIUS:
        return PartHealth(
            "heat",
            "hot",
            Text(f"主板 {celsius:.0f} ℃，过热", f"the board is at {celsius:.0f} °C"),
            Text("本机会降速，识码变慢", "it slows itself down, and reading codes takes longer"),
            Text("移出阳光，清理通风口，加散热片", "out of the sun, clean the vents, fit a heat sink"),
            figures,
        )
    return PartHealth("heat", "ok", Text(f"主板 {celsius:.0f} ℃", f"the board is at {celsius:.0f} °C"), figures=figures)


def _text(path: Path) -> str:
    """A small file's text, "" when it cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace")[:4096].strip()
    except OSError:
        return ""


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
