"""The one exchange between kiosk and server: records up, a signed receipt and commands down (plan, section 5).

An upload is a signed envelope followed by the compressed records whose SHA-256 the envelope carries:
`length of envelope (4 bytes, big-endian) | envelope (COSE_Sign1) | zlib(CBOR array of records)`. Beside a backlog the
envelope may itself carry the newest records out of order: news for people, while the chain stays what counts.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocol import cbor, cose, signed
from protocol.errors import ProtocolError
from protocol.fields import Fields, without_none
from protocol.journal import HASH_BYTES, Record
from protocol.passage import KIOSK_ID_BYTES

VERSION = 1
EXCHANGE_PATH = "/sync/v1/exchange"
CONTENT_TYPE = "application/vnd.gatehouse.exchange"
MAX_RECORDS = 1000  # a batch that every server takes
MOST_RECORDS = 4000  # a batch that this version takes, once its server has said so (`Takes`)
MAX_EARLY = 32  # records out of order in one envelope
MAX_EARLY_BYTES = 40_000  # and their size, so that an envelope stays below the 64 KiB that a reader takes
MAX_UNPACKED_BYTES = 8 * 1024 * 1024
MAX_UPLOAD_BYTES = 4 * 1024 * 1024
EXCHANGE_ID_BYTES = 16
COPIED = "copied"  # a command: another history of this kiosk came in once; tell its staff, and go on

_REQUEST = "exchange request 1"
_RESPONSE = "exchange response 1"
_RECEIPT = "receipt 1"
_CALL = "call 1"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The server's word: "I hold this kiosk's journal up to `sequence`, and its hash there is `head`"."""

    kiosk: bytes
    sequence: int
    head: bytes  # 32 bytes; the genesis hash when sequence is 0
    at_ms: int

    def to_signed(self, key: Ed25519PrivateKey) -> bytes:
        """Sign as the server."""
        return signed.sign(_RECEIPT, {1: VERSION, 2: self.kiosk, 3: self.sequence, 4: self.head, 5: self.at_ms}, key)

    @staticmethod
    def from_signed(data: bytes, server: Ed25519PublicKey) -> Receipt:
        """Verify with the pinned key of the server; raises ProtocolError."""
        f = signed.verify(_RECEIPT, data, server)
        f.integer(1, VERSION, VERSION)
        receipt = Receipt(
            f.octets(2, exactly=KIOSK_ID_BYTES), f.integer(3), f.octets(4, exactly=HASH_BYTES), f.integer(5)
        )
        f.done()
        return receipt


@dataclass(frozen=True, slots=True)
class Upload:
    """What a kiosk sends. `records` continue its journal right after (`after_sequence`, `after_hash`)."""

    kiosk: bytes
    exchange: bytes  # 16 random bytes; the answer repeats them
    sent_at_ms: int
    mono_ms: int
    boot: bytes
    after_sequence: int
    after_hash: bytes
    records: tuple[Record, ...]
    head_sequence: int  # the kiosk's own last record, so that the server can tell how many are unsent
    oldest_unsent_ms: int | None
    bundle_version: int
    app_version: str
    health: tuple[tuple[str, str], ...] = ()  # part -> state in one word, for example ("camera", "live")
    faults: tuple[str, ...] = ()
    early: tuple[Record, ...] = ()  # the newest, ascending, all after `records`: only to a server that takes them

    def to_bytes(self, key: Ed25519PrivateKey, packed: bytes | None = None) -> bytes:
        """Sign with the device key and pack; *packed* is `pack(self.records)` when it was made before."""
        blob = pack(self.records) if packed is None else packed
        envelope = signed.sign(
            _REQUEST,
            without_none(
                {
                    1: VERSION,
                    2: self.kiosk,
                    3: self.exchange,
                    4: self.sent_at_ms,
                    5: self.mono_ms,
                    6: self.boot,
                    7: self.after_sequence,
                    8: self.after_hash,
                    9: hashlib.sha256(blob).digest(),
                    10: self.head_sequence,
                    11: self.oldest_unsent_ms,
                    12: self.bundle_version,
                    13: self.app_version,
                    14: [list(pair) for pair in self.health],
                    15: list(self.faults),
                    16: [r.to_list() for r in self.early],
                }
            ),
            key,
        )
        return len(envelope).to_bytes(4, "big") + envelope + blob

    @staticmethod
    def claimed_kiosk(data: bytes) -> bytes:
        """The kiosk that an upload claims to come from: look up its key, then call `from_bytes`."""
        return signed.signer_of(_split(data)[0])

    @staticmethod
    def from_bytes(data: bytes, key: Ed25519PublicKey) -> Upload:
        """Verify and unpack; memory stays bounded whatever comes. Raises ProtocolError."""
        envelope, blob = _split(data)
        f = signed.verify(_REQUEST, envelope, key)
        f.integer(1, VERSION, VERSION)
        kiosk = f.octets(2, exactly=KIOSK_ID_BYTES)
        if kiosk != signed.key_id(key):
            raise ProtocolError("upload: signed by another device than it names", code="wrong_device")
        exchange = f.octets(3, exactly=EXCHANGE_ID_BYTES)
        sent_at_ms, mono_ms, boot = f.take(4, int), f.integer(5), f.octets(6, exactly=8)
        after_sequence, after_hash = f.integer(7), f.octets(8, exactly=HASH_BYTES)
        if f.octets(9, exactly=32) != hashlib.sha256(blob).digest():
            raise ProtocolError("upload: the records are not the ones that were signed", code="changed")
        upload = Upload(
            kiosk=kiosk,
            exchange=exchange,
            sent_at_ms=sent_at_ms,
            mono_ms=mono_ms,
            boot=boot,
            after_sequence=after_sequence,
            after_hash=after_hash,
            records=_unpack(blob),
            head_sequence=f.integer(10),
            oldest_unsent_ms=f.maybe(11, int),
            bundle_version=f.integer(12),
            app_version=f.text(13, at_most=64),
            health=_pairs(f.any(14)),
            faults=f.texts(15),
            early=_early(f.any(16), after_sequence),
        )
        f.done()
        return upload

    @staticmethod
    def envelope_of(data: bytes) -> bytes:
        """The signed envelope of an upload that `from_bytes` believed: evidence for the early records in it."""
        return _split(data)[0]


