"""From the corners of a symbol that was found but not read to how sure each of its modules is.

The symbol is laid flat at SAMPLES pixels a module, shifted onto its own known patterns, and judged module by module
against the light and dark round it. What is blown out or covered shows no contrast and becomes "unknown" instead of a
wrong guess.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kiosk.decoding.symbol import Soft, layout

Image = NDArray[np.uint8]
Float = NDArray[np.float32]
Points = NDArray[np.float32]

SAMPLES = 4  # pixels a module in the flat picture
MARGIN = 2  # modules of quiet zone kept round it
_UNIT = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)


def flatten(grey: Image, corners: Points, side: int) -> Float:
    """The symbol with *corners* (4, 2) laid flat: SAMPLES pixels a module, MARGIN modules round it."""
    flat = cv2.warpPerspective(grey, _to_flat(corners, side), (_size(side), _size(side)), flags=cv2.INTER_LINEAR)
    return np.asarray(flat, np.float32)


def _size(side: int) -> int:
    return (side + 2 * MARGIN) * SAMPLES


def _to_flat(corners: Points, side: int) -> NDArray[np.float64]:
    # half a pixel: warpPerspective counts from pixel middles, corners are on edges
    target = _UNIT * side * SAMPLES + MARGIN * SAMPLES - 0.5
    return np.asarray(cv2.getPerspectiveTransform(corners.astype(np.float32) - 0.5, target), np.float64)


@lru_cache(maxsize=40)
def _patterns(version: int) -> list[tuple[float, float, Float]]:
    """Middles (x, y in pixels of the flat picture) and pictures of the patterns that every symbol has."""
    plan = layout(version)
    out = []
    for row, column, half in (
        (3, 3, 4),
        (3, plan.side - 4, 4),
        (plan.side - 4, 3, 4),
        *((r, c, 2) for r, c in plan.alignment),
    ):
        padded = np.pad(plan.known, 1, constant_values=-1)
        patch = padded[row + 1 - half : row + 2 + half, column + 1 - half : column + 2 + half]
        big = patch.repeat(SAMPLES, 0).repeat(SAMPLES, 1)
        x, y = ((v + 0.5 + MARGIN) * SAMPLES - 0.5 for v in (column, row))
        out.append((x, y, np.asarray(cv2.GaussianBlur(-big, (0, 0), SAMPLES * 0.4), np.float32)))
    return out


def settle(flat: Float, version: int, corners: Points) -> tuple[Points, float]:
    """Better *corners*, from where the symbol's own patterns really are in *flat*; and how well they agree (-1 to 1).

    A negative agreement means light on dark. Patterns that are hidden do not take part.
    """
    side = 17 + 4 * version
    reach = SAMPLES + SAMPLES // 2
    found, meant, agreements = [], [], []
    for x, y, patch in _patterns(version):
        half = (patch.shape[0] - 1) / 2
        left, top = round(x - half) - reach, round(y - half) - reach
        right, bottom = left + patch.shape[1] + 2 * reach, top + patch.shape[0] + 2 * reach
        if left < 0 or top < 0 or right > flat.shape[1] or bottom > flat.shape[0]:
            clipped_left, clipped_top = max(left, 0), max(top, 0)
            window = flat[clipped_top : min(bottom, flat.shape[0]), clipped_left : min(right, flat.shape[1])]
            left, top = clipped_left, clipped_top
        else:
            window = flat[top:bottom, left:right]
        if window.shape[0] < patch.shape[0] or window.shape[1] < patch.shape[1]:
            continue
        if float(window.std()) < 2:
            agreements.append(0.0)
            continue
        score = cv2.matchTemplate(window, patch, cv2.TM_CCOEFF_NORMED)
        strength = np.abs(score)
        best = int(strength.argmax())
        row, column = divmod(best, score.shape[1])
        agreements.append(float(score[row, column]))
        if strength[row, column] < 0.55:
            continue
        dx, dy = _peak(strength, row, column)
        found.append((left + column + dx + half, top + row + dy + half))
        meant.append((x, y))
    agreement = float(np.mean(agreements)) if agreements else 0.0
    if len(found) < 3:
        return corners, agreement
    f, m = np.array(found, np.float32), np.array(meant, np.float32)
    fit: Any
    if len(found) >= 6:
        fit = cv2.findHomography(m, f, cv2.RANSAC, SAMPLES * 0.5)[0]
    else:
        fit = cv2.estimateAffine2D(m, f)[0] if len(found) > 3 else cv2.getAffineTransform(m, f)
        fit = None if fit is None else np.vstack([fit, [0, 0, 1]])
    if fit is None:
        return corners, agreement
    to_flat = _to_flat(corners, side)
    ideal = (_UNIT * side + MARGIN) * SAMPLES - 0.5
    back = np.linalg.inv(to_flat) @ fit
    moved = cv2.perspectiveTransform(ideal[None].astype(np.float32), back.astype(np.float32))[0] + 0.5
    if np.abs(moved - corners).max() > 6 * np.linalg.norm(corners[1] - corners[0]) / side + 4:
        return corners, agreement
    return np.asarray(moved, np.float32), agreement


def _peak(score: NDArray[np.float32], row: int, column: int) -> tuple[float, float]:
    """The top of the parabola through a maximum and its neighbours, as an offset in pixels."""
    dx = dy = 0.0
    if 0 < column < score.shape[1] - 1:
        a, b, c = (float(score[row, column + i]) for i in (-1, 0, 1))
        dx = 0.5 * (a - c) / (a - 2 * b + c) if a - 2 * b + c < -1e-6 else 0.0
    if 0 < row < score.shape[0] - 1:
        a, b, c = (float(score[row + i, column]) for i in (-1, 0, 1))
        dy = 0.5 * (a - c) / (a - 2 * b + c) if a - 2 * b + c < -1e-6 else 0.0
    return dx, dy


def judge(flat: Float, side: int, *, raw: Float | None = None) -> Soft:
    """How sure each module is, -1 (light) to 1 (dark); 0 where there is no contrast to judge by.

    *raw* is the flat picture before sharpening: blown-out and covered places are looked for there.
    """
    level = module_means(flat, side)
    window = np.ones((7, 7), np.uint8)
    light = cv2.blur(cv2.dilate(level, window), (5, 5))
    dark = cv2.blur(cv2.erode(level, window), (5, 5))
    contrast = light - dark
    usual = max(float(np.percentile(contrast, 75)), 1.0)
    soft = ((light + dark) / 2 - level) / np.maximum(contrast / 2, usual * 0.15)
    soft = np.clip(soft, -1, 1)
    shown = level if raw is None else module_means(raw, side)
    return np.asarray(soft * visible(shown), np.float32)


def module_means(flat: Float, side: int) -> Float:
    """The mean grey level of the middle of every module of a flat picture: (side, side)."""
    middle = flat[MARGIN * SAMPLES : (MARGIN + side) * SAMPLES, MARGIN * SAMPLES : (MARGIN + side) * SAMPLES]
    boxes = middle.reshape(side, SAMPLES, side, SAMPLES)
    return np.asarray(boxes[:, 1:-1, :, 1:-1].mean(axis=(1, 3)), np.float32)


def visible(level: Float) -> Float:
    """For every module: 1 where it can be seen, near 0 where the picture is blown out or something lies on the code."""
    # masked symbols hold hardly any 3x3 patch of one colour outside the patterns: uniform means hidden
    mean = cv2.blur(level, (3, 3))
    deviation = np.sqrt(np.maximum(cv2.blur(level * level, (3, 3)) - mean * mean, 0))
    usual = max(float(np.median(deviation)), 1.0)
    seen = np.clip((deviation / usual - 0.12) / 0.3, 0.0, 1.0)
    # a module is hidden when any 3x3 patch over it is: grow the hidden places by one
    seen = np.asarray(cv2.erode(seen, np.ones((3, 3), np.uint8)), np.float32)
    return np.asarray(0.03 + 0.97 * seen, np.float32)
