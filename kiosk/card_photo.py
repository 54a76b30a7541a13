"""A photographed card as a proposal for the panel's form: one picture of the kiosk's camera, read, dropped at once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from kiosk import texts
from kiosk.actions import ActionResult
from kiosk.camera import Camera
from kiosk.card_ocr import Image, Line, OcrFailed, fields_of, read_lines

log = logging.getLogger("gatehouse.card_ocr")

FRAME_WITHIN_S = 1.0


def photograph_card(camera: Camera, read: Callable[[Image], Sequence[Line]] = read_lines) -> ActionResult:
    """Read the card that is held before *camera*; blocks for seconds, so never on the lane's thread.

    The answer's values are {"fields": {name, sex, birth, address, number}, "doubts": [...]} as text; they fill a form
    that a person confirms and are stored nowhere. The copied picture is overwritten before this returns.
    """
    frame = camera.newest(0, FRAME_WITHIN_S)
    if frame is None:
        return ActionResult(False, texts.CARD_PHOTO["no_picture"])
    picture: Any = frame.image.copy() if frame.image.ndim == 3 else cv2.cvtColor(frame.image, cv2.COLOR_GRAY2BGR)
    started_s = time.monotonic()
    try:
        fields = fields_of(read(picture))
    except OcrFailed as error:
        log.warning("card photo not read code=%s", error.code)
        return ActionResult(False, texts.CARD_PHOTO[error.code])
    finally:
        np.copyto(picture, 0)
    log.info("card photo read took_ms=%d", (time.monotonic() - started_s) * 1000)
    if fields.is_empty:
        return ActionResult(False, texts.CARD_PHOTO["nothing"])
    filled = {
        "name": fields.name,
        "sex": fields.sex,
        "birth": fields.birth.isoformat() if fields.birth else "",
        "address": fields.address,
        "number": fields.number,
    }
    said = texts.CARD_PHOTO["doubtful" if fields.doubts else "compare"]
    return ActionResult(True, said, {"fields": filled, "doubts": list(fields.doubts)})
