"""Compiles and steers the shim: which step of a process's life is hurt, and how."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")
NO_COMPILER = "no C compiler: the torture needs cc (Debian: apt-get install gcc libc6-dev)"
EVER = 1 << 60


class Act(IntEnum):
    """What happens at a step (shim.c, enum act)."""

    DIE_BEFORE = 1
    DIE_AFTER = 2
    TEAR = 3  # write the first `arg` thousandths, then die
    FAIL = 4  # with errno `arg`
    SHORT = 5  # half of each write is taken
    FILL = 6  # half of a write is taken, the next one is refused: the disk is full
    CLOCK = 7  # the wall clock moves by `arg` milliseconds
    FAIL_READ = 8  # reads fail with EIO; counted apart from the steps


class On(IntEnum):
    """Which kinds of step a plan waits for; 0: all (shim.c, enum on)."""

    ANY = 0
    WRITE = 1
    SYNC = 2
    NAME = 4
    TRUNCATE = 8


@dataclass(frozen=True, slots=True)
class Plan:
    """Do `act` at steps `at` to `at + count`."""

    act: Act
    at: int
    count: int = 1
    arg: int = 0
    on: On = On.ANY

    def __str__(self) -> str:
        what = errno.errorcode.get(self.arg, "?") if self.act is Act.FAIL else str(self.arg)
        return f"{self.act.name}({what}) on {self.on.name} at {self.at} for {min(self.count, 9999)}"


class _Plan(ctypes.Structure):
    _fields_ = [
        ("act", ctypes.c_int32),
        ("on", ctypes.c_int32),
        ("at", ctypes.c_int64),
        ("count", ctypes.c_int64),
        ("arg", ctypes.c_int64),
    ]


def has_compiler() -> bool:
    """Whether `cc` is there."""
    return shutil.which("cc") is not None


def built() -> Path:
    """The compiled shim, made once for each version of its source. Raises RuntimeError without a compiler."""
    if not has_compiler():
        raise RuntimeError(NO_COMPILER)
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"gatehouse-shim-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise RuntimeError(f"{folder} belongs to somebody else; remove it.")
    library = folder / f"{digest}.so"
    if not library.exists():
        fresh = folder / f"{digest}.{os.getpid()}.new"
        command = ["cc", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(fresh), str(SOURCE)]
        subprocess.run(command, check=True)
        fresh.replace(library)
    return library


def arm(folder: Path, record: Path, plans: tuple[Plan, ...]) -> None:
    """From now on watch this process's writes below *folder*, note them in *record*, and follow *plans*."""
    packed = (_Plan * max(1, len(plans)))(*(_Plan(p.act, p.on, p.at, p.count, p.arg) for p in plans))
    _shim().torture_arm(str(folder).encode(), str(record).encode(), packed, len(plans))


def steps() -> int:
    """How many steps this process has taken since `arm`."""
    return int(_shim().torture_steps())


def move_clock(by_ms: int) -> None:
    """Move this process's wall clock."""
    _shim().torture_move_clock(ctypes.c_int64(by_ms))


def _shim() -> ctypes.CDLL:
    library = ctypes.CDLL(None)
    try:
        library.torture_steps.restype = ctypes.c_int64
    except AttributeError:
        raise RuntimeError("this process was not started with the shim") from None
    return library
