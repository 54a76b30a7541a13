"""A PostgreSQL of the tests' own: made in a temporary folder, reached by a Unix socket only, gone with the process.

Never the system's cluster. PostgreSQL refuses to run as root, so that root hands it to an unprivileged user. Beside the
tests it also serves `./run bench`.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import psycopg

UNPRIVILEGED = ("postgres", "nobody")
MISSING = "PostgreSQL is not installed (Debian: apt-get install postgresql); its half of the server's tests cannot run"
_PR_SET_PDEATHSIG = 1  # prctl(2)
_PREFIX = "gatehouse-pg-"  # then the number of the process it belongs to
_MEMORY = Path("/dev/shm")  # copying a template there takes a quarter of the time
_numbers = itertools.count(1)

# For tests: the data lives as long as the test, so nothing has to survive a power cut.
NOTHING_LASTS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
LASTING = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}  # as in service
_SMALL = {"shared_buffers": "48MB", "max_connections": "100", "autovacuum_naptime": "10min", "max_wal_size": "512MB"}


def programs() -> Path | None:
    """The newest installed PostgreSQL's folder of programs, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


class Cluster:
    """A running server. `close` ends it; so does the end of this process, however it ends."""

    def __init__(self, settings: Mapping[str, str] = NOTHING_LASTS, *, in_memory: bool = False) -> None:
        """Make and start it; about two seconds. Raises RuntimeError when it does not come up.

        Without `fsync`, or *in_memory*, its files lie where a sync costs nothing: they outlive any process, and not the
        machine.
        """
        found = programs()
        if found is None:
            raise RuntimeError(MISSING)
        self._programs = found
        # short: a socket's path has 107 bytes at most
        in_memory = in_memory or settings.get("fsync") == "off"
        base = _MEMORY if in_memory and _has_room(_MEMORY) else Path(tempfile.gettempdir())
        _sweep(base)
        self.folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=base))
        self._user: str | None = None
        if os.getuid() == 0:
            self._user = next(name for name in UNPRIVILEGED if _exists(name))
            shutil.chown(self.folder, self._user)
        self._log = self.folder / "log"
        data = self.folder / "data"
        self._make(data)
        command = [str(found / "postgres"), "-D", str(data), "-k", str(self.folder), "-c", "listen_addresses="]
        for name, value in {**_SMALL, **settings}.items():
            command += ["-c", f"{name}={value}"]
        self._command = command
        self._start()
        self._wait()

    def _start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self.folder,
                user=self._user,
                stdout=log,
                stderr=log,
                env=_plain(),
                preexec_fn=_die_with_us,
            )

    def _make(self, data: Path) -> None:
        subprocess.run(
            [self._programs / "initdb", "-D", data, "-U", "gatehouse", "-A", "trust", "-E", "UTF8", "--no-sync"]
            + ["--locale=C.UTF-8", "--no-instructions"],
            check=True,
            cwd=self.folder,
            user=self._user,
            stdout=subprocess.DEVNULL,
            env=_plain(),
        )

    def _wait(self) -> None:
        until = time.monotonic() + 60
        while True:
            try:
                self._admin().close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"PostgreSQL did not start:\n{self._log.read_text()}") from None
            time.sleep(0.05)

    def _admin(self) -> psycopg.Connection:
        return psycopg.connect(host=str(self.folder), user="gatehouse", dbname="postgres", autocommit=True)

    def crash(self, how: signal.Signals) -> None:
        """End it without its consent: SIGKILL to the postmaster, or SIGQUIT, which is an immediate stop."""
        self._process.send_signal(how)
        self._process.wait(30)

    def crash_one_session(self, name: str) -> bool:
        """SIGKILL one session of database *name*, upon which PostgreSQL throws all out and recovers; False: none."""
        admin = self._admin()
        row = admin.execute("SELECT pid FROM pg_stat_activity WHERE datname = %s", (name,)).fetchone()
        if row is None:
            admin.close()
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(row[0], signal.SIGKILL)
        until = time.monotonic() + 30
        with contextlib.suppress(psycopg.OperationalError):  # we are thrown out with all the others
            while time.monotonic() < until:
                admin.execute("SELECT pg_sleep(0.01)")
        admin.close()
        return True

    def start_again(self) -> None:
        """Start on what a crash left, once its last session has noticed that it is over; waits until it serves."""
        until = time.monotonic() + 60
        while True:
            if self._process.poll() is not None:
                self._start()
            try:
                self._wait()
                return
            except RuntimeError:  # sessions of before still hold its memory
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def url(self, name: str) -> str:
        """The address of database *name*, as settings take it."""
        return f"postgresql+psycopg://gatehouse@/{name}?host={self.folder}"

    def create(self, template: str = "template0") -> str:
        """A new database, a copy of *template*; returns its name."""
        name = f"copy{next(_numbers)}"
        with self._admin() as admin:
            admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY wal_log".encode())
        return name

    def dump(self, name: str, to: Path) -> None:
        """Write what database *name* holds as SQL."""
        command = [self._programs / "pg_dump", "-h", self.folder, "-U", "gatehouse", "-f", to, name]
        subprocess.run(command, check=True, env=_plain())

    def drop(self, name: str) -> None:
        """Delete a database, whoever is still connected."""
        with self._admin() as admin:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    def close(self) -> None:
        """Stop at once and leave nothing behind."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(30)
        shutil.rmtree(self.folder)


def _sweep(base: Path) -> None:
    """Remove what killed processes left: their PostgreSQL ended with them, its folder could not."""
    for folder in base.glob(f"{_PREFIX}*-*"):
        owner = folder.name.removeprefix(_PREFIX).split("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists():
            shutil.rmtree(folder, ignore_errors=True)


def _has_room(folder: Path) -> bool:
    """A container's /dev/shm may be tiny."""
    return folder.is_dir() and shutil.disk_usage(folder).free > 2 * 2**30


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _plain() -> dict[str, str]:
    """The environment without settings of somebody's own PostgreSQL."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _die_with_us() -> None:
    """In the child, after it has become the other user: when the tests are killed, PostgreSQL stops at once."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)
