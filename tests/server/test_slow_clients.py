"""Clients that drip, stall, stay silent or come in crowds: none holds a thread, and each has its time."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from gatehouse.cli import main
from server.web import serving

pytestmark = pytest.mark.stores("sqlite")  # about the web server, not the database

HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
FORM = b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"


def until(is_so: Callable[[], bool], what: str, within_s: float = 30) -> None:
    ends = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < ends, what
        time.sleep(0.02)


# --- the real command ------------------------------------------------------------------------------------------------


class Server:
    """`gatehouse server` with one process and two threads."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.clients: list[socket.socket] = []
        self.config = folder / "server.toml"
        listen = f"[listen]\nport = {self.port}\nworkers = 1\nthreads = 2\n"
        self.config.write_text(f'public_url = "http://localhost"\ndata_dir = "data"\n{listen}')
        assert main(["admin", "init", "--config", str(self.config)]) == 0
        self.log_file = folder / "log"
        with self.log_file.open("wb") as log:
            command = [sys.executable, "-m", "gatehouse", "server", "--config", str(self.config)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        until(self.answers, "the server did not come up", 60)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://localhost:{self.port}/healthz", timeout=8) as answer:
                return answer.status == 200
        except ConnectionError:
            assert self.process.poll() is None, self.log
            return False
        except urllib.error.URLError as error:
            assert isinstance(error.reason, ConnectionError), error
            assert self.process.poll() is None, self.log
            return False

    def connect(self, first: bytes) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        self.clients.append(client)
        client.sendall(first)
        return client

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    @property
    def workers(self) -> list[int]:
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(word) for word in found.split()]

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(timeout=40) == 0, self.log


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    started = Server(tmp_path)
    yield started
    if started.process.poll() is None:
        started.process.kill()
        started.process.wait()
    for client in started.clients:
        client.close()


@pytest.mark.slow
def test_fifty_slow_clients_hold_nobody_up(server: Server) -> None:
    """25 that drip their headers and 25 that drip their bodies, one byte a time, while others are served."""
    slow = [server.connect(HEAD + b"X-Slow: ") for _ in range(25)]
    slow += [server.connect(FORM + b"Content-Length: 100000\r\n\r\nname=") for _ in range(25)]
    for _ in range(20):
        for client in slow:
            client.sendall(b"a")
        assert server.answers()
    server.stop()


@pytest.mark.slow
def test_a_request_under_way_is_finished_when_the_server_stops(server: Server) -> None:
    half = server.connect(HEAD)
    silent = server.connect(b"")
    assert server.answers()  # by then the first two are accepted, too
    server.process.send_signal(signal.SIGTERM)
    assert silent.recv(10) == b"", "who has asked nothing is not waited for"
    half.sendall(b"\r\n")
    assert half.recv(100).startswith(b"HTTP/1.1 200 ")
    assert server.process.wait(timeout=40) == 0, server.log


@pytest.mark.slow
def test_a_dead_worker_is_replaced(server: Server) -> None:
    (worker,) = server.workers
    os.kill(worker, signal.SIGKILL)
    until(lambda: server.workers not in ([], [worker]), "no other worker was started")
    until(server.answers, "the new one does not answer")
    server.stop()


@pytest.mark.slow
def test_an_address_in_use_is_told_with_what_to_do(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["server", "--config", str(server.config)]) == 2
    said = capsys.readouterr().err
    assert f"Cannot listen on 127.0.0.1:{server.port}" in said and "--port" in said
    assert server.answers()
    server.stop()


# --- the reader, with short times ------------------------------------------------------------------------------------


