"""Name, ID number and phone on a code, in as few bytes as it takes, sealed so that only the vault can read them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from protocol.cbor import CborError, decode_strict, encode
from protocol.errors import ProtocolError

INFO: Final = b"gatehouse identity 1"
MAX_NAME_CHARS: Final = 40
MAX_NUMBER_CHARS: Final = 30
# One QR version cheaper than the hybrid suite, whose key part alone has over 1,100 bytes (credentials.md 4.2)
_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
_WEIGHTS: Final = tuple(2**power % 11 for power in range(17, 0, -1))  # GB 11643-1999: ISO 7064 MOD 11-2
_CHECK_DIGITS: Final = "10X98765432"


class IdentityError(ProtocolError):
    """An identity that cannot be packed, or a sealed one that does not open."""

    code = "identity"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is. Never printed: `repr` shows nothing of it."""

    name: str = field(repr=False)
    id_number: str = field(repr=False)  # 18 digits (last may be X), or a foreign document's number as text
    phone: str = field(repr=False)  # E.164 with +, or empty


def check_digit(first_17: str) -> str:
    """The 18th character of a resident identity number (GB 11643-1999) for its first 17 digits."""
    return _CHECK_DIGITS[sum(int(digit) * weight for digit, weight in zip(first_17, _WEIGHTS, strict=True)) % 11]


def pack(identity: Identity) -> bytes:
    """The compact record: [name, first 17 digits as a number, phone as a number]; 29 bytes for a three-character name.

    The check digit is left out and worked out again. A number that is not 18 digits with a right check digit, or starts
    with 0, stays text; so does a phone number that is not E.164. Raises IdentityError for empty or overlong fields.
    """
    if not 0 < len(identity.name) <= MAX_NAME_CHARS or not 0 < len(identity.id_number) <= MAX_NUMBER_CHARS:
        raise IdentityError("A name has 1 to 40 characters and a document number 1 to 30.")
    if len(identity.phone) > MAX_NUMBER_CHARS:
        raise IdentityError("A phone number has at most 30 characters.")
    return encode([identity.name, _packed_number(identity.id_number), _packed_phone(identity.phone)])


def _packed_number(number: str) -> int | str:
    body, last = number[:17], number[17:]
    if len(number) == 18 and body.isascii() and body.isdigit() and body[0] != "0" and check_digit(body) == last:
        return int(body)
    return number


def _packed_phone(phone: str) -> int | str:
    digits = phone[1:]
    if phone[:1] == "+" and digits.isascii() and digits.isdigit() and digits[0] != "0" and len(digits) <= 15:
        return int(digits)
    return phone


def unpack(record: bytes) -> Identity:
    """The reverse of `pack`. Raises IdentityError for anything `pack` does not make."""
    try:
        item = decode_strict(record, max_depth=2, max_bytes=512)
    except CborError as error:
        raise IdentityError("The identity record is malformed.") from error
    if not isinstance(item, list) or len(item) != 3 or not isinstance(item[0], str):
        raise IdentityError("The identity record is malformed.")
    name, number, phone = item
    if type(number) is int and 10**16 <= number < 10**17:
        body = str(number)
        number = body + check_digit(body)
    if type(phone) is int and 0 < phone < 10**15:
        phone = f"+{phone}"
    if not isinstance(number, str) or not isinstance(phone, str):
        raise IdentityError("The identity record is malformed.")
    identity = Identity(name, number, phone)
    if pack(identity) != record:
        raise IdentityError("The identity record is not in its one form.")
    return identity


def identity_info(cti: bytes, pseudonym: bytes | None) -> bytes:
    """What the sealing is bound to: this one code, so that a sealed identity cut out of it opens nowhere else.

    Both parts carry their length, so that no two codes share an info.
    """
    pseudonym = pseudonym or b""
    return INFO + bytes((len(cti),)) + cti + bytes((len(pseudonym),)) + pseudonym


def seal_identity(identity: Identity, vault_key: X25519PublicKey, *, info: bytes) -> bytes:
    """Seal for the vault: HPKE (RFC 9180), X25519, HKDF-SHA256, ChaCha20-Poly1305; 48 bytes longer than the record.

    The only function here that draws randomness, inside `cryptography`: HPKE's sender takes none from us.
    """
    return _SUITE.encrypt(pack(identity), vault_key, info)


def open_identity(sealed: bytes, vault_key: X25519PrivateKey, *, info: bytes) -> Identity:
    """Open what `seal_identity` made. Raises IdentityError, and nothing else, when key, info or bytes are other."""
    try:
        record = _SUITE.decrypt(sealed, vault_key, info)
    except (InvalidTag, ValueError) as error:
        raise IdentityError("The sealed identity does not open with this key for this code.") from error
    return unpack(record)
