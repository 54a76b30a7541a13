"""The console's home page with its four questions, and the audit trail."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from server.accounts.models import User
from server.accounts.rights import Person, person
from server.accounts.roles import Act, Permission, Role
from server.areas.models import within
from server.audit import AuditEvent, first_break, head
from server.codes.issuing import renewal_line
from server.codes.models import LIVE_VALUES, CodeState, VenueCode
from server.console.board import Line, decisions, open_decisions
from server.console.words import ACTION_NAMES
from server.context import house
from server.db import session
from server.kiosks.fleet import CONDITION_KINDS, CONDITION_NAMES, SERVING, Condition, condition_column
from server.kiosks.models import Kiosk
from server.venues.models import Venue
from server.web.access import needs, signed_in
from server.web.pages import PAGE_ROWS, after_number, page_of

blueprint = Blueprint("console", __name__)

CHANGES_SHOWN = 8
SHOWN_CONDITIONS = (
    Condition.ALIVE,
    Condition.STUCK,
    Condition.UNREACHABLE,
    Condition.WAITING,
    Condition.SUSPENDED,
)
CHECKED_LINES = 250  # of the trail's end, on each look at the audit page; the whole is checked by a command


@blueprint.get("/")
@signed_in
def home() -> ResponseReturnValue:
    """Are all doors alive, is anything unsent and since when, what needs a decision, what changed."""
    somebody = person()
    if somebody.grants and {grant.role for grant in somebody.grants} <= {Role.RESIDENT, Role.ASSISTED_PERSON}:
        return redirect(url_for("residents.own_code"), 303)
    reading = session()
    changes = reading.execute(_trail(somebody).limit(CHANGES_SHOWN)).all()
    return render_template(
        "console/home.html",
        fleet=_fleet(reading, somebody) if somebody.holds(Permission.KIOSK_COUNTERS, Act.AGGREGATE) else None,
        decisions=open_decisions(reading, somebody),
        changes=changes,
        action_names=ACTION_NAMES,
        may_audit=somebody.holds(Permission.AUDIT, Act.READ, Act.OWN),
        at=house().now(),
    )


@blueprint.get("/audit")
@needs(Permission.AUDIT, Act.READ, Act.OWN)
def trail() -> ResponseReturnValue:
    """The audit trail within reach: today by default, filtered by action and actor."""
    reading, somebody = session(), person()
    rows = _trail(somebody)
    day = request.args.get("day", "today")
    if day != "all":
        local = house().now().astimezone(house().settings.zone)
        rows = rows.where(AuditEvent.at >= local.replace(hour=0, minute=0, second=0, microsecond=0))
    action = request.args.get("action", "")
    if action in ACTION_NAMES:
        rows = rows.where(AuditEvent.action == action)
    actor = request.args.get("actor", "").strip()[:64]
    if actor:
        rows = rows.where(User.name == actor.lower())
    after = after_number()
    if after is not None:
        rows = rows.where(AuditEvent.sequence < after)
    page = page_of(reading.execute(rows.limit(PAGE_ROWS + 1)).all(), lambda row: str(row.AuditEvent.sequence))
    last, last_hash = head(reading)
    return render_template(
        "console/audit.html",
        page=page,
        day=day,
        action=action,
        actor=actor,
        action_names=ACTION_NAMES,
        broken_at=first_break(reading, last=CHECKED_LINES),
        checked=min(last, CHECKED_LINES),
        head_sequence=last,
        head_hash=last_hash.hex(),
        object_url=_object_url,
    )


def _trail(somebody: Person) -> Select[AuditEvent, str]:
    """The lines this person may read, newest first, each with its actor's name."""
    scopes = [
        within(AuditEvent.area_path, top) for top in somebody.reach(Permission.AUDIT, Act.READ, Act.OWN).area_paths
    ]
    return (
        select(AuditEvent, User.display_name)
        .join(User, User.id == AuditEvent.actor, isouter=True)
        .where(or_(AuditEvent.actor == somebody.id, *scopes))
        .order_by(AuditEvent.sequence.desc())
    )


@dataclass(frozen=True, slots=True)
class Fleet:
    """The first two questions of the home page, from one pass over the kiosks within reach."""

    doors: tuple[Line, ...]
    unsent: Line


