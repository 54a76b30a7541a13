"""Makes camera frames of phone-shown codes that are hard to read, by family and level, with exact truth.

The families and levels follow the measurements the decoder was planned with: eleven kinds of degradation, five levels
each, four payload lengths. `single` makes one frame, `Hold` a second of film of a hand-held phone. Everything comes
from the seed, so a set is a list of numbers and is never stored.

  ./run bench frames                      draw the ranges of the holds again from what zxing-cpp alone reads of them
  ./run bench frames --families motion    one family; the frozen ranges are printed and written into this file
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import qrcode
from numpy.typing import NDArray

from kiosk.decoding.engines import read_zxing

WIDTH, HEIGHT = 1280, 720
BASE45 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
LENGTHS = (40, 120, 350, 700)

# family -> the knob's value at levels 1 to 5
LEVELS: dict[str, tuple[float, ...]] = {
    "clean": (0, 0, 0, 0, 0),
    "tilt": (22, 32, 42, 50, 57),  # degrees
    "defocus": (0.34, 0.45, 0.56, 0.67, 0.78),  # gaussian sigma in modules
    "motion": (0.9, 1.3, 1.7, 2.15, 2.6),  # streak in modules
    "glare": (0.03, 0.075, 0.12, 0.165, 0.21),  # share of the code blown out
    "lowlight": (10, 18, 27, 35, 44),  # noise sigma in grey levels
    "small": (3.4, 2.6, 2.1, 1.7, 1.4),  # pixels a module
    "inverted": (0.15, 0.25, 0.35, 0.45, 0.55),  # blur sigma in modules, light on dark
    "occlusion": (0.03, 0.065, 0.10, 0.14, 0.18),  # share of the code covered
    "moire": (0.18, 0.30, 0.42, 0.54, 0.66),  # amplitude of the stripes
    "mixed": (1, 2, 3, 4, 5),  # three of the above at once, each at a lower level
}
FAMILIES = tuple(LEVELS)

Image = NDArray[np.uint8]
Float = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sample:
    """One frame with the text that is in it; an empty text means that there is no code."""

    image: Image  # (720, 1280, 3) BGR
    text: str
    family: str
    level: int
    corners: NDArray[np.float64]  # (4, 2): the code's corners in pixels


@dataclass(frozen=True, slots=True)
class Look:
    """Everything that is wrong with one view, so that families can be mixed and change over time."""

    tilt_deg: float = 0.0
    tilt_axis: float = 0.0
    defocus: float = 0.0  # modules
    motion: float = 0.0  # modules
    motion_angle: float = 0.0
    glare: float = 0.0  # share of the code
    glare_at: tuple[float, float] = (0.5, 0.5)  # in units of the code
    glare_angle: float = 0.0
    noise: float = 0.0
    pixels_per_module: float = 0.0  # 0: by the room there is
    inverted: bool = False
    cover: float = 0.0
    cover_at: tuple[float, float] = (0.5, 0.5)
    cover_kind: str = "thumb"
    cover_angle: float = 0.0
    moire: float = 0.0
    turn_deg: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)  # of the phone's middle from the picture's middle, in pixels


def payload(random: np.random.Generator, length: int) -> str:
    """A text of *length* characters that looks like an EU certificate: HC1: and base 45."""
    return "HC1:" + "".join(BASE45[i] for i in random.integers(0, 45, length - 4))


def modules_of(text: str, level: str) -> NDArray[np.uint8]:
    """The symbol's modules, 1 for dark, without quiet zone."""
    levels = {"L": qrcode.ERROR_CORRECT_L, "M": qrcode.ERROR_CORRECT_M, "Q": qrcode.ERROR_CORRECT_Q}
    code = qrcode.QRCode(error_correction=levels[level], border=0)
    code.add_data(text)
    code.make(fit=True)
    return np.array(code.get_matrix(), np.uint8)


