"""Paper codes and staff badges: who may issue them, what stands on them, and what doors are told."""

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

from protocol import cbor
from protocol.credentials import CheckPolicy, Reason, check
from protocol.credentials.identity import Identity
from protocol.credentials.model import Checked
from protocol.staff import StaffRole
from protocol.status_list import StatusLists, from_signed
from protocol.trust import TrustList
from protocol.words import Colour, CredentialKind
from server.accounts.models import RoleAssignment, User
from server.accounts.roles import Role
from server.audit import AuditEvent
from server.bundles.parts import status_lists, trust_list
from server.bundles.staff import remove_staff, set_staff
from server.context import House
from server.keystore import IssuerUse
from server.papers import issuing
from server.papers.lists import badges_of
from server.papers.models import PaperCode, StaffBadge
from server.residents.codes import close_identity
from server.residents.models import HealthStatus, Resident
from tests.server.people import LIBRARY, NOON, PEOPLE, Browser, Clock, sign_in
from tests.server.stores import everything_stored
from tests.server.test_residents import NUMBER, WANG, say

HERE, ELSEWHERE = "510104001001", "510105001001"
V = LIBRARY.hex()
ISSUERS = {"worker"}
GIVERS = {"city", "district", "street", "worker", "operator"}


@pytest.fixture
def wang(app: Flask, house: House) -> str:
    return put_resident(app, house, "wang", WANG, HERE)


def put_resident(app: Flask, house: House, name: str, who: Identity, area: str | None) -> str:
    with app.app_context(), house.database.writing() as writing:
        user = writing.query(User).filter_by(name=name).one()
        resident = Resident(id=user.id, user_id=user.id, created_at=NOON, area_code=area)
        resident.identity = close_identity(resident.id, who)
        writing.add(resident)
        return resident.id


def issue(app: Flask, resident: str, worker: str = "worker") -> str:
    """Issue a paper code as the worker does; its short id."""
    answer = sign_in(app, worker).post(f"/residents/{resident}/papers")
    assert answer.status_code == 303, answer.text
    return str(answer.location.rsplit("/", 1)[1])


def text_on(svg: bytes) -> str:
    picture = imdecode(np.frombuffer(cairosvg.svg2png(bytestring=svg, output_width=1200), np.uint8), IMREAD_GRAYSCALE)
    assert picture is not None
    (found,) = zxingcpp.read_barcodes(picture, formats=zxingcpp.BarcodeFormat.QRCode)  # bars are seen in anything
    return found.text


class Kiosk:
    """A kiosk that holds what the server last published, and is offline since."""

    def __init__(self, house: House) -> None:
        with house.database.reading() as reading:
            lists = cbor.decode_strict(status_lists(house, reading, house.now()), max_bytes=1_000_000)
        self.trust: TrustList = trust_list(house, house.now())
        assert isinstance(lists, list)
        self.status = StatusLists.of(from_signed(item, self.trust) for item in lists)

    def sees(self, text: str, at: datetime, **policy: object) -> Checked:
        return check(text, self.trust, at=at, status=self.status, policy=CheckPolicy(**policy))  # type: ignore[arg-type]


# --- pages


def test_a_worker_finds_issues_prints_and_revokes(
    app: Flask, house: House, wang: str, as_person: Callable[[str], Browser]
) -> None:
    worker = as_person("worker")
    page = worker.post("/papers/new", {"words": "王小明"}, page="/papers/new").text
    assert "王*明" in page and "王小明" not in page.replace('value="王小明"', "")
    assert f"/residents/{wang}/papers" in page
    short_id = issue(app, wang)
    shown = worker.get(f"/papers/{short_id}").text
    assert "王*明" in shown and "王小明" not in shown and short_id in worker.get("/papers").text
    assert worker.get(f"/papers/{short_id}/page.pdf").data.startswith(b"%PDF")
    answer = worker.post(f"/papers/{short_id}/revocation", {"reason": ""})
    assert answer.status_code == 422
    assert worker.post(f"/papers/{short_id}/revocation", {"reason": "lost"}).status_code == 303
    assert worker.get(f"/papers/{short_id}/page.pdf").status_code == 410
    with house.database.reading() as reading:
        told = [(e.action, e.object_id) for e in reading.query(AuditEvent).filter_by(object_kind="paper_code")]
    assert told == [("paper_code.issued", short_id), ("paper_code.revoked", short_id)]


