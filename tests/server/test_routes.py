"""The table of routes: every route x every role x own area, other area and no role at all, allowed and refused.

The table is written from the permission matrix (requirements A.3), not from the code's own declarations: where the two
disagree, a test fails. A new route without a line here fails `test_the_table_has_every_route`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask

from protocol.staff import StaffRole
from server.accounts.models import AccountSession, RoleAssignment, User
from server.accounts.roles import Role
from server.areas.models import Area, Level, area_row
from server.bundles.staff import set_staff
from server.context import House
from server.web.access import Gate, access_of
from tests.server.people import (
    KIOSK,
    LIBRARY,
    MARKET,
    NOON,
    PASSWORD,
    Browser,
    allow_personal,
    open_code,
    put_kiosk,
    put_resident,
    sign_in,
)
from tests.server.vaults import TestVault

pytestmark = pytest.mark.stores("sqlite")  # who may open what does not depend on the database

V, K, R = LIBRARY.hex(), KIOSK.hex(), "cd" * 8

# The columns of the matrix and the roles beside them.
ROLES: dict[str, Role] = {
    "CC": Role.CITY_COMMAND,
    "DC": Role.DISTRICT_COMMAND,
    "ST": Role.STREET_ADMIN,
    "CM": Role.COMMUNITY_WORKER,
    "GR": Role.GRID_WORKER,
    "RG": Role.REGISTRAR,
    "ID": Role.INDUSTRY_DEPT,
    "AP": Role.APPLICANT,
    "VO": Role.VENUE_OPERATOR,
    "VK": Role.VENUE_KEEPER,
    "VS": Role.VENUE_STAFF,
    "IN": Role.INSPECTOR,
    "EP": Role.EPI_INVESTIGATOR,
    "RE": Role.RESIDENT,
    "EL": Role.ASSISTED_PERSON,
    "LL": Role.LANDLORD,
    "VT": Role.VOLUNTEER,
    "DP": Role.DATA_PROVIDER,
    "DO": Role.DATA_OFFICER,
    "TO": Role.TRAINING_OFFICER,
    "SK": Role.SUPPLY_KEEPER,
    "TS": Role.TECH_SUPPORT,
}
# Where each role sits: its own area holds the library, the other one does not.
_HOME = {"CC": "510100", "DC": "510104", "ST": "510104001", "CM": "510104001001", "GR": "510104001001"}
_AWAY = {"CC": "520100", "DC": "510105", "ST": "510105001", "CM": "510105001001", "GR": "510105001001"}
AT_VENUES, FOR_ONESELF = {"VO", "VK", "VS"}, {"RE", "EL", "LL"}

OPEN = "open"  # strangers, too
ALL = "all"  # any account, also one without a role: only what is one's own
NOBODY = ""  # somebody else's, for everybody in this test

ENTERS = "CM GR RG"  # residents: F, C and the registrar beside the matrix
GIVES_BADGES = MANAGES = "CC DC ST CM VO VK"  # users: F, and O at one's own venue
PRINTS = "ST CM VO VK VS IN"
# "=" before a line: a list, a form or a page of one's own; the same in another area, where it shows other things.
TABLE: dict[tuple[str, str], str] = {
    ("GET", "/healthz"): OPEN,
    ("GET", "/readyz"): OPEN,
    ("GET", "/openapi.json"): OPEN,
    ("GET", "/static/gatehouse.css"): OPEN,
    ("GET", "/sign-in"): OPEN,
    ("POST", "/sign-in"): OPEN,
    ("GET", "/sign-in/second"): OPEN,
    ("POST", "/sign-in/second"): OPEN,
    ("POST", "/sign-in/passkey"): OPEN,
    ("GET", "/register"): OPEN,
    ("POST", "/register"): OPEN,
    ("GET", "/choose-password/TOKEN"): OPEN,
    ("POST", "/choose-password/TOKEN"): OPEN,
    ("GET", "/v/TOKEN"): OPEN,
    ("POST", "/v/TOKEN"): OPEN,
    ("GET", "/checkin/key.json"): OPEN,
    ("GET", f"/venues/{V}/references"): "VO VK VS",
    ("POST", f"/venues/{V}/references"): "VO VK VS",
    ("GET", "/"): ALL,
    ("GET", "/password"): ALL,
    ("POST", "/password"): ALL,
    ("GET", "/account/"): ALL,
    ("GET", "/account/agreement"): ALL,
    ("POST", "/account/agreement"): ALL,
    ("GET", "/account/second-factor"): ALL,
    ("POST", "/account/second-factor/app"): ALL,
    ("POST", "/account/second-factor/app/confirm"): ALL,
    ("POST", "/account/second-factor/app/remove"): ALL,
    ("POST", "/account/second-factor/recovery-codes"): ALL,
    ("POST", "/account/second-factor/passkeys"): ALL,
    ("POST", "/account/second-factor/passkeys/0000000000000000/remove"): NOBODY,
    ("POST", "/account/sessions/SESSION/end"): NOBODY,
    ("POST", "/sign-out"): ALL,
    ("POST", "/sign-out-everywhere"): ALL,
    ("GET", "/audit"): "= CC DC ST IN DO RE EL",
    ("GET", "/retention/"): "= CC DO",
    ("GET", "/venues"): "= ST CM VO VK VS IN TS",
    ("GET", "/venues/new"): "= ST",
    ("POST", "/venues/new"): "= ST",
    ("GET", f"/venues/{V}"): "ST CM VO VK VS IN TS",
    ("GET", f"/venues/{V}/edit"): "ST",
    ("POST", f"/venues/{V}/edit"): "ST",
    ("POST", f"/venues/{V}/entrances"): "ST",
    ("POST", f"/venues/{V}/entrances/2/close"): "ST",
    ("POST", f"/venues/{V}/entrances/1/codes"): "ST",
    ("GET", f"/venues/{V}/badges"): GIVES_BADGES,
    ("GET", "/badges/BADGE/card.svg"): GIVES_BADGES,
    ("POST", "/badges/BADGE/revocation"): GIVES_BADGES,
    ("POST", f"/venues/{V}/staff/wei/badges"): GIVES_BADGES,
    ("GET", "/codes"): "= CC DC ST CM ID IN",
    ("GET", "/codes/1"): PRINTS,
    ("GET", "/codes/1/poster.svg"): "ST CM VO VK IN",
    ("POST", "/codes/1/prints"): "VO VK VS",
    ("POST", "/codes/1/posting"): "VO VK VS",
    ("POST", "/codes/1/revocation"): "ST",
    ("GET", "/codes/bulk"): "= ST",
    ("POST", "/codes/bulk"): "= ST",
    ("GET", "/codes/bulk/example.csv"): "= ST",
    ("POST", "/codes/bulk/now"): "= ST",
    ("GET", "/search"): ALL,
    ("POST", "/exports/venues.csv"): "= ST CM VO VK VS IN TS",
    ("POST", "/exports/codes.csv"): "= CC DC ST CM ID IN",
    ("POST", "/exports/kiosks.xlsx"): "= ST VO VK IN TS",
    ("GET", "/tip-off"): OPEN,
    ("POST", "/tip-off"): OPEN,
    ("GET", "/tip-off/follow"): OPEN,
    ("POST", "/tip-off/follow"): OPEN,
    ("GET", "/inspections/draws"): "= CC DC ST",
    ("POST", "/inspections/draws"): "= CC DC ST",
    ("GET", "/inspections/scores"): "= CC DC ST IN",
    ("GET", f"/venues/{V}/score"): "CC DC ST IN CM VO VK",
    ("GET", "/applications/"): "= AP VO VK",
    ("GET", "/applications/new"): "= AP VO VK",
    ("POST", "/applications/new"): "= AP VO VK",
    ("GET", "/kiosks"): "= ST VO VK IN TS",
    ("GET", "/kiosks/overview"): "= ST VO VK IN TS",
    ("GET", f"/kiosks/{K}/lost"): "ST VO VK IN TS",
    ("GET", f"/kiosks/{K}"): "ST VO VK IN TS",
    ("GET", f"/kiosks/{K}/record"): "ST VO VK IN TS",
    ("GET", f"/kiosks/{K}/quarantine"): "ST VO VK IN TS",
    ("POST", f"/kiosks/{K}/quarantine"): "ST",
    ("GET", f"/kiosks/{K}/quarantine.json"): "ST",
    ("POST", f"/kiosks/{K}/suspend"): "ST",
    ("GET", f"/venues/{V}/enrol"): "ST TS",
    ("POST", f"/venues/{V}/enrol"): "ST TS",
    ("GET", "/enrolment/CODE"): "ST TS",
    ("POST", "/enrolment/CODE/cancel"): "ST TS",
    ("GET", "/residents/"): f"= ST {ENTERS}",
    ("POST", "/residents/"): f"= ST {ENTERS}",
    ("GET", "/residents/new"): f"= {ENTERS}",
    ("POST", "/residents/new"): f"= {ENTERS}",
    ("GET", "/residents/import"): f"= {ENTERS}",
    ("POST", "/residents/import"): f"= {ENTERS}",
    ("POST", "/residents/import/now"): f"= {ENTERS}",
    ("GET", f"/residents/{R}"): f"CC DC ST {ENTERS}",
    ("POST", f"/residents/{R}/change"): ENTERS,
    ("POST", f"/residents/{R}/statements"): "CC DC ST CM",  # EP: within one case only, by its query
    ("POST", f"/residents/{R}/account"): ENTERS,
    ("POST", f"/residents/{R}/withdrawal"): "CM",
    ("GET", "/papers"): f"= {ENTERS}",
    ("GET", "/papers/new"): f"= {ENTERS}",
    ("POST", "/papers/new"): f"= {ENTERS}",
    ("GET", "/papers/PAPER"): ENTERS,
    ("GET", "/papers/PAPER/page.svg"): ENTERS,
    ("POST", "/papers/PAPER/revocation"): ENTERS,
    ("POST", f"/residents/{R}/papers"): ENTERS,
    ("GET", "/queries/"): "= DC ST VO VK EP",
    ("GET", "/queries/new"): "= DC ST VO VK EP",
    ("POST", "/queries/new"): "= DC ST VO VK EP",
    ("GET", "/queries/inbox"): "= CC DC ST",
    ("GET", "/queries/waiting.json"): "= CC DC ST",
    ("GET", "/queries/passkeys/"): "= CC DC ST",
    ("POST", "/queries/passkeys/"): "= CC DC ST",
    ("GET", "/queries/passkeys/0000000000000000.offer"): NOBODY,
    ("GET", "/queries/looks/0000000000000000.tlog-proof"): NOBODY,
    ("GET", "/queries/looks"): "= CC DO",
    ("POST", "/queries/looks/check"): "= CC DO",
    ("GET", "/inspectors"): "= CC DC ST IN",
    ("POST", "/inspectors"): "= CC DC ST",
    ("GET", "/notices"): "= CC DC ST CM GR RG IN",
    ("GET", "/notices/new"): "= CC DC ST CM GR RG",  # uploads source records (C), and sees what becomes of them (R)
    ("POST", "/notices/new"): "= CC DC ST CM GR RG",
    ("GET", "/profiles"): "= CC DC ST CM ID IN",
    ("GET", "/rules/"): "= CC DC ST CM ID IN",
    ("GET", "/rules/new"): "= CC",
    ("POST", "/rules/new"): "= CC",
    ("GET", "/emergency"): "= CC DC ST",
    ("POST", "/emergency"): "= CC DC ST",
    ("GET", f"/venues/{V}/terms"): "CC DC ST CM VO VK",
    ("POST", f"/venues/{V}/terms"): "CC DC ST CM VO VK",
    ("GET", "/users/"): "= CC DC ST CM ID VO VK",
    ("GET", "/users/new"): "= CC DC ST CM ID VO VK",
    ("POST", "/users/new"): "= CC DC ST CM ID VO VK",
    ("GET", "/users/access"): "= CC DC ST CM ID VO VK",
    ("POST", "/users/access"): "= CC DC ST CM",
    ("GET", "/users/USER"): MANAGES,
    ("POST", "/users/USER/roles"): MANAGES,
    ("POST", "/users/USER/roles/ROLE/end"): MANAGES,
    ("POST", "/users/USER/link"): MANAGES,
    ("POST", "/users/USER/second-factor/reset"): MANAGES,
    ("POST", "/users/USER/sessions/end"): MANAGES,
    ("POST", "/users/USER/training"): "ST",
    ("POST", "/users/USER/disable"): MANAGES,
    ("POST", "/users/USER/enable"): MANAGES,
    ("GET", "/me/code"): "= RE EL CM GR RG",  # who may enter residents may have a code of their own, if registered
    ("GET", "/me/code.json"): "= RE EL CM GR RG",
    ("GET", "/me/looks"): "= RE EL",
    ("POST", "/me/looks"): "= RE EL",
}
# Routes over things whose states and parties decide, with journeys of their own. Here: nothing for who has no role.
ELSEWHERE: dict[tuple[str, str], str] = {
    ("GET", f"/queries/{'00' * 16}"): "tests/server/queries",
    ("POST", f"/queries/{'00' * 16}/approve"): "tests/server/queries",
    ("POST", f"/queries/{'00' * 16}/look"): "tests/server/queries",
    ("POST", f"/queries/{'00' * 16}/refuse"): "tests/server/queries",
    ("POST", f"/queries/{'00' * 16}/review"): "tests/server/queries",
    ("POST", f"/queries/{'00' * 16}/withdraw"): "tests/server/queries",
    ("GET", "/retention/certificates/1"): "tests/server/retention",
    ("GET", "/retention/certificates/1.cose"): "tests/server/retention",
    ("GET", "/cases/fault/new"): "tests/server/cases",
    ("POST", "/cases/fault/new"): "tests/server/cases",
    ("GET", "/cases/fault/"): "tests/server/cases",
    ("POST", "/cases/fault/export"): "tests/server/cases",
    ("GET", "/cases/case/0000000000000000"): "tests/server/cases",
    ("POST", "/cases/case/0000000000000000/steps/close"): "tests/server/cases",
    ("POST", "/cases/case/0000000000000000/remarks"): "tests/server/cases",
    ("POST", "/cases/case/0000000000000000/hold"): "tests/server/cases",
    ("POST", "/cases/case/0000000000000000/resume"): "tests/server/cases",
    ("POST", "/cases/case/0000000000000000/assignee"): "tests/server/cases",
    ("GET", "/applications/0000000000000000"): "tests/server/applications",
    ("GET", "/applications/0000000000000000/edit"): "tests/server/applications",
    ("POST", "/applications/0000000000000000/edit"): "tests/server/applications",
    ("GET", "/applications/0000000000000000/files/proof"): "tests/server/applications",
    ("POST", "/applications/0000000000000000/files/proof"): "tests/server/applications",
    ("POST", "/applications/0000000000000000/entrances"): "tests/server/applications",
    ("POST", "/applications/0000000000000000/entrances/1/removal"): "tests/server/applications",
    ("POST", "/applications/0000000000000000/steps/submit"): "tests/server/applications",
    ("GET", "/codes/bulk/issued"): "tests/server/posters",
    ("GET", "/codes/posters.zip"): "tests/server/posters",
    ("POST", "/codes/1/steps/suspend"): "tests/server/posters",
    ("GET", "/tip-offs/0000000000000000"): "tests/server/tipoffs",
    ("GET", "/tip-offs/0000000000000000/photo"): "tests/server/tipoffs",
    ("POST", "/tip-offs/0000000000000000/venue"): "tests/server/tipoffs",
    ("POST", "/tip-offs/0000000000000000/messages"): "tests/server/tipoffs",
    ("GET", "/inspections/0000000000000000"): "tests/server/inspections",
    ("GET", "/inspections/draws/0000000000000000"): "tests/server/inspections",
    ("POST", "/inspections/0000000000000000/photos"): "tests/server/inspections",
    ("GET", "/inspections/0000000000000000/photos/0000000000000000"): "tests/server/inspections",
    ("POST", "/emergency/0000000000000000/end"): "tests/server/test_policies.py",
    ("GET", "/profiles/culture/normal"): "tests/server/test_policies.py",
    ("POST", "/profiles/culture/normal"): "tests/server/test_policies.py",
    ("POST", "/profiles/culture/normal/clearing"): "tests/server/test_policies.py",
    ("GET", "/inspectors/1-0"): "tests/server/test_inspectors.py",
    ("POST", "/inspectors/1-0/revocation"): "tests/server/test_inspectors.py",
    ("GET", "/notices/0000000000000000"): "tests/server/test_notices.py",
    ("GET", "/notices/0000000000000000/edit"): "tests/server/test_notices.py",
    ("POST", "/notices/0000000000000000/edit"): "tests/server/test_notices.py",
    ("POST", "/notices/0000000000000000/steps/approve"): "tests/server/test_notices.py",
    ("GET", "/rules/0000000000000000"): "tests/server/test_rule_pages.py",
    ("POST", "/rules/0000000000000000/publication"): "tests/server/test_rule_pages.py",
    ("POST", "/rules/0000000000000000/withdrawal"): "tests/server/test_rule_pages.py",
}
TABLE[("GET", "/cases/inbox")] = TABLE[("POST", "/cases/notes/read")] = ALL  # what waits for oneself: may be empty
ENDS_THE_SESSION = {"/sign-out", "/sign-out-everywhere"}
REFUSED = {401, 403, 404}


def test_the_table_has_every_route(app: Flask) -> None:
    """A new page is a new line here: say which roles use it, and whether it names an object."""
    adapter = app.url_map.bind("localhost")
    listed = {(method, adapter.match(address, method)[0]) for method, address in (*TABLE, *ELSEWHERE)}
    real = {
        (method, rule.endpoint)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if access_of(app, rule.endpoint).gate is not Gate.MACHINE
    }
    assert real - listed == set(), "routes that no line of TABLE tells who may use"
    assert listed - real == set()


def test_machine_routes_say_how_a_machine_proves_itself(app: Flask) -> None:
    for rule in app.url_map.iter_rules():
        access = access_of(app, rule.endpoint)
        if access.gate is Gate.MACHINE:
            assert access.proof, rule.rule
            assert rule.rule.startswith(("/sync/v1/", "/kiosks/v1/", "/bundle/v1/", "/metrics")), rule.rule


@pytest.fixture
def street(app: Flask, house: House, vault: TestVault) -> Iterator[dict[str, str]]:
    """A furnished street; what stands for the capital words in the table's addresses."""
    open_code(app)
    put_kiosk(house)
    put_resident(app, house, R)
    browser = sign_in(app, "street")
    answer = browser.post(f"/venues/{V}/enrol", {"entrance": "1", "kiosk_name": "东门右"})
    with house.database.writing() as writing:
        province = writing.get_one(Area, "510000")
        writing.add(area_row("520100", Level.CITY, "外市", "", province))
        target = writing.query(User).filter_by(name="staff").one()
        words = {"USER": target.id, "ROLE": target.assignments[0].id}
        set_staff(writing, LIBRARY, "wei", "卫", StaffRole.HELPER, "250814", NOON)
    words["PAPER"] = sign_in(app, "worker").post(f"/residents/{R}/papers").location.rsplit("/", 1)[1]
    words["BADGE"] = sign_in(app, "operator").post(f"/venues/{V}/staff/wei/badges").location.rsplit("#", 1)[1]
    with house.database.reading() as reading:
        words["SESSION"] = reading.query(AccountSession.id).limit(1).scalar() or ""
    yield {**words, "CODE": answer.location.rsplit("/", 1)[1]}


