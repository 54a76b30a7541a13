"""The access log's Merkle tree on the disk: the hash of every complete subtree, in the order in which they complete.

The file is made from the log and can be made again from it, so it is never believed: each start compares it with the
lines and mends it, and a proof that does not hold makes it anew. In memory stay the peaks and what the disk did not
take yet.
"""

from __future__ import annotations

import os
from pathlib import Path

from protocol.merkle import HASH_BYTES, Frontier

TREE_FILE = "access.tree"
_SETTLE_BYTES = 64 * 1024


class LogTree:
    """The open tree of one log; one writer."""

    def __init__(self, folder: Path) -> None:
        """Open or make the file; `grow` from the log's first line on brings the tree to life."""
        self.frontier = Frontier()
        self._file = os.open(folder / TREE_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._settled = 0  # bytes at the file's beginning that are as they must be
        self._waiting = bytearray()  # what comes after them

    def grow(self, leaf: bytes) -> None:
        """Take the next line's leaf hash; what is in the file already is compared instead of written."""
        self.frontier, completed = self.frontier.grown(leaf)
        self._waiting += b"".join(completed)
        if len(self._waiting) >= _SETTLE_BYTES:
            self.settle()

    def settle(self) -> None:
        """Bring the file in line with the tree. A disk that takes nothing is no failure: the log has the line."""
        if not self._waiting:
            return
        try:
            if os.pread(self._file, len(self._waiting), self._settled) != self._waiting:
                os.ftruncate(self._file, self._settled)
                written = os.pwrite(self._file, self._waiting, self._settled)
                if written != len(self._waiting):
                    return  # the disk is full; the whole of it is tried again with the next line
        except OSError:
            return
        self._settled += len(self._waiting)
        self._waiting.clear()

    def restart(self) -> None:
        """Begin again with an empty tree; the file is compared anew as it grows."""
        self.frontier, self._settled = Frontier(), 0
        self._waiting.clear()

    def node(self, level: int, number: int) -> bytes:
        """The hash of a complete subtree (protocol/merkle.py); zeros when somebody has cut the file meanwhile.

        The subtree completes with leaf n = (number + 1) * 2^level, before which 2 (n - 1) - ones(n - 1) hashes stand.
        """
        before = ((number + 1) << level) - 1
        at = (2 * before - before.bit_count() + level) * HASH_BYTES
        if at >= self._settled:
            return bytes(self._waiting[at - self._settled :][:HASH_BYTES])
        return os.pread(self._file, HASH_BYTES, at).ljust(HASH_BYTES, b"\0")

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)
