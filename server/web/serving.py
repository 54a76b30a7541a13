"""The production server: gunicorn keeps N processes alive, waitress in each reads requests whole before a thread runs.

A thread is given to a request only once all of it has arrived, and is given back before the last byte of the answer
has left, so that slow clients cost a socket and no thread. What a socket may cost is bounded here as well
(docs/decisions/0136).
"""

from __future__ import annotations

import gc
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.workers.base import Worker
from sqlalchemy.orm import configure_mappers
from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import WSGITask

from config.server import LimitSettings, ServerSettings
from server import create_app
from server.web.access import access_of

HANGS_AFTER_S = 30  # a worker whose loop does not turn for so long is replaced
STOP_TIMEOUT_S = 10  # when told to stop: requests under way, also those still arriving, may finish
DRAIN_S = 8.0  # the worker's own part of that
HEAD_WITHIN_S = 15.0  # from its first byte on, a request's head must be here
BODY_WITHIN_S = 30.0  # and so must its body, but for
BODY_BYTES_PER_S = 2048  # one second more for each of these that came: an entrance on a poor line may send its 4 MiB
IDLE_S = 10.0  # a connection that says nothing, or takes nothing of its answer
CONNECTIONS = 400  # of one worker; with two temporary files each, still below the usual limit of 1024 open files
SPARE = 16  # so many are kept free by closing those that have kept us waiting longest
MAX_HEAD_BYTES = 16 * 1024
IN_MEMORY_BYTES = 64 * 1024  # of a body that is arriving; the rest waits in a temporary file
MOST_UNSENT_BYTES = 64 * 1024 * 1024  # of one answer; a thread would wait for the client to take more than that
TURN_S = 1.0  # how often the loop turns when nothing happens
NEXT_AFTER_S = 0.001  # who took a connection leaves the next one to the other workers for so long


