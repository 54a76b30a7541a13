"""Two real PostgreSQL servers: lists come from the replica while it is close behind, and no receipt is ever lost."""

from __future__ import annotations

import threading

import pytest
from flask import Flask
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from server.accounts.sessions import TOKEN
from server.context import House
from server.db import Database, NotReplicated
from server.ingest.models import Journal, JournalRecord
from server.replica import AWAY_S, Replica
from server.venues.models import Venue
from server.web.access import Gate, access_of
from server.web.staleness import MAY_BE_STALE
from tests.server.ingest.fleet import PaperKiosk, VaultKeyRing, install_vault
from tests.server.people import LIBRARY, Clock, sign_in
from tests.server.scale.conftest import AppOf, Pair
from tests.server.scale.standby import until

pytestmark = [pytest.mark.slow, pytest.mark.postgresql]
LAG_S = 1.0


def house_of(app: Flask) -> House:
    found: House = app.extensions["gatehouse"]
    return found


def rename(house: House, name: str) -> None:
    with house.database.writing() as writing:
        writing.get_one(Venue, LIBRARY).name_zh = name


def kiosk_at(app: Flask, vault: VaultKeyRing) -> PaperKiosk:
    made = PaperKiosk(house_of(app), app.test_client(), vault)
    assert made.enrol().status_code == 200
    return made


def held(database: Database, kiosk: bytes) -> tuple[int, bytes, int]:
    """How far a journal is held, its head, and how many records there are."""
    with database.reading() as reading:
        journal = reading.get(Journal, kiosk)
        count = reading.scalar(select(func.count()).where(JournalRecord.kiosk_id == kiosk)) or 0
    return (journal.sequence, journal.head, count) if journal else (0, b"", count)


def test_lists_come_from_the_replica_while_it_is_close_behind(pair: Pair, app_of: AppOf, clock: Clock) -> None:
    app = app_of(pair.url, replica_url=pair.replica_url, replica_lag_s=LAG_S)
    house, replica = house_of(app), house_of(app).database.replica
    assert replica is not None
    rename(house, "锦江图书馆")
    reader = sign_in(app, "street")
    clock.passes(seconds=60)  # long after the sign-in, which was a write of this session

    # (1) close behind: the page is read there, and what it cannot show yet, it does not show
    until(replica.is_fresh, "the replica does not come near")
    pair.wait_for_standby(False)
    pair.standby.pause_replay()
    rename(house, "新图书馆")
    assert "锦江图书馆" in reader.get("/venues").text
    # (2) the one who wrote sees it at once: a POST marks the session, whatever it did
    writer = sign_in(app, "street")
    assert "新图书馆" in writer.get("/venues").text
    # (3) further behind than allowed: everybody reads the primary
    until(lambda: not replica.is_fresh(), "nobody noticed that the replica fell behind")
    assert "新图书馆" in reader.get("/venues").text
    # (4) and back again, once it has caught up
    pair.standby.resume_replay()
    until(replica.is_fresh, "the replica does not come back into use")
    assert "新图书馆" in reader.get("/venues").text
    # (5) it dies: the page comes from the primary, and nobody sees an error
    pair.standby.kill()
    rename(house, "旧图书馆")
    assert "旧图书馆" in reader.get("/venues").text and not replica.is_fresh()


def test_signing_in_and_what_is_decided_upon_is_never_read_from_the_replica(pair: Pair, app_of: AppOf) -> None:
    app = app_of(pair.url, replica_url=pair.replica_url, replica_lag_s=60.0)
    replica = house_of(app).database.replica
    assert replica is not None
    until(replica.is_fresh, "the replica does not come near")
    pair.wait_for_standby(False)
    pair.standby.pause_replay()  # it knows nothing of what follows, and counts as fresh for a minute
    browser = sign_in(app, "street")
    assert browser.get("/password").status_code == 200  # signed in, although the replica has no such session
    rename(house_of(app), "新图书馆")
    assert "新图书馆" in browser.get(f"/venues/{LIBRARY.hex()}/edit").text
    with browser.client.session_transaction() as cookie:
        assert cookie[TOKEN] and cookie["wrote"]
    for endpoint in MAY_BE_STALE:
        access = access_of(app, endpoint)
        assert access.gate in {Gate.PERMISSION, Gate.SIGNED_IN} and not access.is_personal, endpoint
        rules = [rule for rule in app.url_map.iter_rules(endpoint)]
        assert rules and all("POST" not in (rule.methods or ()) for rule in rules), endpoint


def test_the_replica_takes_no_write_and_no_lock(pair: Pair) -> None:
    database = Database(pair.url, replica_url=pair.replica_url)
    assert database.replica is not None
    until(database.replica.is_fresh, "the replica does not come near")
    with database.open(writes=False, may_be_stale=True) as there:
        assert there.scalar(text("SELECT pg_is_in_recovery()"))
        with pytest.raises(DBAPIError, match="read-only"):
            there.execute(text("UPDATE venue SET name_zh = 'x'"))
    with database.open(writes=True, may_be_stale=True) as here:
        assert not here.scalar(text("SELECT pg_is_in_recovery()"))
    database.close()


