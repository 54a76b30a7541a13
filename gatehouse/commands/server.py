"""Run the web server: console, resident pages and the machines' endpoints.

It makes sure that secrets, keys and tables are there (see `gatehouse admin init`), brings the tables to this version,
and serves with gunicorn until it is told to stop. Put a TLS terminating proxy in front of it; docs/deploy.md shows one.

Exit codes: 0 stopped, 2 wrong settings or surroundings.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
from pathlib import Path
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication

from config.errors import GatehouseError
from config.server import ServerSettings, load_server_settings
from server import create_app
from server.db import Database
from server.migrations import upgrade

REQUEST_TIMEOUT_S = 30  # a worker that hangs longer is replaced
STOP_TIMEOUT_S = 10  # requests under way may finish


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--config", type=Path, default=Path("server.toml"), metavar="FILE", help="settings (config/server.example.toml)"
    )
    parser.add_argument("--host", help="listen here instead of listen.host")
    parser.add_argument("--port", type=int, help="listen here instead of listen.port")
    parser.add_argument("--check", action="store_true", help="check settings, keys and database, then exit")


def run(args: argparse.Namespace) -> int:
    """Serve until stopped."""
    logging.basicConfig(
        stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", force=True
    )
    settings = load_server_settings(args.config)
    create_app(settings)  # every problem of secrets and keys shows here, before a worker is started
    database = Database(settings.database)
    upgrade(database.engine)
    database.gather_statistics()
    database.engine.dispose()
    if args.check:
        print("settings, keys and database are in order")
        return 0
    host, port = args.host or settings.listen.host, args.port or settings.listen.port
    _must_be_free(host, port)
    _Server(settings, host, port).run()
    return 0


def _must_be_free(host: str, port: int) -> None:
    """gunicorn would try five times and give up without a word on what to do."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise GatehouseError(
                f"Cannot listen on {host}:{port}: {error.strerror}.",
                hint="Stop the program that uses it (another server?), or choose another port with --port.",
                code="port_in_use",
            ) from error


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
            "worker_class": "gthread",
            "timeout": REQUEST_TIMEOUT_S,
            "graceful_timeout": STOP_TIMEOUT_S,
            "keepalive": 5,
            "max_requests": 20_000,  # a worker starts afresh now and then, whatever it leaked
            "max_requests_jitter": 2_000,
            "limit_request_line": 2048,
            "limit_request_fields": 60,
            "accesslog": None,  # paths hold tokens; server/web/frame.py logs the route instead
            "forwarded_allow_ips": "",  # ProxyFix reads these headers, as many as listen.trusted_proxies says
            "proc_name": "gatehouse-server",
            "control_socket_disable": True,
            "preload_app": False,  # each worker opens its own database connections
        }
        if os.path.isdir("/dev/shm"):  # noqa: S108  gunicorn's heartbeat files; a slow disk would look like a hung worker
            values["worker_tmp_dir"] = "/dev/shm"  # noqa: S108
        for key, value in values.items():
            self.cfg.set(key, value)

    def load(self) -> Flask:
        return create_app(self._settings)
