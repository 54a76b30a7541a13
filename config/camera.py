"""Settings of the entrance camera: which one, how it is asked to see, and when it counts as gone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """What the kiosk asks of its camera; the camera's own answer is read back and shown on the health page.

    `source` is one of: a V4L2 device ("/dev/v4l/by-path/...", "/dev/video0" or just "0"), a video file, a folder of
    pictures, an address ("http://.../camera.mjpeg", "rtsp://..."), "picamera2", or "none" for an entrance that has
    only a scan head.
    """

    source: str = "/dev/video0"
    width: int = 1280
    height: int = 720
    fps: float = 30.0
    fourcc: str = "MJPG"  # asked for before the size: most USB cameras give 1280x720 at 30 fps only as MJPG
    exposure_100us: int | None = None  # fixed exposure in V4L2's unit of 100 us; absent: automatic
    autofocus: bool = False
    focus: int | None = None  # fixed focus in the driver's own unit; absent: left as it is
    stale_after_s: float = 0.3  # an older frame is never given out
    frozen_after_s: float = 3.0  # the same bytes for this long is a fault, not a quiet lobby
    silent_after_s: float = 2.0  # no frame for this long: close and open again
    open_within_s: float = 10.0  # time for opening until the first frame
    reopen_min_s: float = 0.5
    reopen_max_s: float = 10.0
    own_process: bool = True  # devices and addresses are read in a child process that can be killed

    def __post_init__(self) -> None:
        if not self.source:
            raise ValueError("camera.source is empty")
        if not (16 <= self.width <= 3840 and 16 <= self.height <= 2160):
            raise ValueError(f"camera size {self.width}x{self.height} is outside 16x16 to 3840x2160")
        if not 0 < self.fps <= 240:
            raise ValueError(f"camera.fps is {self.fps}; between 0 and 240 was expected")
        if len(self.fourcc) != 4:
            raise ValueError(f"camera.fourcc is {self.fourcc!r}; four letters were expected")
        for name in ("stale_after_s", "frozen_after_s", "silent_after_s", "open_within_s", "reopen_min_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"camera.{name} must be above 0")
        if self.reopen_max_s < self.reopen_min_s:
            raise ValueError("camera.reopen_max_s must not be below camera.reopen_min_s")
