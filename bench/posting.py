"""A server as a process of its own: wait for it, post to it over several connections, see what it takes."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return once *process* listens on *port*; raises RuntimeError when it ends or takes a minute."""
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("a server of the bench did not start")


def cpu_s(pid: int) -> float:
    """Processor time of a process and its children, living or gone; PostgreSQL's processes are not in it."""
    ticks = 0
    for one in (str(pid), *Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        fields = Path(f"/proc/{one}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += sum(map(int, fields[11:15]))  # its own and that of children it has waited for
    return ticks / os.sysconf("SC_CLK_TCK")


def post_all(
    port: int, pid: int, path: str, headers: dict[str, str], bodies: list[list[bytes]]
) -> tuple[float, float, list[tuple[int, bytes]]]:
    """Post each list on a connection of its own, all at once; seconds, the server's processor seconds, the answers."""
    connections = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in bodies]
    for connection in connections:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())

    def post(connection: socket.socket, some: list[bytes]) -> list[tuple[int, bytes]]:
        answers = []
        for body in some:
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            answers.append(_answered(connection))
        return answers

    with ThreadPoolExecutor(len(bodies)) as pool:
        cpu, started = cpu_s(pid), time.perf_counter()
        answers = [answer for some in pool.map(post, connections, bodies) for answer in some]
        seconds, used = time.perf_counter() - started, cpu_s(pid) - cpu
    for connection in connections:
        connection.close()
    return seconds, used, answers


def _answered(connection: socket.socket) -> tuple[int, bytes]:
    """Status and body of an answer, in chunks as Datasette sends it; `http.client` takes 0.3 ms of what is measured."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    while len(body) < int(length[1]) if length else not body.endswith(b"0\r\n\r\n"):
        body += _more(connection)
    return int(head.split(b" ", 2)[1]), body


def _more(connection: socket.socket) -> bytes:
    some = connection.recv(65536)
    if not some:
        raise RuntimeError("the server closed the connection in the middle of an answer")
    return some
