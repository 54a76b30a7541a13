"""Lets those who write to one SQLite database take turns, threads of a process and processes of a host alike.

SQLite has a writer that must wait ask again and again with longer and longer pauses, 100 ms in the end: half of a busy
server's time went by with nobody writing. Here the next one goes on at once, or within a few tenths of a millisecond.
It is a courtesy and no lock: SQLite's own lock decides as ever, also when a turn does not come.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.000_1, 0.005  # between two looks at what another process holds
_HOLDS = "gatehouse_holds_turn"  # in a connection's `info`: the open file, None when only the threads' turn was had


class Turns:
    """The turns at one database: a lock among this process's threads, then a locked file among the processes.

    The file, "DATABASE.turn", stays empty. Its lock goes with the process that holds it, however that ends.
    """

    def __init__(self, database: Path | None, wait_s: float) -> None:
        """*database* is the file to write to, None for one that no other process sees. A turn is waited for at most
        *wait_s*; then SQLite decides who writes."""
        self._path = None if database is None else Path(f"{database}.turn")
        self._wait_s = wait_s
        self._lock = threading.Lock()

    def take(self, of_connection: dict[Any, Any] | None) -> None:
        """Wait for this connection's turn, unless it has it already. *of_connection* lives as long as it."""
        if of_connection is None or _HOLDS in of_connection:
            return
        until_s = time.monotonic() + self._wait_s
        if self._lock.acquire(timeout=self._wait_s):
            of_connection[_HOLDS] = self._of_processes(until_s)

    def end(self, of_connection: dict[Any, Any] | None) -> None:
        """The transaction of this connection is over, however; once is enough, twice does no harm."""
        if of_connection is not None and _HOLDS in of_connection:
            file = of_connection.pop(_HOLDS)
            if file is not None:
                os.close(file)  # closing it lets go
            self._lock.release()

    def _of_processes(self, until_s: float) -> int | None:
        """The locked file; None when it was not to be had, for whatever reason."""
        if self._path is None:
            return None
        with suppress(OSError):  # a folder that cannot be written to: SQLite will say so
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            is_ours = False
            try:
                is_ours = _lock_until(file, until_s)
            finally:
                if not is_ours:
                    os.close(file)
            return file if is_ours else None
        return None


def _lock_until(file: int, until_s: float) -> bool:
    """Lock *file*; False when others held it until then."""
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until_s:
                return False
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.2, LONGEST_PAUSE_S)
        else:
            return True
