"""Turns a filled form into a query: in the requester's own scope, its person sealed before anything is stored."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from protocol.errors import ProtocolError
from protocol.id_number import NumberProblem, number_problem, tidy
from protocol.query import (
    MAX_REUSED_SPAN_MS,
    MAX_SPAN_MS,
    QUERY_ID_BYTES,
    Purpose,
    Query,
    QueryKind,
    Reveal,
    own_venue_problem,
)
from protocol.vault_keys import VaultKeys
from server.accounts.rights import Person as Somebody
from server.accounts.rights import Place
from server.accounts.roles import Act, Permission
from server.queries.forms import QueryForm
from server.queries.models import QueryRow, QueryState, QueryVenue
from server.residents.entries import NUMBER_PROBLEMS, OTHER_DOCUMENT
from server.vault.person import Person, PersonKind, seal_person
from server.venues.models import Venue

MAX_VENUES = 100  # protocol/query.py
OWN_VENUE_BOUNDS = "A check at one's own venue is masked, spans at most 3 days, 8 hours and 100 records."
TOO_FEW = "Fewer than 18 characters were typed; an ID number has 18 (the last may be X)."
TOO_MANY = "More than 18 characters were typed; an ID number has 18 (the last may be X)."
NO_DOCUMENT = "A passport or travel permit has 1 to 3 letters, then 5 to 12 digits; an ID number begins with a digit."
NOT_AS_PRINTED = "A document's number has 4 to 20 letters and digits."
AS_STAFF_TAKE_IT = re.compile("[0-9A-Z]{4,20}")
MASKED_PURPOSES = frozenset({Purpose.VENUE_CHECK})  # what a right to masked results is for (V-27)


def place_of(venue: Venue) -> Place:
    """Where *venue* lies."""
    return Place(venue.area.path, venue.id)


def chosen_venues(reading: Session, form: QueryForm, somebody: Somebody) -> list[Venue]:
    """The venues that the form names and *somebody* may ask about; one out of reach is as one that does not exist."""
    ids = set()
    for text in (form.venues.data or [])[:MAX_VENUES]:
        try:
            ids.add(bytes.fromhex(text))
        except ValueError:
            continue
    rows = reading.scalars(select(Venue).where(Venue.id.in_(ids)).options(joinedload(Venue.area)).order_by(Venue.id))
    return [v for v in rows if somebody.may_at(place_of(v), Permission.PASSAGES, Act.READ_MASKED)]


def may_unmask(somebody: Somebody, venues: Sequence[Venue]) -> bool:
    """Whether *somebody* may ask for full values at all of *venues*."""
    return all(somebody.may_at(place_of(v), Permission.PASSAGES, Act.READ) for v in venues)


def _person(kind: PersonKind, typed: str, today: date, *, as_printed: bool) -> tuple[Person | None, str]:
    """Whom *typed* names, or None and why nobody: a message that says what is wrong, never what was typed.

    One digit typed wrong would find nobody, and that would look like an answer. So an ID number is one of a resident
    card, a residence permit or a permanent residence card, with a check digit that fits and a real birth date
    (protocol/id_number.py; a region that is no longer known is no reason to find nobody), or one of a passport or
    travel permit. *as_printed* says that the document shows it so: staff at a door can take an odd old card and other
    kinds of document, too (4 to 20 letters and digits), and those must be found.
    """
    if kind is PersonKind.ID_NUMBER:
        number = tidy(typed)
        if as_printed:
            if not AS_STAFF_TAKE_IT.fullmatch(number):
                return None, NOT_AS_PRINTED
        elif not number[:1].isdigit():
            if not OTHER_DOCUMENT.fullmatch(number):
                return None, NO_DOCUMENT
        elif len(number) != 18:
            return None, TOO_FEW if len(number) < 18 else TOO_MANY
        else:
            problem = number_problem(number, today)
            if problem is not None and problem is not NumberProblem.REGION:
                return None, NUMBER_PROBLEMS[problem]
        typed = number
    found = Person.make(kind, typed)
    return found, "" if found is not None else "This is not a number of that kind."


def query_from(
    form: QueryForm, venues: Sequence[Venue], somebody: Somebody, keys: VaultKeys, *, now: datetime, zone: ZoneInfo
) -> Query | None:
    """The query that *form* asks for, or None with the reasons put beside the form's fields."""
    start, end = form.from_at.data.replace(tzinfo=zone), form.to_at.data.replace(tzinfo=zone)
    purpose, reveal = Purpose(form.purpose.data), tuple(Reveal(r) for r in form.reveal.data or ())
    query_id = secrets.token_bytes(QUERY_ID_BYTES)
    person, kind = None, form.person_kind.data
    looks_for = QueryKind(form.kind.data)
    if not venues:
        form.venues.errors = ["None of these venues is within your reach."]
    if not start < end or (end - start).total_seconds() * 1000 > MAX_SPAN_MS:
        form.to_at.errors = ["A period has at least a minute and at most 14 days."]
    if looks_for is QueryKind.REUSED_CODES:
        if (end - start).total_seconds() * 1000 > MAX_REUSED_SPAN_MS:
            form.to_at.errors = ["Reused codes are looked for over at most 3 days."]
        if kind or form.person.data:
            form.person_kind.errors = ["Reused codes are looked for among everybody at these venues."]
        if form.max_rows.data < 2:
            form.max_rows.errors = ["A pair has two records."]
    if looks_for is QueryKind.OVERLAPS:
        if not kind:
            form.person_kind.errors = ["Say whose stays; others are looked for around them."]
        if not form.within_minutes.data:
            form.within_minutes.errors = ["1 to 120."]
        if reveal:
            form.reveal.errors = ["Who was there too is shown masked. Ask for records in full in a query of its own."]
        if purpose is Purpose.VENUE_CHECK:
            form.purpose.errors = ["This search is not for a check at one's own venue."]
        if form.max_rows.data < 2:
            form.max_rows.errors = ["A meeting has two records."]
    if start > now:
        form.from_at.errors = ["This lies in the future."]
    if kind:
        found, problem = _person(
            PersonKind(kind),
            form.person.data or "",
            now.astimezone(zone).date(),
            as_printed=form.as_printed.data,
        )
        if found is None:
            form.person.errors = [problem]
        else:
            person = seal_person(found, query_id, keys.identity[0])
    elif form.person.data:
        form.person_kind.errors = ["Say what kind of number this is."]
    if not may_unmask(somebody, venues):
        if reveal:
            form.reveal.errors = ["Your role sees masked results only."]
        if purpose not in MASKED_PURPOSES:
            form.purpose.errors = ["Your role may ask for a check at its own venue only."]
    if any(field.errors for field in form):
        return None
    try:
        query = Query(
            query_id=query_id,
            requester=somebody.name,
            purpose=purpose,
            case_reference=form.case_reference.data.strip(),
            legal_ground=form.legal_ground.data.strip(),
            venues=tuple(v.id for v in venues),
            from_ms=_ms(start),
            to_ms=_ms(end),
            person=person,
            reveal=reveal or (Reveal.MASKED,),
            max_rows=form.max_rows.data,
            created_ms=_ms(now),
            expires_ms=_ms(now + timedelta(hours=form.valid_hours.data)),
            kind=looks_for,
            within_minutes=form.within_minutes.data if looks_for is QueryKind.OVERLAPS else 0,
        )
    except ProtocolError:
        form.case_reference.errors = ["This query is not possible. Look at each field again."]
        return None
    if own_venue_problem(query):
        form.purpose.errors = [OWN_VENUE_BOUNDS]
        return None
    return query


def row_of(query: Query, somebody: Somebody, now: datetime) -> QueryRow:
    """The row that keeps *query* until it is decided."""
    return QueryRow(
        id=query.query_id,
        body=query.to_bytes(),
        digest=query.digest(),
        requester_id=somebody.id,
        state=QueryState.REQUESTED.value,
        created_at=now,
        expires_at=now + timedelta(milliseconds=query.expires_ms - query.created_ms),
        venues=[QueryVenue(venue_id=venue_id) for venue_id in query.venues],
    )


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
