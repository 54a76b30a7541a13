"""Looking after accounts: within one's area, never above oneself, with roles that end and never exclude each other."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from argon2 import PasswordHasher
from flask import Flask

from config.server import AccountSettings
from server.accounts import passwords
from server.accounts.gates import GateError, may_see_personal, record_pass
from server.accounts.granting import EXCLUDES, GIVES, GrantError, Scope, grant
from server.accounts.models import AgreementSignature, PasswordLink, RoleAssignment, TrainingPass, User
from server.accounts.passwords import is_right
from server.accounts.rights import person_of
from server.accounts.roles import Role
from server.areas.models import Area
from server.audit import AuditEvent
from server.context import House
from server.venues.models import Venue
from tests.server.people import LIBRARY, NOON, PASSWORD, Browser, Clock, sign_in

pytestmark = pytest.mark.stores("sqlite")  # about forms and roles, not the database

As = Callable[[str], Browser]
FRESH = "a fresh pass phrase"


def user(house: House, name: str) -> User:
    with house.database.reading() as reading:
        return reading.query(User).filter_by(name=name).one()


def make(
    browser: Browser, name: str = "xin", role: str = "community_worker", place: str = "area:510104001001", **more: str
) -> str:
    """Make an account on the page; the page that comes back."""
    fields = {"name": name, "display_name": "新来 的", "role": role, "place": place, **more}
    return browser.post("/users/new", fields, page="/users/new").text


def link_on(page: str) -> str:
    found = re.search(r"http://localhost(/choose-password/[\w-]+)", page)
    assert found, page
    return found[1]


def choose(app: Flask, link: str, password: str = FRESH) -> int:
    return Browser(app.test_client()).post(link, {"new": password, "again": password}, page=link).status_code


def test_a_new_account_chooses_its_password_through_a_link_that_is_good_once(app: Flask, as_person: As) -> None:
    link = link_on(make(as_person("street")))
    assert choose(app, link) == 303
    stranger = Browser(app.test_client())
    assert stranger.get(link).status_code == 410
    assert sign_in(app, "xin", FRESH).get("/residents/").location.startswith("/account/agreement")


def test_links_end_by_time_by_a_newer_one_and_with_the_account(
    app: Flask, house: House, as_person: As, clock: Clock
) -> None:
    street = as_person("street")
    first = link_on(make(street))
    address = f"/users/{user(house, 'xin').id}"
    second = link_on(street.post(f"{address}/link").text)
    stranger = Browser(app.test_client())
    assert stranger.get(first).status_code == 410 and stranger.get(second).status_code == 200
    street.post(f"{address}/disable", {"reason": "left"})
    assert stranger.get(second).status_code == 410
    street.post(f"{address}/enable")
    assert stranger.get(second).status_code == 200
    clock.passes(hours=49)
    assert stranger.get(second).status_code == 410
    with house.database.reading() as reading:
        assert second.rsplit("/", 1)[1].encode() not in reading.query(PasswordLink).one().key


def test_before_the_link_is_used_no_password_fits(app: Flask, as_person: As) -> None:
    make(as_person("street"))
    for guess in ("!", "", "-", "None"):
        stranger = Browser(app.test_client())
        answer = stranger.post("/sign-in", {"name": "xin", "password": guess}, page="/sign-in")
        assert answer.status_code in {401, 422}


@pytest.mark.parametrize(
    ("who", "role", "place"),
    [
        ("street", "street_admin", "area:510104001"),  # not one's own rank
        ("street", "city_command", "area:510104001"),
        ("street", "community_worker", "area:510105001001"),  # another street
        ("street", "community_worker", "area:510100"),  # above
        ("street", "data_officer", "area:510104001"),
        ("street", "community_worker", f"venue:{LIBRARY.hex()}"),  # a venue is no area
        ("street", "venue_staff", "area:510104001001"),  # and an area no venue
        ("operator", "venue_operator", f"venue:{LIBRARY.hex()}"),
        ("operator", "venue_staff", "venue:b2b2b2b2b2b2"),  # somebody else's venue
        ("district", "resident", "area:510104"),
    ],
)
def test_nobody_gives_what_is_not_theirs(house: House, as_person: As, who: str, role: str, place: str) -> None:
    make(as_person(who), role=role, place=place)
    with house.database.reading() as reading:
        assert reading.query(User).filter_by(name="xin").count() == 0


def test_every_role_gives_less_than_itself_but_the_top() -> None:
    for giver, given in GIVES.items():
        assert giver is Role.CITY_COMMAND or giver not in given
        assert Role.RESIDENT not in given
    for giver in (Role.DISTRICT_COMMAND, Role.STREET_ADMIN, Role.COMMUNITY_WORKER):
        for role in GIVES[giver]:
            assert GIVES.get(role, frozenset()) <= GIVES[giver], "what one gives gives no more than oneself"


def test_nobody_resets_who_can_do_more(app: Flask, house: House, as_person: As) -> None:
    """A community worker who is made district officer elsewhere is out of the street's hands at once."""
    make(as_person("street"))
    xin = user(house, "xin")
    with app.app_context(), house.database.writing() as writing:
        scope = Scope(area=writing.get_one(Area, "510105"))
        row = writing.get_one(User, xin.id)
        grant(writing, row, Role.DISTRICT_COMMAND, scope, starts_at=NOON, ends_at=None, by=None)
    street = as_person("street")
    assert street.get(f"/users/{xin.id}").status_code == 200
    for act in ("link", "disable", "second-factor/reset", "sessions/end"):
        assert street.post(f"/users/{xin.id}/{act}", {"reason": "x"}).status_code == 404, act
    assert as_person("city").post(f"/users/{xin.id}/link").status_code == 200


