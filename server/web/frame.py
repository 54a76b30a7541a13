"""What happens around every request: the gate, form tokens, limits, security headers, error pages."""

from __future__ import annotations

import logging
import time
from typing import NamedTuple
from urllib.parse import urlsplit

from flask import Flask, Request, Response, abort, current_app, g, jsonify, redirect, render_template, request, url_for
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError, CSRFProtect
from werkzeug.exceptions import HTTPException, InternalServerError, SecurityError
from werkzeug.routing import BaseConverter, ValidationError

from config.server import ServerSettings
from server.accounts import sessions
from server.accounts.gates import may_see_personal
from server.accounts.rights import person_of
from server.context import house
from server.db import close_session
from server.web import staleness
from server.web.access import Gate, access_of
from server.web.logs import new_request_id

log = logging.getLogger("gatehouse.web")

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
MACHINE_PREFIXES = ("/sync/", "/kiosks/v1/", "/bundle/")  # errors there are for machines even where no route matched

# What somebody may do who must first choose a password, or set up a second factor.
CHANGE_PASSWORD = frozenset({"accounts.password", "accounts.change_password", "accounts.sign_out"})
SET_UP_FACTOR = frozenset(
    {
        "accounts.own.second_factor",
        "accounts.own.begin_app_secret",
        "accounts.own.confirm_app",
        "accounts.own.add_passkey",
    }
)

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "img-src 'self'",
        "style-src 'self'",
        "script-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)

UNLESS_SET = (  # of every answer that does not say otherwise
    ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
    ("Referrer-Policy", "same-origin"),
)
NOT_STORED = ("Cache-Control", "no-store")  # unless set, and but for files that are the same for everybody
HEADERS = (  # of every answer; no view sets one of these
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), microphone=(), geolocation=()"),
)

HSTS = ("Strict-Transport-Security", "max-age=31536000")  # where there is TLS

ARRIVED = "gatehouse.arrived"  # in the environ: `Arrived`, when somebody has looked at the request before Flask


class Arrived(NamedTuple):
    """When a request came, by the steady clock, and what it is called in the log."""

    at_s: float
    request_id: str


# What went wrong and what to do, by status; everything else says what 500 or 400 says.
ERROR_TEXTS: dict[int, tuple[str, str]] = {
    400: ("This request was not understood.", "Go back, load the page again and send the form once more."),
    401: ("Please sign in first.", "Sign in and try again."),
    403: ("Your account may not do this.", "Ask the administrator of your area if you need this right."),
    404: ("There is no such page.", "It may not exist, or it lies outside your area."),
    405: ("This page does not answer to that method.", "Go back and use the page's own links and buttons."),
    409: ("Somebody else changed this meanwhile.", "Load the page again and look at the new state first."),
    410: ("This is no longer available.", "Ask whoever gave you this address for a new one."),
    411: ("This request does not say how long it is.", "Use an ordinary browser."),
    413: ("What you sent is too large.", "Send something smaller."),
    429: ("Too many attempts.", "Wait a little and try again."),
    500: ("Something went wrong on our side.", "Try again later. The fault was recorded."),
    503: ("This service is not available right now.", "Try again in a few minutes."),
}


class _Hex(BaseConverter):
    """An identifier in a URL: a fixed number of bytes, as lower-case hex."""

    size_bytes = 0
    part_isolating = True

    def to_python(self, value: str) -> bytes:
        if len(value) != 2 * self.size_bytes or value != value.lower():
            raise ValidationError
        try:
            return bytes.fromhex(value)
        except ValueError:
            raise ValidationError from None

    def to_url(self, value: bytes) -> str:
        return value.hex()


class VenueIdConverter(_Hex):
    """`<venue_id:name>`: 6 bytes."""

    size_bytes = 6


class KioskIdConverter(_Hex):
    """`<kiosk_id:name>`: 8 bytes."""

    size_bytes = 8


