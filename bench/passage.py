"""From frame available to verdict committed and shown, beside one bare fsynced SQLite insert in the same run.

The temperature window is left out (it is waiting, not work); everything else is the kiosk's real code: decoder,
verifier, decision, sealing, journal with `synchronous=FULL`, and the entrance screen with a page that listens.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import requests

from config.screen import ScreenSettings
from kiosk.board import Board, Link
from kiosk.lane import Lane, Timing
from kiosk.screen import Screen
from protocol.bundle import PlaceNames
from tests.rig import Rig

STAGES = ("decode", "verify", "decide", "seal", "commit", "publish")
TARGET = 3.0


def run(argv: list[str]) -> int:
    """Run; exit code 1 when the median outside decoding is over three bare inserts."""
    parser = argparse.ArgumentParser(prog="./run bench passage", description=__doc__)
    parser.add_argument("--passages", type=int, default=200)
    args = parser.parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix="gatehouse-bench-"))
    bare_inserts = BareInserts(folder / "bare.db")
    timings = _passages(folder, args.passages, bare_inserts)
    stages = {name: [getattr(t, f"{name}_s") * 1000 for t in timings] for name in STAGES}
    stages["outside decode"] = [sum(getattr(t, f"{n}_s") for n in STAGES[1:]) * 1000 for t in timings]
    stages["seal and commit"] = [(t.seal_s + t.commit_s) * 1000 for t in timings]
    stages["all"] = [sum(getattr(t, f"{n}_s") for n in STAGES) * 1000 for t in timings]
    stages["bare insert"] = bare_inserts.costs_ms
    print(f"{len(timings)} passages, milliseconds")
    print(f"{'stage':<16}{'p50':>9}{'p95':>9}{'p99':>9}")
    rows = {}
    for name, values in stages.items():
        rows[name] = {f"p{p}": _percentile(values, p) for p in (50, 95, 99)}
        print(f"{name:<16}" + "".join(f"{rows[name][f'p{p}']:9.3f}" for p in (50, 95, 99)))
    ratio = rows["outside decode"]["p50"] / rows["bare insert"]["p50"]
    print(f"everything outside decoding: {ratio:.2f} x one bare fsynced insert at the median (target: {TARGET:g})")
    journaling = rows["seal and commit"]["p50"] / rows["bare insert"]["p50"]
    print(f"sealing and journaling: {journaling:.2f} x that insert (target of ./run bench sync: 1.5)")
    result = {
        "passages": len(timings),
        "ms": rows,
        "journaling_of_bare": journaling,
        "ratio_p50": ratio,
        "target": TARGET,
    }
    (Path(__file__).parent / "results" / "passage.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    return 0 if ratio <= TARGET else 1


def _passages(folder: Path, n: int, bare: BareInserts) -> list[Timing]:
    timings: list[Timing] = []
    names = PlaceNames(b"venue1", 1, "东湖市场", "Donghu Market", "北门", "North gate", word_key=b"k" * 16)
    board, link = Board(names), Link("online")
    with Screen(ScreenSettings(port=0, sound="none", voice_cache=folder / "voice")) as screen:

        def publish(lane: Lane) -> None:
            screen.publish(board.state(lane, link, time.monotonic()))

        listening = threading.Thread(target=_listen, args=(screen.address, lambda: len(timings) >= n), daemon=True)
        listening.start()
        with Rig(folder, publish=publish) as rig:
            rig.lane.on_timing = timings.append
            for who in range(1, n + 1):
                rig.walk([rig.issuer.code(datetime.now(UTC), who)])
                time.sleep(0.05)
                bare.one()
                if who % 50 == 0:
                    print(f"  {who} of {n} passages", flush=True)
    return timings


def _listen(address: str, is_over: Callable[[], bool]) -> None:
    with requests.get(address + "events", stream=True, timeout=60) as response:
        for _ in response.iter_content(4096):
            if is_over():
                return


class BareInserts:
    """The physical limit: one row of a passage's size, one commit, one fsync.

    One is made between every two passages, so that it meets the same disk, the same idle processor and the same cold
    caches behind the camera's frames as the passage beside it.
    """

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("CREATE TABLE bare (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL)")
        self.costs_ms: list[float] = []

    def one(self) -> None:
        """Insert once and note what it cost."""
        row = os.urandom(400)
        started = time.perf_counter()
        self._db.execute("INSERT INTO bare (bytes) VALUES (?)", (row,))
        self.costs_ms.append((time.perf_counter() - started) * 1000)


def _percentile(values: list[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
