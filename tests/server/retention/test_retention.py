"""What is due is gone for good and can be shown: in the vault, in the statement, and after an old backup came back."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, update

from config.errors import GatehouseError
from config.server import RetentionSettings
from server.accounts.models import User
from server.accounts.rights import Person, Place, person_of
from server.bundles.parts import vault_keys
from server.cases.kernel import NotAllowed, NotPossible, open_case, take
from server.context import House
from server.ingest.models import Epoch, JournalRecord
from server.ingest.partitions import day_of, ensure_days
from server.queries.models import VaultLine
from server.queries.trail import follow_log, signing_key
from server.retention.destroying import count_days, destroy_due, follow_the_vault
from server.retention.models import DayCount, Destruction
from server.retention.statement import first_wrong_certificate, statement_of
from server.retention.workflow import HOLD
from server.vault.client import VaultClient
from tests.server.people import LIBRARY, Browser
from tests.server.queries.conftest import Entrance, real_now

LATER = timedelta(days=40)


@pytest.fixture
def later(house: House) -> House:
    """The same house when everything in it is due: thirty days are kept."""
    settings = dataclasses.replace(house.settings, retention=RetentionSettings(scan_days=30))
    return dataclasses.replace(house, settings=settings, now=lambda: real_now() + LATER)


def who(house: House, name: str) -> Person:
    with house.database.reading() as reading:
        return person_of(reading, reading.scalars(select(User).where(User.name == name)).one())


def open_keys(house: House) -> int:
    with house.database.reading() as reading:
        return len(reading.scalars(select(Epoch.epoch).where(Epoch.wrapped.is_not(None))).all())


def rows(house: House) -> int:
    with house.database.reading() as reading:
        return len(reading.scalars(select(JournalRecord.sequence)).all())


def hold(house: House, first: datetime, last: datetime, *, imposed_by: str = "district") -> str:
    """An order over the library's passages of these days."""
    with house.database.reading() as reading:
        from server.areas.models import Area
        from server.venues.models import Venue

        area = reading.scalars(
            select(Area.path).join(Venue, Venue.area_code == Area.code).where(Venue.id == LIBRARY)
        ).one()
    asker, decider = who(house, "epi"), who(house, imposed_by)
    with house.database.writing() as writing:
        case = open_case(
            writing,
            HOLD,
            by=asker,
            at=house.now(),
            title="2026-刑-17",
            place=Place(area, LIBRARY),
            facts={"order": "2026-刑-17", "first_day": f"{first:%Y-%m-%d}", "last_day": f"{last:%Y-%m-%d}"},
        )
        case_id = case.id
    with house.database.writing() as writing:
        take(writing, case_id, "impose", by=decider, at=house.now(), reason="court order")
    return case_id


def statement_month() -> str:
    return f"{real_now():%Y-%m}"


def test_nothing_is_destroyed_before_its_time_or_without_a_period(later: House, entrance: Entrance) -> None:
    early = dataclasses.replace(later, now=lambda: real_now() + timedelta(days=29))
    unset = dataclasses.replace(later, settings=dataclasses.replace(later.settings, retention=RetentionSettings()))
    assert destroy_due(early).epochs == destroy_due(unset).epochs == 0
    assert open_keys(later) == 1 and rows(later) == 4


def test_what_is_due_is_gone_in_the_vault_and_here_and_certified(
    later: House, entrance: Entrance, vault: VaultClient
) -> None:
    destroyed_before = vault.status().destroyed_epochs
    counted = count_days(later)
    with later.database.reading() as reading:
        assert [row.passages for row in reading.scalars(select(DayCount).order_by(DayCount.day))] == [4] + [0] * (
            counted - 1
        )
    assert counted == (day_of(later.now()) - day_of(real_now())) and count_days(later) == 0
    done = destroy_due(later)
    assert (done.epochs, done.passages, done.held) == (1, 4, 0)
    assert open_keys(later) == 0 and rows(later) == 0
    assert vault.status().destroyed_epochs > destroyed_before
    with later.database.reading() as reading:
        row = reading.scalars(select(Destruction)).one()
        assert row.number == 1 and row.passages == 4 and row.vault_head
        assert first_wrong_certificate(reading, later.keys.server_identity().public_key()) is None
        statement = statement_of(reading, statement_month(), later.now())
    assert statement.agrees and [(d.received, d.destroyed, d.open) for d in statement.days] == [(4, 4, 0)]
    assert destroy_due(later).epochs == 0  # once


def test_an_old_backup_brings_nothing_back(later: House, entrance: Entrance, vault: VaultClient) -> None:
    count_days(later)
    with later.database.reading() as reading:
        epoch = reading.scalars(select(Epoch)).one()
        records = [dict(r._mapping) for r in reading.execute(select(JournalRecord.__table__))]
    wrapped = epoch.wrapped
    assert wrapped
    destroy_due(later)
    with later.database.writing() as writing:  # yesterday's database: the key is there, the certificate is not
        for row in writing.scalars(select(Destruction)):
            writing.delete(row)
        writing.execute(update(Epoch).values(wrapped=wrapped, destroyed_at=None))
    ensure_days(later.database.engine, day_of(real_now()), 1)
    with later.database.writing() as writing:
        writing.execute(JournalRecord.__table__.insert(), records)
        statement = statement_of(writing, statement_month(), later.now())
        assert statement.days[0].open == 4
    key = signing_key(vault_keys(later))
    follow_log(later.database, vault, key, later.now())
    assert follow_the_vault(later) == 1
    assert open_keys(later) == 0
    with later.database.reading() as reading:
        assert statement_of(reading, statement_month(), later.now()).agrees
        assert first_wrong_certificate(reading, later.keys.server_identity().public_key()) is None
    assert follow_the_vault(later) == 0


