"""The newest frame, and only that: a thread reads the camera all the time, a watchdog opens it again when it fails.

Frames that are old, or that repeat the same bytes for seconds, are never given out: a kiosk that looks at a frozen
picture would admit the same person for ever. A read that blocks is left behind with its thread (or killed with its
child process); nobody who asks for a frame ever waits for it.
"""

from __future__ import annotations

import logging
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Any

import numpy as np

from config.camera import CameraSettings
from config.errors import GatehouseError
from kiosk.capture import (
    CameraError,
    Capture,
    CaptureProcess,
    Image,
    is_picture_source,
    needs_own_process,
    open_capture,
)

log = logging.getLogger("kiosk.camera")

MAX_ABANDONED_READERS = 4  # threads that may be stuck inside a driver at once before no further one is started


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture as the camera gave it; nobody writes into it."""

    image: Image  # (height, width, 3) BGR or (height, width) grey, uint8
    stamp_s: float  # time.monotonic() when it was read
    number: int  # ascending, never reused, also over reconnections


class CameraState(Enum):
    """How the camera is, in one word."""

    STARTING = "starting"
    LIVE = "live"
    STALE = "stale"  # open, but the newest frame is too old to use
    FROZEN = "frozen"  # frames come, and they are all the same
    LOST = "lost"  # cannot be opened or was given up; tried again by itself
    OFF = "off"  # no camera is configured, or the kiosk is stopping


WORDS: dict[CameraState, tuple[str, str]] = {
    CameraState.STARTING: ("摄像头启动中", "Camera starting"),
    CameraState.LIVE: ("摄像头正常", "Camera working"),
    CameraState.STALE: ("摄像头画面延迟", "Camera picture late"),
    CameraState.FROZEN: ("摄像头画面冻结", "Camera picture frozen"),
    CameraState.LOST: ("摄像头断开，正在重连", "Camera lost, reconnecting"),
    CameraState.OFF: ("未使用摄像头", "Camera off"),
}


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """What the health page shows."""

    state: CameraState
    words_zh: str
    words_en: str
    reason: str  # why it is not live, for staff; empty when it is
    applied: dict[str, Any]  # width, height, fps, fourcc, exposure_100us ... as read back from the device
    frames: int  # read since start
    dropped: int  # replaced by a newer one before anybody took them
    stale: int  # given up because they were too old when somebody asked
    failed_reads: int
    reopened: int
    stuck_readers: int  # threads still inside a driver that does not return


class Camera:
    """Keeps the newest frame of one camera; start with `start()` or `with`, stop with `close()`.

    *open_source* stands in for the real camera: it returns an object of `cv2.VideoCapture`'s shape (`read`,
    `release`), and may raise CameraError. It is called in a thread of its own for every (re)opening.
    """

    def __init__(self, settings: CameraSettings, open_source: Callable[[], Capture] | None = None) -> None:
        self.settings = settings
        self._open_source = open_source or (lambda: _open(settings))
        self._may_repeat = open_source is None and is_picture_source(settings.source)
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._supervisor: threading.Thread | None = None
        self._newest: Frame | None = None
        self._taken = True
        self._nudged = False
        self._number = 0
        self._reading: _Reading | None = None
        self._stuck: list[_Reading] = []
        self._lost = False
        self._reason = ""
        self._applied: dict[str, Any] = {}
        self._failed = self._dropped = self._stale = self._reopened = 0

    def start(self) -> Camera:
        """Begin to read; returns at once. Does nothing for the source "none"."""
        if self.settings.source != "none" and self._supervisor is None:
            self._supervisor = threading.Thread(target=self._supervise, name="camera-watch", daemon=True)
            self._supervisor.start()
        return self

    def close(self) -> None:
        """Stop, within about a second, whatever the driver does; a second call does nothing."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        if self._supervisor is not None:
            self._supervisor.join(timeout=5)

    def __enter__(self) -> Camera:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def newest(self, after_number: int = 0, timeout_s: float = 0.0) -> Frame | None:
        """The newest frame with a number above *after_number*, waiting at most *timeout_s* for it.

        None when there is none in time or `nudge` was called: also while the camera is frozen or lost, and for
        frames older than `stale_after_s`. Never blocks longer than *timeout_s*; any number of threads may ask.
        """
        until_s = time.monotonic() + timeout_s
        with self._changed:
            while True:
                frame = self._usable(after_number)
                if frame is not None:
                    self._taken = True
                    return frame
                left_s = until_s - time.monotonic()
                if left_s <= 0 or self._nudged or self._stopping.is_set():
                    self._nudged = False
                    return None
                self._changed.wait(left_s)

    def nudge(self) -> None:
        """Let whoever waits for a frame go on without one, now or at their next wait; from any thread."""
        with self._changed:
            self._nudged = True
            self._changed.notify_all()

    def _usable(self, after_number: int) -> Frame | None:
        frame = self._newest
        if frame is None or frame.number <= after_number or self._stopping.is_set():
            return None
        if self._reading is None or self._reading.is_frozen(self.settings.frozen_after_s):
            return None
        if time.monotonic() - frame.stamp_s > self.settings.stale_after_s:
            if not self._taken:
                self._stale += 1
                self._taken = True
            return None
        return frame

    @property
    def state(self) -> CameraState:
        """How the camera is now."""
        with self._changed:
            return self._state()

    def _state(self) -> CameraState:
        if self._supervisor is None or self._stopping.is_set():
            return CameraState.OFF
        if self._lost:
            return CameraState.LOST
        reading = self._reading
        if reading is None or reading.last_frame_s is None:
            return CameraState.LOST if self._reason else CameraState.STARTING
        if reading.is_frozen(self.settings.frozen_after_s):
            return CameraState.FROZEN
        if time.monotonic() - reading.last_frame_s > self.settings.stale_after_s:
            return CameraState.STALE
        return CameraState.LIVE

    @property
    def status(self) -> CameraStatus:
        """State, words and counters, taken together."""
        with self._changed:
            state = self._state()
            zh, en = WORDS[state]
            return CameraStatus(
                state=state,
                words_zh=zh,
                words_en=en,
                reason="" if state is CameraState.LIVE else self._reason,
                applied=dict(self._applied),
                frames=self._number,
                dropped=self._dropped,
                stale=self._stale,
                failed_reads=self._failed,
                reopened=self._reopened,
                stuck_readers=len(self._stuck),
            )

    # --- the watchdog ---------------------------------------------------------------------------------------------

    def _supervise(self) -> None:
        pause_s = self.settings.reopen_min_s
        was_live = False
        while not self._stopping.is_set():
            self._stuck = [r for r in self._stuck if r.thread.is_alive()]
            if len(self._stuck) >= MAX_ABANDONED_READERS:
                self._lose("The camera's driver does not return; the kiosk needs a restart.", was_live)
                was_live = False
                self._stopping.wait(self.settings.reopen_max_s)
                continue
            reading = _Reading(self)
            with self._changed:
                self._reading = reading
                self._lost = False
            reading.thread.start()
            reason = self._watch(reading)
            lived = reading.last_frame_s is not None
            if lived:
                was_live = True
                if time.monotonic() - reading.opened_s > 5:
                    pause_s = self.settings.reopen_min_s
            self._abandon(reading)
            if self._stopping.is_set():
                return
            self._lose(reason, was_live)
            was_live = False
            self._stopping.wait(pause_s)
            pause_s = min(pause_s * 2, self.settings.reopen_max_s)
            self._reopened += 1

    def _watch(self, reading: _Reading) -> str:
        """Wait until *reading* has to be given up; says why."""
        settings = self.settings
        announced = False
        while True:
            with self._changed:
                self._changed.wait(0.1)
            now_s = time.monotonic()
            if self._stopping.is_set():
                return "stopping"
            if reading.last_frame_s is not None and not announced:
                announced = True
                log.info("camera live size=%sx%s", self._applied.get("width", "?"), self._applied.get("height", "?"))
            if not reading.thread.is_alive():
                return reading.reason or "The camera stopped sending."
            if reading.last_frame_s is None:
                if now_s - reading.opened_s > settings.open_within_s:
                    return "The camera sends no picture."
            elif now_s - reading.last_frame_s > settings.silent_after_s:
                return "The camera stopped sending."
            elif reading.is_frozen(2 * settings.frozen_after_s):
                return "The camera repeats one picture."

    def _abandon(self, reading: _Reading) -> None:
        reading.over.set()
        if isinstance(reading.capture, CaptureProcess):
            reading.capture.release()
        reading.thread.join(timeout=0.3)
        if reading.thread.is_alive():
            self._stuck.append(reading)

    def _lose(self, reason: str, was_live: bool) -> None:
        if was_live or reason != self._reason:
            log.warning("camera lost reason=%r", reason)
        with self._changed:
            self._lost = True
            self._reading = None
            self._newest = None
            self._reason = reason
            self._changed.notify_all()

    def _offer(self, reading: _Reading, image: Image, stamp_s: float) -> None:
        with self._changed:
            if reading is not self._reading:
                return
            self._number += 1
            if not self._taken:
                self._dropped += 1
            self._taken = False
            self._newest = Frame(image, stamp_s, self._number)
            self._reason = ""
            self._changed.notify_all()


