"""Posters on both sheets, and a code's life on its page: renewed, suspended, let back; what phones and kiosks say."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from server.audit import AuditEvent
from server.cases.models import Case
from server.codes.issuing import venue_serials
from server.codes.models import VenueCode
from server.context import House
from server.venues.models import Venue
from tests.server.cases.test_pages import press
from tests.server.people import LIBRARY, NOON, Browser, Clock, hang, open_code, sign_in
from tests.server.vaults import TestVault


def box(pdf: bytes) -> tuple[float, float]:
    """The sheet in mm."""
    found = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+)", pdf)
    assert found, pdf[:400]
    return float(found[1]) / 72 * 25.4, float(found[2]) / 72 * 25.4


def test_a4_and_a3_are_those_sheets(app: Flask) -> None:
    serial = open_code(app)
    operator = sign_in(app, "operator")
    for form, expected in (("pdf", (210, 297)), ("a3", (297, 420))):
        answer = operator.post(f"/codes/{serial}/prints", {"form": form})
        width, height = box(operator.get(answer.location).data)
        assert abs(width - expected[0]) < 1 and abs(height - expected[1]) < 1, form
    page = operator.get(f"/codes/{serial}").text
    assert "A3" in page and "PDF A4" in page


def test_a_suspended_code_is_refused_everywhere_and_let_back(
    app: Flask, house: House, vault: TestVault, stranger: Browser
) -> None:
    serial = open_code(app)
    hang(app, serial)
    with house.database.reading() as reading:
        token = reading.get_one(VenueCode, serial).token
    street = sign_in(app, "street")

    def refused() -> frozenset[int]:
        with app.app_context(), house.database.reading() as reading:
            return venue_serials(reading, at=NOON, valid_for=timedelta(days=1)).revoked

    assert street.post(f"/codes/{serial}/steps/suspend").status_code == 303  # no reason: told so, and nothing done
    assert refused() == frozenset()
    assert street.post(f"/codes/{serial}/steps/suspend", {"reason": "整改逾期"}).status_code == 303
    assert refused() == {serial}  # what kiosks get
    seen = stranger.get(f"/v/{token}")
    assert seen.status_code == 410 and "暂停使用" in seen.text
    assert "整改逾期" in street.get(f"/codes/{serial}").text
    assert street.post(f"/codes/{serial}/steps/resume", {"reason": "已整改"}).status_code == 303
    assert refused() == frozenset()
    assert stranger.get(f"/v/{token}").status_code == 200


def test_who_may_suspend_is_the_workflows_to_say(app: Flask, house: House) -> None:
    serial = open_code(app)
    hang(app, serial)
    for name, status in (("operator", 403), ("staff", 403), ("otherstreet", 404), ("city", 403), ("wang", 403)):
        answer = sign_in(app, name).post(f"/codes/{serial}/steps/suspend", {"reason": "x"})
        assert answer.status_code == status, name
    operator = sign_in(app, "operator")
    assert operator.post(f"/codes/{serial}/steps/spoil", {"reason": "雨淋"}).status_code == 303
    assert operator.post(f"/codes/{serial}/steps/repost").status_code == 303
    with house.database.reading() as reading:
        assert reading.get_one(VenueCode, serial).state == "active"


def test_a_renewed_code_sends_visitors_to_the_new_poster(
    app: Flask, house: House, clock: Clock, vault: TestVault, stranger: Browser
) -> None:
    from server.cases.ticking import tick

    old = open_code(app)
    hang(app, old)
    clock.passes(days=340)
    with app.app_context():
        tick(house, clock())
    street = sign_in(app, "street")
    assert "续期" in street.get(f"/codes/{old}").text
    new = open_code(app)
    hang(app, new)
    with house.database.reading() as reading:
        first = reading.get_one(VenueCode, old)
        assert first.state == "renewed"
        seen = stranger.get(f"/v/{first.token}")
        assert seen.status_code == 410 and "新" in seen.text
        assert stranger.get(f"/v/{reading.get_one(VenueCode, new).token}").status_code == 200


def steps(house: House, serial: int, *actions: str) -> list[str]:
    """What the audit trail tells of the code, of *actions* only."""
    with house.database.reading() as reading:
        rows = reading.scalars(
            select(AuditEvent.action).where(AuditEvent.object_id == f"{serial:08x}").order_by(AuditEvent.sequence)
        )
        return [action for action in rows if action in actions]


@pytest.mark.parametrize("before", ["issued", "printed", "posted", "active", "reposting"])
def test_a_code_that_is_let_back_is_what_it_was(app: Flask, house: House, before: str) -> None:
    serial = open_code(app)
    street, operator = sign_in(app, "street"), sign_in(app, "operator")
    with house.database.writing() as writing:
        writing.get_one(Venue, LIBRARY).keeper_name = "" if before == "posted" else "李管理"
    if before == "printed":
        operator.post(f"/codes/{serial}/prints", {"form": "pdf"})
    elif before != "issued":
        hang(app, serial)
    if before == "reposting":
        operator.post(f"/codes/{serial}/steps/spoil", {"reason": "雨淋"})

    def state() -> str:
        with house.database.reading() as reading:
            return reading.get_one(VenueCode, serial).state

    assert state() == before
    for _ in range(2):
        assert street.post(f"/codes/{serial}/steps/suspend", {"reason": "整改逾期"}).status_code == 303
        assert state() == "suspended"
        assert street.post(f"/codes/{serial}/steps/resume", {"reason": "已整改"}).status_code == 303
        assert state() == before, "also the second time"
    assert steps(house, serial, "code.suspended", "code.resumed") == ["code.suspended", "code.resumed"] * 2


def test_a_keeper_who_is_named_or_leaves_meanwhile_counts_when_a_code_is_let_back(app: Flask, house: House) -> None:
    """V-30: what hung without a responsible person comes into use, and what was in use does not without one."""
    serial = open_code(app)
    street = sign_in(app, "street")
    for keeper, later, state in (("", "李管理", "active"), ("李管理", "", "suspended")):
        with house.database.writing() as writing:
            writing.get_one(Venue, LIBRARY).keeper_name = keeper
        if not keeper:
            hang(app, serial)
        street.post(f"/codes/{serial}/steps/suspend", {"reason": "整改逾期"})
        with house.database.writing() as writing:
            writing.get_one(Venue, LIBRARY).keeper_name = later
        street.post(f"/codes/{serial}/steps/resume", {"reason": "已整改"})
        with house.database.reading() as reading:
            assert reading.get_one(VenueCode, serial).state == state


def test_the_audit_trail_tells_of_steps_taken_on_the_case_s_page(app: Flask, house: House) -> None:
    serial = open_code(app)
    hang(app, serial)
    street, operator = sign_in(app, "street"), sign_in(app, "operator")
    with house.database.reading() as reading:
        case_id = reading.scalars(select(Case.id).where(Case.machine == "venue_code")).one()
    for browser, step in ((street, "suspend"), (street, "resume"), (operator, "spoil"), (operator, "repost")):
        assert press(browser, case_id, step, reason="看过") == 303, step
    told = steps(house, serial, "code.suspended", "code.resumed", "code.spoiled", "code.posted")
    assert told == ["code.posted", "code.suspended", "code.resumed", "code.spoiled", "code.posted"]
