"""A check-in by phone: what a browser seals to the vault, and the ticket that ties it to one poster and a short time.

The browser has only what WebCrypto gives it, so the suite is RFC 9180's DHKEM(P-256, HKDF-SHA256), HKDF-SHA256,
AES-128-GCM, base mode, one shot, empty associated data; the ticket stands in HPKE's *info*. Every sealed person has the
same length, so that it does not tell who came with a child.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from protocol import cbor
from protocol.credentials.venue_code import CHECK_ALPHABET
from protocol.errors import ProtocolError
from protocol.passage import PAD_TO, VENUE_ID_BYTES, Header, Personal
from protocol.words import EntryMode

TICKET_LIFE_MS: Final = 15 * 60_000  # from the page to the press of the button
PLAIN_BYTES: Final = 512
KEY_ID_BYTES: Final = 8
POINT_BYTES: Final = 65  # SEC 1 uncompressed, as WebCrypto's "raw"
SEALED_BYTES: Final = KEY_ID_BYTES + POINT_BYTES + PLAIN_BYTES + 16  # key id, enc, ciphertext, tag
NONCE_BYTES: Final = 16
SEALED_ON_ARRIVAL: Final = "sealed_on_arrival"  # in the header's `degraded`: the server saw it before it was sealed
RELATIONS: Final = ("child", "parent", "other")  # who is registered by a helper, seen from the helper
REFERENCE_CHARS: Final = 7
_RANDOM_CHARS: Final = 5
_INFO: Final = b"gatehouse check-in 1"
_SUITE: Final = Suite(KEM.P256, KDF.HKDF_SHA256, AEAD.AES_128_GCM)


@dataclass(frozen=True, slots=True)
class Ticket:
    """What the server hands out with the form. It is no secret; the server's own tag over it is not part of it."""

    venue: bytes
    entrance: int
    serial: int  # of the venue code that was scanned
    issued_ms: int
    nonce: bytes  # 16 bytes: the same ticket twice is one check-in
    notice: str  # the version of the notice that was shown, and agreed to by sending

    def to_bytes(self) -> bytes:
        """The bytes that a browser puts into HPKE's info, as they are."""
        return cbor.encode([1, self.venue, self.entrance, self.serial, self.issued_ms, self.nonce, self.notice])

    @staticmethod
    def from_bytes(data: bytes) -> Ticket:
        """Decode; raises ProtocolError for anything that `to_bytes` could not have written."""
        item = cbor.decode_strict(data, max_bytes=256)
        if (
            isinstance(item, list)
            and len(item) == 7
            and item[0] == 1
            and type(item[1]) is bytes
            and len(item[1]) == VENUE_ID_BYTES
            and all(type(number) is int for number in item[2:5])
            and 0 <= item[2] < 2**16
            and 0 <= item[3] < 2**32
            and 0 <= item[4] < 2**53
            and type(item[5]) is bytes
            and len(item[5]) == NONCE_BYTES
            and type(item[6]) is str
            and len(item[6]) <= 32
        ):
            return Ticket(*item[1:])
        raise ProtocolError("ticket: not of a check-in", code="bad_ticket")

    def holds(self, at_ms: int) -> bool:
        """Whether a check-in with it may be dated *at_ms*."""
        return 0 <= at_ms - self.issued_ms <= TICKET_LIFE_MS


@dataclass(frozen=True, slots=True)
class CheckinKey:
    """The vault's public key for browsers."""

    key_id: bytes  # 8 bytes: start of SHA-256 over the point
    point: bytes  # 65 bytes

    @staticmethod
    def make(point: bytes) -> CheckinKey:
        """Name a public key by its digest."""
        return CheckinKey(hashlib.sha256(point).digest()[:KEY_ID_BYTES], point)

    def load(self) -> ec.EllipticCurvePublicKey:
        """The key; raises ProtocolError when the bytes are no point of P-256."""
        try:
            return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), self.point)
        except ValueError as error:
            raise ProtocolError("check-in key: not a point of P-256", code="bad_key") from error


