"""A stand-in for the vault's key file, with the private half at hand so that tests can open what was sealed to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from protocol.checkin import CheckinKey
from protocol.vault_keys import IdentityKey, SealKey, VaultKeys, vault_fingerprint


@dataclass(frozen=True)
class TestVault:
    """Its fingerprint as hex, and its keys for identities and for browsers."""

    __test__ = False

    fingerprint: str
    identity: X25519PrivateKey
    checkin: ec.EllipticCurvePrivateKey


def publish_vault(path: Path) -> TestVault:
    """Write a vault's public keys to *path*."""
    signing, identity = Ed25519PrivateKey.generate(), X25519PrivateKey.generate()
    checkin = ec.generate_private_key(ec.SECP256R1())
    point = checkin.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    seal = SealKey.make(
        MLKEM768PrivateKey.generate().public_key().public_bytes_raw(),
        X25519PrivateKey.generate().public_key().public_bytes_raw(),
    )
    identity_key = IdentityKey.make(identity.public_key().public_bytes_raw())
    keys = VaultKeys(1, (seal,), (identity_key,), (CheckinKey.make(point),))
    path.write_bytes(keys.to_signed(signing))
    return TestVault(vault_fingerprint(signing.public_key()).hex(), identity, checkin)
