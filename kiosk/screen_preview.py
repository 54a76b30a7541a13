"""The live camera picture for the screen: few watchers, few frames, never older than a moment."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator

import cv2
import numpy as np

BOUNDARY = "gatehouse-frame"
MIMETYPE = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
FrameSource = Callable[[], bytes | None]


def shrink(jpeg: bytes, width: int) -> bytes | None:
    """*jpeg* at most *width* pixels wide; None when it is no picture."""
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        return None
    rows, columns = image.shape[:2]
    if columns <= width:
        return jpeg
    small = cv2.resize(image, (width, max(1, rows * width // columns)), interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 70])
    return data.tobytes() if done else None


def _grey(width: int) -> bytes:
    """A plain picture that replaces the last one when the camera has nothing, so that no old picture stays."""
    done, data = cv2.imencode(".jpg", np.full((width * 3 // 4, width, 3), 64, np.uint8))
    assert done
    return data.tobytes()


class Preview:
    """Frames for `GET /camera.mjpeg`; the newest watcher displaces the oldest when there are too many."""

    def __init__(self, source: FrameSource, *, fps: float, width: int, max_watchers: int) -> None:
        self._source = source
        self._pause_s = 1.0 / fps
        self._width = width
        self._max_watchers = max_watchers
        self._watchers: deque[object] = deque()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._nothing = _grey(64)
        self._last: tuple[bytes, bytes] | None = None  # as given, as sent: watchers share the work

    def watch(self) -> Iterator[bytes]:
        """Parts of the multipart answer, without end; ends when the screen stops or newer watchers need the place."""
        ticket = object()
        with self._lock:
            self._watchers.append(ticket)
            if len(self._watchers) > self._max_watchers:
                self._watchers.popleft()
        return self._frames(ticket)

    def _frames(self, ticket: object) -> Iterator[bytes]:
        try:
            yield b"--" + BOUNDARY.encode() + b"\r\n"
            while not self._stopped.is_set() and self._has_place(ticket):
                jpeg = self._picture()
                yield (
                    b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg)
                    + jpeg
                    + b"\r\n--"
                    + BOUNDARY.encode()
                    + b"\r\n"
                )
                self._stopped.wait(self._pause_s)
        finally:
            with self._lock:
                if ticket in self._watchers:
                    self._watchers.remove(ticket)

    def _has_place(self, ticket: object) -> bool:
        with self._lock:
            return ticket in self._watchers

    def _picture(self) -> bytes:
        jpeg = self._source()
        if jpeg is None:
            return self._nothing
        last = self._last
        if last is not None and last[0] is jpeg:
            return last[1]
        small = shrink(jpeg, self._width) or self._nothing
        self._last = (jpeg, small)
        return small

    @property
    def watchers(self) -> int:
        """How many look now."""
        with self._lock:
            return len(self._watchers)

    def stop(self) -> None:
        """End all streams."""
        self._stopped.set()
