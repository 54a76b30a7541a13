"""Draws venues so that anybody can repeat it: each gets a number from the seed, and the lowest come first. Pure."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence

SEED_BYTES = 32


def digest_of(candidates: Sequence[str]) -> bytes:
    """SHA-256 over the sorted venue ids, one a line."""
    return hashlib.sha256("\n".join(sorted(candidates)).encode()).digest()


def draw(seed: bytes, candidates: Iterable[str], count: int) -> list[str]:
    """*count* of *candidates* (ids in hex), in the order drawn: by HMAC-SHA256(seed, list digest + id), lowest first.

    The same seed and list give the same venues on any machine; another list gives another order for all of them, so
    that nobody can add or leave out one venue to steer the rest.
    """
    known = sorted(set(candidates))
    salt = digest_of(known)
    return sorted(known, key=lambda one: (hmac.digest(seed, salt + bytes.fromhex(one), "sha256"), one))[:count]