@dataclass(frozen=True, slots=True)
class Takes:
    """What a server takes beyond version 1; it says so in each answer, and a kiosk that fails forgets it again."""

    records: int = MAX_RECORDS  # in one batch
    early: int = 0  # records out of order in one envelope

    def command(self) -> str:
        """The command that says it; a kiosk that does not know it goes on as before."""
        return f"{_TAKES} {self.records} {self.early}"

    @staticmethod
    def from_commands(commands: Sequence[str]) -> Takes:
        """What the server of an answer takes, within what this version can send; version 1 when it does not say."""
        for command in commands:
            word, _, rest = command.partition(" ")
            numbers = rest.split(" ")
            if (
                word == _TAKES
                and len(numbers) == 2
                and all(n.isascii() and n.isdigit() and len(n) < 8 for n in numbers)
            ):
                records, early = int(numbers[0]), int(numbers[1])
                return Takes(max(1, min(records, MOST_RECORDS)), min(early, MAX_EARLY))
        return Takes()


TAKES = Takes(MOST_RECORDS, MAX_EARLY)
_TAKES = "takes"


def pack(records: Sequence[Record]) -> bytes:
    """The packed records of an upload: zlib of their CBOR array. What is sealed does not shrink, so level 1."""
    return zlib.compress(cbor.encode_flat([r.to_list() for r in records]), 1)


def record_digest(record: Record) -> bytes:
    """SHA-256 over all that a record is: two records with the same digest are the same record."""
    return hashlib.sha256(cbor.encode_flat(record.to_list())).digest()


def early_in(envelope: bytes) -> tuple[Record, ...]:
    """The early records of an envelope that was verified when it came in and kept since."""
    payload = cbor.decode_strict(cose.parse1(envelope).payload)
    f = Fields(payload, "envelope")
    return _early(f.any(16), f.integer(7))


