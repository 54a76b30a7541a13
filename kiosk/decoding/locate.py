"""Finds symbols that are too blurred for the engines to notice, by correlation with the finder pattern.

The engines look for edges in the ratio 1:1:3:1:1, and a blur of one module takes those edges away. Correlation with a
soft picture of the whole finder still finds it. Only the parts of the frame that are textured in both directions, as
symbols are and walls, grilles and lines of text are less, are searched.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from kiosk.decoding import blur, grid
from kiosk.decoding.budget import Budget
from kiosk.decoding.grid import MARGIN, SAMPLES, Points
from kiosk.decoding.symbol import layout

Image = NDArray[np.uint8]
Float = NDArray[np.float32]
Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels of the frame

CELL = 32  # pixels of the frame
LEAST_TEXTURE = 11.0  # grey levels: blurred or dim codes have 14 and more (bench/frames.py), most lobbies less
WEAKEST = 0.5  # correlation of a finder
MOST_PEAKS = 9
TRIPLES_KEPT = 2
TEMPLATE = 13  # pixels: the frame is shrunk until a finder has this size, so that one small picture serves all sizes
MODULES = tuple(2.4 * 1.15**i for i in range(12))  # pixels a module that are looked for, 2.4 to 11
FINE = (0.87, 0.91, 0.95, 1.0, 1.05, 1.1, 1.15)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a symbol of *version* seems to be."""

    corners: Points  # (4, 2) float32: top left, top right, bottom right, bottom left of the symbol
    version: int
    score: float


