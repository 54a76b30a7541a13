"""A venue code's life as a workflow (SM-02). `VenueCode.state` follows the case, in the same transaction."""

from __future__ import annotations

from datetime import datetime, timedelta

from flask import url_for
from sqlalchemy import select
from sqlalchemy.orm import Session

from config.server import ServerSettings
from server.accounts.rights import Person, Place
from server.accounts.roles import Act, Permission
from server.audit import SYSTEM, Thing, audit
from server.cases.kernel import acting, case_about, take
from server.cases.machine import Attempt, Clock, Guard, Machine, State, Step, holders
from server.cases.models import Case, CaseEntry
from server.codes.models import VenueCode
from server.context import house
from server.venues.models import Entrance

ISSUES = holders(Permission.CODES, Act.APPROVE)
HANGS = holders(Permission.CODE_PRINT, Act.PERFORM)
LIVE = ("issued", "printed", "posted", "active", "renewal_due", "reposting")
IN_USE = ("active", "renewal_due")
REPLACED = ("issued", "printed", "posted", "active", "reposting", "suspended")  # one that was due is renewed instead

# What the audit trail calls the steps that are taken here and on the case's page alike; the others have pages and lines
# of their own (server/codes/issuing.py).
AUDITED = {
    "suspend": "code.suspended",
    "suspend_by_order": "code.suspended",
    "resume": "code.resumed",
    "spoil": "code.spoiled",
    "repost": "code.posted",
}


def thing(code: VenueCode, door: Entrance) -> Thing:
    """What an audit line says it is about."""
    return Thing("venue_code", f"{code.serial:08x}", door.venue.area.path)


def _follow(attempt: Attempt) -> None:
    """The code's row becomes what its case is, and the audit trail tells of it."""
    if attempt.step.name == "resume":
        attempt.case.state = _before(attempt)
    code = attempt.database.get_one(VenueCode, int(attempt.case.key or "0"))
    code.state = attempt.case.state
    if attempt.case.closed_at is not None:
        code.ended_at, code.end_reason = attempt.at, attempt.reason
    elif attempt.step.name in {"suspend", "suspend_by_order", "resume"}:
        code.end_reason = "" if attempt.step.name == "resume" else attempt.reason
    if attempt.step.name in AUDITED:
        audit(attempt.database, AUDITED[attempt.step.name], thing(code, code.door), attempt.reason)


def _before(attempt: Attempt) -> str:
    """The state a suspended code goes back to: the one it was suspended in, as its history says.

    A poster that hung without a responsible person comes into use if one was named meanwhile.
    """
    found = attempt.database.scalar(
        select(CaseEntry.source)
        .where(
            CaseEntry.case_id == attempt.case.id,
            CaseEntry.target == "suspended",
            CaseEntry.source.not_in(("", "suspended")),  # the first entry, and remarks
        )
        .order_by(CaseEntry.sequence.desc())
        .limit(1)
    )
    if found is None or (found == "posted" and _has_keeper(attempt)):  # None: suspended before there was a history
        return "active"
    return found


def _has_keeper(attempt: Attempt) -> bool:
    return bool(attempt.case.venue and attempt.case.venue.keeper_name)


def _expires(case: Case, _settings: ServerSettings) -> datetime:
    return datetime.fromisoformat(case.facts["expires_at"])


def _renewal(case: Case, settings: ServerSettings) -> datetime:
    return _expires(case, settings) - timedelta(days=settings.codes.renew_notice_days)


# V-30: no code is in use without a responsible person
HAS_KEEPER = Guard("The venue has no responsible person yet.", _has_keeper)
MAY_GO_BACK = Guard(HAS_KEEPER.sentence, lambda attempt: _before(attempt) not in IN_USE or _has_keeper(attempt))


def _step(name: str, label: str, sources: tuple[str, ...], target: str, **more: object) -> Step:
    return Step(name, label, sources, target, effect=_follow, is_work=False, **more)  # type: ignore[arg-type]


