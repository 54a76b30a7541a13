"""Run a whole street on this machine: server, vault, worker and one simulated entrance, with people walking up to it.

gatehouse demo                  until Ctrl-C
gatehouse demo --seconds 60     for a minute; exit code 0 only if passages were admitted, denied, synced, receipted
                                and opened through an approved query, else 1
"""

from __future__ import annotations

import argparse
import logging
import signal
from pathlib import Path
from types import FrameType

from gatehouse.demo.street import Ports, demo_folder, play


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--seconds", type=float, metavar="N", help="stop by itself after N seconds of people")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep everything in DIR (new or empty) afterwards")
    parser.add_argument("--server-port", type=int, default=Ports().server)
    parser.add_argument("--screen-port", type=int, default=Ports().screen)


def run(args: argparse.Namespace) -> int:
    """Play; see the module's words for the exit code."""
    logging.basicConfig(level=logging.ERROR)

    def end(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt  # SIGTERM ends the demo as Ctrl-C does: no child is left behind

    signal.signal(signal.SIGTERM, end)

    def say(line: str) -> None:
        print(line, flush=True)

    with demo_folder(args.keep) as folder:
        tally = play(folder, Ports(args.server_port, args.screen_port), args.seconds, say)
    done = ", ".join(f"{n} {word}" for word, n in sorted(tally.outcomes.items()))
    print(f"passages: {done}; receipted by the server: {tally.receipted}; opened by query: {tally.opened is not None}")
    if args.seconds is not None and not tally.is_complete:
        print("the demo did not show everything it promises; run it longer, or with --keep DIR and look at DIR/logs")
        return 1
    return 0
