"""Who may be the vault: whoever holds the lock on its access log, and nobody beside it (docs/decisions/0141).

The log is one chain, and it counts what each query has opened; two vaults at once would be two chains and twice the
rows. So a second vault on the same folder stands by: it waits for the lock, which the kernel (or the file server) takes
from a process that ended, however it ended.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from server.vault.errors import VaultError
from server.vault.log import LOG_FILE

LOOK_EVERY_S = 0.2


def wait_for_turn(folder: Path) -> None:
    """Return when no vault runs in *folder*; the caller then opens the log at once, and may find another was faster.

    Asks again and again, so that a signal ends the wait. Raises VaultError when there is no log to wait for.
    """
    try:
        file = os.open(folder / LOG_FILE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise VaultError(
            f"{folder / LOG_FILE} cannot be opened: {error.strerror}.",
            hint="Make the vault first: gatehouse vault init",
        ) from error
    try:
        while not _is_free(file):
            time.sleep(LOOK_EVERY_S)
    finally:
        os.close(file)


def _is_free(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
