"""A process that has everything imported and forks lives off itself: a life costs milliseconds, not seconds.

Each life is an operating system process of its own; it dies of SIGKILL, and its files are all that it leaves.
"""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.torture import shim

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
TOP = Path(__file__).resolve().parents[2]


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its *parent* dies: a torture that was stopped leaves nothing running."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        os._exit(0)


def _send(line: socket.socket, message: object) -> None:
    data = pickle.dumps(message)
    line.sendall(struct.pack("=I", len(data)) + data)


def _receive(line: socket.socket) -> Any:
    def exactly(size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = line.recv(size - len(data))
            if not piece:
                raise EOFError("the zygote is gone")
            data += piece
        return data

    return pickle.loads(exactly(struct.unpack("=I", exactly(4))[0]))


class Living:
    """A life that was begun."""

    def __init__(self, zygote: Zygote, pid: int) -> None:
        self._zygote, self.pid, self.code = zygote, pid, None
        self._pidfd = os.pidfd_open(pid)

    code: int | None  # as of waitpid: below zero the signal that killed it

    def ends(self, within_s: float) -> bool:
        """Wait for its end."""
        if self.code is None and select.select([self._pidfd], [], [], within_s)[0]:
            self.code = self._zygote.reap(self.pid)
            os.close(self._pidfd)
        return self.code is not None

    def kill(self) -> int:
        """SIGKILL, unless it died before; its code."""
        if self.code is None:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            if not self.ends(30):
                raise AssertionError(f"process {self.pid} does not die")
        assert self.code is not None
        return self.code


class Zygote:
    """The parent of all lives; `with` starts and ends it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._line = ours
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.torture.zygote", str(theirs.fileno()), str(os.getpid())],
            cwd=TOP,
            env={**os.environ, "LD_PRELOAD": str(shim.built()), "PYTHONWARNINGS": "ignore"},
            pass_fds=(theirs.fileno(),),
        )
        theirs.close()
        self._living: list[Living] = []

    def begin(self, life: Any) -> Living:
        """Fork a life off."""
        _send(self._line, ("begin", life))
        living = Living(self, _receive(self._line))
        self._living.append(living)
        return living

    def warm(self, town: Path) -> None:
        """Have it do once, on *town*'s files, what costs a life time when it is done first."""
        _send(self._line, ("warm", town))
        _receive(self._line)

    def reap(self, pid: int) -> int:
        """The code of a child that has ended."""
        _send(self._line, ("reap", pid))
        code: int = _receive(self._line)
        return code

    def close(self) -> None:
        """Kill every life that is left, and end."""
        for living in self._living:
            if living.code is None:
                living.kill()
        self._line.close()
        self._process.wait(30)

    def __enter__(self) -> Zygote:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def main(line: socket.socket) -> None:
    """Fork on demand until the line is closed."""
    import tests.torture.lives as lives

    while True:
        try:
            what, about = _receive(line)
        except EOFError:
            return
        if what == "warm":
            lives.warm(about)
            gc.collect()
            gc.freeze()  # a life's collector leaves what it inherited alone, and its pages shared
            _send(line, None)
            continue
        if what == "reap":
            _, status = os.waitpid(about, 0)
            _send(line, os.waitstatus_to_exitcode(status))
            continue
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            line.close()
            die_with(parent)
            code = 70
            try:
                code = lives.begin(about)
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        _send(line, pid)


def wait_for(is_so: Any, what: str, within_s: float = 20.0) -> None:
    """Wait for a condition; raises AssertionError when it never comes."""
    deadline = time.monotonic() + within_s
    while not is_so():
        if time.monotonic() > deadline:
            raise AssertionError(f"never came: {what}")
        time.sleep(0.005)


if __name__ == "__main__":
    die_with(int(sys.argv[2]))
    main(socket.socket(fileno=int(sys.argv[1])))
