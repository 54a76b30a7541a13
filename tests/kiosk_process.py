"""One kiosk as a process of its own, as the service starts it, what it spends and says; for benches and journeys."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import requests

TOP = Path(__file__).parents[1]
TICKS = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


class KioskProcess:
    """`gatehouse kiosk --config CONFIG`; `with` starts and ends it. *before* are words in front, like `unshare -n`."""

    def __init__(
        self, config: Path, port: int, *, before: Sequence[str] = (), extra: Mapping[str, str] | None = None
    ) -> None:
        self.config, self.url = config, f"http://127.0.0.1:{port}/"
        self._before, self._extra = before, extra or {}
        self.log = config.with_suffix(".log")

    def __enter__(self) -> KioskProcess:
        self.started_s = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._before, sys.executable, "-m", "gatehouse", "kiosk", "--config", str(self.config)],
                cwd=self.config.parent,
                env={**os.environ, "PYTHONPATH": str(TOP), **self._extra},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def state(self) -> dict[str, Any]:
        """What its screen shows; empty while it does not answer."""
        try:
            found: dict[str, Any] = requests.get(self.url + "state", timeout=5).json()
        except (requests.RequestException, ValueError):
            return {}
        return found

    def until(self, is_so: Callable[[dict[str, Any]], object], what: str, within_s: float = 60.0) -> dict[str, Any]:
        """The first state for which *is_so*; raises TimeoutError with the end of the log."""
        deadline = time.monotonic() + within_s
        while True:
            state = self.state()
            if state and is_so(state):
                return state
            if self.process.poll() is not None or time.monotonic() > deadline:
                end = self.log.read_text(encoding="utf-8", errors="replace")[-2000:]
                raise TimeoutError(f"never came: {what}\n{end}")
            time.sleep(0.02)

    def cpu_s(self) -> float:
        """Processor seconds so far, of it and all that it started and that lives."""
        return sum(_cpu_s(pid) for pid in self.family())

    def family(self) -> list[int]:
        """Its process and all below it."""
        return list(_family(self.process.pid))

    def resident_mib(self) -> tuple[float, float]:
        """Resident memory of the kiosk process itself, and proportional memory (PSS) of it and all that it started."""
        own = _field(Path(f"/proc/{self.process.pid}/status"), "VmRSS:")
        every = sum(_field(Path(f"/proc/{pid}/smaps_rollup"), "Pss:") for pid in self.family())
        return own / 1024, every / 1024

    def threads(self) -> int:
        """Threads of the kiosk process itself."""
        return int(_field(Path(f"/proc/{self.process.pid}/status"), "Threads:"))


class Listener:
    """A page's ear: notes when each verdict reached it over server-sent events."""

    def __init__(self, url: str) -> None:
        self._url, self._new = url + "events", threading.Condition()
        self.verdicts: dict[str, float] = {}  # reference -> steady seconds
        self._answer: requests.Response | None = None
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        try:
            with requests.get(self._url, stream=True, timeout=60) as answer:
                self._answer = answer
                for line in answer.iter_lines(chunk_size=None):
                    now_s = time.monotonic()
                    if line.startswith(b"data: ") and b'"verdict"' in line:
                        self._heard(json.loads(line[6:]), now_s)
        except (requests.RequestException, AttributeError, ValueError):
            return  # the kiosk ended

    def _heard(self, event: dict[str, Any], now_s: float) -> None:
        key = str(event.get("sound", {}).get("key"))
        if event.get("view") == "verdict":
            with self._new:
                self.verdicts.setdefault(key, now_s)
                self._new.notify_all()

    def wait_for(self, count: int, within_s: float) -> bool:
        """Whether so many verdicts have come."""
        with self._new:
            return self._new.wait_for(lambda: len(self.verdicts) >= count, within_s)


def _family(pid: int) -> Iterator[int]:
    yield pid
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _family(int(child))
    except OSError:
        return


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def _field(path: Path, name: str) -> float:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0.0
    return next((float(line.split()[1]) for line in lines if line.startswith(name)), 0.0)
