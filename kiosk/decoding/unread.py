"""How long a code has been held up that could not be read, so that the person can be told instead of left waiting.

A sighting is a place where a symbol surely is: its patterns were found, its text was not. What hangs still - a poster
at the far wall, a sticker on the counter - is never counted: a hand is never still.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from kiosk.decoding.grid import Points

Image = NDArray[np.uint8]

LEAST_SIDE = 0.14  # of the frame's height: what is smaller is not held up to this camera
AWAY_AFTER_S = 0.8  # seconds without a sighting: what comes then is another presentation
MOSTLY = 0.6  # the share of its sightings in which a held-up code is elsewhere than at first
MOVED_BY = 10  # grey levels, in a cell of the small view
MOVED_CELLS = 3
SMALL_VIEW = (80, 45)  # cells of the view that movement is told by


@dataclass(slots=True)
class _Held:
    first_s: float
    last_s: float
    corners: Points
    view: Image  # when it was first seen
    sightings: int = 0
    elsewhere: int = 0  # sightings of which its part of the view differed from the first


class UnreadWatch:
    """Follows one presentation of a symbol that nobody can read."""

    def __init__(self) -> None:
        self._held: _Held | None = None

    def saw(self, corners: Points, view: Image, frame_shape: tuple[int, ...], now_s: float) -> None:
        """A symbol with *corners* is in the frame whose small view (SMALL_VIEW) is *view*."""
        side = float(np.sqrt(abs(cv2.contourArea(corners.astype(np.float32)))))
        if side < LEAST_SIDE * frame_shape[0]:
            return
        held = self._held
        if (
            held is None
            or now_s - held.last_s > AWAY_AFTER_S
            or np.abs(corners.mean(0) - held.corners.mean(0)).max() > 0.6 * side
        ):
            self._held = _Held(now_s, now_s, corners, view)
            return
        held.last_s, held.corners = now_s, corners
        held.sightings += 1
        held.elsewhere += _differs(held.view, view, corners, frame_shape)

    def forget(self) -> None:
        """A code was read: nobody waits."""
        self._held = None

    def seconds(self, now_s: float) -> float:
        """Seconds for which the symbol has been held up; 0.0 when there is none or it hangs still."""
        held = self._held
        if held is None or now_s - held.last_s > AWAY_AFTER_S:
            return 0.0
        if held.elsewhere < max(2, MOSTLY * held.sightings):  # somebody may walk past a poster
            return 0.0
        return now_s - held.first_s


def _differs(before: Image, now: Image, corners: Points, frame_shape: tuple[int, ...]) -> bool:
    """Whether the symbol's part of the small view changed by more than its light did."""
    scale = np.array([SMALL_VIEW[0] / frame_shape[1], SMALL_VIEW[1] / frame_shape[0]])
    low = np.clip(np.floor(corners.min(0) * scale) - 1, 0, None).astype(int)
    high = np.ceil(corners.max(0) * scale).astype(int) + 1
    part = (slice(low[1], high[1]), slice(low[0], high[0]))
    if before.shape != now.shape or now[part].size == 0:
        return False
    change = now[part].astype(np.int16) - before[part]
    return int((np.abs(change - np.median(change)) > MOVED_BY).sum()) >= MOVED_CELLS