class _Cookies(SecureCookieSessionInterface):
    """Flask's own; who brings no cookie, as no machine does, pays nothing for what would check it."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        if "HTTP_COOKIE" not in request.environ:
            return self.session_class()
        return super().open_session(app, request)


csrf = CSRFProtect()


def install(app: Flask) -> None:
    """Put the frame around *app*; call it before blueprints are registered."""
    app.session_interface = _Cookies()
    app.url_map.converters.update(venue_id=VenueIdConverter, kiosk_id=KioskIdConverter)
    app.config["WTF_CSRF_CHECK_DEFAULT"] = False  # _gate calls it, because it alone knows which routes are for machines
    app.config["WTF_CSRF_SSL_STRICT"] = False  # _refuse_other_sites is stricter, and does not need a Referer
    app.config["WTF_CSRF_TIME_LIMIT"] = None  # the token lives as long as the session it is bound to
    csrf.init_app(app)

    app.before_request(_gate)
    app.after_request(_headers)
    app.teardown_request(close_session)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)


def _gate() -> ResponseReturnValue | None:
    """Let the request in, or answer it here. The steps:

    (1) the address exists, (2) its body limit, (3) machines prove themselves in their view, (4) who is it,
    (5) the form comes from our own page, (6) the right, (7) a password that must be changed and a second factor that
    must be set up come first, (8) agreement and training, where residents' data are shown.
    """
    g.started, g.request_id = request.environ.get(ARRIVED) or Arrived(time.monotonic(), new_request_id())
    if request.endpoint is None or request.routing_exception is not None:  # (1) Flask answers 404, 405 or a redirect
        return None
    access = access_of(current_app, request.endpoint)
    if access.gate is Gate.MACHINE:  # (2) (3)
        request.max_content_length = access.max_bytes or house().settings.limits.machine_bytes
        return None
    request.max_content_length = access.max_bytes or house().settings.limits.form_bytes
    if (
        request.method not in SAFE_METHODS
        and request.content_length is None
        and request.headers.get("Transfer-Encoding")
    ):
        abort(411)  # a form of unknown length would be cut off at the limit and then be read as if it were whole
    if any("\0" in value for value in request.args.values()):  # no browser sends one, and PostgreSQL takes none
        abort(400)
    _who_is_it()  # (4)
    if access.gate is not Gate.OPEN and g.person is None:
        if request.method in {"GET", "HEAD"}:
            return redirect(url_for("accounts.sign_in", next=_this_address()), 303)
        abort(401)
    if request.method not in SAFE_METHODS:  # (5)
        _refuse_other_sites(sends_no_referrer=bool(access.proof))
        if not access.proof:
            csrf.protect()
            if any("\0" in value for value in request.form.values()):
                abort(400)
    if access.rights and not g.person.holds_any(access.rights):  # (6)
        abort(403)
    if g.person is not None and access.gate is not Gate.OPEN:  # (7)
        if g.person.must_change_password and request.endpoint not in CHANGE_PASSWORD:
            return redirect(url_for("accounts.password"), 303)
        if g.person.must_set_up_factor and request.endpoint not in CHANGE_PASSWORD | SET_UP_FACTOR:
            return redirect(url_for("accounts.own.second_factor"), 303)
    if access.is_personal and not may_see_personal(g.person):  # (8)
        if request.method in {"GET", "HEAD"}:
            return redirect(url_for("accounts.own.agreement", next=_this_address()), 303)
        abort(403)
    staleness.choose()
    return None


def _who_is_it() -> None:
    """Set `g.person` to who is signed in, or None, and `g.half` to the account whose second factor is still missing."""
    g.person = g.half = None
    if request.endpoint == "static":  # the same for everybody
        return
    with house().database.reading() as reading:
        found = sessions.find(reading)
        if found is None:
            return
        row, user = found
        if not row.is_complete:
            g.half = found
            return
        g.person = person_of(reading, user, session_id=row.id)
    sessions.note_seen(row)


def _this_address() -> str:
    return request.full_path.removesuffix("?")


def _refuse_other_sites(*, sends_no_referrer: bool = False) -> None:
    """Refuse a form that a browser says another site sent; browsers that say nothing are held to the token.

    A page under `Referrer-Policy: no-referrer` has its own forms sent with `Origin: null` (Fetch, 3.1).
    """
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        abort(403)
    origin = request.headers.get("Origin")
    if origin == "null" and sends_no_referrer:
        return
    if origin is not None and urlsplit(origin).netloc not in {request.host, house().settings.host}:
        abort(403)


def _headers(response: Response) -> Response:
    staleness.note_write()
    headers = response.headers
    for name, value in UNLESS_SET:
        headers.setdefault(name, value)
    headers.extend(HEADERS)
    if house().settings.is_https:
        headers.extend((HSTS,))
    if "request_id" in g:
        headers["X-Request-Id"] = g.request_id  # the same on each log line of this request
    if request.endpoint != "static":
        headers.setdefault(*NOT_STORED)
        log_answer(request.endpoint or "-", request.method, response.status_code, g.get("started"))
    return response


def usual_headers(settings: ServerSettings) -> list[tuple[str, str]]:
    """What `_headers` puts on an answer that has none of its own, but for the request's identifier."""
    return [*UNLESS_SET, *HEADERS, *([HSTS] if settings.is_https else []), NOT_STORED]


def log_answer(route: str, method: str, status: int, started_s: float | None) -> None:
    """One line for each request: the route, never the path, which can hold the token of a poster."""
    took_ms = 0 if started_s is None else (time.monotonic() - started_s) * 1000
    log.info("request method=%s route=%s status=%s took_ms=%.0f", method, route, status, took_ms)


def _is_for_machines() -> bool:
    if request.endpoint is not None:
        return access_of(current_app, request.endpoint).gate is Gate.MACHINE
    return request.path.startswith(MACHINE_PREFIXES)


def _http_error(error: HTTPException) -> ResponseReturnValue:
    if isinstance(error, SecurityError):  # a Host header that is not ours: no page, because it could not link anywhere
        return "This server does not answer to that host name.\n", 400, {"Content-Type": "text/plain; charset=utf-8"}
    if error.response is not None:  # a redirect that routing raised, or an answer a view aborted with
        return error.response
    status = error.code or 500
    sentence, step = ERROR_TEXTS.get(status, ERROR_TEXTS[500 if status >= 500 else 400])
    if isinstance(error, CSRFError):
        sentence, step = (
            "This form is too old or was not made here.",
            "Go back, load the page again and send the form once more.",
        )
    headers = [(key, value) for key, value in error.get_headers() if key in {"Allow", "Retry-After"}]
    if _is_for_machines():
        return jsonify(code=f"http_{status}", message=sentence, hint=step), status, headers
    return render_template("web/error.html", status=status, sentence=sentence, step=step), status, headers


def _unexpected(error: Exception) -> ResponseReturnValue:
    """The top of every request: log the fault without the address's parameters, answer in words."""
    log.error("fault endpoint=%s method=%s", request.endpoint, request.method, exc_info=error)
    return _http_error(InternalServerError())