@dataclass(frozen=True, slots=True)
class Checkin:
    """What stands where a kiosk's passage has its personal part: the ticket, and the person as a browser sealed it."""

    ticket: Ticket
    sealed: bytes  # SEALED_BYTES

    def to_bytes(self) -> bytes:
        """As the server seals it once more, with the key of its epoch."""
        return cbor.encode([self.ticket.to_bytes(), self.sealed])

    @staticmethod
    def from_bytes(data: bytes) -> Checkin:
        """Decode; raises ProtocolError."""
        item = cbor.decode_strict(data, max_bytes=2048)
        if (
            isinstance(item, list)
            and len(item) == 2
            and all(type(part) is bytes for part in item)
            and len(item[1]) == SEALED_BYTES
        ):
            return Checkin(Ticket.from_bytes(item[0]), item[1])
        raise ProtocolError("check-in: not a ticket and a sealed person", code="bad_checkin")

    def check_belongs(self, header: Header) -> None:
        """Raise ProtocolError unless *header* is of a check-in by phone at the ticket's entrance, in its time."""
        place = header.place
        if header.facts is None or header.facts.mode is not EntryMode.PHONE:
            raise ProtocolError("check-in: its header is not of a phone", code="foreign_header")
        if (place.venue, place.entrance) != (self.ticket.venue, self.ticket.entrance):
            raise ProtocolError("check-in: made at another entrance", code="foreign_header")
        if not self.ticket.holds(header.stamp.at_ms):
            raise ProtocolError("check-in: made at another time", code="foreign_header")

    def open(self, keys: dict[bytes, ec.EllipticCurvePrivateKey]) -> Personal:
        """Open the person, in the vault; *keys* by key id. Raises ProtocolError."""
        private = keys.get(self.sealed[:KEY_ID_BYTES])
        if private is None:
            raise ProtocolError("check-in: sealed to a key that this vault does not hold", code="unknown_vault_key")
        clear = open_sealed(self.sealed[KEY_ID_BYTES:], private, info=checkin_info(self.ticket))
        return person_from(clear)


def checkin_info(ticket: Ticket) -> bytes:
    """HPKE's info: a sealed person cut out of one check-in opens in no other."""
    return _INFO + ticket.to_bytes()


def pad_person(person: Personal) -> bytes:
    """The PLAIN_BYTES that are sealed: the personal part, filled with zeros. Raises ProtocolError when it is longer."""
    plain = person.to_bytes()
    if len(plain) > PLAIN_BYTES:
        raise ProtocolError("check-in: the person has too many letters", code="too_long")
    return plain.ljust(PLAIN_BYTES, b"\x00")


def person_from(clear: bytes) -> Personal:
    """Undo `pad_person`. Anybody can seal anything, so only what a form asks for is taken; raises ProtocolError.

    A sealed identity above all: one that was photographed off somebody's code must not name them here.
    """
    plain = clear.rstrip(b"\x00")
    if len(clear) != PLAIN_BYTES or not plain:
        raise ProtocolError("check-in: its padding is not as agreed", code="bad_padding")
    person = Personal.from_bytes(plain + bytes(-len(plain) % PAD_TO))
    asked = Personal(
        name=person.name,
        phone=person.phone,
        helper_name=person.helper_name,
        helper_phone=person.helper_phone,
        relation=person.relation,
    )
    if person != asked or not (person.name or person.phone) or person.relation not in (None, *RELATIONS):
        raise ProtocolError("check-in: holds what its form does not ask", code="not_asked")
    return person


def seal_person(person: Personal, ticket: Ticket, key: CheckinKey) -> Checkin:
    """Seal on the server what a browser could not seal; raises ProtocolError."""
    return Checkin(ticket, key.key_id + _SUITE.encrypt(pad_person(person), key.load(), checkin_info(ticket)))


def open_sealed(sealed: bytes, private: ec.EllipticCurvePrivateKey, *, info: bytes) -> bytes:
    """Open `enc | ciphertext` that a browser sealed with *info*; raises ProtocolError `not_sealed_to_us`."""
    try:
        return _SUITE.decrypt(sealed, private, info)
    except (InvalidTag, ValueError) as error:
        raise ProtocolError("check-in: changed, or sealed for something else", code="not_sealed_to_us") from error


def make_reference(word_key: bytes, day: str, random: bytes) -> str:
    """Seven characters that stand for one check-in on one *day* (ISO date): five drawn, two that prove them.

    *random* is 8 fresh random bytes; *word_key* is the venue's (protocol/bundle.py), so its kiosks can check the last
    two without a network. They say that our server made the reference for this venue today, and nothing of a person.
    """
    number = int.from_bytes(random, "big")
    drawn = ""
    for _ in range(_RANDOM_CHARS):
        number, place = divmod(number, len(CHECK_ALPHABET))
        drawn += CHECK_ALPHABET[place]
    return drawn + _proof(word_key, day, drawn)


def clean_reference(text: str) -> str:
    """A reference as somebody typed it, in its one form; empty when it cannot be one."""
    found = "".join(c for c in text.upper() if c not in " -·")
    return found if len(found) == REFERENCE_CHARS and set(found) <= set(CHECK_ALPHABET) else ""


def reference_holds(word_key: bytes, day: str, reference: str) -> bool:
    """Whether *reference* (as `clean_reference` gives it) was made for this venue and day; a guess holds 1 in 529."""
    drawn, proof = reference[:_RANDOM_CHARS], reference[_RANDOM_CHARS:]
    return hmac.compare_digest(_proof(word_key, day, drawn), proof)


def _proof(word_key: bytes, day: str, drawn: str) -> str:
    mac = hmac.digest(word_key, f"gatehouse check-in reference 1 {day} {drawn}".encode(), "sha256")
    first, second = divmod(int.from_bytes(mac[:8], "big") % len(CHECK_ALPHABET) ** 2, len(CHECK_ALPHABET))
    return CHECK_ALPHABET[first] + CHECK_ALPHABET[second]
