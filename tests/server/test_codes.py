"""Venue codes from issue to revocation, the poster, and the page behind it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import timedelta
from xml.etree import ElementTree

import cairosvg
import numpy as np
import pytest
import zxingcpp
from cv2 import IMREAD_GRAYSCALE, imdecode
from flask import Flask

from protocol.credentials.venue_code import check_word, issue_token
from server.audit import AuditEvent
from server.codes.issuing import venue_serials
from server.codes.models import CodeState, PosterPrint, VenueCode
from server.context import House
from server.keystore import ALG, IssuerUse
from server.venues.models import Entrance, Venue
from tests.server.people import LIBRARY, MARKET, NOON, Browser, Clock, hang, open_code

V = LIBRARY.hex()


def code_of(house: House, serial: int) -> VenueCode:
    with house.database.reading() as reading:
        return reading.get_one(VenueCode, serial)


def state_of(house: House, serial: int) -> CodeState:
    return code_of(house, serial).kind


def test_a_code_goes_from_issued_to_in_use(app: Flask, house: House) -> None:
    serial = open_code(app)
    assert state_of(house, serial) is CodeState.ISSUED
    hang(app, serial)
    assert state_of(house, serial) is CodeState.ACTIVE
    with house.database.reading() as reading:
        actions = [event.action for event in reading.query(AuditEvent).filter_by(object_kind="venue_code")]
    assert actions == ["code.issued", "code.printed", "code.posted"]


def test_without_a_responsible_person_a_code_hangs_and_is_not_in_use(
    app: Flask, house: House, as_person: Callable[[str], Browser]
) -> None:
    with house.database.writing() as writing:
        writing.get_one(Venue, LIBRARY).keeper_name = ""
    serial = open_code(app)
    hang(app, serial)
    assert state_of(house, serial) is CodeState.POSTED
    street = as_person("street")
    fields = {"name_zh": "锦江图书馆", "address": "人民路 1 号", "area_code": "510104001001", "category": "culture"}
    assert street.post(f"/venues/{V}/edit", {**fields, "keeper_name": "李管理"}).status_code == 303
    assert state_of(house, serial) is CodeState.ACTIVE


def test_the_old_poster_works_until_the_new_one_hangs(app: Flask, house: House, stranger: Browser) -> None:
    old = open_code(app)
    hang(app, old)
    new = open_code(app)
    old_page = f"/v/{code_of(house, old).token}"
    assert stranger.get(old_page).status_code == 200
    hang(app, new)
    assert state_of(house, old) is CodeState.SUPERSEDED
    assert stranger.get(old_page).status_code == 410
    assert stranger.get(f"/v/{code_of(house, new).token}").status_code == 200
    assert code_of(house, new).version == 2


def test_reprints_keep_their_history(app: Flask, house: House, as_person: Callable[[str], Browser]) -> None:
    serial = open_code(app)
    operator = as_person("operator")
    for form in ("pdf", "png", "pdf"):
        answer = operator.post(f"/codes/{serial}/prints", {"form": form})
        assert answer.location == f"/codes/{serial}/poster.{form}"
    with house.database.reading() as reading:
        assert [p.form for p in reading.query(PosterPrint).order_by(PosterPrint.at)].count("pdf") == 2
    assert operator.post(f"/codes/{serial}/prints", {"form": "exe"}).status_code == 400


def test_a_poster_cannot_hang_before_it_is_printed(
    app: Flask, house: House, as_person: Callable[[str], Browser]
) -> None:
    serial = open_code(app)
    operator = as_person("operator")
    operator.post(f"/codes/{serial}/posting", {"note": ""})
    assert state_of(house, serial) is CodeState.ISSUED
    assert "请先打印海报" in operator.get(f"/codes/{serial}").text


def test_revoking_wants_a_reason_and_the_typed_name(
    app: Flask, house: House, as_person: Callable[[str], Browser], stranger: Browser
) -> None:
    serial = open_code(app)
    street = as_person("street")
    for fields in ({"reason": "搬迁"}, {"venue_name": "锦江图书馆"}, {"reason": "搬迁", "venue_name": "青羊市场"}):
        assert street.post(f"/codes/{serial}/revocation", fields).status_code == 422
    assert state_of(house, serial) is CodeState.ISSUED
    fields = {"reason": "搬迁", "venue_name": "锦江图书馆"}
    assert street.post(f"/codes/{serial}/revocation", fields).status_code == 303
    assert state_of(house, serial) is CodeState.REVOKED
    page = stranger.get(f"/v/{code_of(house, serial).token}")
    assert page.status_code == 410 and "此海报已失效" in page.text
    assert street.get(f"/codes/{serial}/poster.pdf").status_code == 410
    street.post(f"/codes/{serial}/revocation", fields)
    with house.database.reading() as reading:
        assert reading.query(AuditEvent).filter_by(action="code.revoked").count() == 1


def test_kiosks_are_told_which_serials_ended(app: Flask, house: House, as_person: Callable[[str], Browser]) -> None:
    revoked, kept = open_code(app), open_code(app, entrance=2)
    as_person("street").post(f"/codes/{revoked}/revocation", {"reason": "x", "venue_name": "锦江图书馆"})
    with house.database.reading() as reading:
        assert venue_serials(reading, at=NOON, valid_for=timedelta(hours=1)).revoked == {revoked}
        after_all = venue_serials(reading, at=NOON + timedelta(days=400), valid_for=timedelta(hours=1))
    assert after_all.revoked == frozenset(), "a code that would have expired anyway needs no line"
    assert kept not in after_all.revoked


def test_an_expired_code_is_refused_and_cannot_be_printed(
    app: Flask, house: House, clock: Clock, as_person: Callable[[str], Browser], stranger: Browser
) -> None:
    serial = open_code(app)
    clock.passes(days=366)
    assert stranger.get(f"/v/{code_of(house, serial).token}").status_code == 410
    operator = as_person("operator")
    operator.post(f"/codes/{serial}/prints", {"form": "pdf"})
    assert state_of(house, serial) is CodeState.ISSUED
    assert "已过期" in operator.get(f"/codes/{serial}").text


def test_a_closed_entrance_gets_no_new_code(app: Flask, house: House, as_person: Callable[[str], Browser]) -> None:
    street = as_person("street")
    assert street.post(f"/venues/{V}/entrances/2/close", {"reason": "封闭"}).status_code == 303
    street.post(f"/venues/{V}/entrances/2/codes")
    with house.database.reading() as reading:
        assert reading.query(VenueCode).count() == 0
        assert reading.get_one(Entrance, (LIBRARY, 2)).closed_at == NOON


# --- the public page --------------------------------------------------------------------------


def test_a_scanned_poster_says_where_one_is_and_asks_for_nothing(app: Flask, house: House, stranger: Browser) -> None:
    serial = open_code(app)
    answer = stranger.get(f"/v/{code_of(house, serial).token}")
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "锦江图书馆" in answer.text and "东门" in answer.text and "East gate" in answer.text
    assert check_word(LIBRARY, serial) in answer.text
    assert "<form" not in answer.text and "Set-Cookie" not in answer.headers


def tampered(token: str) -> str:
    data = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    data[-1] ^= 1
    return base64.urlsafe_b64encode(bytes(data)).rstrip(b"=").decode()


def test_a_forged_or_damaged_token_is_refused(app: Flask, house: House, stranger: Browser) -> None:
    token = code_of(house, open_code(app)).token
    for other in (tampered(token), token[:-4], token + "AAAA", "x", "A" * 300, "../../etc/passwd", token.swapcase()):
        answer = stranger.get(f"/v/{other}")
        assert answer.status_code == 404, other
        assert token not in answer.text


def test_a_token_that_we_signed_and_never_stored_is_not_genuine(app: Flask, house: House, stranger: Browser) -> None:
    """Whoever gets a copy of the issuer key alone cannot invent posters that phones believe."""
    serial = open_code(app)
    token = code_of(house, serial).token
    with house.database.writing() as writing:
        writing.delete(writing.get_one(VenueCode, serial))
    assert stranger.get(f"/v/{token}").status_code == 404


def test_a_stolen_key_cannot_borrow_the_serial_of_a_real_poster(app: Flask, house: House, stranger: Browser) -> None:
    serial = open_code(app)
    key = house.keys.issuer_signing_key(IssuerUse.VENUE_CODE, NOON)
    for venue_id, entrance in ((MARKET, 1), (LIBRARY, 2), (LIBRARY, 1)):
        forged = issue_token(
            key=key.private_key,
            alg=ALG,
            kid=key.kid,
            venue_id=venue_id,
            entrance=entrance,
            serial=serial,
            issued_at=NOON,
        )
        assert stranger.get(f"/v/{forged}").status_code == 404


def test_a_retired_key_keeps_its_posters_alive(app: Flask, house: House, stranger: Browser) -> None:
    token = code_of(house, open_code(app)).token
    key = house.keys.issuer_signing_key(IssuerUse.VENUE_CODE, NOON)
    house.keys.add_issuer_key(IssuerUse.VENUE_CODE, not_before=NOON)
    house.keys.retire_issuer_key(key.kid, at=NOON)
    assert stranger.get(f"/v/{token}").status_code == 200
    second = code_of(house, open_code(app))
    assert second.kid != key.kid
    assert stranger.get(f"/v/{second.token}").status_code == 200


# --- the poster -------------------------------------------------------------------------------


def read_codes(png: bytes) -> list[str]:
    picture = imdecode(np.frombuffer(png, np.uint8), IMREAD_GRAYSCALE)
    assert picture is not None
    formats = zxingcpp.BarcodeFormat.QRCodeModel2  # without it, zxing-cpp finds a Codabar in the drawing now and then
    return [found.text for found in zxingcpp.read_barcodes(picture, formats=formats)]


def test_every_form_of_the_poster_reads_back_as_the_code(
    app: Flask, house: House, as_person: Callable[[str], Browser]
) -> None:
    serial = open_code(app)
    expected = [f"http://localhost/v/{code_of(house, serial).token}"]
    operator = as_person("operator")
    assert read_codes(operator.get(f"/codes/{serial}/poster.png").data) == expected
    svg = operator.get(f"/codes/{serial}/poster.svg")
    assert svg.mimetype == "image/svg+xml" and svg.headers["Content-Disposition"].startswith("attachment")
    assert read_codes(cairosvg.svg2png(bytestring=svg.data, output_width=900)) == expected
    pdf = operator.get(f"/codes/{serial}/poster.pdf").data
    assert pdf.startswith(b"%PDF-") and len(pdf) > 10_000


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "\"/><image href='http://evil.example/x'/>", "&lt;&amp;", "a" * 80, "长" * 80]
)
def test_a_hostile_or_long_name_stays_text_on_the_poster(
    app: Flask, house: House, as_person: Callable[[str], Browser], name: str
) -> None:
    with house.database.writing() as writing:
        venue = writing.get_one(Venue, LIBRARY)
        venue.name_zh = venue.name_en = venue.address = name
    serial = open_code(app)
    svg = as_person("operator").get(f"/codes/{serial}/poster.svg").data
    drawing = ElementTree.fromstring(svg)  # well-formed, whatever the name
    tags = {element.tag.rsplit("}", 1)[1] for element in drawing.iter()}
    assert tags == {"svg", "title", "rect", "text", "path", "g", "circle"}
    assert b"style=" not in svg and b"href" not in svg.replace(b"href=&#39;", b"")
    for text in drawing.iter("{http://www.w3.org/2000/svg}text"):
        assert float(text.get("font-size", "0")) >= 2.5, "still legible"


def test_two_printings_of_one_code_are_the_same_code(app: Flask, as_person: Callable[[str], Browser]) -> None:
    serial = open_code(app)
    operator = as_person("operator")
    assert operator.get(f"/codes/{serial}/poster.svg").data == operator.get(f"/codes/{serial}/poster.svg").data
