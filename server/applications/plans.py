"""Draws the entrances onto a floor plan, with the picture at a fixed size, so that a click on it says where."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from server.applications.details import WHOLE, Door
from server.uploads.models import Upload
from server.uploads.reading import jpeg

SHOWN_WIDTH = 640  # CSS pixels, never scaled by style: a click's numbers are meant in these
MOST_HEIGHT = 960
MARK_RADIUS = 13
_MARK, _RING = "#a3201d", "#ffffff"


def shown_size(plan: Upload) -> tuple[int, int]:
    """Width and height at which *plan* is shown."""
    width, height = plan.width or 1, plan.height or 1
    scale = min(SHOWN_WIDTH / width, MOST_HEIGHT / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def draw_plan(content: bytes, size: tuple[int, int], doors: Sequence[Door]) -> bytes:
    """The plan at *size* pixels with numbered marks, as JPEG."""
    with Image.open(io.BytesIO(content), formats=("JPEG",)) as kept:
        picture = kept.convert("RGB").resize(size)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(MARK_RADIUS * 1.3)
    for number, door in enumerate(doors, 1):
        x, y = door.x * size[0] / WHOLE, door.y * size[1] / WHOLE
        circle = (x - MARK_RADIUS, y - MARK_RADIUS, x + MARK_RADIUS, y + MARK_RADIUS)
        pen.ellipse(circle, fill=_MARK, outline=_RING, width=2)
        pen.text((x, y), str(number), fill=_RING, font=font, anchor="mm")
    return jpeg(picture)
