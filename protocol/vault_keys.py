"""The vault's public keys as the vault itself signs them; kiosks and residents' codes are sealed to these.

A kiosk pins the vault's fingerprint when it is enrolled, so that the web server cannot put its own key in the place.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import mlkem
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PublicKey

from protocol import cbor, signed
from protocol.checkin import POINT_BYTES, CheckinKey
from protocol.errors import ProtocolError
from protocol.sealing import SealPublicKey

FINGERPRINT_BYTES = 16
_PURPOSE = "vault keys 1"
_MLKEM768_BYTES = 1184  # FIPS 203 table 3


@dataclass(frozen=True, slots=True)
class SealKey:
    """One epoch-sealing key in transportable form."""

    key_id: bytes  # 8 bytes: start of SHA-256 over both public keys
    mlkem768: bytes  # 1184 bytes
    x25519: bytes  # 32 bytes

    @staticmethod
    def make(mlkem768: bytes, x25519: bytes) -> SealKey:
        """Name a pair of public keys by their digest."""
        return SealKey(hashlib.sha256(mlkem768 + x25519).digest()[:8], mlkem768, x25519)

    def load(self) -> SealPublicKey:
        """Turn it into a key that `EpochSealer` takes."""
        return SealPublicKey(
            self.key_id,
            MLKEM768X25519PublicKey(
                mlkem.MLKEM768PublicKey.from_public_bytes(self.mlkem768),
                X25519PublicKey.from_public_bytes(self.x25519),
            ),
        )


@dataclass(frozen=True, slots=True)
class IdentityKey:
    """One key for identities sealed on a code (credentials.md 4.1, claim 7)."""

    key_id: bytes  # 8 bytes: start of SHA-256 over the public key
    x25519: bytes

    @staticmethod
    def make(x25519: bytes) -> IdentityKey:
        """Name a public key by its digest."""
        return IdentityKey(hashlib.sha256(x25519).digest()[:8], x25519)

    def load(self) -> X25519PublicKey:
        """Turn it into a key that `seal_identity` takes."""
        return X25519PublicKey.from_public_bytes(self.x25519)


@dataclass(frozen=True, slots=True)
class VaultKeys:
    """The newest key stands first in each list; the others can still be opened by the vault."""

    issued_at_ms: int
    seal: tuple[SealKey, ...]
    identity: tuple[IdentityKey, ...]
    checkin: tuple[CheckinKey, ...] = ()  # empty: a vault from before there were check-ins by phone

    def to_signed(self, vault: Ed25519PrivateKey) -> bytes:
        """Sign as the vault. The result carries the vault's public signing key: `[public key, COSE_Sign1]`."""
        body = signed.sign(
            _PURPOSE,
            {
                1: self.issued_at_ms,
                2: [[k.key_id, k.mlkem768, k.x25519] for k in self.seal],
                3: [[k.key_id, k.x25519] for k in self.identity],
                **({4: [[k.key_id, k.point] for k in self.checkin]} if self.checkin else {}),
            },
            vault,
        )
        return cbor.encode([vault.public_key().public_bytes_raw(), body])

    @staticmethod
    def from_signed(data: bytes, fingerprint: bytes) -> VaultKeys:
        """Verify against the pinned *fingerprint* (16 bytes); raises ProtocolError."""
        public, body = _envelope(data)
        if vault_fingerprint(public) != fingerprint:
            raise ProtocolError("vault keys: signed by another vault than the pinned one", code="wrong_vault")
        f = signed.verify(_PURPOSE, body, public)
        issued = f.integer(1)
        seal, identity, checkin = f.take(2, list), f.take(3, list), f.maybe(4, list) or []
        f.done()
        if not seal or not identity:
            raise ProtocolError("vault keys: a list is empty", code="bad_list")
        return VaultKeys(
            issued,
            tuple(_seal_key(k) for k in seal),
            tuple(_identity_key(k) for k in identity),
            tuple(_checkin_key(k) for k in checkin),
        )


def vault_fingerprint(public: Ed25519PublicKey) -> bytes:
    """The 16 bytes by which a vault is pinned, printed and compared by people."""
    return hashlib.sha256(b"gatehouse vault 1" + public.public_bytes_raw()).digest()[:FINGERPRINT_BYTES]


def claimed_fingerprint(data: bytes) -> bytes:
    """The fingerprint of the vault that signed *data*, for the one moment when there is nothing to compare with."""
    return vault_fingerprint(_envelope(data)[0])


def _envelope(data: bytes) -> tuple[Ed25519PublicKey, bytes]:
    item = cbor.decode_strict(data)
    if not isinstance(item, list) or len(item) != 2 or not all(type(x) is bytes for x in item) or len(item[0]) != 32:
        raise ProtocolError("vault keys: not a public key and a signed list", code="bad_list")
    return Ed25519PublicKey.from_public_bytes(item[0]), item[1]


def _seal_key(value: object) -> SealKey:
    if isinstance(value, list) and len(value) == 3 and all(type(x) is bytes for x in value):
        key = SealKey.make(value[1], value[2])
        if len(value[1]) == _MLKEM768_BYTES and len(value[2]) == 32 and key.key_id == value[0]:
            return key
    raise ProtocolError("vault keys: a sealing key is malformed or misnamed", code="bad_key")


def _identity_key(value: object) -> IdentityKey:
    if isinstance(value, list) and len(value) == 2 and all(type(x) is bytes for x in value) and len(value[1]) == 32:
        key = IdentityKey.make(value[1])
        if key.key_id == value[0]:
            return key
    raise ProtocolError("vault keys: an identity key is malformed or misnamed", code="bad_key")


def _checkin_key(value: object) -> CheckinKey:
    if isinstance(value, list) and len(value) == 2 and all(type(x) is bytes for x in value):
        key = CheckinKey.make(value[1])
        if len(value[1]) == POINT_BYTES and key.key_id == value[0]:
            key.load()
            return key
    raise ProtocolError("vault keys: a check-in key is malformed or misnamed", code="bad_key")
