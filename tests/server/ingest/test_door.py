"""Whatever comes to the kiosks' door is answered, counted and logged as it would be by Flask alone."""

from __future__ import annotations

import io
import logging
import os
import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from http.client import HTTPConnection
from typing import Any

import psycopg
import pytest
from flask import Flask
from sqlalchemy.exc import OperationalError
from werkzeug.test import EnvironBuilder, run_wsgi_app

from config.server import ServerSettings
from protocol.exchange import CONTENT_TYPE, EXCHANGE_PATH, MAX_UPLOAD_BYTES
from server import create_app
from server.db import NotReplicated
from server.ingest import answering, door
from server.ingest.pace import Pace
from server.ingest.throttle import Throttle
from server.kiosks.models import Kiosk
from server.web import serving
from tests.server.ingest.fleet import PaperKiosk
from tests.server.people import Clock
from tests.server.test_slow_clients import Reading


@dataclass
class Asked:
    """One request as it stands, so that it can be made twice."""

    body: bytes
    changes: dict[str, Any]
    left_out: tuple[str, ...] = ()

    def environ(self) -> dict[str, Any]:
        made = EnvironBuilder(EXCHANGE_PATH, method="POST", content_type=CONTENT_TYPE, base_url="http://localhost")
        found = made.get_environ()
        body = {"wsgi.input": io.BytesIO(self.body), "CONTENT_LENGTH": str(len(self.body)), "REMOTE_ADDR": "192.0.2.1"}
        found |= {**body, **self.changes}
        return {name: value for name, value in found.items() if name not in self.left_out}


def asked(body: bytes, *left_out: str, **changes: Any) -> Asked:
    return Asked(body, changes, left_out)


def in_one_stream(body: bytes) -> Asked:
    """Of no stated length, as a server hands on what came in chunks without putting it together."""
    ended = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    return Asked(body, ended, ("CONTENT_LENGTH",))


def by_flask_alone(app: Flask) -> Any:
    return lambda environ, start_response: Flask.wsgi_app(app, environ, start_response)


def counted(app: Flask) -> dict[Any, float]:
    """How many requests and durations were counted, by their labels."""
    metrics = app.extensions["gatehouse_metrics"].registry.collect()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for metric in metrics
        for sample in metric.samples
        if sample.name in {"gatehouse_requests_total", "gatehouse_request_seconds_count"}
    }


