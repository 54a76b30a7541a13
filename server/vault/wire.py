"""What the vault and its clients say to each other: one CBOR map a message, with its length in front.

A frame is `length (4 bytes, big-endian) | CBOR`. A request is `{1: 1, 2: operation, 3: arguments}`, an answer
`{1: true, 2: result}` or `{1: false, 2: code, 3: sentence}`. Arguments and results are maps with small integer keys.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from protocol import cbor
from protocol.errors import ProtocolError
from protocol.fields import Fields, without_none
from protocol.journal import MAX_HEADER_BYTES, MAX_SEALED_BYTES
from protocol.passage import KIOSK_ID_BYTES
from protocol.query import Reveal
from protocol.sealing import EPOCH_ID_BYTES, WRAPPED_BYTES
from server.vault.log import Head

VERSION = 1
MAX_FRAME_BYTES = 8 * 1024 * 1024  # 500 records of the largest kind (protocol/journal.py), each of its own epoch
MAX_RECORDS = 500  # in one request
MAX_INDEXED = 4000  # records in one request to index; a frame holds them when they are of the usual size
MAX_EPOCHS = 500
MAX_KIOSKS = 1000
_LENGTH = struct.Struct(">I")


class Operation(Enum):
    """Everything that can be asked of the vault."""

    STATUS = "status"
    ROSTER = "roster"
    MARKS = "marks"
    INDEX = "index"
    FIND = "find"
    REUSED = "reused"
    OVERLAPS = "overlaps"
    OPEN = "open"
    REVOKE = "revoke"
    DESTROY = "destroy"
    LOG = "log"
    TREE_HEAD = "tree_head"
    PROVE = "prove"
    PROVE_GROWTH = "prove_growth"
    CHALLENGE = "challenge"
    OWN_LOOKS = "own_looks"


@dataclass(frozen=True, slots=True)
class SealedRecord:
    """One record as the server holds it, with its epoch's wrapped key."""

    kiosk: bytes  # 8 bytes
    epoch: bytes  # 16 bytes
    wrapped: bytes
    sequence: int
    header: bytes
    sealed: bytes  # empty for events


def pack_records(records: Iterable[SealedRecord]) -> dict[int, object]:
    """Records as two lists, each wrapped key once: `{1: [[kiosk, epoch, wrapped]], 2: [[epoch number, ...]]}`."""
    epochs: dict[tuple[bytes, bytes, bytes], int] = {}
    rows: list[object] = []
    for r in records:
        number = epochs.setdefault((r.kiosk, r.epoch, r.wrapped), len(epochs))
        rows.append([number, r.sequence, r.header, r.sealed])
    return {1: [list(key) for key in epochs], 2: rows}


def unpack_records(item: object, most: int = MAX_RECORDS) -> list[SealedRecord]:
    """Undo `pack_records`; raises ProtocolError for anything out of shape or bounds, and for more than *most*."""
    f = Fields(item, "records")
    epochs, rows = f.maybe(1, list) or [], f.maybe(2, list) or []
    f.done()
    if len(epochs) > max(MAX_EPOCHS, most) or len(rows) > most:
        raise ProtocolError(f"records: more than {most} in one request", code="too_many")
    for epoch in epochs:
        if not (
            isinstance(epoch, list)
            and len(epoch) == 3
            and all(type(part) is bytes for part in epoch)
            and len(epoch[0]) == KIOSK_ID_BYTES
            and len(epoch[1]) == EPOCH_ID_BYTES
            and len(epoch[2]) == WRAPPED_BYTES
        ):
            raise ProtocolError("records: an epoch is not [kiosk, epoch, wrapped key]", code="bad_list")
    found = []
    for row in rows:
        if not (
            isinstance(row, list)
            and len(row) == 4
            and type(row[0]) is int
            and type(row[1]) is int
            and type(row[2]) is bytes
            and type(row[3]) is bytes
            and 0 <= row[0] < len(epochs)
            and 1 <= row[1] < 2**63
            and len(row[2]) <= MAX_HEADER_BYTES
            and len(row[3]) <= MAX_SEALED_BYTES
        ):
            raise ProtocolError("records: a row is not [epoch number, sequence, header, sealed part]", code="bad_list")
        found.append(SealedRecord(*epochs[row[0]], *row[1:]))
    return found