def _early(value: Any, after_sequence: int) -> tuple[Record, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MAX_EARLY:
        raise ProtocolError(f"upload: the early records are not a list of at most {MAX_EARLY}", code="bad_list")
    records = tuple(Record.from_list(item) for item in value)
    last = after_sequence
    for record in records:
        if record.sequence <= last:
            raise ProtocolError("upload: the early records do not ascend", code="bad_list")
        last = record.sequence
    return records


def _split(data: bytes) -> tuple[bytes, bytes]:
    if len(data) > MAX_UPLOAD_BYTES:
        raise ProtocolError(f"upload: {len(data)} bytes, limit {MAX_UPLOAD_BYTES}", code="too_large")
    length = int.from_bytes(data[:4], "big")
    if len(data) < 4 or not 0 < length <= min(len(data) - 4, 65536):
        raise ProtocolError("upload: its envelope is cut short", code="truncated")
    return data[4 : 4 + length], data[4 + length :]


def _unpack(blob: bytes) -> tuple[Record, ...]:
    unpacker = zlib.decompressobj()
    try:
        plain = unpacker.decompress(blob, MAX_UNPACKED_BYTES)
    except zlib.error as error:
        raise ProtocolError("upload: the records cannot be unpacked", code="bad_compression") from error
    if not unpacker.eof or unpacker.unused_data:
        raise ProtocolError("upload: the packed records are cut short, too large or followed by more", code="too_large")
    items = cbor.decode_strict(plain, max_bytes=MAX_UNPACKED_BYTES)
    if not isinstance(items, list) or len(items) > MOST_RECORDS:
        raise ProtocolError(f"upload: the records are not a list of at most {MOST_RECORDS}", code="bad_list")
    return tuple(Record.from_list(item) for item in items)


def _pairs(value: Any) -> tuple[tuple[str, str], ...]:
    if value is None:
        return ()
    if (
        isinstance(value, list)
        and len(value) <= 32
        and all(isinstance(p, list) and len(p) == 2 and all(type(x) is str and len(x) <= 64 for x in p) for p in value)
    ):
        return tuple((p[0], p[1]) for p in value)
    raise ProtocolError("upload: the health list is not a list of at most 32 short pairs", code="bad_list")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server says to an upload. `result` is one of "ok", "gap", "fork", "suspended"."""

    exchange: bytes
    upload_digest: bytes  # SHA-256 of the upload as it came in: the answer belongs to it and to nothing else
    at_ms: int
    result: str
    receipt: bytes  # a signed Receipt; what the server holds now, whatever came
    want: int  # the next sequence the server wants
    quarantined: tuple[tuple[int, str], ...] = ()  # taken and kept apart: (sequence, reason)
    bundle_version: int = 0
    commands: tuple[str, ...] = ()

    def to_signed(self, key: Ed25519PrivateKey) -> bytes:
        """Sign as the server."""
        return signed.sign(
            _RESPONSE,
            without_none(
                {
                    1: VERSION,
                    2: self.exchange,
                    3: self.upload_digest,
                    4: self.at_ms,
                    5: self.result,
                    6: self.receipt,
                    7: self.want,
                    8: [list(q) for q in self.quarantined],
                    9: self.bundle_version,
                    10: list(self.commands),
                }
            ),
            key,
        )

    @staticmethod
    def from_signed(data: bytes, server: Ed25519PublicKey, upload: bytes) -> Answer:
        """Verify that the pinned server answers exactly this *upload*; raises ProtocolError."""
        f = signed.verify(_RESPONSE, data, server)
        f.integer(1, VERSION, VERSION)
        exchange, digest = f.octets(2, exactly=EXCHANGE_ID_BYTES), f.octets(3, exactly=32)
        if digest != hashlib.sha256(upload).digest():
            raise ProtocolError("answer: it belongs to another upload", code="wrong_upload")
        answer = Answer(
            exchange,
            digest,
            f.integer(4),
            f.text(5, at_most=32),
            f.octets(6),
            f.integer(7, 1),
            _quarantined(f.any(8)),
            f.integer(9),
            f.texts(10),
        )
        f.done()
        return answer


def _quarantined(value: Any) -> tuple[tuple[int, str], ...]:
    if value is None:
        return ()
    if isinstance(value, list) and all(
        isinstance(q, list) and len(q) == 2 and type(q[0]) is int and type(q[1]) is str for q in value
    ):
        return tuple((q[0], q[1]) for q in value)
    raise ProtocolError("answer: the quarantine list is malformed", code="bad_list")


@dataclass(frozen=True, slots=True)
class Call:
    """A signed GET of a kiosk, carried in the `Authorization` header as `Gatehouse BASE64URL`."""

    method: str
    path: str
    at_ms: int
    nonce: bytes  # 16 random bytes; a server may refuse a nonce it saw

    def to_signed(self, key: Ed25519PrivateKey) -> bytes:
        """Sign with the device key."""
        return signed.sign(_CALL, {1: self.method, 2: self.path, 3: self.at_ms, 4: self.nonce}, key)

    @staticmethod
    def from_signed(data: bytes, key: Ed25519PublicKey) -> Call:
        """Verify; the caller compares method, path and time with the request. Raises ProtocolError."""
        f = signed.verify(_CALL, data, key)
        call = Call(f.text(1, at_most=8), f.text(2), f.take(3, int), f.octets(4, exactly=16))
        f.done()
        return call


def fields_of(data: bytes, what: str) -> Fields:
    """Decode an unsigned CBOR map, for example an error answer, which nothing may depend on."""
    return Fields(cbor.decode_strict(data), what)
