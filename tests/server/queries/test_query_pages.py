"""Ask, approve, look: the pages, who may use them, and what they never show."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError

from protocol.query import Approval, Query
from server.accounts.models import RoleAssignment, User
from server.accounts.rights import person_of
from server.audit import AuditEvent
from server.cases.kernel import CaseError
from server.context import House
from server.queries.deciding import close_expired
from server.queries.models import Look, QueryRow, QueryState, VaultLine
from server.queries.trail import unknown_openings
from server.queries.workflow import LOG_QUERY, move_query
from server.vault.approvals import KeyWord
from server.vault.client import VaultClient
from server.vault.indexing import index_new
from tests.server.people import MARKET, Browser
from tests.server.queries.conftest import Entrance, real_now
from tests.server.vault.world import ID_NUMBER, NAME, PHONE, World, now_ms

Ask = Callable[..., str]
As = Callable[[str], Browser]


def row_at(house: House, address: str) -> QueryRow:
    with house.database.reading() as reading:
        return reading.get_one(QueryRow, bytes.fromhex(address.rsplit("/", 1)[1]))


def sign(world: World, query: Query, approver: str = "district", *, approved: bool = True) -> str:
    approval = Approval(query.digest(), approver, approved, now_ms())
    word = KeyWord(approver, approval.to_signed(world.district_key))
    return base64.b64encode(word.to_bytes()).decode()


def approve(world: World, house: House, browser: Browser, address: str) -> None:
    word = sign(world, row_at(house, address).query())
    answer = browser.post(f"{address}/approve", {"approval": word}, page=address)
    assert answer.status_code == 303
    assert row_at(house, address).state == "approved", browser.get("/queries/inbox").text


def look(browser: Browser, address: str) -> str:
    answer = browser.post(f"{address}/look", page=address)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.text


def test_a_query_is_asked_approved_and_looked_at_masked(
    as_person: As, ask: Ask, house: House, world: World, entrance: Entrance
) -> None:
    epi, district = as_person("epi"), as_person("district")
    address = ask(epi)
    assert "EPI-2026-17" in district.get("/queries/inbox").text
    approve(world, house, district, address)
    page = look(epi, address)
    assert page.count("欧**明") == 2 and "110*************2X" in page and "+86138****8000" in page
    assert page.count("epi 2") >= 24  # the watermark
    for secret in (NAME, ID_NUMBER, PHONE):
        assert secret not in page
    assert row_at(house, address).state == "executed"
    with house.database.reading() as reading:
        one = reading.scalars(select(Look)).one()
        assert (one.rows, one.legal_ground) == (3, "传染病防治法 第三十九条")
        said = reading.scalars(select(AuditEvent).where(AuditEvent.action == "query.looked")).one()
        assert said.reason == "传染病防治法 第三十九条"
        assert said.area_path.endswith("510104001001/")


def test_what_was_approved_in_full_is_shown_in_full_and_nothing_else(
    as_person: As, ask: Ask, house: House, world: World, entrance: Entrance
) -> None:
    epi, district = as_person("epi"), as_person("district")
    address = ask(epi, reveal="id_number")
    approve(world, house, district, address)
    page = look(epi, address)
    assert ID_NUMBER in page
    assert NAME not in page and PHONE not in page and "36.6" not in page


def test_one_person_is_found_without_their_number_ever_being_stored(
    as_person: As, ask: Ask, house: House, world: World, entrance: Entrance, vault: VaultClient
) -> None:
    with house.database.reading() as reading:
        assert index_new(reading, vault).problems == 0
        assert index_new(reading, vault).records == 0  # nothing twice
    epi, district = as_person("epi"), as_person("district")
    address = ask(epi, person_kind="phone", person="138 0013 8000")
    approve(world, house, district, address)
    page = look(epi, address)
    assert page.count("欧**明") == 2 and "320***********01" not in page
    raw = b"".join(path.read_bytes() for path in house.settings.data_dir.rglob("*") if path.is_file())
    for form in (b"13800138000", "13800138000".encode("utf-16-le"), b"138 0013 8000"):
        assert form not in raw


def test_a_wrong_form_is_shown_again_without_the_number(as_person: As, fields: dict[str, str]) -> None:
    epi = as_person("epi")
    wrong = {**fields, "person_kind": "phone", "person": "13800138000", "case_reference": ""}
    answer = epi.post("/queries/new", wrong, page="/queries/new")
    assert answer.status_code == 422
    assert "13800138000" not in answer.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"case_reference": "13800138000"},
        {"legal_ground": "about 110105 19491231 002X"},
        {"legal_ground": ""},
        {"venues": ""},
        {"venues": MARKET.hex()},  # another district
        {"venues": "zz"},
        {"to_at": "2020-01-01T00:00"},
        {"from_at": "2020-01-01T00:00"},
        {"max_rows": "501"},
        {"max_rows": "0"},
        {"valid_hours": "25"},
        {"person": "13800138000"},
        {"person_kind": "phone", "person": "abc"},
        {"reveal": "everything"},
        {"purpose": "curiosity"},
    ],
)
def test_a_query_out_of_bounds_is_not_taken(wrong: dict[str, str], as_person: As, fields: dict[str, str]) -> None:
    answer = as_person("epi").post("/queries/new", {**fields, **wrong}, page="/queries/new")
    assert answer.status_code == 422


# typed, and what the page says of it: never the number itself
NO_NUMBERS = {
    "1101051949123100": "不足 18 位",
    "11010519491231002X0": "超过 18 位",
    "110105194912310021": "校验位不符",  # one digit wrong
    "11010519491231OO2X": "只能是数字",
    "110105194902300020": "出生日期有误",  # a check digit that fits, on 30 February
    "99999": "不足 18 位",
    "E1234": "护照或通行证号为",
    "欧阳小明": "护照或通行证号为",
    "": "护照或通行证号为",
    "'; DROP TABLE": "护照或通行证号为",
}


def test_what_is_no_id_number_is_told_so_and_stands_in_no_page_and_no_log(
    as_person: As, fields: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    epi = as_person("epi")
    caplog.set_level(logging.DEBUG)
    for typed, says in NO_NUMBERS.items():
        wrong = {**fields, "person_kind": "id_number", "person": typed}
        answer = epi.post("/queries/new", wrong, page="/queries/new")
        assert answer.status_code == 422 and says in answer.text, typed
        assert not typed or (typed not in answer.text and typed not in caplog.text), typed


def test_each_kind_of_document_is_looked_for(as_person: As, ask: Ask) -> None:
    epi = as_person("epi")
    for typed in (
        "11010519491231002X",
        "１１０１０５ 19491231 002x",  # full width, with spaces
        "810000199408230021",  # a residence permit for people of Hong Kong
        "911124198108030024",  # a permanent residence card
        "E12345678",
        "h1234567800",
    ):
        assert ask(epi, person_kind="id_number", person=typed).startswith("/queries/"), typed


def test_what_staff_took_from_an_odd_card_can_be_looked_for(as_person: As, ask: Ask, fields: dict[str, str]) -> None:
    epi = as_person("epi")
    for typed in ("110105194912310021", "00123456"):  # its check digit is wrong; a permit without a letter
        asked = {"person_kind": "id_number", "person": typed}
        assert epi.post("/queries/new", {**fields, **asked}, page="/queries/new").status_code == 422
        ask(epi, **asked, as_printed="y")
    for typed in ("123", "9" * 21, "欧阳小明", ""):
        asked = {**fields, "person_kind": "id_number", "person": typed, "as_printed": "y"}
        answer = epi.post("/queries/new", asked, page="/queries/new")
        assert answer.status_code == 422 and "4 至 20 位" in answer.text and (not typed or typed not in answer.text)


def test_a_venue_s_own_people_get_masked_checks_of_their_venue_only(
    as_person: As, ask: Ask, fields: dict[str, str]
) -> None:
    operator = as_person("operator")
    assert 'name="reveal"' not in operator.get("/queries/new").text
    own = {"purpose": "venue_check", "valid_hours": "8"}
    for wrong in ({"valid_hours": "8"}, {**own, "reveal": "name"}, {**own, "venues": MARKET.hex()}):
        assert operator.post("/queries/new", {**fields, **wrong}, page="/queries/new").status_code == 422
    ask(operator, **own)


@pytest.mark.parametrize("name", ["staff", "inspector", "tech", "officer", "worker", "wang", "city"])
def test_others_cannot_ask(name: str, as_person: As) -> None:
    assert as_person(name).get("/queries/new").status_code == 403


def test_who_cannot_decide_does_not_see_the_query(as_person: As, ask: Ask, house: House, world: World) -> None:
    address = ask(as_person("epi"))
    word = sign(world, row_at(house, address).query())
    for name in ("otherstreet", "operator", "tech", "officer", "wang"):
        stranger = as_person(name)
        assert stranger.get(address).status_code == 404
        assert stranger.post(f"{address}/approve", {"approval": word}).status_code == 404
        assert stranger.post(f"{address}/look").status_code == (403 if name == "wang" else 404)  # no agreement, no look
        assert stranger.post(f"{address}/withdraw", {"reason": "x"}).status_code == 404
    assert "EPI-2026-17" not in as_person("otherstreet").get("/queries/inbox").text


def test_nobody_decides_over_their_own_query(as_person: As, ask: Ask, house: House, world: World) -> None:
    district = as_person("district")  # may ask and approve
    address = ask(district)
    assert "EPI-2026-17" not in district.get("/queries/inbox").text
    assert 'id="decide"' not in district.get(address).text
    word = sign(world, row_at(house, address).query())
    assert district.post(f"{address}/approve", {"approval": word}, page=address).status_code == 404
    row = row_at(house, address)
    with pytest.raises(IntegrityError), house.database.writing() as writing:  # and the database says so, too
        writing.execute(update(QueryRow).where(QueryRow.id == row.id).values(decided_by=row.requester_id))


@pytest.mark.parametrize("how", ["nothing", "another's", "not a key of mine", "another query", "a no"])
def test_an_approval_without_a_true_signature_is_not_taken(
    how: str, as_person: As, ask: Ask, house: House, world: World
) -> None:
    district, address = as_person("district"), ask(as_person("epi"))
    query = row_at(house, address).query()
    stranger = World(world.folder, world.secrets)
    words = {
        "nothing": "",
        "another's": sign(world, query, "anna"),
        "not a key of mine": sign(stranger, query),
        "another query": sign(world, world.query()),
        "a no": sign(world, query, approved=False),
    }
    assert district.post(f"{address}/approve", {"approval": words[how]}, page=address).status_code == 303
    assert row_at(house, address).state == "requested"
    assert "was not taken" in (page := district.get(address).text), page


def test_a_database_that_says_approved_opens_nothing(
    as_person: As, ask: Ask, house: House, world: World, entrance: Entrance
) -> None:
    """The web's own tables forged in every column: the vault still refuses, and the refusal is in both logs."""
    epi, district = as_person("epi"), as_person("district")
    address, other = ask(epi), ask(epi)
    approve(world, house, district, other)
    stolen = row_at(house, other)
    row = row_at(house, address)
    query = row.query()
    wide = Query.from_bytes(query.to_bytes().replace(b"\x0b\x0a", b"\x0b\x18\x64"))  # ten rows become a hundred
    forgeries: list[dict[str, object]] = [
        {"approval": None},
        {"approval": b"\xa1\x01\xf5"},
        {"approval": stolen.approval},
        {"approval": KeyWord("district", b"signature").to_bytes()},
        {"approval": base64.b64decode(sign(world, query)), "body": wide.to_bytes()},
    ]
    for forgery in forgeries:
        with house.database.writing() as writing:
            writing.execute(
                update(QueryRow)
                .where(QueryRow.id == row.id)
                .values(state="approved", decided_by=stolen.decided_by, decided_at=real_now(), **forgery)
            )
        answer = epi.post(f"{address}/look", page=address)
        assert answer.status_code == 303
        page = epi.get(address).text
        assert "vault has refused" in page, forgery
        assert "欧" not in page
    with house.database.reading() as reading:
        assert reading.scalar(select(Look)) is None
        refused = reading.scalars(select(AuditEvent).where(AuditEvent.action == "query.look_refused")).all()
        assert len(refused) == len(forgeries)


