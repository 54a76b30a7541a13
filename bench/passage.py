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
    timings = _passages(folder, args.passages)
    bare = _bare_inserts(folder / "bare.db", args.passages)
    stages = {name: [getattr(t, f"{name}_s") * 1000 for t in timings] for name in STAGES}
    stages["outside decode"] = [sum(getattr(t, f"{n}_s") for n in STAGES[1:]) * 1000 for t in timings]
    stages["all"] = [sum(getattr(t, f"{n}_s") for n in STAGES) * 1000 for t in timings]
    stages["bare insert"] = bare
    print(f"{len(timings)} passages, milliseconds")
    print(f"{'stage':<16}{'p50':>9}{'p95':>9}{'p99':>9}")
    rows = {}
    for name, values in stages.items():
        rows[name] = {f"p{p}": _percentile(values, p) for p in (50, 95, 99)}
        print(f"{name:<16}" + "".join(f"{rows[name][f'p{p}']:9.3f}" for p in (50, 95, 99)))
    ratio = rows["outside decode"]["p50"] / rows["bare insert"]["p50"]
    print(f"everything outside decoding: {ratio:.2f} x one bare fsynced insert at the median (target: {TARGET:g})")
    result = {"passages": len(timings), "ms": rows, "ratio_p50": ratio, "target": TARGET}
    (Path(__file__).parent / "results" / "passage.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    return 0 if ratio <= TARGET else 1


def _passages(folder: Path, n: int) -> list[Timing]:
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
                if who % 50 == 0:
                    print(f"  {who} of {n} passages", flush=True)
    return timings


def _listen(address: str, is_over: Callable[[], bool]) -> None:
    with requests.get(address + "events", stream=True, timeout=60) as response:
        for _ in response.iter_content(4096):
            if is_over():
                return


def _bare_inserts(path: Path, n: int) -> list[float]:
    """The physical limit here: one row of a passage's size, one commit, one fsync."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE bare (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL)")
    costs = []
    for _ in range(n):
        row = os.urandom(400)
        started = time.perf_counter()
        db.execute("INSERT INTO bare (bytes) VALUES (?)", (row,))
        costs.append((time.perf_counter() - started) * 1000)
        time.sleep(0.02)  # spaced like passages: an idle disk answers as it does at a door
    db.close()
    return costs


def _percentile(values: list[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
