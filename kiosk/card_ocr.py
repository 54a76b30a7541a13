"""Reads a photographed ID card without a reader: one child process a picture, killed after its time, and a pure parser.

The picture goes through a pipe into the child's memory and nowhere else; both sides overwrite their buffers, and the
child ends after one answer, so that nothing an OCR engine keeps for itself outlives the card (R-42, C-27).
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import re
import resource
import selectors
import subprocess
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.codecs.sam_v import has_right_check_digit

log = logging.getLogger("gatehouse.card_ocr")

READ_WITHIN_S = 20.0  # two seconds on a desktop core; loading the models takes most of it on a small one
MAX_ANSWER_BYTES = 64 * 1024
MAX_LINES = 64
MAX_LINE_CHARS = 120
PACKAGES = ("rapidocr", "onnxruntime")  # the extra [ocr]; the models are inside the first one's wheel

Image = NDArray[np.uint8]


# -- from lines to fields ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text as the engine saw it; the box in pixels of the picture, y downwards."""

    text: str = field(repr=False)
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True, repr=False)
class CardFields:
    """What a card's text side seems to say: a proposal for staff to compare, never a fact. `repr` shows nothing.

    A field that was not found is "" or None. `doubts` names what contradicts itself: "number" (no fitting check
    digit), "birth" and "sex" (printed otherwise than the number says).
    """

    name: str
    sex: str  # "男", "女" or ""
    birth: date | None
    address: str
    number: str  # 18 characters or ""
    doubts: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "CardFields(not shown)"

    @property
    def is_empty(self) -> bool:
        """Whether nothing that could name a person was found."""
        return not self.name and not self.number


_BLANKS = re.compile(r"[\s·.。,，:：;；'’`\"“”_\-—]+")
_NUMBER_LABEL = re.compile(r"(公民)?身[份分][证]?(号码|号)?|号码|公民")
_DIGIT_FOR = str.maketrans("OQDo〇ОоIl|!iLZzSsBbGg", "000000011111122558869")
_LAST_FOR = str.maketrans({"K": "X", "×": "X", "乂": "X", "х": "X", "Х": "X", "*": "X"})
_BIRTH = re.compile(r"(\d{4})年(\d{1,2})月(\d{1,2})")
_NEXT_LABEL = r"(?=姓名|性别|民族|出生|住址|公民|$)"
_YEARS = range(1900, 2100)


def fields_of(lines: Sequence[Line]) -> CardFields:
    """Read the lines of one card's text side, in any order. Pure; an ugly reading gives empty fields, never an error.

    Letters that engines confuse with digits (O, I, l, Z, S, B ...) count as digits in the number and the birth date
    only, and X, x, × as the last character. Nothing is invented: a wrong check digit is kept and named in `doubts`.
    """
    rows = _rows(lines)
    number, number_row = _number(rows)
    name = sex = address = ""
    birth: date | None = None
    for at, row in enumerate(rows):
        if at == number_row:
            continue
        flat = _BLANKS.sub("", row)
        if not name and (found := re.search(r"(?:姓名|^名)(.+?)" + _NEXT_LABEL, flat)):
            name = _only_name(found[1])
        if not sex and (found := re.search(r"(?:性别|^别)(男|女)|^(男|女)(?=民族)", flat)):  # not the end of a name
            sex = found[1] or found[2]
        if birth is None:
            birth = _birth(flat)
        if not address and (found := re.search(r"(?:住址|^址)(.*)$", flat)):
            until = number_row if number_row is not None and number_row > at else len(rows)
            more = (_BLANKS.sub("", row) for row in rows[at + 1 : until] if not _NUMBER_LABEL.search(row))
            address = found[1] + "".join(more)
    doubts = []
    if number:
        doubts = _doubts(number, birth, sex)
        if birth is None and "number" not in doubts:
            birth = _birth_in(number)
    return CardFields(name, sex, birth, address[:100], number, tuple(doubts))


