"""The passage: one person at one entrance, as a header that may be shown and a personal part that is sealed."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from protocol import cbor
from protocol.errors import ProtocolError
from protocol.fields import Fields
from protocol.words import Colour, CredentialKind, Direction, EntryMode, Measured, Outcome

KIOSK_ID_BYTES = 8
VENUE_ID_BYTES = 6
BOOT_ID_BYTES = 8
PAD_TO = 64  # the personal part is padded to a multiple of this, so that its length tells nothing of a name


class ClockConfidence(IntEnum):
    """How far the wall clock of a record can be believed (field.md candidate 4)."""

    SYNCED = 1  # a time source or the server confirmed it in this boot
    HELD = 2  # plausible, not confirmed since boot
    UNSURE = 3  # went backwards, jumped, or stands before the last record


@dataclass(frozen=True, slots=True)
class Stamp:
    """When something happened, in a way that can be defended afterwards: wall time, monotonic time and boot."""

    at_ms: int  # milliseconds since 1970-01-01 UTC by the kiosk's clock
    mono_ms: int  # milliseconds since this boot; never goes back
    boot: bytes  # 8 random bytes a boot
    confidence: ClockConfidence


@dataclass(frozen=True, slots=True)
class Place:
    """The entrance that a record belongs to."""

    kiosk: bytes  # 8 bytes: SHA-256 of the device's public key, shortened
    venue: bytes  # 6 bytes, as in the venue code
    entrance: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What the kiosk may show and count of one passage; holds nothing that points at a person."""

    direction: Direction
    mode: EntryMode
    credential: CredentialKind
    colour: Colour | None
    measured: Measured
    outcome: Outcome
    reasons: tuple[str, ...]
    bundle_version: int  # 0: none yet
    bundle_age_s: int
    degraded: tuple[str, ...] = ()  # what was out of order: "no_network", "no_thermometer" ...
    operator: str | None = None  # the staff member's id, for every act of theirs
    issuer: str | None = None
    method: str | None = None  # how the temperature was taken: "infrared", "typed"


@dataclass(frozen=True, slots=True)
class Header:
    """The open half of a journal record: a passage's facts, or an event of the kiosk itself."""

    sequence: int
    place: Place
    stamp: Stamp
    facts: Facts | None = None
    event: str | None = None  # "started", "clock_jumped", "waved_through" ...; exactly one of facts and event is set
    detail: tuple[tuple[str, str | int], ...] = ()  # of an event; never personal

    def __post_init__(self) -> None:
        if (self.facts is None) == (self.event is None):
            raise ValueError("a header holds either a passage's facts or an event")

    def to_bytes(self) -> bytes:
        """Encode deterministically (RFC 8949 section 4.2.1); equal headers give equal bytes."""
        place, stamp, f = self.place, self.stamp, self.facts
        fields: dict[int, object] = {  # in ascending order, as `encode_numbered` asks
            1: 1 if f else 2,
            2: self.sequence,
            3: place.kiosk,
            4: place.venue,
            5: place.entrance,
            6: stamp.at_ms,
            7: stamp.mono_ms,
            8: stamp.boot,
            9: int(stamp.confidence),
        }
        if f is None:
            fields[30] = self.event
            if self.detail:
                fields[31] = self.detail
            return cbor.encode_numbered(fields)
        fields[10] = f.direction.value
        fields[11] = f.mode.value
        fields[12] = f.credential.value
        if f.colour is not None:
            fields[13] = int(f.colour)
        fields[14] = f.measured.value
        fields[15] = f.outcome.value
        if f.reasons:
            fields[16] = f.reasons
        fields[17] = f.bundle_version
        fields[18] = f.bundle_age_s
        if f.degraded:
            fields[19] = f.degraded
        if f.operator is not None:
            fields[20] = f.operator
        if f.issuer is not None:
            fields[21] = f.issuer
        if f.method is not None:
            fields[22] = f.method
        return cbor.encode_numbered(fields)

    @staticmethod
    def from_bytes(data: bytes) -> Header:
        """Decode; raises ProtocolError for every value that `to_bytes` could not have written.

        The order of the map's keys is not compared: the chain and the seal go over the bytes as they came.
        """
        f = Fields(cbor.decode_strict(data), "header")
        kind = f.integer(1, 1, 2)
        sequence = f.integer(2, 1)
        place = Place(f.octets(3, exactly=KIOSK_ID_BYTES), f.octets(4, exactly=VENUE_ID_BYTES), f.integer(5, 0, 65535))
        stamp = Stamp(
            f.integer(6, -(2**53), 2**53), f.integer(7), f.octets(8, exactly=BOOT_ID_BYTES), _confidence(f.integer(9))
        )
        if kind == 2:
            event = f.text(30, at_most=64)
            pairs = f.any(31) or []
            if not isinstance(pairs, list) or len(pairs) > 32:
                raise ProtocolError("header: field 31 is not a list of at most 32 pairs", code="bad_list")
            detail = tuple(_pair(p) for p in pairs)
            f.done()
            return Header(sequence, place, stamp, event=event, detail=detail)
        try:
            colour = f.maybe(13, int)
            facts = Facts(
                direction=Direction(f.text(10)),
                mode=EntryMode(f.text(11)),
                credential=CredentialKind(f.text(12)),
                colour=None if colour is None else Colour(colour),
                measured=Measured(f.text(14)),
                outcome=Outcome(f.text(15)),
                reasons=f.texts(16),
                bundle_version=f.integer(17),
                bundle_age_s=f.integer(18),
                degraded=f.texts(19),
                operator=f.maybe_text(20, at_most=64),
                issuer=f.maybe_text(21),
                method=f.maybe_text(22, at_most=32),
            )
        except ProtocolError:
            raise
        except ValueError as error:
            raise ProtocolError(f"header: {error}", code="unknown_word") from error
        f.done()
        return Header(sequence, place, stamp, facts=facts)


