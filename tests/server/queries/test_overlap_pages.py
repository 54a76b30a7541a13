"""Who was there at the same time, from the form to the page; the vault is a real process."""

from __future__ import annotations

import pytest

from protocol.passage import Personal
from server.context import House
from server.vault.client import VaultClient
from server.vault.indexing import index_new
from tests.server.people import LIBRARY
from tests.server.queries.conftest import Entrance, form, store
from tests.server.queries.test_query_pages import As, Ask, approve, look
from tests.server.vault.world import ID_NUMBER, NAME, PHONE, World

ABOUT = {"kind": "overlaps", "within_minutes": "15", "person_kind": "phone", "person": "138 0013 8000"}


def test_others_are_shown_masked_beside_the_persons_stay(
    as_person: As, ask: Ask, house: House, world: World, vault: VaultClient, entrance: Entrance
) -> None:
    with house.database.reading() as reading:
        assert index_new(reading, vault).behind == 0
    epi, district = as_person("epi"), as_person("district")
    address = ask(epi, **ABOUT)
    asked = district.get(address).text
    assert "Who was there at the same time" in asked and "at most 15 minutes apart" in asked
    approve(world, house, district, address)
    page = look(epi, address)
    assert "Stay 1" in page and "李*" in page and "watermark" in page
    assert ID_NUMBER not in page and NAME not in page and "李四" not in page and PHONE not in page
    assert "Being at the same place is no proof of contact" in page
    assert '<span lang="en">' not in page


def test_nobody_there_is_said_in_words(
    as_person: As, ask: Ask, house: House, world: World, vault: VaultClient, entrance: Entrance
) -> None:
    address = ask(as_person("epi"), **{**ABOUT, "person": "13000000000"})
    approve(world, house, as_person("district"), address)
    assert "This person was not seen at these venues" in look(as_person("epi"), address)


@pytest.mark.parametrize(
    "wrong",
    [
        {"person_kind": "", "person": ""},
        {"within_minutes": "121"},
        {"within_minutes": "0"},
        {"reveal": "name"},
        {"max_rows": "1"},
    ],
)
def test_a_wider_search_is_not_taken(as_person: As, house: House, wrong: dict[str, str]) -> None:
    answer = as_person("epi").post("/queries/new", {**form(house), **ABOUT, **wrong}, page="/queries/new")
    assert answer.status_code == 422 and 'class="problem"' in answer.text


@pytest.mark.parametrize("wrong", [{"valid_hours": "9"}, {"max_rows": "101"}, {"from_at": "2020-01-01T00:00"}, ABOUT])
def test_a_keepers_check_of_the_own_venue_is_short(as_person: As, house: House, wrong: dict[str, str]) -> None:
    own = {**form(house), "purpose": "venue_check", "valid_hours": "8", "venues": LIBRARY.hex()}
    operator = as_person("operator")
    assert operator.post("/queries/new", {**own, **wrong}, page="/queries/new").status_code == 422
    assert operator.post("/queries/new", own, page="/queries/new").status_code == 303


def test_a_batch_over_many_kiosks_is_indexed_once(house: House, world: World, vault: VaultClient) -> None:
    kiosks = [world.kiosk() for _ in range(5)]
    store(house, [kiosk.seal(Personal(phone=PHONE), venue=LIBRARY) for kiosk in kiosks for _ in range(3)])
    before = vault.status().tags
    with house.database.reading() as reading:
        run = index_new(reading, vault)
        assert (run.records, run.problems, run.is_done, run.behind, run.oldest_ms) == (15, 0, True, 0, None)
        assert index_new(reading, vault).records == 0
    assert vault.status().tags - before == 15
    assert set(vault.marks([kiosk.id for kiosk in kiosks]).values()) == {3}
