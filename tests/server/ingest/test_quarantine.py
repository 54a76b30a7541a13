"""A record that cannot be believed holds nothing up, says why, can be tried again, and is not forgotten."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from types import SimpleNamespace

import pytest
from flask import Flask
from sqlalchemy import select, update

from server.audit import AuditEvent
from server.cases.models import Case
from server.context import House
from server.ingest.models import JournalRecord, Quarantined, RecordKind
from server.ingest.verifying import first_break
from server.kiosks.models import Kiosk
from server.quarantine import views
from server.quarantine.retrying import try_again
from server.quarantine.workflow import SITS, raise_cases
from tests.server.ingest.fleet import PaperKiosk
from tests.server.ingest.test_inside import heard
from tests.server.people import LIBRARY, MARKET, NOON, Clock, sign_in

Indexed = list[int]


@pytest.fixture
def indexed(monkeypatch: pytest.MonkeyPatch) -> Indexed:
    """Which records the vault was handed."""
    taken: Indexed = []

    def index(records: Sequence[SimpleNamespace], marks: dict[bytes, int]) -> None:
        assert marks == {}  # the worker's own marks stay where they are
        taken.extend(record.sequence for record in records)

    monkeypatch.setattr(views, "VaultClient", lambda path: SimpleNamespace(index=index))
    return taken


def put_aside(house: House, kiosk: PaperKiosk) -> None:
    """While the console has the kiosk at the market, 2 and 3 name the library, where it is; 4 is nonsense."""
    moved(house, kiosk, MARKET)
    for venue, event, header in (
        (MARKET, None, None),
        (LIBRARY, None, None),
        (LIBRARY, "started", None),
        (LIBRARY, None, b"\xa0"),
        (MARKET, None, None),
    ):
        kiosk.venue = venue
        kiosk.walk(1, event=event, header=header)
    answer = kiosk.exchange()
    assert (answer.want, [sequence for sequence, _ in answer.quarantined]) == (6, [2, 3, 4])


def moved(house: House, kiosk: PaperKiosk, venue: bytes) -> None:
    with house.database.writing() as writing:
        writing.execute(update(Kiosk).where(Kiosk.id == kiosk.id).values(venue_id=venue))


def aside(house: House, kiosk: PaperKiosk) -> list[int]:
    with house.database.reading() as reading:
        mine = select(Quarantined.sequence).where(Quarantined.kiosk_id == kiosk.id).order_by(Quarantined.sequence)
        return list(reading.scalars(mine))


def address(kiosk: PaperKiosk, more: str = "") -> str:
    return f"/kiosks/{kiosk.id.hex()}/quarantine{more}"


def test_it_is_shown_and_exported_by_number_and_reason(app: Flask, house: House, kiosk: PaperKiosk) -> None:
    put_aside(house, kiosk)
    moved(house, kiosk, LIBRARY)
    page = sign_in(app, "street").get(address(kiosk)).text
    assert "#2" in page and "other_venue" in page and "#5" not in page
    file = sign_in(app, "street").get(address(kiosk, ".json"))
    assert "attachment" in file.headers["Content-Disposition"]
    told = json.loads(file.data)
    assert [one["sequence"] for one in told["records"]] == [2, 3, 4]
    assert told["records"][0]["sealed"] == kiosk.records[1].sealed.hex()
    assert "person 2" not in file.text


def test_what_can_be_believed_now_is_released_and_indexed(
    app: Flask, house: House, kiosk: PaperKiosk, indexed: Indexed
) -> None:
    put_aside(house, kiosk)
    with app.app_context(), house.database.writing() as writing:
        tried = try_again(writing, writing.get_one(Kiosk, kiosk.id), "somebody", house.now())
    assert (tried.tried, tried.released) == (3, ())  # nothing has changed, so nothing is believed
    moved(house, kiosk, LIBRARY)
    assert sign_in(app, "street").post(address(kiosk)).status_code == 303
    assert aside(house, kiosk) == [4]
    assert indexed == [2]  # an event has nothing to index
    with house.database.reading() as reading:
        row = reading.get_one(JournalRecord, (kiosk.id, 2))
        assert (row.kind, row.venue_id, row.outcome) == (RecordKind.PASSAGE, LIBRARY, "admit")
        assert reading.get_one(JournalRecord, (kiosk.id, 3)).event == "started"
        assert (row.header, row.sealed, row.hash) == (kiosk.records[1].header, kiosk.records[1].sealed, kiosk.hashes[2])
        assert first_break(reading, kiosk.id) is None
        trail = reading.scalars(select(AuditEvent).where(AuditEvent.action == "kiosk.quarantine_tried")).all()
        assert [line.reason for line in trail] == ["3 tried, 0 released", "3 tried, 2 released"]


def test_a_kiosk_that_knows_of_them_is_told_which_still_wait_and_the_fleet_page_says_so(
    app: Flask, house: House, kiosk: PaperKiosk
) -> None:
    put_aside(house, kiosk)
    assert heard(kiosk.exchange()) == ()
    knows = (("quarantine", "3"), ("quarantine_since_ms", "1772409600000"))
    assert heard(kiosk.exchange(health=knows)) == ("aside 2 3 4",)
    moved(house, kiosk, LIBRARY)
    told = sign_in(app, "street").get(f"/kiosks/{kiosk.id.hex()}").text
    assert "The server keeps records of it apart." in told and "2026-03-02T" in told
    with house.database.writing() as writing:
        try_again(writing, writing.get_one(Kiosk, kiosk.id), "somebody", NOON)
    assert heard(kiosk.exchange(health=knows)) == ("aside 4",)


def test_a_case_is_raised_once_when_it_sits_too_long(app: Flask, house: House, kiosk: PaperKiosk, clock: Clock) -> None:
    put_aside(house, kiosk)
    with app.app_context():
        assert raise_cases(house, house.now() + SITS - timedelta(seconds=1)) == 0
        clock.passes(hours=1)
        assert raise_cases(house, house.now()) == 2  # one for each reason
        assert raise_cases(house, house.now() + timedelta(days=3)) == 0
    with house.database.reading() as reading:
        cases = reading.scalars(select(Case).where(Case.machine == "quarantine")).all()
        assert {case.state for case in cases} == {"waiting"}