@pytest.mark.parametrize("words", ["王小明", "王 小明", NUMBER, NUMBER[-4:].lower(), "138 0013 8000", "8000"])
def test_a_resident_is_found_by_name_number_or_its_end(
    wang: str, as_person: Callable[[str], Browser], words: str
) -> None:
    assert wang in as_person("worker").post("/papers/new", {"words": words}, page="/papers/new").text


@pytest.mark.parametrize("words", ["王", "小明", "800", "8001", "%", ""])
def test_too_little_or_wrong_words_find_nobody(wang: str, as_person: Callable[[str], Browser], words: str) -> None:
    assert wang not in as_person("worker").post("/papers/new", {"words": words}, page="/papers/new").text


def test_residents_elsewhere_or_without_an_address_are_out_of_reach(
    app: Flask, house: House, as_person: Callable[[str], Browser]
) -> None:
    elsewhere = put_resident(app, house, "wang", WANG, ELSEWHERE)
    nowhere = put_resident(app, house, "zhao", WANG, None)
    worker = as_person("worker")
    page = worker.post("/papers/new", {"words": "王小明"}, page="/papers/new").text
    for resident in (elsewhere, nowhere):
        assert resident not in page
        assert worker.post(f"/residents/{resident}/papers").status_code == 404


def test_a_paper_code_of_another_community_is_out_of_reach(app: Flask, house: House, wang: str) -> None:
    short_id = issue(app, wang)
    with house.database.writing() as writing:
        writing.query(RoleAssignment).filter_by(role=Role.COMMUNITY_WORKER.value).one().area_code = ELSEWHERE
    other = sign_in(app, "worker")
    assert short_id not in other.get("/papers").text
    for path in (f"/papers/{short_id}", f"/papers/{short_id}/page.pdf", f"/papers/{short_id}/page.svg"):
        assert other.get(path).status_code == 404
    assert other.post(f"/papers/{short_id}/revocation", {"reason": "x"}).status_code == 404


@pytest.mark.parametrize("short_id", ["1", "1-", "-1", "1-0-0", "x-y", "99999999999-0", "²-0", "1-99"])
def test_a_short_id_that_is_none_is_not_found(wang: str, as_person: Callable[[str], Browser], short_id: str) -> None:
    assert as_person("worker").get(f"/papers/{short_id}").status_code == 404


def test_a_registrar_may_issue_in_their_own_grid(app: Flask, house: House, wang: str) -> None:
    with house.database.writing() as writing:
        writing.query(RoleAssignment).filter_by(role=Role.COMMUNITY_WORKER.value).one().role = Role.REGISTRAR.value
    assert issue(app, wang) == "1-0"


def test_the_page_says_nothing_personal_but_the_masked_name(app: Flask, house: House, wang: str) -> None:
    short_id = issue(app, wang)
    svg = sign_in(app, "worker").get(f"/papers/{short_id}/page.svg").text
    words = re.sub(r'd="[^"]*"', "", svg)
    assert "王*明" in words and "Paper health code" in words and "纸质健康码" in words
    for secret in ("王小明", NUMBER, "138", wang, "绿", "green"):
        assert secret not in words


def test_two_printings_are_one_code_and_the_database_holds_no_text(app: Flask, house: House, wang: str) -> None:
    short_id = issue(app, wang)
    worker = sign_in(app, "worker")
    first, second = (text_on(worker.get(f"/papers/{short_id}/page.svg").data) for _ in range(2))
    ids = {Kiosk(house).sees(text, NOON).credential.holder_id for text in (first, second)}  # type: ignore[union-attr]
    assert ids == {bytes.fromhex("0000000100000000")}
    dump = everything_stored(house)
    assert b"JK1:" not in dump


