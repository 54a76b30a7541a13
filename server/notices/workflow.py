"""A public notice from draft to the screens as a workflow (SM-03): three people, and the text cannot change under them.

Whoever writes it, whoever passes the first review and whoever decides are three different users (P-28, A.3). A notice
for more than one district has no district above it: the city decides at once, and still never on its own words.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta

from flask import url_for
from sqlalchemy.orm import Session

from config.server import ServerSettings
from protocol.notice import NoticeLevel
from server.accounts.rights import Place
from server.accounts.roles import Act, Permission
from server.areas.models import Level
from server.audit import Thing, audit
from server.cases import deadline
from server.cases.deadline import QuietHours
from server.cases.kernel import case_about
from server.cases.machine import OPENED, Attempt, Clock, Field, Guard, Machine, State, Step, holders
from server.cases.models import Case
from server.notices.models import NoticeState, PublicNotice

READS = holders(Permission.NOTICE_STATE, Act.READ)
WRITES = READS & holders(Permission.RISK_SOURCES, Act.CREATE)  # the "uploader" of A.3, who sees what becomes of it
FIRST = holders(Permission.NOTICE_FIRST_REVIEW, Act.APPROVE)
FINAL = holders(Permission.NOTICE_FINAL_REVIEW, Act.APPROVE)
EDITED_IN = frozenset({NoticeState.DRAFT.value, NoticeState.RETURNED.value})
_WRITERS = (OPENED, "change", "submit", "submit_city")

# What the audit trail calls the steps; "change" is told of by the page that takes the new words.
AUDITED = {
    "submit": "notice.submitted",
    "submit_city": "notice.submitted",
    "pass_first": "notice.passed",
    "return_first": "notice.returned",
    "return_final": "notice.returned",
    "approve": "notice.published",
    "withdraw": "notice.withdrawn",
    "drop": "notice.withdrawn",
    "close": "notice.over",
}


def digest_of(notice: PublicNotice) -> str:
    """SHA-256 over all that the kiosks would get, in hex: what was sent is what is published."""
    said = [
        notice.area_code,
        notice.venue_id.hex() if notice.venue_id else "",
        *(notice.level, notice.title_zh, notice.title_en, notice.body_zh, notice.body_en, notice.source),
        *(notice.from_at.isoformat(), notice.until_at.isoformat()),
    ]
    text = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(b"gatehouse public notice 1\0" + text.encode()).hexdigest()


def facts_of(notice: PublicNotice) -> dict[str, str]:
    """What the case keeps of the words that are sent."""
    return {"digest": digest_of(notice), "level": notice.level, "until": notice.until_at.isoformat()}


def thing_of(notice: PublicNotice) -> Thing:
    """What an audit line says it is about."""
    return Thing("notice", notice.id, notice.area.path)


def place_of(notice: PublicNotice) -> Place:
    """Where it will be shown."""
    return Place(notice.area.path, notice.venue_id)


def case_of(writing: Session, notice: PublicNotice, at: datetime) -> Case:
    """The notice's case; one from before there were reviews begins in the state it has."""
    return case_about(
        writing,
        NOTICE,
        notice.id,
        state=notice.state,
        at=at,
        title=notice.title_zh,
        place=place_of(notice),
        facts=facts_of(notice),
        opened_by=notice.written_by,
    )


def sending_step(notice: PublicNotice) -> str:
    """Which way a draft goes: to its district first, or straight to the city when it is for more than one."""
    return "submit_city" if notice.area.level in {Level.PROVINCE.value, Level.CITY.value} else "submit"


def _row(attempt: Attempt) -> PublicNotice | None:
    return attempt.database.get(PublicNotice, attempt.case.key or "")


def _has_time(attempt: Attempt) -> bool:
    row = _row(attempt)
    return row is not None and row.until_at > attempt.at


def _goes(attempt: Attempt) -> bool:
    row = _row(attempt)
    return row is not None and sending_step(row) == attempt.step.name


def _is_unchanged(attempt: Attempt) -> bool:
    row = _row(attempt)
    return row is not None and digest_of(row) == attempt.case.facts.get("digest")


def _follow(attempt: Attempt) -> None:
    """The row becomes what its case is, and the audit trail tells of it."""
    row = _row(attempt)
    if row is None:
        return
    row.state = attempt.case.state
    if attempt.step.name == "approve":
        row.published_at, row.published_by = attempt.at, attempt.actor
    elif attempt.step.name in {"withdraw", "drop"}:
        row.withdrawn_at, row.withdrawn_by = attempt.at, attempt.actor
        row.withdrawn_because = attempt.reason[:200]
    if attempt.step.name in AUDITED:
        audit(attempt.database, AUDITED[attempt.step.name], thing_of(row), attempt.reason or row.title_zh)


