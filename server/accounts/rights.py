"""What the signed-in person may do where: rights follow the tree downward, objects out of reach do not exist."""

from __future__ import annotations

from dataclasses import dataclass

from flask import abort, g
from sqlalchemy import ColumnElement, false, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from server.accounts.models import RoleAssignment, User
from server.accounts.roles import Act, Permission, Right, Role, may
from server.accounts.second_factor import factors_of, is_required
from server.areas.models import Area, is_within, within
from server.context import house

WIDE_DEPTH = 3  # province, city and district hold so many objects that a list within them is walked in its own order


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object lies: the path of its area, and its venue if it belongs to one."""

    area_path: str
    venue_id: bytes | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """One role in force, with its scope resolved."""

    role: Role
    area_path: str | None = None
    venue_id: bytes | None = None

    def covers(self, place: Place) -> bool:
        """Whether *place* lies in this grant's scope."""
        if self.area_path is not None:
            return is_within(place.area_path, self.area_path)
        return self.venue_id is not None and self.venue_id == place.venue_id

    def gives(self, permission: Permission, *acts: Act) -> bool:
        """Whether this grant gives one of *acts* where it counts. A sector's "own" (A.3) is no area, so an industry
        department's area does not make other people's things its own."""
        if self.role is Role.INDUSTRY_DEPT:
            acts = tuple(act for act in acts if act is not Act.OWN)
        return may(self.role, permission, *acts)


@dataclass(frozen=True, slots=True)
class Reach:
    """All places where somebody holds a right; narrows a list to what they may see."""

    area_paths: tuple[str, ...]
    venue_ids: tuple[bytes, ...]

    def condition(
        self, path: InstrumentedAttribute[str], venue_id: InstrumentedAttribute[bytes] | None = None
    ) -> ColumnElement[bool]:
        """The SQL condition over the columns that hold an object's area path and venue id."""
        parts = [within(path, top) for top in self.area_paths]
        if venue_id is not None and self.venue_ids:
            parts.append(venue_id.in_(self.venue_ids))
        return or_(false(), *parts)

    def in_order(
        self, path: InstrumentedAttribute[str], venue_id: InstrumentedAttribute[bytes] | None = None
    ) -> ColumnElement[bool]:
        """`condition` for a list in another order than its places: over a wide scope the list's own order is walked
        until a page is full, instead of gathering and sorting all that lies in the scope."""
        if any(top.count("/") <= WIDE_DEPTH for top in self.area_paths):
            parts = [within(func.coalesce(path, ""), top) for top in self.area_paths]  # hides the index by path
            if venue_id is not None and self.venue_ids:
                parts.append(venue_id.in_(self.venue_ids))
            return or_(false(), *parts)
        return self.condition(path, venue_id)


@dataclass(frozen=True, slots=True)
class Person:
    """The signed-in account as views see it."""

    id: str
    name: str
    display_name: str
    session_id: str  # which of their sessions this request came with; "" for none
    must_change_password: bool
    grants: tuple[Grant, ...]
    must_set_up_factor: bool = False  # their roles need a second factor, and there is none yet

    def holds(self, permission: Permission, *acts: Act) -> bool:
        """Whether this person may do one of *acts* anywhere."""
        return any(may(grant.role, permission, *acts) for grant in self.grants)

    def holds_any(self, rights: tuple[Right, ...]) -> bool:
        """Whether this person has one of *rights* anywhere."""
        return any(self.holds(right.permission, *right.acts) for right in rights)

    def may_at(self, place: Place, permission: Permission, *acts: Act) -> bool:
        """Whether this person may do one of *acts* at *place*."""
        return any(grant.gives(permission, *acts) and grant.covers(place) for grant in self.grants)

    def reach(self, permission: Permission, *acts: Act) -> Reach:
        """Everywhere this person may do one of *acts*."""
        return self.reach_any((Right(permission, acts),))

    def reach_any(self, rights: tuple[Right, ...]) -> Reach:
        """Everywhere this person has one of *rights*."""
        able = [grant for grant in self.grants if any(grant.gives(right.permission, *right.acts) for right in rights)]
        return Reach(
            tuple(grant.area_path for grant in able if grant.area_path is not None),
            tuple(grant.venue_id for grant in able if grant.venue_id is not None),
        )


def person() -> Person:
    """The signed-in person of this request; 401 for strangers (the gate has normally sent them away before)."""
    found: Person | None = g.get("person")
    if found is None:
        abort(401)
    return found


def require(permission: Permission, *acts: Act, place: Place) -> Person:
    """The signed-in person, if they may do one of *acts* at *place*; else 404, as if the object did not exist.

    Call it in every view that names an object, before anything of the object is used.
    """
    return require_any((Right(permission, acts),), place=place)


def require_any(rights: tuple[Right, ...], *, place: Place) -> Person:
    """Like `require`, for somebody with one of *rights*."""
    somebody = person()
    if not any(somebody.may_at(place, right.permission, *right.acts) for right in rights):
        abort(404)
    return somebody


def person_of(reading: Session, user: User, *, session_id: str = "") -> Person:
    """*user* with the grants in force now."""
    now = house().now()
    rows = (
        select(RoleAssignment.role, Area.path, RoleAssignment.venue_id)
        .join(Area, Area.code == RoleAssignment.area_code, isouter=True)
        .where(
            RoleAssignment.user_id == user.id,
            RoleAssignment.starts_at <= now,
            or_(RoleAssignment.ends_at.is_(None), RoleAssignment.ends_at > now),
        )
    )
    grants = tuple(Grant(Role(role), path, venue_id) for role, path, venue_id in reading.execute(rows))
    needs_factor = is_required({grant.role for grant in grants})
    return Person(
        user.id,
        user.name,
        user.display_name,
        session_id,
        user.must_change_password,
        grants,
        needs_factor and not factors_of(reading, user.id).is_set_up,
    )
