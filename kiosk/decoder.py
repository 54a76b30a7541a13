"""From pixels to code texts: the fast engine first on every frame, then retries until the frame's time is spent.

What did not fit into one frame is tried on the next, and what one frame cannot give, several together can: a symbol
that was found is followed, and its sightings are fused (see `kiosk.decoding.fusion`). A single picture goes through
the same steps, once each, with nothing remembered.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from kiosk.decoding import locate
from kiosk.decoding.engines import Code, Corners, Image, Unread, available, read_zbar, read_zxing, sharpen, soften
from kiosk.decoding.fusion import Fusion
from kiosk.decoding.grid import SAMPLES, Points, flatten
from kiosk.decoding.locate import Box
from kiosk.decoding.reader import Sighting, read_flat, settle

FRAME_BUDGET_S = 0.026  # 80 % of a frame at 30 a second
FRAME_PIXELS = 1280 * 720
STILL_BUDGET_S = 0.027
SMALLEST = 8  # pixels: nothing narrower can hold a code
LARGE_PIXELS = 4_000_000  # a larger picture is first looked at shrunk to this, then in tiles
TILE, TILE_OVERLAP = 2048, 512
STILL_BUDGET_MOST_S = 2.5  # for the largest pictures
STEP_S = 0.003  # what one more trial on a symbol costs: none is begun that would end too late
SMALL_PIXELS = 640 * 480  # up to this size a picture is not searched for regions: it is no camera frame
SMALL_BUDGET_S = 0.2  # a cutting or a thumbnail has no frame rate to keep up with
PADDING = 0.35  # of the code's size, round its last place
WHOLE_EVERY = 4  # frames: while one code is followed, the whole frame is looked at this often, for a second one
GIVE_UP_AFTER = 12  # frames in which a followed symbol was not seen again
RESTS_AFTER = 24  # frames without movement and without a code: from then on only every RESTING_EVERYth is looked at
RESTING_EVERY = 3


@dataclass(slots=True)
class _Follow:
    """A symbol that was found and not read yet, with everything seen of it."""

    version: int
    corners: Points
    speed: Points
    fusion: Fusion
    missed: int = 0


class Decoder:
    """Reads codes from the frames of one camera, in order; one thread at a time.

    *clock* measures the budget: wall time at the door; a thread's CPU time where slow cores are emulated.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._costs: dict[str, float] = {}  # seconds a million pixels, measured as it goes
        self._turn = 0
        self._number = 0
        self._last: Box | None = None
        self._follow: _Follow | None = None
        self._view: Image | None = None
        self._still_frames = 0

    def read(self, image: Image, *, budget_s: float = FRAME_BUDGET_S) -> list[Code]:
        """The codes in *image*, (height, width, 3) BGR or (height, width) grey, in about *budget_s* seconds.

        An empty list when there is none, or none that can be read yet; the next frame goes on where this one stopped.
        A code that is followed may hide a second one for WHOLE_EVERY frames.
        """
        until_s = self._clock() + budget_s
        self._number += 1
        grey = _grey(image)
        if min(grey.shape) < SMALLEST:
            return []
        moved = self._moved(grey)
        resting = self._still_frames > RESTS_AFTER and self._follow is None and self._last is None
        if resting and not moved and self._number % RESTING_EVERY:
            return []
        codes, unread = self._first_look(grey)
        if not codes and not resting:
            codes = self._try_harder(grey, unread, until_s)
        if codes:
            self._last = _round_codes(codes, grey.shape)
            self._follow = None
            self._still_frames = 0
        else:
            self._last = None
        return codes

    def read_still(self, image: Image) -> list[Code]:
        """The codes in one picture on its own, nothing remembered; the time grows with the picture's size."""
        followed, self._follow = self._follow, None
        try:
            return self._read_still(_grey(image))
        finally:
            self._follow = followed

    def _read_still(self, grey: Image) -> list[Code]:
        if min(grey.shape) < SMALLEST:
            return []
        budget_s = STILL_BUDGET_S * max(1.0, grey.size / FRAME_PIXELS) if grey.size > SMALL_PIXELS else SMALL_BUDGET_S
        until_s = self._clock() + min(budget_s, STILL_BUDGET_MOST_S)
        shrink = max(1.0, math.sqrt(grey.size / LARGE_PIXELS))
        if shrink > 1:
            whole = grey
            small = cv2.resize(whole, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)
            grey = np.asarray(small, np.uint8)
            codes, unread = read_zxing(grey, "zxing+shrunk", scale=1 / shrink, aztec=True)
            codes = codes or self._read_tiles(whole, until_s)
            unread = [Unread(_scaled(u.corners, 1 / shrink), u.version) for u in unread]
        else:
            codes, unread = read_zxing(grey, "zxing")
        if codes:
            return codes
        boxes = _boxes(grey)
        if not boxes:
            return []
        for step in self._steps(grey, boxes, _as_places(unread), until_s):
            codes = step()
            if codes:
                return [replace(code, corners=_scaled(code.corners, shrink)) for code in codes]
        return []

    def _read_tiles(self, grey: Image, until_s: float) -> list[Code]:
        """Read a picture of many megapixels in overlapping parts, as far as the time goes."""
        codes: list[Code] = []
        for top in range(0, grey.shape[0], TILE - TILE_OVERLAP):
            for left in range(0, grey.shape[1], TILE - TILE_OVERLAP):
                tile = grey[top : top + TILE, left : left + TILE]
                if min(tile.shape) < SMALLEST or self._clock() >= until_s:
                    continue
                both, usual = locate.texture(tile)
                if locate.regions(both, usual, (tile.shape[0], tile.shape[1])):
                    codes += read_zxing(tile, "zxing+tile", offset=(left, top), aztec=True)[0]
        return list({code.text: code for code in codes}.values())

    # --- one frame after the other --------------------------------------------------------------------------------

    def _moved(self, grey: Image) -> bool:
        """Whether the view changed since the last frame by more than a camera's noise."""
        view = np.asarray(cv2.resize(grey, (80, 45), interpolation=cv2.INTER_AREA), np.uint8)
        before, self._view = self._view, view
        if before is None or before.shape != view.shape:
            return True
        changed = int((cv2.absdiff(view, before) > 10).sum())
        self._still_frames = 0 if changed > 3 else self._still_frames + 1
        return changed > 3

    def _first_look(self, grey: Image) -> tuple[list[Code], list[Unread]]:
        if self._last is not None and self._number % WHOLE_EVERY:
            left, top, right, bottom = self._last
            codes, unread = read_zxing(grey[top:bottom, left:right], "zxing", offset=(left, top))
            if codes:
                return codes, unread
        return read_zxing(grey, "zxing")

    def _try_harder(self, grey: Image, unread: list[Unread], until_s: float) -> list[Code]:
        sighting = self._see_again(grey, unread)
        if sighting is not None:
            code = self._read_together(sighting, until_s)
            if code is not None:
                return [code]
        places: list[tuple[Points, int]] = [] if sighting is not None else _as_places(unread)
        boxes = _boxes(grey)
        if not boxes:
            return []
        steps = list(self._steps(grey, boxes, places, until_s, first=self._turn))
        for step in steps:
            codes = step()
            self._turn += 1
            if codes:
                return codes
        return []

    def _see_again(self, grey: Image, unread: list[Unread]) -> Sighting | None:
        """Find the followed symbol in this frame, or begin to follow what the engine has just found."""
        follow = self._follow
        best: Sighting | None = None
        for found in unread:
            sighting = settle(grey, np.array(found.corners, np.float32), found.version)
            if sighting is not None and (best is None or abs(sighting.agreement) > abs(best.agreement)):
                best = sighting
        if follow is not None and (best is None or best.version != follow.version or abs(best.agreement) < 0.5):
            again = settle(grey, _shifted(grey, follow), follow.version)
            if again is not None and abs(again.agreement) > max(0.4, abs(best.agreement) if best else 0.0):
                best = again
        if best is None or abs(best.agreement) < 0.3:
            if follow is not None:
                follow.missed += 1
                if follow.missed > GIVE_UP_AFTER:
                    self._follow = None
            return None
        self._take(best)
        return best

    def _take(self, sighting: Sighting) -> None:
        """Add a sighting to the followed symbol; a different symbol starts afresh."""
        follow = self._follow
        if follow is None or follow.version != sighting.version or follow.fusion.likeness(sighting) < 0.2:
            follow = _Follow(sighting.version, sighting.corners, np.zeros((4, 2), np.float32), Fusion(sighting.version))
            self._follow = follow
        elif follow.missed == 0:
            follow.speed = np.asarray(0.5 * follow.speed + 0.5 * (sighting.corners - follow.corners), np.float32)
        follow.corners, follow.missed = sighting.corners, 0
        follow.fusion.add(sighting)

    def _read_together(self, sighting: Sighting, until_s: float) -> Code | None:
        """Read a sighting on its own and with what was seen before, beginning with what is likelier to succeed."""
        follow = self._follow
        assert follow is not None
        tries = [("grid", sighting.flat)]
        if follow.fusion.frames > 1:
            together = ("grid+frames", follow.fusion.picture())
            tries = [together, *tries] if self._number % 2 else [*tries, together]
        for engine, flat in tries:
            text = read_flat(flat, sighting.version, lambda: self._clock() + STEP_S < until_s)
            if text is not None:
                return Code(text, "QRCode", engine, _as_corners(sighting.corners))
            if self._clock() >= until_s:
                break
        return None

    # --- the retries ----------------------------------------------------------------------------------------------

    def _steps(
        self, grey: Image, boxes: list[Box], places: list[tuple[Points, int]], until_s: float, *, first: int = 0
    ) -> Iterator[Callable[[], list[Code]]]:
        """The retries that still fit before *until_s*, each to be called once, beginning with number *first*."""
        pixels = sum((b[2] - b[0]) * (b[3] - b[1]) for b in boxes) / 1e6
        found = list(places)

        def still_time() -> bool:
            return self._clock() + STEP_S < until_s

        def grid_places() -> list[Code]:
            tried: list[tuple[Points, int]] = []
            while found:
                corners, version = found.pop(0)
                # the retries find the same symbol again: settling on its patterns would give the same place
                if any(v == version and np.abs(c - corners).max() < 6 for c, v in tried):
                    continue
                tried.append((corners, version))
                if not still_time():
                    break
                code = self._read_place(grey, corners, version, "grid", still_time)
                if code is not None:
                    return [code]
            return []

        def zxing(name: str, prepare: Callable[[Image], Image], scale: float) -> list[Code]:
            for left, top, right, bottom in boxes:
                part = prepare(grey[top:bottom, left:right])
                codes, unread = read_zxing(part, name, scale=scale, offset=(left, top))
                if codes:
                    return codes
                found.extend(_as_places(unread))
            return []

        def located() -> list[Code]:
            for box in boxes:
                for i, place in enumerate(locate.locate(grey, box)):
                    code = self._read_place(grey, place.corners, place.version, "locate+grid", still_time)
                    if code is not None:
                        return [code]
                    if i >= 3 or not still_time():
                        break
            return []

        def zbar() -> list[Code]:
            for left, top, right, bottom in boxes:
                part = grey[top:bottom, left:right]
                half = cv2.resize(part, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
                codes = read_zbar(np.asarray(half, np.uint8), "zbar", scale=0.5, offset=(left, top))
                if not codes and part.size <= SMALL_PIXELS // 4:
                    codes = read_zbar(part, "zbar", offset=(left, top))
                if codes:
                    return codes
            return []

        def aztec() -> list[Code]:
            codes: list[Code] = []
            for left, top, right, bottom in boxes:
                codes += read_zxing(grey[top:bottom, left:right], "zxing", offset=(left, top), aztec=True)[0]
            return codes

        steps: list[tuple[str, float, Callable[[], list[Code]]]] = [
            # name, seconds a million pixels before it was ever measured, the work
            ("box", 0.002, lambda: zxing("zxing+blur", soften, 1)),
            ("unsharp", 0.006, lambda: zxing("zxing+unsharp", lambda g: sharpen(g, 2, 4), 1)),
            ("x2", 0.018, lambda: zxing("zxing+unsharp+x2", lambda g: _twice(sharpen(g, 3, 3)), 2)),
            ("grid", 0.0, grid_places),
            ("locate", 0.050, located),
            ("aztec", 0.004, aztec),
            ("zbar", 0.007, zbar),
        ]
        for i in range(len(steps)):
            name, guess_s, work = steps[(first + i) % len(steps)]
            expected_s = self._costs.get(name, guess_s) * pixels
            if name == "locate":
                expected_s *= 0.6  # it asks the clock between its trials, and the first is the best
            if self._clock() + expected_s >= until_s and i:
                continue

            if name == "grid":
                yield work  # its cost is the symbols', not the picture's; it asks the clock itself
                continue

            def measured(name: str = name, work: Callable[[], list[Code]] = work) -> list[Code]:
                began_s = self._clock()
                codes = work()
                cost = (self._clock() - began_s) / max(pixels, 0.01)
                self._costs[name] = 0.8 * self._costs.get(name, cost) + 0.2 * cost
                return codes

            yield measured

    def _read_place(
        self, grey: Image, corners: Points, version: int, engine: str, still_time: Callable[[], bool]
    ) -> Code | None:
        sighting = settle(grey, corners, version)
        if sighting is None or abs(sighting.agreement) < 0.25:
            return None
        if abs(sighting.agreement) > 0.45:
            self._take(sighting)
        text = read_flat(sighting.flat, version, still_time)
        return None if text is None else Code(text, "QRCode", engine, _as_corners(sighting.corners))


def _shifted(grey: Image, follow: _Follow) -> Points:
    """Where the followed symbol should be in *grey*: its last place, moved on, corrected by the picture itself."""
    corners = follow.corners + follow.speed
    side = 17 + 4 * follow.version
    flat = cv2.resize(flatten(grey, corners, side), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    before = cv2.resize(follow.fusion.picture(), (flat.shape[1], flat.shape[0]), interpolation=cv2.INTER_AREA)
    (dx, dy), response = cv2.phaseCorrelate(before, flat)
    if response < 0.03 or math.hypot(dx, dy) > flat.shape[0] / 3:
        return corners
    step = 2 / SAMPLES / side
    along, down = corners[1] - corners[0], corners[3] - corners[0]
    return np.asarray(corners + dx * step * along + dy * step * down, np.float32)


def _grey(image: Image) -> Image:
    if image.size == 0:
        return np.zeros((0, 0), np.uint8)
    return image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def _twice(grey: Image) -> Image:
    return np.asarray(cv2.resize(grey, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR), np.uint8)


def _boxes(grey: Image) -> list[Box]:
    """Where in the picture a code can be: the textured parts of a large one, the whole of a small one."""
    if grey.size <= SMALL_PIXELS:
        return [(0, 0, grey.shape[1], grey.shape[0])]
    both, usual = locate.texture(grey)
    return locate.regions(both, usual, (grey.shape[0], grey.shape[1]))


def _scaled(corners: Corners, times: float) -> Corners:
    a, b, c, d = ((x * times, y * times) for x, y in corners)
    return a, b, c, d


def _as_places(unread: list[Unread]) -> list[tuple[Points, int]]:
    return [(np.array(u.corners, np.float32), u.version) for u in unread]


def _as_corners(points: Points) -> Corners:
    a, b, c, d = ((float(x), float(y)) for x, y in points)
    return a, b, c, d


def _round_codes(codes: list[Code], shape: tuple[int, ...]) -> Box:
    """The box round the first code, padded, within the picture."""
    xs, ys = zip(*codes[0].corners, strict=True)
    padding = PADDING * max(max(xs) - min(xs), max(ys) - min(ys))
    return (
        max(0, int(min(xs) - padding)),
        max(0, int(min(ys) - padding)),
        min(shape[1], int(max(xs) + padding) + 1),
        min(shape[0], int(max(ys) + padding) + 1),
    )


__all__ = ["Code", "Decoder", "available"]
