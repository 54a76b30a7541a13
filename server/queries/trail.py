"""Follows the vault's access log and keeps a copy of each line, so that cutting or changing either one shows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from protocol import cbor
from protocol.errors import ProtocolError
from protocol.query import QUERY_ID_BYTES
from server.db import Database, lock_chain
from server.queries.models import Look, VaultLine, VaultLogCheck
from server.vault.client import VaultClient
from server.vault.errors import VaultError
from server.vault.log import GENESIS, Head, check_line

LINES_A_RUN = 20_000


@dataclass(frozen=True, slots=True)
class Followed:
    """What one comparison found."""

    head: Head  # where our copy stands now
    new_lines: int
    problem: str  # "": the log holds


def signing_key(public_file: bytes) -> Ed25519PublicKey:
    """The vault's signing key out of its exported, already verified public file."""
    item = cbor.decode_strict(public_file)
    if not isinstance(item, list) or not item or type(item[0]) is not bytes:
        raise ProtocolError("vault keys: not a public key and a signed list", code="bad_list")
    return Ed25519PublicKey.from_public_bytes(item[0])


def follow_log(database: Database, client: VaultClient, key: Ed25519PublicKey, now: datetime) -> Followed:
    """Compare the vault's log with our copy and append what is new, each line verified. Raises VaultAway.

    Nothing of the copy is ever changed: when the two differ, the copy stays as the evidence. The vault is asked outside
    any transaction, so that a slow vault holds up nobody.
    """
    with database.reading() as reading:
        began = head = copied_head(reading)
    lines: list[VaultLine] = []
    problem = ""
    try:
        _check_our_head(client, head)
        while len(lines) < LINES_A_RUN and (some := client.log_lines(head.sequence)):
            for raw in some:
                line = check_line(raw, head.sequence + 1, head.hash, key)
                lines.append(VaultLine(**_columns(raw), sequence=line.sequence, at_ms=line.at_ms, hash=line.hash))
                head = Head(line.sequence, line.hash)
    except VaultError as error:
        if error.code != "log_broken":
            raise
        problem = error.message[:400]
    with database.writing() as writing:
        lock_chain(writing, "vault_line")
        if copied_head(writing) != began:  # somebody else has copied the same lines meanwhile
            return Followed(copied_head(writing), 0, problem)
        writing.add_all(lines)
        check = writing.get(VaultLogCheck, 1)
        if check is None:
            writing.add(VaultLogCheck(id=1, checked_at=now, problem=problem))
        else:
            check.checked_at, check.problem = now, problem
    return Followed(head, len(lines), problem)


def copied_head(reading: Session) -> Head:
    """Where our copy stands."""
    row = reading.execute(
        select(VaultLine.sequence, VaultLine.hash).order_by(VaultLine.sequence.desc()).limit(1)
    ).one_or_none()
    return Head(row.sequence, row.hash) if row else Head(0, GENESIS)


def unmatched_looks(reading: Session, upto: int) -> list[Look]:
    """Looks that this server noted and that are not in the vault's log up to line *upto*: there must be none."""
    rows = (
        select(Look)
        .join(VaultLine, (VaultLine.sequence == Look.log_sequence) & (VaultLine.hash == Look.log_hash), isouter=True)
        .where(Look.log_sequence <= upto, VaultLine.sequence.is_(None))
        .limit(20)
    )
    return list(reading.scalars(rows))


def unknown_openings(reading: Session, before: datetime) -> int:
    """How many openings the vault's log tells of that no look here stands for: a crash, or somebody at the socket.

    Counted up to *before*, a little in the past: a look's own row is written after the vault's line.
    """
    rows = (
        select(func.count())
        .select_from(VaultLine)
        .join(Look, Look.log_sequence == VaultLine.sequence, isouter=True)
        .where(VaultLine.event == "opened", VaultLine.at_ms < _ms(before), Look.id.is_(None))
    )
    return reading.scalar(rows) or 0


def refusals(reading: Session, since: datetime) -> int:
    """How often the vault has refused since *since*: wrong approvals, scopes, limits."""
    rows = (
        select(func.count()).select_from(VaultLine).where(VaultLine.event == "refused", VaultLine.at_ms >= _ms(since))
    )
    return reading.scalar(rows) or 0


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def _check_our_head(client: VaultClient, head: Head) -> None:
    if head.sequence == 0:
        return
    found = client.log_lines(head.sequence - 1, 1)
    if not found or json.loads(found[0]).get("hash") != head.hash:
        raise VaultError(
            f"The vault's log no longer holds line {head.sequence} as this server has seen it.", code="log_broken"
        )


def _columns(raw: str) -> dict[str, object]:
    """The event and query id of a line that was verified."""
    body = json.loads(raw)
    query = body["facts"].get("query") if body["event"] in {"opened", "found"} else None
    is_id = isinstance(query, str) and len(query) == 2 * QUERY_ID_BYTES
    return {"raw": raw, "event": body["event"][:20], "query_id": bytes.fromhex(query) if is_id and query else None}
