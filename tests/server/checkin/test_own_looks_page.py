"""The page about looks: for residents alone, and nothing but sealed words of the right size goes to the vault."""

from __future__ import annotations

import base64

import pytest
from flask import Flask

from protocol.own_looks import CHALLENGE_BYTES, SEALED_WORD_BYTES
from tests.server.people import sign_in
from tests.server.test_residents import wang  # noqa: F401  a fixture
from tests.server.vaults import TestVault

GOOD = {"challenge": "00" * CHALLENGE_BYTES, "word": base64.b64encode(bytes(SEALED_WORD_BYTES)).decode()}


@pytest.mark.usefixtures("wang")
def test_the_word_in_clear_has_no_name_and_is_never_sent(app: Flask, vault: TestVault) -> None:
    page = sign_in(app, "wang").get("/me/looks")
    assert page.status_code == 200 and "没有应答" in page.text  # no vault runs in this test
    assert 'id="word"' not in page.text


@pytest.mark.usefixtures("wang")
@pytest.mark.parametrize(
    "change",
    [{"word": ""}, {"word": "AAAA"}, {"word": "!"}, {"challenge": ""}, {"challenge": "zz"}, {"challenge": "00"}],
)
def test_anything_else_than_a_sealed_word_is_refused(app: Flask, vault: TestVault, change: dict[str, str]) -> None:
    assert sign_in(app, "wang").post("/me/looks", {**GOOD, **change}).status_code == 400


@pytest.mark.usefixtures("wang")
def test_a_vault_that_is_away_is_said_and_nothing_is_told(app: Flask, vault: TestVault) -> None:
    answer = sign_in(app, "wang").post("/me/looks", GOOD)
    assert answer.status_code == 503 and "没有应答" in answer.text


@pytest.mark.usefixtures("wang")
def test_who_is_no_resident_has_no_such_page(app: Flask, vault: TestVault) -> None:
    for name, status in (("zhao", 404), ("epi", 403), ("officer", 403), ("city", 403)):
        assert sign_in(app, name).get("/me/looks").status_code == status, name
        assert sign_in(app, name).post("/me/looks", GOOD).status_code == status, name
