"""Who may use a route: every view declares it, and an application with an undeclared route does not start.

@open_to_all                          the sign-in page, a scanned poster, health checks
@signed_in                            any account: own password, sign-out, the resident's own page
@needs(Permission.CODES, Act.APPROVE) accounts that hold this right somewhere; the view then asks
                                      `require(..., place)` for the very object (server/accounts/rights.py)
@open_with_proof("what stands for the form token") strangers may post here without a cookie: the view itself checks it
@machines("how it proves who it is")  no account and no form token: the view itself checks a device signature or a
                                      one-time code, before it does anything else
@takes_files(max_bytes)               below one of these: takes a larger body
@personal                             below one of these: also wants the agreement and training (accounts/gates.py)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, TypeVar

from flask import Flask

from server.accounts.roles import Act, Permission, Right

View = TypeVar("View", bound=Callable[..., Any])


class Gate(Enum):
    """The kinds of door a route can have."""

    OPEN = "open"
    SIGNED_IN = "signed_in"
    PERMISSION = "permission"
    MACHINE = "machine"


@dataclass(frozen=True, slots=True)
class Access:
    """What a view declared about who may use it."""

    gate: Gate
    rights: tuple[Right, ...] = ()  # any one of them opens the door
    proof: str = ""  # how a machine proves who it is, or what stands for a form token; for the table of routes
    max_bytes: int | None = None  # the request body; None takes the form limit
    is_personal: bool = False  # shows other people's data: agreement and training come first


def open_to_all(view: View) -> View:
    """Strangers may use this view."""
    return _declare(view, Access(Gate.OPEN))


def open_with_proof(proof: str, *, max_bytes: int) -> Callable[[View], View]:
    """Strangers may post to this view, and no cookie is set for it: it checks *proof* itself, first thing."""
    return lambda view: _declare(view, Access(Gate.OPEN, proof=proof, max_bytes=max_bytes))


def signed_in(view: View) -> View:
    """Any signed-in account may use this view."""
    return _declare(view, Access(Gate.SIGNED_IN))


def needs(permission: Permission, *acts: Act) -> Callable[[View], View]:
    """Accounts that hold *permission* with one of *acts* somewhere may use this view."""
    if not acts:
        raise ValueError("needs() wants at least one act.")
    return needs_any(Right(permission, acts))


def needs_any(*rights: Right) -> Callable[[View], View]:
    """Accounts that hold one of *rights* somewhere may use this view."""
    return lambda view: _declare(view, Access(Gate.PERMISSION, rights))


def machines(proof: str, *, max_bytes: int | None = None) -> Callable[[View], View]:
    """Devices use this view; it checks *proof* itself. *max_bytes* limits the body (default limits.machine_bytes)."""
    return lambda view: _declare(view, Access(Gate.MACHINE, proof=proof, max_bytes=max_bytes))


def personal(view: View) -> View:
    """This view shows residents' personal data: only accounts that have signed the confidentiality agreement and hold a
    training pass may use it (server/accounts/gates.py). Stands below the decorator that says who may."""
    view.gatehouse_personal = True  # type: ignore[attr-defined]
    return view


def takes_files(max_bytes: int) -> Callable[[View], View]:
    """This view takes a file, so its body may have *max_bytes*. Stands below the decorator that says who may."""

    def mark(view: View) -> View:
        view.gatehouse_max_bytes = max_bytes  # type: ignore[attr-defined]
        return view

    return mark


def access_of(app: Flask, endpoint: str) -> Access:
    """What *endpoint* declared; Flask's own file endpoint is open. Raises LookupError for an undeclared one."""
    if endpoint == "static":
        return Access(Gate.OPEN)
    found = getattr(app.view_functions[endpoint], "gatehouse_access", None)
    if not isinstance(found, Access):
        raise LookupError(f"The route {endpoint} does not say who may use it; see server/web/access.py.")
    return found


def check_all_declared(app: Flask) -> None:
    """Raise LookupError when any route of *app* is undeclared."""
    for rule in app.url_map.iter_rules():
        access_of(app, rule.endpoint)


def _declare(view: View, access: Access) -> View:
    if getattr(view, "gatehouse_personal", False):
        access = replace(access, is_personal=True)
    if (max_bytes := getattr(view, "gatehouse_max_bytes", None)) is not None:
        access = replace(access, max_bytes=max_bytes)
    view.gatehouse_access = access  # type: ignore[attr-defined]
    return view
