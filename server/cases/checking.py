"""Checks every case's chain, and that the audit trail knows the same entries: what shows a case that is gone whole."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.audit import AuditEvent
from server.cases.kernel import first_break
from server.cases.models import Case, CaseEntry

_MARK = re.compile(r"#(\d+) ([0-9a-f]{16})$")  # how the kernel ends its audit lines


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check of all cases found."""

    cases: int
    entries: int
    problems: tuple[tuple[str, str], ...]  # (case id, what is wrong)


def check_all(reading: Session) -> Checked:
    """Look at each case and each audit line about one; reads in runs, so that it takes little memory."""
    problems: list[tuple[str, str]] = []
    hashes: dict[tuple[str, int], str] = {}
    known: set[str] = set()
    entries = reading.scalars(
        select(CaseEntry).order_by(CaseEntry.case_id, CaseEntry.sequence).execution_options(yield_per=1000)
    )
    for case_id, group in groupby(entries, key=lambda entry: entry.case_id):
        case, history = reading.get(Case, case_id), list(group)
        known.add(case_id)
        hashes.update({(case_id, entry.sequence): entry.hash.hex()[:16] for entry in history})
        broken_at = first_break(case, history) if case is not None else 1
        if broken_at is not None:
            problems.append((case_id, f"the chain breaks at entry {broken_at}"))
    for case_id in reading.scalars(select(Case.id).where(Case.version > 0)):
        if case_id not in known:
            problems.append((case_id, "its whole history is gone"))
    lines = reading.execute(
        select(AuditEvent.object_id, AuditEvent.reason)
        .where(AuditEvent.object_kind == "case")
        .execution_options(yield_per=1000)
    )
    for case_id, reason in lines:
        mark = _MARK.search(reason)
        if mark is not None and hashes.get((case_id, int(mark[1]))) != mark[2]:
            problems.append((case_id, f"entry {mark[1]} is not the one that the audit trail knows"))
    return Checked(len(known), len(hashes), tuple(problems))
