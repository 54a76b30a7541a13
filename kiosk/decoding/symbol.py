"""QR symbols (ISO/IEC 18004, Model 2) from modules to text, with a confidence for every module. Pure.

Engines decide each module to be dark or light and then count errors. This reader keeps how sure each module is, so
that doubtful code words become erasures (half the price of errors), and several frames can vote module by module.
It accepts a text only when chance alone would have produced it less than once in 2^GUARD_BITS trials.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from qrcode.base import rs_blocks
from qrcode.util import BCH_type_info, BCH_type_number, pattern_position

from kiosk.decoding.galois import mend_from, syndromes

GUARD_BITS = 32.0
NEARLY = 0.7  # two format sequences differ in 7 of 15 bits, so a clear one agrees far better than the next
FEWEST_GUARD_BITS_A_BLOCK = 7.0

Soft = NDArray[np.float32]
"""(modules, modules): above 0 dark, below 0 light, the size is the confidence, 0 is unknown."""

_ALPHANUMERIC = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
_ECI_CHARSETS = {1: "latin-1", 3: "latin-1", 20: "shift_jis", 26: "utf-8", 27: "ascii"}  # AIM ECI assignments


@dataclass(frozen=True, slots=True)
class Layout:
    """What is where in a symbol of one version."""

    version: int
    side: int
    known: NDArray[np.float32]  # function patterns: 1 dark, -1 light, 0 for everything that varies
    rows: NDArray[np.intp]  # of the data modules, in the order of their bits
    columns: NDArray[np.intp]
    alignment: tuple[tuple[int, int], ...]  # middles (row, column) of the alignment patterns


@lru_cache(maxsize=40)
def layout(version: int) -> Layout:
    """The layout of *version* 1 to 40."""
    side = 17 + 4 * version
    known = np.zeros((side, side), np.float32)
    taken = np.zeros((side, side), bool)
    finder = -np.ones((9, 9), np.float32)
    finder[1:8, 1:8] = 1
    finder[2:7, 2:7] = -1
    finder[3:6, 3:6] = 1
    for row, column in ((0, 0), (0, side - 7), (side - 7, 0)):
        top, left = max(row - 1, 0), max(column - 1, 0)
        bottom, right = min(row + 8, side), min(column + 8, side)
        part = finder[top - row + 1 : bottom - row + 1, left - column + 1 : right - column + 1]
        known[top:bottom, left:right] = part
        taken[top:bottom, left:right] = True
    positions = pattern_position(version)
    middles = []
    for row in positions:
        for column in positions:
            if not taken[row, column]:
                middles.append((row, column))
    for row, column in middles:
        patch = np.ones((5, 5), np.float32)
        patch[1:4, 1:4] = -1
        patch[2, 2] = 1
        known[row - 2 : row + 3, column - 2 : column + 3] = patch
        taken[row - 2 : row + 3, column - 2 : column + 3] = True
    stripe = np.where(np.arange(side) % 2 == 0, 1, -1).astype(np.float32)
    free = ~taken[6]
    known[6, free] = stripe[free]
    known[free, 6] = stripe[free]
    taken[6] = taken[:, 6] = True
    known[side - 8, 8] = 1
    for row, column in format_places(side):
        taken[row, column] = True
    taken[side - 8, 8] = True
    if version >= 7:
        bits = BCH_type_number(version)
        for i in range(18):
            value = 1.0 if bits >> i & 1 else -1.0
            known[i // 3, i % 3 + side - 11] = known[i % 3 + side - 11, i // 3] = value
        taken[:6, side - 11 : side - 8] = taken[side - 11 : side - 8, :6] = True
    # pairs of columns from the right, read upwards and downwards in turn (ISO/IEC 18004 7.7.3)
    rights = [right if right > 6 else right - 1 for right in range(side - 1, 0, -2)]  # the timing column is left out
    up = np.arange(side - 1, -1, -1)
    rows = np.concatenate([np.repeat(up if i % 2 == 0 else up[::-1], 2) for i in range(len(rights))])
    columns = np.concatenate([np.tile([right, right - 1], side) for right in rights])
    free_places = ~taken[rows, columns]
    rows, columns = rows[free_places], columns[free_places]
    return Layout(version, side, known, rows, columns, tuple(middles))


def format_places(side: int) -> list[tuple[int, int]]:
    """Where the two copies of the 15 format bits are, lowest bit first, first copy first (ISO/IEC 18004 figure 25)."""
    first = [(i if i < 6 else i + 1, 8) for i in range(8)]
    first += [(8, 7)] + [(8, 14 - i) for i in range(9, 15)]
    second = [(8, side - 1 - i) for i in range(8)] + [(side - 15 + i, 8) for i in range(8, 15)]
    return first + second


@lru_cache(maxsize=1)
def _formats() -> tuple[NDArray[np.float32], list[tuple[int, int]]]:
    """All 32 format sequences as +1 and -1, with their (level, mask)."""
    meanings = [(level, mask) for level in range(4) for mask in range(8)]
    words = [BCH_type_info(level << 3 | mask) for level, mask in meanings]
    return np.array([[1 if w >> i & 1 else -1 for i in range(15)] for w in words], np.float32), meanings


@lru_cache(maxsize=64)
def _mask(side: int, mask: int) -> NDArray[np.float32]:
    """-1 where the data mask turns a module over, else 1."""
    rows, columns = np.mgrid[0:side, 0:side]
    both = rows * columns
    turned = (  # ISO/IEC 18004 table 10
        (rows + columns) % 2,
        rows % 2,
        columns % 3,
        (rows + columns) % 3,
        (rows // 2 + columns // 3) % 2,
        both % 2 + both % 3,
        (both % 2 + both % 3) % 2,
        ((rows + columns) % 2 + both % 3) % 2,
    )[mask]
    return np.where(turned == 0, -1, 1).astype(np.float32)


@lru_cache(maxsize=160)
def _blocks(version: int, level: int) -> tuple[tuple[int, int], ...]:
    """(all code words, data code words) of each block; *level* is the two format bits."""
    return tuple((b.total_count, b.data_count) for b in rs_blocks(version, level))


def likely_formats(soft: Soft, most: int = 2) -> list[tuple[int, int]]:
    """The (level bits, mask) that agree best with both copies of the format information, best first.

    A second one only where it agrees nearly as well.
    """
    places = format_places(soft.shape[0])
    values = np.array([soft[place] for place in places], np.float32)
    values = np.clip(values, -1, 1)
    sequences, meanings = _formats()
    scores = sequences @ (values[:15] + values[15:])
    best = float(scores.max())
    return [meanings[i] for i in np.argsort(-scores)[:most] if scores[i] >= NEARLY * best]


def read_symbol(soft: Soft, *, still_time: Callable[[], bool] = lambda: True) -> str | None:
    """The text of a symbol from the confidences of its modules, or None when it cannot be told for certain.

    *soft* is (side, side) with side 21, 25 ... 177. *still_time* is asked between trials.
    """
    side = soft.shape[0]
    if soft.shape != (side, side) or side < 21 or side > 177 or (side - 17) % 4:
        return None
    plan = layout((side - 17) // 4)
    for level, mask in likely_formats(soft):
        bits = (soft * _mask(side, mask))[plan.rows, plan.columns]
        data = _mend_all(bits, _blocks(plan.version, level), still_time)
        if data is not None:
            return text_of(data, plan.version)
        if not still_time():
            return None
    return None


def _mend_all(
    bits: NDArray[np.float32], blocks: tuple[tuple[int, int], ...], still_time: Callable[[], bool]
) -> NDArray[np.uint8] | None:
    total = sum(all_words for all_words, _ in blocks)
    bits = bits[: total * 8].reshape(total, 8)
    words = np.packbits(bits > 0, axis=1).reshape(-1)
    # a word is as doubtful as its most doubtful module; a second doubtful one makes it a little worse
    sure = np.sort(np.abs(bits), axis=1)
    trust = np.asarray(sure[:, 0] + 0.25 * sure[:, 1], np.float32)
    parts = []
    guard = 0.0
    for places, data_words in _interleaving(blocks):
        mended = _mend_block(words[places], trust[places], data_words, still_time)
        if mended is None:
            return None
        block, bits_left = mended
        guard += bits_left
        parts.append(block[:data_words])
    return np.concatenate(parts) if guard >= GUARD_BITS else None


@lru_cache(maxsize=160)
def _interleaving(blocks: tuple[tuple[int, int], ...]) -> list[tuple[NDArray[np.intp], int]]:
    """For each block: where its words are in the stream, and how many of them are data (ISO/IEC 18004 8.6)."""
    places: list[list[int]] = [[] for _ in blocks]
    at = 0
    for i in range(max(data for _, data in blocks)):
        for block, (_, data) in enumerate(blocks):
            if i < data:
                places[block].append(at)
                at += 1
    for _ in range(blocks[0][0] - blocks[0][1]):
        for block in range(len(blocks)):
            places[block].append(at)
            at += 1
    return [(np.array(p), data) for p, (_, data) in zip(places, blocks, strict=True)]


def _mend_block(
    words: NDArray[np.uint8], trust: NDArray[np.float32], data_words: int, still_time: Callable[[], bool]
) -> tuple[NDArray[np.uint8], float] | None:
    """Mend one block, erasing more and more of its least trusted words; with the bits of evidence left over."""
    checks = len(words) - data_words
    found = syndromes(words, checks)
    if not any(found):
        return words, 8.0 * checks
    order = [int(i) for i in np.argsort(trust)]
    trials = 0
    hopeless = int((trust <= 0.02).sum())
    counts = sorted({0, min(hopeless, checks - 1), *range(2, checks, max(2, checks // 8))})
    for erased in counts:
        trials += 1
        mended = mend_from(words, found, checks, order[:erased])
        if mended is None:
            if not still_time():
                return None
            continue
        block, errors = mended
        ways = math.log2(math.comb(len(words) - erased, errors)) + 8 * errors
        left = 8.0 * (checks - erased) - ways - math.log2(trials)
        if left >= FEWEST_GUARD_BITS_A_BLOCK:
            return block, left
    return None


class _Bits:
    def __init__(self, data: NDArray[np.uint8]) -> None:
        self._all = int.from_bytes(data.tobytes(), "big")
        self.left = len(data) * 8

    def take(self, count: int) -> int:
        if count > self.left:
            raise ValueError("the bits end in the middle of a value")
        self.left -= count
        return self._all >> self.left & ((1 << count) - 1)


def text_of(data: NDArray[np.uint8], version: int) -> str | None:
    """The text of mended data words, or None for content that a kiosk has no use for or that is malformed.

    Reads numeric, alphanumeric, byte, kanji and ECI segments. Bytes without an ECI must be UTF-8: guessing a
    character set could report a text that is not in the picture.
    """
    bits = _Bits(data)
    size = 0 if version < 10 else 1 if version < 27 else 2
    pieces: list[str] = []
    raw = bytearray()
    charset = "utf-8"
    try:
        while bits.left >= 4:
            mode = bits.take(4)
            if mode == 0:
                break
            if mode != 4 and raw:
                pieces.append(raw.decode(charset))
                raw.clear()
            if mode == 1:
                pieces.append(_numeric(bits, bits.take((10, 12, 14)[size])))
            elif mode == 2:
                pieces.append(_alphanumeric(bits, bits.take((9, 11, 13)[size])))
            elif mode == 4:
                count = bits.take((8, 16, 16)[size])
                raw += bytes(bits.take(8) for _ in range(count))
            elif mode == 8:
                pieces.append(_kanji(bits, bits.take((8, 10, 12)[size])))
            elif mode == 7:
                number = bits.take(8)
                if number & 0x80:
                    return None
                charset = _ECI_CHARSETS[number]
            else:
                return None
        pieces.append(raw.decode(charset))
    except (ValueError, KeyError):  # UnicodeDecodeError is a ValueError
        return None
    if not _is_padding(bits):
        return None
    return "".join(pieces) or None


def _is_padding(bits: _Bits) -> bool:
    """Whether the rest is what an encoder puts there: zeros up to a whole byte, then EC 11 EC 11 ... (8.4.9)."""
    if bits.left < 4 and bits.left:
        return bits.take(bits.left) == 0
    if bits.take(bits.left % 8):
        return False
    rest = [bits.take(8) for _ in range(bits.left // 8)]
    return all(v == (0xEC, 0x11)[i % 2] for i, v in enumerate(rest)) or not any(rest)


def _numeric(bits: _Bits, count: int) -> str:
    out = []
    while count > 0:
        digits = min(count, 3)
        value = bits.take((0, 4, 7, 10)[digits])
        if value >= 10**digits:
            raise ValueError("not a group of digits")
        out.append(f"{value:0{digits}d}")
        count -= digits
    return "".join(out)


def _alphanumeric(bits: _Bits, count: int) -> str:
    out = []
    for _ in range(count // 2):
        value = bits.take(11)
        if value >= 45 * 45:
            raise ValueError("not a pair of characters")
        out.append(_ALPHANUMERIC[value // 45] + _ALPHANUMERIC[value % 45])
    if count % 2:
        value = bits.take(6)
        if value >= 45:
            raise ValueError("not a character")
        out.append(_ALPHANUMERIC[value])
    return "".join(out)


def _kanji(bits: _Bits, count: int) -> str:
    out = bytearray()
    for _ in range(count):
        value = bits.take(13)
        joined = value // 0xC0 << 8 | value % 0xC0
        joined += 0x8140 if joined < 0x1F00 else 0xC140
        out += joined.to_bytes(2, "big")
    return out.decode("shift_jis")