@dataclass(frozen=True)
class Seen:
    """All that anybody can see of one request."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes
    counted: dict[Any, float]
    lines: list[tuple[str, int, str]]


def seen(app: Flask, wsgi: Any, request: Asked, caplog: pytest.LogCaptureFixture) -> Seen:
    caplog.clear()
    before = counted(app)
    pieces, status, headers = run_wsgi_app(wsgi, request.environ(), buffered=True)
    after = counted(app)
    names = [value for name, value in headers if name == "X-Request-Id"]
    assert all(re.fullmatch("[0-9a-f]{16}", name) for name in names) and len(names) <= 1
    lines = [(r.name, r.levelno, re.sub(r"took_ms=\d+", "took_ms=N", r.getMessage())) for r in caplog.records]
    return Seen(
        status,
        sorted((name, "" if name == "X-Request-Id" else value) for name, value in headers),
        b"".join(pieces),
        {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)},
        lines,
    )


def fails_with(error: Exception) -> Callable[..., None]:
    def take(*_args: object, **_values: object) -> None:
        raise error

    return take


def good(kiosk: PaperKiosk, _patch: pytest.MonkeyPatch) -> Asked:
    kiosk.walk(2)
    body = kiosk.upload()
    kiosk.post(body)  # from now on it is the same each time
    return asked(body)


def good_and(**changes: Any) -> Callable[[PaperKiosk, pytest.MonkeyPatch], Asked]:
    def make(kiosk: PaperKiosk, patch: pytest.MonkeyPatch) -> Asked:
        return asked(good(kiosk, patch).body, **changes)

    return make


def of_a_stranger(kiosk: PaperKiosk, _patch: pytest.MonkeyPatch) -> Asked:
    return asked(PaperKiosk(kiosk.house, kiosk.client, kiosk.vault).upload())


def of_a_lost_kiosk(kiosk: PaperKiosk, _patch: pytest.MonkeyPatch) -> Asked:
    with kiosk.house.database.writing() as writing:
        writing.get_one(Kiosk, kiosk.id).state = "lost"
    return asked(kiosk.upload())


def with_a_broken_chain(kiosk: PaperKiosk, _patch: pytest.MonkeyPatch) -> Asked:
    kiosk.walk(3)
    return asked(kiosk.upload(records=(kiosk.records[0], kiosk.records[2])))


def after_too_many_failures(kiosk: PaperKiosk, patch: pytest.MonkeyPatch) -> Asked:
    few = Throttle("exchange", 2, timedelta(minutes=1))
    patch.setattr(answering, "exchange_throttle", few)
    for _ in range(2):
        with kiosk.client.application.app_context():
            few.note_failure("192.0.2.1", kiosk.house.now(), kiosk.id.hex())
    return asked(kiosk.upload())


def too_often(kiosk: PaperKiosk, patch: pytest.MonkeyPatch) -> Asked:
    patch.setattr(answering, "exchange_pace", Pace(0, steady_s=lambda: 5.0))
    return asked(kiosk.upload())


def while_it_fails(error: Exception) -> Callable[[PaperKiosk, pytest.MonkeyPatch], Asked]:
    def make(kiosk: PaperKiosk, patch: pytest.MonkeyPatch) -> Asked:
        kiosk.walk(1)
        patch.setattr(answering, "take", fails_with(error))
        return asked(kiosk.upload())

    return make


BUSY = OperationalError("BEGIN IMMEDIATE", None, sqlite3.OperationalError("database is locked"))
GONE = OperationalError("SELECT 1", None, psycopg.OperationalError("the connection is closed"))
CASES: dict[str, tuple[int, Callable[[PaperKiosk, pytest.MonkeyPatch], Asked]]] = {
    "taken": (200, good),
    "with a query": (200, good_and(QUERY_STRING="a=b")),
    "with a cookie": (200, good_and(HTTP_COOKIE="gatehouse=x")),
    "with a parameter": (200, good_and(CONTENT_TYPE=CONTENT_TYPE + "; v=1")),
    "in a stream": (200, lambda kiosk, patch: in_one_stream(good(kiosk, patch).body)),
    "wrong type": (415, good_and(CONTENT_TYPE="application/json")),
    "no type": (415, lambda kiosk, patch: asked(good(kiosk, patch).body, "CONTENT_TYPE")),
    "looked at": (405, good_and(REQUEST_METHOD="GET")),
    "other path": (404, good_and(PATH_INFO=EXCHANGE_PATH + "/")),
    "bad host": (400, good_and(HTTP_HOST="elsewhere.example")),
    "host of nonsense": (400, good_and(HTTP_HOST="local host\u00ff")),
    "cut short": (400, good_and(CONTENT_LENGTH="100000")),
    "length of nonsense": (400, good_and(CONTENT_LENGTH="1x")),
    "too large": (413, lambda _kiosk, _patch: asked(bytes(MAX_UPLOAD_BYTES + 1))),
    "too large, by its word": (413, good_and(CONTENT_LENGTH=str(MAX_UPLOAD_BYTES + 1))),
    "too large, in a stream": (
        400,  # cut off at the limit; waitress hands on none that has no length
        lambda _kiosk, _patch: in_one_stream(bytes(MAX_UPLOAD_BYTES + 1)),
    ),
    "nothing": (400, lambda _kiosk, _patch: asked(b"")),
    "nonsense": (400, lambda _kiosk, _patch: asked(b"\0\0\0\x05hello" + bytes(20))),
    "unknown kiosk": (401, of_a_stranger),
    "lost kiosk": (403, of_a_lost_kiosk),
    "bad signature": (401, lambda kiosk, patch: asked(good(kiosk, patch).body[:-1])),
    "broken chain": (400, with_a_broken_chain),
    "too many failures": (429, after_too_many_failures),
    "too often": (429, too_often),
    "database busy": (500, while_it_fails(BUSY)),
    "database gone": (500, while_it_fails(GONE)),
    "not held twice": (503, while_it_fails(NotReplicated())),
    "fault": (500, while_it_fails(RuntimeError("nobody expects this"))),
}


@pytest.mark.parametrize("case", CASES)
def test_the_door_answers_as_flask_alone_would(
    app: Flask, kiosk: PaperKiosk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    caplog.set_level(logging.INFO, "gatehouse")
    status, make = CASES[case]
    request = make(kiosk, monkeypatch)
    through = seen(app, app.wsgi_app, request, caplog)
    text = caplog.text
    alone = seen(app, by_flask_alone(app), request, caplog)
    assert through == alone
    assert int(through.status[:3]) == status
    assert through.counted and through.lines
    assert "192.0.2.1" not in text and "person" not in text  # who walked in is called "person 1"
    monkeypatch.undo()
    kiosk_of_later = PaperKiosk(kiosk.house, kiosk.client, kiosk.vault)
    assert kiosk_of_later.enrol().status_code == 200 and kiosk_of_later.exchange().result == "ok"  # the server lives


def test_what_is_plain_does_not_come_to_flask(
    app: Flask, kiosk: PaperKiosk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without this the comparison above could compare Flask with itself."""
    request = good(kiosk, monkeypatch)
    monkeypatch.setattr(app.wsgi_app, "_beyond", fails_with(AssertionError("Flask was asked")))
    assert seen(app, app.wsgi_app, request, caplog).status == "200 OK"


