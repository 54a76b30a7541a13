"""One code, one kiosk, three files; and nothing half done when it does not work."""

from __future__ import annotations

import dataclasses
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select

from config.files import write_whole
from config.kiosk import KioskSettings
from kiosk.enrol import DEVICE_KEY, ENROLMENT, VAULT_KEYS, EnrolError, enrol, enrol_by_text, load_identity
from protocol.credentials import enrolment_code
from server.kiosks.models import Kiosk
from tests.kiosk.sync.house import LiveServer, RawServer, answers
from tests.server.people import LIBRARY


def kiosks(server: LiveServer) -> set[bytes]:
    with server.house.database.reading() as reading:
        return set(reading.scalars(select(Kiosk.id)))


def test_a_code_makes_a_kiosk_that_can_start(tmp_path: Path, server: LiveServer) -> None:
    enrolment = enrol_by_text(KioskSettings(data_dir=tmp_path / "k"), server.code())
    identity = load_identity(tmp_path / "k")
    assert identity is not None and identity.enrolment == enrolment
    assert enrolment.kiosk in kiosks(server)
    assert (enrolment.venue, enrolment.entrance, enrolment.server_url) == (LIBRARY, 1, server.url)
    assert identity.vault.seal[0].key_id == server.vault.seal.key_id
    assert stat.S_IMODE((tmp_path / "k" / DEVICE_KEY).stat().st_mode) == 0o600
    assert {p.name for p in (tmp_path / "k").iterdir()} == {DEVICE_KEY, VAULT_KEYS, ENROLMENT}


def test_a_folder_without_enrolment_is_no_kiosk(tmp_path: Path) -> None:
    assert load_identity(tmp_path) is None


def test_a_kiosk_does_not_enrol_over_itself(tmp_path: Path, server: LiveServer) -> None:
    enrol(tmp_path / "k", server.code())
    before = (tmp_path / "k" / ENROLMENT).read_bytes()
    with pytest.raises(EnrolError) as refused:
        enrol(tmp_path / "k", server.code())
    assert refused.value.code == "already_enrolled"
    assert (tmp_path / "k" / ENROLMENT).read_bytes() == before


@pytest.mark.parametrize("text", ["", "GHE1:", "GHE1:%%%", "JK1:abc", "https://example.cn/v/x", "GHE1:" + "A" * 800])
def test_what_is_no_enrolment_code_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(EnrolError) as refused:
        enrol(tmp_path / "k", text)
    assert refused.value.code == "bad_code" and refused.value.hint
    assert not (tmp_path / "k").exists()


def test_a_used_code_is_refused_in_words(tmp_path: Path, server: LiveServer) -> None:
    code = server.code()
    enrol(tmp_path / "a", code)
    with pytest.raises(EnrolError) as refused:
        enrol(tmp_path / "b", code)
    assert refused.value.code == "code_used" and "new one" in refused.value.hint
    assert load_identity(tmp_path / "b") is None


def test_a_lost_answer_costs_no_code(tmp_path: Path, server: LiveServer) -> None:
    code, before = server.code(), kiosks(server)

    def loses_the_answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        list(server.app.wsgi_app(environ, lambda status, headers, exc=None: lambda data: None))
        start_response("502 Bad Gateway", [("Content-Type", "text/plain")])
        return [b""]

    server.fault = loses_the_answer
    with pytest.raises(EnrolError) as failed:
        enrol(tmp_path / "k", code)
    assert failed.value.code == "server_error"
    server.fault = None
    enrolment = enrol(tmp_path / "k", code)
    assert kiosks(server) - before == {enrolment.kiosk}


def test_after_a_lost_answer_another_code_works_too(tmp_path: Path, server: LiveServer) -> None:
    first, second = server.code(), server.code()
    enrol(tmp_path / "k", first)
    (tmp_path / "k" / ENROLMENT).unlink()  # as if the answer had been lost
    enrolment = enrol(tmp_path / "k", second)
    identity = load_identity(tmp_path / "k")
    assert identity is not None and identity.enrolment == enrolment


def test_an_impostor_with_another_key_makes_no_kiosk(tmp_path: Path, server: LiveServer) -> None:
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    with pytest.raises(EnrolError) as refused:
        enrol(tmp_path / "k", server.code(key=other))
    assert refused.value.code == "wrong_server"
    assert load_identity(tmp_path / "k") is None


def test_a_server_that_puts_its_own_vault_in_the_place_makes_no_kiosk(tmp_path: Path, server: LiveServer) -> None:
    honest = enrolment_code.parse(server.code())
    pinned_elsewhere = enrolment_code.make(dataclasses.replace(honest, vault_fingerprint=bytes(16)))
    with pytest.raises(EnrolError) as refused:
        enrol(tmp_path / "k", pinned_elsewhere)
    assert refused.value.code == "wrong_server"
    assert load_identity(tmp_path / "k") is None


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (answers("200 OK", b"<html>sign in</html>", "text/html"), "captive_portal"),
        (answers("200 OK", b"\x00" * 30, "application/cbor"), "wrong_server"),
        (answers("500 Oops", b"", "text/plain"), "server_error"),
    ],
)
def test_a_bad_answer_is_named(tmp_path: Path, server: LiveServer, fault: Any, code: str) -> None:
    text = server.code()
    server.fault = fault
    with pytest.raises(EnrolError) as failed:
        enrol(tmp_path / "k", text)
    assert failed.value.code == code
    assert load_identity(tmp_path / "k") is None


def test_no_server_is_named(tmp_path: Path, server: LiveServer) -> None:
    gone = RawServer(b"")
    gone.stop()
    with pytest.raises(EnrolError) as failed:
        enrol(tmp_path / "k", server.code(url=gone.url))
    assert failed.value.code == "unreachable"


def test_mixed_or_damaged_files_are_named(tmp_path: Path, server: LiveServer) -> None:
    enrol(tmp_path / "a", server.code())
    enrol(tmp_path / "b", server.code())
    key = (tmp_path / "a" / DEVICE_KEY).read_bytes()
    (tmp_path / "a" / DEVICE_KEY).write_bytes((tmp_path / "b" / DEVICE_KEY).read_bytes())
    with pytest.raises(EnrolError) as mixed:
        load_identity(tmp_path / "a")
    assert mixed.value.code == "mixed"
    (tmp_path / "a" / DEVICE_KEY).write_bytes(key[:50])
    with pytest.raises(EnrolError) as damaged:
        load_identity(tmp_path / "a")
    assert damaged.value.code == "damaged"


def test_a_file_is_swapped_whole_and_a_failed_write_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("config.files.os.fsync", full)
    with pytest.raises(OSError, match="space"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