def test_nobody_acts_on_their_own_account(house: House, as_person: As) -> None:
    city, own = as_person("city"), user(house, "city")
    assert city.get(f"/users/{own.id}").status_code == 200
    for act in ("link", "disable", "second-factor/reset", "training"):
        assert city.post(f"/users/{own.id}/{act}", {"reason": "x", "score": "100"}).status_code == 404, act
    answer = city.post(f"/users/{own.id}/roles", {"role": "epi_investigator", "place": "area:510100"})
    assert answer.status_code == 422 and "Nobody gives themselves a role." in answer.text


EXCLUDED_PAIRS = [(r, o) for r, others in EXCLUDES.items() for o in sorted(others, key=lambda other: other.value)]


@pytest.mark.parametrize(("role", "excluded"), EXCLUDED_PAIRS)
def test_roles_that_exclude_each_other_are_refused_in_either_order(
    app: Flask, house: House, role: Role, excluded: Role
) -> None:
    def place(one: Role) -> Scope:
        is_venue = one.value.startswith("venue_")
        return Scope(venue=writing.get_one(Venue, LIBRARY)) if is_venue else Scope(area=writing.get_one(Area, "510104"))

    for first, second in ((role, excluded), (excluded, role)):
        with app.app_context(), house.database.writing() as writing:
            row = User(name=f"x-{first.value}", display_name="x", password="!", created_at=NOON)
            writing.add(row)
            writing.flush()
            grant(writing, row, first, place(first), starts_at=NOON, ends_at=None, by=None)
            with pytest.raises(GrantError, match="excludes"):
                grant(writing, row, second, place(second), starts_at=NOON, ends_at=None, by=None)


def test_a_role_begins_and_ends_by_itself(app: Flask, house: House, as_person: As, clock: Clock) -> None:
    page = make(as_person("street"), starts_at="2026-03-03T08:00", ends_at="2026-03-04T08:00")
    choose(app, link_on(page))
    xin = sign_in(app, "xin", FRESH)

    def roles() -> set[Role]:
        with app.app_context(), house.database.reading() as reading:
            return {one.role for one in person_of(reading, user(house, "xin")).grants}

    assert roles() == set() and xin.get("/kiosks").status_code == 403
    clock.passes(hours=21)
    assert roles() == {Role.COMMUNITY_WORKER}
    clock.passes(hours=24)
    assert roles() == set()


def test_a_helper_must_end_soon_and_sees_no_lists(app: Flask, house: House, as_person: As, clock: Clock) -> None:
    street, where = as_person("street"), "area:510104001001"
    assert "This role needs an end." in make(street, role="volunteer", place=where)
    assert "too long" in make(street, role="volunteer", place=where, ends_at="2026-03-09T08:00")
    choose(app, link_on(make(street, role="volunteer", place=where, ends_at="2026-03-02T20:00")))
    helper = sign_in(app, "xin", FRESH)
    for path in ("/residents/", "/papers", "/venues", "/kiosks", "/queries/", "/users/", "/audit", "/codes"):
        assert helper.get(path).status_code == 403, path
    with house.database.reading() as reading:
        row = reading.query(AuditEvent).filter_by(action="role.granted").order_by(AuditEvent.sequence.desc()).first()
        assert row and row.reason.startswith("volunteer until 2026-03-02")


