"""A real proxy between the real syncer and the real server: whatever it does, nothing is lost, doubled or untold."""

from __future__ import annotations

import datetime as dt
import ipaddress
import random
import shutil
import sqlite3
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kiosk.link_problems import PROBLEMS
from kiosk.link_state import LinkState
from kiosk.server_client import ServerClient
from server.audit import AuditEvent
from server.context import utc_now
from server.ingest.devices import to_ms
from server.ingest.models import Fork, ForkedRecord, Journal, JournalRecord
from server.ingest.verifying import first_break
from tests.faults import proxy as net
from tests.faults.proxy import Fault, Proxy
from tests.kiosk.sync.house import Door, LiveServer

SLOW = ("half open", "half open once it arrived", "drips")  # the kiosk gives up: after half a second here
PAGE = b"<!doctype html><title>Wi-Fi</title><form action=/login>"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    made = LiveServer(tmp_path_factory.mktemp("server"))
    yield made
    made.stop()


@pytest.fixture
def line(server: LiveServer) -> Iterator[Proxy]:
    made = Proxy(int(server.url.rsplit(":", 1)[1]))
    yield made
    made.stop()


@pytest.fixture
def door(tmp_path: Path, server: LiveServer, line: Proxy) -> Iterator[Door]:
    """A kiosk that has exchanged twice over the line: online, with a bundle."""
    made = Door.enrolled(tmp_path / "kiosk", server)
    made.close()
    made = Door.opened(tmp_path / "kiosk", url=line.url, timeout_s=5.0)
    made.walk(1)
    assert made.problem() is None and made.problem() is None
    assert made.syncer.status().state is LinkState.ONLINE
    yield made
    made.close()


def in_step(door: Door, server: LiveServer) -> None:
    """The server holds exactly what the kiosk wrote, once, chained; the kiosk knows it and says so."""
    held = server.held(door.id)
    sequence, head = door.journal.head()
    assert [s for s, _ in held] == list(range(1, sequence + 1))
    assert held[-1] == (sequence, head)
    with server.house.database.reading() as reading:
        assert first_break(reading, door.id) is None
    status = door.syncer.status()
    assert (status.unsent, status.oldest_unsent_ms, status.problem) == (0, None, None)


