"""What the sync tests stand on: the real server behind real HTTP, with faults on demand, and a kiosk without camera."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select
from werkzeug.serving import make_server

from config.kiosk import SyncSettings
from config.server import ServerSettings
from kiosk.bundle_store import BundleStore
from kiosk.clock import KioskClock
from kiosk.enrol import Identity, enrol, load_identity
from kiosk.server_client import ServerClient
from kiosk.store import Journal
from kiosk.syncer import Syncer
from protocol.credentials import enrolment_code
from protocol.passage import Personal
from protocol.vault_keys import vault_fingerprint
from server import create_app
from server.context import House, utc_now
from server.ingest.models import JournalRecord
from server.setup import initialise
from tests.server.ingest.fleet import PASSAGE, install_vault, make_code
from tests.server.people import furnish

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class LiveServer:
    """The server in a thread of its own; `fault` stands in front of it when it is set."""

    def __init__(self, folder: Path) -> None:
        settings = ServerSettings(public_url="http://127.0.0.1", data_dir=folder)
        initialise(settings, now=utc_now())
        self.app = create_app(settings)
        self.house: House = self.app.extensions["gatehouse"]
        with self.app.app_context():
            furnish(self.house)
        self.vault = install_vault(self.house)
        self.fault: Wsgi | None = None
        self.requests: list[str] = []
        self._server = make_server("127.0.0.1", 0, self._serve, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _serve(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.requests.append(environ["PATH_INFO"])
        return (self.fault or self.app.wsgi_app)(environ, start_response)

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.house.database.engine.dispose()

    @property
    def key(self) -> Ed25519PrivateKey:
        return self.house.keys.server_identity()

    def code(self, *, url: str = "", key: bytes = b"", **of_code: Any) -> str:
        """The text of a fresh enrolment code."""
        token = make_code(self.house, **of_code)
        return enrolment_code.make(
            enrolment_code.EnrolmentCode(
                url or self.url,
                token,
                key or self.key.public_key().public_bytes_raw(),
                vault_fingerprint(self.vault.signing.public_key()),
                utc_now() + timedelta(minutes=15),
            )
        )

    def held(self, kiosk: bytes) -> list[tuple[int, bytes]]:
        """What it stores of a kiosk: (sequence, chain hash)."""
        with self.house.database.reading() as reading:
            rows = reading.execute(
                select(JournalRecord.sequence, JournalRecord.hash)
                .where(JournalRecord.kiosk_id == kiosk)
                .order_by(JournalRecord.sequence)
            )
            return [(row.sequence, row.hash) for row in rows]


class Door:
    """A kiosk's sync, journal and bundle in one folder."""

    def __init__(self, folder: Path, identity: Identity, *, url: str = "", **settings: Any) -> None:
        self.folder, self.identity, self._is_closed = folder, identity, False
        self.journal = Journal(folder / "journal.db", identity.enrolment.kiosk, identity.vault.seal[0].load())
        self.clock = KioskClock()
        self.bundles = BundleStore(folder / "bundle", identity.enrolment)
        self.settings = SyncSettings(**{"timeout_s": 5.0, **settings})
        self.chance = 0.5
        client = ServerClient(url or identity.enrolment.server_url, timeout_s=min(self.settings.timeout_s, 5.0))
        self.syncer = Syncer(
            identity,
            self.journal,
            self.bundles,
            self.clock,
            self.settings,
            client=client,
            chance=lambda: self.chance,
        )

    @classmethod
    def enrolled(cls, folder: Path, server: LiveServer, **settings: Any) -> Door:
        enrol(folder, server.code())
        return cls.opened(folder, **settings)

    @classmethod
    def opened(cls, folder: Path, **settings: Any) -> Door:
        identity = load_identity(folder)
        assert identity is not None
        return cls(folder, identity, **settings)

    @property
    def id(self) -> bytes:
        return self.identity.enrolment.kiosk

    def walk(self, count: int = 1) -> None:
        """Let people pass."""
        for n in range(count):
            self.journal.append(
                self.identity.enrolment.place, self.clock.stamp(), PASSAGE, Personal(name=f"passer {n}"), day="today"
            )

    def problem(self) -> str | None:
        """Exchange once; the code of what went wrong."""
        step = self.syncer.step()
        return step.problem.code if step.problem else None

    def close(self) -> None:
        if not self._is_closed:
            self.syncer.stop()
            self.journal.close()
        self._is_closed = True


def answers(status: str, body: bytes, content_type: str, **headers: str) -> Wsgi:
    """A server that gives everybody the same answer."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        given = [("Content-Type", content_type), *((k.replace("_", "-"), v) for k, v in headers.items())]
        start_response(status, given)
        return [body]

    return app


class RawServer:
    """Accepts connections and says exactly these bytes, whatever is asked; None: says nothing, keeps the line open."""

    def __init__(self, says: bytes | None) -> None:
        self._says = says
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            if self._says is None:
                self._open.append(connection)
                continue
            with connection:
                connection.settimeout(5)
                read_request(connection)
                connection.sendall(self._says)

    def stop(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()
        for connection in self._open:
            connection.close()


def read_request(connection: socket.socket) -> None:
    """Read one HTTP request with its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    while len(body) < length:
        piece = connection.recv(65536)
        if not piece:
            return
        body += piece
