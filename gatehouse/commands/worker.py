"""Run due actions: publish bundles, have passages indexed, close what ran out. Start one or several beside the server.

gatehouse worker --config server.toml             run until SIGTERM or Ctrl-C
gatehouse worker --config server.toml --once      run what is due once, print it, exit 1 if anything failed
gatehouse worker --config server.toml --status    show when each action ran last and how it went

Exit codes: 0 stopped or all well, 1 an action failed (--once, --status), 2 wrong settings or surroundings.
"""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path
from types import FrameType

from config.server import load_server_settings
from server import create_app
from server.context import House
from server.migrations import check_current
from server.web import logs
from server.worker.running import Worker, last_runs


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--config", type=Path, default=Path("server.toml"), metavar="FILE", help="the server's settings"
    )
    once = parser.add_mutually_exclusive_group()
    once.add_argument("--once", action="store_true", help="run what is due once and exit")
    once.add_argument("--status", action="store_true", help="show the last runs and exit")


def run(args: argparse.Namespace) -> int:
    """Run, run once, or show; see the module's docstring."""
    app = create_app(load_server_settings(args.config))
    house: House = app.extensions["gatehouse"]
    check_current(house.database.engine)
    with app.app_context():
        if args.status:
            return _status(house)
        if args.once:
            ran = Worker(house).run_due()
            for one in ran:
                print(f"{one.action:18} {'done' if one.succeeded else 'FAILED'}  {one.words}")
            return 0 if all(one.succeeded for one in ran) else 1
        return _serve(house)


def _serve(house: House) -> int:
    logs.start(house.settings.operations.log_format)
    stop = threading.Event()

    def end(signum: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    Worker(house).run(stop)
    return 0


def _status(house: House) -> int:
    with house.database.reading() as reading:
        rows = last_runs(reading)
    if not rows:
        print("no action has run yet: is the worker running?")
        return 1
    for row in rows:
        when = f"{row.succeeded_at:%Y-%m-%d %H:%M:%S}Z" if row.succeeded_at else "never"
        failing = f"  failing {row.failures} times in a row" if row.failures else ""
        print(f"{row.action:18} last good {when:20} runs {row.runs}{failing}  {row.outcome}")
    return 1 if any(row.failures for row in rows) else 0
