"""What a log's keeper signs over its Merkle tree, as text that can be printed, mailed and checked by others' tools.

A head is a checkpoint of C2SP (tlog-checkpoint in a signed-note, Ed25519), with one extension line for the time:

    gatehouse/vault/4f6c...                        origin: the vault's fingerprint
    1312                                           lines
    sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=   root
    time 2026-11-22T02:15:48.123Z

    — gatehouse/vault/4f6c... hI2DJw...            four bytes of the key's id and the signature

A proof is C2SP's tlog-proof with the line itself as its extra data, or, for consistency, in the same shape.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocol.errors import ProtocolError
from protocol.merkle import HASH_BYTES, MAX_PROOF, check_consistency, check_inclusion, leaf_hash
from protocol.vault_keys import vault_fingerprint

MAX_HEAD_CHARACTERS = 4096
MAX_PROOF_CHARACTERS = 512 * 1024  # the longest line of a log in base64, and its proof
_NUMBER = re.compile("0|[1-9][0-9]{0,17}")
_DASH = "\u2014"  # signed-note: an em dash begins a signature line
_ED25519 = b"\x01"  # signed-note's signature type
_INCLUSION = "c2sp.org/tlog-proof@v1"
_CONSISTENCY = "gatehouse/tree-consistency@v1"


def origin_of(key: Ed25519PublicKey) -> str:
    """The name of the log that is signed with *key*."""
    return f"gatehouse/vault/{vault_fingerprint(key).hex()}"


@dataclass(frozen=True, slots=True)
class TreeHead:
    """How long the log was at some moment, and the root over its lines."""

    size: int
    root: bytes  # 32
    at_ms: int

    def to_signed(self, key: Ed25519PrivateKey) -> str:
        """The text of this head, signed."""
        name = origin_of(key.public_key())
        text = f"{name}\n{self.size}\n{_b64(self.root)}\ntime {_iso(self.at_ms)}\n"
        signature = _key_id(name, key.public_key()) + key.sign(text.encode())
        return f"{text}\n{_DASH} {name} {_b64(signature)}\n"

    @staticmethod
    def from_signed(signed: str, key: Ed25519PublicKey) -> TreeHead:
        """Read a head and check its signature; others' signatures beside it are let be. Raises ProtocolError.

        (1) it has a text and signature lines; (2) one of them is of this vault's name and key, and holds; (3) the text
        is a checkpoint of this log.
        """
        name = origin_of(key)
        text, gap, signatures = signed.partition("\n\n")  # (1)
        text += "\n"
        if not gap or len(signed) > MAX_HEAD_CHARACTERS or not signatures.endswith("\n"):
            raise ProtocolError("tree head: not a signed note", code="bad_head")
        marks = (line.split(" ") for line in signatures[:-1].split("\n"))
        own = [mark[2] for mark in marks if len(mark) == 3 and mark[:2] == [_DASH, name]]  # (2)
        if not own or not any(_holds(one, name, text, key) for one in own):
            raise ProtocolError("tree head: it is not signed by this vault", code="bad_signature")
        lines = text[:-1].split("\n")  # (3)
        if len(lines) != 4 or lines[0] != name or not _NUMBER.fullmatch(lines[1]):
            raise ProtocolError("tree head: its text is not a checkpoint of this log", code="bad_head")
        root = _unb64(lines[2])
        if len(root) != HASH_BYTES:
            raise ProtocolError("tree head: its root has not 32 bytes", code="bad_head")
        return TreeHead(int(lines[1]), root, _ms(lines[3]))


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """That one line stands in the log of a signed head, with the line itself."""

    index: int  # 0: the log's first line
    line: bytes  # without its line end
    hashes: tuple[bytes, ...]
    signed_head: str

    def to_text(self) -> str:
        """As C2SP's tlog-proof; the line is its extra data, which the proof covers as the leaf."""
        hashes = "".join(f"{_b64(one)}\n" for one in self.hashes)
        return f"{_INCLUSION}\nextra {_b64(self.line)}\nindex {self.index}\n{hashes}\n{self.signed_head}"

    @staticmethod
    def from_text(text: str) -> InclusionProof:
        """Read the shape; raises ProtocolError. Nothing in it may be believed before `check`."""
        lines, head = _parts(text, _INCLUSION)
        if len(lines) < 2 or not lines[0].startswith("extra ") or not lines[1].startswith("index "):
            raise ProtocolError("proof: it has no line and index", code="bad_proof")
        return InclusionProof(
            _number(lines[1].removeprefix("index ")), _unb64(lines[0].removeprefix("extra ")), _hashes(lines[2:]), head
        )

    def check(self, key: Ed25519PublicKey) -> TreeHead:
        """The head under which the line stands, once signature and proof hold; raises ProtocolError."""
        head = TreeHead.from_signed(self.signed_head, key)
        check_inclusion(leaf_hash(self.line), self.index, head.size, self.hashes, head.root)
        return head


