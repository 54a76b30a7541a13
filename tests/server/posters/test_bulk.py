"""Codes from a sheet: every row's problem named before anything is done, then all or none, and their posters."""

from __future__ import annotations

import io
import re
import zipfile

import pytest
from flask import Flask
from openpyxl import Workbook
from sqlalchemy import func, select

from server.accounts.models import User
from server.codes.bulk import (
    COLUMNS,
    MOST_BYTES,
    MOST_PARTS,
    MOST_ROWS,
    MOST_UNPACKED_BYTES,
    SheetError,
    as_text,
    from_text,
    read_sheet,
)
from server.codes.models import VenueCode
from server.context import House
from server.venues.models import Entrance, Venue
from tests.server.people import LIBRARY, MARKET, Browser, sign_in

HEAD = list(COLUMNS)
NEW = ["", "江边诊所", "Clinic", "510104001001", "江边路 3 号", "institution", "郑医生", "028-5550300"]
GOOD = [[LIBRARY.hex(), *[""] * 7, "东门", ""], [*NEW, "正门", "Front"], [*NEW, "急诊", ""]]


def xlsx(rows: list[list[str]], head: list[str] = HEAD) -> bytes:
    book = Workbook()
    for row in (head, *rows):
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def csv_of(rows: list[list[str]], head: list[str] = HEAD, encoding: str = "utf-8") -> bytes:
    return "\n".join(",".join(row) for row in (head, *rows)).encode(encoding)


def dry_run(browser: Browser, data: bytes) -> tuple[int, str]:
    answer = browser.client.post(
        "/codes/bulk", data={"csrf_token": browser.token("/password"), "sheet": (io.BytesIO(data), "x")}
    )
    return answer.status_code, answer.text


def hidden(page: str) -> str:
    import html

    found = re.search(r'name="text" type="hidden" value="([^"]*)"', page)
    assert found, page
    return html.unescape(found[1])


def count(house: House, table: type) -> int:
    with house.database.reading() as reading:
        return reading.scalar(select(func.count()).select_from(table)) or 0


@pytest.mark.parametrize("data", [xlsx(GOOD), csv_of(GOOD), csv_of(GOOD, list(COLUMNS.values()), "gb18030")])
def test_a_good_sheet_becomes_codes_and_a_zip_of_posters(app: Flask, house: House, data: bytes) -> None:
    street = sign_in(app, "street")
    status, page = dry_run(street, data)
    assert status == 200 and "全部 3 行均无问题" in page
    assert count(house, VenueCode) == 0  # a dry run
    answer = street.post("/codes/bulk/now", {"text": hidden(page)})
    assert answer.status_code == 303
    with house.database.reading() as reading:
        codes = reading.scalars(select(VenueCode).order_by(VenueCode.serial)).all()
        assert [(c.door.venue.name_zh, c.entrance, c.version) for c in codes] == [
            ("锦江图书馆", 1, 1),
            ("江边诊所", 1, 1),
            ("江边诊所", 2, 1),
        ]
        assert codes[1].door.venue.keeper_name == "郑医生"
    listed = street.get(answer.location).text
    address = re.search(r'href="(/codes/posters.zip[^"]+)"', listed)[1].replace("&amp;", "&")
    with zipfile.ZipFile(io.BytesIO(street.get(address).data)) as folder:
        assert len(folder.namelist()) == 3
        assert all(re.fullmatch(r"[0-9a-f]{12}-\d-[0-9a-f]{8}\.pdf", name) for name in folder.namelist())
        assert all(folder.read(name).startswith(b"%PDF-") for name in folder.namelist())
    assert sign_in(app, "otherstreet").get(address).status_code == 404


