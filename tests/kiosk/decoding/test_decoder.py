"""The frame pipeline: what it reads that engines do not, what it never does, and what it costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from bench import frames
from gatehouse.demo.scene import Scene, Style
from kiosk import decoder as decoder_module
from kiosk.decoder import Decoder
from kiosk.decoding import engines, locate
from kiosk.decoding.blur import blur_kernel, undo
from kiosk.decoding.budget import GUESSES, Budget, Costs
from kiosk.decoding.fusion import Fusion
from kiosk.decoding.grid import flatten, judge
from kiosk.decoding.reader import read_flat, settle
from tests.kiosk.decoding.drawing import draw_code


def patient() -> Decoder:
    """A decoder whose clock stands still: every retry is made, however busy the machine is."""
    return Decoder(clock=lambda: 0.0)


def texts(codes: list[engines.Code]) -> list[str]:
    return [c.text for c in codes]


@pytest.mark.parametrize("family", frames.FAMILIES)
def test_each_kind_of_easy_frame_is_read_without_the_clocks_help(family: str) -> None:
    sample = frames.single(31, family, 1, 120)
    assert texts(patient().read_still(sample.image)) == [sample.text]


@pytest.mark.slow
def test_more_hard_frames_are_read_than_by_the_best_engine() -> None:
    ours = engine = 0
    for family in ("motion", "defocus", "glare", "occlusion", "mixed"):
        for level, length in ((3, 120), (4, 40), (4, 350)):
            sample = frames.single(32, family, level, length)
            read = texts(patient().read_still(sample.image))
            assert read in ([], [sample.text])
            ours += bool(read)
            grey = np.asarray(cv2.cvtColor(sample.image, cv2.COLOR_BGR2GRAY), np.uint8)
            engine += sample.text in texts(engines.read_zxing(grey, "zxing")[0])
    assert ours >= engine + 3


def test_corners_are_where_the_code_is() -> None:
    for family, level in (("tilt", 2), ("defocus", 3), ("motion", 3)):
        sample = frames.single(33, family, level, 120)
        (code,) = patient().read_still(sample.image)
        assert np.abs(np.array(code.corners) - sample.corners).max() < 12


@pytest.mark.slow
def test_a_moving_glare_is_seen_past_by_several_frames_together() -> None:
    together = alone = 0
    for index in (0, 1):
        hold = frames.hold(7, "glare", index, frames=12)
        decoder, read, engine = Decoder(clock=time.thread_time), set(), set()
        for jpeg in hold.frames:
            image = frames.unpack(jpeg)
            read |= set(texts(decoder.read(image, budget_s=0.1)))
            grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
            engine |= set(texts(engines.read_zxing(grey, "zxing")[0]))
        assert read <= {hold.text}
        together += bool(read)
        alone += bool(engine)
    assert together >= max(alone, 1)


def test_halves_of_a_code_seen_in_two_frames_make_one_text() -> None:
    text = "JK1:" + "ABCDEF0123456789" * 8
    whole = draw_code(text, pixels_per_module=5)
    side = (whole.shape[0] // 5) - 8
    version = (side - 17) // 4
    corners = np.array([[20, 20], [20 + 5 * side, 20], [20 + 5 * side, 20 + 5 * side], [20, 20 + 5 * side]], np.float32)
    left, right = whole.copy(), whole.copy()
    left[60:-60, 20 + int(5 * side * 0.52) : -22] = 255
    right[60:-60, 22 : 20 + int(5 * side * 0.42)] = 255
    fusion, unlimited = Fusion(version), Budget(lambda: 0.0, None, Costs())
    for picture in (left, right):
        sighting = settle(picture, corners, version)
        assert sighting is not None
        assert read_flat(sighting.flat, version, unlimited) is None
        fusion.add(sighting)
    assert read_flat(fusion.picture(), version, unlimited) == text


def test_two_peoples_codes_are_never_mixed() -> None:
    decoder = patient()
    seen = set()
    shown = {f"JK1:PERSON-{i}-{'X' * 40}" for i in range(6)}
    for text in sorted(shown):
        picture = np.full((720, 1280), 190, np.uint8)
        code = cv2.GaussianBlur(draw_code(text, pixels_per_module=6), (0, 0), 4.2)
        picture[200 : 200 + code.shape[0], 500 : 500 + code.shape[1]] = code
        for _ in range(4):
            seen |= set(texts(decoder.read(picture)))
    assert seen <= shown and seen


def test_a_second_code_is_seen_while_the_first_stays() -> None:
    decoder = Decoder()
    picture = np.full((720, 1280), 220, np.uint8)
    first, second = draw_code("JK1:FIRST"), draw_code("JK1:SECOND")
    picture[100 : 100 + len(first), 100 : 100 + len(first)] = first
    assert texts(decoder.read(picture)) == ["JK1:FIRST"]
    picture[100 : 100 + len(second), 900 : 900 + len(second)] = second
    seen = set()
    for _ in range(decoder_module.WHOLE_EVERY + 1):
        seen |= set(texts(decoder.read(picture)))
    assert seen == {"JK1:FIRST", "JK1:SECOND"}


@pytest.mark.slow
def test_a_quiet_lobby_is_looked_at_less_often_and_wakes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    real = decoder_module.read_zxing

    def counted(*args: Any, **more: Any) -> Any:
        looks.append(1)
        return real(*args, **more)

    monkeypatch.setattr(decoder_module, "read_zxing", counted)
    decoder = Decoder()
    lobby = frames.empty(1).image
    noise = np.random.default_rng(1)
    for _ in range(decoder_module.RESTS_AFTER + 10):
        decoder.read(np.clip(lobby + noise.normal(0, 2, lobby.shape), 0, 255).astype(np.uint8))
    looks.clear()
    for _ in range(30):
        assert decoder.read(np.clip(lobby + noise.normal(0, 2, lobby.shape), 0, 255).astype(np.uint8)) == []
    assert len(looks) <= 30 / decoder_module.RESTING_EVERY + 1
    code = draw_code("JK1:AWAKE", pixels_per_module=8)
    lobby[100 : 100 + len(code), 500 : 500 + len(code)] = code[..., None]
    assert texts(decoder.read(lobby)) == ["JK1:AWAKE"]


def test_the_budget_is_kept_by_its_own_clock() -> None:
    """Every question to the clock costs 1 ms on it: a decoder that asks is a decoder that stops."""
    now = [0.0]

    def clock() -> float:
        now[0] += 0.001
        return now[0]

    decoder = Decoder(clock=clock)
    sample = frames.single(34, "glare", 5, 350)
    for _ in range(6):
        began = now[0]
        decoder.read(sample.image, budget_s=0.026)
        assert now[0] - began < 0.06


@pytest.mark.parametrize("missing", [("zxingcpp",), ("pyzbar",), ("zxingcpp", "pyzbar")])
def test_missing_engines_degrade(missing: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in missing:
        monkeypatch.setattr(engines, name, None)
    assert len(engines.available()) == 2 - len(missing)
    picture = np.full((720, 1280), 230, np.uint8)
    code = draw_code("JK1:STILL READ", pixels_per_module=8)
    picture[100 : 100 + len(code), 500 : 500 + len(code)] = code
    # with neither engine our own locator and symbol reader still stand
    assert texts(patient().read(picture)) == ["JK1:STILL READ"]


def test_micro_qr_and_one_dimensional_codes_are_not_read() -> None:
    zxing = pytest.importorskip("zxingcpp")
    for kind, content in ((zxing.BarcodeFormat.Code128, "12345"), (zxing.BarcodeFormat.EAN13, "5901234123457")):
        image = np.array(zxing.create_barcode(content, kind).to_image(scale=4))
        assert patient().read_still(np.asarray(image, np.uint8)) == []


def test_a_blur_is_told_by_the_finders_and_undone() -> None:
    clean = draw_code("JK1:" + "BLURRED " * 6, pixels_per_module=6)
    side = clean.shape[0] // 6 - 8
    corners = np.array([[24, 24], [24 + 6 * side, 24], [24 + 6 * side, 24 + 6 * side], [24, 24 + 6 * side]], np.float32)
    streak = np.zeros((13, 13), np.float32)
    np.fill_diagonal(streak, 1 / 13)
    flat = flatten(np.asarray(cv2.filter2D(clean, -1, streak), np.uint8), corners, side)
    truth = judge(flatten(clean, corners, side), side) > 0
    kernel = blur_kernel(flat, side)
    assert kernel is not None and kernel.sum() == pytest.approx(1)
    assert np.trace(kernel) > 2 * np.trace(kernel[::-1])
    before = ((judge(flat, side) > 0) != truth).mean()
    after = ((judge(undo(flat, kernel), side, raw=flat) > 0) != truth).mean()
    assert after < 0.5 * before
    assert blur_kernel(np.full_like(flat, 128), side) is None


def test_an_empty_wall_has_no_region_and_a_code_has_one() -> None:
    wall = np.tile(np.linspace(90, 200, 1280).astype(np.uint8), (720, 1))
    both, usual = locate.texture(wall)
    assert locate.regions(both, usual, wall.shape) == []
    code = draw_code("JK1:HERE", pixels_per_module=8)
    wall[300 : 300 + len(code), 700 : 700 + len(code)] = code
    both, usual = locate.texture(wall)
    (box,) = locate.regions(both, usual, wall.shape)
    assert box[0] <= 732 and box[1] <= 332 and box[2] >= 700 + len(code) - 32 and box[3] >= 300 + len(code) - 32


FINDER = np.pad(np.pad(np.pad(np.zeros((3, 3)), 1, constant_values=1), 1), 1, constant_values=1)


def adversaries() -> dict[str, NDArray[np.uint8]]:
    random = np.random.default_rng(1)
    finder = (FINDER * 255).astype(np.uint8)
    tiled = np.tile(finder.repeat(4, 0).repeat(4, 1), (8, 14))
    return {
        "finders everywhere": np.tile(np.pad(finder.repeat(3, 0).repeat(3, 1), 20, constant_values=255), (6, 10)),
        "finders wall to wall": tiled,
        "noise": random.integers(0, 255, (720, 1280), np.uint8),
        "modules of no symbol": ((random.random((180, 320)) > 0.5) * 255).astype(np.uint8).repeat(4, 0).repeat(4, 1),
        "stripes": np.tile((np.arange(1280) // 5 % 2 * 255).astype(np.uint8), (720, 1)),
        "one colour": np.full((720, 1280), 255, np.uint8),
    }


@pytest.mark.parametrize("name", adversaries())
def test_pictures_made_to_confuse_give_nothing(name: str) -> None:
    picture = adversaries()[name]
    assert Decoder().read_still(picture) == []
    decoder = Decoder()
    for _ in range(4):
        assert decoder.read(picture) == []


def test_hundreds_of_false_symbols_cost_no_more_than_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """zxing-cpp reports each triple of finder patterns: settling them all once held the lane for a second and more."""
    random = np.random.default_rng(2)
    tile = ((random.random((30, 30)) > 0.5) * 255).astype(np.uint8)
    tile[10:19, 10:19] = 255 * FINDER
    packed = np.tile(tile.repeat(3, 0).repeat(3, 1), (8, 14))
    assert len(engines.read_zxing(packed, "zxing")[1]) > 20
    settled = []
    real = decoder_module.settle
    monkeypatch.setattr(decoder_module, "settle", lambda *args: settled.append(1) or real(*args))
    decoder = patient()
    for _ in range(4):
        settled.clear()
        assert decoder.read(packed) == []
        assert len(settled) <= 6 * decoder_module.MOST_UNREAD
    assert settled


@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (1, 4000), (7, 9), (8, 8), (9, 3000), (0, 10, 3), (12, 12, 3)])
def test_odd_shapes_give_nothing(shape: tuple[int, ...]) -> None:
    picture = np.zeros(shape, np.uint8)
    assert Decoder().read_still(picture) == []
    assert Decoder().read(picture) == []


def test_frames_of_changing_size_do_not_confuse_the_follower() -> None:
    decoder = patient()
    sample = frames.single(35, "glare", 5, 120)
    for size in ((1280, 720), (640, 360), (320, 240), (1280, 720), (200, 700)):
        for code in decoder.read(np.asarray(cv2.resize(sample.image, size), np.uint8)):
            assert code.text == sample.text


def test_ten_codes_in_one_picture_are_all_read() -> None:
    picture = np.full((800, 1600), 255, np.uint8)
    for i in range(10):
        code = draw_code(f"JK1:CODE{i}", pixels_per_module=6)
        y, x = i // 5 * 380 + 20, i % 5 * 300 + 20
        picture[y : y + len(code), x : x + len(code)] = code
    assert sorted(texts(Decoder().read_still(picture))) == [f"JK1:CODE{i}" for i in range(10)]


@pytest.mark.slow
def test_a_small_code_in_a_twelve_thousand_pixel_picture_is_read() -> None:
    picture = np.full((12000, 12000), 255, np.uint8)
    code = draw_code("JK1:FAR AWAY", pixels_per_module=5)
    picture[3000 : 3000 + len(code), 7000 : 7000 + len(code)] = code
    (read,) = patient().read_still(picture)
    assert read.text == "JK1:FAR AWAY"
    assert abs(read.corners[0][0] - 7020) < 8


@pytest.mark.slow
def test_memory_of_the_decoder_is_bounded() -> None:
    """What is kept between frames is one followed symbol and one small view, whatever was seen."""
    decoder = Decoder()
    for i in range(12):
        decoder.read(frames.single(36 + i, "glare", 5, 120 if i % 2 else 350).image)
    kept = decoder._follow
    assert kept is None or kept.fusion._sum.nbytes < 4e6
    assert len(decoder._costs._mean) <= len(GUESSES)


FPS = 5


def unhurried(steady: Callable[[], float]) -> Decoder:
    """A decoder with four times the usual time for each frame, on any machine."""
    return Decoder(clock=lambda: time.thread_time() / 4, steady=steady)


def unread_after(views: Iterable[NDArray[np.uint8]]) -> float:
    """The longest time for which a code was held up unread, by the decoder's steady clock."""
    now, longest = [0.0], 0.0
    decoder = unhurried(lambda: now[0])
    for view in views:
        decoder.read(view)
        longest = max(longest, decoder.unread_for_s)
        now[0] += 1 / FPS
    return longest


