"""The journal's records and the hash chain that ties them together, on the kiosk and on the server alike.

The chain goes over digests of a record's parts, so that it can still be verified when a destroyed epoch's key or an
expired sealed part is gone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from protocol.errors import ChainBroken, ProtocolError
from protocol.passage import Header
from protocol.sealing import EPOCH_ID_BYTES, WRAPPED_BYTES

HASH_BYTES = 32
MAX_HEADER_BYTES = 2048
MAX_SEALED_BYTES = 8192


def genesis(kiosk: bytes) -> bytes:
    """The hash before a kiosk's first record."""
    return hashlib.sha256(b"gatehouse journal 1" + kiosk).digest()


_NOTHING = hashlib.sha256(b"").digest()


def link(previous: bytes, sequence: int, epoch: bytes, digests: tuple[bytes, bytes, bytes]) -> bytes:
    """The chain hash of a record from the SHA-256 of its wrapped key, header and sealed part."""
    return hashlib.sha256(
        b"gatehouse record 1" + previous + sequence.to_bytes(8, "big") + epoch + b"".join(digests)
    ).digest()


class Record(NamedTuple):
    """One journal record as it is stored and sent. A tuple: a server makes millions of them."""

    sequence: int  # from 1, without gaps
    epoch: bytes  # 16 bytes
    wrapped: bytes  # the epoch's wrapped key in its first record, else empty
    header: bytes
    sealed: bytes  # empty for events

    def digests(self) -> tuple[bytes, bytes, bytes]:
        """SHA-256 of the wrapped key, the header and the sealed part."""
        return (
            hashlib.sha256(self.wrapped).digest() if self.wrapped else _NOTHING,
            hashlib.sha256(self.header).digest(),
            hashlib.sha256(self.sealed).digest() if self.sealed else _NOTHING,
        )

    def hash_after(self, previous: bytes) -> bytes:
        """The chain hash of this record when it follows *previous*."""
        return link(previous, self.sequence, self.epoch, self.digests())

    def to_list(self) -> list[object]:
        """The record as it stands in an exchange."""
        return [self.sequence, self.epoch, self.wrapped, self.header, self.sealed]

    @staticmethod
    def from_list(value: object) -> Record:
        """Check the shape and bounds of a record that came in; raises ProtocolError."""
        if not isinstance(value, list) or len(value) != 5:
            raise ProtocolError("a record is not a list of five parts", code="bad_record")
        sequence, epoch, wrapped, header, sealed = value
        if type(sequence) is not int or not 1 <= sequence < 2**63:
            raise ProtocolError("a record's sequence is not a positive integer", code="bad_record")
        if not (type(epoch) is bytes and type(wrapped) is bytes and type(header) is bytes and type(sealed) is bytes):
            raise ProtocolError(f"record {sequence}: a part is not a byte string", code="bad_record")
        if (
            len(epoch) != EPOCH_ID_BYTES
            or len(wrapped) not in (0, WRAPPED_BYTES)
            or not 0 < len(header) <= MAX_HEADER_BYTES
            or len(sealed) > MAX_SEALED_BYTES
        ):
            raise ProtocolError(f"record {sequence}: a part has a length that cannot be", code="bad_record")
        return Record._make(value)


def continue_chain(records: Iterable[Record], previous: bytes, sequence: int) -> Iterator[tuple[Record, bytes]]:
    """Yield each record with its chain hash, continuing after (*sequence*, *previous*).

    Raises ChainBroken at the first record that does not follow its predecessor.
    """
    for record in records:
        if record.sequence != sequence + 1:
            raise ChainBroken(record.sequence, f"record {record.sequence} follows record {sequence}")
        sequence, previous = record.sequence, record.hash_after(previous)
        yield record, previous


def header_of(record: Record, kiosk: bytes) -> Header:
    """Decode a record's header and check that it is its own; raises ProtocolError.

    A record can continue the chain and still carry nonsense: the server then keeps it in quarantine.
    """
    header = Header.from_bytes(record.header)
    if header.sequence != record.sequence or header.place.kiosk != kiosk:
        raise ProtocolError(f"record {record.sequence} carries the header of another record", code="foreign_header")
    return header
