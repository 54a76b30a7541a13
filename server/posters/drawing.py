"""Draws the poster of a venue code: one SVG template, and CairoSVG makes PDF and PNG of the same drawing."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import datetime

import cairosvg
from flask import render_template

from protocol.credentials import venue_code
from server.codes.models import VenueCode
from server.context import house
from server.web.qr import Level, QrDrawing, draw

FORMS = {"pdf": "application/pdf", "a3": "application/pdf", "png": "image/png", "svg": "image/svg+xml"}
FORM_NAMES = {"pdf": "PDF A4", "a3": "PDF A3", "png": "PNG", "svg": "SVG"}
A3_SCALE = 2**0.5  # ISO 216: the same drawing, twice the area
PNG_DOTS_PER_MM = 6  # about 150 dpi: a module of the code is then nine dots wide
QR_SIDE_MM = 104  # credentials.md 5: 1 mm a module is enough; posters are read from farther away


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text that was made to fit: its size and baseline, in mm."""

    text: str
    size_mm: float
    y_mm: float


@dataclass(frozen=True, slots=True)
class Poster:
    """Everything that stands on a poster, in words and drawing."""

    venue: tuple[Line, ...]
    entrance: tuple[Line, ...]
    address: tuple[Line, ...]
    drawing: QrDrawing
    scale: float  # mm a module
    check_word: str
    version: int
    short_id: str
    issued_on: str
    valid_until: str
    link_start: str  # how the address begins that a phone opens


def poster_of(code: VenueCode) -> Poster:
    """The poster of *code*; names that are too long get smaller, then a second line, and end in an ellipsis at last."""
    settings = house().settings
    door, venue = code.door, code.door.venue
    drawing = draw(venue_code.url(settings.public_url, code.token), Level.Q)

    def day(at: datetime) -> str:
        return at.astimezone(settings.zone).strftime("%Y-%m-%d")

    return Poster(
        venue=_stack(((venue.name_zh, 15.0), (venue.name_en, 7.0)), top_mm=13, width_mm=190, height_mm=33),
        entrance=_stack(((door.name_zh, 13.0), (door.name_en, 6.5)), top_mm=50, width_mm=186, height_mm=26),
        address=_stack(((venue.address, 4.6),), top_mm=266, width_mm=186, height_mm=8),
        drawing=drawing,
        scale=QR_SIDE_MM / drawing.size,
        check_word=venue_code.check_word(code.venue_id, code.serial),
        version=code.version,
        short_id=f"{code.serial:08X}",
        issued_on=day(code.issued_at),
        valid_until=day(code.expires_at),
        link_start=settings.public_url + venue_code.PATH,
    )


def render(poster: Poster, form: str) -> bytes:
    """The poster as a file in one of FORMS, upright: "a3" is the same drawing on the larger sheet."""
    svg = render_template("posters/poster.svg", poster=poster).encode()
    if form in {"pdf", "a3"}:
        return bytes(cairosvg.svg2pdf(bytestring=svg, scale=A3_SCALE if form == "a3" else 1))
    if form == "png":
        return bytes(cairosvg.svg2png(bytestring=svg, output_width=210 * PNG_DOTS_PER_MM))
    return svg


def text_width(text: str) -> float:
    """The width of *text* in units of its size: full-width characters one, others a good half (Noto Sans CJK)."""
    return sum(1.0 if unicodedata.east_asian_width(c) in "WFA" else 0.6 for c in text)


def _stack(
    texts: tuple[tuple[str, float], ...], *, top_mm: float, width_mm: float, height_mm: float
) -> tuple[Line, ...]:
    """Place texts below each other inside a box, each as large as fits and at most as large as asked for."""
    placed: list[tuple[str, float]] = []
    for text, size in texts:
        clean = "".join(c for c in " ".join(text.split()) if c.isprintable())
        if clean:
            placed += _fit(clean, size, width_mm)
    needed = sum(size * 1.3 for _, size in placed)
    shrink = min(1.0, height_mm / needed) if needed else 1.0
    lines, y = [], top_mm + (height_mm - needed * shrink) / 2
    for text, size in placed:
        y += size * shrink * 1.3
        lines.append(Line(text, round(size * shrink, 2), round(y - size * shrink * 0.3, 2)))
    return tuple(lines)


def _fit(text: str, size: float, width_mm: float) -> list[tuple[str, float]]:
    smallest = size * 0.6
    if text_width(text) * size <= width_mm:
        return [(text, size)]
    if text_width(text) * smallest <= width_mm:
        return [(text, width_mm / text_width(text))]
    room = width_mm / smallest
    first = _cut(text, room)
    rest = text[len(first) :].strip()
    if text_width(rest) > room:
        rest = _cut(rest, room - 1).rstrip() + "…"
    return [(first.strip(), smallest), (rest, smallest)]


def _cut(text: str, room: float) -> str:
    """As much of the start of *text* as has *room*; between words when there are words."""
    end, width = 0, 0.0
    for character in text:
        width += text_width(character)
        if width > room:
            break
        end += 1
    space = text.rfind(" ", 0, end + 1)
    return text[:space] if space > end // 2 else text[:end]
