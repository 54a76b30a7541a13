"""The bundle: all that a kiosk needs to work alone, as a signed manifest over parts that are fetched by digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocol import cbor, signed
from protocol.errors import ProtocolError
from protocol.fields import Fields, without_none
from protocol.passage import KIOSK_ID_BYTES, VENUE_ID_BYTES

MANIFEST_PATH = "/bundle/v1/manifest"
PART_PATH = "/bundle/v1/parts/"  # + SHA-256 in lower-case hex
MAX_PART_BYTES = 8 * 1024 * 1024
_PURPOSE = "bundle 1"


@dataclass(frozen=True, slots=True)
class Part:
    """One part by name: "trust", "status", "policy", "vault", "place", "staff"; optional: "badges", "rules",
    "profiles", "venue", "notices".

    A kiosk fetches parts that it does not know and looks at none of them.
    """

    name: str
    digest: bytes  # SHA-256
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a kiosk should hold. A higher version replaces a lower one, never the other way round."""

    kiosk: bytes
    version: int
    issued_at_ms: int
    parts: tuple[Part, ...]

    def to_signed(self, key: Ed25519PrivateKey) -> bytes:
        """Sign as the server."""
        return signed.sign(
            _PURPOSE,
            {
                1: self.kiosk,
                2: self.version,
                3: self.issued_at_ms,
                4: [[p.name, p.digest, p.size] for p in self.parts],
            },
            key,
        )

    @staticmethod
    def from_signed(data: bytes, server: Ed25519PublicKey) -> Manifest:
        """Verify with the pinned key of the server; raises ProtocolError."""
        f = signed.verify(_PURPOSE, data, server)
        kiosk, version, issued = f.octets(1, exactly=KIOSK_ID_BYTES), f.integer(2, 1), f.integer(3)
        parts = tuple(_part(p) for p in f.take(4, list))
        f.done()
        if len({p.name for p in parts}) != len(parts):
            raise ProtocolError("bundle: a part is named twice", code="bad_list")
        return Manifest(kiosk, version, issued, parts)


def _part(value: object) -> Part:
    if isinstance(value, list) and len(value) == 3:
        name, digest, size = value
        if type(name) is str and len(name) <= 32 and type(digest) is bytes and len(digest) == 32 and type(size) is int:
            if 0 <= size <= MAX_PART_BYTES:
                return Part(name, digest, size)
    raise ProtocolError("bundle: a part is not [name, digest, size]", code="bad_list")


def part_of(name: str, data: bytes) -> Part:
    """Describe a part's bytes."""
    return Part(name, hashlib.sha256(data).digest(), len(data))


@dataclass(frozen=True, slots=True)
class PlaceNames:
    """The part "place": the entrance in words, for the screen. Both languages, shown side by side."""

    venue: bytes
    entrance: int
    venue_zh: str
    venue_en: str
    entrance_zh: str
    entrance_en: str
    area_zh: str = ""
    category: str = ""
    word_key: bytes = b""  # the venue's secret for its word of the day (field.md candidate 16); empty: no word

    def to_bytes(self) -> bytes:
        """Encode deterministically."""
        return cbor.encode(
            without_none(
                {
                    1: self.venue,
                    2: self.entrance,
                    3: self.venue_zh,
                    4: self.venue_en,
                    5: self.entrance_zh,
                    6: self.entrance_en,
                    7: self.area_zh or None,
                    8: self.category or None,
                    9: self.word_key or None,
                }
            )
        )

    @staticmethod
    def from_bytes(data: bytes) -> PlaceNames:
        """Decode; raises ProtocolError."""
        f = Fields(cbor.decode_strict(data), "place")
        place = PlaceNames(
            f.octets(1, exactly=VENUE_ID_BYTES),
            f.integer(2, 0, 65535),
            f.text(3),
            f.text(4),
            f.text(5),
            f.text(6),
            f.maybe_text(7) or "",
            f.maybe_text(8) or "",
            f.maybe_octets(9, at_most=32) or b"",
        )
        f.done()
        return place
