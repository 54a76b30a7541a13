"""A kiosk that was away for long sends its backlog in long runs, and what happens now does not wait behind it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import select

from kiosk.catch_up import BATCH_BYTES, LEAST_BYTES, MOST_BYTES, next_bytes
from protocol import cbor
from protocol.exchange import MAX_EARLY, Upload
from server.ingest.models import EarlyRecord, Fork
from tests.kiosk.sync.house import Door, LiveServer, answers
from tests.kiosk.sync.test_syncer import in_step

NewDoor = Callable[..., Door]


def early_on(server: LiveServer, door: Door) -> list[int]:
    with server.house.database.reading() as reading:
        mine = select(EarlyRecord.sequence).where(EarlyRecord.kiosk_id == door.id).order_by(EarlyRecord.sequence)
        return list(reading.scalars(mine))


def sent_by(door: Door) -> list[Upload]:
    """Uploads as they go out from now on."""
    sent: list[Upload] = []
    post = door.syncer._client.post

    def noting(path: str, body: bytes, content_type: str) -> bytes:
        sent.append(Upload.from_bytes(body, door.identity.key.public_key()))
        return post(path, body, content_type)

    door.syncer._client.post = noting  # type: ignore[method-assign]
    return sent


def test_a_passage_made_while_a_backlog_is_sent_arrives_with_the_next_exchange(
    new_door: NewDoor, server: LiveServer
) -> None:
    door = new_door(batch=10)
    door.walk(100)
    door.syncer._most_records = 20
    assert door.problem() is None  # from here on it knows what the server takes
    door.walk(1)  # somebody comes while 80 wait
    assert door.syncer.step().more
    assert 101 in early_on(server, door)
    while door.syncer.step().more:
        pass
    in_step(door, server)
    assert early_on(server, door) == []
    with server.house.database.reading() as reading:
        assert reading.scalars(select(Fork).where(Fork.kiosk_id == door.id)).all() == []


def test_what_was_sent_early_is_not_sent_early_again(new_door: NewDoor, server: LiveServer) -> None:
    door = new_door(batch=10)
    door.walk(200)
    door.syncer._most_records = 20
    sent = sent_by(door)
    door.problem(), door.problem()
    door.walk(2)
    door.problem()
    assert [len(upload.early) for upload in sent] == [0, MAX_EARLY, 2]
    assert [r.sequence for r in sent[2].early] == [201, 202]


def test_nothing_goes_early_when_nothing_waits(new_door: NewDoor, server: LiveServer) -> None:
    door = new_door(batch=10)
    sent = sent_by(door)
    for _ in range(3):
        door.walk(3)
        assert door.problem() is None
    assert [len(upload.early) for upload in sent] == [0, 0, 0]


def test_an_older_server_gets_what_it_knows(new_door: NewDoor, server: LiveServer) -> None:
    door = new_door(batch=10)
    door.walk(60)
    door.syncer._most_records = 20
    sent = sent_by(door)
    assert door.problem() is None
    server.fault = answers("400 Bad Request", cbor.encode({1: "unknown_field", 2: "No."}), "application/cbor")
    assert door.problem() == "refused"
    assert sent[-1].early
    server.fault = None
    assert door.problem() is None
    assert not sent[-1].early  # it does not try again before the server says that it takes them


def test_the_next_run_is_ready_before_it_is_asked_for_and_a_wrong_one_is_made_anew(
    new_door: NewDoor, server: LiveServer
) -> None:
    door = new_door(batch=5)
    door.walk(60)
    door.syncer._most_records = 20
    assert door.problem() is None
    ahead = door.syncer._catch_up._ahead
    assert ahead is not None and ahead.result().after == 20
    assert door.journal.rewind_to(0)  # as after a server that was restored
    while door.syncer.step().more:
        pass
    in_step(door, server)


@pytest.mark.parametrize(
    ("sent", "took_s", "then"),
    [
        (BATCH_BYTES, 0.01, 2 * BATCH_BYTES),
        (MOST_BYTES, 0.01, MOST_BYTES),
        (BATCH_BYTES, 4.0, BATCH_BYTES // 4),
        (BATCH_BYTES, 1000.0, LEAST_BYTES),
        (100, 0.0, LEAST_BYTES),
    ],
)
def test_a_run_is_as_long_as_goes_through_in_a_second(sent: int, took_s: float, then: int) -> None:
    assert next_bytes(sent, took_s) == then
