"""One look: choose the records of an approved query, have the vault open them, note it, and give the rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import select
from sqlalchemy.orm import Session

from protocol.errors import ProtocolError
from protocol.query import Query, QueryKind
from protocol.tree_head import InclusionProof
from server.ingest.models import JournalRecord, RecordKind
from server.queries.models import QueryRow
from server.vault.client import VaultClient
from server.vault.errors import Refused
from server.vault.index import Passage
from server.vault.indexing import sealed_records
from server.vault.log import Head
from server.vault.overlaps import Meetings
from server.vault.wire import OpenedRow, Opening


@dataclass(frozen=True, slots=True)
class SeenRow:
    """One line of a result: what the record says openly, and what the vault lets be seen of the person."""

    at: datetime
    record: JournalRecord
    person: OpenedRow


@dataclass(frozen=True, slots=True)
class MetRow:
    """Somebody who was at the same venue at the time."""

    seen: SeenRow  # the passage that began their stay
    together: timedelta  # zero where no way out was seen
    apart: timedelta


@dataclass(frozen=True, slots=True)
class Meeting:
    """One stay of the person that was looked for, and who else was there."""

    start: datetime
    end: datetime
    own: tuple[SeenRow, ...]
    others: tuple[MetRow, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """What one look shows."""

    rows: tuple[SeenRow, ...]
    refused: tuple[tuple[bytes, int, str], ...]  # kiosk, sequence, the vault's reason
    is_cut: bool  # there may be more records in scope than the query may open
    head: Head  # the vault's log line of this look
    proof: str  # that this line is in the vault's log, verified
    meetings: tuple[Meeting, ...] = ()  # of a search for who was there too, by the time of the person's stay
    pairs: tuple[tuple[SeenRow, SeenRow], ...] = ()  # of a search for reused codes, by the time of the first


def look(reading: Session, row: QueryRow, client: VaultClient, key: Ed25519PublicKey) -> Result:
    """Have the records of *row* opened. Raises VaultAway, or Refused with the vault's reason. Writes nothing.

    Nothing is given that the vault's log, under *key*, does not prove to stand for: Refused `log_broken` then.
    """
    query, approval = row.query(), row.approval or b""
    pairs: list[tuple[Passage, Passage]] = []
    met: Meetings | None = None
    if query.kind is QueryKind.OVERLAPS:
        met, _ = client.overlaps(row.body, approval)
        is_cut = met.is_cut
        passages = sorted(met.passages())
    elif query.kind is QueryKind.REUSED_CODES:
        pairs, _ = client.reused(row.body, approval)
        is_cut = len(pairs) >= query.max_rows // 2
        passages = sorted({passage for pair in pairs for passage in pair})
    elif query.person is not None:
        passages, _ = client.find(row.body, approval)
        is_cut = len(passages) >= query.max_rows
    else:
        passages = in_scope(reading, query)
        is_cut = len(passages) > query.max_rows
        passages = passages[: query.max_rows]
    stored = sealed_records(reading, passages)
    # in one request (MAX_ROWS of protocol/query.py fits), so that one look is one line of the vault's log
    opening = client.open(row.body, approval, [sealed for _, sealed in stored])
    check_proof(opening, row, key)
    opened = {(one.kiosk, one.sequence): one for one in opening.rows}
    rows = [
        SeenRow(_time(record.at_ms or 0), record, opened[record.kiosk_id, record.sequence])
        for record, _ in stored
        if (record.kiosk_id, record.sequence) in opened
    ]
    by_passage = {(seen.record.kiosk_id, seen.record.sequence): seen for seen in rows}
    shown = [(by_passage[a], by_passage[b]) for a, b in pairs if a in by_passage and b in by_passage]
    meetings = () if met is None else _meetings(met, by_passage)
    in_order = tuple(sorted(rows, key=lambda seen: seen.at))
    return Result(in_order, opening.refused, is_cut, opening.head, opening.proof, meetings, tuple(shown))


def _meetings(met: Meetings, rows: Mapping[Passage, SeenRow]) -> tuple[Meeting, ...]:
    """The stays with their opened rows; what stayed shut is left out, and counted as refused."""
    return tuple(
        Meeting(
            _time(stay.from_ms),
            _time(stay.to_ms),
            tuple(rows[passage] for passage in stay.passages if passage in rows),
            tuple(
                MetRow(
                    rows[other.kiosk, other.sequence],
                    timedelta(milliseconds=other.together_ms),
                    timedelta(milliseconds=other.apart_ms),
                )
                for other in met.others
                if other.stay == number and (other.kiosk, other.sequence) in rows
            ),
        )
        for number, stay in enumerate(met.stays)
    )


def check_proof(opening: Opening, row: QueryRow, key: Ed25519PublicKey) -> None:
    """Raise Refused `log_broken` unless the vault proves that this look, and no smaller one, stands in its log.

    (1) the line is under a head that the vault signed; (2) it is the line that the answer names; (3) it tells of this
    query, as opened; (4) of each passage that was handed out.
    """
    try:
        proof = InclusionProof.from_text(opening.proof)
        proof.check(key)  # (1)
        body = json.loads(proof.line)
        facts = body["facts"]
        holds = (
            (proof.index + 1, body["sequence"], body["hash"])
            == (opening.head.sequence, opening.head.sequence, opening.head.hash)  # (2)
            and (body["event"], facts["digest"]) == ("opened", row.digest.hex())  # (3)
            and {f"{one.kiosk.hex()}:{one.sequence}" for one in opening.rows} <= set(facts["passages"])  # (4)
        )
    except (ProtocolError, ValueError, KeyError, TypeError):
        holds = False
    if not holds:
        raise Refused("The vault does not prove that its log holds this look.", code="log_broken")


def in_scope(reading: Session, query: Query) -> list[tuple[bytes, int]]:
    """The passages of everybody in scope, in the order in which they came in.

    That order makes a later look choose the same ones again, also when a kiosk has sent older passages meanwhile: the
    vault counts every passage that the query has ever opened.
    """
    rows = reading.execute(
        select(JournalRecord.kiosk_id, JournalRecord.sequence)
        .where(
            JournalRecord.venue_id.in_(query.venues),
            JournalRecord.at_ms >= query.from_ms,
            JournalRecord.at_ms < query.to_ms,
            JournalRecord.kind == RecordKind.PASSAGE,
        )
        .order_by(JournalRecord.received_at_ms, JournalRecord.kiosk_id, JournalRecord.sequence)
        .limit(query.max_rows + 1)
    )
    return [(row.kiosk_id, row.sequence) for row in rows]


def _time(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
