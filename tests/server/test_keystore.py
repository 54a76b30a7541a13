"""The key store: encrypted at rest, overlapping issuer keys, and refusal in words."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from server.keystore import ISSUER_VALID, IssuerUse, KeyStore, KeyStoreError
from tests.server.people import NOON

PASSPHRASE = b"0123456789abcdef0123456789abcdef"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    KeyStore.create(tmp_path / "keys", PASSPHRASE, now=NOON)
    return tmp_path / "keys"


def test_keys_are_the_same_when_opened_again(folder: Path) -> None:
    one, two = KeyStore.open(folder, PASSPHRASE), KeyStore.open(folder, PASSPHRASE)
    assert one.server_identity().public_key() == two.server_identity().public_key()
    assert [k.kid for k in one.issuer_keys()] == [k.kid for k in two.issuer_keys()]


def test_another_passphrase_opens_nothing(folder: Path) -> None:
    with pytest.raises(KeyStoreError, match="does not open"):
        KeyStore.open(folder, b"another passphrase")
    with pytest.raises(KeyStoreError, match="shorter"):
        KeyStore.open(folder, b"short")


def test_files_are_for_their_owner_only_and_hold_no_clear_key(folder: Path) -> None:
    for path in folder.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
        assert b"BEGIN PRIVATE KEY" not in path.read_bytes()


def test_making_keys_again_is_refused(folder: Path) -> None:
    with pytest.raises(KeyStoreError, match="already holds keys"):
        KeyStore.create(folder, PASSPHRASE, now=NOON)


def test_a_new_issuer_key_is_published_before_it_signs(folder: Path) -> None:
    keys = KeyStore.open(folder, PASSPHRASE)
    old = keys.issuer_signing_key(IssuerUse.HEALTH_CODE, NOON).kid
    new = keys.add_issuer_key(IssuerUse.HEALTH_CODE, not_before=NOON + timedelta(days=30)).kid
    assert {old, new} <= {key.kid for key in keys.issuer_trust_entries(NOON)}
    assert keys.issuer_signing_key(IssuerUse.HEALTH_CODE, NOON + timedelta(days=29)).kid == old
    assert keys.issuer_signing_key(IssuerUse.HEALTH_CODE, NOON + timedelta(days=30)).kid == new


def test_a_retired_key_signs_nothing_and_stays_trusted(folder: Path) -> None:
    keys = KeyStore.open(folder, PASSPHRASE)
    kid = keys.issuer_signing_key(IssuerUse.VENUE_CODE, NOON).kid
    keys.retire_issuer_key(kid, at=NOON + timedelta(hours=1))
    with pytest.raises(KeyStoreError, match="No venue_code key"):
        keys.issuer_signing_key(IssuerUse.VENUE_CODE, NOON + timedelta(hours=1))
    assert kid in {key.kid for key in keys.issuer_trust_entries(NOON + timedelta(days=1))}
    assert kid not in {key.kid for key in keys.issuer_trust_entries(NOON + ISSUER_VALID)}


def test_a_running_process_sees_a_key_that_another_one_made(folder: Path) -> None:
    running, command = KeyStore.open(folder, PASSPHRASE), KeyStore.open(folder, PASSPHRASE)
    new = command.add_issuer_key(IssuerUse.VENUE_CODE, not_before=NOON + timedelta(days=1)).kid
    assert new in {key.kid for key in running.issuer_keys()}


def test_identity_data_opens_for_its_own_resident_only(folder: Path) -> None:
    keys = KeyStore.open(folder, PASSPHRASE)
    sealed = keys.encrypt_resident("王小明".encode(), resident_id="aa")
    assert "王小明".encode() not in sealed
    assert keys.decrypt_resident(sealed, resident_id="aa").decode() == "王小明"
    for damaged, owner in ((sealed, "bb"), (sealed[:-1], "aa"), (b"", "aa"), (bytes(12), "aa")):
        with pytest.raises(KeyStoreError, match="does not open"):
            keys.decrypt_resident(damaged, resident_id=owner)
