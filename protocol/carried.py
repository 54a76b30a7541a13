"""A journal carried by hand: a file of ordinary uploads under one closing signature, and the receipt carried back.

`GHJ1 | (length, 4 bytes big-endian | upload) ... | 0 (4 bytes) | closing (COSE_Sign1)`. Each upload is what the network
exchange would have sent, so that the server takes it the same way; the closing says that no upload is missing.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocol import signed
from protocol.errors import ProtocolError
from protocol.exchange import EXCHANGE_ID_BYTES
from protocol.fields import without_none
from protocol.passage import KIOSK_ID_BYTES

VERSION = 1
MAGIC = b"GHJ1"
LENGTH_BYTES = 4
END = bytes(LENGTH_BYTES)
MAX_CLOSING_BYTES = 1024
MAX_UPLOADS = 100_000  # a hundred million passages
MAX_RECEIPT_BYTES = 65536
MOST_QUARANTINED = 500  # named in a receipt file; the server's console shows all

_CLOSING = "journal file 1"
_RECEIPT = "journal receipt 1"


def framed(upload: bytes) -> bytes:
    """An upload as it stands in the file."""
    return len(upload).to_bytes(LENGTH_BYTES, "big") + upload


@dataclass(frozen=True, slots=True)
class Closing:
    """The device's signature over a whole file."""

    kiosk: bytes
    file_id: bytes  # 16 random bytes; the receipt repeats them
    made_at_ms: int  # by the kiosk's clock
    after_sequence: int  # the file's records begin after this one
    last_sequence: int  # and end with this one
    uploads: int
    digest: bytes  # SHA-256 of everything in the file before the closing

    def to_signed(self, key: Ed25519PrivateKey) -> bytes:
        """Sign with the device key."""
        return signed.sign(
            _CLOSING,
            {
                1: VERSION,
                2: self.kiosk,
                3: self.file_id,
                4: self.made_at_ms,
                5: self.after_sequence,
                6: self.last_sequence,
                7: self.uploads,
                8: self.digest,
            },
            key,
        )

    @staticmethod
    def claimed_kiosk(data: bytes) -> bytes:
        """The kiosk that a file claims to come from: look up its key, then call `from_signed`."""
        return signed.signer_of(data)

    @staticmethod
    def from_signed(data: bytes, key: Ed25519PublicKey) -> Closing:
        """Verify; the caller compares `uploads` and `digest` with the file. Raises ProtocolError."""
        f = signed.verify(_CLOSING, data, key)
        f.integer(1, VERSION, VERSION)
        closing = Closing(
            f.octets(2, exactly=KIOSK_ID_BYTES),
            f.octets(3, exactly=EXCHANGE_ID_BYTES),
            f.integer(4, -(2**53), 2**53),
            f.integer(5),
            f.integer(6),
            f.integer(7, 1, MAX_UPLOADS),
            f.octets(8, exactly=32),
        )
        f.done()
        if closing.kiosk != signed.key_id(key):
            raise ProtocolError("journal file: signed by another device than it names", code="wrong_device")
        return closing


@dataclass(frozen=True, slots=True)
class CarriedReceipt:
    """The server's answer to a file, for the way back. `receipt` is a signed Receipt, as in the network exchange."""

    kiosk: bytes
    file_id: bytes
    at_ms: int
    result: str  # "ok", "gap", "fork"
    receipt: bytes
    quarantined: tuple[tuple[int, str], ...] = ()  # taken and kept apart; the first MOST_QUARANTINED

    def to_signed(self, key: Ed25519PrivateKey) -> bytes:
        """Sign as the server."""
        return signed.sign(
            _RECEIPT,
            without_none(
                {
                    1: VERSION,
                    2: self.kiosk,
                    3: self.file_id,
                    4: self.at_ms,
                    5: self.result,
                    6: self.receipt,
                    7: [list(pair) for pair in self.quarantined[:MOST_QUARANTINED]],
                }
            ),
            key,
        )

    @staticmethod
    def from_signed(data: bytes, server: Ed25519PublicKey) -> CarriedReceipt:
        """Verify with the pinned key of the server; raises ProtocolError."""
        f = signed.verify(_RECEIPT, data, server)
        f.integer(1, VERSION, VERSION)
        carried = CarriedReceipt(
            f.octets(2, exactly=KIOSK_ID_BYTES),
            f.octets(3, exactly=EXCHANGE_ID_BYTES),
            f.integer(4),
            f.text(5, at_most=16),
            f.octets(6, at_most=1024),
            _pairs(f.any(7)),
        )
        f.done()
        return carried


def _pairs(value: object) -> tuple[tuple[int, str], ...]:
    if value is None:
        return ()
    if (
        isinstance(value, list)
        and len(value) <= MOST_QUARANTINED
        and all(
            isinstance(p, list) and len(p) == 2 and type(p[0]) is int and type(p[1]) is str and len(p[1]) <= 64
            for p in value
        )
    ):
        return tuple((p[0], p[1]) for p in value)
    raise ProtocolError("journal receipt: the quarantine list is malformed", code="bad_list")