def test_a_second_code_ends_the_first_one(app: Flask, house: House, wang: str, clock: Clock) -> None:
    say(house, wang, Colour.GREEN)
    first = issue(app, wang)
    old = text_on(sign_in(app, "worker").get(f"/papers/{first}/page.svg").data)
    clock.passes(minutes=1)
    assert issue(app, wang) == "1-1"
    assert Reason.REVOKED in Kiosk(house).sees(old, clock.at).reasons


def test_a_full_list_is_followed_by_the_next(
    app: Flask, house: House, wang: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuing, "LIST_ENTRIES", 2)
    assert [issue(app, wang) for _ in range(5)] == ["1-0", "1-1", "2-0", "2-1", "3-0"]
    kiosk = Kiosk(house)
    assert {name for name in kiosk.status.lists} == {(p, n) for p in ("paper", "paper_revoked") for n in (1, 2, 3)}


# --- what doors are told


@pytest.fixture
def paper(app: Flask, house: House, wang: str) -> str:
    """The text of Wang's paper code; Wang is green for two days."""
    say(house, wang, Colour.GREEN, days=2)
    return text_on(sign_in(app, "worker").get(f"/papers/{issue(app, wang)}/page.svg").data)


def test_an_offline_door_knows_the_colour(house: House, paper: str) -> None:
    found = Kiosk(house).sees(paper, NOON + timedelta(minutes=5))
    assert (found.kind, found.valid, found.reasons) == (CredentialKind.PAPER_CODE, True, ())
    assert found.credential is not None and found.credential.colour is Colour.GREEN


def test_a_changed_colour_reaches_the_door(house: House, paper: str, wang: str, clock: Clock) -> None:
    clock.passes(hours=1)
    say(house, wang, Colour.YELLOW, since=clock.at)
    credential = Kiosk(house).sees(paper, clock.at).credential
    assert credential is not None and credential.colour is Colour.YELLOW


def test_a_statement_that_ran_out_is_grey_at_the_door(house: House, paper: str, clock: Clock) -> None:
    clock.passes(days=3)
    credential = Kiosk(house).sees(paper, clock.at).credential
    assert credential is not None and credential.colour is Colour.GREY


def test_a_revoked_paper_code_is_refused(app: Flask, house: House, paper: str) -> None:
    sign_in(app, "worker").post("/papers/1-0/revocation", {"reason": "lost"})
    found = Kiosk(house).sees(paper, NOON)
    assert not found.valid and not found.is_undecided and found.reasons[0] is Reason.REVOKED
    assert found.credential is not None and found.credential.colour is Colour.GREY


def test_an_old_list_is_marked_or_held_as_the_place_wants(house: House, paper: str) -> None:
    kiosk = Kiosk(house)
    assert kiosk.sees(paper, NOON + timedelta(hours=13)).reasons == (Reason.STATUS_OLD,)
    late = NOON + timedelta(hours=73)
    marked = kiosk.sees(paper, late, when_status_too_old="mark")
    assert marked.valid and marked.reasons == (Reason.STATUS_OLD,)
    held = kiosk.sees(paper, late, when_status_too_old="hold")
    assert held.is_undecided and held.reasons == (Reason.STATUS_TOO_OLD,)


def test_a_door_that_has_not_heard_of_a_code_cannot_tell(app: Flask, house: House, wang: str) -> None:
    before = Kiosk(house)
    text = text_on(sign_in(app, "worker").get(f"/papers/{issue(app, wang)}/page.svg").data)
    found = before.sees(text, NOON)
    assert found.is_undecided and found.reasons == (Reason.STATUS_UNKNOWN,)


