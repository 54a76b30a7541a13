"""Signed CBOR messages of our own: COSE_Sign1 with Ed25519, each bound to its purpose so none passes as another."""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocol import cbor, cose
from protocol.errors import ProtocolError
from protocol.fields import Fields

KEY_ID_BYTES = 8


def key_id(public_key: Ed25519PublicKey) -> bytes:
    """The 8-byte id of a key: the start of SHA-256 over its 32 raw bytes. A kiosk's id is its device key's id."""
    return hashlib.sha256(public_key.public_bytes_raw()).digest()[:KEY_ID_BYTES]


def sign(purpose: str, fields: dict[int, object], key: Ed25519PrivateKey) -> bytes:
    """Sign a map for one *purpose*, for example "exchange request 1"; the purpose is authenticated, not sent."""
    return cose.sign1(
        cbor.encode(fields), key, alg=cose.Alg.EDDSA, kid=key_id(key.public_key()), external_aad=_aad(purpose)
    )


def signer_of(data: bytes) -> bytes:
    """The key id a message claims to be signed with; believe nothing else of it before `verify`."""
    kid = cose.parse1(data).kid
    if kid is None or len(kid) != KEY_ID_BYTES:
        raise ProtocolError("signed message: it does not name its key", code="no_key_id")
    return kid


def verify(purpose: str, data: bytes, key: Ed25519PublicKey) -> Fields:
    """Verify a message made by `sign` for the same *purpose*; returns its fields. Raises ProtocolError."""
    payload = cose.verify1(data, key, alg=cose.Alg.EDDSA, external_aad=_aad(purpose))
    return Fields(cbor.decode_strict(payload), purpose)


def _aad(purpose: str) -> bytes:
    return b"gatehouse " + purpose.encode("ascii")
