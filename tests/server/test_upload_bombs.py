"""What is sent to the real upload routes to hurt: bombs, foreign files, crowds of parts; refused, and nothing kept."""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import func, select

from server.audit import AuditEvent
from server.context import House
from server.uploads.models import Upload
from server.web.access import Gate, access_of
from tests.server.applications.test_applications import FIELDS
from tests.server.files import PDF, bomb, picture
from tests.server.inspections.test_inspections import drawn
from tests.server.people import Browser, sign_in
from tests.server.test_routes import put_words
from tests.server.tipoffs.test_tipoffs import FIELDS as TIP_OFF
from tests.server.tipoffs.test_tipoffs import take, ticket
from tests.server.vaults import TestVault

pytestmark = pytest.mark.stores("sqlite")  # refused before the database is asked

SERVER = Path(__file__).resolve().parents[2] / "server"
TEMPLATES = SERVER / "templates"


@dataclass(frozen=True, slots=True)
class Route:
    """Who sends a file there, under which name, and which template holds the form."""

    sender: str  # "" for a stranger
    field: str
    template: str
    fields: tuple[tuple[str, str], ...] = ()  # what else the form wants
    takes_pictures: bool = False
    may_be_empty: bool = False  # the form is good without a file


# "DRAFT" is an application of the operator's, "INSPECTION" one that has begun
ROUTES: dict[str, Route] = {
    "/residents/import": Route("worker", "table", "residents/import.html"),
    "/rules/new": Route("city", "file", "rules/new.html", (("area_code", "510100"),)),
    "/codes/bulk": Route("street", "sheet", "codes/bulk.html"),
    "DRAFT/files/proof": Route("operator", "file", "applications/show.html", takes_pictures=True),
    "DRAFT/files/plan": Route("operator", "file", "applications/show.html", takes_pictures=True),
    "INSPECTION/photos": Route("inspector", "file", "inspections/show.html", takes_pictures=True),
    "/tip-off": Route("", "photo", "tipoffs/form.html", tuple(TIP_OFF.items()), takes_pictures=True, may_be_empty=True),
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


def sender(app: Flask, house: House, address: str) -> tuple[Browser, str, dict[str, str]]:
    """A browser that may send there, the address, and the form's fields beside the file."""
    route = ROUTES[address]
    fields = dict(route.fields)
    if not route.sender:
        browser = Browser(app.test_client())
        return browser, address, {**fields, "ticket": ticket(browser, address)}
    if address.startswith("INSPECTION"):
        _street, case_id = drawn(app, house)
        address = address.replace("INSPECTION", f"/inspections/{case_id}")
    browser = sign_in(app, route.sender)
    if address.startswith("/inspections/"):
        assert take(browser, case_id, "start") == 303
    if address.startswith("DRAFT"):
        made = browser.post("/applications/new", FIELDS)
        assert made.status_code == 303, made.text
        address = address.replace("DRAFT", made.location)
    return browser, address, {**fields, "csrf_token": browser.token("/password")}


def as_parts(fields: dict[str, str]) -> bytes:
    return b"".join(LINE + b'"%b"\r\n\r\n%b\r\n' % (name.encode(), value.encode()) for name, value in fields.items())


def test_every_form_that_sends_a_file_is_tried_here(app: Flask) -> None:
    """Each form of a template that sends files, and each route that takes more than a form."""
    found: Counter[str] = Counter()
    for template in TEMPLATES.rglob("*.*"):
        name = template.relative_to(TEMPLATES).as_posix()
        found[name] += template.read_text().count('enctype="multipart/form-data"')
        assert template.read_text().count("multipart") == found[name], f"{name} spells it another way"
    assert +found == Counter(route.template for route in ROUTES.values())
    adapter = app.url_map.bind("localhost")
    somewhere = {"DRAFT": "/applications/x", "INSPECTION": "/inspections/x"}
    tried = {adapter.match(put_words(address, somewhere), "POST")[0] for address in ROUTES}
    form_bytes = app.extensions["gatehouse"].settings.limits.form_bytes
    large = {
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if (access := access_of(app, rule.endpoint)).gate is not Gate.MACHINE and (access.max_bytes or 0) > form_bytes
    }
    assert large <= tried
    reads = {"FileField(", "request.files", "get_file("}
    for source in SERVER.rglob("*.py"):
        if any(word in source.read_text() for word in reads):
            subject = source.relative_to(SERVER).parts[0]
            assert any(endpoint.partition(".")[0] == subject for endpoint in tried), source


@pytest.mark.parametrize("address", ROUTES)
def test_what_hurts_is_refused_by_every_upload(app: Flask, house: House, vault: TestVault, address: str) -> None:
    browser, path, fields = sender(app, house, address)
    before = kept(house)
    for what, data in HURTS.items():
        if not data and ROUTES[address].may_be_empty:
            continue
        for name in ("x.csv", "../../x.png", "x.xlsx\x00.html"):
            form = {**fields, ROUTES[address].field: (io.BytesIO(data), name)}
            answer = browser.client.post(path, data=form, content_type="multipart/form-data")
            assert 400 <= answer.status_code < 500, f"{what} as {name!r}: {answer.status_code}"
            assert "<script>alert" not in answer.text and 'onload="alert' not in answer.text, what
    assert kept(house) == before
    if ROUTES[address].takes_pictures:  # so it was the file that was refused
        form = {**fields, ROUTES[address].field: (io.BytesIO(picture()), "x.png")}
        assert browser.client.post(path, data=form, content_type="multipart/form-data").status_code in {200, 303}
        assert kept(house)[0] == before[0] + 1


@pytest.mark.parametrize("address", ROUTES)
def test_no_upload_takes_more_than_it_says(app: Flask, house: House, vault: TestVault, address: str) -> None:
    browser, path, fields = sender(app, house, address)
    body = as_parts(fields) + LINE + b'"%b"; filename="x.csv"\r\n\r\n' % ROUTES[address].field.encode()
    body += bytes(9_000_000) + b"\r\n--x--\r\n"
    answer = browser.client.post(path, data=body, content_type="multipart/form-data; boundary=x")
    assert answer.status_code == 413


@pytest.mark.parametrize("address", [*ROUTES, "/venues/new", "/sign-in"])
def test_a_form_of_very_many_parts_is_not_taken_apart(app: Flask, house: House, vault: TestVault, address: str) -> None:
    if address in ROUTES:
        browser, path, fields = sender(app, house, address)
    else:
        browser, path = sign_in(app, "street"), address
        fields = {"csrf_token": browser.token("/password")}
    body = as_parts(fields) + (LINE + b'"n"\r\n\r\n1\r\n') * 300 + b"--x--\r\n"
    answer = browser.client.post(path, data=body, content_type="multipart/form-data; boundary=x")
    assert answer.status_code == 413


def test_a_table_of_very_many_lines_is_refused(app: Flask, house: House, vault: TestVault) -> None:
    """More residents than one file may hold, in fewer bytes than it may have."""
    browser, path, fields = sender(app, house, "/residents/import")
    lines = b"name,id_number,phone,area\n" + b"a,1,,\n" * 1001
    answer = browser.client.post(path, data={**fields, "table": (io.BytesIO(lines), "x.csv")})
    assert answer.status_code == 422 and "at most 1000 lines" in answer.text
