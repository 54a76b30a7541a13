"""The exchange against a model of a few lines: whatever order of losses, replays, restarts and restores comes.

Real journal, real syncer, real server, without sockets: the network is a table of what was sent and answered, from
which any upload may arrive again, late, or twice, and any answer may be lost or come to the wrong request.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from config.kiosk import SyncSettings
from config.server import ServerSettings
from kiosk.bundle_store import BundleStore
from kiosk.clock import KioskClock
from kiosk.enrol import Identity, load_identity
from kiosk.link_problems import LinkProblem
from kiosk.server_client import Reply
from kiosk.store import Journal
from kiosk.syncer import Syncer
from kiosk.verifying import verify_journal
from protocol.exchange import CONTENT_TYPE, EXCHANGE_PATH
from protocol.passage import Personal
from server import create_app
from server.context import House, utc_now
from server.ingest.devices import to_ms
from server.ingest.models import Fork, JournalRecord
from server.ingest.verifying import first_break
from tests.kiosk.sync.house import Door, LiveServer
from tests.server.ingest.fleet import PASSAGE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Template:
    """A server and a kiosk that is enrolled with it; every example works on a copy."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        server = LiveServer(folder / "server")
        door = Door.enrolled(folder / "kiosk", server)
        assert door.problem() is None
        door.close()
        server.stop()


@pytest.fixture(scope="module", autouse=True)
def template(tmp_path_factory: pytest.TempPathFactory) -> None:
    Exchange.template = Template(tmp_path_factory.mktemp("model") / "template")


