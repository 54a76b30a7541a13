"""What sending and approving an application do: a version is frozen, a venue and its codes come into being."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from server.accounts.models import RoleAssignment
from server.accounts.registering import end_applying
from server.accounts.roles import Role
from server.applications.details import Details, digest_of, missing
from server.applications.models import ApplicationVersion, CodeApplication
from server.audit import Thing, audit
from server.cases.machine import Attempt
from server.codes.issuing import issue, keeper_named
from server.codes.models import VenueCode
from server.venues.models import Entrance, Venue


def application_of(attempt: Attempt) -> CodeApplication | None:
    """The application that a case is about."""
    return attempt.database.get(CodeApplication, attempt.case.key or "")


def is_whole(attempt: Attempt) -> bool:
    """Whether everything is there that an application needs."""
    row = application_of(attempt)
    return row is not None and not problems_of(row)


def problems_of(row: CodeApplication) -> list[str]:
    """What is missing in a draft, as messages of the catalogue."""
    details = Details.from_json(row.content)
    return missing(details, has_proof=row.proof_id is not None, has_plan=row.plan_id is not None)


def newest_version(reading: Session, application_id: str) -> ApplicationVersion | None:
    """The version that was sent last."""
    return reading.scalar(
        select(ApplicationVersion)
        .where(ApplicationVersion.application_id == application_id)
        .order_by(ApplicationVersion.number.desc())
        .limit(1)
    )


def freeze(writing: Session, row: CodeApplication, at: datetime) -> ApplicationVersion:
    """Keep the draft as the next version; the caller has looked that nothing is missing."""
    if row.proof is None or row.plan is None:
        raise ValueError("An application without its files cannot be frozen.")
    last = newest_version(writing, row.id)
    details = Details.from_json(row.content)
    version = ApplicationVersion(
        application_id=row.id,
        number=last.number + 1 if last else 1,
        at=at,
        area_code=row.area_code,
        content=details.to_json(),
        proof_id=row.proof.id,
        plan_id=row.plan.id,
        digest=digest_of(details, row.area_code, row.proof.digest, row.plan.digest),
    )
    writing.add(version)
    writing.flush()
    return version


@dataclass(frozen=True, slots=True)
class Made:
    """What came of an approval."""

    venue: Venue
    codes: list[VenueCode]


def carry_out(attempt: Attempt) -> None:
    """Approved: the venue with its responsible person, its entrances, and a code for each; the applicant runs it.

    A venue that existed keeps its data and gets what is new: entrances whose name it has already get their next code.
    """
    row = application_of(attempt)
    if row is None:
        return
    writing, at = attempt.database, attempt.at
    version = newest_version(writing, row.id)
    if version is None:
        raise ValueError("An application that was never sent cannot be approved.")
    details = Details.from_json(version.content)
    venue = row.venue
    if venue is None:
        venue = Venue(area_code=version.area_code, created_at=at, keeper_name=details.keeper_name)
        venue.name_zh, venue.name_en = details.name_zh, details.name_en
        venue.address, venue.category = details.address, details.category
        venue.keeper_phone = details.keeper_phone
        writing.add(venue)
        writing.flush()
        writing.refresh(venue, ["area"])
        row.venue_id = venue.id
        audit(writing, "venue.created", Thing("venue", venue.id.hex(), venue.area.path), f"application {row.id}")
        _let_run(writing, row.applicant_id, venue, at, attempt.actor)
    elif venue.keeper_name != details.keeper_name:
        venue.keeper_name, venue.keeper_phone = details.keeper_name, details.keeper_phone
        audit(writing, "venue.keeper_changed", Thing("venue", venue.id.hex(), venue.area.path))
        keeper_named(writing, venue.id)
    serials = [issue(writing, door, by=attempt.actor).serial for door in _doors(writing, venue, details)]
    attempt.case.venue_id, attempt.case.area_path = venue.id, venue.area.path
    attempt.case.facts = {**attempt.case.facts, "serials": serials}


def _doors(writing: Session, venue: Venue, details: Details) -> list[Entrance]:
    open_doors = select(Entrance).where(Entrance.venue_id == venue.id, Entrance.closed_at.is_(None))
    known = {door.name_zh: door for door in writing.scalars(open_doors)}
    last = writing.scalar(select(func.max(Entrance.number)).where(Entrance.venue_id == venue.id)) or 0
    found = []
    for wanted in details.entrances:
        door = known.get(wanted.name_zh)
        if door is None:
            last += 1
            door = Entrance(venue_id=venue.id, number=last, name_zh=wanted.name_zh, name_en=wanted.name_en)
            writing.add(door)
            writing.flush()
            audit(writing, "entrance.added", Thing("venue", venue.id.hex(), venue.area.path), f"entrance {last}")
        writing.refresh(door, ["venue"])
        found.append(door)
    return found


def _let_run(writing: Session, user_id: str, venue: Venue, at: datetime, by: str) -> None:
    """The applicant becomes the new venue's operator, and whoever only applied so far is no applicant any more."""
    end_applying(writing, user_id)
    has_it = writing.scalar(
        select(func.count()).where(
            RoleAssignment.user_id == user_id,
            RoleAssignment.venue_id == venue.id,
            or_(RoleAssignment.ends_at.is_(None), RoleAssignment.ends_at > at),
        )
    )
    if has_it:
        return
    role = Role.VENUE_OPERATOR.value
    writing.add(RoleAssignment(user_id=user_id, role=role, venue_id=venue.id, starts_at=at, granted_by=by))
    audit(writing, "role.granted", Thing("user", user_id, venue.area.path), f"{role} by application")