def serve(settings: ServerSettings, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT; does not return before. The address must be free, and tables and keys in order."""
    logging.getLogger("waitress").addFilter(_without_paths)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # it tells of every request that waits for a thread
    _Server(settings, host, port).run()


def _without_paths(record: logging.LogRecord) -> bool:
    """Cut the path out of what waitress tells of a request: it can hold the token of a poster."""
    before, serving, _path = record.getMessage().partition(" while serving ")
    if serving:
        record.msg, record.args = f"{before} while serving a request", ()
    return True


class _Server(BaseApplication):  # type: ignore[misc]
    """gunicorn, configured from our settings and from nothing else."""

    def __init__(self, settings: ServerSettings, host: str, port: int) -> None:
        self._settings, self._address = settings, f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        super().__init__()

    def load_config(self) -> None:
        listen = self._settings.listen
        values: dict[str, Any] = {
            "bind": self._address,
            "workers": listen.workers,
            "threads": listen.threads,
            "worker_class": _Worker,
            "timeout": HANGS_AFTER_S,
            "graceful_timeout": STOP_TIMEOUT_S,
            "max_requests": 20_000,  # a worker starts afresh now and then, whatever it leaked
            "max_requests_jitter": 2_000,
            "accesslog": None,  # paths hold tokens; server/web/frame.py logs the route instead
            "proc_name": "gatehouse-server",
            "control_socket_disable": True,
            "preload_app": False,  # each worker opens its own database connections
        }
        if os.path.isdir("/dev/shm"):  # noqa: S108  gunicorn's heartbeat files; a slow disk would look like a hung worker
            values["worker_tmp_dir"] = "/dev/shm"  # noqa: S108
        for key, value in values.items():
            self.cfg.set(key, value)

    def load(self) -> Flask:
        return settled(create_app(self._settings))


class _Worker(Worker):  # type: ignore[misc]
    """One process: waitress on the socket that all workers share."""

    def run(self) -> None:
        """Serve until told to stop, until enough requests were served, or until the parent is gone."""
        app: Flask = self.wsgi
        server = Reader(
            self._counted(app.wsgi_app),
            self.sockets[0].sock,
            threads=self.cfg.threads,
            max_body_bytes=largest_body(app),
        )
        while self.alive and self.ppid == os.getppid():
            self.notify()
            server.turn(TURN_S)
        server.stop_accepting()
        ends = time.monotonic() + DRAIN_S
        while server.close_idle() and time.monotonic() < ends:
            self.notify()
            server.turn(TURN_S / 10)
        server.task_dispatcher.shutdown(timeout=1)

    def _counted(self, app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
        def counted(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            self.nr += 1  # threads may lose a count; it is a rough limit
            if self.nr >= self.max_requests:
                self.alive = False
            return app(environ, start_response)

        return counted


def settled(app: Flask) -> Flask:
    """*app*, once the garbage collector leaves alone all that is there, since it lives as long as the process.

    A full collection would go through those 230,000 objects again and again, each time for 0.1 s in the middle of
    somebody's request.
    """
    configure_mappers()
    gc.collect()
    gc.freeze()
    return app


def largest_body(app: Flask) -> int:
    """The most bytes that any route of *app* takes; the gate in frame.py holds each route to its own limit."""
    limits: LimitSettings = app.extensions["gatehouse"].settings.limits
    stated: list[int] = [access_of(app, rule.endpoint).max_bytes or 0 for rule in app.url_map.iter_rules()]
    return max([limits.machine_bytes, limits.form_bytes, *stated])


class Answering(WSGITask):  # type: ignore[misc]
    """One request with a thread; the head of its answer leaves together with the first bytes of the body.

    Sent alone it costs a segment and, worse, lets go of the interpreter: threads that want it then hand it to and fro.
    """

    def write(self, data: bytes) -> None:
        """As WSGI has it."""
        if self.wrote_header:
            super().write(data)
            return
        with self.channel.in_one_piece():
            super().write(data)


class Connection(HTTPChannel):  # type: ignore[misc]
    """One client, and since when it keeps us waiting."""

    task_class = Answering

    def __init__(self, *args: Any, **options: Any) -> None:
        self.waiting_since = time.monotonic()
        self._held: list[bytes] | None = None
        super().__init__(*args, **options)

    @contextmanager
    def in_one_piece(self) -> Iterator[None]:
        """Send at once what this block writes, at its end. For the thread that answers; there is one at a time."""
        self._held = []
        try:
            yield
        finally:
            held, self._held = b"".join(self._held), None
            super().write_soon(held)

    def write_soon(self, data: Any) -> int:
        """Send *data*, or keep it until the block of `in_one_piece` ends."""
        if self._held is not None:
            self._held.append(data)
            return len(data)
        sent: int = super().write_soon(data)
        return sent

    def received(self, data: bytes) -> bool:
        """Take what arrived; the time of a request starts with its first byte, and again with that of the next."""
        before = self.request
        taken: bool = super().received(data)
        if self.request is not before:
            self.waiting_since = time.monotonic()
        return taken

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way: no request, no part of one, no answer still to be sent."""
        return self.request is None and not self.requests and not self.total_outbufs_len

    def is_too_slow(self) -> bool:
        """Whether this client has had its time. A request that a thread works on has no limit here."""
        if self.total_outbufs_len or self.is_idle:
            return bool(time.time() - self.last_activity > IDLE_S)
        if self.requests or self.request is None:  # the next request on this connection is not read meanwhile
            return False
        took_s = time.monotonic() - self.waiting_since
        if not self.request.headers_finished:
            return took_s > HEAD_WITHIN_S
        return bool(took_s > BODY_WITHIN_S + self.request.body_bytes_received / BODY_BYTES_PER_S)


class Reader(TcpWSGIServer):  # type: ignore[misc]
    """waitress on an inherited socket, with limits on time and number that its own settings do not have.

    Its `channel_timeout` only sees silence: a client that sends a byte a second would keep its place for ever, and
    `connection_limit` of them would keep everybody else out.
    """

    channel_class = Connection

    def __init__(self, app: Callable[..., Iterable[bytes]], sock: Any, *, threads: int, max_body_bytes: int) -> None:
        """*sock* listens already, and is not blocking."""
        adjustments = Adjustments(
            sockets=[sock],
            threads=threads,
            ident=None,
            connection_limit=CONNECTIONS,
            max_request_header_size=MAX_HEAD_BYTES,
            max_request_body_size=max_body_bytes + 1,  # waitress refuses what is not below
            recv_bytes=IN_MEMORY_BYTES,  # most uploads in one turn of the loop
            inbuf_overflow=IN_MEMORY_BYTES,
            outbuf_high_watermark=MOST_UNSENT_BYTES,
            log_socket_errors=False,  # that clients go away is no news
            clear_untrusted_proxy_headers=False,  # ProxyFix reads these, as many as listen.trusted_proxies says
        )
        address = (sock.family, sock.type, sock.proto, sock.getsockname())
        self._looked_at = self._accepts_from = 0.0
        super().__init__(app, {}, True, sock, adj=adjustments, sockinfo=address, bind_socket=False)

    def turn(self, timeout_s: float) -> None:
        """Let go who had their time, then read and write what is ready; wait up to *timeout_s* for it."""
        if time.monotonic() - self._looked_at > 1:
            self._looked_at = time.monotonic()
            self._let_go(one for one in self._clients if one.is_too_slow())
        surplus = len(self.active_channels) - (CONNECTIONS - SPARE)
        if surplus > 0:  # rather than keep everybody out, who keeps us waiting longest goes
            waited_for = sorted((one for one in self._clients if not one.requests), key=lambda one: one.waiting_since)
            self._let_go(waited_for[:surplus])
        if self._accepts_from > time.monotonic():
            timeout_s = min(timeout_s, NEXT_AFTER_S)
        wasyncore.loop(timeout=timeout_s, use_poll=True, map=self._map, count=1)

    def readable(self) -> bool:
        """Whether the loop should look for new connections; not right after one, so that a burst of them spreads over
        the workers: whoever wakes first would take all of it, and leave the other processors idle."""
        return time.monotonic() >= self._accepts_from and bool(super().readable())

    def handle_accept(self) -> None:
        """Take one connection, unless another worker was faster."""
        held = len(self.active_channels)
        super().handle_accept()
        if len(self.active_channels) > held:
            self._accepts_from = time.monotonic() + NEXT_AFTER_S

    @property
    def _clients(self) -> list[Connection]:
        return list(self.active_channels.values())

    def _let_go(self, clients: Iterable[Connection]) -> None:
        """Close at once. waitress marks a connection and closes it when it can be written to, which a client that takes
        nothing never lets happen; between two turns of the loop closing it is safe."""
        for client in clients:
            client.handle_close()

    def maintenance(self, _now: float) -> None:
        """Nothing: `turn` does more than waitress would do here."""

    def stop_accepting(self) -> None:
        """Leave the socket to the other workers."""
        self.accepting = False
        self.del_channel()

    def close_idle(self) -> bool:
        """Close every connection on which nothing is under way; whether others are left."""
        self._let_go(one for one in self._clients if one.is_idle)
        return bool(self.active_channels)
