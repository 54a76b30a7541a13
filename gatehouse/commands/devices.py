"""Look at entrance hardware and simulate it: `gatehouse devices simulate gy614v --link DIR/thermo --scene fever`."""

from __future__ import annotations

import argparse
import sys
import threading
from pathlib import Path

from firmware_bridge.simulators import Gy614vSimulator, LcusSimulator, PtyShell
from firmware_bridge.simulators.scene import SCENES, SceneError

SIMULATED = ("gy614v", "lcus")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `gatehouse devices`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    simulate = actions.add_parser("simulate", help="be a device on a pseudo-terminal until interrupted")
    simulate.add_argument("driver", choices=SIMULATED)
    simulate.add_argument("--link", type=Path, required=True, metavar="PATH", help="where the port shall appear")
    simulate.add_argument(
        "--scene",
        default="empty",
        help=f"what a thermometer sees: NAME[,noise=N][,ambient=N][,body=N]; names: {', '.join(SCENES)}",
    )
    simulate.add_argument("--dialect", choices="ABC", default="A", help="lcus: what the board answers")
    simulate.add_argument("--seconds", type=float, default=None, metavar="N", help="end after N seconds")


def run(args: argparse.Namespace) -> int:
    """Run one action."""
    return _simulate(args)


def _simulate(args: argparse.Namespace) -> int:
    """Serve the device; thermometers take a new scene from each line of standard input."""
    link: Path = args.link
    link.parent.mkdir(parents=True, exist_ok=True)
    simulator: PtyShell
    if args.driver == "lcus":
        simulator = LcusSimulator(link, dialect=args.dialect)
    else:
        simulator = Gy614vSimulator(link, scene=args.scene)
    with simulator:
        print(f"{args.driver} on {link}", flush=True)
        if isinstance(simulator, Gy614vSimulator) and sys.stdin is not None and sys.stdin.isatty():
            threading.Thread(target=_scenes_from_keyboard, args=(simulator,), daemon=True).start()
            print("type a scene and Enter to change it; Ctrl-C ends", flush=True)
        threading.Event().wait(args.seconds)
    return 0


def _scenes_from_keyboard(simulator: Gy614vSimulator) -> None:
    for line in sys.stdin:
        try:
            simulator.scene.set(line.strip())
        except SceneError as error:
            print(error, file=sys.stderr)