def test_a_withdrawn_query_is_closed_in_the_vault_before_the_row_says_so(
    as_person: As, ask: Ask, house: House, world: World, entrance: Entrance
) -> None:
    epi, district = as_person("epi"), as_person("district")
    address = ask(epi)
    approve(world, house, district, address)
    assert epi.post(f"{address}/withdraw", {"reason": ""}, page=address).status_code == 303
    assert row_at(house, address).state == "approved"  # a reason is needed
    epi.post(f"{address}/withdraw", {"reason": "case closed"}, page=address)
    assert row_at(house, address).state == "revoked"
    assert epi.post(f"{address}/look", page=address).status_code == 409
    with house.database.writing() as writing:
        writing.execute(update(QueryRow).values(state="approved"))
    epi.post(f"{address}/look", page=address)
    assert "vault has refused" in epi.get(address).text


def test_a_refusal_has_a_reason_and_ends_the_query(as_person: As, ask: Ask, house: House, world: World) -> None:
    epi, district = as_person("epi"), as_person("district")
    address = ask(epi)
    district.post(f"{address}/review", page=address)
    assert row_at(house, address).state == "reviewing"
    district.post(f"{address}/refuse", {"reason": ""}, page=address)
    assert row_at(house, address).state == "reviewing"
    district.post(f"{address}/refuse", {"reason": "period too long"}, page=address)
    assert row_at(house, address).state == "refused"
    assert "period too long" in epi.get(address).text
    word = sign(world, row_at(house, address).query())
    assert district.post(f"{address}/approve", {"approval": word}).status_code == 409


