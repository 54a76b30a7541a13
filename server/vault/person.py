"""The person a query asks for: normalised, sealed to the vault, and turned into keyed tags inside it."""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from protocol import cbor
from protocol.errors import ProtocolError
from protocol.query import person_info
from protocol.vault_keys import IdentityKey

TAG_BYTES = 16
DAY_MS = 86_400_000
MAX_VALUE = 32  # characters of an ID number or phone, as in the personal part
_IN_NORMAL_FORM = {
    kind: re.compile(form) for kind, form in (("id_number", "[0-9A-Z]{4,32}"), ("phone", r"\+[0-9]{3,31}"))
}
_PAD_TO = 64  # so that the length does not tell a phone from an ID number
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


class PersonKind(Enum):
    """By what a person is looked up."""

    ID_NUMBER = "id_number"
    PHONE = "phone"


@dataclass(frozen=True, slots=True)
class Person:
    """One ID number or phone in its one normal form; never in a `repr`, a log or a table."""

    kind: PersonKind
    value: str = field(repr=False)

    @staticmethod
    def make(kind: PersonKind, text: str) -> Person | None:
        """Normalise *text*: full-width forms, spaces and hyphens are one thing, letters count as capitals.

        None when nothing sensible is left. A phone is expected in E.164; one of 11 digits that begins with 1 is a
        mobile number of the mainland (+86).
        """
        if _IN_NORMAL_FORM[kind._value_].fullmatch(text):  # nearly all that is indexed; the rest changes nothing of it
            return Person(kind, text)
        value = "".join(c for c in unicodedata.normalize("NFKC", text).upper() if c.isalnum() or c == "+")
        if kind is PersonKind.PHONE:
            digits = value.lstrip("+")
            if not digits.isascii() or not digits.isdecimal():
                return None
            if value.startswith("00"):
                value = f"+{digits[2:]}"
            elif len(digits) == 11 and digits.startswith("1") and not value.startswith("+"):
                value = f"+86{digits}"
            else:
                value = f"+{digits}"
        if not 4 <= len(value) <= MAX_VALUE:
            return None
        return Person(kind, value)

    def tag(self, key: bytes, venue: bytes, at_ms: int) -> bytes:
        """The keyed tag of this person at one venue on one UTC day.

        Bound to both, so that a stolen index cannot tie a person's days or venues together.
        """
        return self.tag_under(place_key(key, venue, at_ms // DAY_MS))

    def tag_under(self, place: bytes) -> bytes:
        """The keyed tag at the venue and day of *place* (`place_key`): keyed BLAKE2b (RFC 7693), 16 bytes."""
        return _tag(place, self.kind._value_, self.value)

    def log_tag(self, key: bytes) -> bytes:
        """How the access log names this person: the same for each look-up, and telling nothing without the key."""
        return _mac(key, [self.kind.value, self.value])


def tag_of_text(place: bytes, kind: PersonKind, text: str) -> bytes | None:
    """`Person.make` and `tag_under` in one, for millions; None where `make` gives None."""
    if _IN_NORMAL_FORM[kind._value_].fullmatch(text):
        return _tag(place, kind._value_, text)
    person = Person.make(kind, text)
    return None if person is None else person.tag_under(place)


def _tag(place: bytes, kind: str, value: str) -> bytes:
    return hashlib.blake2b(f"{kind} {value}".encode(), digest_size=TAG_BYTES, key=place).digest()


def tag_state(place: bytes, kind: PersonKind) -> hashlib.blake2b:
    """A state to copy for each tag of *kind* at the venue and day of *place*; then comes the number in normal form."""
    return hashlib.blake2b(f"{kind._value_} ".encode(), digest_size=TAG_BYTES, key=place)


def tag_from(state: hashlib.blake2b, number: bytes) -> bytes:
    """The tag of *number*, in normal form, from a `tag_state`; what `Person.tag_under` makes."""
    one = state.copy()
    one.update(number)
    return one.digest()


def place_key(key: bytes, venue: bytes, day: int) -> bytes:
    """The key of all tags of one kind at one venue on one UTC day (counted from 1970): drawn once, used for many."""
    return hmac.digest(key, b"gatehouse place 1" + venue + day.to_bytes(8, "big", signed=True), "sha256")


def code_key(id_number_tags: bytes) -> bytes:
    """The key of codes' tags, drawn from that of ID numbers: what one tells opens nothing of the other."""
    return hmac.digest(id_number_tags, b"gatehouse code tags 1", "sha256")


def tag_of_code(place: bytes, cti: bytes, pseudonym: bytes | None) -> bytes:
    """The keyed tag of one dynamic code at the venue and day of *place* (`place_key` of `code_key`).

    Bound to both, so that a stolen index cannot tie a person's ways together.
    """
    return hashlib.blake2b(
        bytes([len(cti)]) + cti + (pseudonym or b""), digest_size=TAG_BYTES, key=place, person=b"code"
    ).digest()


def tag_of_nobody(place: bytes, kiosk: bytes, sequence: int) -> bytes:
    """What stands in a tag's place for a passage that names nobody: it was there, and is like no other."""
    item = kiosk + sequence.to_bytes(8, "big")
    return hashlib.blake2b(item, digest_size=TAG_BYTES, key=place, person=b"nobody").digest()


def seal_person(person: Person, query_id: bytes, key: IdentityKey) -> bytes:
    """Seal *person* for one query to the vault: `key id (8) | HPKE`."""
    clear = cbor.encode([person.kind.value, person.value])
    padded = clear + b"\x80" + bytes(-(len(clear) + 1) % _PAD_TO)
    return key.key_id + _SUITE.encrypt(padded, key.load(), info=person_info(query_id))


def open_person(sealed: bytes, query_id: bytes, keys: Iterable[tuple[bytes, X25519PrivateKey]]) -> Person:
    """Open what `seal_person` made; raises ProtocolError when it was made for another vault or another query."""
    for key_id, private in keys:
        if sealed[: len(key_id)] != key_id:
            continue
        try:
            clear = _SUITE.decrypt(sealed[len(key_id) :], private, info=person_info(query_id)).rstrip(b"\x00")
        except InvalidTag:
            break
        item = cbor.decode_strict(clear[:-1])
        if isinstance(item, list) and len(item) == 2 and all(isinstance(part, str) for part in item):
            kinds = {kind.value: kind for kind in PersonKind}
            person = Person.make(kinds[item[0]], item[1]) if item[0] in kinds else None
            if person is not None:
                return person
        break
    raise ProtocolError("query: its person was not sealed to this vault for this query", code="bad_person")


def _mac(key: bytes, parts: list[object]) -> bytes:
    return hmac.digest(key, cbor.encode(parts), "sha256")[:TAG_BYTES]