def test_ending_a_role_takes_it_at_once(app: Flask, house: House, as_person: As) -> None:
    street, staff = as_person("street"), as_person("staff")
    row = user(house, "staff")
    with house.database.reading() as reading:
        role = reading.query(RoleAssignment).filter_by(user_id=row.id).one()
    assert staff.get("/venues").status_code == 200
    street.post(f"/users/{row.id}/roles/{role.id}/end", {"reason": "moved"})
    assert staff.get("/venues").status_code == 403
    assert street.post(f"/users/{row.id}/enable").status_code == 303, "who ended it can still give it again"


# --- agreement and training ----------------------------------------------------------------------------------------


def test_personal_data_waits_for_agreement_and_training(app: Flask, house: House, as_person: As, clock: Clock) -> None:
    with house.database.writing() as writing:
        for table in (AgreementSignature, TrainingPass):
            writing.query(table).filter_by(user_id=user(house, "worker").id).delete()
    worker = as_person("worker")
    for path in ("/residents/", "/residents/new", "/papers", "/papers/new"):
        assert worker.get(path).location.startswith("/account/agreement"), path
    assert worker.post("/residents/", {"words": "王"}).status_code == 403
    worker.post("/account/agreement", {"agreed": "yes"})
    assert worker.get("/residents/").status_code == 303, "an agreement without training is not enough"
    row = user(house, "worker")
    street = as_person("street")
    street.post(f"/users/{row.id}/training", {"score": "79"})
    assert worker.get("/residents/").status_code == 303
    street.post(f"/users/{row.id}/training", {"score": "80"})
    assert worker.get("/residents/").status_code == 200
    with app.app_context():
        assert may_see_personal(row)
        clock.passes(days=366)
        assert not may_see_personal(row), "a pass runs out"


def test_nobody_records_their_own_training(app: Flask, house: House) -> None:
    street = user(house, "street")
    with app.app_context(), house.database.writing() as writing, pytest.raises(GateError, match="own"):
        record_pass(writing, street.id, 100, NOON, recorded_by=street.id)


def test_the_list_of_who_can_see_what_is_reviewed_and_on_record(house: House, as_person: As) -> None:
    street = as_person("street")
    page = street.get("/users/access").text
    assert "worker" in page and "otherstreet" not in page and "never" in page
    street.post("/users/access", page="/users/access")
    with house.database.reading() as reading:
        row = reading.query(AuditEvent).filter_by(action="access.reviewed").one()
        assert row.actor == user(house, "street").id and row.object_id == "510104001"
    assert "2026-03-02" in street.get("/users/access").text


def test_a_list_shows_own_people_only(as_person: As) -> None:
    page = as_person("street").get("/users/").text
    assert ">worker<" in page and ">operator<" in page
    for name in ("otherstreet", "marketkeeper", "city", "wang"):
        assert f">{name}<" not in page


# --- passwords and passkeys ----------------------------------------------------------------------------------------


def test_a_password_of_older_figures_is_hashed_anew_at_the_next_sign_in(app: Flask, house: House) -> None:
    with house.database.writing() as writing:
        older = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash(PASSWORD)
        writing.query(User).filter_by(name="street").one().password = older
    sign_in(app, "street")
    stored = user(house, "street").password
    assert stored != older and not passwords.needs_rehash(stored) and is_right(stored, PASSWORD)


@pytest.mark.parametrize("credential", ["", "{}", "null", "[]", '{"id": "x"}', "\x01", "9" * 5000])
def test_nonsense_is_no_passkey(stranger: Browser, credential: str) -> None:
    answer = stranger.post("/sign-in/passkey", {"credential": credential}, page="/sign-in")
    assert answer.location == "/sign-in" and stranger.get("/").status_code == 303


def test_settings_that_make_no_sense_are_refused() -> None:
    for wrong in (
        {"second_factor_roles": ("mayor",)},
        {"idle_minutes": 1},
        {"link_hours": 0},
        {"helper_hours": 1000},
        {"training_pass_mark": 101},
    ):
        with pytest.raises(ValueError, match="accounts."):
            AccountSettings(**wrong)  # type: ignore[arg-type]
