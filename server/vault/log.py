"""The vault's own access log: append-only, hash-chained, each line signed, on the disk before any answer leaves.

One JSON object a line, so that it can be read with the eye: sequence, time, event, what it tells of, the hash of the
line before and its own hash with the vault's signature. It is the only truth about what was opened, revoked and
destroyed: a restart reads it again. A changed, removed or inserted line shows when it is verified; a cut tail shows
against a head noted elsewhere. The same lines are the leaves of a Merkle tree (docs/decisions/0132): its signed heads
and proofs show one line, or one head's growth into another, to somebody who has not the log.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from config.files import sync_folder
from protocol.errors import ProtocolError
from protocol.merkle import check_consistency, check_inclusion, consistency_proof, inclusion_proof, leaf_hash
from protocol.merkle import root_at as tree_root_at
from protocol.tree_head import ConsistencyProof, InclusionProof, TreeHead
from server.vault.errors import VaultError
from server.vault.tree import LogTree

LOG_FILE = "access.log"
GENESIS = hashlib.sha256(b"gatehouse vault log 1").hexdigest()
MAX_LINE_BYTES = 256 * 1024
_READ_BYTES = 2 * 1024 * 1024
_SIGNED = b"gatehouse vault log line 1"


@dataclass(frozen=True, slots=True)
class Head:
    """Where the log stands: the newest line's number and hash. Note it elsewhere: it is what shows a cut tail."""

    sequence: int  # 0: empty
    hash: str  # 64 hex digits

    def __str__(self) -> str:
        return f"{self.sequence}:{self.hash}"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the log."""

    sequence: int
    at_ms: int
    event: str
    facts: Mapping[str, Any]
    hash: str
    size_bytes: int  # with its line end
    leaf: bytes  # its hash in the Merkle tree, over the line without its end


class AccessLog:
    """The open log of one running vault; one process at a time may have it open."""

    def __init__(self, folder: Path, key: Ed25519PrivateKey) -> None:
        """Open or begin the log. Raises VaultError when it does not verify or another process has it open.

        A last line without its end, or with holes in it, is what a power cut leaves: no answer had left for it, so it
        is cut off, and the next line says so.
        """
        self._key = key
        self._path = folder / LOG_FILE
        is_new = not self._path.exists()
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise VaultError(
                "This vault is already running.", hint="One process at a time may use its folder."
            ) from None
        if is_new:
            sync_folder(folder)
        self.torn_bytes = self._cut_torn_tail()
        self.head = Head(0, GENESIS)
        self.newest_ms = 0  # the latest moment any line tells of
        self._ends = array("Q")  # where each line ends, so that reading on needs no search
        try:
            self._tree = LogTree(folder)
        except OSError:
            os.close(self._file)
            raise

    def replay(self) -> Iterator[Line]:
        """Verify the whole log and yield its lines, once, before the first `append`; raises VaultError at a break."""
        for line in verified_lines(self._path, self._key.public_key(), each_signature=False):
            self.head, self.newest_ms = Head(line.sequence, line.hash), max(self.newest_ms, line.at_ms)
            self._ends.append(self._end() + line.size_bytes)
            self._tree.grow(line.leaf)
            yield line
        self._tree.settle()

    def append(self, at_ms: int, event: str, facts: Mapping[str, Any]) -> Head:
        """Write one line and wait until it is on the disk.

        Raises OSError, and VaultError when the file is not as this process has left it; then nothing may be answered.
        """
        body: dict[str, Any] = {"sequence": self.head.sequence + 1, "at_ms": at_ms, "event": event, "facts": facts}
        body["previous"] = self.head.hash
        digest = _digest(body)
        body["hash"] = digest.hex()
        body["signature"] = self._key.sign(_SIGNED + digest).hex()
        data = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        if len(data) > MAX_LINE_BYTES:
            raise VaultError(f"A log line of {len(data)} bytes is too long.", hint="Ask for fewer records at a time.")
        start = os.fstat(self._file).st_size
        if start != self._end():
            raise _broken(body["sequence"], "somebody else has changed the file meanwhile")
        try:
            written = os.write(self._file, data)
            if written != len(data):
                raise OSError("the access log's disk is full")
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, start)  # half a line, or one that may not be on the disk, must not be chained to
            raise
        self.head, self.newest_ms = Head(body["sequence"], body["hash"]), max(self.newest_ms, at_ms)
        self._ends.append(start + len(data))
        self._tree.grow(leaf_hash(data[:-1]))
        self._tree.settle()
        return self.head

    def signed_head(self, at_ms: int) -> str:
        """The tree over all lines as of *at_ms*, signed (protocol/tree_head.py)."""
        return TreeHead(self._tree.frontier.size, self._tree.frontier.root(), at_ms).to_signed(self._key)

    def prove(self, sequence: int, at_ms: int) -> InclusionProof:
        """That line *sequence* (from 1) stands in the log, under a head signed now; raises VaultError when not."""
        if not 1 <= sequence <= len(self._ends):
            raise VaultError(
                f"The access log has no line {sequence}.", hint=f"It has {len(self._ends)}.", code="no_line"
            )
        line = self._raw(sequence)
        size, root = self._tree.frontier.size, self._tree.frontier.root()
        for _ in range(2):
            hashes = inclusion_proof(sequence - 1, size, self._tree.node)
            try:
                check_inclusion(leaf_hash(line), sequence - 1, size, hashes, root)
            except ProtocolError:
                self._regrow(root)
                continue
            return InclusionProof(sequence - 1, line, tuple(hashes), self.signed_head(at_ms))
        raise _broken(sequence, "it is not the line that stood there")

    def prove_growth(self, old_size: int, at_ms: int) -> ConsistencyProof:
        """That the log of *old_size* lines is the beginning of today's; raises VaultError when it was never so long."""
        size, root = self._tree.frontier.size, self._tree.frontier.root()
        if not 1 <= old_size <= size:
            raise VaultError(f"The access log was never {old_size} lines long.", hint=f"It has {size}.", code="no_line")
        for _ in range(2):
            hashes = consistency_proof(old_size, size, self._tree.node)
            try:
                check_consistency(old_size, size, hashes, tree_root_at(old_size, self._tree.node), root)
            except ProtocolError:
                self._regrow(root)
                continue
            return ConsistencyProof(old_size, tuple(hashes), self.signed_head(at_ms))
        raise _broken(old_size, "the tree does not grow from there")

    def _regrow(self, root: bytes) -> None:
        """Make the tree's file again from the log: somebody has changed it while we ran."""
        self._tree.restart()
        for sequence in range(1, len(self._ends) + 1):
            self._tree.grow(leaf_hash(self._raw(sequence)))
        self._tree.settle()
        if self._tree.frontier.root() != root:
            raise _broken(len(self._ends), "its lines are not those that were written")

    def _raw(self, sequence: int) -> bytes:
        """One line as it stands in the file, without its end."""
        start = self._ends[sequence - 2] if sequence > 1 else 0
        return os.pread(self._file, self._ends[sequence - 1] - start - 1, start)

    def lines_after(self, sequence: int, limit: int) -> list[str]:
        """At most *limit* raw lines after line *sequence*, oldest first; fewer when they are long (2 MiB in all)."""
        if sequence >= len(self._ends):
            return []
        first = self._ends[sequence - 1] if sequence else 0
        count = min(limit, len(self._ends) - sequence)
        while count > 1 and self._ends[sequence + count - 1] - first > _READ_BYTES:
            count //= 2
        raw = os.pread(self._file, self._ends[sequence + count - 1] - first, first)
        # by bytes: a text's own idea of line ends knows U+2028 as well, which a case reference may hold
        return [f"{line.decode('utf-8', 'replace')}\n" for line in raw.split(b"\n")[:-1]]

    def _end(self) -> int:
        return self._ends[-1] if self._ends else 0

    def close(self) -> None:
        """Let go of the files."""
        self._tree.close()
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _cut_torn_tail(self) -> int:
        size = os.fstat(self._file).st_size
        reach = min(size, 2 * MAX_LINE_BYTES + 2)
        tail = os.pread(self._file, reach, size - reach)
        whole = tail.rfind(b"\n") + 1
        newest = tail.rfind(b"\n", 0, max(0, whole - 1)) + 1
        if b"\0" in tail[newest:whole]:  # a long line of which later pages reached the disk and earlier ones did not
            whole = newest
        torn = len(tail) - whole
        if torn:
            os.ftruncate(self._file, size - torn)
            os.fsync(self._file)
        return torn


