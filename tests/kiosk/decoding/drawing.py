"""Small pictures of codes for the decoder's tests."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import qrcode
from numpy.typing import NDArray


def draw_code(text: str, *, pixels_per_module: int = 4, border: int = 4) -> NDArray[np.uint8]:
    """A clean grey picture of *text* as a QR code."""
    code = qrcode.QRCode(border=border)
    code.add_data(text)
    code.make(fit=True)
    modules = np.array(code.get_matrix(), bool)
    return np.where(modules, 0, 255).astype(np.uint8).repeat(pixels_per_module, 0).repeat(pixels_per_module, 1)


def save(path: Path, image: NDArray[np.generic]) -> None:
    """Write *image* where the file's ending says how."""
    assert cv2.imwrite(str(path), image)
