"""`./run torture`: kills and hurts kiosk, server and vault, over and over, and checks what is left each time.

Every victim is an operating system process on real files; below Python a preloaded shim tears writes, drops what was
not synced, fills the disk and moves the clock. Seedable; a violation prints the town to replay and keeps its files.
docs/torture.md tells what is injected and what must hold.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.torture import shim

RESULTS = Path(__file__).resolve().parents[2] / "bench" / "results" / "torture.json"
TOWNS_A_SEED = 1_000_000  # seed 7 begins with town 7,000,000


@dataclass
class Outcome:
    """What one town came to."""

    town: int
    runs: dict[str, int] = field(default_factory=dict)
    missed: int = 0  # runs whose fault came too late to take hold; not counted
    lives: int = 0
    shown: int = 0
    violation: str | None = None
    kept: str | None = None


def live_through(number: int, top: Path, template: object, zygote: object, runs: int) -> Outcome:
    """All runs of one town; its files are kept when something did not hold."""
    from tests.torture.town import Told, Town

    folder = top / f"town{number}"
    town = Town(number, folder, template, zygote)  # type: ignore[arg-type]
    outcome = Outcome(number)
    try:
        for _ in range(runs):
            town.run()
        outcome.shown = len(Told.read(folder).shown)
    except Exception as error:
        outcome.violation = town.explain(error)
    finally:
        town.close()
    outcome.runs, outcome.missed, outcome.lives = dict(town.kinds), town.missed, town.lives
    if outcome.violation:
        kept = Path(tempfile.mkdtemp(prefix="gatehouse-violation-")) / folder.name
        shutil.move(folder, kept)
        outcome.kept = str(kept)
    else:
        shutil.rmtree(folder)
    return outcome


def _work(share: int, shares: int, seed: int, seconds: float, results: multiprocessing.Queue[Outcome | None]) -> None:
    from tests.torture.zygote import Zygote, die_with

    parent = multiprocessing.parent_process()
    assert parent is not None and parent.pid is not None
    die_with(parent.pid)
    from tests.torture.town import RUNS_A_TOWN, Template

    ends = time.monotonic() + seconds
    try:
        with tempfile.TemporaryDirectory(prefix="gatehouse-torture-") as top, Zygote() as zygote:
            template = Template.make(Path(top) / "template", zygote)
            number = seed * TOWNS_A_SEED + share
            while time.monotonic() < ends:
                results.put(live_through(number, Path(top), template, zygote, RUNS_A_TOWN))
                number += shares
    finally:
        results.put(None)


def replay(number: int) -> int:
    """Live through one town again and tell everything."""
    from tests.torture.town import RUNS_A_TOWN, Template
    from tests.torture.zygote import Zygote

    with tempfile.TemporaryDirectory(prefix="gatehouse-torture-") as top, Zygote() as zygote:
        template = Template.make(Path(top) / "template", zygote)
        outcome = live_through(number, Path(top), template, zygote, RUNS_A_TOWN)
    print(json.dumps({**asdict(outcome), "violation": None}, indent=2))
    if outcome.violation:
        print(outcome.violation, file=sys.stderr)
    return 1 if outcome.violation else 0


def main(argv: list[str]) -> int:
    """Exit code 0 when nothing was violated, 1 when something was, 2 when it cannot run."""
    parser = argparse.ArgumentParser(
        prog="./run torture", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="towns at a time")
    parser.add_argument("--replay", metavar="TOWN", help="a town's number, or a file of results: live through it again")
    parser.add_argument("--result", type=Path, default=RESULTS, help="where the JSON goes")
    args = parser.parse_args(argv)
    if not shim.has_compiler():
        print(f"torture: {shim.NO_COMPILER}", file=sys.stderr)
        return 2
    shim.built()
    if args.replay:
        return _replay_all(args.replay)
    return _torture(args)


def _replay_all(what: str) -> int:
    if what.isdigit():
        return replay(int(what))
    towns = [violation["town"] for violation in json.loads(Path(what).read_text())["violations"]]
    if not towns:
        print(f"{what} tells of no violation.")
    return max([replay(town) for town in towns], default=0)


def _torture(args: argparse.Namespace) -> int:
    started, seconds = time.monotonic(), args.minutes * 60
    spawn = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[Outcome | None] = spawn.Queue()
    jobs = [
        spawn.Process(target=_work, args=(share, args.jobs, args.seed, seconds, results)) for share in range(args.jobs)
    ]
    for job in jobs:
        job.start()
    runs: Counter[str] = Counter()
    violations: list[Outcome] = []
    towns = missed = lives = shown = done = 0
    said = started
    while done < len(jobs):
        outcome = results.get()
        if outcome is None:
            done += 1
            continue
        towns, missed, lives, shown = (
            towns + 1,
            missed + outcome.missed,
            lives + outcome.lives,
            shown + outcome.shown,
        )
        runs.update(outcome.runs)
        if outcome.violation:
            violations.append(outcome)
            print(f"VIOLATION in town {outcome.town}:\n{outcome.violation}", file=sys.stderr)
            print(
                f"  files: {outcome.kept}\n  again: ./run torture --replay {outcome.town}", file=sys.stderr, flush=True
            )
        if time.monotonic() - said > 10:
            said = time.monotonic()
            print(
                f"  {said - started:5.0f} s  {runs.total()} runs, {lives} lives, {shown} passages shown,"
                f" {len(violations)} violations",
                flush=True,
            )
    for job in jobs:
        job.join()
    took = time.monotonic() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = used.ru_utime + used.ru_stime  # a machine that does other things as well tells little by the clock
    for kind, count in sorted(runs.items()):
        print(f"  {count:6d}  {kind}")
    print(
        f"{runs.total()} kill and fault runs in {towns} towns, {lives} lives, {shown} passages shown,"
        f" {len(violations)} violations, {took:.0f} s, {cpu_s:.0f} s of processor time (seed {args.seed})"
    )
    args.result.parent.mkdir(parents=True, exist_ok=True)
    args.result.write_text(
        json.dumps(
            {
                "seed": args.seed,
                "seconds": round(took, 1),
                "processor_seconds": round(cpu_s, 1),
                "jobs": args.jobs,
                "cores": os.cpu_count(),
                "machine": platform.machine(),
                "python": platform.python_version(),
                "runs": runs.total(),
                "runs_without_effect": missed,
                "lives": lives,
                "towns": towns,
                "passages_shown": shown,
                "by_kind": dict(sorted(runs.items())),
                "violations": [{"town": v.town, "kept": v.kept, "what": v.violation} for v in violations],
            },
            indent=2,
            ensure_ascii=False,
        )
        + "\n"
    )
    failed = [job for job in jobs if job.exitcode]
    return 0 if runs.total() and not violations and not failed else 1
