"""3,000 simulated kiosks on the real server over HTTP, and the curve of latency up to where the server is full.

The server is `gatehouse server` as people run it (two processes) on a PostgreSQL with fsync on; the simulator of
`gatehouse simulate --fleet` runs beside it on the same processors. First the floor: every kiosk once in 30 s, zero
errors, zero lost or doubled passages, p99 below a second. Then the same kiosks exchange more and more often.
Writes results/fleet.json and draws results/fleet.svg.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.ingest import LASTING
from bench.posting import cpu_s, free_port, wait_for
from config.server import load_server_settings
from gatehouse.commands.simulate_fleet import FleetPlan, FleetReport, register, simulate
from server import create_app
from server.context import House, utc_now
from server.setup import initialise
from tests.postgres import MISSING, Cluster, programs
from tests.server.ingest.fleet import VaultKeyRing
from tests.server.people import furnish

FLOOR_P99_MS = 1000.0
RESULTS = Path(__file__).parent / "results"
CURVE_S = (20.0, 15.0, 12.0, 10.0, 8.0, 6.0, 5.0, 4.0, 3.0)  # intervals, shorter and shorter


def run(argv: list[str]) -> int:
    """Run; exit code 1 when the floor is missed, or anything was lost or doubled anywhere on the curve."""
    parser = argparse.ArgumentParser(prog="./run bench fleet", description=__doc__)
    parser.add_argument("--kiosks", type=int, default=3000)
    parser.add_argument("--minutes", type=float, default=3.0, help="of the floor; a point of the curve takes a third")
    parser.add_argument("--no-curve", action="store_true", help="the floor only")
    args = parser.parse_args(argv)
    if programs() is None:
        print(MISSING, file=sys.stderr)
        return 2
    points: list[dict[str, Any]] = []
    with site() as (house, port, pid):
        fleet = register(house, args.kiosks)
        heads = ("interval", "a second", "p50 ms", "p95 ms", "p99 ms", "passages", "lost", "doubled", "errors", "cpu")
        print("".join(f"{head:>10}" for head in heads))
        intervals = (30.0,) if args.no_curve else (30.0, *CURVE_S)
        for interval_s in intervals:
            seconds = args.minutes * 60 / (1 if interval_s == 30.0 else 3)
            cpu = cpu_s(pid)
            report = simulate(
                house, fleet, FleetPlan(f"http://localhost:{port}", interval_s, seconds, seed=len(points))
            )
            cores = (cpu_s(pid) - cpu) / report.seconds
            points.append({"interval_s": interval_s, "server_cores": round(cores, 2), **dataclasses.asdict(report)})
            _print(report, interval_s, cores)
            if len(points) > 1 and (report.p99_ms > 5 * FLOOR_P99_MS or report.errors):
                break  # full: further points would only show a longer queue
    result = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores shared with the simulator and PostgreSQL",
        "load": os.getloadavg(),
        "floor_p99_ms": FLOOR_P99_MS,
        "points": points,
    }
    (RESULTS / "fleet.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    if len(points) > 1:
        (RESULTS / "fleet.svg").write_text(drawn(points), encoding="utf-8")
    floor = points[0]
    is_met = not floor["errors"] and floor["p99_ms"] < FLOOR_P99_MS
    is_whole = not any(p["lost"] or p["doubled"] or p["forged"] or p["quarantined"] for p in points)
    if not (is_met and is_whole):
        print("missed: " + ("passages were lost or doubled" if not is_whole else "the floor"), file=sys.stderr)
    return 0 if is_met and is_whole else 1


def _print(report: FleetReport, interval_s: float, cores: float) -> None:
    cells = (interval_s, report.exchanges_a_s, report.p50_ms, report.p95_ms, report.p99_ms, report.passages)
    cells += (report.lost, report.doubled, sum(report.errors.values()), round(cores, 2))
    print("".join(f"{cell:>10}" for cell in cells), flush=True)


@contextmanager
def site() -> Iterator[tuple[House, int, int]]:
    """A furnished PostgreSQL, `gatehouse server` on it, and the number of its process."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="gatehouse-fleet-"))
        stack.callback(shutil.rmtree, folder)
        cluster = Cluster(LASTING)
        stack.callback(cluster.close)
        port, config = free_port(), folder / "server.toml"
        config.write_text(
            f'public_url = "http://localhost"\ndata_dir = "data"\ndatabase_url = "{cluster.url(cluster.create())}"\n'
            f"[listen]\nport = {port}\nworkers = 2\nthreads = 4\n"
        )
        settings = load_server_settings(config)
        initialise(settings, now=utc_now())
        app = create_app(settings)
        house: House = app.extensions["gatehouse"]
        stack.callback(house.database.engine.dispose)
        with app.app_context():
            furnish(house)
        settings.vault_public_path.write_bytes(VaultKeyRing().exported)
        command = [sys.executable, "-m", "gatehouse", "server", "--config", str(config)]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        stack.callback(process.wait, 60)
        stack.callback(process.terminate)
        wait_for(port, process)
        yield house, port, process.pid


