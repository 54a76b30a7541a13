"""Files that people send: made anew or refused by their content, sealed at rest, never run by a browser."""

from __future__ import annotations

import io

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from server.context import House
from server.keystore import KeyStoreError
from server.uploads.keeping import as_file, content_of, keep
from server.uploads.models import Upload
from server.uploads.reading import MOST_BYTES, MOST_SIDE, UploadError, read_document, read_picture
from tests.server.files import PDF, bomb, picture, with_position


def test_a_picture_is_made_anew_without_what_came_along() -> None:
    sent = with_position()
    assert b"SecretCam" in sent
    kept = read_picture(sent + b"<script>alert(1)</script>PK\x03\x04")
    assert b"SecretCam" not in kept.content and b"<script" not in kept.content and b"Exif" not in kept.content
    with Image.open(io.BytesIO(kept.content)) as image:
        assert not image.getexif() and image.size == (300, 400) == (kept.width, kept.height)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_pictures_of_every_kind_come_out_as_bounded_jpeg(kind: str) -> None:
    kept = read_picture(picture((2600, 1300), kind))
    assert kept.media_type == "image/jpeg" and kept.content.startswith(b"\xff\xd8")
    assert (kept.width, kept.height) == (MOST_SIDE, MOST_SIDE // 2)


def test_what_is_see_through_becomes_white() -> None:
    out = io.BytesIO()
    Image.new("RGBA", (60, 60), (255, 0, 0, 0)).save(out, "PNG")
    with Image.open(io.BytesIO(read_picture(out.getvalue()).content)) as image:
        assert min(image.getpixel((30, 30))) > 250


@pytest.mark.parametrize("side", [6_000, 12_000, 30_000, 60_000])
def test_a_bomb_is_refused_before_it_unfolds(side: int) -> None:
    with pytest.raises(UploadError, match="too many pixels"):
        read_picture(bomb(side))


@pytest.mark.parametrize(
    "data",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"<!doctype html><script>alert(1)</script>",
        b"GIF89a" + bytes(40),
        b"MZ" + bytes(400),
        picture()[:200],
        picture((10, 10)),
        PDF,
    ],
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(UploadError):
        read_picture(data)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "ICO", "PPM"])
def test_a_picture_of_a_kind_that_is_not_asked_for_is_refused(kind: str) -> None:
    """Pillow reads dozens of kinds, by decoders that nobody here needs."""
    with pytest.raises(UploadError, match="JPEG, PNG or WebP"):
        read_picture(picture((200, 100), kind))


def test_too_large_and_empty_files_are_refused() -> None:
    with pytest.raises(UploadError, match="Choose a file"):
        read_document(b"")
    behind = bytes(MOST_BYTES)
    for data in (picture() + behind, PDF.replace(b"%%EOF", b"%" + behind + b"\n%%EOF")):  # good, but for their size
        with pytest.raises(UploadError, match="too large"):
            read_document(data)


@pytest.mark.parametrize(
    "name", [b"/JavaScript", b"/J#61vaScript", b"/JS ", b"/Launch", b"/EmbeddedFiles", b"/Encrypt"]
)
def test_a_pdf_that_acts_is_refused(name: bytes) -> None:
    with pytest.raises(UploadError, match="script, an attachment or a lock"):
        read_document(PDF.replace(b"/Type", name + b"(x)/Type"))


def test_a_plain_pdf_is_kept_and_a_cut_one_is_not() -> None:
    assert read_document(PDF).media_type == "application/pdf"
    with pytest.raises(UploadError, match="no end"):
        read_document(PDF[:-8] + bytes(3000))


@given(st.binary(max_size=400))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    for start in (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\x10\0\0\0WEBP", b"%PDF-"):
        try:
            read_document(start + data)
        except UploadError:
            pass


def test_what_is_kept_is_sealed_and_bound_to_its_row(app: Flask, house: House) -> None:
    with app.app_context():
        with house.database.writing() as writing:
            first = keep(writing, read_picture(picture()), by="stranger")
            second = keep(writing, read_picture(picture((300, 300))), by="stranger")
            ids, clear = (first.id, second.id), content_of(first)
            assert clear not in first.sealed and first.sealed != clear
        with house.database.writing() as writing:  # rows swapped by somebody at the database
            a, b = (writing.get_one(Upload, i) for i in ids)
            a.sealed, b.sealed = b.sealed, a.sealed
            with pytest.raises(KeyStoreError):
                content_of(a)


def test_a_file_alone_in_a_browser_can_do_nothing() -> None:
    answer = as_file(PDF, "application/pdf", "proof")
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert "script-src" not in answer.headers["Content-Security-Policy"]
