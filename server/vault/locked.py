"""Bytes under a passphrase: Argon2id stretches it, ChaCha20-Poly1305 encrypts.

The form is CBOR `{1: what it holds, 2: salt, 3: [iterations, memory KiB, lanes], 4: nonce, 5: ciphertext}`; the first
three are the associated data of the last.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from protocol import cbor
from protocol.errors import ProtocolError
from protocol.fields import Fields

_ARGON2 = (3, 65536, 4)  # RFC 9106 section 4, second recommended option: 3 iterations, 64 MiB, 4 lanes
_MAX_ARGON2 = (10, 1024 * 1024, 16)  # what a file may ask of us: a changed one must not eat the machine
_SALT_BYTES = 16
_NONCE_BYTES = 12  # RFC 8439
_KEY_BYTES = 32


def lock(clear: bytes, passphrase: bytes, what: str) -> bytes:
    """Encrypt *clear*; *what* names its kind and has to be named again when it is opened."""
    salt, nonce = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_NONCE_BYTES)
    key = _stretch(passphrase, salt, _ARGON2)
    sealed = ChaCha20Poly1305(key).encrypt(nonce, clear, _head(what, salt, _ARGON2))
    return cbor.encode({1: what, 2: salt, 3: list(_ARGON2), 4: nonce, 5: sealed})


def unlock(data: bytes, passphrase: bytes, what: str) -> bytes:
    """Undo `lock`. Raises ProtocolError: `wrong_passphrase` when it does not open, else for a damaged form."""
    f = Fields(cbor.decode_strict(data), what)
    name, salt, cost = f.text(1), f.octets(2, exactly=_SALT_BYTES), f.take(3, list)
    nonce, sealed = f.octets(4, exactly=_NONCE_BYTES), f.octets(5)
    f.done()
    if name != what or len(cost) != 3 or not all(type(c) is int for c in cost):
        raise ProtocolError(f"{what}: the file is not of this kind or version", code="bad_format")
    if any(not 1 <= c <= most for c, most in zip(cost, _MAX_ARGON2, strict=True)):
        raise ProtocolError(f"{what}: its Argon2 figures are out of bounds", code="bad_format")
    try:
        return ChaCha20Poly1305(_stretch(passphrase, salt, cost)).decrypt(nonce, sealed, _head(what, salt, cost))
    except InvalidTag:
        raise ProtocolError(
            f"{what}: the passphrase is another one, or the file was changed", code="wrong_passphrase"
        ) from None
    except ValueError as error:
        raise ProtocolError(f"{what}: {error}", code="bad_format") from error


def _head(what: str, salt: bytes, cost: Sequence[int]) -> bytes:
    return cbor.encode([what, salt, list(cost)])


def _stretch(passphrase: bytes, salt: bytes, cost: Sequence[int]) -> bytes:
    iterations, memory_kib, lanes = cost
    kdf = Argon2id(salt=salt, length=_KEY_BYTES, iterations=iterations, lanes=lanes, memory_cost=memory_kib)
    return kdf.derive(passphrase)
