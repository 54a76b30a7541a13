"""`gatehouse vault` as its custodian uses it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from config.vault import load_vault_settings
from protocol.credentials.identity import Identity
from protocol.vault_keys import VaultKeys, claimed_fingerprint
from server.vault.keyfile import read_keys
from tests.server.vault.world import ID_NUMBER, NAME, PASSPHRASE, PHONE, TOP, World

pytestmark = pytest.mark.slow


def gatehouse(folder: Path, *arguments: str, passphrase: bytes = PASSPHRASE) -> subprocess.CompletedProcess[str]:
    secret = folder.parent / "passphrase"
    secret.write_bytes(passphrase + b"\n")
    command = [sys.executable, "-m", "gatehouse", "vault", *arguments, "--dir", str(folder)]
    if arguments[0] != "log":
        command += ["--passphrase-file", str(secret)]
    return subprocess.run(command, cwd=TOP, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)


def test_a_new_vault_says_its_fingerprint_and_is_made_once(tmp_path: Path) -> None:
    folder, copy = tmp_path / "v", tmp_path / "vault-public.cbor"
    made = gatehouse(folder, "init", "--export", str(copy))
    assert made.returncode == 0, made.stderr
    fingerprint = claimed_fingerprint(copy.read_bytes())
    assert fingerprint.hex() in made.stdout.replace(" ", "")
    assert VaultKeys.from_signed(copy.read_bytes(), fingerprint).seal
    before = (folder / "vault-keys.bin").read_bytes()
    again = gatehouse(folder, "init")
    assert again.returncode == 2 and "already holds" in again.stderr
    assert (folder / "vault-keys.bin").read_bytes() == before
    assert gatehouse(folder, "log", "verify").returncode == 0
    assert gatehouse(folder, "keys", passphrase=b"another passphrase").returncode == 2


def test_rotate_keeps_the_old_key_and_forget_destroys_it(fresh: World) -> None:
    old = fresh.keys
    with fresh.running():
        busy = gatehouse(fresh.folder, "rotate")
        assert busy.returncode == 2 and "already running" in busy.stderr
    assert gatehouse(fresh.folder, "rotate").returncode == 0
    assert [key.key_id for key in fresh.keys.seal][1:] == [old.seal[0].key_id]
    record = fresh.kiosk().pass_with_code(Identity(NAME, ID_NUMBER, PHONE))
    query = fresh.query()
    with fresh.running() as vault:
        assert vault.open(query.to_bytes(), fresh.approve(query), [record]).rows
    key_id = old.seal[0].key_id.hex()
    assert gatehouse(fresh.folder, "forget", key_id).returncode == 2  # nobody to ask
    assert gatehouse(fresh.folder, "forget", key_id, "--yes").returncode == 0
    in_use = gatehouse(fresh.folder, "forget", fresh.keys.seal[0].key_id.hex(), "--yes")
    assert in_use.returncode == 2 and "in use" in in_use.stderr
    assert len(read_keys(fresh.folder, PASSPHRASE).seal) == 1
    assert gatehouse(fresh.folder, "log", "verify").returncode == 0


def test_approvers_are_added_listed_and_revoked(fresh: World) -> None:
    pem = fresh.district_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    key = fresh.folder.parent / "district.key.pub"
    key.write_bytes(pem)
    add = ("approvers", "add", "district", "--key", str(key))
    assert "is not a purpose" in gatehouse(fresh.folder, *add, "--purposes", "fun", "--yes").stderr
    assert gatehouse(fresh.folder, *add, "--purposes", "drill").returncode == 2  # nobody to ask about the fingerprint
    assert gatehouse(fresh.folder, *add, "--purposes", "drill,epi_trace", "--yes").returncode == 0
    assert "already in the roster" in gatehouse(fresh.folder, *add, "--purposes", "drill", "--yes").stderr
    listed = gatehouse(fresh.folder, "approvers", "list").stdout
    assert "district" in listed and "drill,epi_trace" in listed and listed.count("in force") == 2
    assert gatehouse(fresh.folder, "approvers", "revoke", "district").returncode == 0
    assert "revoked" in gatehouse(fresh.folder, "approvers", "list").stdout
    assert gatehouse(fresh.folder, "approvers", "revoke", "district").returncode == 2
    wrong = fresh.folder.parent / "wrong.pub"
    wrong.write_text("not a key")
    answer = gatehouse(fresh.folder, "approvers", "add", "x", "--key", str(wrong), "--purposes", "drill", "--yes")
    assert answer.returncode == 2 and "not an Ed25519 public key" in answer.stderr


def test_the_example_settings_are_settings() -> None:
    settings = load_vault_settings(TOP / "config" / "vault.example.toml")
    assert settings.relying_party == "gatehouse.example"
    assert settings.socket_path.name == "vault.sock"
