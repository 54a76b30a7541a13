"""Speaks HTTP to the one server: every answer bounded in size and time, every failure with a name."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import requests
import requests.adapters
import urllib3
import urllib3.connection

from kiosk.link_problems import PROBLEMS, LinkProblem
from protocol.errors import ProtocolError
from protocol.exchange import fields_of

MAX_ANSWER_BYTES = 64 * 1024  # an exchange's answer, a manifest; parts say their own size
CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that came whole: status 200 or 304."""

    status: int
    body: bytes = field(repr=False)


class ServerClient:
    """One server, spoken to by one thread. Raises LinkProblem, and nothing else, for whatever the network does."""

    def __init__(
        self,
        base_url: str,
        *,
        timeout_s: float = 10.0,
        ca_file: Path | None = None,
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._base = base_url.rstrip("/")
        self._timeout_s, self._steady_s = timeout_s, steady_s
        self._session = requests.Session()
        self._session.trust_env = False  # no proxies or passwords from the environment: the code named the server
        self._session.verify = str(ca_file) if ca_file else True
        self._lines: weakref.WeakSet[urllib3.connection.HTTPConnection] = weakref.WeakSet()
        adapter = requests.adapters.HTTPAdapter()
        adapter.poolmanager.pool_classes_by_scheme = _pools_that_tell(self._lines)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def post(self, path: str, body: bytes, content_type: str) -> bytes:
        """POST *body*; returns the answer's bytes."""
        return self._send("POST", path, {"Content-Type": content_type}, body, MAX_ANSWER_BYTES).body

    def get(self, path: str, headers: Mapping[str, str], *, most_bytes: int = MAX_ANSWER_BYTES) -> Reply:
        """GET *path*; a reply of at most *most_bytes*, or an empty one with status 304."""
        return self._send("GET", path, headers, None, most_bytes)

    def _send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, most_bytes: int) -> Reply:
        """Send and read within three time-outs in all: each byte that drips in begins the socket's own anew."""
        was_cut = threading.Event()
        cut = threading.Timer(3 * self._timeout_s, self._cut, (was_cut,))
        cut.daemon = True
        cut.start()
        try:
            reply = self._send_and_read(method, path, headers, body, most_bytes)
        except LinkProblem as problem:
            if was_cut.is_set():
                raise LinkProblem("timeout", "the answer took too long") from problem
            raise
        finally:
            cut.cancel()
        if was_cut.is_set():  # cut within its head, an answer looks like a whole one without a body
            raise LinkProblem("timeout", "the answer took too long")
        return reply

    def _cut(self, was_cut: threading.Event) -> None:
        """Break off what is under way; runs in a thread of its own, while the sender waits for the next byte."""
        was_cut.set()
        for line in list(self._lines):
            if line.sock is not None:
                with contextlib.suppress(OSError):  # it ended by itself meanwhile
                    line.sock.shutdown(socket.SHUT_RDWR)

    def _send_and_read(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, most_bytes: int
    ) -> Reply:
        deadline = self._steady_s() + 3 * self._timeout_s
        try:
            with self._session.request(
                method,
                self._base + path,
                data=body,
                headers={"Accept": "application/cbor", "Accept-Encoding": "identity", **headers},
                timeout=self._timeout_s,
                allow_redirects=False,  # a Gatehouse server never redirects; portals do
                stream=True,
            ) as response:
                return self._checked(response, self._read(response, most_bytes, deadline))
        except requests.exceptions.SSLError as error:
            raise LinkProblem("tls", _kind(error)) from error
        except requests.exceptions.Timeout as error:
            raise LinkProblem("timeout", _kind(error)) from error
        except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError) as error:
            raise LinkProblem("half_body", _kind(error)) from error
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            text = str(error)
            if "timed out" in text:
                raise LinkProblem("timeout", _kind(error)) from error
            if any(
                sign in text for sign in ("Connection aborted", "RemoteDisconnected", "IncompleteRead", "BadStatus")
            ):
                raise LinkProblem("half_body", _kind(error)) from error
            raise LinkProblem("unreachable", _kind(error)) from error

    def _read(self, response: requests.Response, most_bytes: int, deadline: float) -> bytes:
        pieces, size = [], 0
        # what has come, and not a full chunk: else a byte now and then would keep us from looking at the clock
        while piece := response.raw.read1(CHUNK_BYTES):
            size += len(piece)
            if size > most_bytes:
                raise LinkProblem("too_large_answer", f"over {most_bytes} bytes")
            if self._steady_s() > deadline:
                raise LinkProblem("timeout", "the answer took too long")
            pieces.append(piece)
        return b"".join(pieces)

    def _checked(self, response: requests.Response, body: bytes) -> Reply:
        status = response.status_code
        kind = response.headers.get("Content-Type", "").split(";")[0].strip().lower()
        if status in (200, 304):
            if kind == "text/html" or body[:256].lstrip()[:1] == b"<":
                raise LinkProblem("captive_portal", "a web page where an answer was due")
            return Reply(status, body)
        wait_s = _retry_after(response)
        code = _told_code(body) if kind == "application/cbor" else None
        if status in (429, 503):
            raise LinkProblem("busy", f"HTTP {status} {code or ''}".rstrip(), retry_after_s=wait_s)
        if status == 413:  # ours or a proxy's in between
            raise LinkProblem("too_large", f"HTTP {status}")
        if code is not None:
            raise LinkProblem(code if code in PROBLEMS else "refused", f"HTTP {status} {code}", retry_after_s=wait_s)
        if 300 <= status < 400 or status == 511 or (status < 500 and kind == "text/html"):  # 511: RFC 6585 section 6
            raise LinkProblem("captive_portal", f"HTTP {status}")
        if status >= 500:
            raise LinkProblem("server_error", f"HTTP {status}")
        raise LinkProblem("not_our_protocol", f"HTTP {status} {kind}")


def _pools_that_tell(lines: weakref.WeakSet[urllib3.connection.HTTPConnection]) -> dict[str, type]:
    """Connection pools, by scheme, whose connections stand in *lines* while they live."""

    class Plain(urllib3.connection.HTTPConnection):
        def connect(self) -> None:
            lines.add(self)
            super().connect()

    class Secure(urllib3.connection.HTTPSConnection):
        def connect(self) -> None:
            lines.add(self)
            super().connect()

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def _told_code(body: bytes) -> str | None:
    """The code of a refusal. It is not signed: it is shown, and nothing else depends on it."""
    try:
        return fields_of(body, "refusal").text(1, at_most=64)
    except ProtocolError:
        return None


def _retry_after(response: requests.Response) -> float | None:
    text = response.headers.get("Retry-After", "")
    return float(min(int(text), 3600)) if text.isascii() and text.isdigit() and len(text) < 8 else None


def _kind(error: Exception) -> str:
    return type(error).__name__
