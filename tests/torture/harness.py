"""`./run torture`: kills and hurts kiosk, server and vault, over and over, and checks what is left each time.

Every victim is an operating system process on real files; below Python a preloaded shim tears writes, drops what was
not synced, fills the disk and moves the clock. Seedable; a violation prints the town to replay and keeps its files.
docs/torture.md tells what is injected and what must hold.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import platform
import random
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.postgres import programs
from tests.torture import shim

if TYPE_CHECKING:  # each process imports them itself: the shim must be there first
    from tests.torture.town import Template
    from tests.torture.zygote import Zygote

RESULTS = Path(__file__).resolve().parents[2] / "bench" / "results" / "torture.json"
TOWNS_A_SEED = 1_000_000  # seed 7 begins with town 7,000,000
SHARE_ON_POSTGRESQL = 0.05  # such a run takes three times as long as one on files


@dataclass
class Outcome:
    """What one town came to."""

    town: int
    runs: dict[str, int] = field(default_factory=dict)
    store: str = "sqlite"
    missed: int = 0  # runs whose fault came too late to take hold; not counted
    lives: int = 0
    shown: int = 0
    violation: str | None = None
    kept: str | None = None


class Towns:
    """The templates of one process; the one on PostgreSQL is made when the first such town comes."""

    def __init__(self, top: Path, zygote: Zygote, postgresql_share: float) -> None:
        from tests.torture.town import Template, own_cluster

        self._cluster = own_cluster
        self._make, self._top, self._zygote, self._share = Template.make, top, zygote, postgresql_share
        self._on_files: Template | None = None
        self._on_postgresql: Template | None = None

    def template_of(self, number: int) -> Template:
        """What town *number* is a copy of; it follows from the number and the share alone."""
        if random.Random(f"store of {number}").random() < self._share:
            if self._on_postgresql is None:
                folder = self._top / "template-postgresql"
                self._on_postgresql = self._make(folder, self._zygote, self._cluster())
            return self._on_postgresql
        if self._on_files is None:
            self._on_files = self._make(self._top / "template", self._zygote)
        return self._on_files

    def close(self) -> None:
        """Stop PostgreSQL."""
        if self._on_postgresql is not None and self._on_postgresql.cluster is not None:
            self._on_postgresql.cluster.close()


def live_through(number: int, top: Path, towns: Towns, zygote: Zygote, runs: int) -> Outcome:
    """All runs of one town; its files are kept when something did not hold."""
    from tests.torture.town import Told, Town

    template = towns.template_of(number)
    folder = top / f"town{number}"
    town = Town(number, folder, template, zygote)
    outcome = Outcome(number, store="postgresql" if template.cluster else "sqlite")
    try:
        for _ in range(runs):
            town.run()
        outcome.shown = len(Told.read(folder).shown)
    except Exception as error:
        outcome.violation = town.explain(error)
        town.keep_database()
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


def _work(
    share: int,
    shares: int,
    seed: int,
    seconds: float,
    postgresql_share: float,
    results: multiprocessing.Queue[Outcome | None],
) -> None:
    from tests.torture.zygote import Zygote, die_with

    parent = multiprocessing.parent_process()
    assert parent is not None and parent.pid is not None
    die_with(parent.pid)
    from tests.torture.town import RUNS_A_TOWN

    ends = time.monotonic() + seconds
    try:
        with tempfile.TemporaryDirectory(prefix="gatehouse-torture-") as top, Zygote() as zygote:
            with contextlib.closing(Towns(Path(top), zygote, postgresql_share)) as towns:
                number = seed * TOWNS_A_SEED + share
                while time.monotonic() < ends:
                    results.put(live_through(number, Path(top), towns, zygote, RUNS_A_TOWN))
                    number += shares
    finally:
        results.put(None)


def replay(number: int, postgresql_share: float) -> int:
    """Live through one town again and tell everything."""
    from tests.torture.town import RUNS_A_TOWN
    from tests.torture.zygote import Zygote

    with tempfile.TemporaryDirectory(prefix="gatehouse-torture-") as top, Zygote() as zygote:
        with contextlib.closing(Towns(Path(top), zygote, postgresql_share)) as towns:
            outcome = live_through(number, Path(top), towns, zygote, RUNS_A_TOWN)
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
    parser.add_argument(
        "--postgresql",
        type=float,
        default=SHARE_ON_POSTGRESQL if programs() else 0.0,
        metavar="SHARE",
        help="the part of the towns whose server keeps its records in a real PostgreSQL, 0 to 1 (without one: 0)",
    )
    parser.add_argument("--replay", metavar="TOWN", help="a town's number, or a file of results: live through it again")
    parser.add_argument("--result", type=Path, default=RESULTS, help="where the JSON goes")
    args = parser.parse_args(argv)
    if not shim.has_compiler():
        print(f"torture: {shim.NO_COMPILER}", file=sys.stderr)
        return 2
    shim.built()
    if args.replay:
        return _replay_all(args.replay, args.postgresql)
    return _torture(args)


def _replay_all(what: str, postgresql_share: float) -> int:
    if what.isdigit():
        return replay(int(what), postgresql_share)
    told = json.loads(Path(what).read_text())
    towns = [violation["town"] for violation in told["violations"]]
    if not towns:
        print(f"{what} tells of no violation.")
    return max([replay(town, told.get("postgresql_share", postgresql_share)) for town in towns], default=0)


def _torture(args: argparse.Namespace) -> int:
    started, seconds = time.monotonic(), args.minutes * 60
    spawn = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[Outcome | None] = spawn.Queue()
    jobs = [
        spawn.Process(target=_work, args=(share, args.jobs, args.seed, seconds, args.postgresql, results))
        for share in range(args.jobs)
    ]
    for job in jobs:
        job.start()
    runs: Counter[str] = Counter()
    violations: list[Outcome] = []
    towns = on_postgresql = missed = lives = shown = done = 0
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
        on_postgresql += outcome.store == "postgresql"
        runs.update(outcome.runs)
        if outcome.violation:
            violations.append(outcome)
            print(f"VIOLATION in town {outcome.town}:\n{outcome.violation}", file=sys.stderr)
            print(
                f"  files: {outcome.kept}\n"
                f"  again: ./run torture --replay {outcome.town} --postgresql {args.postgresql}",
                file=sys.stderr,
                flush=True,
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
        f"{runs.total()} kill and fault runs in {towns} towns ({on_postgresql} on PostgreSQL), {lives} lives,"
        f" {shown} passages shown, {len(violations)} violations, {took:.0f} s, {cpu_s:.0f} s of processor time"
        f" (seed {args.seed})"
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
                "postgresql_share": args.postgresql,
                "towns_on_postgresql": on_postgresql,
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
