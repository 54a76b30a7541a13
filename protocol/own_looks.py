"""How a resident asks the vault who looked at theirs: a word that only they know, sealed in their browser each time."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from protocol.checkin import KEY_ID_BYTES, POINT_BYTES, open_sealed
from protocol.errors import ProtocolError

CHALLENGE_BYTES: Final = 16  # drawn by the vault, good for one question
WORD_BYTES: Final = 128  # padded, so that the length of the word does not show
SEALED_WORD_BYTES: Final = KEY_ID_BYTES + POINT_BYTES + WORD_BYTES + 16
MIN_WORD_CHARS: Final = 8
MAX_WORD_CHARS: Final = 40
_INFO: Final = b"gatehouse own looks 1"


def word_info(challenge: bytes) -> bytes:
    """HPKE's info: a sealed word answers one challenge only."""
    return _INFO + challenge


def open_word(sealed: bytes, challenge: bytes, keys: dict[bytes, ec.EllipticCurvePrivateKey]) -> str:
    """Open what a browser sealed, `key id (8) | enc (65) | ciphertext` (RFC 9180, suite of protocol/checkin.py).

    The word is UTF-8, one 0x80, zeros. Raises ProtocolError.
    """
    private = keys.get(sealed[:KEY_ID_BYTES])
    if private is None or len(sealed) != SEALED_WORD_BYTES:
        raise ProtocolError("word: not sealed to a key of this vault", code="not_sealed_to_us")
    clear = open_sealed(sealed[KEY_ID_BYTES:], private, info=word_info(challenge)).rstrip(b"\x00")
    try:
        word = clear[:-1].decode("utf-8") if clear.endswith(b"\x80") else ""
    except UnicodeDecodeError:
        word = ""
    if not MIN_WORD_CHARS <= len(word) <= MAX_WORD_CHARS:
        raise ProtocolError(f"word: it has {MIN_WORD_CHARS} to {MAX_WORD_CHARS} characters", code="bad_word")
    return word