class _Reading:
    """One opening of the source and the thread that reads it."""

    def __init__(self, camera: Camera) -> None:
        self._camera = camera
        self.capture: Capture | None = None
        self.over = threading.Event()
        self.opened_s = time.monotonic()
        self.last_frame_s: float | None = None
        self.reason = ""
        self._print = -1
        self._whole_print = -1
        self._same_since_s: float | None = None
        self.thread = threading.Thread(target=self._run, name="camera-read", daemon=True)

    def is_frozen(self, after_s: float) -> bool:
        """Whether the same bytes have come for *after_s* already."""
        since_s, last_s = self._same_since_s, self.last_frame_s
        return since_s is not None and last_s is not None and last_s - since_s >= after_s

    def _run(self) -> None:
        try:
            self.capture = self._camera._open_source()
            self._camera._applied = dict(getattr(self.capture, "applied", {}))
            self._read()
        except GatehouseError as error:
            self.reason = f"{error.message} {error.hint}".strip()
        except Exception as error:  # the thread of a driver: whatever it throws, the watchdog opens it again
            log.debug("camera reader failed", exc_info=True)
            self.reason = f"The camera's driver failed ({type(error).__name__})."
        finally:
            if self.capture is not None:
                try:
                    self.capture.release()
                except Exception:  # a driver that is gone may throw anything here; the camera is reopened either way
                    log.debug("camera release failed", exc_info=True)

    def _read(self) -> None:
        assert self.capture is not None
        while not self.over.is_set():
            ok, image = self.capture.read()
            now_s = time.monotonic()
            if not ok or not _is_picture(image):
                self._camera._failed += 1
                self.over.wait(0.01)  # a driver that fails at once must not take a whole core
                continue
            # a child process stamps where the frame is read, which is earlier than its arrival here
            stamp_s = float(getattr(self.capture, "stamp_s", now_s))
            self._camera._applied = dict(getattr(self.capture, "applied", {})) or self._camera._applied
            if not self._camera._may_repeat:
                self._compare(image, stamp_s)
            self.last_frame_s = stamp_s
            self._camera._offer(self, image, stamp_s)

    def _compare(self, image: Image, stamp_s: float) -> None:
        # every 16th row tells live frames apart (sensor noise); only when those agree are all bytes compared
        sample = zlib.crc32(np.ascontiguousarray(image[::16]).data)
        whole = zlib.crc32(np.ascontiguousarray(image).data) if sample == self._print else -1
        if sample == self._print and (self._whole_print in (-1, whole)):
            self._same_since_s = self._same_since_s if self._same_since_s is not None else self.last_frame_s
        else:
            self._same_since_s = None
        self._print, self._whole_print = sample, whole


def _is_picture(image: Any) -> bool:
    return (
        isinstance(image, np.ndarray)
        and image.dtype == np.uint8
        and image.size > 0
        and (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3))
    )


def _open(settings: CameraSettings) -> Capture:
    if settings.own_process and needs_own_process(settings.source):
        return CaptureProcess(settings)
    return open_capture(settings)


__all__ = ["Camera", "CameraError", "CameraState", "CameraStatus", "Frame"]
