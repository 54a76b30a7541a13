"""A kiosk comes back after a month: how fast its journal reaches the server, and how long new passages wait meanwhile.

The kiosk's own journal file, syncer and HTTP client in one process; the product's own server, SQLite committed with
`synchronous=FULL`, in another. Meanwhile somebody passes every quarter of a second; this process watches the server's
database for when that passage is there. Beside it, in the same run, what sealing and journaling one passage costs next
to a bare fsynced insert of the same bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from bench.frames import single
from config.kiosk import SyncSettings
from config.server import ServerSettings
from kiosk.bundle_store import BundleStore
from kiosk.clock import KioskClock
from kiosk.decoder import Decoder
from kiosk.enrol import Identity, enrol, load_identity
from kiosk.store import Journal
from kiosk.syncer import Syncer
from protocol.credentials import enrolment_code
from protocol.journal import HASH_BYTES
from protocol.passage import ClockConfidence, Personal, Stamp, Temperature
from protocol.vault_keys import vault_fingerprint
from server import create_app
from server.context import House, utc_now
from server.setup import initialise
from tests.server.ingest.fleet import PASSAGE, install_vault, make_code
from tests.server.people import furnish

DAYS = 30
LEAST_PER_S = 15_000
MOST_OF_BARE = 1.5
MOST_MEMORY_MB = 256  # either end; a Raspberry Pi with 1 GB runs the camera beside it
LIVE_EVERY_S = 0.25
LIVE_WITHIN_S = 5.0  # the slowest; the whole catch-up takes longer than this at any size worth measuring
LOG_PAGES = 1000  # after as many rows SQLite's log has its size: one that grows costs the file system extra
ONE_BY_ONE = 400


def run(argv: list[str]) -> int:
    """Run; exit code 1 when a target is missed."""
    if argv[:1] == ["--kiosk"]:
        return _be_the_kiosk(Path(argv[1]), int(argv[2]))
    parser = argparse.ArgumentParser(prog="./run bench sync", description=__doc__)
    parser.add_argument("--passages", type=int, default=100_000, help="that wait on the kiosk")
    args = parser.parse_args(argv)
    load_before = os.getloadavg()[0]
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="gatehouse-sync-"))
        stack.callback(shutil.rmtree, folder)
        one = _one_passage(folder / "one")
        site = _Site(folder / "server")
        stack.callback(site.stop)
        identity = site.enrolled(folder / "kiosk")
        print(f"writing {args.passages} passages of {DAYS} days into the kiosk's journal ...", flush=True)
        _write_backlog(folder / "kiosk", identity, args.passages)
        caught_up = _catch_up(site, folder / "kiosk", identity.enrolment.kiosk, args.passages)
    result = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {load_before:.1f}",
        "passages": args.passages,
        **asdict(caught_up),
        "one_passage": {name: asdict(pair) for name, pair in one.items()},
    }
    (Path(__file__).parent / "results" / "sync.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    return _judge(caught_up, one, load_before)


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """One catch-up as both ends saw it."""

    seconds: float  # from the syncer's start to the receipt for the last waiting passage
    per_s: float
    exchanges: int
    kiosk_cpu_us: float  # a passage, user and system, of the kiosk's process
    server_cpu_us: float
    kiosk_peak_mb: float
    kiosk_before_mb: float
    server_peak_mb: float
    server_before_mb: float
    live_passages: int
    live_p50_s: float  # from `append` returned to the passage standing in the server's database
    live_max_s: float
    door_p50_ms: float  # what `append` took meanwhile: the person at the gate
    door_max_ms: float


def _judge(done: CaughtUp, one: dict[str, OnePassage], load: float) -> int:
    door = one["door"]

    def bounded(peak_mb: float, idle_mb: float) -> tuple[str, str, bool]:
        return f"{peak_mb:.0f} (idle {idle_mb:.0f})", f"<= {MOST_MEMORY_MB}", peak_mb <= MOST_MEMORY_MB

    slowest = f"{done.live_max_s:.2f}", f"<= {LIVE_WITHIN_S:g}", done.live_max_s <= LIVE_WITHIN_S
    rows: list[tuple[str, str, str, bool]] = [
        ("caught up, passages a second", f"{done.per_s:,.0f}", f">= {LEAST_PER_S:,}", done.per_s >= LEAST_PER_S),
        ("  processor us a passage, kiosk / server", f"{done.kiosk_cpu_us:.1f} / {done.server_cpu_us:.1f}", "", True),
        ("  seconds, exchanges", f"{done.seconds:.2f}, {done.exchanges}", "", True),
        ("peak memory of the kiosk, MB", *bounded(done.kiosk_peak_mb, done.kiosk_before_mb)),
        ("peak memory of the server, MB", *bounded(done.server_peak_mb, done.server_before_mb)),
        ("a live passage is on the server after, s, median", f"{done.live_p50_s:.2f}", "", True),
        (f"  the slowest of {done.live_passages}", *slowest),
        ("journaling it meanwhile, ms, median / slowest", f"{done.door_p50_ms:.1f} / {done.door_max_ms:.1f}", "", True),
        ("sealing and journaling at a door, ms, median", f"{door.ours_ms:.3f}", "", True),
        ("  a bare fsynced insert of the same bytes, ms", f"{door.bare_ms:.3f}", "", True),
        ("  ours of bare", f"{door.ratio:.2f}", f"<= {MOST_OF_BARE}", door.ratio <= MOST_OF_BARE),
    ]
    for name, what in (("door_full", "both logs at full size"), ("loop_full", "and every cache hot, in a loop")):
        pair = one[name]
        rows.append((f"  {what}, ours / bare, ms", f"{pair.ours_ms:.3f} / {pair.bare_ms:.3f}", "", True))
        rows.append(("  ours of bare", f"{pair.ratio:.2f}", "", True))
    print(f"{os.cpu_count()} cores, load {load:.1f} before")
    for name, value, target, is_met in rows:
        print(f"{name:<52}{value:>24}  {target:<10}{'' if is_met else ' MISSED'}")
    return 0 if all(is_met for *_, is_met in rows) else 1


# -- one passage -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OnePassage:
    """Medians of our `append`, and of one row of as many bytes put into a bare table, in turns on the same disk."""

    ours_ms: float
    bare_ms: float

    @property
    def ratio(self) -> float:
        """Ours of bare."""
        return self.ours_ms / self.bare_ms


def _one_passage(folder: Path) -> dict[str, OnePassage]:
    """`door`: a camera's frame was read before each of either, the bare table as SQLite makes it: its log grows.

    `door_full` and `loop_full`: the bare table's log has its full size, too, as after a thousand rows; at the door, and
    again and again with every cache hot.
    """
    from tests.fakes import Device, VaultKey

    folder.mkdir()
    device = Device()
    journal = Journal(folder / "journal.db", device.id, VaultKey().public)
    bare = sqlite3.connect(folder / "bare.db", isolation_level=None)
    bare.execute("PRAGMA journal_mode=WAL")
    bare.execute("PRAGMA synchronous=FULL")
    bare.execute("CREATE TABLE bare (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL)")
    clock, decoder = KioskClock(), Decoder()
    frames = [single(seed, "clean", 1, 120).image for seed in range(8)]
    journal.append(device.place, clock.stamp(), PASSAGE, _somebody(0), day="d", count=("admit",))
    journal.append(device.place, clock.stamp(), PASSAGE, _somebody(1), day="d", count=("admit",))
    (record,) = journal.records_after(1, 1)  # the second: no wrapped key in it, as in nearly all
    row_bytes = len(record.epoch + record.header + record.sealed) + HASH_BYTES

    def ours(n: int) -> float:
        personal, stamp = _somebody(n), clock.stamp()
        started = time.perf_counter()
        journal.append(device.place, stamp, PASSAGE, personal, day="d", count=("admit",))
        return (time.perf_counter() - started) * 1000

    def plain(n: int) -> float:
        row = os.urandom(row_bytes)
        started = time.perf_counter()
        bare.execute("INSERT INTO bare (bytes) VALUES (?)", (row,))
        return (time.perf_counter() - started) * 1000

    def at_the_door(one: Callable[[int], float], n: int) -> float:
        decoder.read(frames[n % len(frames)])
        return one(n)

    def door() -> OnePassage:
        return _medians([(at_the_door(ours, n), at_the_door(plain, n)) for n in range(ONE_BY_ONE)])

    def loop(times: int) -> OnePassage:
        return _medians([(ours(n), plain(n)) for n in range(times)])

    measured = {"door": door()}
    loop(LOG_PAGES)
    measured |= {"loop_full": loop(ONE_BY_ONE), "door_full": door()}
    journal.close()
    bare.close()
    return measured


def _medians(turns: list[tuple[float, float]]) -> OnePassage:
    return OnePassage(*(statistics.median(some) for some in zip(*turns, strict=True)))


def _somebody(n: int) -> Personal:
    return Personal(
        name="欧**",
        pseudonym=os.urandom(8),
        cti=os.urandom(8),
        identity_sealed=os.urandom(140),
        temperature=Temperature("infrared", 35.1, 22.0, 36.0 + n % 10 / 10),
    )


# -- the two ends ------------------------------------------------------------------------------------------------------


class _Site:
    """The product's server as its own process."""

    def __init__(self, folder: Path) -> None:
        from bench.posting import free_port, wait_for

        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        folder.mkdir()
        config = folder / "server.toml"
        config.write_text(
            f'public_url = "{self.url}"\ndata_dir = "{folder / "data"}"\n'
            f'[listen]\nhost = "127.0.0.1"\nport = {self.port}\nworkers = 1\n'
        )
        settings = ServerSettings(public_url=self.url, data_dir=folder / "data")
        initialise(settings, now=utc_now())
        app = create_app(settings)
        self.house: House = app.extensions["gatehouse"]
        with app.app_context():
            furnish(self.house)
        self.vault = install_vault(self.house)
        with (folder / "server.log").open("wb") as log:
            command = [sys.executable, "-m", "gatehouse", "server", "--config", str(config)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for(self.port, self._process)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)
        self.house.database.engine.dispose()

    def enrolled(self, folder: Path) -> Identity:
        code = enrolment_code.EnrolmentCode(
            self.url,
            make_code(self.house),
            self.house.keys.server_identity().public_key().public_bytes_raw(),
            vault_fingerprint(self.vault.signing.public_key()),
            utc_now() + timedelta(minutes=15),
        )
        enrol(folder, enrolment_code.make(code))
        identity = load_identity(folder)
        assert identity is not None
        return identity

    @property
    def pids(self) -> list[int]:
        """The server's process and those it started."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return [self._process.pid, *map(int, children)]

    def watching(self) -> sqlite3.Connection:
        path = make_path(self.house)
        return sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None, timeout=5)


def make_path(house: House) -> str:
    """The file of the server's database."""
    return str(house.database.engine.url.database)


