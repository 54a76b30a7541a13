"""The demo's processes: each started with a log of its own, watched, and ended in the opposite order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from config.errors import GatehouseError

END_WAIT_S = 15.0


class DemoError(GatehouseError):
    """A part of the demo did not start or ended by itself."""

    code = "demo"


class Processes:
    """The children, in the order they were started. Use as a context manager."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._children: list[tuple[str, subprocess.Popen[bytes]]] = []

    def __enter__(self) -> Processes:
        self._logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        for _name, child in reversed(self._children):
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
            try:
                child.wait(END_WAIT_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def run(self, *arguments: str, stdin: str | None = None, extra: Mapping[str, str] | None = None) -> str:
        """Run one gatehouse command to its end; returns what it printed. Raises DemoError with its own words."""
        done = subprocess.run(
            [sys.executable, "-m", "gatehouse", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env={**os.environ, **(extra or {})},
            check=False,
        )
        if done.returncode:
            raise DemoError(
                f"gatehouse {' '.join(arguments[:2])} failed.",
                hint=(done.stderr or done.stdout).strip()[-2000:],
            )
        return done.stdout

    def start(self, name: str, *arguments: str) -> None:
        """Start a long-running gatehouse command; its output goes to LOGS/NAME.log.

        A session of its own: Ctrl-C reaches the demo alone, which then ends its children in order.
        """
        with (self._logs / f"{name}.log").open("wb") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "gatehouse", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._children.append((name, child))

    def stop(self, name: str, *, kill: bool = False) -> None:
        """End one child: asked nicely, or with SIGKILL."""
        for number, (known, child) in enumerate(self._children):
            if known == name:
                child.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
                child.wait(END_WAIT_S)
                del self._children[number]
                return
        raise DemoError(f"There is no process {name} to stop.")

    def check(self) -> None:
        """Raise DemoError when a child ended by itself, with the end of its log."""
        for name, child in self._children:
            if child.poll() is not None:
                raise DemoError(
                    f"The {name} ended by itself (exit code {child.returncode}).",
                    hint=self._tail(name),
                )

    def wait_for(self, name: str, is_ready: Callable[[], bool], timeout_s: float) -> None:
        """Wait until *is_ready*; raises DemoError when the child ends or the time is over."""
        deadline = time.monotonic() + timeout_s
        while not is_ready():
            self.check()
            if time.monotonic() > deadline:
                raise DemoError(f"The {name} was not ready within {timeout_s:.0f} s.", hint=self._tail(name))
            time.sleep(0.1)

    def _tail(self, name: str) -> str:
        try:
            text = (self._logs / f"{name}.log").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return "It left no log."
        return "\n  ".join(["The end of its log:", *text.strip().splitlines()[-12:]])
