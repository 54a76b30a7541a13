"""Reads the copy of the vault's log, has the rules judge it, and opens a case for each new occurrence."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from server.accounts.models import RoleAssignment, User
from server.accounts.rights import Place
from server.accounts.roles import Role
from server.anomalies.rules import REACH, Decision, Kind, Line, Occurrence, occurrences, pairs
from server.anomalies.workflow import ANOMALY, KIND_NAMES
from server.areas.models import Area
from server.audit import SYSTEM
from server.cases.kernel import open_case
from server.cases.models import Case
from server.context import House
from server.db import lock_chain
from server.queries.models import Look, QueryRow, QueryState, VaultLine, VaultLogCheck

WATCHED = ("opened", "found", "refused", "too_many")
MAX_LINES_NAMED = 20
MAX_CASES_AT_ONCE = 50


def watch(house: House, now: datetime) -> int:
    """Open a case for everything odd that has none yet; returns how many. For the worker."""
    with house.database.reading() as reading:
        limits = house.settings.anomalies
        lines = list(_lines(reading, now))
        known = frozenset(reading.scalars(select(Look.log_sequence).where(Look.at > now - 2 * REACH)))
        found = occurrences(lines, known, now, limits, house.settings.zone) + pairs(_decisions(reading, now), limits)
        check = reading.get(VaultLogCheck, 1)
        if check is not None and check.problem:
            found.append(Occurrence(Kind.LOG, "log", 1, (), REACH))
        if not any(is_new(reading, one, now) for one in found):
            return 0
    opened = 0
    with house.database.writing() as writing:
        lock_chain(writing, "anomaly")  # two workers tell of it once
        place = officers_place(writing)
        if place is None:
            return 0
        for one in found:
            if opened < MAX_CASES_AT_ONCE and is_new(writing, one, now):
                _open(writing, one, place, now)
                opened += 1
    return opened


def is_new(reading: Session, one: Occurrence, now: datetime) -> bool:
    """Whether nobody was told of this kind and subject within the occurrence's own quiet time."""
    told = select(func.count()).where(
        Case.machine == ANOMALY.name, Case.key.startswith(_stem(one)), Case.opened_at > now - one.quiet
    )
    return not reading.scalar(told)


def officers_place(reading: Session) -> Place | None:
    """The largest area that a data protection officer answers for, so that they find the case; else the root."""
    officers = (
        select(Area.path)
        .join(RoleAssignment, RoleAssignment.area_code == Area.code)
        .where(RoleAssignment.role == Role.DATA_OFFICER.value, RoleAssignment.ends_at.is_(None))
        .order_by(func.length(Area.path), Area.path)
    )
    everywhere = select(Area.path).order_by(func.length(Area.path))
    path = reading.scalars(officers.limit(1)).first() or reading.scalars(everywhere.limit(1)).first()
    return None if path is None else Place(path)


def _lines(reading: Session, now: datetime) -> Iterable[Line]:
    since = int((now - REACH).timestamp() * 1000)
    rows = reading.execute(
        select(VaultLine.sequence, VaultLine.at_ms, VaultLine.event, VaultLine.raw)
        .where(VaultLine.event.in_(WATCHED), VaultLine.at_ms > since)
        .order_by(VaultLine.sequence)
    )
    for row in rows:
        at = datetime.fromtimestamp(row.at_ms / 1000, UTC)
        yield Line(row.sequence, at, row.event, json.loads(row.raw)["facts"])


def _decisions(reading: Session, now: datetime) -> Iterable[Decision]:
    rows = reading.execute(
        select(QueryRow.requester_id, QueryRow.decided_by, QueryRow.created_at, QueryRow.decided_at, QueryRow.state)
        .where(QueryRow.decided_at.is_not(None), QueryRow.created_at > now - REACH)
        .order_by(QueryRow.decided_at)
    )
    for row in rows:
        if row.decided_by and row.decided_at:
            is_approved = row.state != QueryState.REFUSED.value
            yield Decision(row.requester_id, row.decided_by, row.created_at, row.decided_at, is_approved)


def _open(writing: Session, one: Occurrence, place: Place, now: datetime) -> None:
    lines = ", ".join(map(str, one.lines[-MAX_LINES_NAMED:]))
    open_case(
        writing,
        ANOMALY,
        by=SYSTEM,
        at=now,
        title=KIND_NAMES[one.kind],
        place=place,
        facts={
            "kind": one.kind.value,
            "who": _spoken(writing, one),
            "count": one.count,
            "lines": lines if len(one.lines) <= MAX_LINES_NAMED else f"… {lines}",
        },
        key=f"{_stem(one)}{max(one.lines, default=int(now.timestamp()))}",
    )


def _spoken(reading: Session, one: Occurrence) -> str:
    """The subject as the officer reads it: user names in place of ids."""
    if one.kind is not Kind.PAIR:
        return one.subject
    names = {row.id: row.name for row in reading.scalars(select(User).where(User.id.in_(one.subject.split())))}
    requester, approver = (names.get(user_id, user_id) for user_id in one.subject.split())
    return f"{requester}, {approver}"


def _stem(one: Occurrence) -> str:
    return f"{one.kind.value}:{hashlib.sha256(one.subject.encode()).hexdigest()[:16]}:"