def test_a_paper_code_ends_with_its_life_and_its_list_leaves_the_bundle(house: House, paper: str, clock: Clock) -> None:
    clock.passes(days=30)
    kiosk = Kiosk(house)
    assert Reason.EXPIRED in kiosk.sees(paper, clock.at + timedelta(minutes=2)).reasons
    assert not kiosk.status.lists


def test_the_same_knowledge_gives_the_same_bytes_and_a_change_signs_its_own_list_only(
    app: Flask, house: House, paper: str, wang: str, clock: Clock
) -> None:
    from server.bundles.models import BundlePart

    def lists() -> list[bytes]:
        with house.database.writing() as writing:
            data = status_lists(house, writing, house.now())
            row = writing.get(BundlePart, ("", "status"))
            if row is None:
                writing.add(
                    BundlePart(scope="", name="status", digest=b"", size=0, version=1, changed_at=NOON, data=data)
                )
            else:
                row.data = data
        found = cbor.decode_strict(data, max_bytes=1_000_000)
        assert isinstance(found, list)
        return found

    first = lists()
    clock.passes(minutes=5)
    assert lists() == first
    say(house, wang, Colour.RED, since=clock.at)
    changed = [old == new for old, new in zip(first, lists(), strict=True)]
    assert changed == [True, False, True]  # venue codes, colours, withdrawals


def test_a_rotated_key_leaves_printed_codes_and_their_reprints_alone(app: Flask, house: House, paper: str) -> None:
    house.keys.add_issuer_key(IssuerUse.PAPER_CODE, not_before=NOON + timedelta(days=1))
    again = text_on(sign_in(app, "worker").get("/papers/1-0/page.svg").data)
    at = NOON + timedelta(days=1)
    assert Kiosk(house).sees(paper, at).credential == Kiosk(house).sees(again, at).credential


def test_a_thousand_paper_codes_are_a_small_part_of_a_bundle(app: Flask, house: House, paper: str, wang: str) -> None:
    with house.database.writing() as writing:
        by = writing.query(User).filter_by(name="worker").one().id
        for position in range(1, 1000):
            code = PaperCode(list_number=1, position=position, resident_id=wang, issued_at=NOON, issued_by=by)
            code.expires_at = NOON + timedelta(days=30)
            writing.add(code)
    with house.database.reading() as reading:
        assert len(status_lists(house, reading, NOON)) < 2_000


# --- badges


@pytest.fixture
def guard(house: House) -> str:
    with house.database.writing() as writing:
        set_staff(writing, LIBRARY, "wei", "卫门口", StaffRole.KEEPER, "250814", NOON)
    return "wei"


def badge(app: Flask, staff_id: str) -> tuple[str, str]:
    """Issue a badge as the operator does; its short id and its text."""
    operator = sign_in(app, "operator")
    answer = operator.post(f"/venues/{V}/staff/{staff_id}/badges")
    assert answer.status_code == 303
    short_id = answer.location.rsplit("#", 1)[1]
    return short_id, text_on(operator.get(f"/badges/{short_id}/card.svg").data)


def test_an_operator_gives_out_badges_that_doors_believe(app: Flask, house: House, guard: str) -> None:
    short_id, text = badge(app, guard)
    found = Kiosk(house).sees(text, NOON)
    assert (found.kind, found.valid) == (CredentialKind.STAFF_BADGE, True)
    assert found.credential is not None and found.credential.holder_id is not None
    with house.database.reading() as reading:
        assert badges_of(reading, LIBRARY, NOON) == {found.credential.holder_id: "wei"}
    operator = sign_in(app, "operator")
    page = operator.get(f"/venues/{V}/badges").text
    assert "卫门口" in page and short_id in page
    assert operator.get(f"/badges/{short_id}/card.pdf").data.startswith(b"%PDF")


