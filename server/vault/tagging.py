"""Reads of an opened record what the index needs and turns it into keyed tags; made for millions of records.

A record is judged in full when it is opened for somebody (opening.py). Here only the fields that become part of the
index are looked at, each with its type and bounds: this is what lets one core tag tens of thousands a second.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

from protocol import cbor
from protocol.credentials.identity import identity_info, open_identity
from protocol.errors import ProtocolError
from protocol.gist import quick_gist
from protocol.passage import PAD_TO, VENUE_ID_BYTES, Header, Personal
from protocol.sealing import EpochOpener
from protocol.words import CredentialKind, Direction, EntryMode, Outcome
from server.vault.index import CodeUse, Entry
from server.vault.keyfile import VaultSecrets
from server.vault.person import (
    DAY_MS,
    MAX_VALUE,
    PersonKind,
    code_key,
    place_key,
    tag_from,
    tag_of_code,
    tag_of_nobody,
    tag_of_text,
    tag_state,
)
from server.vault.quick import read_numbers
from server.vault.wire import SealedRecord

# A code lives 10 minutes at most, a door allows a minute either way (protocol/credentials/policy.py), and the clocks of
# two kiosks may lie two minutes apart before the server marks them.
REUSED_WITHIN_MS = (10 + 2 + 2) * 60_000
MAX_CACHED_PLACES = 20_000  # a venue on a day, and three keys for it
_MAX_SEALED_IDENTITY = 1024  # protocol/passage.py, as the other bounds below
_MAX_ID = 32
_OUT, _PHONE, _HEALTH_CODE, _ADMIT = (
    Direction.OUT.value,
    EntryMode.PHONE.value,
    CredentialKind.HEALTH_CODE.value,
    Outcome.ADMIT.value,
)
_ID, _TEL = PersonKind.ID_NUMBER, PersonKind.PHONE
_NUMBERS = ((2, _ID), (3, _TEL), (9, _TEL))  # fields of the personal part: ID number, phone, the helper's phone
Map = dict[int, object]


class Place(NamedTuple):
    """The keys of one venue on one day, and with the first two a state to copy for each tag."""

    id_numbers: bytes
    phones: bytes
    codes: bytes
    id_tags: hashlib.blake2b
    phone_tags: hashlib.blake2b


class Tagger:
    """Makes an index entry of each record. *in_full* reads a check-in by phone, which is wrapped once more."""

    def __init__(self, keys: VaultSecrets, in_full: Callable[[SealedRecord, bytes], tuple[Header, Personal]]) -> None:
        self._id_key, self._phone_key = keys.id_number_tags, keys.phone_tags
        self._code_key = code_key(keys.id_number_tags)
        self._identity_keys = [secret.load() for secret in keys.identity]
        self._in_full = in_full
        self._places: dict[tuple[bytes, int], Place] = {}

    def entry(self, record: SealedRecord, opener: EpochOpener) -> Entry:
        """Open *record* and tag everybody it names; raises ProtocolError when a part of it is not as agreed."""
        clear = opener.open(record.sequence, record.header, record.sealed)
        gist, numbers = quick_gist(record.header), read_numbers(clear)
        if gist is None or numbers is None or gist.mode == _PHONE:
            return self._thorough(record, clear)
        sequence, kiosk, venue, _, at_ms, _, direction, _, credential, _, _, outcome, _, _ = gist
        if sequence != record.sequence or kiosk != record.kiosk:
            raise ProtocolError("record: its header is of another record", code="foreign_header")
        id_number, phone, pseudonym, cti = numbers
        place = self._places.get((venue, at_ms // DAY_MS)) or self._new_place(venue, at_ms // DAY_MS)
        tags: tuple[bytes, ...]
        if id_number is not None or phone is not None:
            tags = tuple(
                [
                    tag_from(state, number)
                    for state, number in ((place.id_tags, id_number), (place.phone_tags, phone))
                    if number is not None
                ]
            )
        else:
            tags = (tag_of_nobody(place.id_numbers, kiosk, sequence),)
        codes: tuple[CodeUse, ...] = ()
        if cti and credential == _HEALTH_CODE:
            codes = self._uses(venue, at_ms, cti, pseudonym, outcome == _ADMIT)
        return Entry(tags, kiosk, sequence, record.epoch, venue, at_ms, direction == _OUT, codes)

    def _thorough(self, record: SealedRecord, clear: bytes) -> Entry:
        """The same of any record, by way of the decoder."""
        header, fields = _decoded(record, clear)
        venue, at_ms = header.get(4), header.get(6)
        if (
            header.get(1) != 1
            or header.get(2) != record.sequence
            or header.get(3) != record.kiosk
            or type(venue) is not bytes
            or len(venue) != VENUE_ID_BYTES
            or type(at_ms) is not int
            or not -(2**53) <= at_ms <= 2**53
        ):
            raise ProtocolError("record: its header is of another record", code="foreign_header")
        place = self._places.get((venue, at_ms // DAY_MS)) or self._new_place(venue, at_ms // DAY_MS)
        tags: list[bytes] = []
        for kind, text in self._named(record, clear, header, fields):
            if type(text) is not str or len(text) > MAX_VALUE:
                raise ProtocolError("personal part: a number is not a short text", code="bad_field")
            tag = tag_of_text(place.id_numbers if kind is _ID else place.phones, kind, text)
            if tag is not None and tag not in tags:
                tags.append(tag)
        if not tags:
            tags.append(tag_of_nobody(place.id_numbers, record.kiosk, record.sequence))
        codes: tuple[CodeUse, ...] = ()
        if 5 in fields and header.get(12) == _HEALTH_CODE:
            cti, pseudonym = _id(fields[5]), _id(fields.get(4))
            codes = self._uses(venue, at_ms, cti, pseudonym, header.get(15) == _ADMIT) if cti else ()
        is_out = header.get(10) == _OUT
        return Entry(tuple(tags), record.kiosk, record.sequence, record.epoch, venue, at_ms, is_out, codes)

    def _named(
        self, record: SealedRecord, clear: bytes, header: Map, fields: Map
    ) -> Sequence[tuple[PersonKind, object]]:
        """Everybody the passage names; a helper by phone was there as well."""
        if header.get(11) == _PHONE:
            _, person = self._in_full(record, clear)
            found = ((_ID, person.id_number), (_TEL, person.phone), (_TEL, person.helper_phone))
            return [(kind, text) for kind, text in found if text is not None]
        named = [(kind, fields[number]) for number, kind in _NUMBERS if number in fields]
        return [*named, *self._on_code(fields)] if 6 in fields else named

    def _new_place(self, venue: bytes, day: int) -> Place:
        if len(self._places) >= MAX_CACHED_PLACES:
            self._places.clear()
        id_place, phone_place, code_place = (
            place_key(key, venue, day) for key in (self._id_key, self._phone_key, self._code_key)
        )
        place = Place(id_place, phone_place, code_place, tag_state(id_place, _ID), tag_state(phone_place, _TEL))
        self._places[venue, day] = place
        return place

    def _on_code(self, fields: Map) -> Sequence[tuple[PersonKind, object]]:
        """Whom the issuer sealed on the code; nobody when that does not open, as when it is looked at."""
        sealed, cti, pseudonym = fields[6], fields.get(5), fields.get(4)
        if type(sealed) is not bytes or len(sealed) > _MAX_SEALED_IDENTITY:
            raise ProtocolError("personal part: field 6 is not as agreed", code="bad_field")
        info = identity_info(_id(cti) or b"", _id(pseudonym))
        for private in self._identity_keys:
            try:
                identity = open_identity(sealed, private, info=info)
            except ProtocolError:
                continue
            return [(kind, text) for kind, text in ((_ID, identity.id_number), (_TEL, identity.phone)) if text]
        return ()

    def _uses(
        self, venue: bytes, at_ms: int, cti: bytes, pseudonym: bytes | None, is_admitted: bool
    ) -> tuple[CodeUse, ...]:
        """The use of a dynamic code, under the tag of its venue and day; near midnight under that of both days."""
        uses = []
        for day in sorted({at_ms // DAY_MS, (at_ms + REUSED_WITHIN_MS) // DAY_MS}):
            place = self._places.get((venue, day)) or self._new_place(venue, day)
            uses.append(CodeUse(tag_of_code(place.codes, cti, pseudonym), day, is_admitted))
        return tuple(uses)


def _decoded(record: SealedRecord, clear: bytes) -> tuple[Map, Map]:
    """The maps of the header and of the personal part; the second is empty for a check-in by phone."""
    plain = clear.rstrip(b"\x00")
    is_padded = plain.endswith(b"\x80") and not len(clear) % PAD_TO and len(clear) - len(plain) < PAD_TO
    if is_padded:
        try:  # both in one call of the decoder, which costs more than what it decodes
            both = cbor.decode_strict(b"\x82" + record.header + plain[:-1])
        except cbor.CborError:
            both = None
        if type(both) is list and type(both[0]) is dict and type(both[1]) is dict:
            return both[0], both[1]
    header = cbor.decode_strict(record.header)
    if type(header) is dict and header.get(11) == _PHONE:
        return header, {}
    raise ProtocolError("personal part: not as agreed", code="bad_field" if is_padded else "bad_padding")


def _id(value: object) -> bytes | None:
    if value is None:
        return None
    if type(value) is not bytes or len(value) > _MAX_ID:
        raise ProtocolError("personal part: an id is not at most 32 bytes", code="bad_field")
    return value
