"""Which pages may be a few seconds old, and for whom not: what the replica is for (docs/decisions/0140).

Only lists and overviews are named here. Signing in, sessions and rights are read in a session of their own, always from
the primary; so is every form, everything that is decided upon, and every page of somebody who has written just now.
"""

from __future__ import annotations

from flask import g, request
from flask import session as cookie

from server.accounts.sessions import TOKEN
from server.context import house

MAY_BE_STALE = frozenset(
    {
        "console.home",
        "console.trail",
        "venues.index",
        "venues.show",
        "codes.index",
        "kiosks.index",
        "kiosks.show",
        "search.index",
        "notices.index",
        "retention.index",
    }
)
WROTE = "wrote"  # in the cookie: when this session last wrote, in seconds since 1970
CLOCK_SLACK_S = 2.0  # web hosts' clocks; the mark may have been made by another one


def choose() -> None:
    """Set `g.may_be_stale` for this request, once it is known who asks."""
    g.may_be_stale = False
    if house().database.replica is None or request.method != "GET" or request.endpoint not in MAY_BE_STALE:
        return
    wrote = cookie.get(WROTE)
    bound_s = house().settings.postgresql.replica_lag_s + CLOCK_SLACK_S
    # a mark in the future is a clock that was set back: then nothing is known
    g.may_be_stale = not isinstance(wrote, float) or house().now().timestamp() - wrote > bound_s


def note_write() -> None:
    """Note in the cookie that this session wrote just now, so that whatever process comes next shows what it wrote."""
    if house().database.replica is not None and request.method == "POST" and TOKEN in cookie:
        cookie[WROTE] = house().now().timestamp()