def test_a_revoked_badge_is_refused_and_maps_to_nobody(app: Flask, house: House, guard: str) -> None:
    short_id, text = badge(app, guard)
    operator = sign_in(app, "operator")
    assert operator.post(f"/badges/{short_id}/revocation", {"reason": ""}).status_code == 422
    assert operator.post(f"/badges/{short_id}/revocation", {"reason": "lost"}).status_code == 303
    assert Kiosk(house).sees(text, NOON).reasons == (Reason.REVOKED,)
    assert operator.get(f"/badges/{short_id}/card.svg").status_code == 410
    with house.database.reading() as reading:
        assert badges_of(reading, LIBRARY, NOON) == {}


def test_whoever_leaves_the_staff_leaves_with_their_badge(app: Flask, house: House, guard: str) -> None:
    _, text = badge(app, guard)
    with house.database.writing() as writing:
        remove_staff(writing, LIBRARY, guard)
    assert Kiosk(house).sees(text, NOON).reasons == (Reason.REVOKED,)


def test_a_second_badge_ends_the_first(app: Flask, house: House, guard: str) -> None:
    _, first = badge(app, guard)
    _, second = badge(app, guard)
    assert not Kiosk(house).sees(first, NOON).valid and Kiosk(house).sees(second, NOON).valid


def test_the_other_venues_keeper_gives_no_badges_here(app: Flask, house: House, guard: str) -> None:
    short_id, _ = badge(app, guard)
    keeper = sign_in(app, "marketkeeper")
    assert keeper.get(f"/venues/{V}/badges").status_code == 404
    assert keeper.post(f"/venues/{V}/staff/{guard}/badges").status_code == 404
    assert keeper.post(f"/badges/{short_id}/revocation", {"reason": "x"}).status_code == 404
    assert sign_in(app, "operator").post(f"/venues/{V}/staff/nobody/badges").status_code == 404


# --- the routes


@pytest.mark.parametrize("name", sorted(PEOPLE))
def test_each_person_gets_exactly_what_the_table_says(
    app: Flask, house: House, wang: str, guard: str, name: str
) -> None:
    issue(app, wang)
    badge(app, guard)
    table = {
        ("GET", "/papers"): ISSUERS,
        ("GET", "/papers/new"): ISSUERS,
        ("POST", "/papers/new"): ISSUERS,
        ("GET", "/papers/1-0"): ISSUERS,
        ("GET", "/papers/1-0/page.svg"): ISSUERS,
        ("POST", "/papers/1-0/revocation"): ISSUERS,
        ("POST", f"/residents/{wang}/papers"): ISSUERS,
        ("GET", f"/venues/{V}/badges"): GIVERS,
        ("GET", "/badges/1-0/card.svg"): GIVERS,
        ("POST", "/badges/1-0/revocation"): GIVERS,
        ("POST", f"/venues/{V}/staff/{guard}/badges"): GIVERS,
    }
    adapter = app.url_map.bind("localhost")
    listed = {(method, adapter.match(path, method)[0]) for method, path in table}
    real = {
        (method, rule.endpoint)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.endpoint.split(".")[0] in {"papers", "badges"}
    }
    assert real == listed
    stranger, browser = Browser(app.test_client()), sign_in(app, name)
    token = browser.token("/password")
    for (method, path), allowed in table.items():
        if method == "GET":
            status = browser.get(path).status_code
            assert stranger.get(path).status_code == 303
        else:
            status = browser.client.post(path, data={"csrf_token": token}).status_code
            assert stranger.post(path, page="/sign-in").status_code == 401
        assert (status not in {401, 403, 404}) == (name in allowed), f"{method} {path}: {status}"


def test_the_tables_keep_what_was_ended(app: Flask, house: House, wang: str, guard: str) -> None:
    issue(app, wang)
    issue(app, wang)
    badge(app, guard)
    with house.database.reading() as reading:
        assert [c.revoked_because for c in reading.query(PaperCode)] == ["replaced by a new one", ""]
        assert reading.query(StaffBadge).one().holds(NOON)
        assert reading.query(HealthStatus).count() == 0
