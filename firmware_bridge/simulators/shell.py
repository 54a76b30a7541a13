"""A device model on a pseudo-terminal, with the faults of real cables: noise, loss, silence, wrong speed, unplug."""

from __future__ import annotations

import os
import random
import select
import termios
import threading
import time
import tty
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self

from config.errors import GatehouseError

_SPEEDS = {
    getattr(termios, f"B{baud}"): baud
    for baud in (1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400, 460800)
    if hasattr(termios, f"B{baud}")
}
READ_MAX_BYTES = 4096


class DeviceModel(Protocol):
    """A device without a cable: bytes in, bytes out, time given. Called by one thread at a time."""

    @property
    def baud(self) -> int:
        """The speed it talks at now."""

    def receive(self, data: bytes, now_s: float) -> bytes:
        """Take bytes from the host; returns what the device answers at once."""

    def tick(self, now_s: float) -> bytes:
        """What the device sends by itself by *now_s*."""

    def next_tick_s(self, now_s: float) -> float | None:
        """When `tick` has something to do again, or None."""

    def power_cycle(self, now_s: float) -> None:
        """The supply was away: forget what is not saved."""


@dataclass(frozen=True, slots=True)
class Faults:
    """What the cable does to the bytes from device to host; the default is a good cable."""

    chunk_bytes: int = 0  # hand on at most this many bytes at a time; 0 = all
    chunk_pause_s: float = 0.0
    flip_rate: float = 0.0  # probability that one bit of a byte flips
    drop_rate: float = 0.0  # probability that a byte is lost
    garbage_before: bytes = b""  # sent in front of each burst
    garbage_rate: float = 0.0  # random bytes per second, sent by themselves
    duplicate_rate: float = 0.0  # probability that a burst is sent twice
    answer_delay_s: float = 0.0
    silent: bool = False  # the device says nothing
    deaf: bool = False  # the device hears nothing
    stops_reading: bool = False  # the host's bytes stay in the buffer until it is full
    seed: int = 1


class SimulatorError(GatehouseError):
    """The simulator cannot do that now."""

    code = "simulator"


