"""Whatever comes through the socket, the vault answers or hangs up, and lives."""

from __future__ import annotations

import socket
import stat
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.vault import VaultProcessSettings
from protocol import cbor
from protocol.errors import ProtocolError
from server.vault.approvals import read_word
from server.vault.client import VaultAway, VaultClient
from server.vault.errors import VaultError
from server.vault.keyfile import KEY_FILE, read_keys, write_keys
from server.vault.wire import MAX_FRAME_BYTES, OpenedRow, Operation, SealedRecord, pack_records, unpack_records
from tests.server.vault.world import PASSPHRASE, World, is_away

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.binary(max_size=40) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.integers(0, 6) | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


def exchange(path: Path, data: bytes, *, finish: bool = True) -> bytes:
    """Send *data* as it is and read whatever comes until the vault hangs up or has answered once."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(20)
        connection.connect(str(path))
        try:
            connection.sendall(data)
            if finish:
                connection.shutdown(socket.SHUT_WR)
            return connection.recv(1 << 20)
        except (BrokenPipeError, ConnectionResetError):
            return b""


def frame(item: object) -> bytes:
    body = cbor.encode(item)
    return struct.pack(">I", len(body)) + body


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200))
def test_any_bytes_are_survived(vault: VaultClient, data: bytes) -> None:
    exchange(vault.path, data)
    exchange(vault.path, struct.pack(">I", len(data)) + data)
    assert not is_away(vault)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operation=st.sampled_from([o.value for o in Operation]), arguments=plain, extra=st.integers(0, 9))
def test_any_arguments_are_answered_in_words(vault: VaultClient, operation: str, arguments: Any, extra: int) -> None:
    answer = exchange(vault.path, frame({1: 1, 2: operation, 3: arguments, **({4: 1} if extra == 9 else {})}))
    item = cbor.decode_strict(answer[4:])
    assert isinstance(item, dict)
    assert item[1] is True or (isinstance(item[2], str) and item[2] != "internal")


@pytest.mark.parametrize("length", [MAX_FRAME_BYTES + 1, 2**32 - 1])
def test_a_message_that_promises_too_much_is_refused_at_its_length(vault: VaultClient, length: int) -> None:
    item = cbor.decode_strict(exchange(vault.path, struct.pack(">I", length))[4:])
    assert isinstance(item, dict) and item[2] == "too_large"


@pytest.mark.slow
def test_half_a_message_is_cut_off_and_others_are_served_meanwhile(fresh: World) -> None:
    (fresh.folder / "vault.toml").write_text(
        'folder = "."\nrequest_seconds = 0.5\nidle_seconds = 0.5\nmax_connections = 4\n'
    )
    with fresh.running() as vault:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as slow:
            slow.settimeout(20)
            slow.connect(str(vault.path))
            slow.sendall(b"\x00\x00\x01\x00half")
            assert not is_away(vault)
            assert slow.recv(1) == b""  # cut off
        idle = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(4)]
        for connection in idle:
            connection.settimeout(20)
            connection.connect(str(vault.path))
        for connection in idle:
            assert connection.recv(1) == b""  # idle ones make room again
            connection.close()
        assert not is_away(vault)


@pytest.mark.slow
def test_strangers_are_turned_away_by_the_kernel_s_word(fresh: World) -> None:
    (fresh.folder / "vault.toml").write_text('folder = "."\nclient_users = ["12345"]\n')
    process = fresh.start()
    try:
        with pytest.raises(VaultAway):
            fresh.client().status()
    finally:
        process.terminate()
        output, _ = process.communicate(timeout=30)
    assert "vault turned away" in output


def test_files_and_socket_are_closed_to_others(world: World, vault: VaultClient) -> None:
    assert stat.S_IMODE(vault.path.stat().st_mode) == 0o660
    for name in (KEY_FILE, "access.log", "index.db", "roster.cbor"):
        assert stat.S_IMODE((world.folder / name).stat().st_mode) == 0o600


@given(data=st.binary(max_size=300))
def test_an_approval_is_read_or_refused(data: bytes) -> None:
    try:
        word = read_word(data)
    except ProtocolError:
        return
    assert word.to_bytes() == data


@given(item=plain)
def test_rows_and_records_are_read_or_refused(item: Any) -> None:
    for read in (OpenedRow.from_fields, unpack_records):
        try:
            read(item)
        except ProtocolError:
            continue


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 9), st.binary(min_size=1, max_size=5)), max_size=6))
def test_records_come_back_as_they_were_packed(rows: list[tuple[int, int, bytes]]) -> None:
    records = [SealedRecord(bytes([k]) * 8, bytes([k]) * 16, bytes(1177), s, h, h) for k, s, h in rows]
    assert unpack_records(pack_records(records)) == records


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(at=st.integers(0, 2000), bit=st.integers(0, 7))
def test_a_changed_key_file_does_not_open(world: World, at: int, bit: int) -> None:
    path = world.folder / KEY_FILE
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[at % len(whole)] ^= 1 << bit
    try:
        path.write_bytes(bytes(changed))
        with pytest.raises(VaultError):
            read_keys(world.folder, PASSPHRASE)
    finally:
        path.write_bytes(whole)
    assert read_keys(world.folder, PASSPHRASE) == world.secrets


def test_another_passphrase_or_open_permissions_are_refused(fresh: World) -> None:
    with pytest.raises(VaultError, match="does not open"):
        read_keys(fresh.folder, b"another passphrase")
    with pytest.raises(VaultError, match="already holds"):
        write_keys(fresh.folder, fresh.secrets, PASSPHRASE)
    with pytest.raises(VaultError, match="fewer than"):
        write_keys(fresh.folder, fresh.secrets, b"short", replacing=True)
    (fresh.folder / KEY_FILE).chmod(0o644)
    with pytest.raises(VaultError, match="by others"):
        read_keys(fresh.folder, PASSPHRASE)


def test_settings_say_what_is_wrong() -> None:
    for wrong in (
        {"passkey_origins": ("http://gatehouse.example",)},
        {"passkey_origins": ("https://a.example", "https://b.example")},
        {"max_connections": 0},
        {"request_seconds": 0.0},
    ):
        with pytest.raises(ValueError):
            VaultProcessSettings(Path("v"), **wrong)  # type: ignore[arg-type]
