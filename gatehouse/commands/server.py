"""Run the web server: console, resident pages and the machines' endpoints.

It makes sure that secrets, keys and tables are there (see `gatehouse admin init`), brings the tables to this version,
and serves until it is told to stop. Put a TLS terminating proxy in front of it; docs/deploy.md shows one.

Exit codes: 0 stopped, 2 wrong settings or surroundings.
"""

from __future__ import annotations

import argparse
import socket
from pathlib import Path

from config.errors import GatehouseError
from config.server import load_server_settings
from server import create_app
from server.db import Database
from server.migrations import upgrade
from server.web import logs
from server.web.metrics import share_between_processes
from server.web.serving import serve


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
    settings = load_server_settings(args.config)
    logs.start(settings.operations.log_format)
    if not args.check:
        share_between_processes()
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
    serve(settings, host, port)
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
