"""Known devices: a browser in which somebody has signed in before is counted for itself, not with its network.

So a stranger behind the same address who guesses passwords slows the owner's own browser down in no way. The cookie
opens nothing; whoever steals it may guess as slowly as anybody else.
"""

from __future__ import annotations

import secrets
from datetime import timedelta

from flask import Response, current_app, request
from itsdangerous import BadSignature, URLSafeTimedSerializer

from server.context import house

LIFE = timedelta(days=180)


def known_device(user_id: str | None) -> str | None:
    """The number of this browser, if *user_id* has signed in with it before."""
    if user_id is None:
        return None
    try:
        owner, number = _signer().loads(request.cookies.get(_name(), ""), max_age=int(LIFE.total_seconds()))
    except (BadSignature, ValueError, TypeError):
        return None
    return str(number) if owner == user_id else None


def remember(response: Response, user_id: str) -> None:
    """Let this browser be one of *user_id*'s from now on."""
    number = known_device(user_id) or secrets.token_hex(8)
    response.set_cookie(
        _name(),
        _signer().dumps([user_id, number]),
        max_age=LIFE,
        secure=house().settings.is_https,
        httponly=True,
        samesite="Lax",
    )


def _name() -> str:
    return "__Host-gatehouse-device" if house().settings.is_https else "gatehouse-device"


def _signer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(current_app.config["SECRET_KEY"], salt="known device 1")