class PtyShell:
    """Runs *model* behind the symbolic link *link*, in a thread of its own. Start, stop and change from any thread."""

    def __init__(self, model: DeviceModel, link: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.model = model
        self.link = link
        self._clock = clock
        self._lock = threading.RLock()  # held while the model or the pty is touched
        self._faults = Faults()
        self._random = random.Random(1)  # noqa: S311  noise, not a secret
        self._master = self._slave = -1
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        self._ending = False
        self._thread: threading.Thread | None = None
        self._next_garbage_s = 0.0

    # -- life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the pty, publish the link, serve."""
        self.plug()
        self._thread = threading.Thread(target=self._run, name=f"simulator {self.link.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Unplug, end the thread, remove the link; safe to call twice."""
        with self._lock:
            if self._ending:
                return
            self._ending = True
            self.unplug()
        self._wake()
        if self._thread is not None:
            self._thread.join(5)
        os.close(self._wake_read)
        os.close(self._wake_write)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- the plug --------------------------------------------------------------------------------------------------

    @property
    def is_plugged(self) -> bool:
        """Whether the device node exists."""
        with self._lock:
            return self._master >= 0

    def plug(self) -> None:
        """Plug in: a new pty (maybe another node) under the same link; the device has just got its supply."""
        with self._lock:
            if self._master >= 0:
                raise SimulatorError(f"{self.link} is plugged in already.")
            self._master, self._slave = os.openpty()
            tty.setraw(self._slave)
            os.set_blocking(self._master, False)
            self._point_link_at(os.ttyname(self._slave))
            self.model.power_cycle(self._clock())
        self._wake()

    def unplug(self) -> None:
        """Pull the plug: the node vanishes, whoever holds it gets a hang-up; the link dangles as udev removes it."""
        with self._lock:
            if self._master < 0:
                return
            self.link.unlink(missing_ok=True)
            os.close(self._slave)
            os.close(self._master)
            self._master = self._slave = -1
        self._wake()

    def _point_link_at(self, node: str) -> None:
        fresh = self.link.with_name(f".{self.link.name}.new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(node)
        os.replace(fresh, self.link)

    # -- the knobs -------------------------------------------------------------------------------------------------

    @property
    def faults(self) -> Faults:
        """What the cable does now."""
        with self._lock:
            return self._faults

    def set_faults(self, **changes: object) -> None:
        """Change some faults, for example `set_faults(drop_rate=0.01, silent=True)`; `set_faults()` heals the cable."""
        with self._lock:
            self._faults = replace(self._faults, **changes) if changes else Faults()  # type: ignore[arg-type]
            self._random.seed(self._faults.seed)
            self._next_garbage_s = self._clock()
        self._wake()

    def inject(self, data: bytes) -> None:
        """Put these very bytes on the line to the host now."""
        with self._lock:
            self._write(data)

    def send(self, data: bytes) -> None:
        """Let the device say *data* by itself, with the faults of the cable."""
        with self._lock:
            if self._master >= 0:
                self._say(data)

    @property
    def host_baud(self) -> int:
        """The speed at which the host has opened the port; the master side of a pty can read it (hardware.md 8.5)."""
        with self._lock:
            return self._host_baud()

    def _host_baud(self) -> int:
        return _SPEEDS.get(termios.tcgetattr(self._master)[5], 0)

    # -- the loop --------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        try:
            os.write(self._wake_write, b"!")
        except OSError:
            return  # the shell has ended

    def _run(self) -> None:
        while True:
            with self._lock:
                if self._ending:
                    return
                master, wait_s = self._master, self._wait_s()
                watched = [self._wake_read] + ([master] if master >= 0 and not self._faults.stops_reading else [])
            try:
                ready, _, _ = select.select(watched, [], [], wait_s)
            except OSError:
                ready = []  # unplugged while waiting
            if self._wake_read in ready:
                os.read(self._wake_read, 4096)
            with self._lock:
                if self._master < 0:
                    continue
                now = self._clock()
                self._send_garbage(now)
                if master in ready and master == self._master:
                    self._hear(now)
                self._say(self.model.tick(now))

    def _wait_s(self) -> float:
        if self._master < 0:
            return 1.0
        now = self._clock()
        due = self.model.next_tick_s(now)
        wait = 1.0 if due is None else max(0.0, due - now)
        return min(wait, 0.01) if self._faults.garbage_rate else wait

    def _hear(self, now: float) -> None:
        try:
            data = os.read(self._master, READ_MAX_BYTES)
        except OSError:
            return
        if self._faults.deaf:
            return
        if self._host_baud() != self.model.baud:
            data = self._garble(data, self._host_baud(), self.model.baud)
        self._say(self.model.receive(data, now))

    def _garble(self, data: bytes, sent_at: int, heard_at: int) -> bytes:
        """What arrives when the two ends disagree about the speed: other bytes, and another number of them."""
        ratio = heard_at / sent_at if sent_at else 1.0
        count = max(1, min(4 * len(data), round(len(data) * ratio)))
        return bytes(
            self._random.choice((0x00, 0x80, 0xE0, 0xF8, 0xFE, self._random.randrange(256))) for _ in range(count)
        )

    def _send_garbage(self, now: float) -> None:
        rate = self._faults.garbage_rate
        if rate and now >= self._next_garbage_s:
            count = min(4096, int((now - self._next_garbage_s) * rate) + 1)
            self._next_garbage_s = now + 1 / rate
            self._write(self._random.randbytes(count))

    def _say(self, data: bytes) -> None:
        faults = self._faults
        if not data or faults.silent:
            return
        if self._host_baud() != self.model.baud:
            data = self._garble(data, self.model.baud, self._host_baud())
        if faults.answer_delay_s:
            time.sleep(faults.answer_delay_s)
        if self._random.random() < faults.duplicate_rate:
            data += data
        if faults.flip_rate or faults.drop_rate:
            data = bytes(self._flip(byte) for byte in data if self._random.random() >= faults.drop_rate)
        data = faults.garbage_before + data
        step = faults.chunk_bytes or len(data)
        for at in range(0, len(data), max(1, step)):
            self._write(data[at : at + step])
            if faults.chunk_pause_s:
                time.sleep(faults.chunk_pause_s)

    def _flip(self, byte: int) -> int:
        return byte ^ 1 << self._random.randrange(8) if self._random.random() < self._faults.flip_rate else byte

    def _write(self, data: bytes) -> None:
        if self._master < 0:
            return
        try:
            os.write(self._master, data)
        except OSError:
            return  # nobody reads and the buffer is full: a real line loses the bytes as well


def swap(one: PtyShell, other: PtyShell) -> None:
    """Plug each of two devices into the other's socket."""
    one.unplug()
    other.unplug()
    one.link, other.link = other.link, one.link
    one.plug()
    other.plug()