class Phone:
    """A phone or paper that shows one code: draws itself into a lobby under any look."""

    def __init__(self, random: np.random.Generator, text: str, inverted: bool = False) -> None:
        self.text = text
        self._random = random
        self.modules = modules_of(text, str(random.choice(["L", "M", "Q"])))
        self.count = self.modules.shape[0]
        self._inverted = inverted
        self._lobby = draw_lobby(random)
        self._fixed = random.normal(0, 1, (HEIGHT, WIDTH)).astype(np.float32)  # for the sensor's fixed pattern
        self._texture_scale = 0

    def room_for(self) -> float:
        """Pixels a module at which the code fills the usual share of the picture."""
        return float(np.clip(self._random.uniform(330, 430) / self.count, 3.5, 7.5))

    def _texture(self, scale: int) -> tuple[Float, tuple[float, float, float]]:
        """The phone drawn upright at *scale* pixels a module; and where the code starts and how wide it is."""
        n = self.count
        quiet = 4
        card = (n + 2 * quiet) * scale
        head, foot, bezel = int(card * 0.16), int(card * 0.22), int(card * 0.035)
        paper, ink = (244.0, 18.0) if not self._inverted else (22.0, 236.0)
        screen = 226.0 if not self._inverted else 30.0
        body = np.full((head + card + foot + 2 * bezel, card + 4 * bezel), 24.0, np.float32)
        body[bezel:-bezel, bezel:-bezel] = screen
        body[bezel : bezel + head // 2, bezel:-bezel] = 104.0
        left, top = 2 * bezel, bezel + head
        body[top : top + card, left : left + card] = paper
        code = np.where(self.modules > 0, ink, paper).astype(np.float32).repeat(scale, 0).repeat(scale, 1)
        x, y = left + quiet * scale, top + quiet * scale
        body[y : y + n * scale, x : x + n * scale] = code
        for row in range(2):
            text_y = top + card + int(foot * (0.2 + 0.35 * row))
            length = int(card * (0.5 + 0.3 * row))
            for word in range(left, left + length, max(6, card // 14)):
                cv2.putText(body, "ab", (word, text_y), 0, card / 900, 90.0, max(1, card // 300), cv2.LINE_AA)
        return body, (float(x), float(y), float(n * scale))

    def view(self, look: Look, random: np.random.Generator) -> tuple[Image, NDArray[np.float64]]:
        """Photograph it: the frame and the code's corners in it."""
        ppm = look.pixels_per_module or self.room_for()
        scale = max(2, math.ceil(ppm * 2))
        if scale != self._texture_scale:
            self._cached = self._texture(scale)
            self._texture_scale = scale
        body, (x, y, side) = self._cached
        corners3 = np.array([[0, 0], [body.shape[1], 0], [body.shape[1], body.shape[0]], [0, body.shape[0]]], float)
        place = _project(corners3 - (x + side / 2, y + side / 2), ppm / scale, look)
        code3 = np.array([[x, y], [x + side, y], [x + side, y + side], [x, y + side]])
        code = _project(code3 - (x + side / 2, y + side / 2), ppm / scale, look)
        picture = self._lobby.copy()
        low = np.maximum(np.floor(place.min(0)).astype(int) - 2, 0)
        high = np.minimum(np.ceil(place.max(0)).astype(int) + 2, (WIDTH, HEIGHT))
        size = high - low
        if (size <= 0).any():
            raise ValueError("the phone is outside the picture")
        matrix = cv2.getPerspectiveTransform(corners3.astype(np.float32), ((place - low) * 2).astype(np.float32))
        double = (int(size[0]) * 2, int(size[1]) * 2)
        layer = cv2.warpPerspective(body, matrix, double, flags=cv2.INTER_LINEAR)
        alpha = cv2.warpPerspective(np.ones_like(body), matrix, double, flags=cv2.INTER_LINEAR)
        layer = cv2.resize(layer, (int(size[0]), int(size[1])), interpolation=cv2.INTER_AREA)
        alpha = cv2.resize(alpha, (int(size[0]), int(size[1])), interpolation=cv2.INTER_AREA)
        region = picture[low[1] : high[1], low[0] : high[0]]
        region[:] = region * (1 - alpha[..., None]) + layer[..., None] * np.array([1.0, 1.0, 0.98], np.float32)
        self._fingers(picture, place)
        unit = cv2.getPerspectiveTransform(
            np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32), code.astype(np.float32)
        )
        code_pixels = math.sqrt(abs(cv2.contourArea(code.astype(np.float32))))
        module = code_pixels / self.count
        if look.cover > 0:
            _cover(picture, unit, code_pixels, look)
        # the lobby is out of focus as it is: only round the phone can anybody see what the optics do
        reach = math.ceil(4 * module * max(look.defocus, look.motion)) + 8
        near = np.maximum(low - reach, 0), np.minimum(high + reach, (WIDTH, HEIGHT))
        seen = picture[near[0][1] : near[1][1], near[0][0] : near[1][0]]
        seen[:] = _optics(seen.copy(), look, module)
        if look.glare > 0:
            _glare(picture, unit, code_pixels, look)
        if look.moire > 0:
            _moire(picture, look.moire, random)
        return self._sensor(picture, look, random), code

    def _fingers(self, picture: Float, place: NDArray[np.float64]) -> None:
        for a, b, t in ((0, 3, 0.78), (1, 2, 0.7), (1, 2, 0.84)):
            at = place[a] * (1 - t) + place[b] * t
            size = float(np.clip(np.linalg.norm(place[1] - place[0]) / 480, 0.05, 1.0))
            cv2.ellipse(
                picture,
                (int(at[0]), int(at[1])),
                (int(26 * size), int(15 * size)),
                0,
                0,
                360,
                (128, 156, 204),
                -1,
                cv2.LINE_AA,
            )

    def _sensor(self, picture: Float, look: Look, random: np.random.Generator) -> Image:
        picture = picture * _vignette()
        noise = 2.0 + 1.5 * random.random()
        if look.noise > 0:
            picture = 34 + picture * 0.36  # dim and flat
            noise = look.noise
        picture += cv2.randn(np.empty((HEIGHT, WIDTH), np.float32), 0, noise)[..., None]
        chroma = cv2.randn(np.empty((HEIGHT // 2, WIDTH // 2, 3), np.float32), 0, noise * 0.5)
        picture += cv2.resize(chroma, (WIDTH, HEIGHT))
        quality = int(random.integers(72, 93))
        raw = np.clip(picture, 0, 255).astype(np.uint8)
        jpeg = cv2.imencode(".jpg", raw, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8)


@lru_cache(maxsize=1)
def _vignette() -> Float:
    yy, xx = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    r2 = ((xx - WIDTH / 2) ** 2 + (yy - HEIGHT / 2) ** 2) / (WIDTH / 2) ** 2
    return np.asarray((1 - 0.14 * r2)[..., None], np.float32)


def draw_lobby(random: np.random.Generator) -> Float:
    """A blurred entrance: floor, wall, lamps, a poster with lines of text, a grille, somebody's head and shoulders."""
    picture = np.full((HEIGHT, WIDTH, 3), random.uniform(90, 190), np.float32)
    picture[int(HEIGHT * random.uniform(0.6, 0.8)) :] *= random.uniform(0.5, 0.8)
    for _ in range(int(random.integers(2, 5))):
        x, y = int(random.integers(0, WIDTH)), int(random.integers(0, HEIGHT // 2))
        w, h = int(random.integers(80, 260)), int(random.integers(80, 300))
        colour = tuple(float(v) for v in random.uniform(40, 240, 3))
        cv2.rectangle(picture, (x, y), (x + w, y + h), colour, -1)
        for row in range(y + 14, y + h - 8, 14):
            cv2.line(picture, (x + 8, row), (x + 8 + int(random.integers(20, max(21, w - 10))), row), (60, 60, 60), 3)
    x0 = int(random.integers(0, WIDTH - 200))
    for x in range(x0, x0 + 180, int(random.integers(9, 18))):  # a grille
        cv2.line(picture, (x, 60), (x, 330), (50, 50, 50), 4)
    for _ in range(3):
        at = (int(random.integers(0, WIDTH)), int(random.integers(0, 140)))
        cv2.ellipse(picture, at, (60, 14), 0, 0, 360, (252, 252, 252), -1)
    cx = WIDTH // 2 + int(random.integers(-160, 160))
    coat = tuple(float(v) for v in random.uniform(30, 150, 3))
    cv2.ellipse(picture, (cx, 700), (300, 330), 0, 180, 360, coat, -1)
    cv2.ellipse(picture, (cx, 200), (95, 125), 0, 0, 360, (130, 160, 205), -1)
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), float(random.uniform(2.5, 5))), np.float32)


def _project(points: NDArray[np.float64], scale: float, look: Look) -> NDArray[np.float64]:
    """Pinhole view of points in the phone's plane: turned in it, tilted about an axis in it, shifted."""
    turn, tilt, axis = math.radians(look.turn_deg), math.radians(look.tilt_deg), look.tilt_axis
    p = points * scale @ np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    along = np.array([math.cos(axis), math.sin(axis)])
    across = np.array([-math.sin(axis), math.cos(axis)])
    u, v = p @ along, p @ across
    depth = 1 + v * math.sin(tilt) / 1100.0  # focal length 1100 pixels: a usual 60 degree module
    u, v = u / depth, v * math.cos(tilt) / depth
    return u[:, None] * along + v[:, None] * across + (WIDTH / 2, HEIGHT / 2) + np.array(look.shift)


def _optics(picture: Float, look: Look, module: float) -> Float:
    if look.defocus > 0:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), look.defocus * module), np.float32)
    if look.motion > 0:
        length = look.motion * module
        half = math.ceil(length / 2) + 1
        fine = 8
        size = (2 * half + 1) * fine
        kernel = np.zeros((size, size), np.float32)
        dx, dy = math.cos(look.motion_angle) * length / 2 * fine, math.sin(look.motion_angle) * length / 2 * fine
        middle = size / 2 - 0.5
        steps = np.linspace(-1, 1, size * 4)
        np.add.at(kernel, (np.rint(middle + steps * dy).astype(int), np.rint(middle + steps * dx).astype(int)), 1.0)
        small = cv2.resize(kernel, (2 * half + 1, 2 * half + 1), interpolation=cv2.INTER_AREA)
        picture = np.asarray(cv2.filter2D(picture, -1, small / small.sum()), np.float32)
    return picture


def _blob(unit: NDArray[np.float64], at: tuple[float, float], a: float, b: float, angle: float) -> NDArray[np.int32]:
    """An ellipse with half axes a, b in units of the code, as a polygon in the picture."""
    t = np.linspace(0, 2 * math.pi, 48)
    c, s = math.cos(angle), math.sin(angle)
    x = at[0] + a * np.cos(t) * c - b * np.sin(t) * s
    y = at[1] + a * np.cos(t) * s + b * np.sin(t) * c
    points = cv2.perspectiveTransform(np.stack([x, y], 1)[None].astype(np.float32), unit)[0]
    return np.rint(points).astype(np.int32)


def _glare(picture: Float, unit: NDArray[np.float64], side: float, look: Look) -> None:
    ratio = 1.8
    b = math.sqrt(look.glare / math.pi / ratio)
    light = np.zeros(picture.shape[:2], np.float32)
    cv2.fillPoly(light, [_blob(unit, look.glare_at, b * ratio * 0.94, b * 0.94, look.glare_angle)], 420.0)
    light = cv2.GaussianBlur(light, (0, 0), max(1.0, side * 0.012))
    haze = cv2.GaussianBlur(cv2.resize(light, (320, 180)), (0, 0), side * 0.02) * 0.16
    picture += (light + cv2.resize(haze, (WIDTH, HEIGHT)))[..., None]
    np.minimum(picture, 262, out=picture)


def _cover(picture: Float, unit: NDArray[np.float64], side: float, look: Look) -> None:
    if look.cover_kind == "crack":
        width = math.sqrt(look.cover) * 0.16
        start = np.array(look.cover_at)
        for i in range(5):
            angle = look.cover_angle + i * 1.256
            along = np.array([math.cos(angle), math.sin(angle)])
            end = start + 0.62 * look.cover / (0.108 + look.cover * 0.4) * along
            bend = (start + end) / 2 + width * 0.6 * np.array([along[1], along[0]])
            path = np.stack([start, bend, end])
            points = cv2.perspectiveTransform(path[None].astype(np.float32), unit)[0]
            thick = max(1, int(look.cover * side * 0.32))
            cv2.polylines(picture, [np.rint(points).astype(np.int32)], False, (168, 168, 168), thick, cv2.LINE_AA)
        return
    if look.cover_kind == "sticker":
        half = math.sqrt(look.cover) / 2
        c, s = math.cos(look.cover_angle), math.sin(look.cover_angle)
        square = np.array([[-half, -half], [half, -half], [half, half], [-half, half]])
        square = square @ np.array([[c, s], [-s, c]]) + look.cover_at
        points = cv2.perspectiveTransform(square[None].astype(np.float32), unit)[0]
        cv2.fillPoly(picture, [np.rint(points).astype(np.int32)], (60, 160, 220), cv2.LINE_AA)
        return
    b = math.sqrt(look.cover / math.pi / 1.5)
    blob = _blob(unit, look.cover_at, b * 1.5, b, look.cover_angle)
    cv2.fillPoly(picture, [blob], (122, 150, 200), cv2.LINE_AA)
    cv2.polylines(picture, [blob], True, (92, 112, 156), 2, cv2.LINE_AA)


def _moire(picture: Float, amplitude: float, random: np.random.Generator) -> None:
    yy, xx = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    stripes = np.zeros((HEIGHT, WIDTH), np.float32)
    for _ in range(2):
        angle, period = random.uniform(0, math.pi), random.uniform(5, 42)
        stripes += np.sin((xx * math.cos(angle) + yy * math.sin(angle)) * 2 * math.pi / period + random.uniform(0, 6))
    gain = 1 + amplitude * 0.36 * stripes
    if random.random() < 0.4:
        gain += amplitude * 0.5 * np.sin(yy * 2 * math.pi / random.uniform(90, 260) + random.uniform(0, 6))
    picture *= np.clip(gain, 0.02, 2)[..., None]


def look_for(family: str, level: int, random: np.random.Generator) -> Look:
    """The look of *family* at *level* 1 to 5, everything else as it happens to be."""
    knob = LEVELS[family][level - 1]
    base: dict[str, object] = {
        "tilt_deg": float(random.uniform(0, 14)),
        "tilt_axis": float(random.uniform(0, math.pi)),
        "turn_deg": float(random.normal(0, 6)),
        "shift": (float(random.uniform(-120, 120)), float(random.uniform(-30, 30))),
    }
    if family == "mixed":
        parts = random.choice([f for f in FAMILIES if f not in ("clean", "mixed")], 3, replace=False)
        for part in parts:
            values = LEVELS[part]
            share = (level - 1) / 4 * 0.62
            knobs = values[0] + (values[4] - values[0]) * share if part != "small" else values[0] - 1.1 * share
            base |= _part(str(part), float(knobs), random)
    else:
        base |= _part(family, knob, random)
    return Look(**base)  # type: ignore[arg-type]


def _part(family: str, knob: float, random: np.random.Generator) -> dict[str, object]:
    angle = float(random.uniform(0, 2 * math.pi))
    at = (float(random.uniform(0.08, 0.92)), float(random.uniform(0.08, 0.92)))
    match family:
        case "tilt":
            return {"tilt_deg": knob}
        case "defocus":
            return {"defocus": knob}
        case "motion":
            return {"motion": knob, "motion_angle": angle, "defocus": 0.18}
        case "glare":
            return {"glare": knob, "glare_at": at, "glare_angle": angle}
        case "lowlight":
            return {"noise": knob}
        case "small":
            return {"pixels_per_module": knob}
        case "inverted":
            return {"inverted": True, "defocus": knob}
        case "occlusion":
            kind = str(random.choice(["thumb", "sticker", "crack"]))
            return {"cover": knob, "cover_at": at, "cover_kind": kind, "cover_angle": angle}
        case "moire":
            return {"moire": knob}
    return {}


def single(seed: int, family: str, level: int, length: int) -> Sample:
    """One frame of *family* at *level* (1 to 5) with a text of *length* characters; the same for the same numbers."""
    random = np.random.default_rng((seed, FAMILIES.index(family), level, length))
    cv2.setRNGSeed(int(random.integers(0, 2**31 - 1)))
    look = look_for(family, level, random)
    phone = Phone(random, payload(random, length), look.inverted)
    image, corners = phone.view(look, random)
    return Sample(image, phone.text, family, level, corners)


def single_set(seeds: tuple[int, ...], families: tuple[str, ...] = FAMILIES) -> Iterator[Sample]:
    """Every family, level and length, once a seed."""
    for seed in seeds:
        for family in families:
            for level in range(1, 6):
                for length in LENGTHS:
                    yield single(seed, family, level, length)


def empty(seed: int) -> Sample:
    """A lobby in which nobody shows anything."""
    random = np.random.default_rng((seed, 99))
    cv2.setRNGSeed(int(random.integers(0, 2**31 - 1)))
    phone = Phone(random, "HC1:NOTHING")
    image = phone._sensor(draw_lobby(random), Look(), random)
    return Sample(image, "", "empty", 0, np.zeros((4, 2)))


# --- sequences: one second of a hand-held phone ---------------------------------------------------------------------

HOLD_FPS = 30
HOLD_FRAMES = 30
HOLDS = ("tilt", "defocus", "motion", "glare", "occlusion", "lowlight", "inverted")

# family -> values of the knob between which the calibration looks
HOLD_SEARCH: dict[str, tuple[float, float]] = {
    "tilt": (46, 74),
    "defocus": (0.35, 0.9),
    "motion": (1.0, 3.6),
    "glare": (0.06, 0.4),
    "occlusion": (0.06, 0.4),
    "lowlight": (14, 70),
    "inverted": (0.35, 0.9),
}
CALIBRATED_WITH = 300  # seed; measure with others

# family -> (easiest, hardest) value of the knob, frozen by `calibrate`, which knows nothing but zxing-cpp: on every
# frame it reads about half of the presentations of each family
HOLD_RANGE: dict[str, tuple[float, float]] = {
    "tilt": (68.3, 75.3),
    "defocus": (0.453, 0.591),
    "motion": (2.06, 2.71),
    "glare": (0.135, 0.22),
    "occlusion": (0.103, 0.188),
    "lowlight": (28.9, 42.9),
    "inverted": (0.462, 0.599),
}


@dataclass(frozen=True, slots=True)
class Hold:
    """A presentation: the frames of one second in which somebody holds up a phone, and the text it shows."""

    text: str
    family: str
    frames: tuple[bytes, ...]  # JPEG files, as a camera sends them


def hold(seed: int, family: str, index: int, *, frames: int = HOLD_FRAMES) -> Hold:
    """Film presentation number *index* of *family*: the hand trembles, the glare and the finger move over the code.

    Motion changes its direction and strength as a hand does; defocus hunts; nothing is ever quite still.
    """
    text, film = filming(seed, family, index, frames=frames)
    return Hold(text, family, tuple(film))


def filming(
    seed: int, family: str, index: int, *, frames: int = HOLD_FRAMES, knob: float | None = None
) -> tuple[str, Iterator[bytes]]:
    """As `hold`, frame by frame: the text, and the frames as they are asked for; *knob* instead of one in the range."""
    random = np.random.default_rng((seed, 1000 + FAMILIES.index(family), index))
    cv2.setRNGSeed(int(random.integers(0, 2**31 - 1)))
    low, high = HOLD_RANGE[family]
    drawn = low + (high - low) * float(random.random())
    knob = drawn if knob is None else knob
    length = LENGTHS[index % len(LENGTHS)]
    phone = Phone(random, payload(random, length), family == "inverted")
    return phone.text, _film(random, phone, family, knob, frames)


def _film(random: np.random.Generator, phone: Phone, family: str, knob: float, frames: int) -> Iterator[bytes]:
    t = np.arange(frames) / HOLD_FPS
    tremor = [_tremor(random, t) for _ in range(6)]
    room = phone.room_for()
    start = random.uniform(-100, 100), random.uniform(-25, 25)
    axis, angle = float(random.uniform(0, math.pi)), float(random.uniform(0, 2 * math.pi))
    sweep = float(random.uniform(0.25, 0.6))  # of the code's side in this second
    at = random.uniform(0.2, 0.8, 2) - sweep / 2 * np.array([math.cos(angle), math.sin(angle)])
    kind = str(random.choice(["thumb", "sticker", "crack"])) if family == "occlusion" else "thumb"
    cover_angle = float(random.uniform(0, 6.28))
    direction = float(random.uniform(0, math.pi))
    for i in range(frames):
        x, y, turn, tilt, focus, smear = (float(path[i]) for path in tremor)
        where = at + sweep * t[i] * np.array([math.cos(angle), math.sin(angle)])
        look: dict[str, object] = {
            "tilt_deg": abs(8 + 3 * tilt),
            "tilt_axis": axis,
            "turn_deg": 4 * turn,
            "shift": (start[0] + 9 * x + 12 * math.sin(t[i] * 2), start[1] + 7 * y),
            "pixels_per_module": room,
            "defocus": 0.12 + 0.04 * abs(focus),
        }
        match family:
            case "tilt":
                look |= {"tilt_deg": knob + 2 * tilt}
            case "defocus":
                look |= {"defocus": max(0.1, knob * (1 + 0.06 * focus))}
            case "motion":
                look |= {"motion": knob * (1 + 0.22 * smear), "motion_angle": direction + 0.9 * turn}
            case "glare":
                look |= {"glare": knob, "glare_at": (float(where[0]), float(where[1])), "glare_angle": cover_angle}
            case "occlusion":
                look |= {"cover": knob, "cover_at": (float(where[0]), float(where[1])), "cover_kind": kind}
                look |= {"cover_angle": cover_angle + t[i]}
            case "lowlight":
                look |= {"noise": knob, "defocus": 0.2}
            case "inverted":
                look |= {"inverted": True, "defocus": max(0.1, knob * (1 + 0.06 * focus))}
        image, _ = phone.view(Look(**look), random)  # type: ignore[arg-type]
        jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
        yield jpeg.tobytes()


def _tremor(random: np.random.Generator, t: NDArray[np.float64]) -> NDArray[np.float64]:
    """A smooth wandering between about -1 and 1: a few slow waves, as a hand makes."""
    waves = [(random.uniform(0.4, 2.2), random.uniform(0, 6.28), random.uniform(0.3, 0.6)) for _ in range(3)]
    return np.asarray(sum(a * np.sin(2 * math.pi * f * t + p) for f, p, a in waves), np.float64)


def unpack(jpeg: bytes) -> Image:
    """A frame of a `Hold` as the decoder takes it."""
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)


# --- the ranges of the holds ------------------------------------------------------------------------------------------


def _engine_reads(seed: int, family: str, index: int, knob: float | None = None) -> bool:
    """Whether zxing-cpp reads a presentation in any of its frames."""
    text, film = filming(seed, family, index, knob=knob)
    for jpeg in film:
        grey = np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE), np.uint8)
        if any(code.text == text for code in read_zxing(grey, "zxing")[0]):
            return True
    return False