def _rows(lines: Sequence[Line]) -> list[str]:
    """Lines that stand side by side as one text, rows from top to bottom."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda each: (each.top + each.bottom) / 2):
        middle = (line.top + line.bottom) / 2
        if rows and rows[-1][-1].top <= middle <= rows[-1][-1].bottom:
            rows[-1].append(line)
        else:
            rows.append([line])
    return [
        " ".join(unicodedata.normalize("NFKC", part.text) for part in sorted(row, key=lambda p: p.left)) for row in rows
    ]


def _number(rows: Sequence[str]) -> tuple[str, int | None]:
    """(number, its row): the best run of 18, one with a fitting check digit before any other, the lowest row first."""
    second: tuple[str, int | None] = ("", None)
    for at in reversed(range(len(rows))):
        row = rows[at]
        is_labelled = _NUMBER_LABEL.search(row) is not None
        flat = _BLANKS.sub("", _NUMBER_LABEL.sub("", row))
        for start in range(len(flat) - 17):
            part = flat[start : start + 18]
            digits, last = part[:17].translate(_DIGIT_FOR), part[17].upper().translate(_LAST_FOR)
            if last != "X":
                last = part[17].translate(_DIGIT_FOR)
            if not (digits.isascii() and digits.isdigit() and last in "0123456789X"):
                continue
            if not is_labelled and sum(char.isdigit() for char in part) < 14:
                continue  # a word of letters that all look like digits
            number = digits + last
            if has_right_check_digit(number):
                return number, at
            if not second[0]:
                second = number, at
    return second


def _birth(flat: str) -> date | None:
    """The printed date; the words 年, 月, 日 hold it together."""
    at = flat.find("年")
    if at < 4:
        return None
    found = _BIRTH.search(flat[at - 4 :].translate(_DIGIT_FOR))
    return _date(found[1], found[2], found[3]) if found else None


def _birth_in(number: str) -> date | None:
    return _date(number[6:10], number[10:12], number[12:14])


def _date(year: str, month: str, day: str) -> date | None:
    try:
        found = date(int(year), int(month), int(day))
    except ValueError:
        return None
    return found if found.year in _YEARS else None


def _only_name(text: str) -> str:
    """A name in Chinese characters; what an engine saw in the card's pattern beside it is left out."""
    found = re.match(r"[\u3400-\u9fff\U00020000-\U0003ffff]{1,20}", text)
    return found[0] if found else ""


def _doubts(number: str, birth: date | None, sex: str) -> list[str]:
    doubts = []
    if not has_right_check_digit(number) or _birth_in(number) is None:
        doubts.append("number")
    if birth is not None and birth != _birth_in(number):
        doubts.append("birth")
    if sex and number[16].isdigit() and ("男" if int(number[16]) % 2 else "女") != sex:
        doubts.append("sex")
    return doubts


# -- the child ---------------------------------------------------------------------------------------------------------


class OcrFailed(Exception):
    """No lines came back; `code` is one of "not_installed", "busy", "late", "ended", "nonsense"."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def is_installed() -> bool:
    """Whether the extra [ocr] is there; looks without importing, since that takes a second and 200 MB."""
    return all(importlib.util.find_spec(name) is not None for name in PACKAGES)


_one_at_a_time = threading.Lock()  # two at once would not fit into a small computer's memory


def read_lines(image: Image, *, within_s: float = READ_WITHIN_S, command: Sequence[str] | None = None) -> list[Line]:
    """The lines of text in *image*, a writable (height, width, 3) BGR picture, which is overwritten in any case.

    Runs *command* (our own child) once, kills it after *within_s* seconds, and returns nothing of its when it is late.
    Blocks; call it on a thread that may wait. Raises OcrFailed.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError("a BGR picture of bytes was expected")
    picture = np.ascontiguousarray(image)
    try:
        if command is None:
            if not is_installed():
                raise OcrFailed("not_installed")
            command = (sys.executable, "-m", "kiosk.card_ocr")
        if not _one_at_a_time.acquire(blocking=False):
            raise OcrFailed("busy")
        try:
            answer = _ask(picture, within_s, command)
        finally:
            _one_at_a_time.release()
    finally:
        picture[:] = 0
        image[:] = 0
    try:
        return _lines_of(answer)
    finally:
        answer[:] = bytes(len(answer))


