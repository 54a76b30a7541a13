"""Reed-Solomon decoding over GF(256) with errors and erasures, as QR codes use it (ISO/IEC 18004 clause 8.5).

A code word that is known to be doubtful costs one check word, an unknown error two: telling the decoder where the
glare was doubles what it can mend. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

PRIMITIVE = 0x11D  # x^8 + x^4 + x^3 + x^2 + 1, ISO/IEC 18004 8.5.1

EXP = [1] * 512
LOG = [0] * 256
_value = 1
for _i in range(255):
    EXP[_i] = _value
    LOG[_value] = _i
    _value = (_value << 1) ^ (PRIMITIVE if _value & 0x80 else 0)
for _i in range(255, 512):
    EXP[_i] = EXP[_i - 255]

_EXP = np.array(EXP, np.int32)
_LOG = np.array(LOG, np.int32)


def syndromes(words: NDArray[np.uint8], checks: int) -> list[int]:
    """The *checks* syndromes of one block, first code word first; all zero when nothing is wrong."""
    n = len(words)
    powers = np.arange(n - 1, -1, -1, dtype=np.int32)
    logs = _LOG[words]
    products = _EXP[(logs[None, :] + np.outer(np.arange(checks, dtype=np.int32), powers)) % 255]
    products[:, words == 0] = 0
    return [int(v) for v in np.bitwise_xor.reduce(products, axis=1)]


def mend(words: NDArray[np.uint8], checks: int, erased: Sequence[int]) -> tuple[NDArray[np.uint8], int] | None:
    """Correct one block of data and *checks* check words; *erased* are the places known to be doubtful.

    Returns the mended block and the number of errors outside *erased*, or None when more is wrong than can be
    mended: 2 x errors + erasures is at most *checks*.
    """
    return mend_from(words, syndromes(words, checks), checks, erased)


def mend_from(
    words: NDArray[np.uint8], found: Sequence[int], checks: int, erased: Sequence[int]
) -> tuple[NDArray[np.uint8], int] | None:
    """As `mend`, with the syndromes already at hand."""
    if not any(found):
        return words, 0
    n = len(words)
    if len(erased) > checks:
        return None
    # (1) the polynomial whose roots are the erased places, lowest power first
    gamma = [1]
    for place in erased:
        gamma = _times_root(gamma, n - 1 - place)
    # (2) Forney syndromes: what the unknown errors alone leave behind
    forney = _multiply(found, gamma)[:checks]
    # (3) Berlekamp-Massey on those
    locator = _berlekamp_massey(forney[len(erased) :])
    errors = len(locator) - 1
    if 2 * errors + len(erased) > checks:
        return None
    # (4) the places of all of them
    both = _multiply(locator, gamma)
    while both and both[-1] == 0:
        both.pop()
    places = _roots(both, n)
    if len(places) != len(both) - 1:
        return None
    # (5) Forney's formula for what to add there
    omega = _multiply(found, both)[:checks]
    mended = words.copy()
    changed = set()
    for place in places:
        inverse = (255 - (n - 1 - place)) % 255
        top = _evaluate(omega, inverse)
        slope = 0
        for k in range(1, len(both), 2):
            if both[k]:
                slope ^= EXP[(LOG[both[k]] + inverse * (k - 1)) % 255]
        if slope == 0:
            return None
        if top:
            # first root is alpha^0 in QR: the value is multiplied by X = alpha^(place's power)
            mended[place] ^= EXP[(LOG[top] - LOG[slope] + (n - 1 - place)) % 255]
            changed.add(place)
    if any(syndromes(mended, checks)):
        return None
    return mended, len(changed - set(erased))


def _times_root(poly: list[int], power: int) -> list[int]:
    """poly x (1 + alpha^power x)."""
    out = [*poly, 0]
    for i, value in enumerate(poly):
        if value:
            out[i + 1] ^= EXP[LOG[value] + power % 255]
    return out


def _multiply(a: Sequence[int], b: Sequence[int]) -> list[int]:
    out = [0] * (len(a) + len(b) - 1)
    for i, x in enumerate(a):
        if x:
            log = LOG[x]
            for j, y in enumerate(b):
                if y:
                    out[i + j] ^= EXP[log + LOG[y]]
    return out


def _evaluate(poly: Sequence[int], log_x: int) -> int:
    total = 0
    for k, value in enumerate(poly):
        if value:
            total ^= EXP[(LOG[value] + log_x * k) % 255]
    return total


def _roots(poly: Sequence[int], n: int) -> list[int]:
    """Places whose inverse locator is a root (Chien search, all places at once)."""
    inverses = (255 - np.arange(n - 1, -1, -1, dtype=np.int32)) % 255
    total = np.zeros(n, np.int32)
    for k, value in enumerate(poly):
        if value:
            total ^= _EXP[(LOG[value] + inverses * k) % 255]
    return [int(i) for i in np.flatnonzero(total == 0)]


def _berlekamp_massey(found: Sequence[int]) -> list[int]:
    locator, before = [1], [1]
    length, gap, last = 0, 1, 1
    for i, value in enumerate(found):
        delta = value
        for k in range(1, length + 1):
            if k < len(locator) and locator[k] and found[i - k]:
                delta ^= EXP[LOG[locator[k]] + LOG[found[i - k]]]
        if delta == 0:
            gap += 1
            continue
        factor = LOG[delta] + 255 - LOG[last]
        shifted = [0] * gap + [EXP[(LOG[v] + factor) % 255] if v else 0 for v in before]
        grown = locator + [0] * (len(shifted) - len(locator))
        for k, v in enumerate(shifted):
            grown[k] ^= v
        if 2 * length <= i:
            before, last, length, gap = locator, delta, i + 1 - length, 1
        else:
            gap += 1
        locator = grown
    while locator[-1] == 0:
        locator.pop()
    return locator
