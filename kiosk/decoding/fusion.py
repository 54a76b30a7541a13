"""Several frames of one symbol taken together: what glare, a finger, noise or motion hides in one, another shows.

Every sighting is brought to the same flat picture, its light made even, and added with a weight for each place: blown
out and covered places weigh next to nothing. Blur adds up to blur, so the sum can be sharpened like one picture.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from kiosk.decoding import grid
from kiosk.decoding.grid import MARGIN, SAMPLES, Float
from kiosk.decoding.reader import Sighting

FADES_BY = 0.93  # a frame: what was seen a second ago weighs a tenth


class Fusion:
    """The sum of what was seen of one symbol of one version."""

    def __init__(self, version: int) -> None:
        self.version = version
        self._side = 17 + 4 * version
        size = (self._side + 2 * MARGIN) * SAMPLES
        self._sum = np.zeros((size, size), np.float32)
        self._weight = np.zeros((size, size), np.float32)
        self.frames = 0

    def add(self, sighting: Sighting, *, least_likeness: float = -1.0) -> bool:
        """Take one more sighting; False, and nothing taken, when it is less like what was seen than *least_likeness*.

        Likeness is -1 to 1, and about 0 for another symbol.
        """
        even, weight = _even(sighting.flat, self._side)
        if sighting.agreement < 0:
            even = 1 - even
        if self.frames and self._likeness(even, weight) < least_likeness:
            return False
        weight *= max(0.05, abs(sighting.agreement)) ** 2
        self._sum *= FADES_BY
        self._weight *= FADES_BY
        self._sum += even * weight
        self._weight += weight
        self.frames += 1
        return True

    def picture(self) -> Float:
        """The fused flat picture, as grey levels 0 to 255; places that were never seen are grey."""
        return np.asarray((self._sum + 0.01) / (self._weight + 0.02) * 200 + 20, np.float32)

    def _likeness(self, even: Float, weight: Float) -> float:
        both = weight * np.minimum(self._weight, 1)
        total = float(both.sum())
        if total < 1:
            return 0.0
        a = even - float((even * both).sum()) / total
        fused = self.picture()
        b = fused - float((fused * both).sum()) / total
        spread = float((a * a * both).sum()) * float((b * b * both).sum())
        return float((a * b * both).sum()) / math.sqrt(max(spread, 1e-9))


def _even(flat: Float, side: int) -> tuple[Float, Float]:
    """*flat* with 0 for the local dark and 1 for the local light, and how much each place can be trusted."""
    level = grid.module_means(flat, side)
    window = np.ones((7, 7), np.uint8)
    light = cv2.blur(cv2.dilate(level, window), (5, 5))
    dark = cv2.blur(cv2.erode(level, window), (5, 5))
    usual = max(float(np.percentile(light - dark, 75)), 1.0)
    contrast = np.maximum(light - dark, 0.2 * usual)
    trust = grid.visible(level) * np.clip((light - dark) / usual, 0.05, 1.2)
    size = flat.shape[0]
    big_dark, big_contrast, big_trust = (_enlarge(np.asarray(a, np.float32), size) for a in (dark, contrast, trust))
    return np.clip((flat - big_dark) / big_contrast, -0.3, 1.3), big_trust


def _enlarge(modules: Float, size: int) -> Float:
    inner = cv2.resize(modules, (size - 2 * MARGIN * SAMPLES,) * 2, interpolation=cv2.INTER_LINEAR)
    edge = MARGIN * SAMPLES
    return np.asarray(cv2.copyMakeBorder(inner, edge, edge, edge, edge, cv2.BORDER_REPLICATE), np.float32)