def test_every_problem_of_every_row_is_named_and_nothing_is_done(app: Flask, house: House) -> None:
    bad = [
        [MARKET.hex(), *[""] * 7, "东门", ""],  # another street's venue
        ["zz", *[""] * 7, "东门", ""],
        ["", "店", "", "510105001001", "路", "shop", "人", "1", "门", ""],  # another street's area
        ["", "店二", "", "510104001001", "", "castle", "", "", "", ""],
        [*NEW, "正门", ""],
        [*NEW, "正门", ""],
        ["", *NEW[1:6], "别人", "", "后门", ""],
        [*NEW, "x" * 81, ""],
    ]
    street = sign_in(app, "street")
    status, page = dry_run(street, csv_of([*GOOD[:1], *bad]))
    assert status == 200
    for said in (
        "您的辖区内没有此编号的场所",
        "区域代码不在您的辖区内",
        "缺地址",
        "场所类别无法识别",
        "缺责任人",
        "缺出入口名称",
        "该出入口在表中重复出现",
        "同一场所的各行信息不一致",
        "有单元格内容过长",
    ):
        assert said in page, said
    assert 'name="text"' not in page  # no button
    rows = read_sheet(csv_of([*GOOD[:1], *bad]))
    assert street.post("/codes/bulk/now", {"text": as_text(rows)}).status_code == 422
    assert count(house, VenueCode) == 0 and count(house, Venue) == 2 and count(house, Entrance) == 4


def test_the_real_run_judges_again(app: Flask, house: House) -> None:
    """What the browser sends back is not believed: rights and rows are looked at once more."""
    page = dry_run(sign_in(app, "street"), csv_of(GOOD))[1]
    assert sign_in(app, "otherstreet").post("/codes/bulk/now", {"text": hidden(page)}).status_code == 422
    for name in ("operator", "inspector", "city", "worker"):
        assert sign_in(app, name).post("/codes/bulk/now", {"text": hidden(page)}).status_code == 403, name
    assert count(house, VenueCode) == 0


def zip_bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as folder:
        folder.writestr("xl/workbook.xml", b"0" * 30_000_000)
    return out.getvalue()


def entities() -> bytes:
    """An XLSX one cell of which unfolds a billion laughs."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(xlsx(GOOD))) as good, zipfile.ZipFile(out, "w") as folder:
        for part in good.namelist():
            body = good.read(part)
            if part == "xl/worksheets/sheet1.xml":
                laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 9))
                head = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "lol">{laughs}]>'.encode()
                body = head + re.sub(rb"^<\?xml[^>]*>", b"", body).replace("正门".encode(), b"&l8;")
            folder.writestr(part, body)
    return out.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04" + bytes(100),
        zip_bomb(),
        entities(),
        csv_of([]),
        csv_of(GOOD, ["a", "b"]),
        csv_of([["x"] * 10] * (MOST_ROWS + 1)),
        b"\x00\x01\x02" * 50,
        xlsx(GOOD)[:600],
    ],
    ids=["empty", "no zip", "zip bomb", "entities", "no rows", "no head", "too long", "binary", "cut"],
)
def test_what_is_no_sheet_is_refused(data: bytes) -> None:
    with pytest.raises(SheetError):
        read_sheet(data)


def test_a_good_sheet_with_too_much_around_it_is_refused_for_that() -> None:
    def beside(*parts: bytes) -> bytes:
        out = io.BytesIO(xlsx(GOOD))
        with zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as folder:
            for number, body in enumerate(parts):
                folder.writestr(f"xl/media/{number}.bin", body)
        return out.getvalue()

    assert len(read_sheet(beside(b"x"))) == len(read_sheet(csv_of(GOOD) + b"\r\n" * 9)) == len(GOOD)
    for data in (beside(bytes(MOST_UNPACKED_BYTES)), beside(*[b""] * MOST_PARTS), csv_of(GOOD) + b"\r\n" * MOST_BYTES):
        with pytest.raises(SheetError, match="too large"):
            read_sheet(data)


def test_a_formula_in_a_name_stays_text(app: Flask) -> None:
    row = ["", "=HYPERLINK(1)", "", "510104001001", "<b>路</b>", "shop", "人", "1", "门", ""]
    page = dry_run(sign_in(app, "street"), csv_of([row]))[1]
    assert "<b>路" not in page


def test_text_survives_the_way_through_the_form() -> None:
    rows = read_sheet(csv_of(GOOD))
    again = from_text(as_text(rows))
    assert [(n, {k: v for k, v in cells.items() if v}) for n, cells in again] == [
        (n, {k: v for k, v in cells.items() if v}) for n, cells in rows
    ]
    with pytest.raises(SheetError):
        from_text("nonsense")
    assert User is not None
