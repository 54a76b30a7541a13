"""What a kiosk sends is stored once, in order, and receipted; nothing it sends stops its queue or changes the past."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import func, inspect, select, text

from protocol.exchange import CONTENT_TYPE, EXCHANGE_PATH, MAX_UPLOAD_BYTES, Answer, Receipt
from protocol.journal import genesis
from protocol.sealing import EpochOpener
from server.audit import AuditEvent
from server.cases.models import Case
from server.context import House
from server.ingest import answering
from server.ingest.devices import to_ms
from server.ingest.models import Epoch, Fork, ForkedRecord, Journal, JournalRecord, Quarantined, RecordKind
from server.ingest.pace import Pace
from server.ingest.partitions import day_of, drop_before
from server.ingest.verifying import first_break
from server.kiosks.models import Kiosk
from tests.server.ingest.fleet import PASSAGE, PaperKiosk, make_code, refusal
from tests.server.people import LIBRARY, MARKET, Clock
from tests.server.stores import everything_stored

NewKiosk = Callable[[], PaperKiosk]


def stored(house: House, kiosk: PaperKiosk) -> list[JournalRecord]:
    with house.database.reading() as reading:
        rows = reading.scalars(
            select(JournalRecord).where(JournalRecord.kiosk_id == kiosk.id).order_by(JournalRecord.sequence)
        )
        return list(rows)


def every_row(house: House) -> dict[str, list[tuple[object, ...]]]:
    with house.database.reading() as reading:
        names = inspect(reading.connection()).get_table_names()
        return {name: sorted(map(tuple, reading.execute(text(f'SELECT * FROM "{name}"'))), key=repr) for name in names}


def row_of(house: House, kiosk: PaperKiosk) -> Kiosk:
    with house.database.reading() as reading:
        return reading.get_one(Kiosk, kiosk.id)


def test_passages_are_stored_as_they_came_and_receipted(house: House, kiosk: PaperKiosk) -> None:
    kiosk.walk(event="started")
    kiosk.walk(3)
    answer = kiosk.exchange()
    receipt = kiosk.receipt(answer)
    assert (answer.result, answer.want, answer.quarantined) == ("ok", 5, ())
    assert (receipt.sequence, receipt.head) == (4, kiosk.hashes[4])
    rows = stored(house, kiosk)
    assert [(r.sequence, r.header, r.sealed, r.hash) for r in rows] == [
        (r.sequence, r.header, r.sealed, kiosk.hashes[r.sequence]) for r in kiosk.records
    ]
    assert [r.kind for r in rows] == [RecordKind.EVENT] + [RecordKind.PASSAGE] * 3
    assert rows[0].event == "started" and rows[0].outcome is None
    assert (rows[1].venue_id, rows[1].entrance, rows[1].outcome, rows[1].mode) == (LIBRARY, 1, "admit", "scan")
    assert (rows[1].measured, rows[1].colour, rows[1].credential) == ("normal", 1, "health_code")


def test_the_kiosks_row_tells_how_it_is(house: House, kiosk: PaperKiosk, clock: Clock) -> None:
    kiosk.walk(5)
    clock.passes(hours=1)
    kiosk.exchange(count=2, bundle_version=1, faults=("no_thermometer",), sent_at_ms=1000)
    row = row_of(house, kiosk)
    assert (row.last_seen_at, row.last_sequence, row.unsent_count) == (clock.at, 2, 3)
    assert row.state == "active"  # it has taken a bundle
    assert row.bundle_version == 1 and row.oldest_unsent_at is not None
    assert row.clock_offset_ms == 1000 - int(clock.at.timestamp() * 1000)  # noted, and nothing was corrected
    assert row.health == {"parts": {"camera": "live"}, "faults": ["no_thermometer"]}
    kiosk.exchange(after=2)
    row = row_of(house, kiosk)
    assert (row.unsent_count, row.oldest_unsent_at) == (0, None)


def test_sent_twice_is_stored_once(house: House, kiosk: PaperKiosk) -> None:
    kiosk.walk(3)
    body = kiosk.upload()
    first, second = kiosk.post(body), kiosk.post(body)
    assert kiosk.receipt(kiosk.answer(first, body)) == kiosk.receipt(kiosk.answer(second, body))
    assert len(stored(house, kiosk)) == 3


def test_an_overlapping_batch_adds_only_what_is_new(house: House, kiosk: PaperKiosk) -> None:
    kiosk.walk(6)
    kiosk.exchange(count=4)
    answer = kiosk.exchange(after=2)
    assert (answer.result, answer.want) == ("ok", 7)
    assert [r.sequence for r in stored(house, kiosk)] == [1, 2, 3, 4, 5, 6]


def test_a_gap_is_answered_with_the_sequence_we_want_and_nothing_is_taken(house: House, kiosk: PaperKiosk) -> None:
    kiosk.walk(6)
    kiosk.exchange(count=2)
    answer = kiosk.exchange(after=4)
    assert (answer.result, answer.want) == ("gap", 3)
    assert kiosk.receipt(answer).head == kiosk.hashes[2]
    assert len(stored(house, kiosk)) == 2
    assert kiosk.exchange(after=2).result == "ok"


def test_an_old_upload_sent_again_does_not_make_a_dead_kiosk_look_alive(
    house: House, kiosk: PaperKiosk, clock: Clock
) -> None:
    kiosk.walk(1)
    body = kiosk.upload()
    kiosk.post(body)
    seen = row_of(house, kiosk).last_seen_at
    clock.passes(hours=5)
    assert kiosk.post(body).status_code == 200
    assert row_of(house, kiosk).last_seen_at == seen


def test_a_nonsense_header_goes_into_quarantine_and_the_queue_moves_on(house: House, kiosk: PaperKiosk) -> None:
    kiosk.walk(1)
    kiosk.walk(1, header=b"\xa1\x01\x63abc")
    kiosk.walk(1, header=kiosk.records[0].header)  # another record's header
    kiosk.walk(1)
    answer = kiosk.exchange()
    assert (answer.result, answer.want) == ("ok", 5)
    assert answer.quarantined == ((2, "bad_field"), (3, "foreign_header"))
    assert [r.kind for r in stored(house, kiosk)] == [1, 3, 3, 1]
    assert kiosk.exchange().quarantined == answer.quarantined  # told again when it is sent again
    with house.database.reading() as reading:
        assert len(reading.scalars(select(Quarantined)).all()) == 2


def test_records_of_another_venue_are_kept_apart(house: House, kiosk: PaperKiosk) -> None:
    kiosk.venue = MARKET
    kiosk.walk(1)
    assert kiosk.exchange().quarantined == ((1, "other_venue"),)
    assert stored(house, kiosk)[0].venue_id is None


def test_a_record_without_its_epochs_key_is_kept_apart(kiosk: PaperKiosk) -> None:
    kiosk.walk(1)
    kiosk.records[0] = kiosk.records[0]._replace(wrapped=b"")
    kiosk.hashes[1] = kiosk.records[0].hash_after(kiosk.hashes[0])
    assert kiosk.exchange().quarantined == ((1, "unknown_epoch"),)


def test_an_epochs_key_is_kept_once_and_never_replaced(house: House, kiosk: PaperKiosk) -> None:
    kiosk.walk(2)
    kiosk.exchange()
    kiosk.new_epoch()
    kiosk.walk(1)
    kiosk.records[2] = kiosk.records[2]._replace(epoch=kiosk.records[0].epoch)
    kiosk.hashes[3] = kiosk.records[2].hash_after(kiosk.hashes[2])
    assert kiosk.exchange(after=2).quarantined == ((3, "epoch_twice"),)
    with house.database.reading() as reading:
        epoch = reading.scalars(select(Epoch)).one()
    assert (epoch.first_sequence, epoch.wrapped) == (1, kiosk.records[0].wrapped)


def test_what_is_stored_can_be_opened_by_the_vaults_key_alone(house: House, kiosk: PaperKiosk) -> None:
    from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey

    from protocol.passage import Personal
    from protocol.sealing import SealPrivateKey

    kiosk.walk(2)
    kiosk.exchange()
    vault = kiosk.vault
    keys = {vault.seal.key_id: SealPrivateKey(vault.seal.key_id, MLKEM768X25519PrivateKey(vault.mlkem, vault.x25519))}
    with house.database.reading() as reading:
        epoch = reading.scalars(select(Epoch)).one()
    assert epoch.wrapped is not None
    opener = EpochOpener.unwrap(kiosk.id, epoch.epoch, epoch.wrapped, keys)
    row = stored(house, kiosk)[1]
    assert Personal.from_bytes(opener.open(2, row.header, row.sealed)).name == "person 2"


def test_two_clones_of_one_kiosk_leave_evidence_and_nothing_is_overwritten(
    house: House, kiosk: PaperKiosk, new_kiosk: NewKiosk
) -> None:
    kiosk.walk(3)
    kiosk.exchange()
    clone = new_kiosk()
    clone.key, clone.id, clone.boot = kiosk.key, kiosk.id, b"cloned!!"
    clone.hashes = [genesis(kiosk.id)]
    for record in kiosk.records[:2]:
        clone.add(record)
    clone.new_epoch()
    clone.walk(2)  # its own records 3 and 4
    answer = clone.exchange(after=2)
    assert (answer.result, answer.want) == ("fork", 4)
    assert clone.receipt(answer).head == kiosk.hashes[3]
    assert [r.hash for r in stored(house, kiosk)] == kiosk.hashes[1:]
    clone.exchange(after=2)  # again: kept once
    with house.database.reading() as reading:
        fork = reading.scalars(select(Fork)).one()
        kept = reading.scalars(select(ForkedRecord).order_by(ForkedRecord.sequence)).all()
        tampered = reading.scalars(select(AuditEvent).where(AuditEvent.action == "kiosk.forked")).all()
    assert (fork.sequence, fork.our_hash, fork.their_hash) == (3, kiosk.hashes[3], clone.hashes[3])
    assert fork.boot == b"cloned!!"
    assert [(r.sequence, r.hash, r.sealed) for r in kept] == [
        (3, clone.hashes[3], clone.records[2].sealed),
        (4, clone.hashes[4], clone.records[3].sealed),
    ]
    assert len(tampered) == 1 and tampered[0].object_id == kiosk.id.hex()
    with house.database.reading() as reading:
        case = reading.scalars(select(Case).where(Case.machine == "tamper")).one()  # somebody has to go and look
    assert case.facts == {"sequence": "3"} and case.state == "found" and case.due_at is not None
    kiosk.walk(1)
    assert kiosk.exchange(after=3).result == "ok"  # the first history goes on


def test_a_kiosk_that_starts_anew_with_its_old_key_is_a_fork(kiosk: PaperKiosk) -> None:
    kiosk.walk(2)
    kiosk.exchange()
    kiosk.records, kiosk.hashes = [], [genesis(kiosk.id)]
    kiosk.new_epoch()
    kiosk.walk(1)
    assert kiosk.exchange().result == "fork"


def test_forks_without_end_do_not_fill_the_disk(house: House, kiosk: PaperKiosk) -> None:
    kiosk.walk(1)
    kiosk.exchange()
    for n in range(30):
        assert kiosk.exchange(after=0, after_hash=n.to_bytes(32, "big")).result == "fork"
    with house.database.reading() as reading:
        assert reading.scalar(select(func.count()).select_from(Fork)) == 20


def test_a_kiosk_that_was_put_into_the_database_by_hand_can_exchange(house: House, new_kiosk: NewKiosk) -> None:
    device = new_kiosk()
    with house.database.writing() as writing:
        public = device.key.public_key().public_bytes_raw()
        row = Kiosk(id=device.id, venue_id=LIBRARY, entrance=1, name="x", public_key=public, state="active")
        row.enrolled_at = house.now()
        writing.add(row)
    device.walk(2)
    assert device.exchange().want == 3


def test_a_restored_server_says_how_far_it_is_and_gets_the_rest_again(house: House, kiosk: PaperKiosk) -> None:
    kiosk.walk(4)
    kiosk.exchange()
    with house.database.writing() as writing:  # yesterday's backup
        for row in writing.scalars(select(JournalRecord).where(JournalRecord.sequence > 2)):
            writing.delete(row)
        journal = writing.get_one(Journal, kiosk.id)
        journal.sequence, journal.head = 2, kiosk.hashes[2]
    answer = kiosk.exchange(after=4)
    assert (answer.result, answer.want) == ("gap", 3)
    assert kiosk.exchange(after=2).result == "ok"
    assert [r.hash for r in stored(house, kiosk)] == kiosk.hashes[1:]


def test_records_that_do_not_follow_each_other_are_refused(house: House, kiosk: PaperKiosk) -> None:
    kiosk.walk(3)
    body = kiosk.upload(records=(kiosk.records[0], kiosk.records[2]))
    response = kiosk.post(body)
    assert (response.status_code, refusal(response)) == (400, "chain_broken")
    assert stored(house, kiosk) == []


@pytest.mark.parametrize("state", ["suspended", "retired", "lost"])
def test_a_revoked_kiosk_is_refused_and_told_what_to_do(house: House, kiosk: PaperKiosk, state: str) -> None:
    kiosk.walk(1)
    with house.database.writing() as writing:
        writing.get_one(Kiosk, kiosk.id).state = state
    response = kiosk.post(kiosk.upload())
    assert (response.status_code, refusal(response)) == (403, state)
    assert kiosk.get("/bundle/v1/manifest").status_code == 403
    assert stored(house, kiosk) == []


def test_a_resumed_kiosk_sends_what_it_kept(house: House, kiosk: PaperKiosk) -> None:
    kiosk.walk(2)
    for state in ("suspended", "active"):
        with house.database.writing() as writing:
            writing.get_one(Kiosk, kiosk.id).state = state
        kiosk.post(kiosk.upload())
    assert len(stored(house, kiosk)) == 2


def test_an_unknown_kiosk_is_refused(new_kiosk: NewKiosk) -> None:
    stranger = new_kiosk()
    response = stranger.post(stranger.upload())
    assert (response.status_code, refusal(response)) == (401, "unknown_kiosk")


def test_nobody_can_sign_for_another_kiosk(house: House, kiosk: PaperKiosk, new_kiosk: NewKiosk) -> None:
    thief = new_kiosk()
    assert thief.enrol(make_code(house)).status_code == 200
    kiosk.walk(1)
    honest = kiosk.upload()
    kiosk.key = thief.key
    forged = kiosk.upload(kiosk=kiosk.id)
    response = kiosk.post(forged)
    assert (response.status_code, refusal(response)) == (401, "bad_signature")
    assert stored(house, kiosk) == []
    assert kiosk.post(honest[:-1] + bytes([honest[-1] ^ 1])).status_code in {400, 401}


def test_hostile_numbers_are_taken_as_nonsense_and_not_as_a_fault(house: House, kiosk: PaperKiosk) -> None:
    answer = kiosk.exchange(
        sent_at_ms=2**64 - 1, oldest_unsent_ms=-(2**63), head_sequence=2**63 - 1, bundle_version=2**63 - 1
    )
    assert answer.result == "ok"
    row = row_of(house, kiosk)
    assert row.oldest_unsent_at is None and row.unsent_count == 2**31 - 1
    assert kiosk.exchange(sent_at_ms=-(2**64)).result == "ok"


def test_texts_that_no_column_can_hold_stop_nothing(house: House, kiosk: PaperKiosk) -> None:
    kiosk.walk(event="star\x00ted")
    kiosk.walk(1)
    answer = kiosk.exchange(app_version="1\x00", health=(("cam\x00era", "l\x07ive"),), faults=("\x00",))
    assert (answer.result, answer.want, answer.quarantined) == ("ok", 3, ((1, "nul_in_text"),))
    row = row_of(house, kiosk)
    assert row.app_version == "1?" and row.health == {"parts": {"cam?era": "l?ive"}, "faults": ["?"]}


def test_the_wrong_content_type_is_named(kiosk: PaperKiosk) -> None:
    response = kiosk.post(kiosk.upload(), "application/json")
    assert (response.status_code, refusal(response)) == (415, "wrong_type")


@pytest.mark.parametrize("body", [b"", b"\0", bytes(4), b"\xff" * 100, b"\0\0\0\x05hello" + bytes(20)])
def test_nonsense_is_refused_by_name(kiosk: PaperKiosk, body: bytes) -> None:
    response = kiosk.post(body)
    assert response.status_code in {400, 401}
    assert refusal(response)


def test_too_large_is_refused_by_name(kiosk: PaperKiosk) -> None:
    response = kiosk.client.post(EXCHANGE_PATH, data=bytes(MAX_UPLOAD_BYTES + 1), content_type=CONTENT_TYPE)
    assert (response.status_code, refusal(response)) == (413, "too_large")


def test_whoever_fails_to_be_a_kiosk_is_slowed_down_and_that_kiosk_from_elsewhere_is_not(kiosk: PaperKiosk) -> None:
    bad = kiosk.upload()[:-1]
    statuses = {kiosk.client.post(EXCHANGE_PATH, data=bad, content_type=CONTENT_TYPE).status_code for _ in range(61)}
    assert 429 in statuses
    elsewhere = {"REMOTE_ADDR": "192.0.2.7"}
    response = kiosk.client.post(EXCHANGE_PATH, data=kiosk.upload(), content_type=CONTENT_TYPE, environ_base=elsewhere)
    assert response.status_code == 200


def test_a_kiosk_that_does_not_stop_is_told_when_to_come_back_and_no_other_waits(
    new_kiosk: NewKiosk, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(answering, "exchange_pace", Pace(3, steady_s=lambda: now[0]))
    busy, other = new_kiosk(), new_kiosk()
    for kiosk in (busy, other):
        assert kiosk.enrol().status_code == 200
    for _ in range(3):
        assert busy.post(busy.upload()).status_code == 200
    now[0] += 4
    busy.walk(1)
    response = busy.post(busy.upload())
    assert (response.status_code, refusal(response)) == (429, "too_many_exchanges")
    assert response.headers["Retry-After"] == "7"
    assert other.post(other.upload()).status_code == 200
    assert busy.client.post(EXCHANGE_PATH, data=busy.upload()[:-1], content_type=CONTENT_TYPE).status_code == 401
    now[0] += 6
    assert busy.exchange().want == 2  # nothing was taken meanwhile, and nothing is lost


def test_a_recorded_upload_changes_nothing_whenever_it_is_played_again(
    house: House, kiosk: PaperKiosk, clock: Clock
) -> None:
    kiosk.walk(3)
    first = kiosk.upload(count=2)
    assert kiosk.post(first).status_code == 200
    second = kiosk.upload(after=2)
    assert kiosk.post(second).status_code == 200
    before = every_row(house)
    clock.passes(hours=2)
    for body in (first, second, first):
        stranger = {"REMOTE_ADDR": "192.0.2.7"}
        response = kiosk.client.post(EXCHANGE_PATH, data=body, content_type=CONTENT_TYPE, environ_base=stranger)
        assert response.status_code == 200
        answer = Answer.from_signed(response.data, kiosk.server_key, body)
        receipt = Receipt.from_signed(answer.receipt, kiosk.server_key)
        assert (receipt.sequence, receipt.head) == (3, kiosk.hashes[3])  # what the kiosk itself was told
    assert every_row(house) == before
    with house.database.writing() as writing:
        writing.get_one(Kiosk, kiosk.id).state = "lost"
    assert kiosk.post(second).status_code == 403


def test_the_journal_holds_no_name(house: House, kiosk: PaperKiosk) -> None:
    kiosk.walk(3)
    kiosk.exchange()
    everything = everything_stored(house)
    assert kiosk.records[0].sealed in everything  # we looked in the right place
    assert b"person 1" not in everything


def test_a_stored_journal_can_be_checked_from_its_first_record(house: House, kiosk: PaperKiosk) -> None:
    kiosk.walk(event="started")
    kiosk.walk(2)
    kiosk.walk(1, header=b"\xa1\x01\x63abc")
    kiosk.new_epoch()
    kiosk.walk(2)
    kiosk.records[-1] = kiosk.records[-1]._replace(wrapped=kiosk.records[0].wrapped)  # a second key
    kiosk.hashes[-1] = kiosk.records[-1].hash_after(kiosk.hashes[-2])
    assert kiosk.exchange().quarantined == ((4, "bad_field"), (6, "epoch_twice"))
    with house.database.reading() as reading:
        assert first_break(reading, kiosk.id) is None
    for column, value in (("header", b"other"), ("sealed", b"other"), ("epoch", bytes(16)), ("hash", bytes(32))):
        with house.database.writing() as writing:
            row = writing.get_one(JournalRecord, (kiosk.id, 3))
            before = getattr(row, column)
            setattr(row, column, value)
        with house.database.reading() as reading:
            assert first_break(reading, kiosk.id) == 3, column
        with house.database.writing() as writing:
            setattr(writing.get_one(JournalRecord, (kiosk.id, 3)), column, before)
    with house.database.writing() as writing:  # a destroyed key leaves its digest
        epoch = writing.get_one(Epoch, (kiosk.id, kiosk.records[0].epoch))
        epoch.wrapped, epoch.destroyed_at = None, house.now()
    with house.database.reading() as reading:
        assert first_break(reading, kiosk.id) is None
    with house.database.writing() as writing:
        writing.delete(writing.get_one(JournalRecord, (kiosk.id, 6)))
    with house.database.reading() as reading:
        assert first_break(reading, kiosk.id) == 6  # the journal's row knows that there was one more


def test_a_passage_of_every_word_fits_its_columns(house: House, kiosk: PaperKiosk) -> None:
    """SQLite would not mind a word that is too long for its column; PostgreSQL does."""
    from protocol.words import CredentialKind, Direction, EntryMode, Measured, Outcome

    table = JournalRecord.__table__
    for column, words in (
        ("credential", CredentialKind),
        ("direction", Direction),
        ("mode", EntryMode),
        ("measured", Measured),
        ("outcome", Outcome),
    ):
        length = table.c[column].type.length
        assert length is not None and all(len(word.value) <= length for word in words), column
    assert PASSAGE.outcome is Outcome.ADMIT


def test_the_last_opening_test_is_known_by_our_clock(house: House, kiosk: PaperKiosk, clock: Clock) -> None:
    kiosk.exchange()
    assert row_of(house, kiosk).opening_test_at is None
    an_hour_ahead = to_ms(clock.at) + 3_600_000
    told = (("opening_test", "passed"), ("opening_test_at_ms", str(an_hour_ahead - 600_000)))
    kiosk.exchange(sent_at_ms=an_hour_ahead, health=told)
    tested = row_of(house, kiosk).opening_test_at
    assert tested == clock.at - timedelta(minutes=10)
    for nonsense in ("", "-5", "9" * 15, "9" * 64, "٣", "1e9", "0"):
        kiosk.exchange(health=(("opening_test_at_ms", nonsense),))
        assert row_of(house, kiosk).opening_test_at in (tested, clock.at), nonsense


def test_old_records_go_and_the_kiosk_goes_on_where_it_was(house: House, kiosk: PaperKiosk, clock: Clock) -> None:
    kiosk.walk(3)
    kiosk.exchange()
    received = day_of(clock.at)
    clock.passes(days=20)
    kiosk.walk(2)
    kiosk.exchange(after=3)
    assert drop_before(house.database, received) == 0
    assert drop_before(house.database, received + 1) > 0
    assert [row.sequence for row in stored(house, kiosk)] == [4, 5]
    with house.database.reading() as reading:
        assert first_break(reading, kiosk.id) is None
    kiosk.walk(1)
    assert kiosk.exchange(after=5).want == 7
    assert kiosk.exchange().want == 7  # the dropped ones once more: answered, not stored
    assert [row.sequence for row in stored(house, kiosk)] == [4, 5, 6]