def calibrate(family: str, *, count: int = 16, seed: int = CALIBRATED_WITH) -> tuple[float, float, float]:
    """The range of *family* of which zxing-cpp alone reads about half; and the share that it read last.

    Looks at *count* presentations, a multiple of 16, over the whole of HOLD_SEARCH for the knob at which reads turn
    into misses, then at *count* others in a quarter of HOLD_SEARCH round it, and moves that by what it reads too many
    or too few.
    """
    low, high = HOLD_SEARCH[family]
    # each length of text meets every part of the search
    knobs = [low + (high - low) * ((i // 4 * 4 + (i + i // 4) % 4) + 0.5) / count for i in range(count)]
    seen = [(knob, _engine_reads(seed, family, i, knob)) for i, knob in enumerate(knobs)]
    cuts = [low, *sorted(knobs), high]
    middle = float(np.median([c for c in cuts if _wrong_side(seen, c) == min(_wrong_side(seen, c) for c in cuts)]))
    half = (high - low) / 8
    share = 0.0
    for turn in range(3):
        spread = [middle - half + 2 * half * (i + 0.5) / count for i in range(count)]
        order = np.random.default_rng((seed, turn)).permutation(count)
        share = sum(_engine_reads(seed + 1 + turn, family, i, spread[order[i]]) for i in range(count)) / count
        if 0.4 <= share <= 0.6:
            break
        middle += 2 * half * (share - 0.5)
    return middle - half, middle + half, share


def _wrong_side(seen: list[tuple[float, bool]], cut: float) -> int:
    return sum(read == (knob > cut) for knob, read in seen)


def run(argv: Sequence[str]) -> int:
    """Calibrate the holds and write their ranges into this file."""
    parser = argparse.ArgumentParser(prog="run bench frames", description=__doc__)
    parser.add_argument("--families", default=",".join(HOLDS))
    parser.add_argument("--print-only", action="store_true")
    args = parser.parse_args(list(argv))
    cv2.setNumThreads(1)
    for family in args.families.split(","):
        easiest, hardest, share = calibrate(family)
        print(f'    "{family}": ({easiest:.3g}, {hardest:.3g}),  # zxing-cpp reads {share:.0%}', flush=True)
        if not args.print_only:
            source = Path(__file__)
            head, ranges = source.read_text("utf-8").split("HOLD_RANGE: dict", 1)
            line = f'"{family}": ({easiest:.3g}, {hardest:.3g}),'
            source.write_text(
                head + "HOLD_RANGE: dict" + re.sub(rf'"{family}": \([^)]*\),', line, ranges, count=1), "utf-8"
            )
    return 0