def _write_backlog(folder: Path, identity: Identity, passages: int) -> None:
    """Real records by the real journal, without waiting for the disk: writing them is not what is measured."""
    journal = Journal(folder / "journal.db", identity.enrolment.kiosk, identity.vault.seal[0].load())
    journal._db.execute("PRAGMA synchronous=OFF")
    now = KioskClock().stamp()
    step_ms = DAYS * 86_400_000 // passages
    for n in range(passages):
        left_ms = (passages - n) * step_ms
        stamp = Stamp(now.at_ms - left_ms, max(0, now.mono_ms - left_ms), now.boot, ClockConfidence.SYNCED)
        day = f"day {n * DAYS // passages}"
        journal.append(identity.enrolment.place, stamp, PASSAGE, _somebody(n), day=day, count=("admit",))
    journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    journal.close()
    descriptor = os.open(folder / "journal.db", os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def _catch_up(site: _Site, folder: Path, kiosk: bytes, passages: int) -> CaughtUp:
    cpu_before, memory_before = _cpu_s(site.pids), _peak_mb(site.pids)
    command = [sys.executable, "-m", "bench", "sync", "--kiosk", str(folder), str(passages)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    seen: dict[int, float] = {}
    with site.watching() as db:
        while process.poll() is None:
            rows = db.execute("SELECT sequence FROM early_record WHERE kiosk_id = ?", (kiosk,)).fetchall()
            held = db.execute("SELECT sequence FROM journal WHERE kiosk_id = ?", (kiosk,)).fetchone()[0]
            at = time.time()
            for sequence in [s for (s,) in rows if s > passages] + list(range(passages + 1, held + 1)):
                seen.setdefault(sequence, at)
            time.sleep(0.01)
        stored = db.execute("SELECT count(*) FROM journal_record WHERE kiosk_id = ?", (kiosk,)).fetchone()[0]
    assert process.stdout is not None
    told: dict[str, Any] = json.loads(process.stdout.read().splitlines()[-1])
    live = {int(s): at for s, at in told["live"].items()}
    if process.returncode or stored < passages + len(live):
        raise RuntimeError(f"the server holds {stored} of {passages + len(live)} passages")
    made_meanwhile = {s: at for s, at in live.items() if at <= told["done_at"]}
    delays = [seen[s] - at for s, at in made_meanwhile.items()]
    doors = [told["door_ms"][str(s)] for s in made_meanwhile]
    return CaughtUp(
        seconds=told["seconds"],
        per_s=passages / told["seconds"],
        exchanges=told["exchanges"],
        kiosk_cpu_us=told["cpu_s"] / passages * 1e6,
        server_cpu_us=(_cpu_s(site.pids) - cpu_before) / passages * 1e6,
        kiosk_peak_mb=told["peak_mb"],
        kiosk_before_mb=told["before_mb"],
        server_peak_mb=_peak_mb(site.pids),
        server_before_mb=memory_before,
        live_passages=len(delays),
        live_p50_s=statistics.median(delays),
        live_max_s=max(delays),
        door_p50_ms=statistics.median(doors),
        door_max_ms=max(doors),
    )


def _be_the_kiosk(folder: Path, passages: int) -> int:
    """Sync what waits, and let somebody pass now and then; tells how it went as JSON."""
    identity = load_identity(folder)
    assert identity is not None
    journal = Journal(folder / "journal.db", identity.enrolment.kiosk, identity.vault.seal[0].load())
    clock = KioskClock()
    syncer = Syncer(identity, journal, BundleStore(folder / "bundle", identity.enrolment), clock, SyncSettings())
    journal.on_append = lambda stored: syncer.wake()
    before_mb, cpu_before = _peak_mb([os.getpid()]), _own_cpu_s()
    live: dict[int, float] = {}
    door_ms: dict[int, float] = {}
    started = time.perf_counter()
    syncer.start()
    next_at = started
    while journal.held()[0] < passages:
        if time.perf_counter() >= next_at:
            began = time.perf_counter()
            stored = journal.append(identity.enrolment.place, clock.stamp(), PASSAGE, _somebody(1), day="today")
            live[stored.sequence] = time.time()
            door_ms[stored.sequence] = (time.perf_counter() - began) * 1000
            next_at += LIVE_EVERY_S
        time.sleep(0.005)
    seconds, done_at, cpu_s = time.perf_counter() - started, time.time(), _own_cpu_s() - cpu_before
    _until(lambda: journal.unsent_count() == 0)
    exchanges = syncer.status().exchanges
    syncer.stop()
    journal.close()
    told = {
        "seconds": seconds,
        "done_at": done_at,
        "exchanges": exchanges,
        "cpu_s": cpu_s,
        "before_mb": before_mb,
        "peak_mb": _peak_mb([os.getpid()]),
        "live": live,
        "door_ms": door_ms,
    }
    print(json.dumps(told))
    return 0


def _until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not is_so():
        if time.monotonic() > until:
            raise RuntimeError("the last passages did not get through")
        time.sleep(0.01)


def _own_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _cpu_s(pids: list[int]) -> float:
    from bench.posting import cpu_s as of_one

    return sum(of_one(pid) for pid in pids)


def _peak_mb(pids: list[int]) -> float:
    """The largest peak of resident memory among *pids*."""
    peaks = []
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                peaks.append(int(line.split()[1]) / 1024)
    return max(peaks)
