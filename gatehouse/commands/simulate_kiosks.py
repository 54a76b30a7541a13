"""One simulated kiosk of a fleet: a key, a chain in memory, and people who come as the hours of a day bring them."""

from __future__ import annotations

import dataclasses
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocol import signed
from protocol.errors import ProtocolError
from protocol.exchange import MAX_RECORDS, Answer, Receipt, Upload
from protocol.journal import Record, genesis
from protocol.passage import ClockConfidence, Facts, Header, Personal, Place, Stamp, Temperature
from protocol.sealing import EpochSealer, SealPublicKey
from protocol.words import Colour, CredentialKind, Direction, EntryMode, Measured, Outcome

# How the people of one day spread over its hours (local time, 24 weights each), by sort of venue. Made up, after when
# each sort is busy; the tallest hour of each is two to four times its mean over 16 open hours.
HOURS: dict[str, tuple[int, ...]] = {
    "residential": (1, 0, 0, 0, 0, 3, 8, 14, 9, 5, 5, 6, 7, 5, 4, 5, 7, 12, 14, 10, 7, 5, 3, 2),
    "enterprise": (0, 0, 0, 0, 0, 0, 2, 12, 26, 8, 3, 5, 8, 10, 5, 3, 3, 6, 5, 2, 1, 1, 0, 0),
    "market": (0, 0, 0, 0, 1, 3, 9, 14, 14, 11, 9, 7, 4, 3, 4, 6, 10, 12, 8, 4, 2, 1, 0, 0),
    "restaurant": (0, 0, 0, 0, 0, 0, 2, 4, 4, 3, 5, 16, 20, 9, 3, 2, 4, 12, 18, 13, 7, 4, 1, 0),
    "transport": (1, 0, 0, 0, 1, 4, 10, 17, 15, 8, 6, 6, 6, 6, 6, 7, 9, 15, 14, 8, 6, 5, 3, 2),
}
SORTS = tuple(HOURS)
PROVINCE_A_DAY = 1250.0  # passages of one kiosk: 250 million a day on 200,000 kiosks

_SCAN = Facts(
    direction=Direction.IN,
    mode=EntryMode.SCAN,
    credential=CredentialKind.HEALTH_CODE,
    colour=Colour.GREEN,
    measured=Measured.NORMAL,
    outcome=Outcome.ADMIT,
    reasons=(),
    bundle_version=0,
    bundle_age_s=0,
    issuer="510000-1",
    method="infrared",
)
# nine in ten green and well; the rest is checked by hand or turned away
_KINDS = (
    *((_SCAN,) * 18),
    dataclasses.replace(_SCAN, measured=Measured.FEVER, outcome=Outcome.DENY, reasons=("fever",)),
    dataclasses.replace(_SCAN, colour=Colour.RED, outcome=Outcome.DENY, reasons=("colour_red",)),
)
_PERSONAL_BYTES = Personal(
    name="模拟**",
    pseudonym=b"simulate",
    cti=b"simulate",
    identity_sealed=bytes(140),  # as long as a real one
    temperature=Temperature("infrared", 35.1, 22.0, 36.6),
).to_bytes()


def arrivals_a_second(sort: str, a_day: float, hour: float) -> float:
    """How many people a second come to one kiosk of a venue of *sort* at *hour* (0 to 24, local), *a_day* in all.

    Between the middles of two hours the curve is a straight line, so that it has no steps.
    """
    weights = HOURS[sort]
    before = int(hour - 0.5) if hour >= 0.5 else -1
    share = hour - 0.5 - before
    weight = weights[before % 24] * (1 - share) + weights[(before + 1) % 24] * share
    return a_day * weight / sum(weights) / 3600


def some_arrivals(mean: float, chance: random.Random) -> int:
    """How many came when *mean* were to be expected: Poisson (Knuth's way; fine for the small means of one kiosk)."""
    limit, product, count = 2.718281828459045**-mean, chance.random(), 0
    while product > limit:
        product *= chance.random()
        count += 1
    return count


