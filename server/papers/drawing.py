"""Draws a paper code and a badge for printing: one SVG template each, and its PDF by CairoSVG."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import cairosvg
from flask import render_template

from server.context import house
from server.posters.drawing import text_width
from server.web.qr import Level, QrDrawing, draw

FORMS = {"pdf": "application/pdf", "svg": "image/svg+xml"}
PAPER_QR_MM = 100  # on A5 upright: a module is about 1.6 mm, read from an arm's length by any camera
BADGE_QR_MM = 50


@dataclass(frozen=True, slots=True)
class Sheet:
    """What stands on the paper: nothing of a person but the masked name, or what the badge's holder is called."""

    name: str
    name_mm: float  # its size, so that it fits
    place: str  # the community, or the venue
    place_mm: float
    drawing: QrDrawing
    scale: float  # mm a module
    short_id: str
    issued_on: str
    valid_until: str


def paper_sheet(
    text: str, *, masked_name: str, community: str, short_id: str, life: tuple[datetime, datetime]
) -> Sheet:
    """The sheet of a paper code; *life* is from when to when."""
    return _sheet(text, masked_name, community, short_id, life, PAPER_QR_MM, (11.0, 120.0), (5.0, 120.0))


def badge_sheet(text: str, *, name: str, venue: str, short_id: str, life: tuple[datetime, datetime]) -> Sheet:
    """The card of a badge."""
    return _sheet(text, name, venue, short_id, life, BADGE_QR_MM, (7.0, 62.0), (4.2, 62.0))


def render(template: str, sheet: Sheet, form: str) -> bytes:
    """The sheet as a file in one of FORMS; *template* is "paper" (A5) or "badge" (74 by 105 mm)."""
    svg = render_template(f"papers/{template}.svg", sheet=sheet).encode()
    return bytes(cairosvg.svg2pdf(bytestring=svg)) if form == "pdf" else svg


def _sheet(
    text: str,
    name: str,
    place: str,
    short_id: str,
    life: tuple[datetime, datetime],
    side_mm: float,
    name_room: tuple[float, float],
    place_room: tuple[float, float],
) -> Sheet:
    drawing = draw(text, Level.Q)
    zone = house().settings.zone
    issued_on, valid_until = (at.astimezone(zone).strftime("%Y-%m-%d") for at in life)
    name, place = _printable(name), _printable(place)
    return Sheet(
        name,
        _fitting(name, *name_room),
        place,
        _fitting(place, *place_room),
        drawing,
        side_mm / drawing.size,
        short_id,
        issued_on,
        valid_until,
    )


def _printable(text: str) -> str:
    return "".join(c for c in " ".join(text.split()) if c.isprintable())


def _fitting(text: str, size_mm: float, width_mm: float) -> float:
    """The size at which *text* fits into *width_mm*, at most *size_mm*."""
    return round(min(size_mm, width_mm / max(1.0, text_width(text))), 2)
