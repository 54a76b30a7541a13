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
from functools import lru_cache

import cv2
import numpy as np

from kiosk.decoding import blur, locate
from kiosk.decoding.budget import Budget, Costs
from kiosk.decoding.engines import Code, Corners, Image, Unread, available, calm, read_zbar, read_zxing, sharpen, soften
from kiosk.decoding.fusion import Fusion
from kiosk.decoding.grid import SAMPLES, Points, flatten
from kiosk.decoding.locate import Box
from kiosk.decoding.reader import Sighting, read_flat, settle, units
from kiosk.decoding.unread import SMALL_VIEW, UnreadWatch

FRAME_BUDGET_S = 0.026  # 80 % of a frame at 30 a second
FRAME_PIXELS = 1280 * 720
STILL_BUDGET_S = 0.030
SMALLEST = 8  # pixels: nothing narrower can hold a code
LARGE_PIXELS = 4_000_000  # a larger picture is first looked at shrunk to this, then in tiles
TILE, TILE_OVERLAP = 2048, 512
STILL_BUDGET_MOST_S = 2.5  # for the largest pictures
SMALL_PIXELS = 640 * 480  # up to this size a picture is not searched for regions: it is no camera frame
SMALL_BUDGET_S = 0.2  # a cutting or a thumbnail has no frame rate to keep up with
PADDING = 0.35  # of the code's size, round its last place
WHOLE_EVERY = 4  # frames: while one code is followed, the whole frame is looked at this often, for a second one
GIVE_UP_AFTER = 12  # frames in which a followed symbol was not seen again
RESTS_AFTER = 24  # frames without movement and without a code: from then on only every RESTING_EVERYth is looked at
RESTING_EVERY = 3
TRIED_ENOUGH = 60  # frames in which a followed symbol that hangs still was not read: then it does not keep us awake
MOST_UNREAD = 3  # symbols of one look that are settled: a picture full of finder patterns holds hundreds
ALIKE = 0.2  # likeness below which a sighting is another symbol
SURE = 0.45  # agreement of a symbol's own patterns that nothing else has
SURE_TRIPLE = 2.1  # strength of three finder patterns together that nothing else has


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

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, steady: Callable[[], float] = time.monotonic
    ) -> None:
        _warm_up()
        self._clock, self._steady = clock, steady
        self._costs = Costs()
        self._turn = 0
        self._number = 0
        self._last: Box | None = None
        self._follow: _Follow | None = None
        self._owed: list[Unread] | None = None  # what the last frame's look found and had no time left for
        self._in_sequence = False
        self._view: Image | None = None
        self._still_frames = 0
        self._watch = UnreadWatch()

    @property
    def unread_for_s(self) -> float:
        """Seconds for which somebody has been holding up a code that could not be read; 0.0 when nobody is."""
        return self._watch.seconds(self._steady())

    def read(self, image: Image, *, budget_s: float = FRAME_BUDGET_S) -> list[Code]:
        """The codes in *image*, (height, width, 3) BGR or (height, width) grey, in about *budget_s* seconds.

        An empty list when there is none, or none that can be read yet; the next frame goes on where this one stopped.
        A code that is followed may hide a second one for WHOLE_EVERY frames.
        """
        budget = Budget(self._clock, budget_s, self._costs)
        self._number += 1
        grey = _grey(image)
        if min(grey.shape) < SMALLEST:
            return []
        moved = self._moved(grey)
        resting = self._still_frames > RESTS_AFTER and self._last is None and not self._is_busy()
        if resting and not moved and self._number % RESTING_EVERY:
            return []
        owed, self._owed = self._owed, None
        self._in_sequence = True
        codes, unread = ([], owed) if owed is not None else self._first_look(grey, budget)
        if not codes and not resting:
            codes = self._try_harder(grey, unread, budget)
        if codes:
            self._last = _round_codes(codes, grey.shape)
            self._follow = None
            self._still_frames = 0
            self._watch.forget()
        else:
            self._last = None
        return codes

    def _is_busy(self) -> bool:
        return (self._follow is not None and self._follow.fusion.frames < TRIED_ENOUGH) or self.unread_for_s > 0

    def read_still(self, image: Image) -> list[Code]:
        """The codes in one picture on its own, nothing remembered; the time grows with the picture's size."""
        self._in_sequence = False
        return self._read_still(_grey(image))

    def _read_still(self, grey: Image) -> list[Code]:
        if min(grey.shape) < SMALLEST:
            return []
        budget_s = STILL_BUDGET_S * max(1.0, grey.size / FRAME_PIXELS) if grey.size > SMALL_PIXELS else SMALL_BUDGET_S
        budget = Budget(self._clock, min(budget_s, STILL_BUDGET_MOST_S), self._costs)
        shrink = max(1.0, math.sqrt(grey.size / LARGE_PIXELS))
        if shrink > 1:
            whole = grey
            small = cv2.resize(whole, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)
            grey = np.asarray(small, np.uint8)
            codes, unread = read_zxing(grey, "zxing+shrunk", scale=1 / shrink, aztec=True)
            codes = codes or self._read_tiles(whole, budget)
            unread = [Unread(_scaled(u.corners, 1 / shrink), u.version) for u in unread]
        else:
            codes, unread = self._look(grey, budget)
        if codes:
            return codes
        boxes = budget.spend("regions", grey.size / 1e6, lambda: _boxes(grey))
        if not boxes:
            return []
        for step in self._steps(grey, boxes, _as_places(unread[:MOST_UNREAD]), budget):
            codes = step()
            if codes:
                return [replace(code, corners=_scaled(code.corners, shrink)) for code in codes]
        return []

    def _read_tiles(self, grey: Image, budget: Budget) -> list[Code]:
        """Read a picture of many megapixels in overlapping parts, as far as the time goes."""
        codes: list[Code] = []
        for top in range(0, grey.shape[0], TILE - TILE_OVERLAP):
            for left in range(0, grey.shape[1], TILE - TILE_OVERLAP):
                tile = grey[top : top + TILE, left : left + TILE]
                if min(tile.shape) < SMALLEST or budget.left_s() < 0:
                    continue
                both, usual = locate.texture(tile)
                if locate.regions(both, usual, (tile.shape[0], tile.shape[1])):
                    codes += read_zxing(tile, "zxing+tile", offset=(left, top), aztec=True)[0]
        return list({code.text: code for code in codes}.values())

    # --- one frame after the other --------------------------------------------------------------------------------

    def _moved(self, grey: Image) -> bool:
        """Whether the view changed since the last frame by more than a camera's noise."""
        view = np.asarray(cv2.resize(grey, SMALL_VIEW, interpolation=cv2.INTER_AREA), np.uint8)
        before, self._view = self._view, view
        if before is None or before.shape != view.shape:
            return True
        changed = int((cv2.absdiff(view, before) > 10).sum())
        self._still_frames = 0 if changed > 3 else self._still_frames + 1
        return changed > 3

    def _first_look(self, grey: Image, budget: Budget) -> tuple[list[Code], list[Unread]]:
        if self._last is not None and self._number % WHOLE_EVERY:
            left, top, right, bottom = self._last
            codes, unread = read_zxing(grey[top:bottom, left:right], "zxing", offset=(left, top))
            if codes:
                return codes, unread
        return self._look(grey, budget)

    def _look(self, grey: Image, budget: Budget) -> tuple[list[Code], list[Unread]]:
        return budget.spend("look", grey.size / 1e6, lambda: read_zxing(calm(grey), "zxing"))

    def _try_harder(self, grey: Image, unread: list[Unread], budget: Budget) -> list[Code]:
        unread = self._likeliest(unread)
        sighting = self._see_again(grey, unread, budget)
        if sighting is not None:
            code = self._read_together(sighting, budget)
            if code is not None:
                return [code]
        if not budget.fits("regions", grey.size / 1e6):
            return []
        boxes = budget.spend("regions", grey.size / 1e6, lambda: _boxes(grey))
        if not boxes:
            return []
        steps = self._steps(grey, boxes, [] if sighting is not None else _as_places(unread), budget)
        first = self._turn
        for i in range(len(steps)):
            if budget.left_s() < 0:
                break
            codes = steps[(first + i) % len(steps)]()
            self._turn += 1
            if codes:
                return codes
        return []

    def _likeliest(self, unread: list[Unread]) -> list[Unread]:
        """At most MOST_UNREAD of what a look found: what is near the followed symbol first, then the largest."""
        if len(unread) <= MOST_UNREAD:
            return unread
        middle = None if self._follow is None else self._follow.corners.mean(0)

        def rank(found: Unread) -> float:
            corners = np.array(found.corners)
            if middle is not None:
                return float(np.abs(corners.mean(0) - middle).max())
            return -float(np.ptp(corners, axis=0).max())

        return sorted(unread, key=rank)[:MOST_UNREAD]

    def _settle(self, grey: Image, corners: Points, version: int, budget: Budget) -> Sighting | None:
        return budget.spend("settle", units(version), lambda: settle(grey, corners, version))

    def _see_again(self, grey: Image, unread: list[Unread], budget: Budget) -> Sighting | None:
        """Find the followed symbol in this frame, or begin to follow what the engine has just found."""
        follow = self._follow
        versions = [u.version for u in unread] + ([follow.version] if follow is not None else [])
        if versions and not budget.may_begin("settle", units(max(versions))):
            self._owed = unread  # the next frame is all theirs
            return None
        best: Sighting | None = None
        for i, found in enumerate(unread):
            if i and not budget.fits("settle", units(found.version)):
                break
            sighting = self._settle(grey, np.array(found.corners, np.float32), found.version, budget)
            if sighting is not None and (best is None or abs(sighting.agreement) > abs(best.agreement)):
                best = sighting
        if follow is not None and (best is None or best.version != follow.version or abs(best.agreement) < 0.5):
            again = self._settle(grey, _shifted(grey, follow), follow.version, budget)
            if again is not None and abs(again.agreement) > max(0.4, abs(best.agreement) if best else 0.0):
                best = again
        if best is None or abs(best.agreement) < 0.3:
            if follow is not None:
                follow.missed += 1
                if follow.missed > GIVE_UP_AFTER:
                    self._follow = None
            return None
        self._take(best, grey, budget)
        return best

    def _take(self, sighting: Sighting, grey: Image, budget: Budget) -> None:
        """Add a sighting to the followed symbol; a different symbol starts afresh."""
        if not self._in_sequence:
            return
        follow = self._follow
        size = units(sighting.version)
        began = budget.start()
        if (
            follow is None
            or follow.version != sighting.version
            or not follow.fusion.add(sighting, least_likeness=ALIKE)
        ):
            follow = _Follow(sighting.version, sighting.corners, np.zeros((4, 2), np.float32), Fusion(sighting.version))
            follow.fusion.add(sighting)
            self._follow = follow
        elif follow.missed == 0:
            follow.speed = np.asarray(0.5 * follow.speed + 0.5 * (sighting.corners - follow.corners), np.float32)
        follow.corners, follow.missed = sighting.corners, 0
        budget.done("fuse", size, began)
        if abs(sighting.agreement) >= SURE:
            self._saw_unread(sighting.corners, grey)

    def _saw_unread(self, corners: Points, grey: Image) -> None:
        if self._in_sequence and self._view is not None:
            self._watch.saw(corners, self._view, grey.shape, self._steady())

    def _read_together(self, sighting: Sighting, budget: Budget) -> Code | None:
        """Read a sighting on its own and with what was seen before, beginning with what is likelier to succeed."""
        follow = self._follow
        assert follow is not None
        tries = [("grid", sighting.flat)]
        if follow.fusion.frames > 1:
            together = ("grid+frames", follow.fusion.picture())
            tries = [together, *tries] if self._number % 2 else [*tries, together]
        for engine, flat in tries:
            text = read_flat(flat, sighting.version, budget)
            if text is not None:
                return Code(text, "QRCode", engine, _as_corners(sighting.corners))
        return None

    # --- the retries ----------------------------------------------------------------------------------------------

    def _steps(
        self, grey: Image, boxes: list[Box], places: list[tuple[Points, int]], budget: Budget
    ) -> list[Callable[[], list[Code]]]:
        """The retries, cheap ones first; each spends what it may of *budget* and gives what it read."""
        found = list(places)

        def parts(step: str) -> Iterator[tuple[Image, Box, float]]:
            """The boxes that *step* has the time for when their turn comes, with their sizes in million pixels."""
            for left, top, right, bottom in boxes:
                part = grey[top:bottom, left:right]
                if budget.may_begin(step, part.size / 1e6):
                    yield part, (left, top, right, bottom), part.size / 1e6

        def grid_places() -> list[Code]:
            tried: list[tuple[Points, int]] = []
            while found:
                corners, version = found.pop(0)
                # the retries find the same symbol again: settling on its patterns would give the same place
                if any(v == version and np.abs(c - corners).max() < 6 for c, v in tried):
                    continue
                tried.append((corners, version))
                if len(tried) > MOST_UNREAD:
                    break
                code = self._read_place(grey, corners, version, "grid", budget)
                if code is not None:
                    return [code]
            return []

        def zxing(step: str, name: str, prepare: Callable[[Image], Image], scale: float, aztec: bool) -> list[Code]:
            for part, (left, top, _, _), size in parts(step):
                began = budget.start()
                codes, unread = read_zxing(prepare(part), name, scale=scale, offset=(left, top), aztec=aztec)
                budget.done(step, size, began)
                if codes:
                    return codes
                found.extend(_as_places(unread[:MOST_UNREAD]))
            return []

        def located() -> list[Code]:
            for box in boxes:
                seen = locate.finders(grey, box, budget)
                if seen.score >= SURE_TRIPLE:
                    self._saw_unread(seen.corners(), grey)
                for i, place in enumerate(locate.locate(grey, seen, budget)):
                    code = self._read_place(grey, place.corners, place.version, "locate+grid", budget)
                    if code is not None:
                        return [code]
                    if i >= 3:
                        break
            return []

        def zbar() -> list[Code]:
            for part, (left, top, _, _), size in parts("zbar"):
                began = budget.start()
                half = np.asarray(cv2.resize(part, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
                codes = read_zbar(half, "zbar", scale=0.5, offset=(left, top))
                budget.done("zbar", size, began)
                if not codes and part.size <= SMALL_PIXELS // 4:
                    codes = read_zbar(part, "zbar", offset=(left, top))
                if codes:
                    return codes
            return []

        return [
            lambda: zxing("blur", "zxing+blur", soften, 1, False),
            lambda: zxing("unsharp", "zxing+unsharp", lambda g: sharpen(g, 2, 4), 1, False),
            *([grid_places] if found else []),  # an engine found it, clear enough to see: glare or a finger is on it
            lambda: zxing("x2", "zxing+unsharp+x2", lambda g: _twice(sharpen(g, 3, 3)), 2, False),
            grid_places,
            located,
            lambda: zxing("aztec", "zxing", lambda g: g, 1, True),
            zbar,
        ]

    def _read_place(self, grey: Image, corners: Points, version: int, engine: str, budget: Budget) -> Code | None:
        if not budget.may_begin("settle", units(version)):
            return None
        sighting = self._settle(grey, corners, version, budget)
        if sighting is None or abs(sighting.agreement) < 0.25:
            return None
        if abs(sighting.agreement) > SURE:
            self._take(sighting, grey, budget)
        text = read_flat(sighting.flat, version, budget)
        return None if text is None else Code(text, "QRCode", engine, _as_corners(sighting.corners))


@lru_cache(maxsize=1)
def _warm_up() -> None:
    """Work out the tables that do not depend on any picture, so that the first hard frame does not pay for them."""
    blank = np.full((720, 1280), 128, np.uint8)
    blank[300:420:8, 600:720] = 20
    budget = Budget(lambda: 0.0, None, Costs())
    read_zxing(blank, "zxing")
    _boxes(blank)
    locate.finders(blank, (560, 260, 760, 460), budget)
    sighting = settle(blank, np.array([[600, 300], [720, 300], [720, 420], [600, 420]], np.float32), 3)
    if sighting is not None:
        read_flat(sighting.flat, 3, budget)
    blur.prepare()


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
