"""Status lists: colours, suspensions and revocations of thousands of codes in a few signed kilobytes."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Final, Literal

from protocol.cbor import CborError, decode_strict, encode
from protocol.cose import CoseError, PrivateKey, parse1, sign1, verify1
from protocol.errors import ProtocolError
from protocol.trust import STATUS_LIST_USE, TrustList
from protocol.words import Colour

MAX_SIGNED_BYTES: Final = 4 * 1024 * 1024
MAX_UNPACKED_BYTES: Final = 4 * 1024 * 1024  # 16 million codes of 2 bits
_CONTEXT: Final = b"gatehouse status list 1"

# "paper" holds colours; "paper_revoked", of the same number, which of those codes were withdrawn (lost, stolen)
Purpose = Literal["paper", "paper_revoked", "badge", "inspector"]
PURPOSES: Final[tuple[Purpose, ...]] = ("paper", "paper_revoked", "badge", "inspector")


class StatusError(ProtocolError):
    """A status list that is damaged, not ours, or older than the one we hold."""

    code = "status_list"


class UnknownPurpose(StatusError):
    """A good list about something that this version does not know; a reader leaves it out."""

    code = "status_list_purpose"


class BadgeStatus(IntEnum):
    """Of a badge, and of a paper code on its list of withdrawals.

    The values 0 to 2 are those of the IETF Token Status List (draft-ietf-oauth-status-list, 7.1).
    """

    VALID = 0
    REVOKED = 1
    SUSPENDED = 2


def colour_status(colour: Colour) -> int:
    """The 2-bit value of a colour on a paper-code list: green 0, yellow 1, red 2, grey 3 (no data)."""
    return int(colour) - 1


@dataclass(frozen=True, slots=True)
class StatusList:
    """Two bits for each code of one numbered list; the code itself says list and index."""

    purpose: Purpose
    number: int  # 32 bits, named in the code
    bits: bytes = field(repr=False)  # unpacked; four entries a byte, the first in the lowest bits, as the IETF has it
    issued_at: datetime
    expires_at: datetime
    count: int  # entries; the rest of the last byte means nothing

    def status(self, index: int) -> int | None:
        """The 2-bit status at *index*, or None beyond the end (a code made after this list)."""
        if not 0 <= index < self.count:
            return None
        return self.bits[index >> 2] >> 2 * (index & 3) & 3

    def colour(self, index: int) -> Colour | None:
        """The colour of a paper code, or None beyond the end."""
        value = self.status(index)
        return None if value is None else Colour(value + 1)

    def to_signed(self, key: PrivateKey, *, alg: int, kid: bytes) -> bytes:
        """Compress (zlib, RFC 1950, as the IETF list) and sign."""
        body = {
            1: self.purpose,
            2: self.number,
            3: zlib.compress(self.bits, 9),
            4: int(self.expires_at.timestamp()),
            5: self.count,
            6: int(self.issued_at.timestamp()),
        }
        return sign1(encode(body), key, alg=alg, kid=kid, external_aad=_CONTEXT)


def status_list(
    purpose: Purpose, number: int, statuses: Iterable[int], *, issued_at: datetime, expires_at: datetime
) -> StatusList:
    """Pack *statuses* (each 0 to 3, the index is the position) into a list. Raises StatusError for another value."""
    values = list(statuses)
    packed = bytearray((len(values) + 3) // 4)
    for index, value in enumerate(values):
        if not 0 <= value <= 3:
            raise StatusError("A status has two bits.")
        packed[index >> 2] |= value << 2 * (index & 3)
    return StatusList(purpose, number, bytes(packed), issued_at, expires_at, len(values))


@dataclass(frozen=True, slots=True)
class VenueSerials:
    """Which venue codes no longer hold: single serials, and for a venue everything before its last re-issue."""

    revoked: frozenset[int]
    lowest_valid: Mapping[bytes, int]  # venue id -> every lower serial of this venue was replaced
    issued_at: datetime
    expires_at: datetime

    def to_signed(self, key: PrivateKey, *, alg: int, kid: bytes) -> bytes:
        """Serials as zlib-packed differences (1,000 of 200,000 take about 1.6 kB), signed."""
        previous, steps = 0, bytearray()
        for serial in sorted(self.revoked):
            steps += _varint(serial - previous)
            previous = serial
        body = {
            1: "venue",
            3: zlib.compress(bytes(steps), 9),
            4: int(self.expires_at.timestamp()),
            6: int(self.issued_at.timestamp()),
            7: dict(self.lowest_valid),
        }
        return sign1(encode(body), key, alg=alg, kid=kid, external_aad=_CONTEXT)


@dataclass(frozen=True, slots=True)
class StatusLists:
    """All status lists a door holds."""

    lists: Mapping[tuple[str, int], StatusList] = field(default_factory=dict)
    venues: VenueSerials | None = None

    def find(self, purpose: Purpose, number: int) -> StatusList | None:
        """The list of that purpose and number, or None when this door does not hold it."""
        return self.lists.get((purpose, number))

    @classmethod
    def of(cls, parts: Iterable[StatusList | VenueSerials]) -> StatusLists:
        """Gather single lists; of two with the same name the younger counts, so that an old one cannot undo it."""
        lists: dict[tuple[str, int], StatusList] = {}
        venues: VenueSerials | None = None
        for part in parts:
            if isinstance(part, VenueSerials):
                if venues is None or part.issued_at > venues.issued_at:
                    venues = part
            else:
                name = (part.purpose, part.number)
                if name not in lists or part.issued_at > lists[name].issued_at:
                    lists[name] = part
        return cls(lists, venues)


def age(part: StatusList | VenueSerials, at: datetime) -> timedelta:
    """How old a list is; never negative, since a list from the future is a clock's fault, not freshness."""
    return max(timedelta(0), at - part.issued_at)