def texture(grey: Image) -> tuple[Float, float]:
    """How much every cell of CELL x CELL pixels changes in both directions at once; and the frame's usual value."""
    # whole cells and whole factors only: OpenCV then takes its fast paths
    columns, rows = max(1, grey.shape[1] // CELL), max(1, grey.shape[0] // CELL)
    half = cv2.resize(grey[: rows * CELL, : columns * CELL], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    across = cv2.copyMakeBorder(cv2.absdiff(half[:, 2:], half[:, :-2]), 0, 0, 0, 2, cv2.BORDER_REPLICATE)
    down = cv2.copyMakeBorder(cv2.absdiff(half[2:], half[:-2]), 0, 2, 0, 0, cv2.BORDER_REPLICATE)
    across = cv2.resize(across, (columns, rows), interpolation=cv2.INTER_AREA)
    down = cv2.resize(down, (columns, rows), interpolation=cv2.INTER_AREA)
    both = np.minimum(across, down).astype(np.float32)
    return both, float(np.median(both))


def regions(both: Float, usual: float, shape: tuple[int, int]) -> list[Box]:
    """Boxes round the textured parts of a frame of *shape* (height, width), the most promising first."""
    top = float(both.max())
    if top - usual < LEAST_TEXTURE:
        return []
    textured = (both > usual + 0.3 * (top - usual)).astype(np.uint8)
    mask = cv2.morphologyEx(textured, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    height, width = shape
    step_y, step_x = height / both.shape[0], width / both.shape[1]
    found = []
    for i in range(1, count):
        x, y, w, h, area = (int(v) for v in stats[i])
        if area < 4:
            continue
        weight = float(both[labels == i].sum()) * min(w, h) / max(w, h)
        box = (
            max(0, int((x - 1.5) * step_x)),
            max(0, int((y - 1.5) * step_y)),
            min(width, int((x + w + 1.5) * step_x)),
            min(height, int((y + h + 1.5) * step_y)),
        )
        found.append((weight, box))
    return [box for _, box in sorted(found, reverse=True)[:2]]


@lru_cache(maxsize=1)
def _finder() -> Image:
    """A soft picture of a finder with its light ring, drawn at TEMPLATE / 9 pixels a module."""
    fine = 8
    pattern = np.ones((9, 9), np.float32)
    pattern[1:8, 1:8] = -1
    pattern[2:7, 2:7] = 1
    pattern[3:6, 3:6] = -1
    big = cv2.GaussianBlur(pattern.repeat(fine, 0).repeat(fine, 1), (0, 0), 0.55 * fine)
    return np.asarray(128 + 100 * cv2.resize(big, (TEMPLATE, TEMPLATE), interpolation=cv2.INTER_AREA), np.uint8)


def _shrunk(grey: Image, times: float) -> Image:
    return np.asarray(cv2.resize(grey, None, fx=1 / times, fy=1 / times, interpolation=cv2.INTER_AREA), np.uint8)


def _match(small: Image) -> Float:
    return np.asarray(cv2.matchTemplate(small, _finder(), cv2.TM_CCOEFF_NORMED), np.float32)


def _peaks(score: Float, shrink: float, module: float) -> list[tuple[float, float, float, float]]:
    strength = np.abs(score)
    highest = cv2.dilate(strength, np.ones((5, 5), np.uint8))
    rows, columns = np.nonzero((strength >= highest) & (strength > WEAKEST))
    best = np.argsort(-strength[rows, columns])[:MOST_PEAKS]
    out = []
    for row, column in zip(rows[best], columns[best], strict=True):
        dx, dy = grid._peak(strength, int(row), int(column))
        x, y = ((v + TEMPLATE / 2) * shrink for v in (column + dx, row + dy))
        out.append((float(score[row, column]), float(x), float(y), module))
    return out


def _strongest(peaks: list[tuple[float, float, float, float]]) -> list[tuple[float, float, float, float]]:
    """One peak a place, strongest first."""
    kept: list[tuple[float, float, float, float]] = []
    for peak in sorted(peaks, key=lambda p: -abs(p[0])):
        for i, other in enumerate(kept):
            if math.hypot(peak[1] - other[1], peak[2] - other[2]) < 4 * max(peak[3], other[3]):
                # the dark middle of a finder alone looks like a small, blurred finder: of two sizes that fit about
                # as well, the larger is the finder
                if peak[3] > 1.4 * other[3] and abs(peak[0]) > abs(other[0]) - 0.2 and peak[0] * other[0] > 0:
                    kept[i] = peak
                break
        else:
            kept.append(peak)
    return sorted(kept, key=lambda p: -abs(p[0]))[:MOST_PEAKS]


@dataclass(frozen=True, slots=True)
class _Triple:
    score: float
    corner: NDArray[np.float64]
    right: NDArray[np.float64]
    down: NDArray[np.float64]
    module: float


def _triples(peaks: list[tuple[float, float, float, float]]) -> list[_Triple]:
    """Three finders that can belong together: equal sign and size, a right angle, two equal sides."""
    found = []
    for three in combinations(peaks, 3):
        if not (all(p[0] > 0 for p in three) or all(p[0] < 0 for p in three)):
            continue
        sizes = [p[3] for p in three]
        if max(sizes) > 1.55 * min(sizes):
            continue
        points = [np.array([p[1], p[2]]) for p in three]
        # the corner is opposite the longest side
        lengths = [np.linalg.norm(points[(i + 1) % 3] - points[(i + 2) % 3]) for i in range(3)]
        i = int(np.argmax(lengths))
        corner, a, b = points[i], points[(i + 1) % 3], points[(i + 2) % 3]
        u, v = a - corner, b - corner
        if u[0] * v[1] - u[1] * v[0] < 0:
            a, b, u, v = b, a, v, u
        long, short = max(np.linalg.norm(u), np.linalg.norm(v)), min(np.linalg.norm(u), np.linalg.norm(v))
        module = float(np.mean(sizes))
        if short < 11 * module or long > 1.7 * short or long > 175 * module:
            continue
        cosine = abs(float(u @ v)) / float(long * short)
        if cosine > 0.5:
            continue
        # the module's size is the mean of both sides' sizes, seen along each side
        strength = sum(abs(p[0]) for p in three)
        score = strength - cosine - 0.5 * float(long / short - 1)
        found.append(_Triple(score, corner, a, b, module))
    return sorted(found, key=lambda t: -t.score)


@dataclass(frozen=True, slots=True)
class Found:
    """What looks like finder patterns in one box of a frame, and how three of them can belong together."""

    box: Box
    triples: tuple[_Triple, ...]  # the best first; at most TRIPLES_KEPT

    @property
    def score(self) -> float:
        """How strongly the best three agree with finder patterns: 3.0 is perfect, 0.0 is nothing found."""
        return self.triples[0].score if self.triples else 0.0

    def corners(self) -> Points:
        """About where the best three's symbol is in the frame; there must be a triple."""
        best = self.triples[0]
        across = float(np.linalg.norm(best.right - best.corner) + np.linalg.norm(best.down - best.corner)) / 2
        return _corners(best, round(across / best.module) + 7) + np.array(self.box[:2], np.float32)


def finders(grey: Image, box: Box, budget: Budget) -> Found:
    """Look for finder patterns in *box* of *grey* at all sizes, as far as *budget* goes: large, cheap ones first."""
    left, top, right, bottom = box
    part = grey[top:bottom, left:right]
    peaks: list[tuple[float, float, float, float]] = []  # strength with sign, x, y, module (pixels of the frame)
    for module in reversed(MODULES):
        shrink = module * 9 / TEMPLATE
        units = part.size / (shrink * shrink) / 1e6
        if min(part.shape) < (TEMPLATE + 4) * shrink or not budget.fits("match", units):
            continue
        began = budget.start()
        peaks += _peaks(_match(_shrunk(part, shrink)), shrink, module)
        budget.done("match", units, began)
    return Found(box, tuple(_triples(_strongest(peaks))[:TRIPLES_KEPT]))


def locate(grey: Image, found: Found, budget: Budget) -> Iterator[Place]:
    """The symbols that what was *found* may belong to, the best first; each is worked out when it is asked for."""
    left, top, right, bottom = found.box
    part = grey[top:bottom, left:right]
    for triple in found.triples:
        if not budget.fits("versions"):
            return
        began = budget.start()
        places = _versions(part, triple)
        budget.done("versions", 1.0, began)
        for place in places:
            yield Place(place.corners + np.array([left, top], np.float32), place.version, place.score)


def _versions(part: Image, triple: _Triple) -> list[Place]:
    """The versions whose timing and version patterns agree best with what is between the three finders."""
    across = float(np.linalg.norm(triple.right - triple.corner) + np.linalg.norm(triple.down - triple.corner)) / 2
    module = _module_size(part, triple)
    middle = across / module + 7
    best_side = int(np.clip(round((middle - 17) / 4), 1, 40)) * 4 + 17
    flat = grid.flatten(part, _corners(triple, best_side), best_side)
    kernel = blur.blur_kernel(flat, best_side)
    clear = flat if kernel is None else blur.undo(flat, kernel, floor=0.02)
    scored = []
    for version in range(1, 41):
        side = 17 + 4 * version
        if not 0.8 * middle <= side <= 1.25 * middle:
            continue
        scored.append((abs(_agreement(clear, best_side, version)) - 0.3 * abs(math.log(side / middle)), version))
    scored.sort(reverse=True)
    return [Place(_corners(triple, 17 + 4 * v), v, triple.score + s) for s, v in scored[:2]]


def _module_size(part: Image, triple: _Triple) -> float:
    """The size of a module in pixels, from finer templates at the three finders."""
    sizes, weights = [], []
    for point in (triple.corner, triple.right, triple.down):
        reach = int(triple.module * 8)
        x, y = int(point[0]), int(point[1])
        window = part[max(0, y - reach) : y + reach, max(0, x - reach) : x + reach]
        scores = []
        for factor in FINE:
            shrink = triple.module * factor * 9 / TEMPLATE
            small = _shrunk(window, shrink)
            if min(small.shape) < TEMPLATE:
                scores.append(0.0)
                continue
            scores.append(float(np.abs(_match(small)).max()))
        i = int(np.argmax(scores))
        sizes.append(triple.module * FINE[i])
        weights.append(max(scores[i], 0.01))
    return float(np.average(sizes, weights=weights))


def _corners(triple: _Triple, side: int) -> Points:
    """The symbol's corners, as a parallelogram, when it has *side* modules."""
    u, v = (triple.right - triple.corner) / (side - 7), (triple.down - triple.corner) / (side - 7)
    origin = triple.corner - 3.5 * u - 3.5 * v
    return np.array([origin, origin + side * u, origin + side * (u + v), origin + side * v], np.float32)


@lru_cache(maxsize=40)
def _tell_tales(version: int) -> tuple[NDArray[np.float64], NDArray[np.float64], Float]:
    """Rows and columns of the timing and version modules, which lie between the finders, and what they should be."""
    plan = layout(version)
    chosen = np.zeros((plan.side, plan.side), bool)
    chosen[6, 8:-8] = chosen[8:-8, 6] = True
    if version >= 7:
        chosen[:6, plan.side - 11 : plan.side - 8] = chosen[plan.side - 11 : plan.side - 8, :6] = True
    rows, columns = np.nonzero(chosen)
    return rows.astype(float), columns.astype(float), plan.known[rows, columns]


def _agreement(flat: Float, drawn_side: int, version: int) -> float:
    """Correlation of the tell-tale modules of *version* with a flat picture that was drawn for *drawn_side*."""
    side = 17 + 4 * version
    rows, columns, values = _tell_tales(version)
    # both finders' middles are fixed points of the change of scale
    stretch = (drawn_side - 7) / (side - 7)
    y, x = (((v + 0.5 - 3.5) * stretch + 3.5 + MARGIN) * SAMPLES - 0.5 for v in (rows, columns))
    seen = cv2.remap(flat, x.astype(np.float32)[None], y.astype(np.float32)[None], cv2.INTER_LINEAR)[0]
    return float(np.corrcoef(-seen, values)[0, 1]) if seen.std() > 0.5 else 0.0
