"""Reads one symbol whose place is known: lays it flat, undoes its blur, decides module by module."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kiosk.decoding import blur, grid
from kiosk.decoding.budget import Budget
from kiosk.decoding.grid import Float, Image, Points
from kiosk.decoding.symbol import layout, read_symbol

CLOSE = 0.12  # modules: laying it flat again for less would change nothing
EACH = 0.06  # million pixels that would cost as much as the fixed part of working on any flat picture
FLOORS = (0.02, 0.006)  # noise shares for undoing blur: careful first, then bold


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """One symbol in one frame, settled on its own patterns."""

    corners: Points
    version: int
    agreement: float  # of its known patterns, -1 to 1; negative for light on dark
    flat: Float


def settle(grey: Image, corners: Points, version: int) -> Sighting | None:
    """Lay the symbol flat and shift it onto its own patterns; None when it is too small or outside the picture."""
    side = 17 + 4 * version
    if not _is_sensible(corners, side, grey.shape):
        return None
    flat = grid.flatten(grey, corners, side)
    better, agreement = grid.settle(flat, version, corners)
    close = CLOSE * float(np.linalg.norm(corners[1] - corners[0])) / side
    if np.abs(better - corners).max() > close and _is_sensible(better, side, grey.shape):
        moved = grid.flatten(grey, better, side)
        again, agreed = grid.settle(moved, version, better)
        if abs(agreed) >= abs(agreement) - 0.02 and _is_sensible(again, side, grey.shape):
            if np.abs(again - better).max() <= close:
                return Sighting(better, version, agreed, moved)
            return Sighting(again, version, agreed, grid.flatten(grey, again, side))
    return Sighting(corners, version, agreement, flat)


def read_flat(flat: Float, version: int, budget: Budget) -> str | None:
    """The text of a flat picture of a symbol: as it is, then with its own blur undone more and more boldly."""
    side = 17 + 4 * version
    if not budget.fits("judge", units(version)):
        return None
    text = _judge_and_read(flat, flat, side, budget)
    if text is not None or not budget.fits("undo", units(version)):
        return text
    kernel = blur.blur_kernel(flat, side)
    if kernel is None:
        return None
    undoing = budget.spend("undo", units(version), lambda: blur.Undoing(flat, kernel))
    for floor in FLOORS:
        if not budget.fits("redo", units(version)):
            return None
        began = budget.start()
        clear = undoing(floor)
        budget.done("redo", units(version), began)
        text = _judge_and_read(clear, flat, side, budget)
        if text is not None:
            return text
    return None


def units(version: int) -> float:
    """In what the cost of working on a flat picture is counted: million pixels, and some for what each costs anyway."""
    return ((17 + 4 * version + 2 * grid.MARGIN) * grid.SAMPLES) ** 2 / 1e6 + EACH


def _judge_and_read(flat: Float, raw: Float, side: int, budget: Budget) -> str | None:
    soft = budget.spend("judge", flat.size / 1e6 + EACH, lambda: grid.judge(flat, side, raw=raw))
    known = layout((side - 17) // 4).known
    agreement = float((soft * known).sum()) / float(np.abs(known).sum())
    if abs(agreement) < 0.15:
        return None
    return read_symbol(soft if agreement > 0 else -soft, still_time=lambda: budget.fits("mend"))


def _is_sensible(corners: Points, side: int, shape: tuple[int, ...]) -> bool:
    """Convex, at least 1.2 pixels a module, and no more than a third outside the picture."""
    if not np.isfinite(corners).all():
        return False
    edges = np.roll(corners, -1, 0) - corners
    turns = edges[:, 0] * np.roll(edges, -1, 0)[:, 1] - edges[:, 1] * np.roll(edges, -1, 0)[:, 0]
    lengths = np.hypot(edges[:, 0], edges[:, 1])
    if not ((turns > 0).all() or (turns < 0).all()) or lengths.min() < 1.2 * side * 0.6:
        return False
    reach = float(lengths.max()) / 3
    height, width = shape[:2]
    return bool(
        (corners > -reach).all() and (corners[:, 0] < width + reach).all() and (corners[:, 1] < height + reach).all()
    )