def test_a_replica_that_is_cut_off_is_behind_although_it_looks_idle(pair: Pair) -> None:
    """By its own word it has replayed all it received; by the primary's log it has not."""
    database, now_s = Database(pair.url), [1000.0]
    there = Database(pair.replica_url)
    replica = Replica(database.engine, there.engine, 5.0, monotonic_s=lambda: now_s[0])
    until(lambda: _asked_again(replica, now_s) == 0.0, "the replica does not come level")
    pair.wait_for_standby(False)
    pair.standby.stop_receiving()
    with database.writing() as writing:
        writing.execute(text("UPDATE venue SET name_zh = 'x'"))
    now_s[0] += 4
    assert replica.behind_s() == 4.0 and replica.is_fresh()
    now_s[0] += 2
    assert replica.behind_s() == 6.0 and not replica.is_fresh()
    pair.standby.receive_again()
    until(lambda: _asked_again(replica, now_s) == 0.0, "the replica does not come back")
    replica.failed()
    assert replica.behind_s() is None and not replica.is_fresh()
    now_s[0] += AWAY_S
    assert replica.is_fresh()
    database.close()
    there.close()


def _asked_again(replica: Replica, now_s: list[float]) -> float | None:
    now_s[0] += 1.0
    return replica.behind_s()


def test_a_receipt_waits_for_the_second_server(pair: Pair, app_of: AppOf) -> None:
    """PostgreSQL says "committed" with a warning when its wait is cut off; no receipt is signed for that."""
    app = app_of(pair.url, statement_s=1)
    vault = install_vault(house_of(app))
    kiosk = kiosk_at(app, vault)
    kiosk.walk(3)
    assert kiosk.exchange().want == 4
    pair.standby.stop_receiving()
    kiosk.walk(2)
    answer = kiosk.post(kiosk.upload(3))
    assert answer.status_code == 503 and b"receipt" not in answer.data
    # it is in the primary's table, and on one disk only: the kiosk asks again, and still gets no receipt
    assert held(house_of(app).database, kiosk.id)[0] == 5
    assert kiosk.post(kiosk.upload(3)).status_code == 503
    with pytest.raises(NotReplicated):
        rename(house_of(app), "only here")
    pair.standby.receive_again()
    until(pair.standby.is_level, "the standby does not come level")
    assert kiosk.exchange(3).want == 6
    assert held(house_of(app).database, kiosk.id)[2] == 5


def test_without_that_policy_a_receipt_may_be_for_one_disk_alone(pair: Pair, app_of: AppOf) -> None:
    """What the policy is for; and that these tests would notice its absence."""
    pair.wait_for_standby(False)
    app = app_of(pair.url)
    kiosk = kiosk_at(app, install_vault(house_of(app)))
    until(pair.standby.is_level, "the standby does not come level")
    pair.standby.stop_receiving()
    kiosk.walk(3)
    assert kiosk.exchange().want == 4
    there = Database(pair.replica_url)
    assert held(there, kiosk.id)[0] == 0
    there.close()
    pair.standby.receive_again()


def test_failover_loses_no_receipted_passage(pair: Pair, app_of: AppOf) -> None:
    """The primary is killed under load; the replica is promoted; the same application goes on with it."""
    app = app_of(pair.either_url, statement_s=5)
    vault = install_vault(house_of(app))
    kiosks = [kiosk_at(app, vault) for _ in range(4)]
    receipted: dict[bytes, tuple[int, bytes]] = {}
    enough, over = threading.Barrier(len(kiosks) + 1), threading.Event()

    def live(kiosk: PaperKiosk) -> None:
        rounds = 0
        while not over.is_set():
            after = receipted.get(kiosk.id, (0, b""))[0]
            kiosk.walk(5)
            body = kiosk.upload(after)
            response = kiosk.post(body)
            if response.status_code == 200:
                receipt = kiosk.receipt(kiosk.answer(response, body))
                receipted[kiosk.id] = (receipt.sequence, receipt.head)
            rounds += 1
            if rounds == 5:
                enough.wait(60)

    threads = [threading.Thread(target=live, args=(kiosk,)) for kiosk in kiosks]
    for thread in threads:
        thread.start()
    enough.wait(60)
    pair.primary.kill()  # in the middle of whatever they are doing
    over.set()
    for thread in threads:
        thread.join(60)
    assert len(receipted) == 4 and all(sequence >= 5 for sequence, _ in receipted.values())

    pair.standby.promote()
    survivor = Database(pair.replica_url)
    for kiosk in kiosks:
        sequence, head = receipted[kiosk.id]
        now_held, now_head, count = held(survivor, kiosk.id)
        assert now_held >= sequence and count == now_held
        assert kiosk.hashes[sequence] == head and kiosk.hashes[now_held] == now_head
    # the kiosks go on, through the application that was running all along, and everything is held once
    for kiosk in kiosks:
        kiosk.walk(1)
        assert kiosk.exchange(receipted[kiosk.id][0]).want == len(kiosk.records) + 1
        assert held(survivor, kiosk.id) == (len(kiosk.records), kiosk.hashes[-1], len(kiosk.records))
    survivor.close()
