"""Seals the personal part of each passage so that nobody at the entrance can read it back (plan, section 4).

One epoch is the life of one sealing key: 32 random bytes that exist in RAM only and are wrapped with HPKE to the
vault. Records are sealed with ChaCha20-Poly1305, the sequence number as nonce and the header as associated data.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from protocol.errors import ProtocolError

EPOCH_ID_BYTES = 16
EPOCH_KEY_BYTES = 32
SUITE_HYBRID = 1  # MLKEM768-X25519 (draft-ietf-hpke-pq), HKDF-SHA256, ChaCha20-Poly1305
SEAL_KEY_ID_BYTES = 8
WRAPPED_BYTES = 1 + SEAL_KEY_ID_BYTES + 1120 + EPOCH_KEY_BYTES + 16  # suite, key id, enc, key, tag

_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


def _info(kiosk: bytes, epoch: bytes) -> bytes:
    return b"gatehouse epoch 1" + kiosk + epoch


def _nonce(sequence: int) -> bytes:
    return sequence.to_bytes(12, "big")


def _associated(epoch: bytes, header: bytes) -> bytes:
    return b"gatehouse record 1" + epoch + header


@dataclass(frozen=True, slots=True)
class SealPublicKey:
    """The vault's public key for epochs, with the id it is known by (8 bytes)."""

    key_id: bytes
    key: MLKEM768X25519PublicKey


@dataclass(frozen=True, slots=True)
class SealPrivateKey:
    """The vault's private key for epochs; lives in the vault process only."""

    key_id: bytes
    key: MLKEM768X25519PrivateKey


class EpochSealer:
    """Seals the records of one epoch on the kiosk; each sequence number at most once, and only upwards.

    *random* is 48 fresh random bytes: 16 become the epoch's public id, 32 its key. Whoever lets a commit fail must
    drop the sealer and start another epoch, so that no key and nonce ever meet twice.
    """

    def __init__(self, kiosk: bytes, vault: SealPublicKey, random: bytes) -> None:
        if len(random) != EPOCH_ID_BYTES + EPOCH_KEY_BYTES:
            raise ValueError(f"an epoch needs {EPOCH_ID_BYTES + EPOCH_KEY_BYTES} random bytes, got {len(random)}")
        self.epoch, key = random[:EPOCH_ID_BYTES], random[EPOCH_ID_BYTES:]
        self.wrapped = (
            bytes([SUITE_HYBRID]) + vault.key_id + _SUITE.encrypt(key, vault.key, info=_info(kiosk, self.epoch))
        )
        self._aead = ChaCha20Poly1305(key)
        self._last = 0

    def seal(self, sequence: int, header: bytes, personal: bytes) -> bytes:
        """Seal *personal* (empty for an event); raises ValueError when *sequence* was used or passed before."""
        if sequence <= self._last:
            raise ValueError(f"sequence {sequence} was already sealed in this epoch (last {self._last})")
        self._last = sequence
        if not personal:
            return b""
        return self._aead.encrypt(_nonce(sequence), personal, _associated(self.epoch, header))


@dataclass(frozen=True, slots=True)
class EpochOpener:
    """Opens the records of one epoch in the vault."""

    epoch: bytes
    _aead: ChaCha20Poly1305 = field(repr=False)

    @staticmethod
    def unwrap(kiosk: bytes, epoch: bytes, wrapped: bytes, keys: dict[bytes, SealPrivateKey]) -> EpochOpener:
        """Unwrap an epoch's key; *keys* are the vault's, by key id.

        Raises ProtocolError `unknown_suite`, `unknown_vault_key` or `not_sealed_to_us`.
        """
        if len(wrapped) != WRAPPED_BYTES:
            raise ProtocolError(f"wrapped key: {len(wrapped)} bytes, expected {WRAPPED_BYTES}", code="bad_length")
        if wrapped[0] != SUITE_HYBRID:
            raise ProtocolError(f"wrapped key: suite {wrapped[0]} is not known", code="unknown_suite")
        private = keys.get(wrapped[1 : 1 + SEAL_KEY_ID_BYTES])
        if private is None:
            raise ProtocolError(
                "wrapped key: made for a vault key that this vault does not hold", code="unknown_vault_key"
            )
        try:
            key = _SUITE.decrypt(wrapped[1 + SEAL_KEY_ID_BYTES :], private.key, info=_info(kiosk, epoch))
        except InvalidTag as error:
            raise ProtocolError("wrapped key: changed, or made for another kiosk", code="not_sealed_to_us") from error
        return EpochOpener(epoch, ChaCha20Poly1305(key))

    def open(self, sequence: int, header: bytes, sealed: bytes) -> bytes:
        """Open one record; raises ProtocolError `changed` when any of its parts was altered or swapped."""
        try:
            return self._aead.decrypt(_nonce(sequence), sealed, _associated(self.epoch, header))
        except InvalidTag as error:
            raise ProtocolError(f"record {sequence}: header or sealed part was changed", code="changed") from error
