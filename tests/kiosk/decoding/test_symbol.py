"""Our own symbol reader against symbols of another maker, whole, damaged, and nonsense."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import qrcode
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kiosk.decoding.galois import mend, syndromes
from kiosk.decoding.symbol import format_places, layout, read_symbol, text_of

LEVELS = {
    "L": qrcode.ERROR_CORRECT_L,
    "M": qrcode.ERROR_CORRECT_M,
    "Q": qrcode.ERROR_CORRECT_Q,
    "H": qrcode.ERROR_CORRECT_H,
}


def soft(text: str | bytes, level: str = "M", version: int | None = None, mask: int | None = None) -> NDArray[Any]:
    code = qrcode.QRCode(version=version, error_correction=LEVELS[level], border=0, mask_pattern=mask)
    code.add_data(text)
    code.make(fit=version is None)
    return np.where(np.array(code.get_matrix()), 1, -1).astype(np.float32)


@pytest.mark.parametrize("version", [1, 2, 6, 7, 9, 10, 15, 26, 27, 32, 40])
@pytest.mark.parametrize("level", ["L", "M", "Q", "H"])
def test_every_kind_of_symbol_is_read(version: int, level: str) -> None:
    text = "HC1:A%" if version == 1 else "HC1:NCFOXN%TS3DH"
    modules = soft(text, level, version)
    known = layout(version).known
    assert (modules[known != 0] == known[known != 0]).all()
    assert read_symbol(modules) == text


@pytest.mark.parametrize("mask", range(8))
def test_every_mask_is_read(mask: int) -> None:
    assert read_symbol(soft("JK1:MASKED CODE", mask=mask)) == "JK1:MASKED CODE"


@pytest.mark.parametrize("text", ["0123456789012", "ABC $%", "lower case", "健康码 green", "7", "é" * 50])
def test_every_kind_of_text_is_read(text: str) -> None:
    assert read_symbol(soft(text, version=8)) == text


def test_a_hidden_third_is_made_good_by_erasures() -> None:
    text = "HC1:" + "NCFOXN%TS3DHOQC0" * 20
    modules = soft(text, "Q")
    side = len(modules)
    hidden = modules.copy()
    edge = int(side * 0.62)
    hidden[side - edge :, side - edge :] = 0.0
    assert read_symbol(hidden) == text
    guessed = modules.copy()
    guessed[side - edge :, side - edge :] = 1.0  # the same place, wrongly thought to be known
    assert read_symbol(guessed) is None


@pytest.mark.parametrize("seed", range(6))
def test_noise_is_never_a_text(seed: int) -> None:
    random = np.random.default_rng(seed)
    for version in (1, 2, 3, 5, 10):
        plan = layout(version)
        modules = random.normal(0, 1, (plan.side, plan.side)).astype(np.float32)
        modules[plan.known != 0] = plan.known[plan.known != 0]
        assert read_symbol(modules) is None


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.0, 0.5), st.sampled_from(["L", "M", "Q", "H"]))
def test_damage_gives_the_true_text_or_none(seed: int, share: float, level: str) -> None:
    random = np.random.default_rng(seed)
    text = "JK1:" + "".join(random.choice(list("ABCDEF0123456789"), int(random.integers(4, 120))))
    modules = soft(text, level)
    noise = random.normal(0, 1, modules.shape).astype(np.float32)
    damaged = np.where(random.random(modules.shape) < share, noise, modules).astype(np.float32)
    assert read_symbol(damaged) in (text, None)


@pytest.mark.parametrize("shape", [(20, 20), (21, 25), (22, 22), (181, 181), (0, 0)])
def test_shapes_that_no_symbol_has_are_refused(shape: tuple[int, int]) -> None:
    assert read_symbol(np.ones(shape, np.float32)) is None


def test_both_copies_of_the_format_lie_where_the_standard_says() -> None:
    places = format_places(21)
    assert len(places) == 30 and len(set(places)) == 30
    assert places[0] == (0, 8) and places[14] == (8, 0) and places[15] == (8, 20) and places[29] == (20, 8)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00", b"\x40\x14\x10\xec\x12", b"\x70\x80\x00", b"\x30\x00\x00", b"\x4f\xff\x41", b"\x10\x2f\xff\xff\xff"],
)
def test_malformed_contents_are_none(data: bytes) -> None:
    assert text_of(np.frombuffer(data, np.uint8), 1) is None


def test_bytes_that_are_not_utf_8_are_not_guessed() -> None:
    assert read_symbol(soft(b"\xb1\xb2\xb3\xff\xfe", version=4)) is None


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(4, 30))
def test_reed_solomon_mends_up_to_its_limit(seed: int, checks: int) -> None:
    random = np.random.default_rng(seed)
    n = int(random.integers(checks + 1, 120))
    # any word with zero syndromes is a code word: mend a random one with all check places erased
    message = random.integers(0, 256, n).astype(np.uint8)
    made = mend(message, checks, list(range(n - checks, n)))
    assert made is not None
    word = made[0]
    assert not any(syndromes(word, checks))
    errors = int(random.integers(0, checks // 2 + 1))
    erased = int(random.integers(0, checks - 2 * errors + 1))
    places = random.permutation(n)[: errors + erased]
    spoiled = word.copy()
    spoiled[places] ^= random.integers(1, 256, len(places)).astype(np.uint8)
    mended = mend(spoiled, checks, [int(p) for p in places[errors:]])
    assert mended is not None and (mended[0] == word).all() and mended[1] == errors
