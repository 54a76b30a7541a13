"""Any record's number tells what became of it and when, and nothing of who it is about."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask

from protocol.passage import Personal
from server.context import House
from server.ingest.models import Epoch, Quarantined
from server.kiosks.lifeline import Life, life_of
from server.queries.models import QueryRow, QueryVenue, VaultLine
from server.vault.client import VaultAway
from tests.server.ingest.fleet import PaperKiosk
from tests.server.people import LIBRARY, Clock, sign_in


class Marks:
    """A vault that says how far it is, or does not answer."""

    def __init__(self, mark: int | None) -> None:
        self._mark = mark

    def marks(self, kiosks: list[bytes]) -> dict[bytes, int]:
        if self._mark is None:
            raise VaultAway("No answer.", hint="Start it.")
        return dict.fromkeys(kiosks, self._mark)


def life(house: House, kiosk: PaperKiosk, sequence: int, mark: int | None = 0) -> Life:
    with house.database.reading() as reading:
        return life_of(reading, Marks(mark), kiosk.id, sequence)  # type: ignore[arg-type]


def words(found: Life) -> list[str]:
    return [moment.words.split(":")[0] for moment in found.moments]


def test_a_record_is_followed_from_the_kiosk_to_its_end(house: House, kiosk: PaperKiosk, clock: Clock) -> None:
    kiosk.walk(3)
    clock.passes(minutes=5)
    kiosk.exchange()
    found = life(house, kiosk, 2, mark=1)
    assert found.what == "passage"
    assert words(found)[1:] == ["Received, stored and receipted", "Not indexed by the vault yet"]
    made, received = found.moments[0].at, found.moments[1].at
    assert made is not None and received == clock.at and timedelta(minutes=4) < received - made <= timedelta(minutes=5)
    assert words(life(house, kiosk, 2, mark=2))[2] == "Indexed by the vault"
    assert words(life(house, kiosk, 2, mark=None))[2].startswith("The vault does not answer")
    with house.database.writing() as writing:
        writing.query(Epoch).one().destroyed_at = clock.at
    assert words(life(house, kiosk, 2, mark=2))[-1] == "Destroyed"


def test_what_came_early_what_waits_and_what_was_set_aside_is_said(house: House, kiosk: PaperKiosk) -> None:
    kiosk.walk(2)
    kiosk.walk(1, header=b"\xa0")
    kiosk.walk(7)
    kiosk.exchange(count=4, early=(kiosk.records[9],))
    assert words(life(house, kiosk, 10))[1:] == ["Came early, beside a backlog", "Received in its place"]
    assert words(life(house, kiosk, 7)) == ["Not received yet"]
    aside = life(house, kiosk, 3)
    assert (aside.what, words(aside)[-1]) == ("quarantined", "Set aside")
    with house.database.reading() as reading:
        assert aside.moments[-1].note == reading.query(Quarantined).one().reason


def test_each_look_at_it_is_listed_and_no_other(house: House, kiosk: PaperKiosk) -> None:
    kiosk.walk(12)
    kiosk.exchange()
    with house.database.writing() as writing:
        from server.accounts.models import User

        query = QueryRow(
            id=bytes(16),
            body=b"",
            digest=bytes(32),
            requester_id=writing.query(User).first().id,  # type: ignore[union-attr]
            state="approved",
            created_at=house.now(),
            expires_at=house.now(),
        )
        writing.add(query)
        writing.flush()
        writing.add(QueryVenue(query_id=query.id, venue_id=LIBRARY))
        raw = f'{{"passages": ["{kiosk.id.hex()}:11"], "refused": ["{kiosk.id.hex()}:1:out_of_scope"]}}'
        for number, event in ((1, "opened"), (2, "found")):
            writing.add(VaultLine(sequence=number, at_ms=1000, event=event, query_id=query.id, hash="", raw=raw))
    assert life(house, kiosk, 11).moments[-1].note == "#1"
    assert "Opened for an approved query" in words(life(house, kiosk, 11))
    assert "Opened for an approved query" not in words(life(house, kiosk, 1))


@pytest.mark.parametrize("number", ["1", "999"])
def test_the_page_shows_it_and_names_nobody(app: Flask, house: House, kiosk: PaperKiosk, number: str) -> None:
    kiosk.walk(2)
    kiosk.exchange()
    page = sign_in(app, "street").get(f"/kiosks/{kiosk.id.hex()}/record?number={number}")
    assert page.status_code == 200 and f"{kiosk.id.hex()}:{number}" in page.text
    assert Personal(name="person 1").name not in page.text
    for nonsense in ("0", "-1", str(2**63)):
        assert sign_in(app, "street").get(f"/kiosks/{kiosk.id.hex()}/record?number={nonsense}").status_code == 404