@dataclass(slots=True)
class FleetKiosk:
    """A kiosk with its journal in memory; it keeps what has no receipt, as a real one does."""

    place: Place
    sort: str
    key: Ed25519PrivateKey
    sealer: EpochSealer
    head: bytes
    boot: bytes = field(default_factory=lambda: os.urandom(8))
    mono_ms: int = 1000
    written: int = 0  # the newest record of its journal
    receipted: int = 0
    receipted_head: bytes = b""
    unsent: list[Record] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)  # of `unsent`
    quarantined: int = 0

    @staticmethod
    def make(venue: bytes, sort: str, seal: SealPublicKey) -> FleetKiosk:
        """A fresh device at entrance 1 of *venue*, which seals to *seal*."""
        key = Ed25519PrivateKey.generate()
        kiosk = signed.key_id(key.public_key())
        sealer, start = EpochSealer(kiosk, seal, os.urandom(48)), genesis(kiosk)
        return FleetKiosk(Place(kiosk, venue, 1), sort, key, sealer, start, receipted_head=start)

    @property
    def id(self) -> bytes:
        """Its 8 bytes."""
        return self.place.kiosk

    def people_come(self, count: int, now_ms: int, chance: random.Random) -> None:
        """*count* people pass: sealed and chained as the kiosk's journal does it."""
        for _ in range(count):
            self.written += 1
            self.mono_ms += 1
            stamp = Stamp(now_ms, self.mono_ms, self.boot, ClockConfidence.SYNCED)
            header = Header(self.written, self.place, stamp, chance.choice(_KINDS)).to_bytes()
            sealed = self.sealer.seal(self.written, header, _PERSONAL_BYTES)
            wrapped = self.sealer.wrapped if self.written == 1 else b""
            record = Record(self.written, self.sealer.epoch, wrapped, header, sealed)
            self.head = record.hash_after(self.head)
            self.unsent.append(record)
            self.hashes.append(self.head)

    def upload(self, now_ms: int) -> bytes:
        """The signed body of an exchange: everything without a receipt, up to one batch."""
        self.mono_ms += 1
        return Upload(
            kiosk=self.id,
            exchange=os.urandom(16),
            sent_at_ms=now_ms,
            mono_ms=self.mono_ms,
            boot=self.boot,
            after_sequence=self.receipted,
            after_hash=self.receipted_head,
            records=tuple(self.unsent[:MAX_RECORDS]),
            head_sequence=self.written,
            oldest_unsent_ms=now_ms if self.unsent else None,
            bundle_version=0,
            app_version="simulated",
            health=(("camera", "live"), ("thermometer", "live")),
        ).to_bytes(self.key)

    def take(self, answer: bytes, upload: bytes, server: Ed25519PublicKey) -> None:
        """Verify the *answer* to *upload* and let go of what its receipt covers.

        Raises ProtocolError when it is not the server's, or says anything but "ok", or its receipt is for a history
        that is not this kiosk's.
        """
        told = Answer.from_signed(answer, server, upload)
        receipt = Receipt.from_signed(told.receipt, server)
        if told.result != "ok" or receipt.kiosk != self.id:
            raise ProtocolError(f"The server answers {told.result}.", code=f"said_{told.result}")
        self.quarantined += len(told.quarantined)
        if receipt.sequence <= self.receipted:  # an answer to something sent twice tells nothing new
            return
        covered = receipt.sequence - self.receipted
        if covered > len(self.unsent) or self.hashes[covered - 1] != receipt.head:
            raise ProtocolError("The receipt is for another history.", code="wrong_receipt")
        del self.unsent[:covered], self.hashes[:covered]
        self.receipted, self.receipted_head = receipt.sequence, receipt.head


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The value below which *percent* of the *ordered* values lie; 0.0 of none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0