VENUE_CODE = Machine(
    name="venue_code",
    label="Venue codes",
    readers=holders(Permission.CODE_PRINT, Act.READ, Act.PERFORM) | holders(Permission.CODES, Act.READ),
    initial=("issued",),
    key_is_subject=True,
    page=lambda case: url_for("codes.show", serial=int(case.key or "0")),
    states=(
        State("issued", "Issued", "wait"),
        State("printed", "Printed", "wait"),
        State("posted", "Posted", "wait"),
        State("active", "In use", "good"),
        State("renewal_due", "To be renewed", "wait"),
        State("reposting", "To be hung anew", "wait"),
        State("suspended", "Suspended", "bad"),
        State("renewed", "Renewed by a newer version", "off", is_final=True),
        State("expired", "Expired", "off", is_final=True),
        State("revoked", "Revoked", "off", is_final=True),
        State("superseded", "Replaced", "off", is_final=True),
    ),
    steps=(
        Step("print", "Print the poster", ("issued",), "printed", roles=HANGS, effect=_follow, is_elsewhere=True),
        Step("post", "Hang the poster", ("printed",), "posted", roles=HANGS, effect=_follow, is_elsewhere=True),
        _step("activate", "The venue has its keeper", ("posted",), "active", guards=(HAS_KEEPER,), is_elsewhere=True),
        _step("fall_due", "Its time ends soon", ("active",), "renewal_due"),
        _step("expire", "Its time is over", (*LIVE, "suspended"), "expired"),
        _step(
            "spoil",
            "It has to be hung anew",
            ("active", "renewal_due"),
            "reposting",
            roles=HANGS | ISSUES,
            needs_reason=True,
        ),
        Step("repost", "It hangs again", ("reposting",), "active", roles=HANGS, effect=_follow, guards=(HAS_KEEPER,)),
        _step("suspend", "Suspend", LIVE, "suspended", roles=ISSUES, needs_reason=True, is_danger=True),
        _step("suspend_by_order", "Suspended by an overdue order", LIVE, "suspended", is_elsewhere=True),
        Step(
            "resume",
            "Let it be used again",
            ("suspended",),
            "active",  # or whatever it was before: see _before
            roles=ISSUES,
            effect=_follow,
            guards=(MAY_GO_BACK,),
            needs_reason=True,
            is_work=False,
        ),
        _step("revoke", "Revoke", (*LIVE, "suspended"), "revoked", roles=ISSUES, needs_reason=True, is_elsewhere=True),
        _step("supersede", "A newer version hangs", REPLACED, "superseded", is_elsewhere=True),
        _step("renew", "A newer version hangs", ("renewal_due",), "renewed", is_elsewhere=True),
    ),
    clocks=(
        Clock("renewal", runs_in=("active",), until=_renewal, fires="fall_due"),
        Clock("expiry", runs_in=("issued", "printed", "posted", "renewal_due", "reposting", "suspended"),
              until=_expires, fires="expire"),
    ),
)  # fmt: skip

MACHINES = (VENUE_CODE,)


def case_of_code(writing: Session, code: VenueCode, *, opened_by: str = SYSTEM) -> Case:
    """The code's case; codes from before this history begin in the state they have."""
    door, venue = code.door, code.door.venue
    return case_about(
        writing,
        VENUE_CODE,
        str(code.serial),
        state=code.state,
        at=house().now(),
        title=f"{venue.name_zh} · {door.number} {door.name_zh} · v{code.version}",
        place=Place(venue.area.path, venue.id),
        facts={"expires_at": code.expires_at.isoformat()},
        opened_by=opened_by,
    )


def move_code(
    writing: Session, code: VenueCode, step: str, reason: str = "", *, by: Person | str | None = None
) -> None:
    """Take *step* with the code: by *by*, else the signed-in person, else the operator at the command line."""
    take(writing, case_of_code(writing, code).id, step, by=by or acting(), at=house().now(), reason=reason)
