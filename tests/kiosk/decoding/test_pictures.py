"""Picture files of every kind, and of no kind, on their way to the decoder."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from kiosk.decoder import Decoder
from kiosk.decoding.pictures import PictureError, decode_picture, load_picture
from tests.kiosk.decoding.drawing import draw_code

CODE = draw_code("JK1:PICTURE")


def packed(ending: str, image: np.ndarray) -> bytes:  # type: ignore[type-arg]
    ok, data = cv2.imencode(ending, image)
    assert ok
    return data.tobytes()


def palette_png() -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    h, w = CODE.shape
    rows = b"".join(b"\0" + (row > 0).astype(np.uint8).tobytes() for row in CODE)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 8, 3, 0, 0, 0))
        + chunk(b"PLTE", bytes([90, 0, 0, 250, 250, 200]))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def transparent() -> bytes:
    image = np.zeros((*CODE.shape, 4), np.uint8)
    image[..., 3] = 255 - CODE  # black ink on nothing: what "export with transparency" makes
    return packed(".png", image)


@pytest.mark.parametrize(
    "data",
    [
        packed(".png", CODE),
        packed(".jpg", CODE),
        packed(".webp", CODE),
        packed(".bmp", cv2.cvtColor(CODE, cv2.COLOR_GRAY2BGR)),
        packed(".png", CODE.astype(np.uint16) * 257),
        packed(".png", CODE.astype(np.uint16) * 16),
        packed(".tiff", CODE.astype(np.float32) / 255),
        palette_png(),
        transparent(),
    ],
    ids=["png", "jpeg", "webp", "bmp", "16 bit", "12 bit", "float", "palette", "transparent"],
)
def test_every_kind_of_file_is_read(data: bytes) -> None:
    image = decode_picture(data)
    assert image.dtype == np.uint8 and image.ndim in (2, 3)
    assert [c.text for c in Decoder().read_still(image)] == ["JK1:PICTURE"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"\x89PNG\r\n\x1a\n",
        packed(".png", CODE)[:40],
        packed(".jpg", CODE)[:30],
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 100_000, 100_000) + bytes(40),
        b"BM" + bytes(16) + struct.pack("<ii", 60_000, 60_000) + bytes(20),
        b"\xff\xd8\xff\xc0" + struct.pack(">HBHH", 17, 8, 65535, 65535) + bytes(20),
        b"\xff\xd8" + b"\xff" * 100,
    ],
    ids=["empty", "text", "head", "cut png", "cut jpeg", "png bomb", "bmp bomb", "jpeg bomb", "ff"],
)
def test_what_is_no_picture_is_named(data: bytes) -> None:
    with pytest.raises(PictureError) as told:
        decode_picture(data)
    assert told.value.message and told.value.hint


def test_a_jpeg_cut_in_its_pixels_is_a_picture_or_named_and_never_another_text() -> None:
    data = packed(".jpg", CODE)
    for cut in range(200, len(data), max(1, len(data) // 12)):
        try:
            image = decode_picture(data[:cut])
        except PictureError:
            continue
        assert {c.text for c in Decoder().read_still(image)} <= {"JK1:PICTURE"}


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp", ".bmp"])
def test_mutated_files_end_in_a_picture_or_a_name(ending: str) -> None:
    random = np.random.default_rng(7)
    data = packed(ending, CODE)
    for _ in range(60):
        spoiled = bytearray(data)
        for place in random.integers(0, len(data), int(random.integers(1, 12))):
            spoiled[place] = int(random.integers(0, 256))
        try:
            image = decode_picture(bytes(spoiled))
        except PictureError:
            continue
        assert {c.text for c in Decoder().read_still(image)} <= {"JK1:PICTURE"}


def test_a_folder_or_an_absent_file_is_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.png"):
        with pytest.raises(PictureError):
            load_picture(path)
