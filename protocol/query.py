"""The query: an approved, time-limited, purpose-bound look into records, and the approver's own signature over it.

The vault believes this signature and nothing else: no row that the web process can write opens a passage.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocol import cbor, signed
from protocol.errors import ProtocolError
from protocol.fields import Fields, without_none
from protocol.passage import VENUE_ID_BYTES

QUERY_ID_BYTES = 16
MAX_SPAN_MS = 14 * 86_400_000  # F-11 query.max_span_days
MAX_VALID_MS = 24 * 3_600_000  # F-11 query.valid_hours
MAX_ROWS = 500  # F-11 query.max_rows
MAX_REUSED_SPAN_MS = 3 * 86_400_000  # of a search for reused codes: it compares everybody in scope with everybody
MAX_WITHIN_MINUTES = 120  # between two stays that count as one meeting
# a check at somebody's own venue (V-27): masked, shorter, fewer rows, and gone the same day
OWN_VENUE_SPAN_MS = 3 * 86_400_000
OWN_VENUE_VALID_MS = 8 * 3_600_000
OWN_VENUE_ROWS = 100
_APPROVAL = "approval 1"


def person_info(query_id: bytes) -> bytes:
    """The HPKE info under which a query's person is sealed to the vault's identity key.

    Sealed, because whoever could turn a number into the vault's tag could ask the index about anybody.
    """
    return b"gatehouse query person 1" + query_id


class Purpose(Enum):
    """The allowed purposes (P-47, V-28); there is no other."""

    EPI_TRACE = "epi_trace"  # 流调溯源
    VENUE_CHECK = "venue_check"  # own-venue query, V-27
    INSPECTION = "inspection"
    RESIDENT_REQUEST = "resident_request"
    DRILL = "drill"


class QueryKind(Enum):
    """What is looked for."""

    RECORDS = "records"  # the passages in scope, of one person or of everybody
    OVERLAPS = "overlaps"  # one person's stays, and who else was there within some minutes
    REUSED_CODES = "reused_codes"  # passages of one dynamic code at two kiosks of one venue (V-09)


class Reveal(Enum):
    """What the result may show beyond masked values."""

    MASKED = "masked"
    NAME = "name"
    ID_NUMBER = "id_number"
    PHONE = "phone"
    TEMPERATURE = "temperature"


@dataclass(frozen=True, slots=True)
class Query:
    """Who wants to see what, why, and until when. Its canonical bytes are what the approver signs."""

    query_id: bytes
    requester: str  # user name; never the approver
    purpose: Purpose
    case_reference: str
    legal_ground: str  # V-29: consent or legal ground, recorded with each disclosure
    venues: tuple[bytes, ...]  # at least one; 6 bytes each
    from_ms: int
    to_ms: int  # at most 14 days after from_ms
    person: bytes | None  # one ID number or phone, sealed to the vault (`person_info`); None: everybody in scope
    reveal: tuple[Reveal, ...]
    max_rows: int
    created_ms: int
    expires_ms: int  # at most 24 hours after created_ms
    kind: QueryKind = QueryKind.RECORDS
    within_minutes: int = 0  # of OVERLAPS only: how far apart two stays may lie

    def __post_init__(self) -> None:
        problem = (
            (len(self.query_id) != QUERY_ID_BYTES and "its id has not 16 bytes")
            or (not self.requester and "it names no requester")
            or (not self.case_reference.strip() and "it has no case reference")
            or (not self.legal_ground.strip() and "it has no legal ground")
            or (not self.venues and "it names no venue")
            or (any(len(v) != VENUE_ID_BYTES for v in self.venues) and "a venue id has not 6 bytes")
            or (not 0 < self.to_ms - self.from_ms <= MAX_SPAN_MS and "its period is empty or over 14 days")
            or (not 0 < self.expires_ms - self.created_ms <= MAX_VALID_MS and "it is valid for more than 24 hours")
            or (not 1 <= self.max_rows <= MAX_ROWS and f"it asks for more than {MAX_ROWS} rows")
            or (
                self.kind is QueryKind.REUSED_CODES
                and (
                    (self.person is not None and "a search for reused codes names no person")
                    or (self.to_ms - self.from_ms > MAX_REUSED_SPAN_MS and "its period for reused codes is over 3 days")
                    or (self.max_rows < 2 and "a pair has two rows")
                )
            )
            or (
                self.kind is QueryKind.OVERLAPS
                and (
                    (self.person is None and "a search for overlaps names one person")
                    or (set(self.reveal) - {Reveal.MASKED} and "overlaps are masked")
                    or (not 1 <= self.within_minutes <= MAX_WITHIN_MINUTES and "its minutes are not 1 to 120")
                    or (self.max_rows < 2 and "a meeting has two rows")
                    or (self.purpose is Purpose.VENUE_CHECK and "overlaps are not for a venue's own check")
                )
            )
            or (self.kind is not QueryKind.OVERLAPS and self.within_minutes and "it has minutes and no overlaps")
        )
        if problem:
            raise ProtocolError(f"query: {problem}", code="bad_query")

    def to_bytes(self) -> bytes:
        """The canonical bytes."""
        return cbor.encode(
            without_none(
                {
                    1: self.query_id,
                    2: self.requester,
                    3: self.purpose.value,
                    4: self.case_reference,
                    5: self.legal_ground,
                    6: list(self.venues),
                    7: self.from_ms,
                    8: self.to_ms,
                    9: self.person,
                    10: [r.value for r in self.reveal],
                    11: self.max_rows,
                    12: self.created_ms,
                    13: self.expires_ms,
                    14: None if self.kind is QueryKind.RECORDS else self.kind.value,  # as before there were kinds
                    15: self.within_minutes or None,
                }
            )
        )

    @staticmethod
    def from_bytes(data: bytes) -> Query:
        """Decode; raises ProtocolError for anything outside the bounds above."""
        f = Fields(cbor.decode_strict(data), "query")
        venues = None
        try:
            query_id, requester = f.octets(1), f.text(2, at_most=64)
            purpose, case_reference, legal_ground = Purpose(f.text(3)), f.text(4), f.text(5, at_most=500)
            venues = f.take(6, list)
            if not all(type(v) is bytes for v in venues) or len(venues) > 100:
                raise ProtocolError("query: the venues are not a list of at most 100 ids", code="bad_list")
            query = Query(
                query_id=query_id,
                requester=requester,
                purpose=purpose,
                case_reference=case_reference,
                legal_ground=legal_ground,
                venues=tuple(venues),
                from_ms=f.integer(7),
                to_ms=f.integer(8),
                person=f.maybe_octets(9, at_most=256),
                reveal=tuple(Reveal(r) for r in f.texts(10)),
                max_rows=f.integer(11),
                created_ms=f.integer(12),
                expires_ms=f.integer(13),
                kind=QueryKind(f.maybe_text(14) or QueryKind.RECORDS.value),
                within_minutes=f.maybe(15, int) or 0,
            )
        except ProtocolError:
            raise
        except ValueError as error:
            raise ProtocolError(f"query: {error}", code="unknown_word") from error
        f.done()
        return query

    def digest(self) -> bytes:
        """What the approver signs: 32 bytes. Also the challenge of a passkey assertion."""
        return hashlib.sha256(b"gatehouse query 1" + self.to_bytes()).digest()


def own_venue_problem(query: Query) -> str:
    """Why *query* is no check of somebody's own venue although it says so; "" for what may be asked.

    Apart from the bounds of every query, so that what was asked before there was this rule can still be read.
    """
    if query.purpose is not Purpose.VENUE_CHECK:
        return ""
    return (
        (set(query.reveal) - {Reveal.MASKED} and "A check at one's own venue is masked.")
        or (query.to_ms - query.from_ms > OWN_VENUE_SPAN_MS and "A check at one's own venue spans at most 3 days.")
        or (query.expires_ms - query.created_ms > OWN_VENUE_VALID_MS and "It is valid for at most 8 hours.")
        or (query.max_rows > OWN_VENUE_ROWS and "It shows at most 100 records.")
        or ""
    )


@dataclass(frozen=True, slots=True)
class Approval:
    """An approver's decision over one query, signed with an approval key that the web process does not hold."""

    query_digest: bytes
    approver: str
    approved: bool
    at_ms: int
    note: str = ""

    def to_signed(self, key: Ed25519PrivateKey) -> bytes:
        """Sign with the approver's own key."""
        return signed.sign(
            _APPROVAL,
            without_none(
                {1: self.query_digest, 2: self.approver, 3: self.approved, 4: self.at_ms, 5: self.note or None}
            ),
            key,
        )

    @staticmethod
    def from_signed(data: bytes, key: Ed25519PublicKey) -> Approval:
        """Verify with the key the vault holds for this approver; raises ProtocolError."""
        f = signed.verify(_APPROVAL, data, key)
        approval = Approval(
            f.octets(1, exactly=32), f.text(2, at_most=64), f.take(3, bool), f.integer(4), f.maybe_text(5) or ""
        )
        f.done()
        return approval