@pytest.mark.slow
def test_a_code_that_cannot_be_read_is_known_to_be_held_up() -> None:
    scene = Scene(seed=3)
    scene.show("HC1:" + "ABCDE12345" * 12, Style.UNREADABLE, at_s=0.0)
    assert unread_after(scene.frame(i / FPS) for i in range(28)) > 2.5


@pytest.mark.slow
def test_a_code_that_is_read_ends_the_wait() -> None:
    scene = Scene(seed=4)
    scene.show("JK1:UNREADABLE AT FIRST", Style.UNREADABLE, at_s=0.0)
    now = [0.0]
    decoder = unhurried(lambda: now[0])
    for i in range(20):
        now[0] = i / FPS
        decoder.read(scene.frame(now[0]))
    assert decoder.unread_for_s > 0.5
    lobby = scene.frame(0.0)
    code = draw_code("JK1:NOW IN FOCUS", pixels_per_module=8)
    lobby[100 : 100 + len(code), 500 : 500 + len(code)] = code[..., None]
    assert texts(decoder.read(lobby))
    assert decoder.unread_for_s == 0


@pytest.mark.slow
def test_lobbies_posters_and_passers_by_are_no_unread_codes() -> None:
    def noisy(view: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
        noise = np.random.default_rng(seed).normal(0, 3, view.shape[:2])[..., None]
        return np.clip(view + noise, 0, 255).astype(np.uint8)

    assert unread_after(frames.empty(300 + i).image for i in range(10)) == 0
    passing = Scene(seed=5)
    passing.show("JK1:READ", at_s=0.0)
    assert unread_after(passing.frame(i / FPS) for i in range(18)) == 0
    # an unreadable code on a poster that hangs still, and somebody who walks past it
    poster = cv2.GaussianBlur(draw_code("HTTPS://EXAMPLE.ORG/" + "A" * 40, pixels_per_module=6), (0, 0), 6)
    wall = frames.empty(300).image
    wall[60 : 60 + len(poster), 60 : 60 + len(poster)] = poster[..., None]

    def walk() -> Iterator[NDArray[np.uint8]]:
        for i in range(24):
            view = noisy(wall, i)
            cv2.rectangle(view, (1000 - 40 * i, 200), (1140 - 40 * i, 719), (60, 50, 90), -1)
            yield view

    assert unread_after(walk()) == 0
