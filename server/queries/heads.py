"""Keeps the vault's signed tree heads, each held against a tree over our own copy of its log (decision 0132)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from protocol.errors import ProtocolError
from protocol.merkle import Frontier, leaf_hash
from protocol.tree_head import TreeHead
from server.db import Database, lock_chain
from server.queries.models import VaultHead, VaultLine, VaultLogCheck
from server.queries.trail import copied_head

QUIET_HEADS_EVERY = timedelta(hours=1)  # while the log tells of nothing but indexing; anything else: at once
LINES_AT_ONCE = 1000


def keep_head(database: Database, signed: str, key: Ed25519PublicKey, now: datetime) -> str:
    """Store the head *signed*, fetched before our copy was last brought up to date; returns what is wrong, or "".

    (1) the vault signed it; (2) it is no shorter than the newest that we keep, and of one length there is one tree;
    (3) our copy reaches it; (4) the tree grown from our copy's own lines has its root. What is wrong is noted with the
    log's check.
    """
    with database.reading() as reading:
        last = newest_head(reading)
        reached = copied_head(reading).sequence
        problem = ""
        try:
            head = TreeHead.from_signed(signed, key)  # (1)
        except ProtocolError as error:
            return _noted(database, f"The vault's tree head does not hold: {error.message}", now)
        if last is not None and (  # (2)
            head.size < last.size or (head.size == last.size and head.root != last.root)
        ):
            problem = (
                f"The vault signs a tree of {head.size} lines beside the one of {last.size} that it signed before."
            )
        elif (last is not None and head.size == last.size) or head.size == 0 or head.size > reached:  # (3)
            return ""
        else:
            frontier = Frontier() if last is None else Frontier.from_bytes(last.size, last.frontier)
            if last is not None and now - last.at < QUIET_HEADS_EVERY and _is_quiet(reading, last.size, head.size):
                return ""
            for raw in _lines(reading, frontier.size, head.size):
                frontier, _ = frontier.grown(leaf_hash(raw.encode().removesuffix(b"\n")))
            if frontier.size != head.size or frontier.root() != head.root:  # (4)
                problem = f"The vault's tree over {head.size} lines is not the tree over the lines that it gave us."
    if problem:
        return _noted(database, problem, now)
    with database.writing() as writing:
        lock_chain(writing, "vault_head")
        if writing.get(VaultHead, head.size) is None:
            at = datetime.fromtimestamp(head.at_ms / 1000, UTC)
            row = VaultHead(size=head.size, root=head.root, at=at, signed=signed, frontier=frontier.to_bytes())
            writing.add(row)
    return ""


def newest_head(reading: Session) -> VaultHead | None:
    """The newest head that we keep."""
    return reading.scalars(select(VaultHead).order_by(VaultHead.size.desc()).limit(1)).first()


def _lines(reading: Session, after: int, upto: int) -> Iterable[str]:
    return reading.scalars(
        select(VaultLine.raw)
        .where(VaultLine.sequence > after, VaultLine.sequence <= upto)
        .order_by(VaultLine.sequence)
        .execution_options(yield_per=LINES_AT_ONCE)
    )


def _is_quiet(reading: Session, after: int, upto: int) -> bool:
    news = exists().where(VaultLine.sequence > after, VaultLine.sequence <= upto, VaultLine.event != "indexed")
    return not reading.scalar(select(news))


def _noted(database: Database, problem: str, now: datetime) -> str:
    with database.writing() as writing:
        check = writing.get(VaultLogCheck, 1)
        if check is None:
            check = VaultLogCheck(id=1, checked_at=now, problem="")
            writing.add(check)
        check.checked_at, check.problem = now, check.problem or problem[:400]
    return problem
