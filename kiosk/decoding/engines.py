"""The two engines behind one shape: zxing-cpp, which also says what it found and could not read, and zbar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

try:
    import zxingcpp
except ImportError:  # the kiosk then runs on zbar alone, or on typed entry (D-14)
    zxingcpp = None  # type: ignore[assignment,unused-ignore]
try:
    from pyzbar import pyzbar
except (ImportError, OSError):  # pyzbar raises ImportError when libzbar0 itself is missing
    pyzbar = None

Image = NDArray[np.uint8]
Corners = tuple[tuple[float, float], tuple[float, float], tuple[float, float], tuple[float, float]]

LONGEST_TEXT = 7089  # digits in a version 40-L symbol (ISO/IEC 18004 table 7): nothing real is longer
SHORTEST_AZTEC = 12  # characters: small Aztec symbols have so few check words that noise can look like one


NOISY, VERY_NOISY = 7, 15  # grey levels from pixel to pixel, the median of a frame; 1 to 3 in good light


@dataclass(frozen=True, slots=True)
class Code:
    """One code that was read."""

    text: str
    format: str  # "QRCode" or "Aztec"
    engine: str  # engine and preparation, for example "zxing" or "zxing+unsharp"
    corners: Corners  # (x, y) in pixels of the picture: top left, top right, bottom right, bottom left of the code


@dataclass(frozen=True, slots=True)
class Unread:
    """A QR symbol that zxing-cpp found without being able to correct its errors."""

    corners: Corners
    version: int


def available() -> list[str]:
    """The engines that can be used here; empty means that the kiosk cannot read codes by camera."""
    return [name for name, there in (("zxing", zxingcpp), ("zbar", pyzbar)) if there is not None]


def read_zxing(
    grey: Image, engine: str, *, scale: float = 1.0, offset: tuple[float, float] = (0.0, 0.0), aztec: bool = False
) -> tuple[list[Code], list[Unread]]:
    """What zxing-cpp reads in *grey*, and the QR symbols it found but could not read.

    *grey* may be a part of the picture, *scale* times enlarged and *offset* pixels from its corner: corners are given
    in pixels of the whole picture.
    """
    if zxingcpp is None or min(grey.shape) < 8:
        return [], []
    # Model 2 alone: the QRCode family holds Micro QR, which is seen inside real symbols. Plain: the default text mode
    # rewrites control characters and GS1 data.
    formats: Any = [zxingcpp.BarcodeFormat.QRCodeModel2]
    if aztec:
        formats.append(zxingcpp.BarcodeFormat.AztecCode)
    codes: list[Code] = []
    unread: list[Unread] = []
    for found in zxingcpp.read_barcodes(grey, formats=formats, text_mode=zxingcpp.TextMode.Plain, return_errors=True):
        place = found.position
        a, b, c, d = (
            (p.x / scale + offset[0], p.y / scale + offset[1])
            for p in (place.top_left, place.top_right, place.bottom_right, place.bottom_left)
        )
        is_aztec = found.format == zxingcpp.BarcodeFormat.AztecCode
        if found.valid:
            text = found.text
            if 0 < len(text) <= LONGEST_TEXT and not (is_aztec and len(text) < SHORTEST_AZTEC):
                codes.append(Code(text, "Aztec" if is_aztec else "QRCode", engine, (a, b, c, d)))
        elif not is_aztec:
            extra: Any = found.extra or {}
            version = str(extra.get("Version", ""))
            if version.isdigit() and 1 <= int(version) <= 40:
                unread.append(Unread((a, b, c, d), int(version)))
    return _without_doubles(codes), unread


def read_zbar(grey: Image, engine: str, *, scale: float = 1.0, offset: tuple[float, float] = (0.0, 0.0)) -> list[Code]:
    """What zbar reads in *grey*; arguments as for `read_zxing`. Only UTF-8 counts: zbar guesses other texts."""
    if pyzbar is None or min(grey.shape) < 8:
        return []
    codes = []
    for found in pyzbar.decode(np.ascontiguousarray(grey), symbols=[pyzbar.ZBarSymbol.QRCODE]):
        try:
            text = found.data.decode("utf-8")
        except UnicodeDecodeError:
            continue
        if not 0 < len(text) <= LONGEST_TEXT:
            continue
        points = [(p.x, p.y) for p in found.polygon]
        if len(points) != 4:
            left, top, width, height = found.rect
            points = [(left, top), (left + width, top), (left + width, top + height), (left, top + height)]
        a, b, c, d = ((x / scale + offset[0], y / scale + offset[1]) for x, y in points)
        codes.append(Code(text, "QRCode", engine, (a, b, c, d)))
    return _without_doubles(codes)


def _without_doubles(codes: list[Code]) -> list[Code]:
    """One code a text; the first wins."""
    return list({code.text: code for code in reversed(codes)}.values())[::-1]


def soften(grey: Image) -> Image:
    """The mean of 3x3 pixels: for noise and moire."""
    return np.asarray(cv2.blur(grey, (3, 3)), np.uint8)


def calm(grey: Image) -> Image:
    """*grey* as it is, or as softened as its noise asks for: a dim frame is read better so, and in half the time."""
    row = grey[:: max(1, grey.shape[0] // 24)]
    steps = np.bincount(cv2.absdiff(row[:, 1:], row[:, :-1]).reshape(-1), minlength=256).cumsum()
    usual = int(steps.searchsorted(steps[-1] / 2))
    if usual < NOISY:
        return grey
    size = 3 if usual < VERY_NOISY else 5
    return np.asarray(cv2.blur(grey, (size, size)), np.uint8)


def sharpen(grey: Image, sigma: float, gain: float) -> Image:
    """An unsharp mask: for blur and small modules."""
    return np.asarray(cv2.addWeighted(grey, 1 + gain, cv2.GaussianBlur(grey, (0, 0), sigma), -gain, 0), np.uint8)
