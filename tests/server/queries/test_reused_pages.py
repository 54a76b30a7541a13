"""One health code at two entrances, from the form to the page that shows the pair; the vault is a real process."""

from __future__ import annotations

import re
from datetime import date, timedelta

import pytest

from server.audit import AuditEvent
from server.context import House
from server.vault.client import VaultClient
from server.vault.indexing import index_new
from tests.server.people import LIBRARY, put_kiosk
from tests.server.queries.conftest import Entrance, form, store
from tests.server.queries.test_query_pages import As, Ask, approve, look
from tests.server.vault.test_reused_codes import Code
from tests.server.vault.world import ID_NUMBER, NAME, World, now_ms

WORDS = "One health code used at two entrances"


def test_a_pair_is_asked_for_approved_and_shown_masked(
    as_person: As, ask: Ask, house: House, world: World, vault: VaultClient, entrance: Entrance
) -> None:
    east, west, code = world.kiosk(), world.kiosk(), Code.fresh()
    put_kiosk(house, east.id, name="东门左")
    put_kiosk(house, west.id, name="西门右")
    at = now_ms() - 120_000
    store(house, [code.shown_at(east, at, venue=LIBRARY), code.shown_at(west, at + 42_000, venue=LIBRARY)])
    with house.database.reading() as reading:
        index_new(reading, vault)
    epi, district = as_person("epi"), as_person("district")
    address = ask(epi, kind="reused_codes")
    assert WORDS in district.get(address).text, "the approver reads what kind of search it is"
    approve(world, house, district, address)
    page = look(epi, address)
    assert "1 pairs" in page and "42 s" in page and "东门左" in page and "西门右" in page and "东门" in page
    assert "欧**明" in page and NAME not in page and ID_NUMBER not in page
    assert "李*" not in page, "who did not hand on a code is not shown"
    with house.database.reading() as reading:
        assert [e.action for e in reading.query(AuditEvent).filter_by(object_kind="query")][-1] == "query.looked"
    assert '<span lang="en">' not in page


def test_no_pair_is_said_in_words(
    as_person: As, ask: Ask, house: House, world: World, vault: VaultClient, entrance: Entrance
) -> None:
    epi = as_person("epi")
    address = ask(epi, kind="reused_codes")
    approve(world, house, as_person("district"), address)
    page = look(epi, address)
    assert "No health code was used at two kiosks" in page and "<tbody>" not in page


@pytest.mark.parametrize(
    "wrong",
    [
        {"from_at": "2020-01-01T00:00"},
        {"person_kind": "phone", "person": "13800138000"},
        {"max_rows": "1"},
        {"kind": "everything"},
    ],
)
def test_a_wider_search_is_not_taken(as_person: As, house: House, wrong: dict[str, str]) -> None:
    fields = {**form(house), "kind": "reused_codes", **wrong}
    answer = as_person("epi").post("/queries/new", fields, page="/queries/new")
    assert answer.status_code == 422 and re.search('class="problem"', answer.text)


def test_four_days_are_too_many(as_person: As, house: House) -> None:
    fields = form(house)
    year, month, day = map(int, fields["to_at"][:10].split("-"))
    fields["from_at"] = f"{date(year, month, day) - timedelta(days=3)}T00:00"
    answer = as_person("epi").post("/queries/new", {**fields, "kind": "reused_codes"}, page="/queries/new")
    assert answer.status_code == 422 and "at most 3 days" in answer.text
    assert as_person("epi").post("/queries/new", fields, page="/queries/new").status_code == 303