FAULTS: dict[str, tuple[Fault, str | None]] = {
    "drops the request": (net.drops_the_request, "half_body unreachable"),
    "drops the answer": (net.drops_the_answer, "half_body unreachable"),
    "delays": (net.delays, None),
    "duplicates": (net.duplicates, None),
    "reorders": (net.reorders, None),
    "replays an answer": (net.replays_an_answer, "wrong_answer"),
    "truncates the answer": (net.truncates_the_answer, "half_body"),
    "truncates the request": (net.truncates_the_request, "half_body unreachable"),
    "corrupts the answer": (net.corrupts_the_answer, "wrong_server not_our_protocol"),
    "corrupts the request": (net.corrupts_the_request, "bad_signature refused"),
    "half open": (net.is_half_open, "timeout"),
    "half open once it arrived": (net.is_half_open_after_it_arrived, "timeout"),
    "drips": (net.drips, "timeout"),
    "portal, redirect": (net.says("302 Found", Location="http://portal.invalid/"), "captive_portal"),
    "portal, page": (net.says("200 OK", PAGE), "captive_portal"),
    "portal, page called an exchange": (
        net.says("200 OK", PAGE, "application/vnd.gatehouse.exchange"),
        "captive_portal",
    ),
    "429": (net.says("429 Too Many Requests", b"", "text/plain"), "busy"),
    "429 with a time": (net.says("429 Too Many Requests", b"", "text/plain", Retry_After="9"), "busy"),
    "429 with a date": (
        net.says("429 Too Many Requests", b"", "text/plain", Retry_After="Wed, 21 Oct 2026 07:28:00 GMT"),
        "busy",
    ),
    "500": (net.says("500 Internal Server Error", b"oops", "text/plain"), "server_error"),
    "502": (net.says("502 Bad Gateway", b"<h1>nginx"), "server_error"),
    "503": (net.says("503 Service Unavailable", b"", "text/plain"), "busy"),
    "503 with a time": (net.says("503 Service Unavailable", b"", "text/plain", Retry_After="30"), "busy"),
    "not HTTP": (lambda call: call.kiosk.sendall(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "half_body unreachable"),
}
WAITS_S = {"429 with a time": 9.0, "503 with a time": 30.0}


@pytest.mark.parametrize("what", FAULTS)
def test_the_queue_survives_a_bad_network_and_the_screen_says_how_it_is(
    door: Door, server: LiveServer, line: Proxy, what: str
) -> None:
    line.fault, codes = FAULTS[what]
    door.walk(3)
    if codes is None:
        assert door.problem() is None
        assert door.syncer.status().state is LinkState.ONLINE
        in_step(door, server)
        return
    door.syncer._client._timeout_s = 0.5 if what in SLOW else 5.0
    step = door.syncer.step()
    door.syncer._client._timeout_s = 5.0
    assert step.problem is not None and step.problem.code in codes.split(), step.problem
    assert step.problem.retry_after_s == WAITS_S.get(what)
    status = door.syncer.status()
    assert (status.state, status.problem, status.unsent) == (LinkState.DEGRADED, step.problem.code, 3)
    assert status.text == PROBLEMS[step.problem.code] and status.oldest_unsent_ms is not None
    line.fault = net.says("503 Service Unavailable", b"", "text/plain")
    door.problem(), door.problem()
    assert door.syncer.status().state is LinkState.OFFLINE
    line.fault = net.passes
    door.walk(1)  # people went on passing
    assert door.problem() is None
    assert door.syncer.status().state is LinkState.DEGRADED  # once is not yet back
    assert door.problem() is None
    assert door.syncer.status().state is LinkState.ONLINE
    in_step(door, server)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_network_that_does_everything_at_random_loses_and_doubles_nothing(
    door: Door, server: LiveServer, line: Proxy, seed: int
) -> None:
    chance = random.Random(seed)
    quick = [fault for name, (fault, _) in FAULTS.items() if name not in SLOW]
    for _ in range(40):
        line.fault = chance.choice([net.passes, net.passes, *quick])
        door.walk(chance.randint(0, 3))
        door.syncer._most_records = chance.choice((1, 2, 1000))
        door.syncer.step()
        if chance.random() < 0.1:  # the kiosk is switched off and on
            door.close()
            reopened = Door.opened(door.folder, url=line.url, timeout_s=5.0)
            door.__dict__.update(reopened.__dict__)
    line.fault = net.passes
    while door.syncer.step().more:
        pass
    in_step(door, server)


def test_the_loop_waits_as_long_as_it_was_asked_to(door: Door) -> None:
    link = door.syncer._link.failed()
    assert link.next_try_s(5.0, 0.0, 30.0) == 30.0
    assert link.next_try_s(5.0, 0.99, None) <= 60.0


# -- certificates ------------------------------------------------------------------------------------------------------


class Authority:
    """A small CA of our own."""

    def __init__(self, folder: Path) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
        self.folder = folder
        self.certificate = self._signed(self.key, self.name, None, is_ca=True)
        self.file = folder / "ca.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _signed(
        self, key: ec.EllipticCurvePrivateKey, name: x509.Name, address: str | None, *, is_ca: bool, ends_in_d: int = 30
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=60))
            .not_valid_after(now + dt.timedelta(days=ends_in_d))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if is_ca:
            usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
            builder = builder.add_extension(usage, critical=True)
        if address is not None:
            there = x509.IPAddress(ipaddress.ip_address(address))
            builder = builder.add_extension(x509.SubjectAlternativeName([there]), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def context(self, address: str, *, ends_in_d: int = 30) -> ssl.SSLContext:
        """What a server at *address* shows."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        certificate = self._signed(key, name, address, is_ca=False, ends_in_d=ends_in_d)
        path = self.folder / f"{certificate.serial_number}.pem"
        path.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


CERTIFICATES: dict[str, tuple[Callable[[Authority, Authority], ssl.SSLContext], str | None]] = {
    "the right one": (lambda ours, other: ours.context("127.0.0.1"), None),
    "of another authority": (lambda ours, other: other.context("127.0.0.1"), "tls"),
    "of another host": (lambda ours, other: ours.context("127.0.0.2"), "tls"),
    "expired": (lambda ours, other: ours.context("127.0.0.1", ends_in_d=-1), "tls"),
}


@pytest.mark.parametrize("which", CERTIFICATES)
def test_a_wrong_certificate_is_named_and_sees_no_record(
    door: Door, server: LiveServer, line: Proxy, tmp_path: Path, which: str
) -> None:
    make, code = CERTIFICATES[which]
    folders = [tmp_path / "ours", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    ours, other = (Authority(folder) for folder in folders)
    secure = Proxy(line.upstream, tls=make(ours, other))
    try:
        plain = door.syncer._client
        door.syncer._client = ServerClient(secure.url, timeout_s=5.0, ca_file=ours.file)
        door.walk(2)
        assert door.problem() == code
        assert (secure.calls > 0) is (code is None)  # nothing was sent to a stranger
        door.syncer._client.close()
        door.syncer._client = plain
        assert door.problem() is None
        in_step(door, server)
    finally:
        secure.stop()


# -- backups and clones ------------------------------------------------------------------------------------------------


class Backup:
    """Yesterday's copy of the server's database, made while it ran."""

    def __init__(self, server: LiveServer, folder: Path) -> None:
        self.path = folder / "yesterday.db"
        self._server = server
        with closing(sqlite3.connect(server.house.settings.data_dir / "server.db")) as source:
            with closing(sqlite3.connect(self.path)) as target:
                source.backup(target)

    def restore(self) -> None:
        """Put it in the place of today's."""
        self._server.house.database.engine.dispose()
        current = self._server.house.settings.data_dir / "server.db"
        for name in ("server.db", "server.db-wal", "server.db-shm"):
            (current.parent / name).unlink(missing_ok=True)
        shutil.copy(self.path, current)


def test_a_server_restored_from_yesterday_gets_everything_again_without_being_asked(
    door: Door, server: LiveServer, line: Proxy, tmp_path: Path
) -> None:
    door.walk(3)
    door.problem()
    backup = Backup(server, tmp_path)
    door.walk(5)
    assert door.problem() is None
    door.close()  # the kiosk is switched off meanwhile: it remembers by its files alone
    backup.restore()
    assert len(server.held(door.id)) == 4
    with_nothing_new = Door.opened(door.folder, url=line.url, timeout_s=5.0)
    step = with_nothing_new.syncer.step()
    assert step.problem is None and step.more  # noticed, although nobody passed and nothing was unsent
    line.fault = net.drops_the_answer
    with_nothing_new.syncer.step()
    line.fault = net.passes
    while with_nothing_new.syncer.step().more:
        pass
    in_step(with_nothing_new, server)
    with_nothing_new.close()


def test_a_server_restored_to_before_what_was_purged_is_named_and_keeps_what_is_left(
    door: Door, server: LiveServer, line: Proxy, tmp_path: Path
) -> None:
    backup = Backup(server, tmp_path)
    door.walk(4)
    assert door.problem() is None
    assert door.journal.purge(0, to_ms(utc_now()) + 60_000)
    backup.restore()
    door.walk(2)
    assert door.problem() == "server_lost_records"
    status = door.syncer.status()
    assert status.text == PROBLEMS["server_lost_records"] and status.unsent == 2
    with server.house.database.writing() as writing:  # the audit trail is whole; the journal was not touched
        assert writing.get_one(Journal, door.id).sequence == 1


def test_a_server_restored_to_before_the_enrolment_is_named_and_nothing_is_lost(
    tmp_path: Path, server: LiveServer, line: Proxy
) -> None:
    backup = Backup(server, tmp_path)
    made = Door.enrolled(tmp_path / "late", server)
    made.walk(2)
    assert made.problem() is None
    backup.restore()
    made.walk(1)
    assert made.problem() == "unknown_kiosk"
    assert made.journal.unsent_count() == 1 and len(made.journal.records_after(0, 10)) == 3
    made.close()


def test_a_restored_servers_older_bundle_does_not_count_as_confirmed(
    door: Door, server: LiveServer, line: Proxy, tmp_path: Path
) -> None:
    from protocol.staff import StaffRole
    from server.bundles.publishing import publish_all
    from server.bundles.staff import set_staff
    from tests.server.people import LIBRARY

    backup = Backup(server, tmp_path)
    with server.house.database.writing() as writing:
        set_staff(writing, LIBRARY, "zhou", "小周", StaffRole.HELPER, "730915", utc_now())
    publish_all(server.house, utc_now())
    assert door.problem() is None
    newer = door.bundles.version
    backup.restore()
    before = door.bundles._confirmed_s
    assert door.problem() is None
    assert door.bundles.version == newer  # never back to an older one
    assert door.bundles._confirmed_s == before  # and its age goes on growing


def test_two_kiosks_from_one_card_are_both_told_and_the_evidence_is_kept(
    door: Door, server: LiveServer, line: Proxy, tmp_path: Path
) -> None:
    door.walk(2)
    assert door.problem() is None
    door.close()
    shutil.copytree(door.folder, tmp_path / "clone")
    first = Door.opened(door.folder, url=line.url, timeout_s=5.0)
    clone = Door.opened(tmp_path / "clone", url=line.url, timeout_s=5.0)
    first.walk(1)
    assert first.problem() is None and first.syncer.status().problem is None
    clone.walk(2)
    line.fault = net.duplicates
    assert clone.problem() == "fork" and clone.problem() == "fork"
    line.fault = net.passes
    first.walk(1)
    assert first.problem() is None  # the one whose history is held goes on ...
    assert first.syncer.status().problem == "copied"  # ... and is told, too
    assert clone.syncer.status().problem == "fork" and clone.journal.unsent_count() == 2
    assert first.syncer.status().text == PROBLEMS["copied"] and clone.syncer.status().text == PROBLEMS["fork"]
    with server.house.database.reading() as reading:
        forks = reading.query(Fork).where(Fork.kiosk_id == door.id).all()
        kept = reading.query(ForkedRecord).where(ForkedRecord.kiosk_id == door.id).all()
        held = reading.query(JournalRecord).where(JournalRecord.kiosk_id == door.id).count()
        told = reading.query(AuditEvent).where(AuditEvent.action == "kiosk.forked").all()
    assert len(forks) == 1 and forks[0].upload and {row.sequence for row in kept} == {4, 5}
    assert held == 5 and [event.actor for event in told] == [f"kiosk:{door.id.hex()}"]  # once, whatever came twice
    for opened in (first, clone):
        opened.close()
