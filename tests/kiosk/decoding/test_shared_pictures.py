"""Third-party photographs and certificates, read by the decoder that the kiosk runs."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from kiosk.decoder import Decoder
from kiosk.decoding.pictures import load_picture

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"

pytestmark = [pytest.mark.shared_data, pytest.mark.slow]


def entries(folder: str, name: str) -> list[dict[str, str]]:
    path = DATA / folder / name
    if not path.is_file():
        pytest.skip(f"THIRD-PARTY DATA ABSENT: {folder}/{name} is not beside the repository")
    return json.loads(path.read_text("utf-8"))  # type: ignore[no-any-return]


def test_photographs_are_read_and_never_wrongly() -> None:
    decoder = Decoder(clock=lambda: 0.0)
    right: Counter[str] = Counter()
    all_of: Counter[str] = Counter()
    wrong = []
    for entry in entries("qr", "manifest.json"):
        codes = decoder.read_still(load_picture(DATA / "qr" / entry["file"]))
        all_of[entry["set"]] += 1
        if any(code.text == entry["text"] for code in codes):
            right[entry["set"]] += 1
        elif codes:
            wrong.append(entry["file"])
    assert wrong == []
    assert right["jsqr-photos"] >= all_of["jsqr-photos"] - 1
    assert right["jsqr-zxingjava"] >= 0.99 * all_of["jsqr-zxingjava"]
    assert right["zxing"] >= 0.93 * all_of["zxing"]


@pytest.mark.parametrize("folder", ["dcc", "shc"])
def test_certificates_pictures_are_all_read(folder: str) -> None:
    decoder = Decoder(clock=lambda: 0.0)
    missed = []
    for entry in entries(folder, "pictures.json"):
        codes = decoder.read_still(load_picture(DATA / folder / entry["file"]))
        expected = [entry["text"]] if entry["text"] else []  # one picture is damaged on purpose and holds no text
        if [code.text for code in codes] != expected:
            missed.append(entry["file"])
    assert missed == []
