"""The life of one device: a thread that owns its port, shakes hands before trusting it, and comes back after a loss."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Self

from config.errors import GatehouseError
from firmware_bridge.clock import SYSTEM_CLOCK, Clock
from firmware_bridge.port import Bell, Link, PortLost, Stopped

log = logging.getLogger("gatehouse.devices")

BACK_OFF_FIRST_S = 0.5
BACK_OFF_MAX_S = 10.0
SWAP_LOOK_AT, SWAP_LOOK_EVERY = 2, 8  # the second failed attempt, then every eighth: asking in other languages is slow


class DeviceState(Enum):
    """Where a device is in its life."""

    STOPPED = "stopped"
    CONNECTING = "connecting"  # the port is being opened or the handshake runs
    READY = "ready"
    WARMING_UP = "warming_up"  # thermometers only: answers, but must not be believed yet
    LOST = "lost"  # no port, or the line went quiet; tried again by itself
    MISMATCH = "mismatch"  # something else answers here; tried again, but somebody has to look
    FAULT = "fault"  # the right device, and it reports or shows a fault


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """What the screen, the logs and a fault report say about a device. Holds nothing about any person."""

    state: DeviceState
    code: str  # stable, for machines
    zh: str
    en: str
    since_mono_s: float


def introduce(devices: Sequence[SerialDevice]) -> None:
    """Let the devices of one entrance know each other, so that swapped plugs are recognised and named."""
    for device in devices:
        device.know(devices)


class HandshakeFailed(GatehouseError):
    """No frame that only this device can send was seen; `code` tells which kind of failure."""

    code = "no_valid_frame"


class Mismatch(HandshakeFailed):
    """Valid bytes of another device, or of another dialect, were seen."""

    code = "mismatch"


class SerialDevice(ABC):
    """Base of every driver. `start` and `stop` from any thread; all I/O happens in the driver's own thread."""

    kind = "device"  # the driver's name in settings and reports
    bauds: tuple[int, ...] = (9600,)  # tried in this order
    zh_name = "设备"
    en_name = "device"

    _made_with: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *arguments: Any, **named: Any) -> Self:
        """Remember how this device was made, so that `elsewhere` can make another one."""
        device = super().__new__(cls)
        device._made_with = (arguments, named)
        return device

    def __init__(self, port: str, *, bauds: Sequence[int] = (), clock: Clock = SYSTEM_CLOCK) -> None:
        self.port = port
        self.clock = clock
        self._bauds = tuple(bauds) or self.bauds
        self._stopping = threading.Event()
        self._bell = Bell()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._status = DeviceStatus(DeviceState.STOPPED, "stopped", "已停止", "stopped", clock.mono_s())
        self._changed = threading.Condition(self._lock)
        self._others: tuple[SerialDevice, ...] = ()
        self._failed_connects = 0  # in a row
        self._swap: Mismatch | None = None  # what the last look for swapped plugs found
        self.identity = ""  # what the handshake found; empty before the first one
        self.losses = 0  # how often a ready device was lost

    # -- life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin connecting; returns at once. Starting again changes nothing; after `stop` a new object is needed."""
        if self._thread is not None:
            return
        self._thread = threading.Thread(target=self._run, name=f"{self.kind} {self.port}", daemon=True)
        self._thread.start()

    def stop(self, wait_s: float = 5.0) -> None:
        """End the thread and close the port; safe to call twice and before `start`."""
        self._stopping.set()
        self._bell.ring()
        if self._thread is not None:
            self._thread.join(wait_s)
            if self._thread.is_alive():
                return  # the descriptors of the bell stay with a thread that still uses them
        self._bell.close()
        self._tell(DeviceState.STOPPED, "stopped", "已停止", "stopped")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def identify(self) -> str:
        """Shake hands once in the calling thread, close again, and return who answered; not for a started device.

        Raises HandshakeFailed (Mismatch when something else answers) or PortLost.
        """
        if self._thread is not None:
            raise RuntimeError(f"{self.kind} is running; ask its identity")
        self._connect().close()
        return self.identity

    @property
    def status(self) -> DeviceStatus:
        """The present state with words for people; cheap, from any thread."""
        with self._lock:
            return self._status

    @property
    def line_status(self) -> DeviceStatus:
        """The state of the line alone, without what the device measures about itself."""
        with self._lock:
            return self._status

    @property
    def state(self) -> DeviceState:
        """Short for `status.state`."""
        return self.status.state

    def wait_for(self, reached: Callable[[DeviceStatus], bool], timeout_s: float) -> bool:
        """Block until *reached* is true of the line's status; False after *timeout_s*. For start-up and tests."""
        with self._changed:
            return self._changed.wait_for(lambda: reached(self._status), timeout_s)

    def know(self, others: Sequence[SerialDevice]) -> None:
        """Name the other devices of this entrance, so that two swapped plugs can be recognised and named."""
        self._others = tuple(o for o in others if o is not self)

    # -- what a driver writes --------------------------------------------------------------------------------------

    @abstractmethod
    def handshake(self, link: Link) -> str:
        """Prove that this device is at the other end; returns its identity.

        Raises HandshakeFailed, Mismatch or PortLost.
        """

    @abstractmethod
    def serve(self, link: Link) -> None:
        """Talk until the line is lost: raises PortLost or Stopped; returning means that the line went quiet."""

    def on_lost(self) -> None:  # noqa: B027  most devices have nothing to forget
        """Called in the driver's thread when a ready device was lost, before the next attempt."""

    # -- the loop --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        delay_s = BACK_OFF_FIRST_S
        self._tell(DeviceState.CONNECTING, "connecting", "正在连接", "connecting")
        while not self._stopping.is_set():
            try:
                link = self._connect()
                with link:
                    delay_s = BACK_OFF_FIRST_S
                    self._tell(DeviceState.READY, "ready", "正常", f"ready ({self.identity})")
                    try:
                        self.serve(link)
                        self._lost("silent", "无应答", "the line went quiet")
                    finally:
                        self.on_lost()
            except Stopped:
                return
            except PortLost as error:
                self._lost(error.code, "连接中断，正在重试", error.message)
            except Mismatch as error:
                self._tell(DeviceState.MISMATCH, error.code, "接入的设备不符", error.message)
            except HandshakeFailed as error:
                self._tell(DeviceState.LOST, error.code, "未识别到设备", error.message)
            except Exception:  # the top of a loop that must live: a defect here must not end the entrance's hardware
                log.exception("device driver failed kind=%s port=%s", self.kind, self.port)
                self._tell(DeviceState.FAULT, "driver_defect", "驱动程序出错", "the driver failed; see the log")
            self._stopping.wait(delay_s)
            delay_s = min(2 * delay_s, BACK_OFF_MAX_S)

    def _open(self, baud: int) -> Link:
        return Link(self.port, baud, clock=self.clock, bell=self._bell, stopping=self._stopping)

    def _connect(self) -> Link:
        failure: HandshakeFailed | None = None
        for baud in self._bauds:
            link = self._open(baud)
            try:
                self.identity = self.handshake(link)
                self._failed_connects, self._swap = 0, None
                return link
            except Mismatch as error:
                failure = error
            except HandshakeFailed as error:
                failure = failure or error
            except BaseException:
                link.close()
                raise
            link.close()
        self._failed_connects += 1
        if self._failed_connects % SWAP_LOOK_EVERY == SWAP_LOOK_AT:
            self._swap = self._look_for_a_swap()
        assert failure is not None
        if self._swap is not None:
            raise self._swap
        if isinstance(failure, Mismatch):
            raise failure
        tried = ", ".join(map(str, self._bauds))
        raise HandshakeFailed(
            f"No valid frame of {self.kind} on {self.port}; tried {tried} baud.",
            hint="Check the plug, the supply and the wiring of RX and TX.",
            code=failure.code,
        )

    def elsewhere(self, port: str) -> Self:
        """A fresh, unstarted device of the same kind and settings on another *port*; `stop` it after use."""
        arguments, named = self._made_with
        return type(self)(port, *arguments[1:], **named)

    def _look_for_a_swap(self) -> Mismatch | None:
        """Ask, in the other devices' languages, who is at the other end; None when nobody answers."""
        for other in self._others:
            if other.kind == self.kind or not other.may_ask_elsewhere:
                continue
            asker = other.elsewhere(self.port)  # the other device itself may be at work in its own thread
            try:
                if self._answers_to(asker):
                    return Mismatch(
                        f"The {other.en_name} answers on {self.port}, where the {self.en_name} should be; "
                        f"the {other.en_name} belongs on {other.port}.",
                        hint="Swap the two plugs.",
                        code="swapped",
                    )
            finally:
                asker.stop()
        return None

    def _answers_to(self, asker: SerialDevice) -> bool:
        for baud in asker._bauds[:2]:
            with self._open(baud) as link:
                try:
                    asker.handshake(link)
                except HandshakeFailed:
                    continue
                return True
        return False

    may_ask_elsewhere = True  # False for drivers whose handshake could move something or cannot recognise anything

    def _lost(self, code: str, zh: str, en: str) -> None:
        self._tell(DeviceState.LOST, code, zh, en)

    def _tell(self, state: DeviceState, code: str, zh: str, en: str) -> None:
        """Change the status; log once when a device is lost and once when it is back."""
        with self._changed:
            before = self._status
            if before.state is state and before.code == code:
                return
            self._status = DeviceStatus(
                state, code, f"{self.zh_name}{zh}", f"{self.en_name}: {en}", self.clock.mono_s()
            )
            was_ready, is_ready = before.state is DeviceState.READY, state is DeviceState.READY
            if was_ready and not is_ready and state is not DeviceState.STOPPED:
                self.losses += 1
            self._changed.notify_all()
        if is_ready:
            log.info(
                "device ready kind=%s port=%s identity=%r losses=%d", self.kind, self.port, self.identity, self.losses
            )
        elif state is DeviceState.CONNECTING:
            log.debug("device connecting kind=%s port=%s", self.kind, self.port)
        elif state is DeviceState.STOPPED:
            log.info("device stopped kind=%s port=%s", self.kind, self.port)
        elif before.state is not state:  # once for a loss, once for what it turned out to be; never for each attempt
            log.warning("device lost kind=%s port=%s code=%s reason=%r", self.kind, self.port, code, en)
