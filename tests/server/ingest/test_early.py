"""The newest passages of a kiosk that catches up are seen at once; what counts is the chain, and a lie is kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select

from protocol.exchange import EXCHANGE_PATH, TAKES, early_in
from protocol.journal import Record
from server.audit import AuditEvent
from server.context import House
from server.ingest import early as early_module
from server.ingest.early import early_counts, forget_old
from server.ingest.models import EarlyRecord, EarlyUpload, Fork, ForkedRecord, Journal
from server.ingest.verifying import first_break
from tests.server.ingest.fleet import PaperKiosk
from tests.server.people import MARKET, Clock

NewKiosk = Callable[[], PaperKiosk]


def early_of(house: House, kiosk: PaperKiosk) -> list[int]:
    """Which records are held early; the journal's own count says the same."""
    with house.database.reading() as reading:
        rows = reading.scalars(
            select(EarlyRecord.sequence).where(EarlyRecord.kiosk_id == kiosk.id).order_by(EarlyRecord.sequence)
        ).all()
        assert reading.get_one(Journal, kiosk.id).early == len(rows)
        assert early_counts(reading, [kiosk.id]).get(kiosk.id, 0) == len(rows)
    return list(rows)


def test_the_newest_come_beside_the_backlog_and_go_when_the_chain_reaches_them(house: House, kiosk: PaperKiosk) -> None:
    kiosk.walk(20)
    answer = kiosk.exchange(count=5, early=tuple(kiosk.records[17:]))
    assert (answer.result, answer.want) == ("ok", 6)  # no receipt speaks of them
    assert TAKES.command() in answer.commands
    assert early_of(house, kiosk) == [18, 19, 20]
    kiosk.exchange(after=5, count=13)
    assert early_of(house, kiosk) == [19, 20]
    assert kiosk.exchange(after=18).want == 21
    assert early_of(house, kiosk) == []
    with house.database.reading() as reading:
        assert reading.scalars(select(EarlyUpload)).all() == []
        assert first_break(reading, kiosk.id) is None
        assert reading.scalars(select(Fork)).all() == []


def test_the_same_early_records_again_are_kept_once(house: House, kiosk: PaperKiosk) -> None:
    kiosk.walk(10)
    body = kiosk.upload(count=1, early=tuple(kiosk.records[8:]))
    for _ in range(2):
        assert kiosk.post(body).status_code == 200
    kiosk.exchange(after=1, count=1, early=tuple(kiosk.records[7:]))
    assert early_of(house, kiosk) == [8, 9, 10]


def test_an_early_record_that_differs_from_the_chain_is_a_second_history(house: House, kiosk: PaperKiosk) -> None:
    kiosk.walk(10)
    real = kiosk.records[9]
    invented = real._replace(sealed=bytes(len(real.sealed)))
    kiosk.exchange(count=2, early=(kiosk.records[8], invented))
    answer = kiosk.exchange(after=2)
    assert (answer.result, answer.want) == ("ok", 11)  # the chain goes on
    assert "copied" in answer.commands
    with house.database.reading() as reading:
        fork = reading.scalars(select(Fork)).one()
        kept = reading.scalars(select(ForkedRecord)).one()
        assert (fork.sequence, fork.our_hash) == (10, kiosk.hashes[10])
        assert fork.their_hash == kept.hash == invented.hash_after(kiosk.hashes[9])
        assert (kept.header, kept.sealed) == (invented.header, invented.sealed)
        assert early_in(fork.upload[4:])[1] == invented  # what the device signed
        assert reading.scalars(select(AuditEvent).where(AuditEvent.action == "kiosk.forked")).one()
        assert first_break(reading, kiosk.id) is None
    assert early_of(house, kiosk) == []


def _of_another(kiosk: PaperKiosk, other: PaperKiosk) -> Record:
    other.walk(12)
    return other.records[11]


def _of_another_venue(kiosk: PaperKiosk, other: PaperKiosk) -> Record:
    kiosk.venue = MARKET
    kiosk.walk(1)
    return kiosk.records[-1]


def _nonsense(kiosk: PaperKiosk, other: PaperKiosk) -> Record:
    return kiosk.records[-1]._replace(header=b"\xa0")


@pytest.mark.parametrize("make", [_of_another, _of_another_venue, _nonsense])
def test_what_cannot_be_believed_is_left_to_the_chain(
    house: House, kiosk: PaperKiosk, new_kiosk: NewKiosk, make: Callable[[PaperKiosk, PaperKiosk], Record]
) -> None:
    kiosk.walk(11)
    assert kiosk.exchange(count=2, early=(make(kiosk, new_kiosk()),)).result == "ok"
    assert early_of(house, kiosk) == []


def test_a_gap_or_a_fork_brings_nothing_early(house: House, kiosk: PaperKiosk) -> None:
    kiosk.walk(10)
    kiosk.exchange(count=1)
    assert kiosk.exchange(after=4, count=2, early=(kiosk.records[9],)).result == "gap"
    assert kiosk.exchange(after=1, count=0, after_hash=bytes(32), early=(kiosk.records[9],)).result == "fork"
    assert early_of(house, kiosk) == []


def test_only_so_many_are_kept_and_old_ones_are_forgotten(
    house: House, kiosk: PaperKiosk, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(early_module, "MOST_EARLY", 4)
    kiosk.walk(20)
    kiosk.exchange(count=1, early=tuple(kiosk.records[10:13]))
    kiosk.exchange(after=1, count=1, early=tuple(kiosk.records[14:18]))
    assert early_of(house, kiosk) == [15, 16, 17, 18]
    clock.passes(hours=24)
    kiosk.exchange(after=2, count=1, early=(kiosk.records[19],))
    assert early_of(house, kiosk) == [16, 17, 18, 20]
    with house.database.writing() as writing:
        assert forget_old(writing, house.now() - timedelta(hours=1)) == 3
    assert early_of(house, kiosk) == [20]
    with house.database.reading() as reading:
        assert len(reading.scalars(select(EarlyUpload)).all()) == 1


@pytest.mark.parametrize("change", ["falling", "before", "many"])
def test_early_records_out_of_shape_are_refused(kiosk: PaperKiosk, change: str) -> None:
    kiosk.walk(40)
    given = {
        "falling": (kiosk.records[9], kiosk.records[8]),
        "before": (kiosk.records[0],),
        "many": tuple(kiosk.records[5:38]),
    }[change]
    after = 1 if change == "before" else 0
    response = kiosk.client.post(
        EXCHANGE_PATH,
        data=kiosk.upload(after=after, count=0, early=given),
        content_type="application/vnd.gatehouse.exchange",
    )
    assert response.status_code == 400
