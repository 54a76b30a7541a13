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


def follow_log(writing: Session, client: VaultClient, key: Ed25519PublicKey, now: datetime) -> Followed:
    """Compare the vault's log with our copy and append what is new, each line verified. Raises VaultAway.

    Nothing of the copy is ever changed: when the two differ, the copy stays as the evidence.
    """
    head, new_lines, problem = copied_head(writing), 0, ""
    try:
        _check_our_head(client, head)
        while new_lines < LINES_A_RUN and (lines := client.log_lines(head.sequence)):
            for raw in lines:
                line = check_line(raw, head.sequence + 1, head.hash, key)
                writing.add(VaultLine(**_columns(raw), sequence=line.sequence, at_ms=line.at_ms, hash=line.hash))
                head = Head(line.sequence, line.hash)
                new_lines += 1
    except VaultError as error:
        if error.code != "log_broken":
            raise
        problem = error.message[:400]
    writing.flush()
    check = writing.get(VaultLogCheck, 1)
    if check is None:
        writing.add(VaultLogCheck(id=1, checked_at=now, problem=problem))
    else:
        check.checked_at, check.problem = now, problem
    return Followed(head, new_lines, problem)


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


def unknown_openings(reading: Session) -> int:
    """How many openings the vault's log tells of that no look here stands for: a crash, or somebody at the socket."""
    # a look of more than one batch notes its last line; its earlier lines belong to the same query and count with it
    known = select(Look.query_id).distinct()
    return (
        reading.scalar(
            select(func.count())
            .select_from(VaultLine)
            .where(VaultLine.event == "opened", VaultLine.query_id.is_not(None), VaultLine.query_id.not_in(known))
        )
        or 0
    )


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