def drawn(points: Sequence[dict[str, Any]]) -> str:
    """The curve as SVG: latency (logarithmic) over exchanges a second; one line for each percentile."""
    width, height, left, top = 760, 420, 70, 40
    most = max(p["exchanges_a_s"] for p in points) * 1.05
    low, high = 1.0, 10 ** math.ceil(math.log10(max(10.0, max(p["p99_ms"] for p in points))))

    def x(rate: float) -> float:
        return round(left + rate / most * (width - left - 90), 1)

    def y(ms: float) -> float:
        share = (math.log10(max(ms, low)) - math.log10(low)) / (math.log10(high) - math.log10(low))
        return round(top + (1 - share) * (height - top - 60), 1)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"'
        ' font-size="12"><rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="{left}" y="20" font-size="15">{points[0]["kiosks"]} simulated kiosks: latency of one exchange'
        " by exchanges a second</text>",
    ]
    tick = low
    while tick <= high:
        out.append(f'<path d="M{left} {y(tick)}H{width - 90}" stroke="#ddd"/>')
        out.append(f'<text x="{left - 8}" y="{y(tick) + 4}" text-anchor="end">{tick:,.0f} ms</text>')
        tick *= 10
    step = 10 ** math.floor(math.log10(most))
    step = step / 5 if most / step < 2 else step / 2 if most / step < 5 else step
    rate = 0.0
    while rate <= most:
        out.append(f'<text x="{x(rate)}" y="{height - 40}" text-anchor="middle">{rate:g}</text>')
        rate += step
    out.append(f'<text x="{(left + width - 90) / 2}" y="{height - 16}" text-anchor="middle">exchanges a second</text>')
    floor = y(FLOOR_P99_MS)
    out.append(f'<path d="M{left} {floor}H{width - 90}" stroke="#b00" stroke-dasharray="5 4"/>')
    out.append(
        f'<text x="{left + 6}" y="{floor - 5}" fill="#b00">the most that p99 may be at one exchange in 30 s</text>'
    )
    last, label_y = points[-1], math.inf
    for name, colour in (("p50_ms", "#2a7"), ("p95_ms", "#27c"), ("p99_ms", "#734")):  # upwards
        line = " ".join(f"{x(p['exchanges_a_s'])},{y(p[name])}" for p in points)
        out.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{x(p["exchanges_a_s"])}" cy="{y(p[name])}" r="3" fill="{colour}"/>' for p in points]
        label_y = round(min(y(last[name]) + 4, label_y - 14), 1)  # apart from the one below it
        out.append(f'<text x="{x(last["exchanges_a_s"]) + 8}" y="{label_y}" fill="{colour}">{name[:3]}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"
