"""What one entrance costs as the service runs it: cold start, memory, processor, and the way from an event to a page.

The process, its journal (`synchronous=FULL`), its sync and its screen are real; a real server takes its records. The
camera is an MJPEG stream of people, the thermometer and the scan head are ptys that speak the devices' bytes. Passages
for the memory figure come through the scan head, since nobody can wait for ten thousand people to be measured.
"""

from __future__ import annotations

import argparse
import http.server
import json
import os
import sqlite3
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import requests

from firmware_bridge.simulators.gy614v import Gy614vSimulator
from firmware_bridge.simulators.scanners import LineScannerSimulator
from gatehouse.demo.scene import Scene, SceneServer
from kiosk.enrol import enrol
from protocol.credentials import health_code
from protocol.words import Colour
from server.keystore import ALG, IssuerUse
from tests.kiosk.sync.house import LiveServer
from tests.kiosk_process import KioskProcess, Listener, free_port

TARGET_MIB = 200.0
A_MINUTE = 30  # passages
WITHIN_S = 20.0


def run(argv: list[str]) -> int:
    """Run; exit code 1 when the kiosk process holds over 200 MiB after the last passage."""
    parser = argparse.ArgumentParser(prog="./run bench kiosk", description=__doc__)
    parser.add_argument("--passages", type=int, default=10_000, help="for the memory figure (default 10000)")
    parser.add_argument("--seconds", type=int, default=60, help="of idling, and of 30 passages a minute (default 60)")
    parser.add_argument("--starts", type=int, default=3, help="cold starts (default 3)")
    args = parser.parse_args(argv)
    result: dict[str, object] = {"passages": args.passages, "cores": os.cpu_count()}
    with tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as top:
        server = LiveServer(_made(Path(top) / "server"))
        try:
            result["start"] = _starts(Path(top), server, args.starts)
            result["cpu"] = _cpu(Path(top), server, args.seconds)
            result |= _many(Path(top), server, args.passages)
        finally:
            server.stop()
        result["floor_ms"] = _floors(Path(top))
    (Path(__file__).parent / "results" / "kiosk.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    memory = result["memory_mib"]
    assert isinstance(memory, list)
    return 0 if memory[-1]["kiosk"] <= TARGET_MIB else 1


@dataclass
class Door:
    """One enrolled kiosk's folder and what stands around it."""

    folder: Path
    server: LiveServer
    port: int = field(default_factory=free_port)

    def configure(self, body: str) -> Path:
        """Enrol and write its settings."""
        enrol(_made(self.folder) / "data", self.server.code())
        config = self.folder / "kiosk.toml"
        config.write_text(
            f'data_dir = "data"\n{body}\n[screen]\nport = {self.port}\nvoice = false\nsound = "none"\n[sync]\n'
            "interval_s = 5.0\n",
            encoding="utf-8",
        )
        return config

    def code(self) -> str:
        """A fresh health code that the server's own key signed."""
        now = datetime.now(UTC)
        key = self.server.house.keys.issuer_signing_key(IssuerUse.HEALTH_CODE, now)
        return health_code.issue(
            key=key.private_key,
            alg=ALG,
            kid=key.kid,
            colour=Colour.GREEN,
            issued_at=now,
            cti=os.urandom(8),
            pseudonym=os.urandom(8),
        )


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _measured_door(top: Path, name: str, server: LiveServer, camera: SceneServer) -> tuple[Door, Path]:
    door = Door(top / name, server)
    body = (
        f'[camera]\nsource = "{camera.url}"\nfps = 12.0\n[thermometer]\ndriver = "gy614v"\n'
        f'port = "{top / "thermometer"}"\nwarm_at_start = true\n'
    )
    return door, door.configure(body)


def _starts(top: Path, server: LiveServer, count: int) -> dict[str, object]:
    """From starting the process, with somebody's code in front of the camera already, to their verdict."""
    rows: dict[str, list[float]] = {"screen answers": [], "camera live": [], "first verdict": []}
    scene = Scene()
    with SceneServer(scene) as camera, Gy614vSimulator(top / "thermometer") as thermometer:
        thermometer.scene.set("normal")
        door, config = _measured_door(top, "start", server, camera)
        with KioskProcess(config, door.port) as kiosk:  # fetches its rules once; a cold start has them
            kiosk.until(lambda s: s["view"] == "idle" and s["venue"]["zh"] and s["banner"]["unsent"] == 0, "its rules")
        for _ in range(count):
            scene.show(door.code())
            with KioskProcess(config, door.port) as kiosk:
                kiosk.until(lambda s: True, "the screen")
                rows["screen answers"].append(time.monotonic() - kiosk.started_s)
                kiosk.until(lambda s: any(p["part"] == "camera" and p["good"] for p in s["parts"]), "a picture")
                rows["camera live"].append(time.monotonic() - kiosk.started_s)
                state = kiosk.until(lambda s: s["view"] == "verdict", "a verdict")
                rows["first verdict"].append(time.monotonic() - kiosk.started_s)
                assert state["verdict"]["face"] == "pass", state["verdict"]
            scene.show(None)
    print(f"cold start, seconds (median of {count}; the code is in front of the camera from the beginning)")
    for name, values in rows.items():
        print(f"  {name:<18}{statistics.median(values):8.2f}")
    return {name: {"median_s": statistics.median(values), "all_s": values} for name, values in rows.items()}


def _cpu(top: Path, server: LiveServer, seconds: int) -> dict[str, float]:
    """Percent of one core, of the kiosk and its capture process, with a page that listens."""
    scene = Scene()
    with SceneServer(scene) as camera, Gy614vSimulator(top / "thermometer") as thermometer:
        door, config = _measured_door(top, "cpu", server, camera)
        with KioskProcess(config, door.port) as kiosk:
            kiosk.until(lambda s: s["view"] == "idle" and s["venue"]["zh"], "its rules")
            listener = Listener(kiosk.url)
            time.sleep(3)  # start-up work is over
            idle = _percent(kiosk, lambda: time.sleep(seconds))
            before = len(listener.verdicts)

            def walk() -> None:
                end_s = time.monotonic() + seconds
                while time.monotonic() < end_s:
                    begun_s = time.monotonic()
                    thermometer.scene.set("normal")
                    scene.show(door.code())
                    heard = len(listener.verdicts)
                    listener.wait_for(heard + 1, 60 / A_MINUTE)
                    time.sleep(max(0.0, begun_s + 60 / A_MINUTE - time.monotonic()))

            busy = _percent(kiosk, walk)
            passed = len(listener.verdicts) - before
            scene.show(None)
    print(f"processor, percent of one core over {seconds} s (camera 12 fps at 1280x720)")
    print(f"  idle              {idle:8.1f}\n  30 a minute       {busy:8.1f}   ({passed} verdicts)")
    return {"idle_percent": idle, "busy_percent": busy, "verdicts": float(passed), "seconds": float(seconds)}


def _percent(kiosk: KioskProcess, work: object) -> float:
    assert callable(work)
    cpu_s, started_s = kiosk.cpu_s(), time.monotonic()
    work()
    return 100 * (kiosk.cpu_s() - cpu_s) / (time.monotonic() - started_s)


def _many(top: Path, server: LiveServer, passages: int) -> dict[str, object]:
    """Passages as fast as they go, one after the other: memory on the way, and each one's way to the page."""
    link = top / "scanner"
    door = Door(top / "many", server)
    scene = Scene()
    with SceneServer(scene) as camera, LineScannerSimulator(link) as scanner:
        body = f'[camera]\nsource = "{camera.url}"\nfps = 12.0\n[scan_head]\ndriver = "line"\nport = "{link}"\n'
        with KioskProcess(door.configure(body), door.port) as kiosk:
            kiosk.until(
                lambda s: s["venue"]["zh"] and any(p["part"] == "scanner" and p["good"] for p in s["parts"]),
                "its rules",
            )
            listener = Listener(kiosk.url)
            memory = [_memory(kiosk, 0)]
            print(f"memory, MiB\n{'passages':>10}{'kiosk (RSS)':>14}{'with capture (PSS)':>20}{'threads':>9}")
            print(_row(memory[-1]))
            marks = {passages * part // 20 for part in (1, 2, 5, 10, 15, 20)}
            delays: list[float] = []
            for number in range(1, passages + 1):
                heard, code = len(listener.verdicts), door.code()
                sent_s = time.monotonic()
                scanner.show(code)
                if not listener.wait_for(heard + 1, WITHIN_S):
                    raise TimeoutError(f"passage {number} was never shown\n{kiosk.log.read_text()[-2000:]}")
                delays.append(1000 * (list(listener.verdicts.values())[-1] - sent_s))
                if number in marks:
                    memory.append(_memory(kiosk, number))
                    print(_row(memory[-1]), flush=True)
            took_s = sum(delays) / 1000
            recorded = _records(door.folder / "data" / "journal.db")
    if recorded < passages:
        raise RuntimeError(f"{recorded} records for {passages} passages")
    rows = {f"p{p}": _percentile(delays, p) for p in (50, 95, 99)}
    print(f"  target for the kiosk process: under {TARGET_MIB:g} MiB; {passages / took_s:.0f} passages a second")
    print("from a code at the scan head to the verdict's event at a page, ms")
    print("".join(f"  {name} {value:.1f}" for name, value in rows.items()))
    return {"memory_mib": memory, "event_to_page_ms": rows, "target_mib": TARGET_MIB, "journal_records": recorded}


def _memory(kiosk: KioskProcess, passages: int) -> dict[str, float]:
    own, every = kiosk.resident_mib()
    return {"passages": passages, "kiosk": own, "family_pss": every, "threads": kiosk.threads()}


def _row(told: dict[str, float]) -> str:
    return f"{told['passages']:>10}{told['kiosk']:>14.1f}{told['family_pss']:>20.1f}{told['threads']:>9}"


def _records(path: Path) -> int:
    with sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True) as db:
        return int(db.execute("SELECT sequence FROM head").fetchone()[0])


def _floors(top: Path) -> dict[str, dict[str, float]]:
    """What no program can be faster than here: a bare event over loopback, and a bare insert that is on disk."""
    found = {"loopback event": _bare_events(300), "fsynced insert": _bare_inserts(top / "bare.db", 300)}
    print("the floor beside it, ms")
    for name, row in found.items():
        print(f"  {name:<18}" + "".join(f" {key} {value:.2f}" for key, value in row.items()))
    return found


def _bare_events(count: int) -> dict[str, float]:
    """A server that does nothing but send each moment to one listener, as a server-sent event."""
    sent: list[float] = []
    go, ready = threading.Semaphore(0), threading.Event()

    class Bare(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            ready.set()
            for _ in range(count):
                go.acquire()
                sent.append(time.monotonic())
                self.wfile.write(b"data: {}\n\n")

        def log_message(self, format: str, *args: object) -> None:
            return None

    costs: list[float] = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bare) as bare:
        threading.Thread(target=bare.serve_forever, daemon=True).start()
        with requests.get(f"http://127.0.0.1:{bare.server_port}/", stream=True, timeout=30) as answer:
            ready.wait(10)
            go.release()
            for line in answer.iter_lines(chunk_size=1):
                if line:
                    costs.append(1000 * (time.monotonic() - sent[-1]))
                    if len(costs) == count:
                        break
                    time.sleep(0.005)
                    go.release()
        bare.shutdown()
    return {f"p{p}": _percentile(costs, p) for p in (50, 95, 99)}


def _bare_inserts(path: Path, count: int) -> dict[str, float]:
    costs = []
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE bare (bytes BLOB)")
    for _ in range(count):
        started_s = time.monotonic()
        db.execute("INSERT INTO bare VALUES (?)", (os.urandom(400),))
        costs.append(1000 * (time.monotonic() - started_s))
        time.sleep(0.005)
    db.close()
    return {f"p{p}": _percentile(costs, p) for p in (50, 95, 99)}


def _percentile(values: list[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
