"""A query's life as a workflow (SM-06). `QueryRow.state` follows the case, in the same transaction.

The kernel says who may decide and when. What opens a passage is the approver's signature, which the vault judges by
itself: a case that says "approved" without one opens nothing (decision 0052).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from flask import url_for
from sqlalchemy.orm import Session

from server.accounts.rights import Person, Place
from server.accounts.roles import Act, Permission, Role
from server.cases.kernel import case_about, take
from server.cases.machine import OPENED, Attempt, Clock, Guard, Machine, State, Step, holders
from server.cases.models import Case
from server.queries.models import QueryRow
from server.venues.models import Venue

DECIDES = holders(Permission.QUERY_APPROVE, Act.APPROVE)
ASKS = holders(Permission.PASSAGES, Act.READ, Act.READ_MASKED)


def _row(attempt: Attempt) -> QueryRow:
    return attempt.database.get_one(QueryRow, bytes.fromhex(attempt.case.key or ""))


def _follow(attempt: Attempt) -> None:
    """The query's row becomes what its case is."""
    _row(attempt).state = attempt.case.state


IN_TIME = Guard("This query's time is over.", lambda attempt: attempt.at < _row(attempt).expires_at)
OVER = Guard("This query's time is not over.", lambda attempt: attempt.at >= _row(attempt).expires_at)
SIGNED = Guard("An approval has to be signed.", lambda attempt: _row(attempt).approval is not None, needs_values=True)

LOG_QUERY = Machine(
    name="log_query",
    label="Queries",
    readers=DECIDES,
    initial=("requested",),  # a draft is the form that was not sent yet; it is never stored
    key_is_subject=True,
    page=lambda case: url_for("queries.show", query_id=case.key),
    states=(
        State("requested", "Asked for", "wait"),
        State("reviewing", "Being looked into", "wait"),
        State("approved", "Approved", "good"),
        State("refused", "Refused", "off"),
        State("executed", "Looked at", "good"),
        State("expired", "Run out", "off"),
        State("revoked", "Withdrawn", "off"),
        State("archived", "Put away", "off", is_final=True),
    ),
    steps=(
        Step("review", "Review", ("requested",), "reviewing", roles=DECIDES, apart_from=(OPENED,), effect=_follow,
             guards=(IN_TIME,), is_elsewhere=True),
        Step("approve", "Approve", ("requested", "reviewing"), "approved", roles=DECIDES, apart_from=(OPENED,),
             effect=_follow, guards=(IN_TIME, SIGNED), is_elsewhere=True, tells=("opener",)),
        Step("refuse", "Refuse", ("requested", "reviewing"), "refused", roles=DECIDES, apart_from=(OPENED,),
             effect=_follow, guards=(IN_TIME,), needs_reason=True, is_elsewhere=True, tells=("opener",)),
        Step("withdraw", "Withdraw", ("requested", "reviewing", "approved", "executed"), "revoked", roles=ASKS,
             is_own=True, effect=_follow, guards=(IN_TIME,), needs_reason=True, is_elsewhere=True, is_work=False),
        Step("revoke", "Revoke", ("requested", "reviewing", "approved", "executed"), "revoked", roles=DECIDES,
             effect=_follow, guards=(IN_TIME,), needs_reason=True, is_elsewhere=True, is_work=False,
             tells=("opener",)),
        Step("look", "Look at the result", ("approved",), "executed", roles=ASKS, is_own=True, effect=_follow,
             guards=(IN_TIME,), is_elsewhere=True),
        Step("expire", "Its time is over", ("requested", "reviewing", "approved", "executed"), "expired",
             effect=_follow, guards=(OVER,)),
        Step("archive", "Put away", ("expired", "refused", "revoked"), "archived", effect=_follow),
    ),
    clocks=(
        Clock("decide", runs_in=("requested", "reviewing"),
              after=lambda settings: timedelta(hours=settings.cases.query_hours),
              escalates_to=frozenset({Role.DISTRICT_COMMAND, Role.CITY_COMMAND})),
    ),
)  # fmt: skip

MACHINES = (LOG_QUERY,)


def case_of_query(writing: Session, row: QueryRow, venues: Sequence[Venue], at: datetime) -> Case:
    """The query's case; queries from before this history begin in the state they have."""
    names = venues[0].name_zh if venues else ""
    return case_about(
        writing,
        LOG_QUERY,
        row.id.hex(),
        state=row.state,
        at=at,
        title=names if len(venues) < 2 else f"{names} +{len(venues) - 1}",
        place=[Place(venue.area.path, venue.id) for venue in venues],
        opened_by=row.requester_id,
    )


def move_query(writing: Session, row: QueryRow, step: str, *, by: Person | str, at: datetime, reason: str = "") -> None:
    """Take *step* with the query; raises CaseError."""
    case = case_of_query(writing, row, [v.venue for v in row.venues], at)
    values = {"digest": row.digest.hex()} if step == "approve" else {}
    take(writing, case.id, step, by=by, at=at, reason=reason, values=values)