def put_account(house: House, name: str, code: str | None, place: str) -> None:
    """An account with the role *code* at home or away, or with none."""
    with house.database.writing() as writing:
        stored = writing.query(User).filter_by(name="street").one().password
        user = User(name=name, display_name=name, password=stored, created_at=NOON)
        writing.add(user)
        writing.flush()
        if code is None:
            return
        area = venue = None
        if code in AT_VENUES:
            venue = LIBRARY if place == "home" else MARKET
        elif code not in FOR_ONESELF:
            area = _HOME.get(code, "510104") if place == "home" else _AWAY.get(code, "510105")
        since = NOON - timedelta(days=1)
        writing.add(
            RoleAssignment(
                user_id=user.id, role=ROLES[code].value, area_code=area, venue_id=venue, starts_at=since, ends_at=None
            )
        )
        if code not in FOR_ONESELF:
            allow_personal(writing, user.id)


def gets_in(browser: Browser, token: str, method: str, path: str) -> bool:
    """Whether somebody is let in: an empty form tells whoever is let in what is missing, and changes nothing."""
    if method == "GET":
        status = browser.get(path).status_code
    else:
        status = browser.client.post(path, data={"csrf_token": token}).status_code
    assert status < 500 or status == 503, f"{method} {path}: {status}"
    if path.startswith("/me/"):
        return status not in {401, 403}  # let in by right; whoever is not registered has no code: 404
    return status not in REFUSED


