"""The kiosks' own door: takes a plain exchange before Flask sees it, and leaves everything else to Flask.

A busy server does little but exchanges, and routing, request, session and hooks cost each of them a third of a
millisecond. An upload is plain when it has the one content type, a length within its limit, one of our host names and
no cookie, as every kiosk sends it. Whatever fails in here, a refusal just as a fault, is handed on with its request:
the route raises it again, so that errors are answered, logged and counted in one place, which is Flask.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from flask import Flask, g
from werkzeug.exceptions import ClientDisconnected
from werkzeug.sansio.utils import host_is_trusted

from protocol.exchange import CONTENT_TYPE, EXCHANGE_PATH
from server.context import House
from server.ingest.answering import answer
from server.web import frame, metrics
from server.web.access import access_of
from server.web.logs import new_request_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ENDPOINT = "ingest.exchange"
_FAILURE = "gatehouse.failure"  # in the environ, where no client can put anything without "HTTP_" before it


class Door:
    """*app*'s WSGI application with that door in it, before *beyond*, which takes all other requests.

    It stands inside of whatever corrects `REMOTE_ADDR`.
    """

    def __init__(self, app: Flask, beyond: WSGIApplication) -> None:
        self._app, self._beyond = app, beyond
        self._house: House = app.extensions["gatehouse"]
        self._most_bytes = access_of(app, ENDPOINT).max_bytes or 0
        self._trusted = tuple(app.config["TRUSTED_HOSTS"] or ())
        self._headers = (("Content-Type", CONTENT_TYPE), *frame.usual_headers(self._house.settings))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != EXCHANGE_PATH or not self._is_plain(environ):
            return self._beyond(environ, start_response)
        arrived = frame.Arrived(time.monotonic(), new_request_id())
        with self._app.app_context():
            g.started, g.request_id = arrived
            try:
                answered = answer(self._house, _body(environ), environ.get("REMOTE_ADDR"))
            except Exception as error:  # the top of a request: Flask answers it
                failure: Exception | None = error
            else:
                failure = None
                metrics.count(self._app, ENDPOINT, "POST", 200, arrived.at_s)
                frame.log_answer(ENDPOINT, "POST", 200, arrived.at_s)
        if failure is not None:
            environ[frame.ARRIVED], environ[_FAILURE] = arrived, failure
            return self._beyond(environ, start_response)
        length, request_id = ("Content-Length", str(len(answered))), ("X-Request-Id", arrived.request_id)
        start_response("200 OK", [*self._headers, length, request_id])
        return [answered]

    def _is_plain(self, environ: WSGIEnvironment) -> bool:
        """Whether nothing but the door's own work is to be done for a request of its path."""
        length: str = environ.get("CONTENT_LENGTH", "")
        return (
            environ["REQUEST_METHOD"] == "POST"
            and environ.get("CONTENT_TYPE") == CONTENT_TYPE
            and length.isascii()
            and length.isdigit()
            and len(length) < 10
            and int(length) <= self._most_bytes
            and not environ.get("SCRIPT_NAME")
            and "HTTP_TRANSFER_ENCODING" not in environ
            and "HTTP_COOKIE" not in environ
            and _is_ours(environ.get("HTTP_HOST", ""), self._trusted)
        )


def failure_of(environ: WSGIEnvironment) -> Exception | None:
    """Why the door could not take the upload of this request, when it tried; to be raised again."""
    found: Exception | None = environ.get(_FAILURE)
    return found


@lru_cache(maxsize=64)
def _is_ours(host: str, trusted: tuple[str, ...]) -> bool:
    return host_is_trusted(host, trusted)


def _body(environ: WSGIEnvironment) -> bytes:
    """All of it, or ClientDisconnected, as Flask has it."""
    length = int(environ["CONTENT_LENGTH"])
    source: Any = environ["wsgi.input"]
    body: bytes = source.read(length)
    if len(body) != length:
        raise ClientDisconnected
    return body