def test_an_order_holds_back_and_its_end_lets_go(later: House, entrance: Entrance, app: object) -> None:
    with app.app_context():  # type: ignore[attr-defined]
        case_id = hold(later, real_now(), real_now())
        done = destroy_due(later)
        assert (done.epochs, done.held, done.rows_dropped) == (0, 1, 0)
        assert open_keys(later) == 1 and rows(later) == 4
        decider = who(later, "district")
        with later.database.writing() as writing:
            take(writing, case_id, "end", by=decider, at=later.now(), reason="over")
        assert destroy_due(later).epochs == 1
        assert rows(later) == 0


def test_many_held_epochs_do_not_hide_what_is_due(
    later: House, entrance: Entrance, app: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.retention.destroying.EPOCHS_AT_ONCE", 2)
    with later.database.writing() as writing:  # five more of the same kiosk that no order is about, after the held one
        held = writing.scalars(select(Epoch)).one()
        for number in range(5):
            fields = {c.name: getattr(held, c.name) for c in Epoch.__table__.columns}
            at = held.received_at + timedelta(minutes=number)
            writing.add(Epoch(**{**fields, "epoch": bytes([number]) * 16, "received_at": at}))
    with app.app_context():  # type: ignore[attr-defined]
        hold(later, real_now(), real_now())
        runs = [destroy_due(later) for _ in range(3)]
    assert [(run.epochs, run.held, run.is_done) for run in runs] == [(2, 1, False), (2, 1, False), (1, 1, True)]
    assert open_keys(later) == 1


def test_only_new_destructions_are_followed_each_minute(later: House, entrance: Entrance, vault: VaultClient) -> None:
    with later.database.reading() as reading:
        wrapped = reading.scalars(select(Epoch)).one().wrapped
    destroy_due(later)
    follow_log(later.database, vault, signing_key(vault_keys(later)), later.now())
    with later.database.writing() as writing:
        last = writing.scalars(select(VaultLine.sequence).order_by(VaultLine.sequence.desc()).limit(1)).one()
        writing.execute(update(Epoch).values(wrapped=wrapped, destroyed_at=None))
    assert follow_the_vault(later, last) == 0
    assert follow_the_vault(later, last - 1) == 1


def test_an_order_over_other_days_holds_nothing(later: House, entrance: Entrance, app: object) -> None:
    with app.app_context():  # type: ignore[attr-defined]
        hold(later, real_now() - timedelta(days=9), real_now() - timedelta(days=8))
        assert destroy_due(later).epochs == 1


def test_an_order_takes_two_people_and_days_in_order(later: House, entrance: Entrance, app: object) -> None:
    with app.app_context():  # type: ignore[attr-defined]
        with pytest.raises(NotAllowed):
            hold(later, real_now(), real_now(), imposed_by="epi")
        with pytest.raises(NotPossible, match="last day"):
            hold(later, real_now(), real_now() - timedelta(days=1))


def test_a_vault_that_is_away_means_nothing_is_destroyed(later: House, entrance: Entrance) -> None:
    elsewhere = dataclasses.replace(later.settings.vault, socket=later.settings.data_dir / "nowhere.sock")
    alone = dataclasses.replace(later, settings=dataclasses.replace(later.settings, vault=elsewhere))
    with pytest.raises(GatehouseError):
        destroy_due(alone)
    assert open_keys(later) == 1 and rows(later) == 4


@pytest.mark.parametrize("change", [{"passages": 3}, {"held": 1}, {"epochs_digest": bytes(32)}, {"signed": b"\x00"}])
def test_a_changed_certificate_shows(later: House, entrance: Entrance, change: dict[str, object]) -> None:
    destroy_due(later)
    with later.database.writing() as writing:
        writing.execute(update(Destruction).values(**change))
    with later.database.reading() as reading:
        assert first_wrong_certificate(reading, later.keys.server_identity().public_key()) == 1


def test_the_data_officer_sees_the_statement_and_others_do_not(
    later: House, entrance: Entrance, as_person: object
) -> None:
    count_days(later)
    destroy_due(later)
    officer: Browser = as_person("officer")  # type: ignore[operator]
    month = f"{real_now() + LATER:%Y-%m}"  # of the certificate; the day of the passages is still under way
    page = officer.get(f"/retention/?month={month}")
    assert page.status_code == 200 and "/retention/certificates/1" in page.text and "依法保留" in page.text
    signed = officer.get("/retention/certificates/1.cose")
    assert signed.status_code == 200 and signed.mimetype == "application/cose"
    assert "SHA-256" in officer.get("/retention/certificates/1").text
    for nothing in ("/retention/?month=2026-13", "/retention/?month=x", "/retention/certificates/2"):
        assert officer.get(nothing).status_code == 404
    staff: Browser = as_person("staff")  # type: ignore[operator]
    assert staff.get("/retention/").status_code in {403, 404}
