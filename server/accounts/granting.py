"""Who may give which role where, and which roles exclude each other; used by pages and commands alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, exists, or_, select
from sqlalchemy.orm import Session, joinedload

from config.errors import GatehouseError
from server.accounts.models import RoleAssignment, User
from server.accounts.rights import Person, Place, Reach
from server.accounts.roles import GRANTED, Act, Permission, Role, may
from server.areas.models import Area
from server.audit import Thing, audit
from server.context import house
from server.venues.models import Venue

# Roles that are for oneself only (requirements.md A.2), those of a venue, and the helper that must end by itself.
SELF_ROLES = frozenset({Role.RESIDENT, Role.ASSISTED_PERSON, Role.LANDLORD})
VENUE_ROLES = frozenset({Role.VENUE_OPERATOR, Role.VENUE_KEEPER, Role.VENUE_STAFF})
HELPER = Role.VOLUNTEER
MUST_END = frozenset({HELPER, Role.INSPECTOR})  # A.2: for the session, for the assignment's time

_LOCAL = frozenset({Role.GRID_WORKER, Role.REGISTRAR, HELPER, Role.APPLICANT, *VENUE_ROLES})
_STREET = _LOCAL | {Role.COMMUNITY_WORKER, Role.TRAINING_OFFICER, Role.SUPPLY_KEEPER, Role.INSPECTOR}
_DISTRICT = _STREET | {Role.STREET_ADMIN, Role.EPI_INVESTIGATOR, Role.INDUSTRY_DEPT, Role.DATA_PROVIDER}

# What each role may give to others in its scope: always less than itself, but for the top, which nobody stands above.
GIVES: dict[Role, frozenset[Role]] = {
    Role.CITY_COMMAND: frozenset(Role) - SELF_ROLES,
    Role.DISTRICT_COMMAND: _DISTRICT,
    Role.STREET_ADMIN: _STREET,
    Role.COMMUNITY_WORKER: _LOCAL,
    Role.VENUE_OPERATOR: frozenset({Role.VENUE_KEEPER, Role.VENUE_STAFF}),
    Role.VENUE_KEEPER: frozenset({Role.VENUE_STAFF}),
}

# Pairs that one person never holds at the same time (the cross-cutting rules under A.3).
EXCLUDES: dict[Role, frozenset[Role]] = {
    Role.DISTRICT_COMMAND: frozenset({Role.CITY_COMMAND}),  # first and final reviewer of a notice
    Role.INSPECTOR: VENUE_ROLES | {Role.APPLICANT},  # an inspector has no role in a venue
    Role.TECH_SUPPORT: frozenset(role for role in Role if GRANTED[role].get(Permission.PASSAGES)) - SELF_ROLES,
    Role.DATA_OFFICER: frozenset(role for role in Role if GRANTED[role].get(Permission.PASSAGES)) - SELF_ROLES,
}


class GrantError(GatehouseError):
    """A role that cannot be given like this."""

    code = "grant"


@dataclass(frozen=True, slots=True)
class Scope:
    """For whom a role counts: an area and all below it, one venue, or only oneself."""

    area: Area | None = None
    venue: Venue | None = None

    @property
    def place(self) -> Place | None:
        """As rights see it; None for oneself."""
        if self.venue is not None:
            return Place(self.venue.area.path, self.venue.id)
        return Place(self.area.path) if self.area is not None else None

    @property
    def area_path(self) -> str:
        """For the audit trail; "" for oneself."""
        return self.place.area_path if self.place else ""


def managed(somebody: Person) -> Reach:
    """Where *somebody* looks after accounts: an authority in its area, an operator or keeper at the own venue.

    A sector ("own", industry departments) is no area, so it gives nothing here.
    """
    full = [g.area_path for g in somebody.grants if may(g.role, Permission.USERS, Act.FULL)]
    own = [g.venue_id for g in somebody.grants if may(g.role, Permission.USERS, Act.OWN)]
    return Reach(tuple(path for path in full if path is not None), tuple(v for v in own if v is not None))


def looks_after(somebody: Person, place: Place) -> bool:
    """Whether *place* lies where *somebody* looks after accounts."""
    return any(
        one.covers(place)
        and (may(one.role, Permission.USERS, Act.FULL) or (one.venue_id and may(one.role, Permission.USERS, Act.OWN)))
        for one in somebody.grants
    )


def givable(somebody: Person, place: Place) -> frozenset[Role]:
    """The roles that *somebody* may give to others at *place*."""
    found: set[Role] = set()
    for grant in somebody.grants:
        if grant.covers(place):
            found |= GIVES.get(grant.role, frozenset())
    return frozenset(found) if place.venue_id is not None else frozenset(found - VENUE_ROLES)


def may_manage(reading: Session, somebody: Person, user: User) -> bool:
    """Whether *somebody* may act on the account *user*: every role of it is one that they could have given.

    So nobody resets the password of somebody who can do more than they can, and nobody acts on their own account here.
    """
    if user.id == somebody.id:
        return False
    rows = relevant_roles(reading, user.id, house().now())
    return bool(rows) and all(
        (place := scope_of(row).place) is not None and row.kind in givable(somebody, place) for row in rows
    )


def relevant_roles(reading: Session, user_id: str, now: datetime) -> Sequence[RoleAssignment]:
    """The roles of an account that are in force or to come; when there are none, those that ended last."""
    rows = reading.scalars(
        select(RoleAssignment)
        .where(RoleAssignment.user_id == user_id)
        .options(joinedload(RoleAssignment.area), joinedload(RoleAssignment.venue).joinedload(Venue.area))
        .order_by(RoleAssignment.starts_at, RoleAssignment.id)
    ).all()
    lasting = [row for row in rows if row.ends_at is None or row.ends_at > now]
    if lasting or not rows:
        return lasting
    last = max(row.ends_at for row in rows if row.ends_at is not None)
    return [row for row in rows if row.ends_at == last]


def scope_of(row: RoleAssignment) -> Scope:
    """The scope of a stored role; load `area` and `venue.area` with it."""
    return Scope(row.area, row.venue)


def check_scope(role: Role, *, has_area: bool, has_venue: bool) -> None:
    """Raise GrantError when *role* cannot have this kind of scope."""
    if role in VENUE_ROLES:
        if not has_venue or has_area:
            raise GrantError("This role belongs to a venue.", hint="Choose the venue (--venue).")
    elif role in SELF_ROLES:
        if has_area or has_venue:
            raise GrantError("This role has no area or venue.", hint="Leave area and venue out.")
    elif not has_area or has_venue:
        raise GrantError("This role belongs to an area.", hint="Choose the area (--area).")


def grant(
    writing: Session,
    user: User,
    role: Role,
    scope: Scope,
    *,
    starts_at: datetime,
    ends_at: datetime | None,
    by: Person | None,
) -> RoleAssignment:
    """Give *user* a role. *by* None is the command line, which may give anything that holds together.

    Raises GrantError: wrong kind of scope, not *by*'s to give, own account, a helper or inspector without end, roles
    that exclude each other, or the same role there already.
    """
    now = house().now()
    check_scope(role, has_area=scope.area is not None, has_venue=scope.venue is not None)
    if by is not None:
        if by.id == user.id:
            raise GrantError("Nobody gives themselves a role.", hint="Ask the authority above you.")
        if scope.place is None or role not in givable(by, scope.place):
            raise GrantError("This role is not yours to give there.", hint="Ask the authority above you.")
    if ends_at is not None and ends_at <= max(starts_at, now):
        raise GrantError("The end lies before the beginning.", hint="Choose a later end.")
    if role in MUST_END and by is not None and ends_at is None:
        raise GrantError("This role needs an end.", hint="Give the day and hour at which it ends by itself.")
    longest = timedelta(hours=house().settings.accounts.helper_hours)
    if role is HELPER and ends_at is not None and ends_at - starts_at > longest:
        raise GrantError("A helper's grant is too long.", hint="Give a shorter one; it can be given again.")
    others = select(RoleAssignment).where(
        RoleAssignment.user_id == user.id, or_(RoleAssignment.ends_at.is_(None), RoleAssignment.ends_at > starts_at)
    )
    if ends_at is not None:
        others = others.where(RoleAssignment.starts_at < ends_at)
    for other in writing.scalars(others):
        if other.kind in EXCLUDES.get(role, ()) or role in EXCLUDES.get(other.kind, ()):
            raise GrantError("This account has a role that excludes it.", hint="End that one first.")
        same_area = other.area_code == (scope.area.code if scope.area else None)
        if other.kind is role and same_area and other.venue_id == (scope.venue.id if scope.venue else None):
            raise GrantError("The account has this role there already.", hint="End the old one first.")
    row = RoleAssignment(
        user_id=user.id,
        role=role.value,
        area_code=scope.area.code if scope.area else None,
        venue_id=scope.venue.id if scope.venue else None,
        starts_at=starts_at,
        ends_at=ends_at,
        granted_by=by.id if by else None,
    )
    writing.add(row)
    writing.flush()
    until = f" until {ends_at:%Y-%m-%d %H:%M}" if ends_at else ""
    audit(writing, "role.granted", Thing("user", user.id, scope.area_path), f"{role.value}{until}", at=now)
    return row


def end_grant(writing: Session, row: RoleAssignment, reason: str) -> None:
    """End a role now; it stays in the table, because records name what somebody was."""
    now = house().now()
    row.ends_at = max(now, row.starts_at)
    if row.starts_at > now:  # it never began
        row.starts_at = row.ends_at = now
    audit(writing, "role.ended", Thing("user", row.user_id, scope_of(row).area_path), f"{row.role}: {reason}", at=now)


def users_within(reach: Reach, now: datetime) -> ColumnElement[bool]:
    """The SQL condition "this account has, or had last, a role in *reach*" over User."""
    lasting = or_(RoleAssignment.ends_at.is_(None), RoleAssignment.ends_at > now)
    here = (
        exists()
        .where(RoleAssignment.user_id == User.id)
        .where(
            or_(
                exists().where(Area.code == RoleAssignment.area_code).where(reach.condition(Area.path)),
                exists()
                .where(Venue.id == RoleAssignment.venue_id)
                .where(Area.code == Venue.area_code)
                .where(reach.condition(Area.path, Venue.id)),
            )
        )
    )
    has_lasting = exists().where(RoleAssignment.user_id == User.id, lasting)
    return or_(here.where(lasting), and_(here, ~has_lasting))
