"""QR codes as one SVG path, so that pages and posters draw the same modules without inline styles or pictures."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import qrcode
from qrcode.constants import ERROR_CORRECT_M, ERROR_CORRECT_Q

QUIET_MODULES = 4  # ISO/IEC 18004: the light margin on each side


class Level(Enum):
    """Error correction: M for phone and computer screens, Q for paper that gets scratched (credentials.md 4 and 5)."""

    M = ERROR_CORRECT_M
    Q = ERROR_CORRECT_Q


@dataclass(frozen=True, slots=True)
class QrDrawing:
    """A QR code as an SVG path in units of one module; the quiet zone is inside."""

    size: int  # modules on one side, with the quiet zone
    path: str  # the dark modules
    version: int


def draw(text: str, level: Level) -> QrDrawing:
    """The drawing of *text*; picks the smallest version that holds it."""
    code = qrcode.QRCode(error_correction=level.value, border=QUIET_MODULES)
    code.add_data(text)
    code.make(fit=True)
    rows = code.get_matrix()
    parts = []
    for y, row in enumerate(rows):
        x = 0
        while x < len(row):
            run = 0
            while x + run < len(row) and row[x + run]:
                run += 1
            if run:
                parts.append(f"M{x} {y}h{run}v1h-{run}z")
            x += run or 1
    return QrDrawing(len(rows), "".join(parts), int(code.version))
