"""Where frames come from: devices, files, folders and addresses, all in the shape of `cv2.VideoCapture`.

A device or an address can block inside `read` for good (an unplugged USB camera, a stream that went silent), and a
blocked thread cannot be ended. `CaptureProcess` therefore reads them in a child process, with the pixels in shared
memory and one short message a frame on a pipe, and can always be released: by killing the child.
"""

from __future__ import annotations

import json
import mmap
import os
import select
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from config.camera import CameraSettings
from config.errors import GatehouseError

Image = NDArray[np.uint8]
"""(height, width) grey or (height, width, 3) BGR."""

PICTURE_ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".pgm", ".ppm", ".tif", ".tiff"}


class CameraError(GatehouseError):
    """The camera cannot be opened, or is gone for good until it is opened again."""

    code = "camera"


class Capture(Protocol):
    """The part of `cv2.VideoCapture` that the kiosk needs, so that tests and simulators can stand in for a camera."""

    def read(self) -> tuple[bool, Any]:
        """The next frame as (True, image), or (False, None) when there was none this time."""

    def release(self) -> None:
        """Let go of the device. Called once, from the thread that reads (for `CaptureProcess`, from any)."""


def is_picture_source(source: str) -> bool:
    """Whether *source* is a file or folder, which may rightly show the same picture for as long as it likes."""
    return not _is_address(source) and (Path(source).is_dir() or Path(source).is_file())


def needs_own_process(source: str) -> bool:
    """Whether reading *source* can block for good: devices and addresses can, files and folders cannot."""
    return not is_picture_source(source)


def open_capture(settings: CameraSettings) -> Capture:
    """Open *settings.source* in this process; pictures and files are paced at their frame rate and start over.

    Raises CameraError, with what to do, when it cannot be opened. May block as long as the driver likes for devices
    (see `CaptureProcess`), and at most about `open_within_s` for addresses.
    """
    source = settings.source
    if source == "picamera2":
        return _PiCapture(settings)
    if _is_address(source):
        return _AddressCapture(settings)
    path = Path(source)
    if path.is_dir():
        return FolderCapture(path, settings.fps)
    if path.is_file():
        return FileCapture(path)
    return _DeviceCapture(settings)


class _Paced:
    """Holds a picture source back to its frame rate."""

    def __init__(self, fps: float) -> None:
        self._period_s = 1 / fps
        self._due_s = time.monotonic()

    def wait(self) -> None:
        now_s = time.monotonic()
        if now_s < self._due_s:
            time.sleep(self._due_s - now_s)
        self._due_s = max(self._due_s, now_s - self._period_s) + self._period_s


class FileCapture:
    """A video file, at its own speed, from the start again when it ends."""

    def __init__(self, path: Path) -> None:
        self._video = cv2.VideoCapture(str(path))
        if not self._video.isOpened():
            raise CameraError(f"{path.name} is not a video that can be read.", hint="Give an AVI, MP4 or MKV file.")
        fps = self._video.get(cv2.CAP_PROP_FPS)
        self._pace = _Paced(fps if 0 < fps <= 240 else 30.0)
        self.applied = _applied(self._video)

    def read(self) -> tuple[bool, Any]:
        self._pace.wait()
        ok, image = self._video.read()
        if not ok:
            self._video.set(cv2.CAP_PROP_POS_FRAMES, 0)
            ok, image = self._video.read()
        return ok, image

    def release(self) -> None:
        self._video.release()


class FolderCapture:
    """The pictures of a folder in the order of their names, at *fps*, over and over."""

    def __init__(self, folder: Path, fps: float) -> None:
        self._paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURE_ENDINGS)
        if not self._paths:
            raise CameraError(f"There is no picture in {folder.name}/.", hint="Put PNG or JPEG files there.")
        self._pace = _Paced(fps)
        self._next = 0
        self.applied: dict[str, Any] = {"fps": fps}

    def read(self) -> tuple[bool, Any]:
        self._pace.wait()
        path = self._paths[self._next]
        self._next = (self._next + 1) % len(self._paths)
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        return image is not None, image

    def release(self) -> None:
        self._next = 0


