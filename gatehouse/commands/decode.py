"""Read codes from pictures, or from the frames of a video, with the pipeline that the kiosk runs.

  gatehouse decode poster.jpg phone.png --json       one JSON line a picture, in order
  gatehouse decode --sequence hold.avi --json        one JSON line a frame, then the frame of first read per text
  gatehouse decode --sequence frames/ --fps 30       a folder of pictures as frames, in the order of their names

Each picture is read on its own. A sequence goes through the same decoder as the camera's frames: what one frame
cannot give, several can. Exit code 0 also when nothing is found; 2 when nothing could be opened.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from config.errors import GatehouseError
from kiosk.capture import PICTURE_ENDINGS
from kiosk.decoder import Code, Decoder
from kiosk.decoding.engines import Image
from kiosk.decoding.pictures import PictureError, load_picture

FRAME_SHARE = 0.8  # of the frame period; the rest belongs to the camera, the verdict and the screen


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `gatehouse decode`."""
    parser.add_argument("files", nargs="*", metavar="FILE", type=Path, help="pictures: PNG, JPEG, WebP, BMP, TIFF ...")
    parser.add_argument("--sequence", metavar="DIR_OR_VIDEO", type=Path, help="read frames in order, as the kiosk does")
    parser.add_argument("--fps", type=float, default=30.0, help="frames a second of the sequence (default 30)")
    parser.add_argument("--json", action="store_true", help="one JSON line a picture or frame")


def run(args: argparse.Namespace) -> int:
    """Run it; see the module's docstring."""
    if bool(args.files) == bool(args.sequence):
        raise GatehouseError("Give pictures, or one --sequence.", hint="gatehouse decode --help shows both.")
    if args.sequence:
        if not 0 < args.fps <= 1000:
            raise GatehouseError(f"--fps is {args.fps}.", hint="Give a number between 0 and 1000.")
        return _sequence(args.sequence, args.fps, args.json)
    return _files(args.files, args.json)


def _files(paths: list[Path], as_json: bool) -> int:
    decoder = Decoder()
    opened = 0
    for path in paths:
        began_s = time.perf_counter()
        codes: list[Code] = []
        problem = ""
        try:
            image = load_picture(path)
            began_s = time.perf_counter()  # "ms" is the decoding, as for a camera frame
            codes = decoder.read_still(image)
            opened += 1
        except PictureError as error:
            problem = error.message
        ms = (time.perf_counter() - began_s) * 1000
        line: dict[str, Any] = {"file": str(path), "codes": [_as_dict(c) for c in codes], "ms": round(ms, 3)}
        if problem:
            line["error"] = problem
        if as_json:
            print(json.dumps(line, ensure_ascii=False), flush=True)
        else:
            print(f"{path}: {problem or _in_words(codes)}  ({ms:.1f} ms)", flush=True)
    return 0 if opened else 2


def _sequence(source: Path, fps: float, as_json: bool) -> int:
    decoder = Decoder()
    first: dict[str, int] = {}
    number = 0
    for image in _frames(source):
        codes: list[Code] = []
        began_s = time.perf_counter()
        if image is not None:
            codes = decoder.read(image, budget_s=FRAME_SHARE / fps)
        ms = (time.perf_counter() - began_s) * 1000
        for code in codes:
            first.setdefault(code.text, number)
        if as_json:
            line = {"frame": number, "codes": [_as_dict(c) for c in codes], "ms": round(ms, 3)}
            print(json.dumps(line, ensure_ascii=False), flush=True)
        elif codes:
            print(f"frame {number}: {_in_words(codes)}  ({ms:.1f} ms)", flush=True)
        number += 1
    reads = [{"text": text, "frame": at, "seconds": round(at / fps, 3)} for text, at in first.items()]
    if as_json:
        print(json.dumps({"frames": number, "first_read": reads}, ensure_ascii=False), flush=True)
    else:
        print(f"{number} frames, {len(reads)} different codes")
    return 0


def _frames(source: Path) -> Iterator[Image | None]:
    """The frames of a folder or video; None for a frame that cannot be opened."""
    if source.is_dir():
        paths = sorted(p for p in source.iterdir() if p.suffix.lower() in PICTURE_ENDINGS)
        if not paths:
            raise GatehouseError(f"There is no picture in {source}.", hint="Give a folder of PNG or JPEG frames.")
        for path in paths:
            try:
                yield load_picture(path)
            except PictureError:
                yield None
        return
    video = cv2.VideoCapture(str(source))
    if not source.is_file() or not video.isOpened():
        raise GatehouseError(f"{source} is not a video or a folder.", hint="Give an AVI, MP4, MKV or MJPEG file.")
    try:
        while True:
            ok, image = video.read()
            if not ok:
                return
            yield np.asarray(image, np.uint8)
    finally:
        video.release()


def _as_dict(code: Code) -> dict[str, Any]:
    return {
        "text": code.text,
        "format": code.format,
        "engine": code.engine,
        "corners": [[round(x, 1), round(y, 1)] for x, y in code.corners],
    }


def _in_words(codes: list[Code]) -> str:
    return "; ".join(f"{c.format} {c.text!r} by {c.engine}" for c in codes) or "no code"
