"""Whatever server and network do, each passage is kept until it is receipted, and is stored once."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import delete

from kiosk.link_problems import NEED_PEOPLE, PROBLEMS
from kiosk.link_state import LinkState
from kiosk.quarantine import quarantine_findings, quarantine_health
from kiosk.syncer import Health
from protocol.exchange import CONTENT_TYPE, EXCHANGE_PATH, Answer, Receipt, Upload
from server.context import utc_now
from server.ingest.devices import to_ms
from server.ingest.models import Fork, Journal, JournalRecord, Quarantined
from server.kiosks.models import Kiosk
from tests.kiosk.sync.house import Door, LiveServer, RawServer, answers

NewDoor = Callable[..., Door]


def in_step(door: Door, server: LiveServer) -> None:
    """The server holds exactly what the kiosk wrote, and the kiosk knows it."""
    held = server.held(door.id)
    sequence, head = door.journal.head()
    assert [s for s, _ in held] == list(range(1, sequence + 1))
    assert held[-1] == (sequence, head)
    assert door.journal.unsent_count() == 0


def test_passages_reach_the_server_once_and_are_receipted(door: Door, server: LiveServer) -> None:
    door.walk(5)
    assert door.problem() is None
    in_step(door, server)
    receipt = door.journal.receipt()
    assert receipt is not None and receipt.sequence == 5
    status = door.syncer.status()
    assert (status.sent, status.unsent, status.oldest_unsent_ms, status.problem) == (5, 0, None, None)


def test_the_bundle_comes_with_the_first_exchange_and_survives_a_restart(door: Door, server: LiveServer) -> None:
    assert door.bundles.version == 0
    assert door.problem() is None
    bundle = door.bundles.held
    assert bundle is not None and bundle.place.venue_zh == "锦江图书馆"
    asked = len(server.requests)
    door.problem()
    assert server.requests[asked:] == [EXCHANGE_PATH]  # nothing is fetched twice
    door.close()
    again = Door.opened(door.folder)
    assert again.bundles.version == bundle.version and again.bundles.age_s() < 60
    assert again.bundles.trouble is None
    again.close()


def test_a_changed_bundle_is_fetched_and_only_its_new_parts(door: Door, server: LiveServer) -> None:
    from server.bundles.publishing import publish_all
    from server.bundles.staff import set_staff
    from tests.server.people import LIBRARY

    door.problem()
    with server.house.database.writing() as writing:
        from protocol.staff import StaffRole

        set_staff(writing, LIBRARY, "li", "小李", StaffRole.HELPER, "204815", utc_now())
    assert publish_all(server.house, utc_now()) == 1
    asked = len(server.requests)
    door.problem()
    assert sum("/bundle/v1/parts/" in path for path in server.requests[asked:]) == 1
    assert door.bundles.held is not None and door.bundles.held.staff.find("li") is not None


def test_a_backlog_is_sent_in_batches_without_waiting(door: Door, server: LiveServer) -> None:
    door.walk(45)
    door.syncer._most_records = 20
    steps = [door.syncer.step() for _ in range(3)]
    assert [step.more for step in steps] == [True, True, False]
    in_step(door, server)


def test_a_new_passage_is_sent_at_once(new_door: NewDoor, server: LiveServer) -> None:
    door = new_door(interval_s=3600)
    door.journal.on_append = lambda stored: door.syncer.wake()
    door.problem(), door.problem()  # online, so that only the interval is waited for
    door.syncer.start()
    arrived = wait_for(lambda: door.syncer.status().exchanges >= 3)
    assert arrived
    door.walk(1)
    assert wait_for(lambda: len(server.held(door.id)) == 1)


def wait_for(condition: Callable[[], bool], most_s: float = 20.0) -> bool:
    """Ask again and again until *condition* holds."""
    ticker = threading.Event()
    for _ in range(int(most_s / 0.02)):
        if condition():
            return True
        ticker.wait(0.02)
    return condition()


def fixed(body: bytes, status: str = "200 OK", content_type: str = CONTENT_TYPE) -> Any:
    return answers(status, body, content_type)


BAD_ANSWERS = {
    "a fault": (fixed(b"oops", "500 Internal Server Error", "text/plain"), "server_error"),
    "a gateway without server": (fixed(b"<html>", "502 Bad Gateway", "text/html"), "server_error"),
    "a web page": (fixed(b"<!doctype html><p>Welcome to our Wi-Fi", content_type="text/html"), "captive_portal"),
    "a web page in disguise": (fixed(b"\n <html>hello"), "captive_portal"),
    "a redirect": (answers("302 Found", b"", "text/html", Location="http://127.0.0.1:9/login"), "captive_portal"),
    "a sign-in request": (fixed(b"", "511 Network Authentication Required", "text/html"), "captive_portal"),
    "nothing": (fixed(b""), "not_our_protocol"),
    "garbage": (fixed(b"\xd2\x84" + bytes(40)), "not_our_protocol"),
    "another service": (fixed(b'{"error": "no such route"}', "404 Not Found", "application/json"), "not_our_protocol"),
    "far too much": (fixed(bytes(1_000_000)), "too_large_answer"),
    "wait": (answers("503 Service Unavailable", b"", "text/plain", Retry_After="7"), "busy"),
    "slow down": (answers("429 Too Many Requests", b"", "application/cbor", Retry_After="9"), "busy"),
    "a proxy's limit": (fixed(b"<html>", "413 Request Entity Too Large", "text/html"), "too_large"),
}


@pytest.mark.parametrize("what", BAD_ANSWERS)
def test_a_bad_answer_has_a_name_and_loses_nothing(door: Door, server: LiveServer, what: str) -> None:
    fault, code = BAD_ANSWERS[what]
    door.walk(3)
    server.fault = fault
    assert door.problem() == code
    status = door.syncer.status()
    assert (status.problem, status.unsent) == (code, 3)
    assert status.text is not None and status.text.zh and status.text.en
    server.fault = None
    assert door.problem() is None
    in_step(door, server)


@pytest.mark.parametrize(
    ("says", "code"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/cbor\r\nContent-Length: 500\r\n\r\nhalf of it", "half_body"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\nshort", "half_body"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "not_our_protocol"),
        (b"", "half_body"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "half_body"),
    ],
)
def test_half_an_answer_has_a_name_and_loses_nothing(
    new_door: NewDoor, server: LiveServer, says: bytes, code: str
) -> None:
    door = new_door()
    raw = RawServer(says)
    other = Door(door.folder / "x", door.identity, url=raw.url)
    other.walk(2)
    try:
        assert other.problem() == code
    finally:
        raw.stop()
    assert other.journal.unsent_count() == 2
    other.close()


def test_a_server_that_says_nothing_is_given_up_on(new_door: NewDoor) -> None:
    door = new_door()
    raw = RawServer(None)
    other = Door(door.folder / "x", door.identity, url=raw.url, timeout_s=1.0)
    other.walk(1)
    try:
        assert other.problem() == "timeout"
    finally:
        raw.stop()
    assert other.journal.unsent_count() == 1
    other.close()


def test_no_server_at_all_is_named(door: Door) -> None:
    gone = RawServer(b"")
    gone.stop()
    other = Door(door.folder / "x", door.identity, url=gone.url)
    other.walk(1)
    assert other.problem() == "unreachable"
    assert other.journal.unsent_count() == 1
    other.close()


def test_an_upload_whose_answer_is_lost_is_stored_once(door: Door, server: LiveServer) -> None:
    door.walk(4)

    def loses_the_answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        list(server.app.wsgi_app(environ, lambda status, headers, exc=None: lambda data: None))
        start_response("502 Bad Gateway", [("Content-Type", "text/plain")])
        return [b"the upstream hung up"]

    server.fault = loses_the_answer
    assert door.problem() == "server_error"
    assert len(server.held(door.id)) == 4 and door.journal.unsent_count() == 4
    server.fault = None
    assert door.problem() is None
    in_step(door, server)


class Impostor:
    """Stands where the server stands and answers uploads with whatever *make* signs."""

    def __init__(self, door: Door, make: Callable[[Upload, bytes], bytes]) -> None:
        self._door, self._make = door, make

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        upload = Upload.from_bytes(body, self._door.identity.key.public_key())
        start_response("200 OK", [("Content-Type", CONTENT_TYPE)])
        return [self._make(upload, body)]


def an_answer(upload: Upload, body: bytes, key: Ed25519PrivateKey, **changes: Any) -> bytes:
    """A correct answer, but for *changes* (`sequence`, `head`, `kiosk` and `receipt_key` change the receipt)."""
    import hashlib

    last = upload.after_sequence + len(upload.records)
    head = upload.after_hash
    for record in upload.records:
        head = record.hash_after(head)
    last = changes.pop("sequence", last)
    if last == upload.after_sequence:
        head = upload.after_hash
    receipt = Receipt(
        changes.pop("kiosk", upload.kiosk),
        last,
        changes.pop("head", head),
        to_ms(utc_now()),
    )
    values: dict[str, Any] = {
        "exchange": upload.exchange,
        "upload_digest": hashlib.sha256(body).digest(),
        "at_ms": to_ms(utc_now()),
        "result": "ok",
        "receipt": receipt.to_signed(changes.pop("receipt_key", key)),
        "want": receipt.sequence + 1,
        "bundle_version": 0,
    }
    return Answer(**(values | changes)).to_signed(key)


OTHER_KEY = Ed25519PrivateKey.generate()
IMPOSTORS: dict[str, tuple[dict[str, Any], str]] = {
    "a receipt by another key": ({"receipt_key": OTHER_KEY}, "wrong_server"),
    "a receipt for another head": ({"head": bytes(32)}, "fork"),
    "a receipt beyond our journal": ({"sequence": 1000}, "fork"),
    "a receipt for less than was sent": ({"sequence": 1}, "bad_answer"),
    "a receipt for another kiosk": ({"kiosk": bytes(8)}, "bad_answer"),
    "an answer to another exchange": ({"exchange": bytes(16)}, "bad_answer"),
    "an answer to another upload": ({"upload_digest": bytes(32)}, "wrong_answer"),
    "a wish that does not fit its receipt": ({"want": 77}, "bad_answer"),
    "a result nobody knows": ({"result": "great"}, "bad_answer"),
    "a gap where there is none": ({"result": "gap", "sequence": 0}, "bad_answer"),
}


@pytest.mark.parametrize("what", IMPOSTORS)
def test_an_answer_that_is_not_right_in_every_part_is_not_believed(door: Door, server: LiveServer, what: str) -> None:
    changes, code = IMPOSTORS[what]
    door.walk(3)
    server.fault = Impostor(door, lambda upload, body: an_answer(upload, body, server.key, **dict(changes)))
    assert door.problem() == code
    assert door.journal.unsent_count() == 3
    server.fault = None
    assert door.problem() is None
    in_step(door, server)


def test_a_server_with_another_key_is_not_believed(door: Door, server: LiveServer) -> None:
    door.walk(2)
    server.fault = Impostor(door, lambda upload, body: an_answer(upload, body, OTHER_KEY))
    assert door.problem() == "wrong_server"
    assert door.journal.unsent_count() == 2


def test_a_replayed_answer_is_not_believed(door: Door, server: LiveServer) -> None:
    kept: list[bytes] = []

    def listens(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = b"".join(server.app.wsgi_app(environ, start_response))
        kept.append(body)
        return [body]

    server.fault = listens
    door.walk(1)
    assert door.problem() is None
    door.walk(1)
    server.fault = fixed(kept[0])
    assert door.problem() == "wrong_answer"
    assert door.journal.unsent_count() == 1


@pytest.mark.parametrize("state", ["suspended", "retired", "lost"])
def test_a_revoked_kiosk_knows_it_and_keeps_its_records(door: Door, server: LiveServer, state: str) -> None:
    door.walk(2)
    with server.house.database.writing() as writing:
        writing.get_one(Kiosk, door.id).state = state
    assert door.problem() == state and state in NEED_PEOPLE
    assert door.journal.unsent_count() == 2


def test_a_server_restored_from_a_backup_gets_the_rest_again(door: Door, server: LiveServer) -> None:
    door.walk(3)
    door.problem()
    hashes = dict(server.held(door.id))
    door.walk(3)
    door.problem()
    with server.house.database.writing() as writing:
        for sequence in (4, 5, 6):
            writing.delete(writing.get_one(JournalRecord, (door.id, sequence)))
        journal = writing.get_one(Journal, door.id)
        journal.sequence, journal.head = 3, hashes[3]
    door.walk(1)
    while door.syncer.step().more:
        pass
    assert door.syncer.status().problem is None
    in_step(door, server)


def test_a_server_that_lost_what_we_deleted_is_told_apart(door: Door, server: LiveServer) -> None:
    door.walk(3)
    door.problem()
    assert door.journal.purge(0, to_ms(utc_now()) + 1000) == 3
    with server.house.database.writing() as writing:
        for sequence in (2, 3):
            writing.delete(writing.get_one(JournalRecord, (door.id, sequence)))
        journal = writing.get_one(Journal, door.id)
        journal.sequence, journal.head = 1, server.held(door.id)[0][1]
    assert door.problem() == "server_lost_records"


def test_two_clones_of_one_kiosk_are_both_told_and_leave_evidence(
    door: Door, server: LiveServer, tmp_path: Path
) -> None:
    door.walk(2)
    door.problem()
    door.close()
    shutil.copytree(door.folder, tmp_path / "clone")
    first, clone = Door.opened(door.folder), Door.opened(tmp_path / "clone")
    first.walk(1)
    assert first.problem() is None
    clone.walk(1)
    assert clone.problem() == "fork"
    assert clone.journal.unsent_count() == 1
    assert len(server.held(door.id)) == 3
    with server.house.database.reading() as reading:
        assert len(reading.query(Fork).where(Fork.kiosk_id == door.id).all()) == 1
    first.walk(1)
    assert first.problem() is None  # the one that came first goes on, and its staff are told as well
    told = first.syncer.status()
    assert (told.problem, told.unsent) == ("copied", 0) and told.text is not None and "存储卡" in told.text.zh
    assert clone.syncer.status().problem == "fork"
    for opened in (first, clone):
        opened.close()


def test_receipted_records_are_deleted_after_their_time(new_door: NewDoor, server: LiveServer) -> None:
    door = new_door(keep_after_receipt_h=0.0)
    door.walk(2)
    door.problem()
    door.syncer._purged_s = None
    door.problem()
    assert door.journal.unsent(10)[2] == ()
    assert door.journal.last_stamp_ms() is None
    door.walk(1)
    assert door.problem() is None  # the chain goes on over deleted records
    assert len(server.held(door.id)) == 3


def test_a_quarantined_record_is_remembered_and_the_queue_moves_on(door: Door, server: LiveServer) -> None:
    door.walk(1)
    from dataclasses import replace

    place = replace(door.identity.enrolment.place, venue=b"\x01" * 6)
    door.journal.append(place, door.clock.stamp(), "started")
    door.walk(1)
    assert door.problem() is None
    assert door.journal.quarantined() == [(2, "other_venue")]
    in_step(door, server)
    # its health says so from now on, and the finding stays for as long as the server says that the record waits
    apart = door.journal.quarantine()
    assert (apart.count, apart.first) == (1, 2) and apart.since_ms is not None
    door.syncer._health = lambda: Health(quarantine_health(door.journal.quarantine()))
    assert door.problem() is None
    assert door.journal.quarantine() == apart
    with server.house.database.writing() as writing:
        told = writing.get_one(Kiosk, door.id).health
        assert told is not None and told["parts"]["quarantine"] == "1"
        writing.execute(delete(Quarantined).where(Quarantined.kiosk_id == door.id))  # somebody tried it again
    assert door.problem() is None
    assert door.journal.quarantine().count == 0 and quarantine_findings(door.journal.quarantine()) == ()


def test_too_much_at_once_is_halved_until_it_goes_through(door: Door, server: LiveServer) -> None:
    door.walk(30)

    def small_proxy(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if int(environ.get("CONTENT_LENGTH") or 0) > 6000:
            return fixed(b"", "413 Content Too Large", "text/html")(environ, start_response)  # type: ignore[no-any-return]
        return server.app.wsgi_app(environ, start_response)

    server.fault = small_proxy
    for _ in range(200):
        step = door.syncer.step()
        if not step.problem and not step.more:
            break
    in_step(door, server)


def test_the_state_follows_success_and_failure_with_patience(door: Door, server: LiveServer) -> None:
    seen = []
    for works in (True, True, False, True, True, False, False, False, True, True):
        server.fault = None if works else fixed(b"", "500 Oops", "text/plain")
        door.problem()
        seen.append(door.syncer.status().state)
    on, mid, off = LinkState.ONLINE, LinkState.DEGRADED, LinkState.OFFLINE
    assert seen == [mid, on, mid, mid, on, mid, mid, off, mid, on]


def test_a_loop_that_meets_a_fault_of_its_own_lives_on(door: Door, server: LiveServer) -> None:
    def broken() -> Any:
        raise RuntimeError("a bug in somebody's health report")

    door.syncer._health = broken
    door.chance = -1.0  # no waiting between tries
    door.syncer.start()
    assert wait_for(lambda: door.syncer.status().problem == "fault")
    from kiosk.syncer import Health

    door.syncer._health = Health
    assert wait_for(lambda: door.syncer.status().exchanges > 0)


def test_every_problem_has_words_in_both_languages() -> None:
    assert all(text.zh and text.en and text.zh != text.en for text in PROBLEMS.values())
    assert NEED_PEOPLE < PROBLEMS.keys()