def unpack_marks(item: object) -> dict[bytes, int]:
    """Read `[[kiosk, sequence], ...]`; raises ProtocolError for anything out of shape or bounds."""
    if not isinstance(item, list) or len(item) > MAX_KIOSKS:
        raise ProtocolError(f"marks: not a list of at most {MAX_KIOSKS} kiosks", code="bad_list")
    for pair in item:
        if not (
            isinstance(pair, list)
            and len(pair) == 2
            and type(pair[0]) is bytes
            and len(pair[0]) == KIOSK_ID_BYTES
            and type(pair[1]) is int
            and 0 <= pair[1] < 2**63
        ):
            raise ProtocolError("marks: an item is not [kiosk, sequence]", code="bad_list")
    return dict(item)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is, as far as the approval lets it be seen: masked by the vault, or in full."""

    name: str | None = None
    id_number: str | None = None
    phone: str | None = None

    def to_list(self) -> list[object]:
        """As sent."""
        return [self.name, self.id_number, self.phone]

    @staticmethod
    def from_list(item: object) -> Identity:
        """Decode; raises ProtocolError."""
        if isinstance(item, list) and len(item) == 3 and all(v is None or isinstance(v, str) for v in item):
            return Identity(*item)
        raise ProtocolError("an opened row's identity is not three texts", code="bad_list")


@dataclass(frozen=True, slots=True)
class OpenedRow:
    """One passage as its query may see it. Its header is not repeated: the asker has it, the vault has checked it."""

    kiosk: bytes
    sequence: int
    stated: Identity  # what the code showed or staff typed
    on_code: Identity | None  # what the issuer had sealed on the code; None when there was none
    helper: Identity | None
    relation: str | None
    document: str | None
    body_celsius: float | None  # only where the temperature was approved
    note: str | None = None  # "identity_unreadable": something was sealed on the code and does not open

    def to_fields(self) -> dict[int, object]:
        """As sent."""
        return without_none(
            {
                1: self.kiosk,
                2: self.sequence,
                3: self.stated.to_list(),
                4: self.on_code.to_list() if self.on_code else None,
                5: self.helper.to_list() if self.helper else None,
                6: self.relation,
                7: self.document,
                8: self.body_celsius,
                9: self.note,
            }
        )

    @staticmethod
    def from_fields(item: object) -> OpenedRow:
        """Decode; raises ProtocolError."""
        f = Fields(item, "opened row")
        kiosk, sequence, stated = f.octets(1, exactly=KIOSK_ID_BYTES), f.integer(2), Identity.from_list(f.any(3))
        on_code, helper = f.any(4), f.any(5)
        row = OpenedRow(
            kiosk,
            sequence,
            stated,
            None if on_code is None else Identity.from_list(on_code),
            None if helper is None else Identity.from_list(helper),
            f.maybe_text(6),
            f.maybe_text(7),
            f.number(8),
            f.maybe_text(9),
        )
        f.done()
        return row


@dataclass(frozen=True, slots=True)
class Opening:
    """What an `open` gives: rows that may be seen, and for each other record why not."""

    rows: tuple[OpenedRow, ...]
    refused: tuple[tuple[bytes, int, str], ...]  # kiosk, sequence, code
    head: Head  # the log line that stands for this look
    proof: str  # that this line is in the log's tree: text of protocol/tree_head.py, with the line and a signed head


@dataclass(frozen=True, slots=True)
class LookLine:
    """One line of the access log, as the person whom it concerns may see it."""

    sequence: int
    at_ms: int
    event: str  # "opened", or "found": searched for
    requester: str  # a user name; pages show the role and authority behind it
    purpose: str
    ground: str
    reveal: list[str]

    def to_list(self) -> list[object]:
        """As sent."""
        return [self.sequence, self.at_ms, self.event, self.requester, self.purpose, self.ground, self.reveal]

    @staticmethod
    def from_list(item: object) -> LookLine:
        """Decode; raises ProtocolError."""
        if (
            isinstance(item, list)
            and len(item) == 7
            and all(type(number) is int for number in item[:2])
            and all(isinstance(text, str) for text in item[2:6])
            and isinstance(item[6], list)
            and all(isinstance(text, str) for text in item[6])
        ):
            return LookLine(*item)
        raise ProtocolError("a look is not as agreed", code="bad_list")


@dataclass(frozen=True, slots=True)
class OwnLooks:
    """Who looked at one resident's records."""

    lines: tuple[LookLine, ...]  # newest first
    unanswered: tuple[str, ...]  # why nothing is said of one of the resident's numbers
    head: Head  # the log line of this answer


@dataclass(frozen=True, slots=True)
class Indexed:
    """What became of one batch."""

    records: int
    tags: int
    problems: tuple[tuple[bytes, int, str], ...]


def reveals(values: Iterable[Reveal]) -> frozenset[Reveal]:
    """The fields that may be shown in full; MASKED stands for none."""
    return frozenset(values) - {Reveal.MASKED}


class ConnectionLost(Exception):
    """The other side closed the connection, or was too slow."""


def send(connection: socket.socket, message: Mapping[int, object], seconds: float) -> None:
    """Send one message within *seconds*; raises ConnectionLost, or ProtocolError when it is too long to be read."""
    body = cbor.encode(message)
    if len(body) > MAX_FRAME_BYTES:
        raise ProtocolError(f"a message of {len(body)} bytes; at most {MAX_FRAME_BYTES} are read", code="too_large")
    connection.settimeout(seconds)  # for sendall this is the whole time, not a pause
    try:
        connection.sendall(_LENGTH.pack(len(body)) + body)
    except OSError as error:
        raise ConnectionLost(str(error)) from error


def receive(connection: socket.socket, idle_seconds: float, seconds: float) -> object | None:
    """Read one message, or None when the other side is done.

    It may take *idle_seconds* to begin and *seconds* from its first byte to its last. Raises ConnectionLost when it
    does not come whole, ProtocolError when it is too long or not CBOR.
    """
    connection.settimeout(idle_seconds)
    try:
        first = connection.recv(_LENGTH.size)
    except OSError as error:
        raise ConnectionLost(str(error)) from error
    if not first:
        return None
    deadline = time.monotonic() + seconds
    head = first + _read(connection, _LENGTH.size - len(first), deadline)
    (length,) = _LENGTH.unpack(head)
    if length > MAX_FRAME_BYTES:
        raise ProtocolError(f"a message of {length} bytes; at most {MAX_FRAME_BYTES} are read", code="too_large")
    return cbor.decode_strict(_read(connection, length, deadline), max_bytes=MAX_FRAME_BYTES)


def _read(connection: socket.socket, length: int, deadline: float) -> bytes:
    parts: list[bytes] = []
    while length:
        left = deadline - time.monotonic()
        if left <= 0:
            raise ConnectionLost("the message took too long")
        connection.settimeout(left)
        try:
            part = connection.recv(min(length, 65536))
        except OSError as error:
            raise ConnectionLost(str(error)) from error
        if not part:
            raise ConnectionLost("the message was cut off")
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