def test_what_has_run_out_is_noted_and_later_archived(app: Flask, as_person: As, ask: Ask, house: House) -> None:
    address = ask(as_person("epi"))
    later = row_at(house, address).expires_at
    assert row_at(house, address).state_at(later) is QueryState.EXPIRED
    with app.app_context(), house.database.writing() as writing:
        assert close_expired(writing, real_now(), real_now()) == (0, 0)
        assert close_expired(writing, later, real_now()) == (1, 0)
        assert close_expired(writing, later, later) == (0, 1)
    assert row_at(house, address).state == "archived"


def test_every_state_of_a_query_is_one_of_its_workflow() -> None:
    assert {state.value for state in QueryState} == {state.name for state in LOG_QUERY.states}
    assert [state.name for state in LOG_QUERY.states if state.is_final] == ["archived"]


def test_the_workflow_alone_opens_nothing(app: Flask, as_person: As, ask: Ask, house: House) -> None:
    """An approval without a signature is refused by the kernel; the vault would not believe it anyway."""
    address = ask(as_person("epi"))
    with app.app_context(), house.database.writing() as writing:
        district = person_of(writing, writing.scalars(select(User).where(User.name == "district")).one())
        row = writing.get_one(QueryRow, bytes.fromhex(address.rsplit("/", 1)[1]))
        with pytest.raises(CaseError, match="has to be signed"):
            move_query(writing, row, "approve", by=district, at=house.now())
    assert row_at(house, address).state == "requested"


