"""A kiosk with two slots, versions that are this program under other numbers, and an updater that dies on demand."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from config.kiosk import KioskSettings, load_kiosk
from gatehouse.commands.kiosk_update import pack
from kiosk.slots import CURRENT, GOOD, Slots
from kiosk.update import Patience, Updater
from protocol.update import UpdateKind
from tests.kiosk.sync.house import Door, LiveServer

TOP = Path(__file__).parents[3]
QUICK = Patience(install_s=120, proof_s=120, start_s=60, watch_s=1.5, stop_s=20)
RUN = """#!/bin/sh
{first}
PYTHONPATH={top} exec {python} -m gatehouse "$@"
"""


def program(folder: Path, first: str = "") -> Path:
    """A version: this program, started through a script of its own that runs *first*."""
    script = folder / "bin" / "gatehouse"
    script.parent.mkdir(parents=True)
    script.write_text(RUN.format(first=first, top=TOP, python=sys.executable), encoding="utf-8")
    script.chmod(0o755)
    return folder


class Workshop:
    """Everything around one kiosk that is to be updated."""

    def __init__(self, top: Path, server: LiveServer) -> None:
        self.top, self.data = top, top / "data"
        Door.enrolled(self.data, server).close()
        door = Door.opened(self.data)
        assert door.problem() is None, "it holds its rules"
        door.close()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.config = top / "kiosk.toml"
        self.config.write_text(
            f'data_dir = "data"\nprogram_dir = "program"\n[camera]\nsource = "none"\n'
            f'[screen]\nport = {port}\nvoice = false\nsound = "none"\n',
            encoding="utf-8",
        )
        self.settings: KioskSettings = load_kiosk(self.config)
        self.slots = Slots(top / "program")
        program(self.slots.folder("a"))
        self.slots.seal("a", "1.0", bytes(32))
        self.slots.point(CURRENT, "a")
        self.slots.point(GOOD, "a")
        self.packages = 0

    def package(
        self, key: Path, version: str = "1.1", *, first: str = "", kind: UpdateKind = UpdateKind.FOLDER
    ) -> Path:
        """A signed package of such a version."""
        self.packages += 1
        folder = program(self.top / f"made-{self.packages}", first)
        out = self.top / f"{self.packages}.ghu"
        pack(key, version, kind, folder, out, made_at_ms=int(datetime.now(UTC).timestamp() * 1000))
        return out

    def updater(self, patience: Patience = QUICK) -> Updater:
        return Updater(self.settings, self.config, self.slots, patience=patience)

    def dies_after(self, package: Path, step: str) -> list[str]:
        """Install in a process of its own that is killed after *step* ("" for none); the steps it went through."""
        trace = self.top / "trace"
        trace.unlink(missing_ok=True)
        words = [str(self.config), str(package), str(trace), step]
        done = subprocess.run(
            [sys.executable, "-m", "tests.kiosk.updating.workshop", *words], cwd=TOP, capture_output=True, timeout=180
        )
        assert done.returncode == (-signal.SIGKILL if step else 0), done.stderr.decode()
        return trace.read_text(encoding="utf-8").split()

    def settle(self) -> str:
        """What the service does before it starts, with the program that `good` leads to."""
        command = [str(self.slots.root / GOOD / "bin" / "gatehouse"), "kiosk", "update", "settle"]
        done = subprocess.run([*command, "--config", str(self.config)], capture_output=True, timeout=60, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def running(self) -> str | None:
        """The version that the service would start; None when it cannot be started."""
        assert subprocess.run(
            [str(self.slots.root / CURRENT / "bin" / "gatehouse"), "kiosk", "--help"], capture_output=True, timeout=60
        ).returncode in (0,), "what current leads to runs"
        name = self.slots.linked(CURRENT)
        return self.slots.version(name) if name else None


def _die(config: Path, package: Path, trace: Path, step: str) -> None:
    settings = load_kiosk(config)

    def note(name: str) -> None:
        with trace.open("a", encoding="utf-8") as file:
            file.write(name + "\n")
        if name == step:
            os.kill(os.getpid(), signal.SIGKILL)

    Updater(settings, config, Slots(settings.program_dir), patience=QUICK, on_step=note).install(package)


if __name__ == "__main__":
    _die(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
