"""A kiosk that was given our authority's certificate enrols and syncs over real TLS, and tells strangers nothing."""

from __future__ import annotations

import ssl
import stat
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from werkzeug.serving import BaseWSGIServer, make_server

from gatehouse.cli import main
from kiosk.enrol import EnrolError, enrol
from kiosk.server_client import ServerClient
from server.authority import AuthorityError, issue, load_authority, make_authority
from server.context import utc_now
from tests.kiosk.sync.house import Door, LiveServer
from tests.kiosk.sync.test_syncer import in_step


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our authority, made as an administrator makes it, a stranger's, and a certificate of each."""
    made = tmp_path_factory.mktemp("authority")
    (made / "pass").write_text("a long word\n")
    for name, more in (("ours", ["--passphrase-file", str(made / "pass")]), ("other", [])):
        assert main(["admin", "ca", "init", "--out", str(made / name), *more]) == 0
        of = ["admin", "ca", "issue", "--ca", str(made / name), "--out", str(made / f"{name}.pem"), *more]
        assert main([*of, "--host", "127.0.0.1", "--host", "codes.example"]) == 0
    return made


class Secured:
    """The server behind TLS with one certificate."""

    def __init__(self, server: LiveServer, certificate: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self._server: BaseWSGIServer = make_server(
            "127.0.0.1", 0, server.app.wsgi_app, threaded=True, ssl_context=context
        )
        self.url = f"https://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def ours(server: LiveServer, folder: Path) -> Iterator[Secured]:
    made = Secured(server, folder / "ours.pem")
    yield made
    made.stop()


@pytest.fixture
def other(server: LiveServer, folder: Path) -> Iterator[Secured]:
    made = Secured(server, folder / "other.pem")
    yield made
    made.stop()


def test_enrolment_and_exchange_over_our_own_tls(
    server: LiveServer, folder: Path, ours: Secured, other: Secured, tmp_path: Path
) -> None:
    ca = folder / "ours" / "ca.pem"
    with pytest.raises(EnrolError) as refused:  # the system's authorities do not know ours
        enrol(tmp_path / "kiosk", server.code(url=ours.url))
    assert refused.value.code == "tls"
    enrol(tmp_path / "kiosk", server.code(url=ours.url), ca_file=ca)
    door = Door.opened(tmp_path / "kiosk")
    door.walk(3)
    plain = door.syncer._client
    try:
        door.syncer._client = ServerClient(other.url, timeout_s=5.0, ca_file=ca)
        assert door.problem() == "tls"
        assert door.journal.unsent_count() == 3
        door.syncer._client.close()
        door.syncer._client = ServerClient(ours.url, timeout_s=5.0, ca_file=ca)
        assert door.problem() is None
        in_step(door, server)
    finally:
        plain.close()
        door.close()


def test_what_ca_init_makes_is_kept_from_others_and_never_written_over(folder: Path, tmp_path: Path) -> None:
    key = folder / "ours" / "ca-key.pem"
    assert stat.S_IMODE(key.stat().st_mode) == stat.S_IMODE((folder / "ours.pem").stat().st_mode) == 0o600
    assert b"ENCRYPTED" in key.read_bytes()
    assert main(["admin", "ca", "init", "--out", str(folder / "ours")]) == 2
    with pytest.raises(AuthorityError) as wrong:
        load_authority(folder / "ours", b"another word")
    assert wrong.value.code == "wrong_passphrase"
    with pytest.raises(AuthorityError) as none:
        load_authority(tmp_path)
    assert none.value.code == "no_authority"


def test_a_certificate_says_what_it_is_for_and_not_for_too_long(folder: Path, tmp_path: Path) -> None:
    pem = (folder / "ours.pem").read_bytes()
    certificate = x509.load_pem_x509_certificate(pem[pem.index(b"-----BEGIN CERTIFICATE") :])
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["codes.example"]
    assert certificate.not_valid_after_utc <= utc_now() + timedelta(days=398)
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    authority = make_authority(tmp_path / "ca", "Test", utc_now())
    for hosts, days in (([], 10), (["a.example"], 399), (["a.example"], 0), (["北.example"], 10)):
        with pytest.raises(AuthorityError):
            issue(authority, hosts, tmp_path / "x.pem", utc_now(), days=days)
    assert not (tmp_path / "x.pem").exists()
