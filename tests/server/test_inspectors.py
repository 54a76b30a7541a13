"""Passes are issued to named inspectors for named places and hours, shown to nobody else, and can be stopped."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from protocol.credentials import check
from protocol.credentials.model import Checked
from protocol.credentials.reasons import Reason
from protocol.status_list import StatusLists
from protocol.words import CredentialKind
from server.accounts.models import RoleAssignment, User
from server.accounts.roles import Role
from server.audit import AuditEvent
from server.bundles.parts import trust_list
from server.context import House
from server.inspectors.issuing import inspector_lists, text_of
from server.inspectors.models import InspectorPass
from tests.server.people import KIOSK, LIBRARY, MARKET, NOON, PEOPLE, Browser, Clock, put_kiosk

As = Callable[[str], Browser]


def id_of(house: House, name: str) -> str:
    with house.database.reading() as reading:
        return reading.scalars(select(User.id).where(User.name == name)).one()


def issue(house: House, browser: Browser, *, status: int = 303, **fields: str) -> str:
    """Fill in the form; the address of the new pass, "" when it was refused."""
    wanted = {"inspector": id_of(house, "inspector"), "venues": LIBRARY.hex(), "hours": "4", **fields}
    answer = browser.post("/inspectors", wanted, page="/inspectors")
    assert answer.status_code == status, answer.text
    return str(answer.headers.get("Location", ""))


def shown(app: Flask, house: House, *, at: timedelta = timedelta(), lists: bool = True) -> Checked:
    """The newest pass as a kiosk of this server checks it."""
    with app.app_context(), house.database.reading() as reading:
        newest = reading.scalars(select(InspectorPass).order_by(InspectorPass.position.desc())).first()
        assert newest is not None
        held = list(inspector_lists(reading, at=house.now(), valid_for=timedelta(days=1)))
        text = text_of(newest)
    trust = trust_list(house, house.now())
    return check(text, trust, at=NOON + at, status=StatusLists.of(held) if lists else None)


def test_a_pass_names_who_where_and_how_long(app: Flask, house: House, as_person: As) -> None:
    put_kiosk(house)
    page = issue(house, as_person("street"), kiosks=KIOSK.hex())
    checked = shown(app, house)
    assert checked.valid and checked.kind is CredentialKind.INSPECTOR_PASS and checked.credential is not None
    inspection = checked.credential.inspection
    assert inspection is not None and inspection.inspector == id_of(house, "inspector")
    assert (inspection.venues, inspection.kiosks) == ((LIBRARY,), (KIOSK,))
    assert checked.credential.expires_at == NOON + timedelta(hours=4)
    assert "<svg" in as_person("street").get(page).text
    assert shown(app, house, at=timedelta(hours=4, minutes=5)).reasons == (Reason.EXPIRED,)
    assert shown(app, house, lists=False).valid, "a kiosk without a network has no list of it yet"


def test_the_inspector_sees_their_own_and_nobody_elses(house: House, as_person: As) -> None:
    page = issue(house, as_person("street"))
    mine = as_person("inspector")
    assert "<svg" in mine.get(page).text and page.rpartition("/")[2] in mine.get("/inspectors").text
    assert 'name="venues"' not in mine.get("/inspectors").text, "and issues none"
    assert mine.post("/inspectors", {"hours": "4"}, page="/inspectors").status_code == 403
    for stranger, status in (("otherstreet", 404), ("worker", 403), ("wang", 403), ("operator", 403)):
        assert as_person(stranger).get(page).status_code in (status, 404), stranger
    assert as_person("otherstreet").post(page + "/revocation", {"reason": "x"}, page="/inspectors").status_code == 404


@pytest.mark.parametrize("name", sorted(PEOPLE))
def test_who_may_open_the_page(as_person: As, name: str) -> None:
    able = {"city", "district", "street", "otherstreet", "inspector"}
    assert (as_person(name).get("/inspectors").status_code == 200) is (name in able)


def test_a_revoked_pass_is_refused_by_the_next_list(app: Flask, house: House, as_person: As, clock: Clock) -> None:
    page = issue(house, as_person("street"))
    assert as_person("street").post(page + "/revocation", {"reason": ""}, page=page).status_code == 422
    assert as_person("street").post(page + "/revocation", {"reason": "phone lost"}, page=page).status_code == 303
    assert Reason.REVOKED in shown(app, house).reasons
    after = as_person("street").get(page).text
    assert "phone lost" in after and '<svg class="qr"' not in after, "and it is shown no more"
    with house.database.reading() as reading:
        events = [(e.action, e.object_id) for e in reading.scalars(select(AuditEvent).order_by(AuditEvent.sequence))]
    number = page.rpartition("/")[2]
    assert ("inspector_pass.issued", number) in events and ("inspector_pass.revoked", number) in events


def test_an_over_pass_is_not_shown(house: House, as_person: As, clock: Clock) -> None:
    page = issue(house, as_person("street"), hours="1")
    clock.passes(hours=1, seconds=1)
    answer = as_person("street").get(page)
    assert answer.status_code == 200 and '<svg class="qr"' not in answer.text


def test_nobody_inspects_where_they_work_or_where_they_are_no_inspector(house: House, as_person: As) -> None:
    assert issue(house, as_person("street"), status=422, inspector=id_of(house, "operator")) == ""
    with house.database.writing() as writing:
        inspector = id_of(house, "inspector")
        role = RoleAssignment(
            user_id=inspector, role=Role.VENUE_KEEPER.value, venue_id=LIBRARY, starts_at=NOON - timedelta(days=1)
        )
        writing.add(role)
    assert issue(house, as_person("street"), status=422) == ""


@pytest.mark.parametrize(
    "fields",
    [{"hours": "0"}, {"hours": "25"}, {"hours": "x"}, {"venues": MARKET.hex()}, {"venues": ""}, {"venues": "zz"}],
)
def test_a_form_that_makes_no_sense_makes_no_pass(house: House, as_person: As, fields: dict[str, str]) -> None:
    assert issue(house, as_person("street"), status=422, **fields) == ""
    with house.database.reading() as reading:
        assert reading.query(InspectorPass).count() == 0
