"""The Merkle tree of RFC 9162, section 2: what one root says about a log's every line, and proofs of it.

A tree is fed line by line through its `Frontier`, which is all that has to be remembered to go on. Proofs are made by
whoever can name the hash of any *complete* subtree, `(level, number)`: level 0 are the leaves, subtree *number* of
level *k* covers the leaves from number * 2^k on. Checking needs the proof and the roots alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from protocol.errors import ProtocolError

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
MAX_SIZE = 2**63
MAX_PROOF = 64  # hashes in a proof over at most MAX_SIZE leaves

Node = Callable[[int, int], bytes]


def leaf_hash(line: bytes) -> bytes:
    """The hash of one leaf (2.1.1): its first byte keeps a leaf from passing as an inner node."""
    return hashlib.sha256(b"\0" + line).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node (2.1.1)."""
    return hashlib.sha256(b"\1" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """A tree as far as it has to be remembered to grow: the roots of its complete subtrees, the largest first."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()  # as many as *size* has ones in binary

    def grown(self, leaf: bytes) -> tuple[Frontier, list[bytes]]:
        """The tree with one more *leaf* hash, and the hashes this completed: the leaf's, then one a level above."""
        peaks, completed, below = list(self.peaks), [leaf], self.size
        while below & 1:
            completed.append(node_hash(peaks.pop(), completed[-1]))
            below >>= 1
        return Frontier(self.size + 1, (*peaks, completed[-1])), completed

    def root(self) -> bytes:
        """The hash that stands for the whole tree (2.1.1)."""
        return _folded(self.peaks) if self.peaks else EMPTY_ROOT

    def to_bytes(self) -> bytes:
        """The peaks one after the other; `from_bytes` needs the size beside them."""
        return b"".join(self.peaks)

    @staticmethod
    def from_bytes(size: int, data: bytes) -> Frontier:
        """Undo `to_bytes`; raises ProtocolError when *data* is not of a tree of that size."""
        if not 0 <= size < MAX_SIZE or len(data) != HASH_BYTES * size.bit_count():
            raise ProtocolError("tree: these are not the peaks of a tree of this size", code="bad_tree")
        return Frontier(size, tuple(data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)))


def root_at(size: int, node: Node) -> bytes:
    """The root of the tree's first *size* leaves."""
    return _range(0, size, node) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, node: Node) -> list[bytes]:
    """PATH(index, D[size]) of 2.1.3.1, the nearest sibling first. Raises ProtocolError for a leaf outside the tree."""
    if not 0 <= index < size < MAX_SIZE:
        raise ProtocolError(f"tree: leaf {index} is not in a tree of {size}", code="bad_index")
    path: list[bytes] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(_range(middle, high, node))
            high = middle
        else:
            path.append(_range(low, middle, node))
            low = middle
    return path[::-1]


def consistency_proof(old: int, new: int, node: Node) -> list[bytes]:
    """PROOF(old, D[new]) of 2.1.4.1: that the first *old* leaves of *new* are the tree of *old*. Empty when equal."""
    if not 0 < old <= new < MAX_SIZE:
        raise ProtocolError(f"tree: no proof leads from {old} to {new} leaves", code="bad_index")
    path: list[bytes] = []
    low, high, is_whole = 0, new, True
    while old < high:
        middle = low + _split(high - low)
        if old <= middle:
            path.append(_range(middle, high, node))
            high = middle
        else:
            path.append(_range(low, middle, node))
            low, is_whole = middle, False
    if not is_whole:
        path.append(_range(low, high, node))
    return path[::-1]


def check_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Hold *proof* against *root* (2.1.3.2); raises ProtocolError `not_included`."""
    if not 0 <= index < size < MAX_SIZE or not _are_hashes((leaf, root, *proof)):
        raise _not_included()
    at, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise _not_included()
        if at & 1 or at == last:
            found = node_hash(sibling, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        at, last = at >> 1, last >> 1
    if last or found != root:
        raise _not_included()


def check_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Hold *proof* against both roots (2.1.4.2); raises ProtocolError `not_consistent`. Of 0 leaves all trees grow."""
    if not 0 <= old <= new < MAX_SIZE or not _are_hashes((old_root, new_root, *proof)):
        raise _not_consistent()
    if old == 0 or old == new:
        is_same = old_root == (EMPTY_ROOT if old == 0 else new_root) and (new > 0 or new_root == EMPTY_ROOT)
        if proof or not is_same:
            raise _not_consistent()
        return
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not path:
        raise _not_consistent()
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    before = after = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise _not_consistent()
        if at & 1 or at == last:
            before, after = node_hash(sibling, before), node_hash(sibling, after)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            after = node_hash(after, sibling)
        at, last = at >> 1, last >> 1
    if last or before != old_root or after != new_root:
        raise _not_consistent()


def _split(count: int) -> int:
    """The largest power of two below *count*, which is at least 2."""
    return 1 << ((count - 1).bit_length() - 1)


def _range(low: int, high: int, node: Node) -> bytes:
    """The hash over leaves *low* to *high*, where *low* is as even as the tree's own splits make it."""
    parts = []
    while low < high:
        level = (high - low).bit_length() - 1
        parts.append(node(level, low >> level))
        low += 1 << level
    return _folded(parts)


def _folded(parts: Sequence[bytes]) -> bytes:
    found = parts[-1]
    for part in reversed(parts[:-1]):
        found = node_hash(part, found)
    return found


def _are_hashes(values: Sequence[bytes]) -> bool:
    return len(values) <= MAX_PROOF + 2 and all(len(value) == HASH_BYTES for value in values)


def _not_included() -> ProtocolError:
    return ProtocolError("tree: the proof does not lead from this line to the root", code="not_included")


def _not_consistent() -> ProtocolError:
    return ProtocolError("tree: the proof does not lead from the older root to the newer one", code="not_consistent")
