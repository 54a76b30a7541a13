"""From a picture file of any kind to the 8-bit picture that the decoder takes, or a named reason why not."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from config.errors import GatehouseError

Image = NDArray[np.uint8]

LARGEST_FILE_BYTES = 64 * 1024 * 1024
LARGEST_PIXELS = 200_000_000  # 14,000 x 14,000; a file that claims more is refused before it is unpacked


class PictureError(GatehouseError):
    """This file is not a picture that can be looked at."""

    code = "picture"


def load_picture(path: Path) -> Image:
    """Read *path* as (height, width) grey or (height, width, 3) BGR, 8 bits; transparency becomes white paper.

    Raises PictureError for anything that is not a whole, sensible picture; never decompresses more than
    LARGEST_PIXELS.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE_BYTES:
            raise PictureError(f"The file has {size} bytes.", hint=f"At most {LARGEST_FILE_BYTES} are read.")
        data = path.read_bytes() if path.is_file() else b""
    except OSError as error:
        raise PictureError(f"The file cannot be read: {error.strerror}.", hint="Check its path.") from error
    return decode_picture(data)


def decode_picture(data: bytes) -> Image:
    """As `load_picture`, from the bytes of a file."""
    if not data:
        raise PictureError("The file is empty.", hint="Give a PNG or JPEG picture.")
    claimed = _claimed_size(data)
    if claimed is not None and not 0 < claimed[0] * claimed[1] <= LARGEST_PIXELS:
        raise PictureError(f"The picture claims {claimed[0]} x {claimed[1]} pixels.", hint="It is not unpacked.")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except (cv2.error, MemoryError):
        image = None
    if image is None or image.size == 0:
        raise PictureError("This is not a picture that can be unpacked.", hint="Give a whole PNG or JPEG file.")
    return _as_8_bit(image)


def _as_8_bit(image: NDArray[Any]) -> Image:
    if image.dtype != np.uint8:
        # 10, 12 and 14-bit cameras fill only the lower part of 16 bits: stretch what is there
        values = np.nan_to_num(image.astype(np.float32), posinf=0.0, neginf=0.0)
        low, high = float(values.min()), float(values.max())
        image = ((values - low) * (255 / max(high - low, 1e-6))).astype(np.uint8)
    if image.ndim == 3 and image.shape[2] == 4:
        alpha = image[:, :, 3:].astype(np.uint16)
        if alpha.min() < 255:
            image = ((image[:, :, :3] * alpha + 255 * (255 - alpha)) // 255).astype(np.uint8)
        else:
            image = np.ascontiguousarray(image[:, :, :3])
    elif image.ndim == 3 and image.shape[2] != 3:
        image = np.ascontiguousarray(image[:, :, 0])
    return np.asarray(image, np.uint8)


def _claimed_size(data: bytes) -> tuple[int, int] | None:
    """Width and height as the header of a PNG, BMP or JPEG states them; None when this cannot tell."""
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    if data[:2] == b"BM" and len(data) >= 26:
        width, height = struct.unpack("<ii", data[18:26])
        return abs(width), abs(height)
    if data[:2] == b"\xff\xd8":
        at = 2
        while at + 9 <= len(data) and data[at] == 0xFF:
            marker = data[at + 1]
            if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame (ITU-T T.81 B.2.2)
                height, width = struct.unpack(">HH", data[at + 5 : at + 9])
                return width, height
            (length,) = struct.unpack(">H", data[at + 2 : at + 4])
            at += 2 + max(length, 2) if marker != 0xFF else 1
    return None
