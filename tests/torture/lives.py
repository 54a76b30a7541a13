"""The lives that are cut short: a kiosk, a server, a vault, each in a process of its own on a town's files.

Each life leaves a trace of what it told the world: a line in the town's trace file, written before the next step, which
no power cut takes back, as nobody can take back what stood on a screen.
"""

from __future__ import annotations

import functools
import os
import socket
import sqlite3
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import event, select
from sqlalchemy.exc import DBAPIError
from werkzeug.serving import make_server

import kiosk.store
from config.errors import GatehouseError
from config.kiosk import SyncSettings
from config.server import ServerSettings
from config.vault import VaultProcessSettings
from kiosk.bundle_store import BundleStore
from kiosk.clock import KioskClock
from kiosk.enrol import load_identity
from kiosk.server_client import ServerClient
from kiosk.store import Journal, JournalError
from kiosk.syncer import Health, Syncer
from protocol.exchange import EXCHANGE_PATH, Receipt
from protocol.passage import Personal
from protocol.sealing import EpochSealer
from server import create_app, keystore
from server.db import Database
from server.ingest.models import Epoch, JournalRecord, RecordKind
from server.migrations import upgrade
from server.vault.client import VaultAway, VaultClient
from server.vault.errors import Refused
from server.vault.indexing import index_new, sealed_records
from server.vault.keyfile import VaultSecrets
from server.vault.opening import Vault
from server.vault.process import VaultProcess
from tests import victim
from tests.server.ingest.fleet import PASSAGE
from tests.server.people import LIBRARY
from tests.server.vault.world import World, now_ms
from tests.torture import shim

DATABASE_FILE = "database-url"  # in a town whose server keeps its records in PostgreSQL


@dataclass(frozen=True)
class Life:
    """What a life is to do, and what happens to it."""

    kind: str  # a function below
    town: Path
    plans: tuple[shim.Plan, ...] = ()
    people: int = 4
    port: int = 0
    move_clock_ms: int = 0
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def record(self) -> Path:
        """Where the shim notes what this life writes."""
        return self.town / "records" / self.kind

    @property
    def folder(self) -> Path:
        """The files that this life owns."""
        return self.town / self.kind


class Trace:
    """What a life told the world, a line each."""

    def __init__(self, town: Path) -> None:
        self._file = os.open(town / "trace", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def __call__(self, *words: object) -> None:
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())