def _ask(image: Image, within_s: float, command: Sequence[str]) -> bytearray:
    until_s = time.monotonic() + within_s
    height, width = image.shape[:2]
    child = subprocess.Popen(
        [*command, str(height), str(width)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # an engine's log may hold what it read
        bufsize=0,
    )
    assert child.stdin is not None and child.stdout is not None
    unsent = memoryview(image.data).cast("B")
    answer = bytearray()
    try:
        os.set_blocking(child.stdin.fileno(), False)
        with selectors.DefaultSelector() as waiting:
            waiting.register(child.stdin, selectors.EVENT_WRITE)
            waiting.register(child.stdout, selectors.EVENT_READ)
            while True:
                left_s = until_s - time.monotonic()
                if left_s <= 0:
                    raise OcrFailed("late")
                for key, _ in waiting.select(left_s):
                    if key.fileobj is child.stdout:
                        chunk = os.read(child.stdout.fileno(), 65536)
                        if not chunk:
                            if not answer:
                                raise OcrFailed("ended")
                            return answer
                        answer += chunk
                        if len(answer) > MAX_ANSWER_BYTES:
                            raise OcrFailed("nonsense")
                        continue
                    try:
                        unsent = unsent[os.write(child.stdin.fileno(), unsent[:65536]) :]
                    except BrokenPipeError:
                        unsent = unsent[:0]  # it ended early; its answer, or the end of it, says so
                    if not unsent:
                        waiting.unregister(child.stdin)
                        child.stdin.close()
    except OcrFailed:
        answer[:] = bytes(len(answer))
        raise
    finally:
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()


def _lines_of(answer: bytearray) -> list[Line]:
    """The child's JSON: a list of [text, left, top, right, bottom]."""
    try:
        values = json.loads(answer.decode())
        lines = [Line(str(t)[:MAX_LINE_CHARS], *(float(number) for number in box)) for t, *box in values[:MAX_LINES]]
    except (ValueError, TypeError, KeyError):
        raise OcrFailed("nonsense") from None  # the cause would carry the text
    return lines


def main(arguments: Sequence[str], engine: Callable[[Image], list[list[Any]]], answer_file: int) -> None:
    """The child's work: take one picture from standard input, answer its lines on *answer_file*, overwrite it, end."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash must not write the picture to disk
    height, width = int(arguments[0]), int(arguments[1])
    picture = bytearray(height * width * 3)
    view = memoryview(picture)
    while view:
        got = os.readv(0, [view])
        if not got:
            return
        view = view[got:]
    image = np.frombuffer(picture, np.uint8).reshape(height, width, 3)
    try:
        answer = json.dumps(engine(image), ensure_ascii=False).encode()
    finally:
        image[:] = 0
    sent = 0
    while sent < len(answer):
        sent += os.write(answer_file, answer[sent:])


def rapidocr_lines(image: Image) -> list[list[Any]]:
    """The lines of *image* by the engine of the extra [ocr], with the models inside its wheel; no network."""
    from rapidocr import RapidOCR

    found = RapidOCR()(image)
    if found.txts is None or found.boxes is None:
        return []
    lines = []
    for text, box in zip(found.txts, found.boxes, strict=True):
        xs, ys = [float(x) for x, _ in box], [float(y) for _, y in box]
        lines.append([text, min(xs), min(ys), max(xs), max(ys)])
    return lines


if __name__ == "__main__":
    to_parent = os.dup(1)
    os.dup2(2, 1)  # whatever an engine prints must not mix with the answer
    main(sys.argv[1:], rapidocr_lines, to_parent)
