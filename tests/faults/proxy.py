"""A real TCP proxy on loopback that does to a connection what networks do; it knows enough HTTP to cut well."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

Fault = Callable[["Call"], None]
PIECE = 65536


class Gone(OSError):
    """The other side closed."""


def _read_message(connection: socket.socket) -> bytes:
    """One whole HTTP message with a Content-Length."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    while len(body) < length:
        body += _some(connection)
    return head + b"\r\n\r\n" + body


def _some(connection: socket.socket) -> bytes:
    piece = connection.recv(PIECE)
    if not piece:
        raise Gone("closed")
    return piece


@dataclass
class Call:
    """One request on its way; a fault decides what becomes of it."""

    proxy: Proxy
    kiosk: socket.socket
    request: bytes

    def ask(self, request: bytes | None = None) -> bytes:
        """Put the request to the server, on a connection of its own; its whole answer."""
        with socket.create_connection(("127.0.0.1", self.proxy.upstream), timeout=20) as server:
            server.sendall(request or self.request)
            answer = _read_message(server)
        self.proxy.answers.append(answer)
        return answer

    def throw(self, part: bytes) -> None:
        """Send *part* of the request and break off."""
        with socket.create_connection(("127.0.0.1", self.proxy.upstream), timeout=20) as server:
            server.sendall(part)

    def reset(self) -> None:
        """Close with RST, as a middlebox does."""
        self.kiosk.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.kiosk.close()


@dataclass
class Proxy:
    """Listens on a port of its own in front of the server on *upstream*; `fault` handles every request."""

    upstream: int
    tls: ssl.SSLContext | None = None
    fault: Fault = field(default=lambda call: call.kiosk.sendall(call.ask()))
    calls: int = 0
    requests: list[bytes] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)  # ends what a fault holds up

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(20)
            self._open.add(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, plain: socket.socket) -> None:
        connection = plain
        with contextlib.suppress(OSError, ssl.SSLError, ValueError):
            if self.tls is not None:
                connection = self.tls.wrap_socket(plain, server_side=True)
            while True:
                request = _read_message(connection)
                self.calls += 1
                self.requests.append(request)
                self.fault(Call(self, connection, request))
        with contextlib.suppress(OSError):
            connection.close()
        plain.close()

    def stop(self) -> None:
        """Close everything."""
        self.released.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)


# -- what networks do --------------------------------------------------------------------------------------------------


def passes(call: Call) -> None:
    """Nothing is wrong."""
    call.kiosk.sendall(call.ask())


def drops_the_request(call: Call) -> None:
    """It never arrives; the line breaks."""
    call.reset()


def drops_the_answer(call: Call) -> None:
    """It arrives, and its answer does not."""
    call.ask()
    call.reset()


def delays(call: Call) -> None:
    """The answer takes its time, within what is waited for."""
    answer = call.ask()
    call.proxy.released.wait(0.2)
    call.kiosk.sendall(answer)


def duplicates(call: Call) -> None:
    """The request arrives twice."""
    call.ask()
    call.kiosk.sendall(call.ask())


def reorders(call: Call) -> None:
    """An older request arrives once more, before and after this one."""
    old = call.proxy.requests[0]
    call.ask(old)
    answer = call.ask()
    call.ask(old)
    call.kiosk.sendall(answer)


def replays_an_answer(call: Call) -> None:
    """The answer to another request comes instead of this one's."""
    old = call.proxy.answers[0]
    call.ask()
    call.kiosk.sendall(old)


def truncates_the_answer(call: Call) -> None:
    """The line breaks in the middle of the answer."""
    answer = call.ask()
    call.kiosk.sendall(answer[: len(answer) * 2 // 3])
    call.kiosk.shutdown(socket.SHUT_RDWR)


def truncates_the_request(call: Call) -> None:
    """The line breaks in the middle of the request, on both sides."""
    call.throw(call.request[: len(call.request) * 2 // 3])
    call.reset()


def _flipped(message: bytes) -> bytes:
    head, _, body = message.partition(b"\r\n\r\n")
    at = len(body) * 3 // 4
    return head + b"\r\n\r\n" + body[:at] + bytes([body[at] ^ 0x20]) + body[at + 1 :]


def corrupts_the_answer(call: Call) -> None:
    """One bit of the answer is another one."""
    call.kiosk.sendall(_flipped(call.ask()))


def corrupts_the_request(call: Call) -> None:
    """One bit of the request is another one."""
    call.kiosk.sendall(call.ask(_flipped(call.request)))


def is_half_open(call: Call) -> None:
    """The connection stands, and nobody is at the other end."""
    call.proxy.released.wait(30)


def is_half_open_after_it_arrived(call: Call) -> None:
    """The server has it; then the line is dead without a word."""
    call.ask()
    call.proxy.released.wait(30)


def drips(call: Call) -> None:
    """The answer comes a byte at a time, always just in time for the next read."""
    for byte in call.ask():
        call.kiosk.sendall(bytes([byte]))
        if call.proxy.released.wait(0.05):
            return


def says(status: str, body: bytes = b"", content_type: str = "text/html", **headers: str) -> Fault:
    """Somebody in between answers, and the server hears nothing."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    message = "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    def fault(call: Call) -> None:
        call.kiosk.sendall(message)

    return fault
