"""Files as people and attackers send them."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image, ImageDraw

PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"


def picture(size: tuple[int, int] = (900, 600), kind: str = "PNG", **more: object) -> bytes:
    """A plan-like drawing."""
    image = Image.new("RGB", size, "#eef2ef")
    pen = ImageDraw.Draw(image)
    pen.rectangle((2, 2, size[0] - 3, size[1] - 3), outline="#17594a", width=6)
    pen.line((size[0] // 2, 20, size[0] // 2, size[1] - 20), fill="#17594a", width=3)
    out = io.BytesIO()
    image.save(out, kind, **more)
    return out.getvalue()


def with_position() -> bytes:
    """A photograph whose EXIF tells where and with what it was taken, turned on its side."""
    exif = Image.Exif()
    exif[0x010F] = "SecretCam"
    exif[0x0112] = 6  # orientation: turn right
    exif.get_ifd(0x8825)[1] = "N"
    return picture((400, 300), "JPEG", exif=exif)


def bomb(side: int = 30_000) -> bytes:
    """A PNG of a few hundred bytes that says it is *side* pixels wide and high."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )
