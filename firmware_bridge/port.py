"""One serial port, opened carefully: exclusive, never blocking for ever, every way of vanishing becomes `PortLost`."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import termios
import threading
from types import TracebackType

import serial

from config.errors import GatehouseError
from firmware_bridge.clock import Clock

WRITE_TIMEOUT_S = 1.0  # a peer that stops reading must not hold the thread (hardware.md 8.2); flush() is never called
READ_MAX_BYTES = 4096

# An unplug shows as any of these, depending on the call it hits (hardware.md 8.1); termios.error is not an OSError.
# ValueError: pyserial when the descriptor was closed under it.
_VANISHED = (serial.SerialException, OSError, termios.error, ValueError)


class PortLost(GatehouseError):
    """The line cannot be used (any more); the driver closes it and tries again later."""

    code = "port_lost"


class Stopped(Exception):
    """The owner of this link asked its thread to end."""


class Bell:
    """Wakes a thread that waits in `Link.read`; ring it after handing the thread something to do."""

    def __init__(self) -> None:
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._read_fd, False)
        os.set_blocking(self._write_fd, False)
        self._lock = threading.Lock()
        self._closed = False

    def ring(self) -> None:
        """Wake the waiting thread; ringing twice wakes it at least once, after `close` nothing happens."""
        with self._lock:
            if self._closed:
                return
            try:
                os.write(self._write_fd, b"!")
            except BlockingIOError:
                pass  # it is full, so the thread will wake anyway

    def hush(self) -> None:
        """Forget all ringing so far."""
        try:
            os.read(self._read_fd, 65536)
        except BlockingIOError:
            pass

    def fileno(self) -> int:
        """The descriptor that becomes readable on `ring`."""
        return self._read_fd

    def close(self) -> None:
        """Release both descriptors; only once the waiting thread has ended."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._read_fd)
                os.close(self._write_fd)


EVIOCGRAB = 0x40044590  # linux/input.h: _IOW('E', 0x90, int)


class InputDevice:
    """A keyboard's event node with the little of pyserial's interface that `Link` needs."""

    def __init__(self, path: str) -> None:
        """Open and grab it: without the grab, what a gun types also lands in the kiosk's browser. Raises OSError."""
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            fcntl.ioctl(self._fd, EVIOCGRAB, 1)
        except OSError:
            os.close(self._fd)
            raise

    def fileno(self) -> int:
        """The open descriptor."""
        return self._fd

    def write(self, data: bytes) -> None:
        """A keyboard takes no bytes. Raises OSError."""
        raise OSError(errno.ENOTSUP, f"{len(data)} bytes for a keyboard")

    def close(self) -> None:
        """Give the keyboard back."""
        os.close(self._fd)


class Link:
    """An open port in the hands of one thread. Use as a context manager; 8 data bits, no parity, 1 stop bit."""

    def __init__(self, path: str, baud: int, *, clock: Clock, bell: Bell, stopping: threading.Event) -> None:
        """Open *path* at *baud*. Raises PortLost when it is absent, busy (another exclusive owner) or no port."""
        self.path = path
        self.baud = baud
        self._clock = clock
        self._bell = bell
        self._stopping = stopping
        self._serial = self._open_serial(path, baud)
        self.empty_at_mono_s = self._drained_mono_s = clock.mono_s()  # input is thrown away on open
        self._fd = self._serial.fileno()
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)
        self._poll.register(bell.fileno(), select.POLLIN)

    @staticmethod
    def _open_serial(path: str, baud: int) -> serial.Serial | InputDevice:
        try:
            # Parity stays 8N1 throughout: every shipped device uses it, and 8E1 cannot be reopened on a pty (8.5).
            return serial.Serial(path, baud, timeout=0, write_timeout=WRITE_TIMEOUT_S, exclusive=True)
        except _VANISHED as error:
            raise PortLost(f"{path} cannot be opened: {_plain(error)}.", code="port_absent") from error

    def __enter__(self) -> Link:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def now(self) -> float:
        """The steady clock of this link."""
        return self._clock.mono_s()

    def read(self, wait_s: float) -> bytes:
        """Whatever has arrived, at most 4096 bytes; b"" after *wait_s* seconds of silence or when the bell rang.

        After it returns, `empty_at_mono_s` tells since when the returned bytes can have arrived: the last moment before
        this call at which nothing was waiting. Raises PortLost, or Stopped when the thread is to end.
        """
        if self._stopping.is_set():
            raise Stopped
        try:
            events = dict(self._poll.poll(max(0.0, wait_s) * 1000))
        except OSError as error:
            raise PortLost(f"{self.path} was lost: {_plain(error)}.") from error
        if self._bell.fileno() in events:
            self._bell.hush()
        if self._stopping.is_set():
            raise Stopped
        if self._fd not in events:
            self._drained_mono_s = self.now()
            return b""
        try:
            data = os.read(self._fd, READ_MAX_BYTES)
        except BlockingIOError:
            return b""  # another process took the bytes between poll and read
        except _VANISHED as error:
            raise PortLost(f"{self.path} was lost: {_plain(error)}.") from error
        if not data:
            # A hang-up, or a second reader on a shared port: either way this descriptor is of no more use.
            raise PortLost(f"{self.path} was lost: it is readable but gives nothing (unplugged, or a second reader).")
        self.empty_at_mono_s = self._drained_mono_s
        if len(data) < READ_MAX_BYTES:
            self._drained_mono_s = self.now()
        return data

    def write(self, data: bytes) -> None:
        """Send all of *data*. Raises PortLost when the peer is gone or has not read for a second."""
        if self._stopping.is_set():
            raise Stopped
        self.write_last(data)

    def write_last(self, data: bytes) -> None:
        """As `write`, but also while stopping: for the one command that makes things safe."""
        try:
            self._serial.write(data)
        except serial.SerialTimeoutException as error:
            raise PortLost(f"{self.path} takes no bytes any more.", code="write_timeout") from error
        except _VANISHED as error:
            raise PortLost(f"{self.path} was lost: {_plain(error)}.") from error

    def discard_input(self) -> None:
        """Throw away what has arrived so far, without tcflush (which may raise or hang on a vanished port)."""
        while self.read(0.0):
            pass

    def close(self) -> None:
        """Close the port; never raises."""
        try:
            self._serial.close()
        except _VANISHED:  # closing a vanished port may fail on its way out; the descriptor is gone either way
            return


def _plain(error: BaseException) -> str:
    """The reason without pyserial's habit of repeating the path."""
    number = getattr(error, "errno", None)
    return os.strerror(number) if isinstance(number, int) and number else "the device is gone"


class InputLink(Link):
    """A grabbed keyboard in the hands of one thread; `read` gives whole kernel events."""

    @staticmethod
    def _open_serial(path: str, baud: int) -> serial.Serial | InputDevice:
        try:
            return InputDevice(path)
        except OSError as error:
            raise PortLost(
                f"{path} cannot be opened as an input device: {_plain(error)}.", code="port_absent"
            ) from error