class Reading:
    """A reader in a thread of this process, with an application that says what it was sent."""

    def __init__(
        self,
        app: Callable[..., Iterable[bytes]] | None = None,
        max_body_bytes: int = 1000,
        shares: socket.socket | None = None,
    ) -> None:
        self.listening = shares.dup() if shares else socket.create_server(("127.0.0.1", 0))
        self.listening.setblocking(False)
        self.reader = serving.Reader(app or self._answer, self.listening, threads=1, max_body_bytes=max_body_bytes)
        self.clients: list[socket.socket] = []
        self.stops = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    def _run(self) -> None:
        while not self.stops.is_set():
            self.reader.turn(0.02)

    def connect(self, first: bytes = b"") -> socket.socket:
        client = socket.create_connection(self.listening.getsockname(), timeout=20)
        self.clients.append(client)
        client.sendall(first)
        return client

    def ask(self, body: bytes = b"ping") -> bytes:
        with self.connect(b"POST / HTTP/1.0\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)) as client:
            return b"".join(iter(lambda: client.recv(4096), b""))

    def close(self) -> None:
        self.stops.set()
        self.thread.join()
        self.reader.task_dispatcher.shutdown()
        for connection in list(self.reader.active_channels.values()):
            connection.handle_close()
        self.reader.close()
        for client in self.clients:
            client.close()


@pytest.fixture
def reading() -> Iterator[Reading]:
    made = Reading()
    yield made
    made.close()


def is_closed(client: socket.socket) -> bool:
    client.settimeout(0.02)
    try:
        return client.recv(10) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


@pytest.mark.parametrize(
    ("limit", "first"),
    [
        ("HEAD_WITHIN_S", HEAD),
        ("BODY_WITHIN_S", FORM + b"Content-Length: 900\r\n\r\n"),
        ("BODY_WITHIN_S", FORM + b"Transfer-Encoding: chunked\r\n\r\n"),
    ],
)
def test_who_drips_has_their_time(reading: Reading, monkeypatch: pytest.MonkeyPatch, limit: str, first: bytes) -> None:
    """A byte now and then does not begin it anew."""
    monkeypatch.setattr(serving, limit, 0.5)
    client = reading.connect(first)

    def drips_in_vain() -> bool:
        try:
            client.send(b"a")
        except ConnectionError:
            return True
        return is_closed(client)

    until(drips_in_vain, "still open")
    assert reading.ask().endswith(b"ping")


def test_a_body_that_comes_at_a_fair_rate_has_longer(reading: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "BODY_WITHIN_S", 0.0)
    monkeypatch.setattr(serving, "BODY_BYTES_PER_S", 1)
    client = reading.connect(FORM + b"Content-Length: 900\r\n\r\n" + b"a" * 899)
    until(lambda: len(reading.reader.active_channels) == 1, "not accepted")
    for _ in range(3):  # it looks once a second
        looked_at = reading.reader._looked_at
        until(lambda then=looked_at: reading.reader._looked_at > then, "it does not look")  # type: ignore[misc]
    client.sendall(b"a")
    assert client.recv(100).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("first", [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_silence_ends_a_connection(reading: Reading, monkeypatch: pytest.MonkeyPatch, first: bytes) -> None:
    """Before the first request, and after one."""
    monkeypatch.setattr(serving, "IDLE_S", 0.5)
    client = reading.connect(first)
    until(lambda: is_closed(client), "still open")


def test_who_takes_nothing_of_an_answer_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the answer is so long that a thread waits for its client."""
    monkeypatch.setattr(serving, "IDLE_S", 0.5)
    monkeypatch.setattr(serving, "MOST_UNSENT_BYTES", 100_000)

    def long(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", "100000000")])
        return (b"x" * 1_000_000 for _ in range(100))

    with closing(Reading(long)) as reading:
        reading.connect(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: reading.reader.task_dispatcher.active_count == 1, "not begun")
        until(lambda: reading.reader.task_dispatcher.active_count == 0, "its thread still waits")


def test_a_crowd_that_sends_nothing_whole_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than there are places: those who came first and still have not asked make room."""
    monkeypatch.setattr(serving, "CONNECTIONS", 30)
    with closing(Reading()) as reading:
        crowd = [reading.connect(HEAD) for _ in range(60)]
        assert reading.ask().endswith(b"ping")
        assert len(reading.reader.active_channels) <= 30
        until(lambda: is_closed(crowd[0]), "the first is still there")


def test_a_body_over_the_limit_and_a_head_over_its_own_are_refused(reading: Reading) -> None:
    assert reading.ask(b"x" * 1000).startswith(b"HTTP/1.0 200 ")
    assert reading.ask(b"x" * 1001).startswith(b"HTTP/1.0 413 ")
    with reading.connect(HEAD + b"X-Long: " + b"x" * serving.MAX_HEAD_BYTES) as client:
        assert client.recv(20).startswith(b"HTTP/1.0 431 ")


def test_an_answer_leaves_in_one_piece(reading: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    """Head and body in two would let go of the interpreter twice, and busy connections would fight for it."""
    sent: list[bytes] = []
    send = serving.Connection.send

    def noted(self: serving.Connection, data: bytes, do_close: bool = True) -> int:
        sent.append(data)
        return int(send(self, data, do_close=do_close))

    monkeypatch.setattr(serving.Connection, "send", noted)
    assert reading.ask(b"ping").endswith(b"\r\n\r\nping")
    assert reading.ask(b"").endswith(b"\r\n\r\n")
    assert len(sent) == 2


def test_no_path_of_a_request_gets_into_the_log() -> None:
    told = logging.LogRecord("waitress", logging.INFO, "", 0, "Client disconnected while serving /v/TOKEN", (), None)
    assert serving._without_paths(told) and "TOKEN" not in told.getMessage()


def test_what_lives_as_long_as_a_worker_is_not_collected_again_and_again() -> None:
    before, app = gc.get_freeze_count(), Flask("server")
    try:
        assert serving.settled(app) is app
        assert gc.get_freeze_count() > before and not any(one is app for one in gc.get_objects())
    finally:
        gc.unfreeze()


def test_a_burst_of_connections_spreads_over_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who took one leaves the next to another; alone, it takes them all."""
    monkeypatch.setattr(serving, "NEXT_AFTER_S", 0.2)
    with closing(Reading()) as first, closing(Reading(shares=first.listening)) as second:
        readers = [first.reader, second.reader]
        clients = [first.connect() for _ in range(2)]
        until(lambda: [len(one.active_channels) for one in readers] == [1, 1], "one of them took both")
        second.stops.set()
        second.thread.join()
        clients += [first.connect() for _ in range(4)]
        until(lambda: len(first.reader.active_channels) == 5, "it left some waiting")