class _AddressCapture:
    """An MJPEG stream over HTTP or an RTSP camera, with time-outs on opening and on every frame."""

    def __init__(self, settings: CameraSettings) -> None:
        os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "fflags;nobuffer|flags;low_delay|rtsp_transport;tcp")
        self._video = cv2.VideoCapture(
            settings.source,
            cv2.CAP_FFMPEG,
            [
                cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
                int(settings.open_within_s * 1000),
                cv2.CAP_PROP_READ_TIMEOUT_MSEC,
                int(settings.silent_after_s * 1000),
            ],
        )
        if not self._video.isOpened():
            raise CameraError(
                "The camera's address does not answer with a picture.",
                hint="Check the address in camera.source, the camera's power and the cable.",
            )
        self.applied = _applied(self._video)

    def read(self) -> tuple[bool, Any]:
        ok, image = self._video.read()
        return ok, image

    def release(self) -> None:
        self._video.release()


class _DeviceCapture:
    """A V4L2 camera: format before size, everything read back, because drivers answer yes to what they do not do."""

    def __init__(self, settings: CameraSettings) -> None:
        source: str | int = int(settings.source) if settings.source.isdigit() else settings.source
        video = cv2.VideoCapture(source, cv2.CAP_V4L2)
        if not video.isOpened():
            raise CameraError(
                f"There is no camera at {settings.source}.",
                hint="Plug it in, or set camera.source to one of /dev/v4l/by-path/*; 'gatehouse doctor' lists them.",
            )
        video.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*settings.fourcc))
        video.set(cv2.CAP_PROP_FRAME_WIDTH, settings.width)
        video.set(cv2.CAP_PROP_FRAME_HEIGHT, settings.height)
        video.set(cv2.CAP_PROP_FPS, settings.fps)
        video.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # honoured by few drivers; the reading thread makes up for the rest
        video.set(cv2.CAP_PROP_AUTOFOCUS, 1 if settings.autofocus else 0)
        if settings.focus is not None:
            video.set(cv2.CAP_PROP_FOCUS, settings.focus)
        if settings.exposure_100us is None:
            video.set(cv2.CAP_PROP_AUTO_EXPOSURE, 3)  # V4L2_EXPOSURE_APERTURE_PRIORITY
        else:
            video.set(cv2.CAP_PROP_AUTO_EXPOSURE, 1)  # V4L2_EXPOSURE_MANUAL
            video.set(cv2.CAP_PROP_EXPOSURE, settings.exposure_100us)
        self._video = video
        self.applied = _applied(video)

    def read(self) -> tuple[bool, Any]:
        ok, image = self._video.read()
        return ok, image

    def release(self) -> None:
        self._video.release()


class _PiCapture:
    """The Raspberry Pi's own camera through picamera2, where that system package is installed."""

    def __init__(self, settings: CameraSettings) -> None:
        try:
            from picamera2 import Picamera2  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            raise CameraError(
                "picamera2 is not installed, or the virtual environment cannot see it.",
                hint="apt-get install python3-picamera2, and make the environment with --system-site-packages.",
            ) from None
        try:
            self._camera = Picamera2()
        except (IndexError, RuntimeError) as error:
            raise CameraError("No camera answers on the Pi's camera port.", hint="Check the ribbon cable.") from error
        # libcamera's RGB888 is B, G, R in memory, which is what cv2 calls BGR
        self._camera.configure(
            self._camera.create_video_configuration(
                main={"size": (settings.width, settings.height), "format": "RGB888"}, buffer_count=3, queue=False
            )
        )
        self._camera.start()
        self.applied: dict[str, Any] = {"width": settings.width, "height": settings.height, "fps": settings.fps}

    def read(self) -> tuple[bool, Any]:
        return True, self._camera.capture_array("main")

    def release(self) -> None:
        self._camera.stop()
        self._camera.close()


# --- the child process ---------------------------------------------------------------------------------------------

SLOTS = 4  # the parent has three frame periods to copy one before the child comes round to it again
SLOT_BYTES = 3840 * 2160 * 3  # reserved, not used: pages come into being when a frame touches them
_HEAD = struct.Struct("<cI")  # kind, length of the body: H hello (JSON), F frame, E error (JSON)
_SHOT = struct.Struct("<QdIII")  # number, monotonic stamp in s, height, width, channels
_LARGEST_BODY = 64 * 1024


