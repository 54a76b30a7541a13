"""The main menu: each person sees the pages they may open."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Flask, current_app, g, request, url_for

from server.accounts.rights import Person
from server.accounts.roles import Role
from server.context import house
from server.web.access import Gate, access_of

# By subject: a heading, then label and endpoint, in order. Who sees a line follows from what its view declares, so the
# two cannot disagree.
GROUPS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "At hand",
        (
            ("Overview", "console.home"),
            ("Inbox", "cases.inbox"),
            ("My health code", "residents.own_code"),
            ("Who looked at mine", "residents.looks.page"),
        ),
    ),
    (
        "Venues and codes",
        (
            ("Venues", "venues.index"),
            ("Venue codes", "codes.index"),
            ("Apply for codes", "applications.index"),
            ("Draws for inspection", "inspections.draws"),
            ("Scores of venues", "inspections.scores"),
        ),
    ),
    (
        "People",
        (
            ("Residents", "residents.desk.index"),
            ("Paper codes", "papers.index"),
        ),
    ),
    (
        "At the entrances",
        (
            ("Kiosks", "kiosks.index"),
            ("Public notices", "notices.index"),
            ("Profiles", "policies.index"),
            ("Emergency mode", "policies.emergency"),
            ("Certificate rules", "bundles.rules.index"),
            ("Inspector passes", "inspectors.index"),
        ),
    ),
    (
        "Looking into records",
        (
            ("My queries", "queries.index"),
            ("Queries to decide", "queries.inbox"),
            ("Who has looked", "queries.looks"),
        ),
    ),
    (
        "The house",
        (
            ("Accounts", "accounts.users.index"),
            ("Retention", "retention.index"),
            ("Audit trail", "console.trail"),
        ),
    ),
)


RESIDENTS = frozenset({Role.RESIDENT, Role.ASSISTED_PERSON})


@dataclass(frozen=True, slots=True)
class MenuItem:
    """One line of the menu, for this request."""

    label: str
    url: str
    is_here: bool


@dataclass(frozen=True, slots=True)
class MenuGroup:
    """The lines of one subject."""

    label: str
    items: tuple[MenuItem, ...]


def menu() -> list[MenuGroup]:
    """The subjects and lines that the signed-in person may open."""
    somebody: Person | None = g.get("person")
    if somebody is None:
        return []
    found = []
    for label, lines in GROUPS:
        items = tuple(
            MenuItem(text, url_for(endpoint), _is_here(endpoint))
            for text, endpoint in lines
            if _may_open(somebody, endpoint)
        )
        if items:
            found.append(MenuGroup(label, items))
    return found


_ENDPOINTS = frozenset(endpoint for _, lines in GROUPS for _, endpoint in lines)


def _is_here(endpoint: str) -> bool:
    here = request.endpoint or ""
    return here == endpoint or (here not in _ENDPOINTS and _same_subject(here, endpoint))


# their deeper pages belong to none of their lines, or to several
_APART = frozenset({"console", "queries", "policies", "inspections"})


def _same_subject(here: str, endpoint: str) -> bool:
    """A page deeper in a subject belongs to its list; the pages of console and queries stand for themselves."""
    subject = endpoint.rpartition(".")[0]
    return subject not in _APART and here.rpartition(".")[0] == subject


def _may_open(somebody: Person, endpoint: str) -> bool:
    roles = {grant.role for grant in somebody.grants}
    if endpoint == "residents.own_code" and not roles & RESIDENTS:  # others hold the right, and have no code
        return False
    if endpoint in {"console.home", "cases.inbox"} and roles and roles <= RESIDENTS:
        return False
    access = access_of(current_app, endpoint)
    if access.gate is Gate.PERMISSION:
        return somebody.holds_any(access.rights)
    return access.gate in {Gate.OPEN, Gate.SIGNED_IN}


def install(app: Flask) -> None:
    """Give templates `menu` and `zone_name`."""
    app.jinja_env.globals.update(menu=menu, zone_name=lambda: house().settings.time_zone)
