"""A primary with a streaming replica, both in folders of their own, both real."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from tests.postgres import Cluster, _plain

# durability is the subject here
LASTING = {"fsync": "on", "synchronous_commit": "on", "shared_buffers": "48MB", "wal_level": "replica"}


def until(is_so: Callable[[], bool], what: str, within_s: float = 60) -> None:
    ends = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < ends, what
        time.sleep(0.02)


class Primary(Cluster):
    """A cluster that can be killed."""

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL to it and to all it has started, as a power cut would."""
        for process in [*self._children(), self._process.pid]:
            _signal(process, signal.SIGKILL)
        self._process.wait(30)

    def close(self) -> None:
        if self.lives:
            for process in self._children():
                _signal(process, signal.SIGCONT)  # one that a test stopped would never end
            super().close()
        else:
            shutil.rmtree(self.folder)

    def _children(self) -> list[int]:
        return [
            int(n) for n in Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        ]


class Standby(Primary):
    """A copy of *primary* that follows it, under the name `second`; queries may be asked there."""

    def __init__(self, primary: Primary, settings: dict[str, str] = LASTING) -> None:
        self._primary = primary
        super().__init__(settings)

    def _make(self, data: Path) -> None:
        """The primary's bytes, and the order to follow it."""
        connection = f"host={self._primary.folder} user=gatehouse application_name=second"
        subprocess.run(
            [self._programs / "pg_basebackup", "-D", data, "-d", connection, "-X", "stream", "-R", "-c", "fast", "-N"],
            check=True,
            cwd=self.folder,
            user=self._user,
            env=_plain(),
        )
        assert (data / "standby.signal").exists()

    def follows(self) -> bool:
        """Whether the primary counts it as its synchronous standby, or at least streams to it."""
        with psycopg.connect(host=str(self._primary.folder), user="gatehouse", dbname="postgres") as admin:
            row = admin.execute("SELECT state FROM pg_stat_replication WHERE application_name = 'second'").fetchone()
        return row == ("streaming",)

    def is_level(self) -> bool:
        """Whether it has replayed all that the primary has written."""
        with self._primary._admin() as there, self._admin() as here:
            written = there.execute("SELECT pg_current_wal_lsn()").fetchone()
            replayed = here.execute("SELECT pg_last_wal_replay_lsn()").fetchone()
        return written == replayed

    def stop_receiving(self) -> None:
        """The line to it is dead: it neither takes nor confirms anything, and does not say so."""
        receivers = self._receivers()
        assert receivers, "nothing receives"
        for process in receivers:
            _signal(process, signal.SIGSTOP)

    def receive_again(self) -> None:
        for process in self._receivers():
            _signal(process, signal.SIGCONT)

    def pause_replay(self) -> None:
        """It takes everything, and shows nothing of it."""
        with self._admin() as admin:
            admin.execute("SELECT pg_wal_replay_pause()")

    def resume_replay(self) -> None:
        with self._admin() as admin:
            admin.execute("SELECT pg_wal_replay_resume()")

    def promote(self) -> None:
        """Make it the primary; returns when it takes writes."""
        with self._admin() as admin:
            assert admin.execute("SELECT pg_promote(true, 60)").fetchone() == (True,)

    def _receivers(self) -> list[int]:
        return [process for process in self._children() if b"walreceiver" in _command_of(process)]


def _command_of(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):  # it ended since it was listed
        return b""


def _signal(process: int, number: int) -> None:
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return