def _fleet(reading: Session, somebody: Person) -> Fleet:
    now, settings = house().now(), house().settings.fleet
    reach = somebody.reach(Permission.KIOSK_COUNTERS, Act.AGGREGATE)
    holds_unsent = func.count(Kiosk.oldest_unsent_at), func.min(Kiosk.oldest_unsent_at)
    rows = reading.execute(
        select(condition_column(now, settings), func.count(), func.min(Kiosk.last_seen_at), *holds_unsent)
        .where(reach.condition(Kiosk.area_path, Kiosk.venue_id))
        .group_by("condition")
    )
    counts, seen, unsent_count, oldest = dict[Condition, int](), dict[Condition, datetime | None](), 0, None
    for name, count, seen_at, unsent, unsent_since in rows:
        condition = Condition(name)
        counts[condition], seen[condition] = count, seen_at
        if condition in SERVING and unsent_since is not None:
            unsent_count, oldest = unsent_count + unsent, min(unsent_since, oldest or unsent_since)
    opens_list = somebody.holds(Permission.KIOSKS, Act.READ)
    doors = tuple(
        Line(
            CONDITION_NAMES[shown],
            counts.get(shown, 0),
            url_for("kiosks.index", condition=shown.value) if opens_list else None,
            seen.get(shown) if shown is Condition.UNREACHABLE else None,
            CONDITION_KINDS[shown],
        )
        for shown in SHOWN_CONDITIONS
    )
    url = url_for("kiosks.index", condition="unsent") if opens_list else None
    is_late = oldest is not None and oldest < now - timedelta(seconds=settings.unsent_alarm_s)
    kind = "bad" if is_late else "good"
    return Fleet(doors, Line("Kiosks that hold unsent records", unsent_count, url, oldest, kind))


@decisions
def _codes_and_venues(reading: Session, somebody: Person) -> Iterable[Line]:
    """Codes to renew, to print and to hang; venues without a responsible person; suspended kiosks."""
    if not somebody.holds(Permission.CODES, Act.APPROVE):
        return
    reach = somebody.reach(Permission.CODES, Act.APPROVE)
    within_reach = reach.in_order(VenueCode.area_path, VenueCode.venue_id)
    now = house().now()
    ending = reading.execute(
        select(func.count())
        .select_from(VenueCode)
        .where(
            within_reach,
            VenueCode.state.in_(LIVE_VALUES),
            VenueCode.expires_at > now,
            VenueCode.expires_at < renewal_line(now),
        )
    ).scalar_one()
    fresh = {
        state: (count, oldest)
        for state, count, oldest in reading.execute(
            select(VenueCode.state, func.count(), func.min(VenueCode.issued_at))
            .where(
                within_reach,
                VenueCode.state.in_((CodeState.ISSUED.value, CodeState.PRINTED.value)),
                VenueCode.expires_at > now,
            )
            .group_by(VenueCode.state)
        )
    }
    issued_count, oldest_issued = fresh.get(CodeState.ISSUED.value, (0, None))
    printed_count, oldest_printed = fresh.get(CodeState.PRINTED.value, (0, None))
    yield Line("Codes that end soon: renew them", ending, url_for("codes.index", state="renewal"))
    yield Line("Codes issued and not printed", issued_count, url_for("codes.index", state="issued"), oldest_issued)
    yield Line("Posters printed and not hung", printed_count, url_for("codes.index", state="printed"), oldest_printed)
    count = reading.execute(
        select(func.count())
        .select_from(Venue)
        .where(reach.in_order(Venue.area_path, Venue.id), Venue.keeper_name == "")
    ).scalar_one()
    yield Line("Venues without a responsible person", count, url_for("venues.index", keeper="none"))


def _object_url(kind: str, object_id: str) -> str | None:
    """The page of an audited object, or None when it has none."""
    if kind == "venue":
        return url_for("venues.show", venue_id=bytes.fromhex(object_id))
    if kind == "venue_code":
        return url_for("codes.show", serial=int(object_id, 16))
    if kind == "kiosk":
        return url_for("kiosks.show", kiosk_id=bytes.fromhex(object_id))
    if kind == "case":
        return url_for("cases.show", case_id=object_id)
    if kind == "user" and person().holds(Permission.USERS, Act.OWN):
        return url_for("accounts.users.show", user_id=object_id)
    if kind == "query":
        return url_for("queries.show", query_id=object_id)
    return None