def from_signed(data: bytes, trust: TrustList, *, at: datetime | None = None) -> StatusList | VenueSerials:
    """Verify with a key of *trust* that may sign status lists, and unpack. Raises StatusError and nothing else.

    With *at*, the key must be within its own validity then. Unpacking stops at MAX_UNPACKED_BYTES. Whether the list is
    still fresh is the reader's decision (`age`, `expires_at`); an old list says more than none.
    """
    try:
        message = parse1(data, max_bytes=MAX_SIGNED_BYTES)
        keys = [key for key in trust.with_kid(message.kid) if STATUS_LIST_USE in key.uses]
        if at is not None:
            keys = [key for key in keys if key.is_valid(at)]
        if not keys:
            raise StatusError("The status list is signed with a key that may not sign status lists.")
        payload = verify1(message, keys[0].public_key, alg=keys[0].alg, external_aad=_CONTEXT)
        body = decode_strict(payload, max_bytes=MAX_SIGNED_BYTES)
    except (CborError, CoseError) as error:
        raise StatusError(f"The status list is damaged or not ours: {error}") from error
    if not isinstance(body, dict) or not isinstance(body.get(3), bytes):
        raise StatusError("The status list has another shape than ours.")
    issued_at, expires_at = _time(body.get(6)), _time(body.get(4))
    unpacked = _unpack(body[3])
    if body.get(1) == "venue":
        return VenueSerials(_serials(unpacked), _lowest(body.get(7)), issued_at, expires_at)
    purpose = next((name for name in PURPOSES if name == body.get(1)), None)
    if purpose is None and isinstance(body.get(1), str):
        raise UnknownPurpose("The status list is about something that this version does not know.")
    number, count = body.get(2), body.get(5)
    if purpose is None or not isinstance(number, int) or not isinstance(count, int):
        raise StatusError("The status list does not say what it is about.")
    if not 0 <= number < 2**32 or not 0 <= count <= 4 * len(unpacked):
        raise StatusError("The status list counts more codes than it holds.")
    return StatusList(purpose, number, unpacked, issued_at, expires_at, count)


def _unpack(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(packed, MAX_UNPACKED_BYTES)
    except zlib.error as error:
        raise StatusError("The status list cannot be unpacked.") from error
    if not unpacker.eof or unpacker.unused_data:
        raise StatusError("The status list is cut off, has more behind it, or unpacks to more than 4 MiB.")
    return data


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _serials(steps: bytes) -> frozenset[int]:
    serials, current, step, shift = set[int](), 0, 0, 0
    for byte in steps:
        step |= (byte & 0x7F) << shift
        shift += 7
        if shift > 35:
            break
        if not byte & 0x80:
            current += step
            serials.add(current)
            step = shift = 0
    if shift or current >= 2**32:
        raise StatusError("The list of venue code serials is malformed.")
    return frozenset(serials)


def _lowest(value: object) -> dict[bytes, int]:
    if not isinstance(value, dict):
        raise StatusError("The list of lowest valid serials is malformed.")
    lowest: dict[bytes, int] = {}
    for venue, serial in value.items():
        if not isinstance(venue, bytes) or not isinstance(serial, int):
            raise StatusError("The list of lowest valid serials is malformed.")
        lowest[venue] = serial
    return lowest


def _time(value: object) -> datetime:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 253_402_300_799:
        raise StatusError("A time on the status list is none.")
    return datetime.fromtimestamp(value, UTC)
