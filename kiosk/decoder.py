"""From pixels to code texts: the fast engine first on every frame, then retries until the frame's time is spent."""

from __future__ import annotations

import time
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Code:
    """One code that was read."""

    text: str
    format: str  # "QRCode" or "Aztec"
    engine: str  # engine and preparation, for example "zxing" or "zxing+unsharp"
    corners: Corners  # (x, y) in pixels of the picture: top left, top right, bottom right, bottom left of the code


def engines() -> list[str]:
    """The engines that can be used here; empty means that the kiosk cannot read codes by camera."""
    return [name for name, there in (("zxing", zxingcpp), ("zbar", pyzbar)) if there is not None]


class Decoder:
    """Reads codes from the frames of one camera, in order; one thread at a time."""

    def read(self, image: Image, *, budget_s: float = 0.026) -> list[Code]:
        """The codes in *image*, (height, width, 3) BGR or (height, width) grey, in about *budget_s* seconds.

        An empty list when there is none, or none that can be read yet; the next frame goes on where this one stopped.
        """
        return _read(_grey(image), time.monotonic() + budget_s)

    def read_still(self, image: Image) -> list[Code]:
        """The codes in one picture on its own: every retry is made, nothing is remembered."""
        return _read(_grey(image), time.monotonic() + 5.0)


def _grey(image: Image) -> Image:
    return image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def _read(grey: Image, until_s: float) -> list[Code]:
    def unsharp(sigma: float, gain: float) -> Image:
        return np.asarray(cv2.addWeighted(grey, 1 + gain, cv2.GaussianBlur(grey, (0, 0), sigma), -gain, 0), np.uint8)

    stages = (
        ("zxing", 1.0, lambda: grey),
        ("zxing+blur", 1.0, lambda: cv2.blur(grey, (3, 3))),
        ("zxing+unsharp", 1.0, lambda: unsharp(2, 4)),
        ("zxing+unsharp+x2", 2.0, lambda: cv2.resize(unsharp(3, 3), None, fx=2, fy=2)),
    )
    if zxingcpp is not None:
        for name, scale, prepare in stages:
            codes = _zxing(np.asarray(prepare(), np.uint8), name, scale)
            if codes or time.monotonic() >= until_s:
                return codes
    return _zbar(grey)


def _zxing(grey: Image, engine: str, scale: float) -> list[Code]:
    formats = (zxingcpp.BarcodeFormat.QRCodeModel2, zxingcpp.BarcodeFormat.AztecCode)
    codes = []
    for found in zxingcpp.read_barcodes(grey, formats=formats, text_mode=zxingcpp.TextMode.Plain):
        place = found.position
        points = (place.top_left, place.top_right, place.bottom_right, place.bottom_left)
        a, b, c, d = ((p.x / scale, p.y / scale) for p in points)
        name = "Aztec" if "Aztec" in str(found.format) else "QRCode"
        if 0 < len(found.text) <= LONGEST_TEXT:
            codes.append(Code(found.text, name, engine, (a, b, c, d)))
    return codes


def _zbar(grey: Image) -> list[Code]:
    if pyzbar is None:
        return []
    codes = []
    for found in pyzbar.decode(grey, symbols=[pyzbar.ZBarSymbol.QRCODE]):
        left, top, width, height = found.rect
        right, bottom = left + width, top + height
        text = found.data.decode("utf-8", "replace")
        if text:
            corners: Corners = (
                (float(left), float(top)),
                (float(right), float(top)),
                (float(right), float(bottom)),
                (float(left), float(bottom)),
            )
            codes.append(Code(text, "QRCode", "zbar", corners))
    return codes
