"""What is sent to the real upload routes to hurt: bombs, foreign files, crowds of parts; refused, and nothing kept."""

from __future__ import annotations

import io
import zipfile

import pytest
from flask import Flask
from sqlalchemy import func, select

from server.audit import AuditEvent
from server.context import House
from server.uploads.models import Upload
from tests.server.applications.test_applications import FIELDS
from tests.server.files import PDF, bomb
from tests.server.people import Browser, sign_in
from tests.server.vaults import TestVault

pytestmark = pytest.mark.stores("sqlite")  # refused before the database is asked

# who sends to which route under which name; "DRAFT" is an application of the operator's
ROUTES: dict[str, tuple[str, str]] = {
    "/residents/import": ("worker", "table"),
    "/rules/new": ("city", "file"),
    "/codes/bulk": ("street", "sheet"),
    "DRAFT/files/proof": ("operator", "file"),
    "DRAFT/files/plan": ("operator", "file"),
}

LINE = b"--x\r\nContent-Disposition: form-data; name="


def zipped(name: str, body: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as folder:
        folder.writestr(name, body)
    return out.getvalue()


HURTS: dict[str, bytes] = {
    "a picture of 900 megapixels": bomb(30_000),
    "a zip that unfolds to 40 MB": zipped("xl/worksheets/sheet1.xml", b"0" * 40_000_000),
    "a zip in a zip": zipped("a.zip", zipped("b.zip", b"0" * 5_000_000)),
    "a page with a script": b"<!doctype html><script>alert(1)</script>",
    "a drawing with a script": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
    "a PDF with a script": PDF.replace(b"/Type/Catalog", b"/Type/Catalog/OpenAction<</S/JavaScript/JS(x)>>"),
    "a program": b"\x7fELF" + bytes(range(256)) * 20,
    "brackets without end": b"[" * 100_000,
    "one long line": b"x," * 60_000,
    "quotes without end": b'"' * 99_999,
    "NUL bytes": bytes(5000),
    "half a picture": b"\xff\xd8\xff\xe0" + bytes(200),
    "nothing": b"",
}


def kept(house: House) -> tuple[int, int]:
    with house.database.reading() as reading:
        lines = reading.scalar(select(func.count()).select_from(AuditEvent)) or 0
        return reading.scalar(select(func.count()).select_from(Upload)) or 0, lines


def sender(app: Flask, address: str) -> tuple[Browser, str]:
    browser = sign_in(app, ROUTES[address][0])
    if address.startswith("DRAFT"):
        made = browser.post("/applications/new", FIELDS)
        assert made.status_code == 303, made.text
        address = address.replace("DRAFT", made.location)
    return browser, address


@pytest.mark.parametrize("address", ROUTES)
def test_what_hurts_is_refused_by_every_upload(app: Flask, house: House, vault: TestVault, address: str) -> None:
    browser, path = sender(app, address)
    token = browser.token("/password")
    before = kept(house)
    for what, data in HURTS.items():
        for name in ("x.csv", "../../x.png", "x.xlsx\x00.html"):
            fields = {"csrf_token": token, ROUTES[address][1]: (io.BytesIO(data), name), "area_code": "510100"}
            answer = browser.client.post(path, data=fields, content_type="multipart/form-data")
            assert 400 <= answer.status_code < 500, f"{what} as {name!r}: {answer.status_code}"
            assert "<script>alert" not in answer.text and 'onload="alert' not in answer.text, what
    assert kept(house) == before


@pytest.mark.parametrize("address", ROUTES)
def test_no_upload_takes_more_than_it_says(app: Flask, vault: TestVault, address: str) -> None:
    browser, path = sender(app, address)
    token, name = browser.token("/password").encode(), ROUTES[address][1].encode()
    body = LINE + b'"csrf_token"\r\n\r\n' + token + b"\r\n" + LINE + b'"%b"; filename="x.csv"\r\n\r\n' % name
    body += bytes(9_000_000) + b"\r\n--x--\r\n"
    answer = browser.client.post(path, data=body, content_type="multipart/form-data; boundary=x")
    assert answer.status_code == 413


@pytest.mark.parametrize("address", [*ROUTES, "/venues/new", "/sign-in"])
def test_a_form_of_very_many_parts_is_not_taken_apart(app: Flask, vault: TestVault, address: str) -> None:
    browser, path = sender(app, address) if address in ROUTES else (sign_in(app, "street"), address)
    token = browser.token("/password")
    body = LINE + b'"csrf_token"\r\n\r\n' + token.encode() + b"\r\n" + (LINE + b'"n"\r\n\r\n1\r\n') * 300 + b"--x--\r\n"
    answer = browser.client.post(path, data=body, content_type="multipart/form-data; boundary=x")
    assert answer.status_code == 413