class Net:
    """Stands in for the kiosk's HTTP client: what is done to the next exchange is told beforehand."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.fate = "passes"
        self.sent: list[bytes] = []
        self.answered: list[bytes] = []

    def deliver(self, body: bytes) -> bytes:
        response = self._exchange.client.post(
            EXCHANGE_PATH, base_url="http://127.0.0.1", data=body, content_type=CONTENT_TYPE
        )
        assert response.status_code == 200, response.data
        self.answered.append(response.data)
        return bytes(response.data)

    def post(self, path: str, body: bytes, content_type: str) -> bytes:
        fate, self.fate = self.fate, "passes"
        self.sent.append(body)
        if fate == "request lost":
            raise LinkProblem("unreachable")
        answer = self.deliver(body)
        if fate == "answer lost":
            raise LinkProblem("half_body")
        if fate == "twice":
            answer = self.deliver(body)
        if fate == "wrong answer" and len(self.answered) > 1:
            return self.answered[0]
        return answer

    def get(self, path: str, headers: dict[str, str], *, most_bytes: int = 0) -> Reply:
        raise LinkProblem("unreachable")

    def close(self) -> None:
        """Nothing is open."""


class Exchange(RuleBasedStateMachine):
    """The model: how many passages there are, and up to where each side may say it is."""

    template: Template

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gatehouse-model-"))
        shutil.copytree(self.template.folder, self.folder, dirs_exist_ok=True)
        self._serve()
        self.net = Net(self)
        identity = load_identity(self.folder / "kiosk")
        assert identity is not None
        self.identity: Identity = identity
        self._open()
        # the reference model
        self.written = self.journal.head()[0]  # passages the kiosk has told people of
        self.most_held = 0  # the most that the server may hold: what was ever sent
        self.receipted = 0  # the newest receipt the kiosk believed
        self.purged = 0
        self.hashes = {self.written: self.journal.head()[1]}
        self.backup: tuple[Path, int] | None = None

    def _serve(self) -> None:
        app = create_app(ServerSettings(public_url="http://127.0.0.1", data_dir=self.folder / "server"))
        self.house: House = app.extensions["gatehouse"]
        self.client = app.test_client()

    def _open(self) -> None:
        kiosk = self.folder / "kiosk"
        self.journal = Journal(kiosk / "journal.db", self.identity.enrolment.kiosk, self.identity.vault.seal[0].load())
        self.clock = KioskClock(self.journal.last_stamp_ms())
        bundles = BundleStore(kiosk / "bundle", self.identity.enrolment)
        settings = SyncSettings(keep_after_receipt_h=100.0)
        client: object = self.net
        self.syncer = Syncer(self.identity, self.journal, bundles, self.clock, settings, client=client)  # type: ignore[arg-type]

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.journal.close()
            self.house.database.engine.dispose()
            shutil.rmtree(self.folder)

    def _held(self) -> dict[int, bytes]:
        with self.house.database.reading() as reading:
            rows = reading.query(JournalRecord.sequence, JournalRecord.hash).all()
        found = {row.sequence: row.hash for row in rows}
        assert len(found) == len(rows), "a record is held twice"
        return found

    # -- what may happen -----------------------------------------------------------------------------------------------

    @rule(count=st.integers(1, 4))
    def people_pass(self, count: int) -> None:
        for _ in range(count):
            stored = self.journal.append(
                self.identity.enrolment.place, self.clock.stamp(), PASSAGE, Personal(name="x"), day="today"
            )
            self.written += 1
            assert stored.sequence == self.written
            self.hashes[stored.sequence] = stored.hash

    @rule(
        fate=st.sampled_from(["passes", "request lost", "answer lost", "twice", "wrong answer"]),
        most=st.sampled_from([1, 2, 1000]),
    )
    def exchange(self, fate: str, most: int) -> None:
        self.net.fate = fate
        self.syncer._most_records = most
        self.syncer._settings = SyncSettings(batch=most, keep_after_receipt_h=100.0)
        before, known = self._held(), len(self.net.answered)
        step = self.syncer.step()
        if fate == "passes" and not self._server_lost():
            assert step.problem is None, step.problem
        if fate in ("request lost", "answer lost"):
            assert step.problem is not None
        if fate == "wrong answer" and known:
            assert step.problem is not None and step.problem.code == "wrong_answer"
        if fate == "request lost":
            assert self._held() == before
        self.receipted = self.journal.held()[0]

    def _server_lost(self) -> bool:
        return len(self._held()) < self.purged

    @precondition(lambda self: self.net.sent)
    @rule(data=st.data())
    def an_old_upload_arrives(self, data: st.DataObject) -> None:
        self.net.deliver(data.draw(st.sampled_from(self.net.sent)))

    @rule()
    def the_kiosk_restarts(self) -> None:
        self.journal.close()
        self._open()
        assert self.journal.head()[0] == self.written

    @rule()
    def the_server_restarts(self) -> None:
        self.house.database.engine.dispose()
        self._serve()

    @rule()
    def the_server_is_backed_up(self) -> None:
        path = self.folder / "backup.db"
        path.unlink(missing_ok=True)
        with closing(sqlite3.connect(self.folder / "server" / "server.db")) as source:
            with closing(sqlite3.connect(path)) as target:
                source.backup(target)
        self.backup = (path, len(self._held()))

    @precondition(lambda self: self.backup is not None)
    @rule()
    def the_server_is_restored(self) -> None:
        assert self.backup is not None
        self.house.database.engine.dispose()
        for name in ("server.db", "server.db-wal", "server.db-shm"):
            (self.folder / "server" / name).unlink(missing_ok=True)
        shutil.copy(self.backup[0], self.folder / "server" / "server.db")
        self._serve()
        assert len(self._held()) == self.backup[1]

    @rule()
    def the_kiosk_purges(self) -> None:
        self.journal.purge(0, to_ms(utc_now()) + 1000)
        self.purged = max(self.purged, self.journal.held()[0])

    # -- what must hold ------------------------------------------------------------------------------------------------

    @invariant()
    def both_tell_one_history(self) -> None:
        if not hasattr(self, "journal"):
            return
        held = self._held()
        assert sorted(held) == list(range(1, len(held) + 1)), "a gap"
        assert len(held) <= self.written, "more than was written"
        assert all(self.hashes.get(n, h) == h for n, h in held.items()), "another history"
        assert self.journal.head() == (self.written, self.hashes[self.written])
        assert self.journal.held()[0] <= self.written
        with self.house.database.reading() as reading:
            assert first_break(reading, self.identity.enrolment.kiosk) is None
            assert reading.query(Fork).count() == 0, "a lone kiosk is no fork"

    @invariant()
    def nobody_is_lost(self) -> None:
        """What the kiosk no longer has, a receipt covered; what no receipt covers, it has."""
        if not hasattr(self, "journal"):
            return
        here = {record.sequence for record in self.journal.records_after(0, 100_000, 10**9)}
        assert here >= set(range(max(self.journal.held()[0], self.purged) + 1, self.written + 1))
        assert verify_journal(self.folder / "kiosk" / "journal.db").is_chain_whole

    @rule()
    def the_network_is_good_for_a_while(self) -> None:
        """However bad it was, a few good exchanges bring both to the same end."""
        self.syncer._most_records = 1000
        for _ in range(12):
            step = self.syncer.step()
            if step.problem is not None and step.problem.code == "server_lost_records":
                assert self._server_lost()
                return
            assert step.problem is None, step.problem
            if not step.more and self.journal.unsent_count() == 0:
                break
        assert len(self._held()) == self.written == self.journal.held()[0]


Exchange.TestCase.settings = settings(
    max_examples=8,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestExchange = Exchange.TestCase