def verified_lines(path: Path, key: Ed25519PublicKey, *, each_signature: bool = True) -> Iterator[Line]:
    """Yield the lines of the log at *path*, each checked; raises VaultError `log_broken` at the first bad one.

    The chain makes the last signature vouch for every line; *each_signature* checks all of them (an inspector's choice:
    a file that was cut and continued by another key shows the line where it happened).
    """
    previous, expected = GENESIS, 1
    last: tuple[bytes, str] | None = None
    with path.open("rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise VaultError(f"{path} is not a file.", hint="Give the vault's access.log.")
        while raw := file.readline(MAX_LINE_BYTES + 1):
            line, digest, signature = _parsed(raw, expected, previous)
            if each_signature:
                _check_signature(key, digest, signature, expected)
            previous, last = line.hash, (digest, signature)
            expected += 1
            yield line
    if last is not None:
        _check_signature(key, *last, expected - 1)


def verify_log(path: Path, key: Ed25519PublicKey, noted: Head | None = None) -> Head:
    """Verify a whole log and return its head. Raises VaultError `log_broken`.

    With *noted*, a head seen earlier, the log must hold exactly that line: a log cut below it or rewritten is refused.
    """
    head = Head(0, GENESIS)
    is_noted_seen = noted is None or noted.sequence == 0
    for line in verified_lines(path, key):
        head = Head(line.sequence, line.hash)
        if noted is not None and noted.sequence == line.sequence:
            if noted.hash != line.hash:
                raise _broken(line.sequence, "it is not the line that was noted")
            is_noted_seen = True
    if noted is not None and not is_noted_seen:
        raise _broken(head.sequence + 1, f"it is missing; the log once reached line {noted.sequence}")
    return head


def check_line(raw: str, expected: int, previous: str, key: Ed25519PublicKey) -> Line:
    """Check one raw line against its predecessor's hash and the vault's signature; raises VaultError `log_broken`."""
    line, digest, signature = _parsed(raw.encode(), expected, previous)
    _check_signature(key, digest, signature, expected)
    return line


def _parsed(raw: bytes, expected: int, previous: str) -> tuple[Line, bytes, str]:
    if not raw.endswith(b"\n"):
        raise _broken(expected, "it has no end")
    try:
        body = json.loads(raw)
        signature, claimed = body.pop("signature"), body.pop("hash")
        digest = _digest(body)
        line = Line(
            body["sequence"], body["at_ms"], body["event"], body["facts"], claimed, len(raw), leaf_hash(raw[:-1])
        )
        is_whole = (
            set(body) == {"sequence", "at_ms", "event", "facts", "previous"}
            and type(line.at_ms) is int
            and isinstance(line.event, str)
            and isinstance(line.facts, dict)
            and isinstance(signature, str)
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _broken(expected, "it is not a line of this log") from None
    if not is_whole or line.sequence != expected or body["previous"] != previous or digest.hex() != claimed:
        raise _broken(expected, "it was changed, or does not follow the line above")
    return line, digest, signature


def _digest(body: Mapping[str, Any]) -> bytes:
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(b"gatehouse vault log 1" + text.encode()).digest()


def _check_signature(key: Ed25519PublicKey, digest: bytes, signature: str, sequence: int) -> None:
    try:
        key.verify(bytes.fromhex(signature), _SIGNED + digest)
    except (InvalidSignature, ValueError):
        raise _broken(sequence, "it is not signed by this vault") from None


def _broken(sequence: int, how: str) -> VaultError:
    return VaultError(
        f"The access log breaks at line {sequence}: {how}.",
        hint="Keep this file as evidence and tell the data protection officer. Nothing can be opened until then.",
        code="log_broken",
    )
