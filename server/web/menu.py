"""The main menu: each person sees the pages they may open."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Flask, current_app, g, request, url_for

from server.accounts.rights import Person
from server.context import house
from server.web.access import Gate, access_of

# Label and endpoint, in order. Who sees a line follows from what its view declares, so the two cannot disagree.
ITEMS: tuple[tuple[str, str], ...] = (("Overview", "console.home"),)


@dataclass(frozen=True, slots=True)
class MenuItem:
    """One line of the menu, for this request."""

    label: str
    url: str
    is_here: bool


def menu() -> list[MenuItem]:
    """The lines that the signed-in person may open."""
    somebody: Person | None = g.get("person")
    if somebody is None:
        return []
    here = (request.endpoint or "").split(".")[0]
    return [
        MenuItem(label, url_for(endpoint), endpoint.split(".")[0] == here)
        for label, endpoint in ITEMS
        if _may_open(somebody, endpoint)
    ]


def _may_open(somebody: Person, endpoint: str) -> bool:
    access = access_of(current_app, endpoint)
    if access.gate is Gate.PERMISSION and access.permission is not None:
        return somebody.holds(access.permission, *access.acts)
    return access.gate in {Gate.OPEN, Gate.SIGNED_IN}


def install(app: Flask) -> None:
    """Give templates `menu` and `zone_name`."""
    app.jinja_env.globals.update(menu=menu, zone_name=lambda: house().settings.time_zone)
