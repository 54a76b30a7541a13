"""A stand-in for the vault's key file, with the private half at hand so that tests can open what was sealed to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from protocol.vault_keys import IdentityKey, SealKey, VaultKeys, vault_fingerprint


@dataclass(frozen=True)
class TestVault:
    """Its fingerprint as hex, and its identity key."""

    __test__ = False

    fingerprint: str
    identity: X25519PrivateKey


def publish_vault(path: Path) -> TestVault:
    """Write a vault's public keys to *path*."""
    signing, identity = Ed25519PrivateKey.generate(), X25519PrivateKey.generate()
    seal = SealKey.make(
        MLKEM768PrivateKey.generate().public_key().public_bytes_raw(),
        X25519PrivateKey.generate().public_key().public_bytes_raw(),
    )
    keys = VaultKeys(1, (seal,), (IdentityKey.make(identity.public_key().public_bytes_raw()),))
    path.write_bytes(keys.to_signed(signing))
    return TestVault(vault_fingerprint(signing.public_key()).hex(), identity)