def _review_due(case: Case, settings: ServerSettings) -> datetime:
    """Urgent ones overtake (P-31), also at night (E-04); for the others the clock stands still in quiet hours."""
    cases = settings.cases
    if case.facts.get("level") == NoticeLevel.URGENT.value:
        return case.entered_at + timedelta(minutes=cases.notice_urgent_minutes)
    quiet = QuietHours(cases.quiet_from_time, cases.quiet_to_time, settings.zone)
    return deadline.add(case.entered_at, timedelta(hours=cases.notice_hours), quiet)


def _is_over_at(case: Case, _settings: ServerSettings) -> datetime | None:
    until = case.facts.get("until")
    return datetime.fromisoformat(until) if until else None


IN_TIME = Guard("Its time is over already. Give it another one first.", _has_time)
ITS_WAY = Guard("This notice goes the other way.", _goes)
UNCHANGED = Guard("The words are not those that were sent. Return it.", _is_unchanged)


def _step(name: str, label: str, sources: tuple[str, ...], target: str, **more: object) -> Step:
    """Steps are taken on the notice's own page, where one sees it as the kiosk shows it."""
    return Step(name, label, sources, target, effect=_follow, is_elsewhere=True, **more)  # type: ignore[arg-type]


NOTICE = Machine(
    name="notice",
    label="Public notices",
    readers=READS,
    initial=("draft",),
    key_is_subject=True,
    page=lambda case: url_for("notices.show", notice_id=case.key),
    states=(
        State("draft", "Draft", "off"),
        State("first_review", "First review", "wait"),
        State("final_review", "Final review", "wait"),
        State("returned", "Returned to the author", "bad"),
        State("published", "Published", "good"),
        State("withdrawn", "Withdrawn", "off", is_final=True),
        State("over", "Over", "off", is_final=True),
    ),
    steps=(
        _step("change", "Change it", ("draft", "returned"), "draft", roles=WRITES, is_work=False),
        _step("submit", "Send it for review", ("draft",), "first_review", roles=WRITES, guards=(IN_TIME, ITS_WAY)),
        _step("submit_city", "Send it for review", ("draft",), "final_review", roles=WRITES, guards=(IN_TIME, ITS_WAY)),
        _step(
            "pass_first",
            "Pass it on to the final review",
            ("first_review",),
            "final_review",
            roles=FIRST,
            apart_from=_WRITERS,
            guards=(UNCHANGED,),
            fields=(
                Field("is_complete", "It says all that is needed", "yes", must_be=True),
                Field("is_accurate", "What it says is right", "yes", must_be=True),
            ),
        ),
        _step(
            "return_first",
            "Return it with the reason",
            ("first_review",),
            "returned",
            roles=FIRST,
            apart_from=_WRITERS,
            needs_reason=True,
            tells=("opener",),
        ),
        _step(
            "approve",
            "Publish",
            ("final_review",),
            "published",
            roles=FINAL,
            apart_from=(*_WRITERS, "pass_first"),
            guards=(IN_TIME, UNCHANGED),
            fields=(
                Field("is_lawful", "It keeps to the rules in force", "yes", must_be=True),
                Field("is_reasonable", "The measure is reasonable", "yes", must_be=True),
            ),
            tells=("opener",),
        ),
        _step(
            "return_final",
            "Return it with the reason",
            ("final_review",),
            "returned",
            roles=FINAL,
            apart_from=_WRITERS,
            needs_reason=True,
            tells=("opener",),
        ),
        _step(
            "withdraw",
            "Withdraw",
            ("published",),
            "withdrawn",
            roles=FIRST | FINAL,
            needs_reason=True,
            is_work=False,
            is_danger=True,
        ),
        _step(
            "drop",
            "Drop it",
            ("draft", "returned"),
            "withdrawn",
            roles=WRITES,
            is_own=True,
            needs_reason=True,
            is_work=False,
            is_danger=True,
        ),
        _step("close", "Its time is over", ("published",), "over", is_work=False),
    ),
    clocks=(
        Clock("review", runs_in=("first_review", "final_review"), until=_review_due, escalates_to=FINAL),
        Clock("showing", runs_in=("published",), until=_is_over_at, fires="close"),
    ),
)

MACHINES = (NOTICE,)