def begin(life: Life) -> int:
    """Live; returns the exit code. Runs in a process that is thrown away afterwards."""
    for name in ("records", life.kind):
        (life.town / name).mkdir(exist_ok=True)
    out = os.open(life.town / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(out, 1)
    os.dup2(out, 2)
    trace = Trace(life.town)
    shim.arm(life.folder, life.record, life.plans)
    if life.move_clock_ms:
        shim.move_clock(life.move_clock_ms)
    try:
        return LIVES[life.kind](life, trace)
    except _HONEST[life.kind == "kiosk"] as error:
        print(f"{life.kind} gave up: {type(error).__name__} {error}", file=sys.stderr, flush=True)
        trace("gave_up", life.kind, type(error).__name__)
        return 3
    finally:
        trace("steps", life.kind, shim.steps())


# what may end a life: the kiosk has words for everything, the others may end with the database's
_HONEST: tuple[tuple[type[Exception], ...], ...] = (
    (GatehouseError, OSError, sqlite3.Error, DBAPIError),
    (GatehouseError,),
)


def a_kiosk(life: Life, trace: Trace) -> int:
    """Let people pass; exchange with the server after every second one, and at the end until all is sent."""
    sealed = EpochSealer.seal

    def noted_seal(self: EpochSealer, sequence: int, header: bytes, personal: bytes) -> bytes:
        result = sealed(self, sequence, header, personal)
        trace("sealed", self.epoch.hex(), sequence, result.hex()[:64])
        return result

    kiosk.store.EpochSealer.seal = noted_seal  # type: ignore[method-assign]
    folder = life.folder
    identity = load_identity(folder)
    assert identity is not None
    journal = Journal(folder / "journal.db", identity.enrolment.kiosk, identity.vault.seal[0].load())
    sabotage = life.extra.get("sabotage")
    if sabotage == "no_sync":
        journal._db.execute("PRAGMA synchronous=OFF")
    accepted = journal.accept_receipt

    def noted_receipt(receipt: Receipt, signed: bytes) -> None:
        accepted(receipt, signed)
        trace("receipt", receipt.sequence, receipt.head.hex())

    journal.accept_receipt = noted_receipt  # type: ignore[method-assign]
    clock = KioskClock(journal.last_stamp_ms())
    bundles = BundleStore(folder / "bundle", identity.enrolment)
    settings = SyncSettings(timeout_s=5.0, keep_after_receipt_h=life.extra.get("keep_h", 24.0))
    client = ServerClient(f"http://127.0.0.1:{life.port}", timeout_s=5.0)
    syncer = Syncer(identity, journal, bundles, clock, settings, health=Health, client=client)
    trace("alive", "kiosk")
    for number in range(life.people):
        if sabotage == "shown_first":
            trace("shown", journal.head()[0] + 1, "00")
        try:
            stored = journal.append(
                identity.enrolment.place,
                clock.stamp(),
                PASSAGE,
                Personal(name="王小明", phone="+8613800138000"),
                count=("admit",),
                day=clock.day(),
            )
        except JournalError as error:
            trace("not_recorded", error.code)
            if error.code == "damaged" and not life.plans:
                return 4
            continue
        if sabotage != "shown_first":
            trace("shown", stored.sequence, stored.hash.hex())
        if number % 2 and life.port:
            step = syncer.step()
            trace("step", step.problem.code if step.problem else "ok")
    if life.extra.get("until_sent"):
        return _send_all(syncer, journal, trace, life.extra.get("give_up_s", 30.0))
    syncer.stop()
    journal.close()
    return 0


def _send_all(syncer: Syncer, journal: Journal, trace: Trace, give_up_s: float) -> int:
    deadline = time.monotonic() + give_up_s
    while time.monotonic() < deadline:
        step = syncer.step()
        trace("step", step.problem.code if step.problem else "ok")
        if step.problem is None and not step.more and journal.unsent_count() == 0:
            syncer.stop()
            journal.close()
            return 0
        if step.problem is not None:
            time.sleep(0.05)  # the server is starting again
    return 5


def settings_of(town: Path) -> ServerSettings:
    """The town's server; its database is a file in its folder, or the PostgreSQL one that the town names."""
    named = town / DATABASE_FILE
    url = named.read_text() if named.exists() else ""
    return ServerSettings(public_url="http://127.0.0.1", data_dir=town / "server", database_url=url)


def a_server(life: Life, trace: Trace) -> int:
    """Serve until killed."""
    settings = settings_of(life.town)
    database = Database(settings.database)
    upgrade(database.engine)
    database.engine.dispose()
    app = create_app(settings)
    if life.extra.get("sabotage") == "early_receipts":
        engine = app.extensions["gatehouse"].database.engine
        event.listen(engine, "connect", _answer_before_it_is_written)
        engine.dispose()  # those that were opened before
    server = make_server("127.0.0.1", life.port, app.wsgi_app, threaded=True)
    trace("alive", "server")
    server.serve_forever()
    return 0


def _answer_before_it_is_written(connection: Any, _record: object) -> None:
    connection.execute("SET synchronous_commit = off")
    connection.commit()


def warm(town: Path) -> None:
    """Import, compile and derive what a first server does; leaves no thread, no connection and no change behind."""
    keystore._stretch = functools.cache(keystore._stretch)  # one passphrase, and a tenth of a second each time
    app = create_app(settings_of(town))
    upgrade(app.extensions["gatehouse"].database.engine)
    app.test_client().post(EXCHANGE_PATH, data=b"nonsense")
    app.extensions["gatehouse"].database.engine.dispose()


def vault_socket(town: Path) -> Path:
    """Where the town's vault listens."""
    return town / "vault.sock"


def a_vault(life: Life, trace: Trace) -> int:
    """Serve until killed."""
    secrets: VaultSecrets = life.extra["secrets"]
    vault = Vault(life.folder, secrets, now_ms=now_ms)
    process = VaultProcess(vault, VaultProcessSettings(life.folder, socket=vault_socket(life.town)))
    trace("alive", "vault")
    process.run()
    return 0


def a_worker(life: Life, trace: Trace) -> int:
    """Have everything indexed, look at some passages, close a query, destroy an epoch; tell what was answered."""
    approval_key = Ed25519PrivateKey.from_private_bytes(life.extra["approval_key"])
    world = World(life.town / "vault", life.extra["secrets"], approval_key)
    client = VaultClient(vault_socket(life.town), seconds=10)
    database = Database(f"sqlite:///{life.extra.get('database') or life.town / 'server' / 'server.db'}")
    done = 0

    def ask(what: Callable[[], None]) -> None:
        nonlocal done
        try:
            what()
            done += 1
        except (VaultAway, Refused) as error:
            trace("vault_refused", error.code)

    def index() -> None:
        with database.reading() as reading:
            index_new(reading, client)

    def look() -> None:
        query = world.query(venues=(LIBRARY,), max_rows=3, to_ms=now_ms() + 1000)
        with database.reading() as reading:
            rows = list(
                reading.execute(
                    select(JournalRecord.kiosk_id, JournalRecord.sequence)
                    .where(JournalRecord.kind == int(RecordKind.PASSAGE))
                    .order_by(JournalRecord.sequence.desc())
                    .limit(2)
                )
            )
            records = [sealed for _, sealed in sealed_records(reading, [(r[0], r[1]) for r in rows])]
        opening = client.open(query.to_bytes(), world.approve(query), records)
        trace("head", opening.head.sequence, opening.head.hash)
        trace("opened", len(opening.rows))

    def close_query() -> None:
        head = client.revoke(os.urandom(32))
        trace("head", head.sequence, head.hash)

    def destroy() -> None:
        with database.reading() as reading:
            epochs = [
                row[0] for row in reading.execute(select(Epoch.epoch).order_by(Epoch.first_sequence.desc()).limit(1))
            ]
        _, head = client.destroy(epochs)
        trace("head", head.sequence, head.hash)
        for epoch in epochs:
            trace("destroyed", epoch.hex())

    for what in (index, look, close_query, look, index, destroy):
        ask(what)
    database.engine.dispose()
    return 0 if done else 6


def a_new_journal(life: Life, trace: Trace) -> int:
    """Open the journal of a new kiosk, which brings its tables to this version."""
    device, vault = life.extra["device"], life.extra["seal"].load()
    Journal(life.folder / "journal.db", device, vault).close()
    return 0


def a_new_server(life: Life, trace: Trace) -> int:
    """Bring an old database to this version's tables."""
    database = Database(f"sqlite:///{life.folder / 'gatehouse.db'}")
    upgrade(database.engine)
    database.engine.dispose()
    return 0


def an_entrance(life: Life, trace: Trace) -> int:
    """Be a whole entrance, with camera, decoder, thermometer and gate, until killed."""
    victim.live(life.folder, life.extra["keys"], life.people, "nowhere")
    return 0


LIVES: dict[str, Callable[[Life, Trace], int]] = {
    "kiosk": a_kiosk,
    "server": a_server,
    "vault": a_vault,
    "worker": a_worker,
    "new_journal": a_new_journal,
    "new_server": a_new_server,
    "entrance": an_entrance,
}


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
