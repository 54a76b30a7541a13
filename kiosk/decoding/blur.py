"""What blurred a symbol, told by its own finder patterns: they are known, so what the camera made of them is the blur.

The flat picture of a finder and its quiet zone is the known pattern run through one small kernel. That kernel is found
by least squares, with weights that are the same for every symbol and are worked out once; it holds defocus, motion in
any direction and both together.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from kiosk.decoding.grid import MARGIN, SAMPLES

Float = NDArray[np.float32]

STEP = 2  # the kernel is found at every second sample: two to a module is finer than any blur that still can be undone
RADIUS = 4  # in those steps: streaks and blurs up to 4 modules across
_PER_MODULE = SAMPLES // STEP


def blur_kernel(flat: Float, side: int) -> Float | None:
    """The (2 RADIUS + 1) square kernel at STEP samples that best explains the three finders of *flat*; sums to 1.

    None when no finder can be seen (no contrast). Works for light on dark as well.
    """
    small = cv2.resize(flat, None, fx=1 / STEP, fy=1 / STEP, interpolation=cv2.INTER_AREA)
    solve, places = _solver()
    edge, n = (MARGIN + 8) * _PER_MODULE, (side + 2 * MARGIN) * _PER_MODULE
    corners = (small[:edge, :edge], small[:edge, n - edge : n], small[n - edge : n, :edge])
    values = np.stack([c.reshape(-1)[p] for c, p in zip(corners, places, strict=True)])
    if float(values.std()) < 3:
        return None
    # each finder has its own light (glare, shadow): take its mean away, as the solver's columns do
    values = values - values.mean(axis=1, keepdims=True)
    # a hidden finder has no contrast of its own and would only add noise
    seen = values.std(axis=1)
    values = values * (seen > 0.35 * seen.max())[:, None]
    kernel = (solve @ values.reshape(-1)).reshape(2 * RADIUS + 1, 2 * RADIUS + 1)
    total = float(kernel.sum())
    if abs(total) < 2:
        return None
    kernel = np.maximum(kernel / total, 0)
    kernel[kernel < 0.06 * kernel.max()] = 0
    return np.asarray(kernel / kernel.sum(), np.float32)


@lru_cache(maxsize=1)
def _solver() -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """The regularised pseudo-inverse, and which pixels it takes of each corner of the small flat picture."""
    n = (25 + 2 * MARGIN) * _PER_MODULE  # any side will do: only the corners are looked at
    known = np.zeros((n + 2 * RADIUS, n + 2 * RADIUS))
    is_known = np.zeros_like(known, bool)
    pattern = -np.ones((8, 8))
    pattern[:7, :7] = 1
    pattern[1:6, 1:6] = -1
    pattern[2:5, 2:5] = 1
    m, s = MARGIN, _PER_MODULE
    edge = (m + 8) * s
    for rows, columns in ((0, 0), (0, 1), (1, 0)):
        corner = -np.ones((edge + RADIUS, edge + RADIUS))
        corner[RADIUS + m * s :, RADIUS + m * s :] = pattern.repeat(s, 0).repeat(s, 1)
        corner = corner[::-1] if rows else corner
        corner = corner[:, ::-1] if columns else corner
        r = slice(-(edge + RADIUS), None) if rows else slice(None, edge + RADIUS)
        c = slice(-(edge + RADIUS), None) if columns else slice(None, edge + RADIUS)
        known[r, c] = corner
        is_known[r, c] = True
    whole = cv2.erode(is_known.astype(np.uint8), np.ones((2 * RADIUS + 1, 2 * RADIUS + 1), np.uint8), borderValue=1)
    whole = whole[RADIUS:-RADIUS, RADIUS:-RADIUS].astype(bool)
    groups, wholes = [], []
    for r0, c0 in ((0, 0), (0, n - edge), (n - edge, 0)):
        box = np.zeros((n, n), bool)
        box[r0 : r0 + edge, c0 : c0 + edge] = True
        wholes.append(np.flatnonzero(whole & box))
        groups.append(np.flatnonzero(whole[r0 : r0 + edge, c0 : c0 + edge]))
    places, in_whole = np.stack(groups), np.stack(wholes)
    columns_of = []
    for dy in range(-RADIUS, RADIUS + 1):
        for dx in range(-RADIUS, RADIUS + 1):
            shifted = known[RADIUS - dy : RADIUS - dy + n, RADIUS - dx : RADIUS - dx + n].reshape(-1)[in_whole]
            columns_of.append((-shifted + shifted.mean(axis=1, keepdims=True)).reshape(-1))
    a = np.stack(columns_of, 1)
    count = a.shape[1]
    width = 2 * RADIUS + 1
    smooth = np.zeros((0, count))
    rows_of = []
    for y in range(width):
        for x in range(width):
            for dy, dx in ((0, 1), (1, 0)):
                if y + dy < width and x + dx < width:
                    row = np.zeros(count)
                    row[y * width + x], row[(y + dy) * width + x + dx] = 1, -1
                    rows_of.append(row)
    smooth = np.array(rows_of)
    power = np.trace(a.T @ a) / count
    far = np.hypot(*np.mgrid[-RADIUS : RADIUS + 1, -RADIUS : RADIUS + 1]).reshape(-1) / RADIUS
    ridge = np.diag(0.01 + 0.05 * far**2)
    inverse = np.linalg.solve(a.T @ a + power * (0.02 * smooth.T @ smooth + ridge), a.T)
    return inverse, places


def prepare() -> None:
    """Work out the weights now (about 15 ms) instead of with the first symbol."""
    _solver()


def undo(flat: Float, kernel: Float, *, floor: float = 0.02) -> Float:
    """*flat* with *kernel* (from `blur_kernel`) undone by Wiener's filter; *floor* is the noise's share of power."""
    return Undoing(flat, kernel)(floor)


class Undoing:
    """One flat picture and its blur in the frequency domain, so that a second, bolder try costs half of the first."""

    def __init__(self, flat: Float, kernel: Float) -> None:
        self._n = n = flat.shape[0]
        self._size = size = int(cv2.getOptimalDFTSize(n + 8 * SAMPLES))
        self._before = before = (size - n) // 2
        padded = cv2.copyMakeBorder(flat, before, size - n - before, before, size - n - before, cv2.BORDER_REFLECT)
        big = np.asarray(cv2.resize(kernel, None, fx=STEP, fy=STEP, interpolation=cv2.INTER_LINEAR), np.float32)
        k = big.shape[0]
        whole = np.zeros((size, size), np.float32)
        whole[:k, :k] = big / big.sum()
        transfer = np.fft.rfft2(whole)
        # the kernel's middle, (k - 1) / 2, belongs at the origin
        turn = 2j * np.pi * (k - 1) / 2
        transfer *= np.exp(turn * np.fft.fftfreq(size)).astype(np.complex64)[:, None]
        transfer *= np.exp(turn * np.fft.rfftfreq(size)).astype(np.complex64)[None, :]
        self._power = transfer.real**2 + transfer.imag**2
        self._matched = np.fft.rfft2(padded) * np.conj(transfer)

    def __call__(self, floor: float) -> Float:
        """The picture with the blur undone as boldly as *floor*, the noise's share of power, is small."""
        back = np.fft.irfft2(self._matched / (self._power + np.float32(floor)), s=(self._size, self._size))
        inner = slice(self._before, self._before + self._n)
        return np.asarray(back[inner, inner], np.float32)