def put_words(address: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        address = address.replace(word, value)
    return address


def test_strangers_get_into_open_pages_only(app: Flask, street: dict[str, str]) -> None:
    for (method, address), allowed in {**TABLE, **dict.fromkeys(ELSEWHERE, NOBODY)}.items():
        browser = Browser(app.test_client())
        path = put_words(address, street)
        if method == "GET":
            with browser.get(path) as answer:
                status = answer.status_code
            expected = {200, 303, 404, 410} if allowed is OPEN else {303}
        else:
            status = browser.post(path, page="/sign-in").status_code
            expected = {303, 404, 410, 422} if allowed is OPEN else {401}
        assert status in expected, f"{method} {path}: {status}"


@pytest.mark.slow
@pytest.mark.stores("sqlite")
@pytest.mark.parametrize("code", [*ROLES, None])
def test_each_role_gets_exactly_what_the_table_says(
    app: Flask, house: House, street: dict[str, str], code: str | None
) -> None:
    wrong = []
    for place in ("away", "home") if code not in FOR_ONESELF and code else ("home",):
        name = f"{(code or 'none').lower()}.{place}"
        put_account(house, name, code, place)
        browser = sign_in(app, name)
        token = browser.token("/password")
        for (method, address), allowed in TABLE.items():
            if allowed is OPEN or address in ENDS_THE_SESSION:
                continue
            is_list, codes = allowed.startswith("="), set(allowed.replace("=", "").split())
            expected = allowed is ALL or (code in codes and (is_list or place == "home"))
            if gets_in(browser, token, method, put_words(address, street)) != expected:
                wrong.append(f"{method} {address} {place}: {'refused' if expected else 'let in'}")
        if code is None:
            wrong += [f"{m} {a}: let in" for m, a in ELSEWHERE if gets_in(browser, token, m, put_words(a, street))]
        for address in sorted(ENDS_THE_SESSION):
            leaving = sign_in(app, name)
            assert leaving.post(address).status_code == 303
    assert wrong == []


def test_no_page_answers_to_the_other_method(app: Flask, street: dict[str, str]) -> None:
    browser = sign_in(app, "street", PASSWORD)
    token = browser.token("/password")
    pairs = {*TABLE, *ELSEWHERE}
    adapter = app.url_map.bind("localhost")
    for method, address in pairs:
        path = put_words(address, street)
        other = "POST" if method == "GET" else "GET"
        if (other, address) in pairs or path.startswith(("/static/", "/v/", "/cases/")):
            continue
        if other in adapter.allowed_methods(path):  # another route has the same shape
            continue
        answer = browser.client.open(path, method=other, data={"csrf_token": token} if other == "POST" else None)
        assert answer.status_code == 405, f"{other} {path}"