def test_with_tls_the_door_says_so_as_well(
    settings: ServerSettings,
    kiosk: PaperKiosk,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    request = asked(good(kiosk, monkeypatch).body, HTTP_HOST="codes.example.cn")
    other = create_app(replace(settings, public_url="https://codes.example.cn"), now=clock)
    through = seen(other, other.wsgi_app, request, caplog)
    assert ("Strict-Transport-Security", "max-age=31536000") in through.headers
    assert through == seen(other, by_flask_alone(other), request, caplog)
    other.extensions["gatehouse"].database.close()


def test_behind_a_proxy_failures_are_counted_for_the_client_and_not_for_the_proxy(
    settings: ServerSettings,
    kiosk: PaperKiosk,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    sources: list[str | None] = []
    monkeypatch.setattr(door, "answer", lambda _house, _body, source: sources.append(source) or b"")
    behind = create_app(replace(settings, listen=replace(settings.listen, trusted_proxies=1)), now=clock)
    request = asked(kiosk.upload(), HTTP_X_FORWARDED_FOR="203.0.113.1, 198.51.100.7")
    assert seen(behind, behind.wsgi_app, request, caplog).status == "200 OK"
    assert sources == ["198.51.100.7"]
    behind.extensions["gatehouse"].database.close()


def test_each_line_of_a_request_bears_its_name(
    app: Flask, kiosk: PaperKiosk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from server.web.logs import _note_request

    caplog.set_level(logging.INFO, "gatehouse")
    caplog.handler.addFilter(_note_request)
    for request, count in ((good(kiosk, monkeypatch), 2), (asked(os.urandom(100)), 2)):
        caplog.clear()
        _, _, headers = run_wsgi_app(app.wsgi_app, request.environ(), buffered=True)
        names = {record.request_id for record in caplog.records}  # type: ignore[attr-defined]
        assert len(caplog.records) == count and names == {dict(headers)["X-Request-Id"]}
    caplog.handler.removeFilter(_note_request)


def test_a_refused_upload_leaves_its_connection_as_it_was(
    app: Flask, kiosk: PaperKiosk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that nobody read: the next upload on the same connection is not taken for the rest of it."""
    body = good(kiosk, monkeypatch).body
    reading = Reading(app.wsgi_app, max_body_bytes=serving.largest_body(app))
    try:
        client = HTTPConnection(*reading.listening.getsockname())
        for refused, content_type, status in (
            (body, "application/json", 415),
            (body[:-1], CONTENT_TYPE, 401),
            (bytes(MAX_UPLOAD_BYTES + 1), CONTENT_TYPE, 413),
        ):
            for sent, as_type, expected in ((refused, content_type, status), (body, CONTENT_TYPE, 200)):
                client.request("POST", EXCHANGE_PATH, sent, {"Content-Type": as_type, "Host": "localhost"})
                answered = client.getresponse()
                assert (answered.status, bool(answered.read()), answered.will_close) == (expected, True, False)
        client.close()
    finally:
        reading.close()