def test_a_vault_that_is_away_is_said_and_decides_nothing(
    as_person: As, ask: Ask, house: House, world: World, entrance: Entrance, monkeypatch: pytest.MonkeyPatch
) -> None:
    epi, district = as_person("epi"), as_person("district")
    address = ask(epi)
    word = sign(world, row_at(house, address).query())
    monkeypatch.setattr("server.queries.deciding.VaultClient", lambda path: VaultClient(path.with_name("nobody.sock")))
    assert "vault does not answer" in district.get(address).text
    district.post(f"{address}/approve", {"approval": word}, page=address)
    assert row_at(house, address).state == "requested"
    monkeypatch.undo()
    approve(world, house, district, address)
    monkeypatch.setattr("server.queries.deciding.VaultClient", lambda path: VaultClient(path.with_name("nobody.sock")))
    assert epi.post(f"{address}/look", page=address).status_code == 303
    assert row_at(house, address).state == "approved"


def test_the_officer_sees_each_look_and_that_the_vault_s_log_agrees(
    as_person: As, ask: Ask, house: House, world: World, entrance: Entrance
) -> None:
    epi, district, officer = as_person("epi"), as_person("district"), as_person("officer")
    address = ask(epi)
    approve(world, house, district, address)
    look(epi, address)
    assert officer.post("/queries/looks/check", page="/queries/looks").status_code == 303
    page = officer.get("/queries/looks").text
    assert "The log holds" in page and "传染病防治法" in page and "EPI-2026-17" in page
    with house.database.writing() as writing:
        writing.execute(update(RoleAssignment).where(RoleAssignment.role == "data_officer").values(area_code="510105"))
    assert "EPI-2026-17" not in officer.get("/queries/looks").text  # another district's looks are not theirs
    with house.database.writing() as writing:
        writing.execute(update(Look).values(log_hash="00" * 32))
    page = officer.get("/queries/looks").text
    assert re.search(r"looks noted here are not in the vault", page)


def test_a_cut_vault_log_shows_against_the_copy(as_person: As, house: House, world: World) -> None:
    officer = as_person("officer")
    officer.post("/queries/looks/check", page="/queries/looks")
    with house.database.writing() as writing:
        newest = text("UPDATE vault_line SET hash = :other WHERE sequence = (SELECT max(sequence) FROM vault_line)")
        writing.execute(newest, {"other": "0" * 64})
    officer.post("/queries/looks/check", page="/queries/looks")
    assert "The log does not hold" in officer.get("/queries/looks").text


@pytest.mark.parametrize("name", ["epi", "district", "operator", "tech"])
def test_others_do_not_see_who_has_looked(name: str, as_person: As) -> None:
    assert as_person(name).get("/queries/looks").status_code == 403


def test_somebody_who_speaks_to_the_vault_behind_the_server_s_back_shows(
    as_person: As, ask: Ask, house: House, world: World, entrance: Entrance, vault: VaultClient
) -> None:
    epi, district, officer = as_person("epi"), as_person("district"), as_person("officer")
    address = ask(epi)
    approve(world, house, district, address)
    look(epi, address)
    row = row_at(house, address)
    assert row.approval
    vault.open(row.body, row.approval, entrance.records[:1])  # a stolen approval, used without the server
    officer.post("/queries/looks/check", page="/queries/looks")
    with house.database.reading() as reading:
        later = real_now() + timedelta(seconds=1)
        openings = reading.scalars(
            select(VaultLine).where(VaultLine.event == "opened", VaultLine.query_id == row.id)
        ).all()
        assert len(openings) == 2
        assert unknown_openings(reading, later) >= 1
