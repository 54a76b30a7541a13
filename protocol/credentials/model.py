"""What a checked credential is: typed facts, a yes or no, and the reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from typing import Final

from protocol.credentials.reasons import Reason
from protocol.words import Colour, CredentialKind


class TestResult(IntEnum):
    """The issuer's statement about a test (credentials.md 4.1, claim 4)."""

    __test__ = False  # not a test class

    NONE = 0
    NEGATIVE = 1
    POSITIVE = 2
    PENDING = 3


class TestKind(IntEnum):
    """How the sample was examined."""

    __test__ = False

    NAT = 1
    ANTIGEN = 2


@dataclass(frozen=True, slots=True)
class TestFact:
    """One test. Whether it is younger than 24, 48 or 72 hours is the reader's sum, not the issuer's."""

    __test__ = False

    sample_at: datetime
    result: TestResult
    kind: TestKind


@dataclass(frozen=True, slots=True)
class Inspection:
    """What an inspector's pass grants: who, and where."""

    inspector: str  # the account's id on the server; stands in the kiosk's records
    name: str = field(repr=False)
    venues: tuple[bytes, ...] = ()
    kiosks: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Credential:
    """The facts of one credential, as its issuer signed them. Times are aware and in UTC.

    A field is None where the scheme has no such thing or this credential leaves it out. Fields that say something about
    a person are left out of `repr`, so that no log line can hold them by accident.
    """

    kind: CredentialKind
    scheme: str  # "JK1", "HC1", "shc", "NZCP", "venue-url", "GHE1"
    issuer: str | None = None
    kid: bytes | None = None
    issued_at: datetime | None = None
    expires_at: datetime | None = None
    not_before: datetime | None = None
    colour: Colour | None = None  # the issuer's; None for schemes without colours
    name_masked: str | None = field(default=None, repr=False)
    pseudonym: bytes | None = field(default=None, repr=False)  # 8 or 16 bytes, changes daily
    cti: bytes | None = field(default=None, repr=False)  # the id of this one code; seen twice = pass-back
    identity_sealed: bytes | None = field(default=None, repr=False)  # for the vault alone
    test: TestFact | None = field(default=None, repr=False)
    doses: int | None = field(default=None, repr=False)
    region: str | None = None  # GB/T 2260, six digits
    holder_id: bytes | None = field(default=None, repr=False)  # 8 bytes of a paper code or staff badge
    venue_id: bytes | None = None  # 6 bytes
    serial: int | None = None  # of a venue code, 32 bits
    entrance: int | None = None
    claims: Mapping[str, object] = field(default_factory=dict, repr=False)  # personal; what CertLogic rules look at
    inspection: Inspection | None = None  # of an inspector's pass


@dataclass(frozen=True, slots=True)
class Checked:
    """The answer about one credential.

    `valid` is true when no reason refuses; `reasons` may still hold notes (say, an old status list) that have to be
    shown and recorded. `credential` is there as soon as its signature held, also when it is then refused (expired,
    revoked), so that the screen can say whose code it was; it is None when nothing in it may be believed.
    """

    kind: CredentialKind
    credential: Credential | None
    valid: bool
    reasons: tuple[Reason, ...] = ()

    def __post_init__(self) -> None:
        if self.valid and self.credential is not None and not self.reasons:
            return  # by far the most frequent answer
        if self.valid != (self.credential is not None and not any(reason.refuses for reason in self.reasons)):
            raise ValueError("A checked credential is valid when it was believed and nothing refuses it.")

    @property
    def is_undecided(self) -> bool:
        """True when it is refused only because something is not known here (status, age of a list, a provider)."""
        refusals = [reason for reason in self.reasons if reason.refuses]
        return bool(refusals) and all(reason.undecided for reason in refusals)


def refused(kind: CredentialKind, *reasons: Reason, credential: Credential | None = None) -> Checked:
    """A `Checked` that says no, or "cannot tell"."""
    return Checked(kind, credential, False, reasons)


def believed(credential: Credential, *reasons: Reason) -> Checked:
    """A `Checked` about a credential whose signature held: valid unless one of *reasons* refuses; those come first."""
    if not reasons:
        return Checked(credential.kind, credential, True)
    in_order = tuple(sorted(dict.fromkeys(reasons), key=lambda reason: not reason.refuses))
    return Checked(credential.kind, credential, not in_order[0].refuses, in_order)


LAST_SECOND: Final = 253_402_300_799  # 9999-12-31T23:59:59Z, the last that datetime can say


def numeric_date(value: object) -> datetime | None:
    """Turn a CWT or JWT NumericDate into a time, or None when it is not one (RFC 8392 2: integer or float)."""
    if (type(value) is int or type(value) is float) and 0 <= value <= LAST_SECOND:  # refuses NaN and bool too
        return datetime.fromtimestamp(value, UTC)
    return None


def to_json(checked: Checked) -> dict[str, object]:
    """What `gatehouse check` prints: kind, valid, reasons and the claims that are not personal.

    Not personal means: who issued it, when, until when, which colour, which venue. Names, birth dates, pseudonyms,
    tests, doses and everything in `claims` stay inside.
    """
    line: dict[str, object] = {
        "kind": checked.kind.value,
        "valid": checked.valid,
        "reasons": [reason.value for reason in checked.reasons],
    }
    credential = checked.credential
    if credential is None:
        return line
    line["scheme"] = credential.scheme
    for name, time in (
        ("issued_at", credential.issued_at),
        ("not_before", credential.not_before),
        ("expires_at", credential.expires_at),
    ):
        if time is not None:
            line[name] = time.isoformat().replace("+00:00", "Z")
    facts: dict[str, object | None] = {
        "issuer": credential.issuer,
        "kid": credential.kid.hex() if credential.kid else None,
        "colour": credential.colour.name.lower() if credential.colour else None,
        "venue_id": credential.venue_id.hex() if credential.venue_id else None,
        "serial": credential.serial,
        "entrance": credential.entrance,
    }
    return line | {name: value for name, value in facts.items() if value is not None}