class CaptureProcess:
    """A source read in a child process: `read` returns within *read_within_s*, `release` never blocks."""

    def __init__(self, settings: CameraSettings, *, read_within_s: float = 1.0) -> None:
        self._read_within_s = read_within_s
        self.applied: dict[str, Any] = {}
        self.stamp_s = 0.0
        memory = os.memfd_create("gatehouse-camera")
        try:
            os.ftruncate(memory, SLOTS * SLOT_BYTES)
            self._pixels = np.frombuffer(mmap.mmap(memory, SLOTS * SLOT_BYTES), np.uint8)
            self._child = subprocess.Popen(
                [sys.executable, "-m", "kiosk.capture", str(memory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # ffmpeg prints a line for every damaged JPEG
                pass_fds=(memory,),
                env=os.environ | {"OPENCV_LOG_LEVEL": "OFF"},
            )
        finally:
            os.close(memory)
        assert self._child.stdin is not None and self._child.stdout is not None
        self._pipe = self._child.stdout.fileno()
        self._lock = threading.Lock()
        self._released = False
        self._buffer = bytearray()
        try:
            # the pipe stays open: its end tells the child that this process is gone
            self._child.stdin.write(json.dumps(asdict(settings)).encode() + b"\n")
            self._child.stdin.flush()
        except OSError:
            self.release()
            raise CameraError("The camera process did not start.", hint="See the kiosk's own log.") from None

    def read(self) -> tuple[bool, Any]:
        """The newest frame the child has; raises CameraError when the child has ended or says why it cannot."""
        until_s = time.monotonic() + self._read_within_s
        newest: tuple[int, float, int, int, int] | None = None
        while True:
            while (message := self._message()) is not None:
                kind, body = message
                if kind == b"F":
                    newest = _SHOT.unpack(body)
                elif kind == b"H":
                    self.applied = json.loads(body)
                else:
                    told = json.loads(body)
                    raise CameraError(told["message"], hint=told["hint"])
            wait_s = 0.0 if newest else max(0.0, until_s - time.monotonic())
            if not self._fill(wait_s):
                if newest is None:
                    return False, None
                image = self._copy(newest)
                if image is not None:
                    return True, image
                newest = None

    def _copy(self, shot: tuple[int, float, int, int, int]) -> Image | None:
        number, stamp_s, height, width, channels = shot
        size = height * width * channels
        if not 0 < size <= SLOT_BYTES - 8:
            raise CameraError("The camera process spoke nonsense.", hint="It is started again by itself.")
        start = (number % SLOTS) * SLOT_BYTES
        guard = self._pixels[start : start + 8].view(np.uint64)
        if int(guard[0]) != number:
            return None
        image = self._pixels[start + 8 : start + 8 + size].copy()
        if int(guard[0]) != number:  # the child came round to this slot while it was copied
            return None
        self.stamp_s = stamp_s
        return image.reshape((height, width, channels) if channels > 1 else (height, width))

    def _message(self) -> tuple[bytes, bytes] | None:
        if len(self._buffer) < _HEAD.size:
            return None
        kind, length = _HEAD.unpack_from(self._buffer)
        if length > _LARGEST_BODY:
            raise CameraError("The camera process spoke nonsense.", hint="It is started again by itself.")
        if len(self._buffer) < _HEAD.size + length:
            return None
        body = bytes(self._buffer[_HEAD.size : _HEAD.size + length])
        del self._buffer[: _HEAD.size + length]
        return kind, body

    def _fill(self, wait_s: float) -> bool:
        """Take what the pipe has, waiting at most *wait_s*; False when there was nothing."""
        with self._lock:
            if self._released:
                raise CameraError("The camera was released.", hint="It is opened again by itself.")
            pipe = self._pipe
        # between the check and select, release() only kills the child: the pipe is closed by release() under the
        # same lock as the read below, so a number that the system has given to another file is never read
        ready, _, _ = select.select([pipe], [], [], wait_s)
        if not ready:
            return False
        with self._lock:
            if self._released:
                raise CameraError("The camera was released.", hint="It is opened again by itself.")
            chunk = os.read(pipe, 65536)
        if not chunk:
            raise CameraError("The camera process has ended.", hint="It is started again by itself.")
        self._buffer += chunk
        return True

    def release(self) -> None:
        """Kill the child and give its memory back; safe from any thread, safe twice."""
        with self._lock:
            if self._released:
                return
            self._released = True
        self._child.kill()
        self._child.wait()
        assert self._child.stdin is not None
        try:
            self._child.stdin.close()
        except OSError:
            pass  # the child was gone before its settings were written
        # stdout stays open until this object goes: a reader may be inside select with its number

    def __del__(self) -> None:
        child = getattr(self, "_child", None)
        if child is not None:
            self.release()
            if child.stdout is not None:
                child.stdout.close()


def _is_address(source: str) -> bool:
    return source.startswith(("http://", "https://", "rtsp://", "rtsps://"))


def _applied(video: Any) -> dict[str, Any]:
    """What the driver says it really does, for the health page; absent figures are left out."""
    code = int(video.get(cv2.CAP_PROP_FOURCC))
    facts: dict[str, Any] = {
        "width": int(video.get(cv2.CAP_PROP_FRAME_WIDTH)),
        "height": int(video.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        "fps": round(float(video.get(cv2.CAP_PROP_FPS)), 2),
        "fourcc": "".join(chr((code >> shift) & 0xFF) for shift in (0, 8, 16, 24)) if code > 0 else "",
    }
    for name, prop in (
        ("auto_exposure", cv2.CAP_PROP_AUTO_EXPOSURE),
        ("exposure_100us", cv2.CAP_PROP_EXPOSURE),
        ("autofocus", cv2.CAP_PROP_AUTOFOCUS),
        ("focus", cv2.CAP_PROP_FOCUS),
    ):
        value = float(video.get(prop))
        if value > 0:
            facts[name] = value
    return facts


def serve(memory: int, settings: CameraSettings, send: Callable[[bytes, bytes], None]) -> None:
    """The child's work: read the source for ever, put each frame into the next slot, say so."""
    pixels = np.frombuffer(mmap.mmap(memory, SLOTS * SLOT_BYTES), np.uint8)
    try:
        capture = open_capture(settings)
    except CameraError as error:
        send(b"E", json.dumps({"message": error.message, "hint": error.hint}).encode())
        return
    send(b"H", json.dumps(getattr(capture, "applied", {})).encode())
    number, failed_since_s = 0, None
    while True:
        ok, image = capture.read()
        stamp_s = time.monotonic()
        if not ok or image is None:
            failed_since_s = failed_since_s or stamp_s
            if stamp_s - failed_since_s > settings.silent_after_s:
                send(b"E", json.dumps({"message": "The camera stopped sending.", "hint": "Check its cable."}).encode())
                return
            time.sleep(0.01)  # some drivers fail at once, again and again, at full processor load
            continue
        failed_since_s = None
        if image.dtype != np.uint8 or not 0 < image.size <= SLOT_BYTES - 8:
            continue
        number += 1
        start = (number % SLOTS) * SLOT_BYTES
        guard = pixels[start : start + 8].view(np.uint64)
        guard[0] = 0
        pixels[start + 8 : start + 8 + image.size] = image.reshape(-1)
        guard[0] = number
        channels = image.shape[2] if image.ndim == 3 else 1
        send(b"F", _SHOT.pack(number, stamp_s, image.shape[0], image.shape[1], channels))


def main() -> None:
    """Entry of the child: settings come on standard input, whose end also means that the parent is gone."""
    # file numbers, not Python's buffered streams: their locks would be held by a thread that never returns
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, 65536)
        if not piece:
            return
        line += piece
    settings = CameraSettings(**json.loads(line))

    def end_with_parent() -> None:
        while os.read(0, 1024):
            pass
        os._exit(0)  # the reading thread may be stuck in a driver

    threading.Thread(target=end_with_parent, daemon=True).start()

    def send(kind: bytes, body: bytes) -> None:
        os.write(1, _HEAD.pack(kind, len(body)) + body)

    serve(int(sys.argv[1]), settings, send)
    os._exit(0)


if __name__ == "__main__":
    main()