def _confidence(value: int) -> ClockConfidence:
    try:
        return ClockConfidence(value)
    except ValueError as error:
        raise ProtocolError(f"header: clock confidence {value} is not known", code="unknown_word") from error


def _pair(value: object) -> tuple[str, str | int]:
    if (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and type(value[1]) in (str, int)
        and len(str(value[1])) <= 200
    ):
        return value[0], value[1]
    raise ProtocolError("header: an event detail is not a pair of a name and a short value", code="bad_list")


@dataclass(frozen=True, slots=True)
class Temperature:
    """One reading as it is sealed with the person: every value that led to it, none made up."""

    method: str
    raw_celsius: float
    ambient_celsius: float | None
    body_celsius: float  # unrounded; the one that was compared with the limit


@dataclass(frozen=True, slots=True)
class Personal:
    """The sealed half of a passage. Only the vault reads it again."""

    name: str | None = None  # masked when a code gave it, whole when staff typed it
    id_number: str | None = None
    phone: str | None = None  # E.164
    pseudonym: bytes | None = None
    cti: bytes | None = None  # with the pseudonym it binds `identity_sealed` to its code
    identity_sealed: bytes | None = None  # sealed on the code by the issuer; opened by nobody before the vault
    temperature: Temperature | None = None
    helper_name: str | None = None
    helper_phone: str | None = None
    relation: str | None = None
    document: str | None = None  # kind of document when it is not a resident ID card
    extra: tuple[tuple[str, str], ...] = field(default=())

    def to_bytes(self) -> bytes:
        """Encode and pad to a multiple of 64 bytes (one 0x80, then zeros, ISO/IEC 7816-4)."""
        t = self.temperature
        values = (
            self.name,
            self.id_number,
            self.phone,
            self.pseudonym,
            self.cti,
            self.identity_sealed,
            None if t is None else (t.method, t.raw_celsius, t.ambient_celsius, t.body_celsius),
            self.helper_name,
            self.helper_phone,
            self.relation,
            self.document,
            self.extra or None,
        )
        fields = {number: value for number, value in enumerate(values, 1) if value is not None}
        plain = cbor.encode_numbered(fields, has_floats=True)
        return plain + b"\x80" + bytes(-(len(plain) + 1) % PAD_TO)

    @staticmethod
    def from_bytes(data: bytes) -> Personal:
        """Decode; raises ProtocolError for anything that `to_bytes` could not have written."""
        plain = data.rstrip(b"\x00")
        if not plain.endswith(b"\x80") or len(data) % PAD_TO or len(data) - len(plain) >= PAD_TO:
            raise ProtocolError("personal part: its padding is not as agreed", code="bad_padding")
        f = Fields(cbor.decode_strict(plain[:-1]), "personal part")
        reading = f.maybe(7, list)
        pairs = f.any(12) or []
        if not isinstance(pairs, list) or not all(
            isinstance(p, list) and len(p) == 2 and all(isinstance(x, str) for x in p) for p in pairs
        ):
            raise ProtocolError("personal part: field 12 is not a list of pairs of text", code="bad_list")
        personal = Personal(
            name=f.maybe_text(1),
            id_number=f.maybe_text(2, at_most=32),
            phone=f.maybe_text(3, at_most=32),
            pseudonym=f.maybe_octets(4, at_most=32),
            cti=f.maybe_octets(5, at_most=32),
            identity_sealed=f.maybe_octets(6, at_most=1024),
            temperature=None if reading is None else _temperature(reading),
            helper_name=f.maybe_text(8),
            helper_phone=f.maybe_text(9, at_most=32),
            relation=f.maybe_text(10, at_most=32),
            document=f.maybe_text(11, at_most=32),
            extra=tuple((a, b) for a, b in pairs),
        )
        f.done()
        return personal


def _temperature(values: list[object]) -> Temperature:
    def finite(value: object) -> float:
        if type(value) not in (int, float) or not -1e6 < value < 1e6:  # type: ignore[operator]
            raise ProtocolError("personal part: a temperature is not a finite number", code="bad_field")
        return float(value)  # type: ignore[arg-type]

    method, raw, ambient, body = values if len(values) == 4 else [None] * 4
    if not isinstance(method, str):
        raise ProtocolError("personal part: field 7 is not [method, raw, ambient, body]", code="bad_list")
    return Temperature(method, finite(raw), None if ambient is None else finite(ambient), finite(body))