@dataclass(frozen=True, slots=True)
class ConsistencyProof:
    """That the log of a signed head begins with the log of an older one."""

    old_size: int
    hashes: tuple[bytes, ...]
    signed_head: str  # the newer one

    def to_text(self) -> str:
        """As lines of text, in the manner of tlog-proof (which knows inclusion only)."""
        hashes = "".join(f"{_b64(one)}\n" for one in self.hashes)
        return f"{_CONSISTENCY}\nold {self.old_size}\n{hashes}\n{self.signed_head}"

    @staticmethod
    def from_text(text: str) -> ConsistencyProof:
        """Read the shape; raises ProtocolError."""
        lines, head = _parts(text, _CONSISTENCY)
        if not lines or not lines[0].startswith("old "):
            raise ProtocolError("proof: it does not say from which size it leads", code="bad_proof")
        return ConsistencyProof(_number(lines[0].removeprefix("old ")), _hashes(lines[1:]), head)

    def check(self, old: TreeHead, key: Ed25519PublicKey) -> TreeHead:
        """The newer head, once its signature holds and it is shown to continue *old*; raises ProtocolError."""
        head = TreeHead.from_signed(self.signed_head, key)
        if old.size != self.old_size:
            raise ProtocolError(f"proof: it leads from {self.old_size} lines, not {old.size}", code="not_consistent")
        check_consistency(old.size, head.size, self.hashes, old.root, head.root)
        return head


def read_proof(text: str) -> InclusionProof | ConsistencyProof:
    """Whichever of the two *text* is; raises ProtocolError."""
    return ConsistencyProof.from_text(text) if text.startswith(_CONSISTENCY) else InclusionProof.from_text(text)


def _parts(text: str, first: str) -> tuple[list[str], str]:
    above, gap, head = text.partition("\n\n")
    lines = above.split("\n")
    if not gap or len(text) > MAX_PROOF_CHARACTERS or lines[0] != first or len(lines) > MAX_PROOF + 3:
        raise ProtocolError(f"proof: expected the text that begins with {first}", code="bad_proof")
    return lines[1:], head


def _hashes(lines: list[str]) -> tuple[bytes, ...]:
    found = tuple(_unb64(line) for line in lines)
    if not all(len(one) == HASH_BYTES for one in found):
        raise ProtocolError("proof: a hash has not 32 bytes", code="bad_proof")
    return found


def _holds(mark: str, name: str, text: str, key: Ed25519PublicKey) -> bool:
    try:
        raw = _unb64(mark)
        key.verify(raw[4:], text.encode())
    except (InvalidSignature, ProtocolError):
        return False
    return raw[:4] == _key_id(name, key)


def _key_id(name: str, key: Ed25519PublicKey) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + key.public_bytes_raw()).digest()[:4]


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise ProtocolError("proof: a number is not one", code="bad_proof")
    return int(text)


def _iso(at_ms: int) -> str:
    at = datetime.fromtimestamp(at_ms // 1000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z"


def _ms(line: str) -> int:
    try:
        at = datetime.strptime(line, "time %Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    except ValueError:
        raise ProtocolError("tree head: it has no time", code="bad_head") from None
    return int(at.replace(microsecond=0).timestamp()) * 1000 + at.microsecond // 1000


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _unb64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ProtocolError("tree: a text is not base64", code="bad_head") from None
