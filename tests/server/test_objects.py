"""Every object beside those of the table of routes, for every role in its own and in another area: who gets to it.

The table is written from the permission matrix (requirements A.3). Nobody here has made, asked for or been given any of
these objects; what that gives somebody is in the journeys of each subject.
"""

from __future__ import annotations

import pytest
from flask import Flask

from server.accounts.models import User
from server.areas.models import Area, Level, area_row
from server.context import House
from tests.server.cases.test_pages import report
from tests.server.people import LIBRARY, Clock, put_kiosk, sign_in
from tests.server.test_notices import filled, publish, write
from tests.server.test_policies import emergency
from tests.server.test_routes import FOR_ONESELF, NOBODY, ROLES, gets_in, put_account
from tests.server.test_rule_pages import put, rule_set
from tests.server.vaults import TestVault

pytestmark = pytest.mark.stores("sqlite")  # who may open what does not depend on the database

# (method, address) -> who is let in at home; "=" before: wherever they are, for what belongs to no area.
OBJECTS: dict[tuple[str, str], str] = {
    ("GET", "QUERY"): "CC DC ST",
    ("POST", "QUERY/approve"): "CC DC ST",
    ("POST", "QUERY/refuse"): "CC DC ST",
    ("POST", "QUERY/withdraw"): "CC DC ST",
    ("POST", "QUERY/look"): NOBODY,  # but who asked
    ("GET", "CASE"): "CC DC ST CM GR RG VO VK VS IN TS",
    ("POST", "CASE/steps/acknowledge"): "ST",
    ("POST", "CASE/remarks"): "CC DC ST CM GR RG VO VK VS IN TS",
    ("POST", "CASE/hold"): "ST",
    ("GET", "NOTICE"): "CC DC ST RG IN",  # a street's: communities lie below, registrar and inspector sit above
    ("GET", "NOTICE/edit"): "CC DC ST RG",
    ("POST", "NOTICE/edit"): "CC DC ST RG",
    ("POST", "NOTICE/steps/submit"): "CC DC ST RG",
    ("GET", "NEWS"): "CC DC ST RG IN",
    ("POST", "NEWS/steps/withdraw"): "CC DC",
    ("GET", "PASS"): "CC DC ST",  # and the inspector whose it is
    ("POST", "PASS/revocation"): "CC DC ST",
    ("GET", "RULES"): "CC DC ST CM ID IN",
    ("POST", "RULES/withdrawal"): "CC",
    ("POST", "EMERGENCY"): "CC DC ST",
    ("GET", "/profiles/culture/normal"): "= CC",
    ("POST", "/profiles/culture/normal"): "= CC",
}


def put_objects(app: Flask, house: House, clock: Clock) -> dict[str, str]:
    """One of each in the library's street; what stands for the capital words."""
    put_kiosk(house)
    street = sign_in(app, "street")
    asked = {
        "purpose": "epi_trace",
        "case_reference": "EPI-2026-17",
        "legal_ground": "传染病防治法 第三十九条",
        "venues": LIBRARY.hex(),
        "from_at": "2026-03-02T00:00",
        "to_at": "2026-03-02T12:00",
        "person_kind": "",
        "person": "",
        "max_rows": "10",
        "valid_hours": "24",
    }
    query = sign_in(app, "epi").post("/queries/new", asked)
    assert query.status_code == 303, query.text
    notices = [write(street, filled(clock, where="area:510104001")) for _ in range(2)]
    publish(app, notices[1])
    with house.database.reading() as reading:
        inspector = reading.query(User).filter_by(name="inspector").one().id
    given = {"inspector": inspector, "venues": LIBRARY.hex(), "hours": "4"}
    issued = street.post("/inspectors", given, page="/inspectors")
    assert issued.status_code == 303, issued.text
    assert street.post("/emergency", emergency(clock)).status_code == 303
    page = street.get("/emergency").text
    found = page.split('action="/emergency/', 1)[1].split("/end", 1)[0]
    return {
        "QUERY": query.location,
        "CASE": f"/cases/case/{report(app)}",
        "NOTICE": notices[0],
        "NEWS": notices[1],
        "PASS": issued.location,
        "RULES": put(sign_in(app, "city"), rule_set(), area="510104"),
        "EMERGENCY": f"/emergency/{found}/end",
    }


@pytest.mark.slow
@pytest.mark.stores("sqlite")
@pytest.mark.parametrize("place", ["home", "away"])
def test_each_role_gets_to_exactly_these_objects(
    app: Flask, house: House, clock: Clock, vault: TestVault, place: str
) -> None:
    words = put_objects(app, house, clock)
    with house.database.writing() as writing:
        writing.add(area_row("520100", Level.CITY, "外市", "", writing.get_one(Area, "510000")))
    wrong = []
    for code in (*ROLES, None):
        if place == "away" and (code is None or code in FOR_ONESELF):
            continue
        name = f"{code or 'none'}.{place}".lower()
        put_account(house, name, code, place)
        browser = sign_in(app, name)
        token = browser.token("/password")
        for (method, address), allowed in OBJECTS.items():
            word = address.partition("/")[0]
            path = address.replace(word, words[word], 1) if word else address
            codes = set(allowed.replace("=", "").split())
            expected = code in codes and (place == "home" or allowed.startswith("="))
            if gets_in(browser, token, method, path) != expected:
                wrong.append(f"{method} {address}, {code}: {'refused' if expected else 'let in'}")
    assert wrong == []
