"""Tells systemd that the kiosk is ready and alive: sd_notify(3), a datagram to the socket that systemd names."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping


class ServiceNotify:
    """`ready` once, `alive` as often as wanted: it sends at most twice in each watchdog period. Never raises."""

    def __init__(
        self, environment: Mapping[str, str] = os.environ, *, steady_s: Callable[[], float] = time.monotonic
    ) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path  # "@": Linux' abstract namespace
        period = environment.get("WATCHDOG_USEC", "")
        meant = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._every_s = int(period) / 2_000_000 if period.isdigit() and meant else None
        self._steady_s, self._sent_s = steady_s, float("-inf")

    def ready(self) -> None:
        """Start-up is over."""
        self._send("READY=1")

    def alive(self) -> None:
        """The loop that calls this goes round; when it stops calling, systemd restarts the kiosk."""
        now_s = self._steady_s()
        if self._every_s is not None and now_s - self._sent_s >= self._every_s:
            self._sent_s = now_s
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The kiosk was told to end."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
                sender.sendto(message.encode(), self._address)
        except OSError:
            pass  # nobody listens any more: no reason to stop an entrance
