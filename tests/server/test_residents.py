"""The resident's code: what it says, who can open what is sealed on it, and what the database holds."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta

import cairosvg
import numpy as np
import pytest
import zxingcpp
from cv2 import IMREAD_GRAYSCALE, imdecode
from flask import Flask

from protocol.credentials import registry
from protocol.credentials.identity import Identity, check_digit, identity_info, open_identity
from protocol.credentials.model import Checked
from protocol.trust import TrustList
from protocol.words import Colour
from server.accounts.models import User
from server.context import House
from server.residents.codes import close_identity
from server.residents.models import HealthStatus, Resident
from tests.server.people import NOON, Browser, Clock, sign_in
from tests.server.stores import everything_stored
from tests.server.vaults import TestVault

NUMBER = "51010419010101001" + check_digit("51010419010101001")
WANG = Identity("王小明", NUMBER, "+8613800138000")


@pytest.fixture
def wang(app: Flask, house: House) -> str:
    """Wang's resident record, without any health status; its identifier."""
    with app.app_context(), house.database.writing() as writing:
        user = writing.query(User).filter_by(name="wang").one()
        resident = Resident(id="ab" * 8, user_id=user.id, created_at=NOON)
        resident.identity = close_identity(resident.id, WANG)
        writing.add(resident)
    return "ab" * 8


def say(house: House, resident_id: str, colour: Colour, since: datetime = NOON, days: float = 1) -> None:
    with house.database.writing() as writing:
        writing.add(
            HealthStatus(
                resident_id=resident_id,
                since=since,
                colour=int(colour),
                cause="test_negative",
                expires_at=since + timedelta(days=days),
                set_by="system",
            )
        )


def checked(house: House, text: str, at: datetime = NOON) -> Checked:
    trust = TrustList(tuple(house.keys.issuer_trust_entries(at)), at)
    return registry.check(text, trust, at=at)


def own_code(app: Flask) -> dict[str, str]:
    answer = sign_in(app, "wang").get("/me/code.json")
    assert answer.status_code == 200 and answer.json is not None
    return answer.json


def test_a_kiosk_believes_the_code_offline(app: Flask, house: House, wang: str, vault: TestVault) -> None:
    say(house, wang, Colour.GREEN)
    found = checked(house, own_code(app)["text"])
    assert found.valid and found.credential is not None
    assert found.credential.colour is Colour.GREEN
    assert found.credential.name_masked == "王*明"
    assert not checked(house, own_code(app)["text"], NOON + timedelta(minutes=7)).valid


def test_the_vault_and_nobody_in_between_reads_the_identity(
    app: Flask, house: House, wang: str, vault: TestVault
) -> None:
    credential = checked(house, own_code(app)["text"]).credential
    assert credential is not None and credential.identity_sealed is not None and credential.cti is not None
    info = identity_info(credential.cti, credential.pseudonym)
    assert open_identity(credential.identity_sealed, vault.identity, info=info) == WANG
    for part in (WANG.name.encode(), NUMBER.encode(), b"13800138000"):
        assert part not in credential.identity_sealed


def test_the_database_holds_no_name_and_no_number(app: Flask, house: House, wang: str, vault: TestVault) -> None:
    own_code(app)
    dump = everything_stored(house)
    for part in (WANG.name.encode(), NUMBER.encode(), b"13800138000"):
        assert part not in dump


@pytest.mark.parametrize("colour", list(Colour))
def test_the_page_shows_colour_word_and_shape(
    app: Flask, house: House, wang: str, vault: TestVault, colour: Colour
) -> None:
    say(house, wang, colour)
    page = sign_in(app, "wang").get("/me/code").text
    assert f'class="health {colour.name.lower()}"' in page
    assert {"GREEN": "绿码", "YELLOW": "黄码", "RED": "红码", "GREY": "无数据"}[colour.name] in page
    assert 'http-equiv="refresh" content="270"' in page


def test_the_picture_and_the_data_attribute_say_the_same(app: Flask, house: House, wang: str, vault: TestVault) -> None:
    say(house, wang, Colour.GREEN)
    page = sign_in(app, "wang").get("/me/code").text
    svg = re.search(r'<svg class="qr".*?</svg>', page, re.S)
    assert svg
    drawn = svg[0].replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" width="500" height="500" ')
    picture = imdecode(np.frombuffer(cairosvg.svg2png(bytestring=drawn.encode()), np.uint8), IMREAD_GRAYSCALE)
    assert picture is not None
    attribute = re.search(r'data-code="([^"]+)"', page)
    assert attribute
    assert zxingcpp.read_barcodes(picture, formats=zxingcpp.BarcodeFormat.QRCode)[0].text == attribute[1].replace(
        "&amp;", "&"
    )
    assert checked(house, attribute[1]).valid


def test_without_a_statement_or_after_its_end_the_code_is_grey(
    app: Flask, house: House, clock: Clock, wang: str, vault: TestVault
) -> None:
    assert own_code(app)["colour"] == "grey"
    say(house, wang, Colour.GREEN, days=1)
    assert own_code(app)["colour"] == "green"
    clock.passes(days=1)
    assert own_code(app)["colour"] == "grey"


def test_the_newest_statement_that_has_begun_counts(
    app: Flask, house: House, clock: Clock, wang: str, vault: TestVault
) -> None:
    say(house, wang, Colour.GREEN, NOON - timedelta(hours=2))
    say(house, wang, Colour.RED, NOON - timedelta(hours=1))
    say(house, wang, Colour.GREEN, NOON + timedelta(hours=1))
    assert own_code(app)["colour"] == "red"
    clock.passes(hours=1)
    assert own_code(app)["colour"] == "green"


def test_codes_of_one_day_share_a_pseudonym_and_days_do_not(
    app: Flask, house: House, clock: Clock, wang: str, vault: TestVault
) -> None:
    def pseudonym() -> bytes | None:
        credential = checked(house, own_code(app)["text"], clock()).credential
        assert credential is not None
        return credential.pseudonym

    first = pseudonym()
    clock.passes(hours=11)  # still the same day in Chengdu
    assert pseudonym() == first
    clock.passes(hours=2)
    assert pseudonym() != first


def test_every_code_is_a_new_one(app: Flask, house: House, wang: str, vault: TestVault) -> None:
    one, two = (checked(house, own_code(app)["text"]).credential for _ in range(2))
    assert one is not None and two is not None and one.cti != two.cti


def test_without_the_vaults_key_there_is_no_code(app: Flask, wang: str) -> None:
    browser = sign_in(app, "wang")
    assert browser.get("/me/code").status_code == 503
    assert browser.get("/me/code.json").status_code == 503


def test_a_resident_sees_their_own_code_only(app: Flask, wang: str, vault: TestVault) -> None:
    assert sign_in(app, "zhao").get("/me/code.json").status_code == 404
    assert sign_in(app, "street").get("/me/code.json").status_code == 403


def test_a_swapped_row_does_not_open(app: Flask, house: House, wang: str, vault: TestVault) -> None:
    """Somebody who can write the database cannot put one person's identity on another's code."""
    with app.app_context(), house.database.writing() as writing:
        zhao = writing.query(User).filter_by(name="zhao").one()
        stolen = writing.get_one(Resident, wang).identity
        writing.add(Resident(id="cd" * 8, user_id=zhao.id, identity=stolen, created_at=NOON))
    assert sign_in(app, "zhao").get("/me/code.json").status_code == 503


def test_residents_land_on_their_code(as_person: Callable[[str], Browser]) -> None:
    assert as_person("wang").get("/").location == "/me/code"
