"""The console's home page with its four questions, and the audit trail."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.orm import Session

from server.accounts.models import User
from server.accounts.rights import Person, person
from server.accounts.roles import Act, Permission, Role
from server.areas.models import Area, within
from server.audit import AuditEvent, first_break, head
from server.codes.issuing import renewal_line
from server.codes.models import LIVE_VALUES, CodeState, VenueCode
from server.console.board import Line, decisions, open_decisions
from server.console.words import ACTION_NAMES
from server.context import house
from server.db import session
from server.kiosks.fleet import CONDITION_KINDS, CONDITION_NAMES, IN_SERVICE, Condition, is_in
from server.kiosks.models import Kiosk
from server.venues.models import Venue
from server.web.access import needs, signed_in
from server.web.pages import PAGE_ROWS, after_number, page_of

blueprint = Blueprint("console", __name__)

CHANGES_SHOWN = 8
CHECKED_LINES = 2000  # of the trail's end, on each look at the audit page; the whole is checked by a command


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
        doors=list(_doors(reading, somebody)),
        unsent=_unsent(reading, somebody),
        decisions=open_decisions(reading, somebody),
        changes=changes,
        action_names=ACTION_NAMES,
        sees_kiosks=somebody.holds(Permission.KIOSK_COUNTERS, Act.AGGREGATE),
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


def _kiosks(somebody: Person, columns: Select[int, datetime | None]) -> Select[int, datetime | None]:
    reach = somebody.reach(Permission.KIOSK_COUNTERS, Act.AGGREGATE)
    return (
        columns.select_from(Kiosk)
        .join(Venue, Venue.id == Kiosk.venue_id)
        .join(Area, Area.code == Venue.area_code)
        .where(reach.condition(Area.path, Venue.id))
    )


def _doors(reading: Session, somebody: Person) -> Iterable[Line]:
    now, fleet = house().now(), house().settings.fleet
    opens_list = somebody.holds(Permission.KIOSKS, Act.READ)
    for condition in (Condition.ALIVE, Condition.STUCK, Condition.UNREACHABLE, Condition.WAITING, Condition.SUSPENDED):
        found = reading.execute(
            _kiosks(somebody, select(func.count(), func.min(Kiosk.last_seen_at))).where(is_in(condition, now, fleet))
        ).one()
        url = url_for("kiosks.index", condition=condition.value) if opens_list else None
        since = found[1] if condition is Condition.UNREACHABLE else None
        yield Line(CONDITION_NAMES[condition], found[0], url, since, CONDITION_KINDS[condition])


def _unsent(reading: Session, somebody: Person) -> Line:
    count, oldest = reading.execute(
        _kiosks(somebody, select(func.count(), func.min(Kiosk.oldest_unsent_at))).where(
            Kiosk.oldest_unsent_at.is_not(None), Kiosk.state.in_(IN_SERVICE)
        )
    ).one()
    url = url_for("kiosks.index", condition="unsent") if somebody.holds(Permission.KIOSKS, Act.READ) else None
    alarm = timedelta(seconds=house().settings.fleet.unsent_alarm_s)
    is_late = oldest is not None and oldest < house().now() - alarm
    return Line("Kiosks that hold unsent records", count, url, oldest, "bad" if is_late else "good")


@decisions
def _codes_and_venues(reading: Session, somebody: Person) -> Iterable[Line]:
    """Codes to renew, to print and to hang; venues without a responsible person; suspended kiosks."""
    if not somebody.holds(Permission.CODES, Act.APPROVE):
        return
    reach = somebody.reach(Permission.CODES, Act.APPROVE).condition(Area.path, Venue.id)
    now = house().now()
    codes = (
        select(func.count(), func.min(VenueCode.issued_at))
        .select_from(VenueCode)
        .join(Venue, Venue.id == VenueCode.venue_id)
        .join(Area, Area.code == Venue.area_code)
        .where(reach, VenueCode.expires_at > now)
    )
    live = and_(VenueCode.state.in_(LIVE_VALUES), VenueCode.expires_at < renewal_line(now))
    for label, condition, state in (
        ("Codes that end soon: renew them", live, "renewal"),
        ("Codes issued and not printed", VenueCode.state == CodeState.ISSUED.value, "issued"),
        ("Posters printed and not hung", VenueCode.state == CodeState.PRINTED.value, "printed"),
    ):
        count, oldest = reading.execute(codes.where(condition)).one()
        yield Line(label, count, url_for("codes.index", state=state), None if state == "renewal" else oldest)
    count = reading.execute(
        select(func.count()).select_from(Venue).join(Venue.area).where(reach, Venue.keeper_name == "")
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
    return None
