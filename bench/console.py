"""How long the console's list pages take on the server with a whole city in the database, for several roles.

The pages are asked for through the real WSGI application, signed in as people with the widest scope that their role is
given; the time is the server's alone, without a network. On SQLite everything happens in this process, so its processor
time is the server's time whatever else the machine does, and the limit is held to that; on PostgreSQL to the clock.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from flask.testing import FlaskClient

from bench.city import Size, fill
from config.server import ServerSettings
from server import create_app
from server.accounts import passwords
from server.context import House
from server.setup import initialise
from server.web.serving import settled
from tests.postgres import MISSING, Cluster, programs
from tests.server.people import NOON, PASSWORD, PASSWORD_ALONE, Clock, furnish, sign_in

LIMIT_MS = 100.0
EVERYBODY = ("/", "/cases/inbox", "/search?q=春熙", "/search?q=地铁站", "/search?q=门机77", "/search?q=春熙 nowhere")
CASES = ("", "?state=open", "?state=issued", "?q=图书馆", "?q=nowhere", "?due=over", "?mine=1")  # filters of a list
# Who asks for which pages; the words are found seldom, often and never.
PAGES: dict[str, tuple[str, ...]] = {
    "bench-city": (*EVERYBODY, "/audit?day=all", "/codes", "/codes?state=revoked", "/users/", "/notices", "/profiles"),
    "bench-district": (*EVERYBODY, "/codes", "/users/", "/cases/fault/"),
    "bench-street": (
        *(*EVERYBODY, "/venues", "/venues?q=图书馆", "/codes", "/codes?state=renewal", "/kiosks"),
        *("/kiosks/overview", "/users/", "/residents/", "/cases/fault/", "/cases/fault/?state=open"),
        *(f"/cases/venue_code/{query}" for query in CASES),
    ),
    "bench-allstreets": (
        *(*EVERYBODY, "/venues", "/venues?q=图书馆", "/venues?q=馆", "/venues?q=nowhere", "/venues?keeper=none"),
        *("/codes", "/codes?state=renewal", "/codes?state=issued", "/kiosks", "/kiosks?condition=trouble"),
        *("/kiosks?condition=unsent", "/kiosks?condition=suspended", "/kiosks/overview", "/users/", "/users/?q=bench"),
        *("/residents/", "/cases/fault/", "/cases/fault/?state=open", "/cases/kiosk/"),
        *(f"/cases/venue_code/{query}" for query in CASES),
    ),
    "bench-community": (*EVERYBODY, "/venues", "/venues?q=图书馆", "/codes", "/residents/", "/papers", "/users/"),
    "bench-inspector": (*EVERYBODY, "/venues?q=医院", "/codes", "/kiosks", "/kiosks/overview", "/inspectors", "/audit"),
    "bench-tech": (*EVERYBODY, "/venues", "/kiosks", "/kiosks?condition=unreachable", "/kiosks/overview"),
    "bench-officer": ("/", "/audit", "/audit?day=all", "/audit?day=all&action=code.printed", "/queries/looks"),
}


@dataclass(frozen=True, slots=True)
class Timed:
    """One page for one person."""

    who: str
    page: str
    p50_ms: float  # by the clock
    p95_ms: float
    cpu_p50_ms: float  # of this process
    cpu_p95_ms: float
    kbytes: float


def run(argv: list[str]) -> int:
    """Run; exit code 1 when a page is over the limit or does not answer."""
    parser = argparse.ArgumentParser(prog="./run bench console", description=__doc__)
    parser.add_argument("--store", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--times", type=int, default=20, help="how often each page is asked for")
    parser.add_argument("--only", default="", help="only the pages whose address holds this")
    parser.add_argument("--keep", type=Path, help="keep the SQLite city in this folder, and use it if it is there")
    for field in fields(Size):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=int, default=field.default)
    args = parser.parse_args(argv)
    size = Size(**{field.name: getattr(args, field.name) for field in fields(Size)})
    if args.store == "postgresql" and programs() is None:
        print(MISSING, file=sys.stderr)
        return 2
    logging.disable(logging.INFO)
    with ExitStack() as stack:
        folder = args.keep or Path(tempfile.mkdtemp(prefix="gatehouse-console-"))
        if args.keep is None:
            stack.callback(shutil.rmtree, folder)
        url = ""
        if args.store == "postgresql":
            cluster = Cluster({"fsync": "off", "shared_buffers": "256MB", "max_wal_size": "2GB"})
            stack.callback(cluster.close)
            url = cluster.url(cluster.create())
        settings = ServerSettings(
            public_url="http://localhost", data_dir=folder / "data", database_url=url, accounts=PASSWORD_ALONE
        )
        is_new = not settings.data_dir.exists() or bool(url)
        initialise(settings, now=NOON)
        app = settled(create_app(replace(settings, session_hours=168), now=Clock()))  # as the server's workers are
        house: House = app.extensions["gatehouse"]
        stack.callback(house.database.engine.dispose)
        if is_new:
            started = time.perf_counter()
            with app.app_context():
                furnish(house)
                fill(house, size, passwords.hash_password(PASSWORD))
            print(f"{size}\nput in within {time.perf_counter() - started:.0f} s", flush=True)
        results = []
        print(f"{'who':<17}{'page':<38}{'p50 ms':>8}{'p95 ms':>8}{'cpu p50':>9}{'cpu p95':>9}{'kB':>7}")
        for who, pages in PAGES.items():
            wanted = [page for page in pages if args.only in page]
            client = sign_in(app, who).client if wanted else None
            for page in wanted:
                assert client is not None
                found = _time(client, who, page, args.times)
                results.append(found)
                print(
                    f"{who:<17}{page:<38}{found.p50_ms:>8.1f}{found.p95_ms:>8.1f}"
                    f"{found.cpu_p50_ms:>9.1f}{found.cpu_p95_ms:>9.1f}{found.kbytes:>7.0f}",
                    flush=True,
                )
    missed = [r for r in results if (r.cpu_p95_ms if args.store == "sqlite" else r.p95_ms) >= LIMIT_MS]
    if not args.only:
        _write(args.store, size, args.times, results)
    for r in missed:
        print(f"missed: {r.page} for {r.who}", file=sys.stderr)
    return 1 if missed else 0


def _time(client: FlaskClient, who: str, page: str, times: int) -> Timed:
    clock, cpu, size = [], [], 0
    for turn in range(times + 1):  # the first one warms up
        started, used = time.perf_counter(), time.process_time()
        answer = client.get(page)
        took, took_cpu = time.perf_counter() - started, time.process_time() - used
        if answer.status_code != 200:  # a page that does not answer is no figure
            raise RuntimeError(f"{page} answered {answer.status_code} to {who}")
        if turn:
            clock.append(took * 1000)
            cpu.append(took_cpu * 1000)
        size = len(answer.data)
    return Timed(who, page, *_figures(clock), *_figures(cpu), round(size / 1000, 1))


def _figures(values: Sequence[float]) -> tuple[float, float]:
    """Median and 95th percentile."""
    return round(statistics.median(values), 1), round(statistics.quantiles(values, n=20, method="inclusive")[-1], 1)


def _write(store: str, size: Size, times: int, results: Sequence[Timed]) -> None:
    path = Path(__file__).parent / "results" / "console.json"
    held = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    held[store] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "size": asdict(size),
        "times": times,
        "limit_ms": LIMIT_MS,
        "pages": [asdict(result) for result in results],
    }
    path.write_text(json.dumps(held, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
