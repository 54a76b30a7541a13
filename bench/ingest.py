"""How fast the server takes passages in, over HTTP and committed, beside the bare engines and beside Datasette.

Ours: real uploads of many kiosks, signed by their device keys, posted to waitress on loopback; the server verifies the
signature, the chain and each header, appends in one transaction, signs a receipt. Beside it, in turns within one run:

raw     the very same rows, in the same batches, into a table with the same columns and indexes: `executemany`
        (SQLite, WAL, synchronous=FULL) or binary COPY (PostgreSQL, fsync on), one commit a batch, nothing checked
peer    Datasette's JSON insert of the same rows into the same table over HTTP (SQLite)
"""

from __future__ import annotations

import argparse
import base64
import dataclasses
import itertools
import json
import os
import platform
import secrets
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select, text

from bench.posting import free_port, post_all, wait_for
from config.server import ServerSettings
from protocol import signed
from protocol.exchange import CONTENT_TYPE, EXCHANGE_PATH, Answer, Upload
from protocol.journal import Record, genesis
from protocol.passage import ClockConfidence, Header, Personal, Place, Stamp, Temperature
from protocol.sealing import EpochSealer, SealPublicKey
from server import create_app
from server.context import House, utc_now
from server.db import LOG_PAGES, Database
from server.ingest.devices import to_ms
from server.ingest.models import JournalRecord
from server.ingest.partitions import day_of, ensure_days
from server.kiosks.models import Kiosk
from server.migrations import upgrade
from server.setup import initialise
from server.web import logs, metrics, serving
from tests.postgres import Cluster, programs
from tests.server.ingest.fleet import PASSAGE, VaultKeyRing
from tests.server.people import LIBRARY, furnish

FLOOR_OF_RAW = 0.35
FLOOR_OF_PEER = {50: 2.0, 200: 2.0, 500: 1.2}
ROWS_A_TURN = 12_000
DAYS = 14  # over which stored records are spread
CONNECTIONS = 4  # at once; the records of one kiosk always travel in order
LASTING = {"fsync": "on", "synchronous_commit": "on", "shared_buffers": "256MB", "max_wal_size": "2GB"}
COLUMNS = tuple(JournalRecord.__table__.columns.keys())
BENCH_PYTHON = Path(__file__).parents[1] / ".venv-bench" / "bin" / "python"

type_of = {"LargeBinary": "bytea", "BigInteger": "int8", "Integer": "int4", "SmallInteger": "int2", "String": "varchar"}
COPY_TYPES = [type_of[type(column.type).__name__] for column in JournalRecord.__table__.columns]


def run(argv: list[str]) -> int:
    """Run; exit code 1 when a floor is missed."""
    if argv[:1] == ["--serve"]:
        return _serve(Path(argv[1]), argv[2], int(argv[3]))
    parser = argparse.ArgumentParser(prog="./run bench ingest", description=__doc__)
    parser.add_argument("--batch", type=int, nargs="*", default=[50, 200, 500], help="records in one upload")
    parser.add_argument("--turns", type=int, default=5, help="turns of each contestant, taken in rotation")
    parser.add_argument("--store", choices=("sqlite", "postgresql", "both"), default="both")
    parser.add_argument(
        "--stored",
        type=int,
        nargs="*",
        default=[],
        help="instead: ours alone at the second of the batches, with so many records stored before, in rising order; it"
        " needs 350 bytes a record, and a minute for some five million",
    )
    args = parser.parse_args(argv)
    stores = ["sqlite", "postgresql"] if args.store == "both" else [args.store]
    if "postgresql" in stores and programs() is None:
        print("PostgreSQL is not installed: its half is left out (apt-get install postgresql)", file=sys.stderr)
        stores.remove("postgresql")
    if "sqlite" in stores and not BENCH_PYTHON.exists():
        print("Datasette is not installed: the peer is left out (./run bench ingest installs it)", file=sys.stderr)
    results = []
    if args.stored:
        for store in stores:
            results += _flat(store, (args.batch[1:2] or args.batch)[0], sorted(args.stored), args.turns)
        _write("ingest-stored.json", results)
        return 0
    heads = ("ours/s", "raw/s", "of raw", "peer/s", "x peer", "cpu us", "raw cpu", "peer cpu", "client")
    print(f"{'store':<12}{'batch':>6}" + "".join(f"{head:>10}" for head in heads))
    for store in stores:
        results += [_compare(store, batch, args.turns) for batch in args.batch]
    _write("ingest.json", results)
    missed = [r for r in results if not _is_met(r)]
    for r in missed:
        print(f"missed: {r['store']} at {r['batch']} a batch", file=sys.stderr)
    return 1 if missed else 0


def _write(name: str, results: list[dict[str, Any]]) -> None:
    result = {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "results": results}
    (Path(__file__).parent / "results" / name).write_text(json.dumps(result, indent=1), encoding="utf-8")


def _is_met(r: dict[str, Any]) -> bool:
    peer = r.get("of_peer")
    return r["of_raw"] >= FLOOR_OF_RAW and (peer is None or peer >= FLOOR_OF_PEER.get(r["batch"], 0))


def _house(stack: ExitStack, store: str) -> tuple[Path, Cluster | None, Site, list[Sender]]:
    """A server on *store* in a folder of its own, with eight kiosks; all of it goes with *stack*."""
    folder = Path(tempfile.mkdtemp(prefix="gatehouse-ingest-"))
    stack.callback(shutil.rmtree, folder)
    cluster = None
    if store == "postgresql":
        cluster = Cluster(LASTING)
        stack.callback(cluster.close)
    site = stack.enter_context(_site(folder, cluster))
    return folder, cluster, site, [Sender.make(site, number) for number in range(8)]


def _flat(store: str, batch: int, stored: Sequence[int], turns: int) -> list[dict[str, Any]]:
    """What a passage costs with so many stored: in one database that is filled further between the sizes."""
    print(f"{'store':<12}{'stored':>12}{'ours/s':>10}{'server cpu us':>15}{'ms a batch':>12}{'filled in s':>13}")
    results = []
    with ExitStack() as stack:
        folder, cluster, site, fleet = _house(stack, store)
        who = itertools.cycle(fleet)
        held = 0
        for size in [0, *stored]:
            began = time.monotonic()
            _fill(site.house, held, size)
            held, filled_s = max(held, size), time.monotonic() - began
            times: list[tuple[float, float]] = []
            count = max(1, ROWS_A_TURN // batch)
            for turn in range(turns + 1):  # the first one warms up
                used = site.send([next(who).upload(batch) for _ in range(count)])
                if turn:
                    times.append(used[:2])
            seconds = statistics.median(one for one, _ in times)
            cpu_us = statistics.median(one for _, one in times) / (count * batch) * 1e6
            rate = round(count * batch / seconds)
            a_batch = seconds / count * 1000
            print(f"{store:<12}{held:>12,}{rate:>10,}{cpu_us:>15.1f}{a_batch:>12.2f}{filled_s:>13.0f}", flush=True)
            results.append(
                {"store": store, "batch": batch, "stored": held, "ours_per_s": rate, "server_cpu_us": cpu_us}
            )
    return results


def _compare(store: str, batch: int, turns: int) -> dict[str, Any]:
    """Everybody's turns at one size of batch."""
    uploads_a_turn = max(1, ROWS_A_TURN // batch)
    with ExitStack() as stack:
        folder, cluster, site, fleet = _house(stack, store)
        ours: list[float] = []
        cpu: list[float] = []
        raw: list[float] = []
        raw_cpu: list[float] = []
        peer: list[float] = []
        peer_cpu: list[float] = []
        client: list[float] = []
        bare = stack.enter_context(_raw(folder, cluster))
        datasette = None
        if store == "sqlite" and BENCH_PYTHON.exists():
            datasette = stack.enter_context(_datasette(folder))
        who = itertools.cycle(fleet)
        for turn in range(turns + 1):  # the first one warms up
            uploads = [next(who).upload(batch) for _ in range(uploads_a_turn)]
            seconds, cpu_s, client_s = site.send(uploads)
            rows = site.rows_of(uploads)
            seconds_raw, cpu_raw = _timed(bare, rows)
            seconds_peer, cpu_peer = datasette([_as_json(part) for part in rows]) if datasette else (0.0, 0.0)
            if turn == 0:
                continue
            total = uploads_a_turn * batch
            ours.append(total / seconds)
            cpu.append(cpu_s / total * 1e6)
            client.append(client_s / total * 1e6)
            raw.append(total / seconds_raw)
            raw_cpu.append(cpu_raw / total * 1e6)
            if seconds_peer:
                peer.append(total / seconds_peer)
                peer_cpu.append(cpu_peer / total * 1e6)
        result: dict[str, Any] = {
            "store": store,
            "batch": batch,
            "ours_per_s": round(statistics.median(ours)),
            "server_cpu_us": round(statistics.median(cpu), 1),
            "client_cpu_us": round(statistics.median(client), 1),
            "raw_per_s": round(statistics.median(raw)),
            "raw_cpu_us": round(statistics.median(raw_cpu), 1),
            "of_raw": round(statistics.median(a / b for a, b in zip(ours, raw, strict=True)), 3),
        }
        if peer:
            result["peer_per_s"] = round(statistics.median(peer))
            result["peer_cpu_us"] = round(statistics.median(peer_cpu), 1)
            result["of_peer"] = round(statistics.median(a / b for a, b in zip(ours, peer, strict=True)), 2)
        names = ("ours_per_s", "raw_per_s", "of_raw", "peer_per_s", "of_peer")
        names += ("server_cpu_us", "raw_cpu_us", "peer_cpu_us", "client_cpu_us")
        print(f"{store:<12}{batch:>6}" + "".join(f"{result.get(name, '-'):>10}" for name in names), flush=True)
        return result


def _timed(contestant: Callable[[Any], None], batches: Sequence[Any]) -> tuple[float, float]:
    cpu, started = time.process_time(), time.perf_counter()
    for one in batches:
        contestant(one)
    return time.perf_counter() - started, time.process_time() - cpu


# -- ours --------------------------------------------------------------------------------------------------------------


@dataclass
class Site:
    """The server as its own process, and this process's own eyes on its database."""

    house: House
    port: int
    process: subprocess.Popen[bytes]
    seal: SealPublicKey

    def send(self, uploads: Sequence[Posted]) -> tuple[float, float, float]:
        """Post them, each kiosk in order; seconds by the clock, of the server's processor, and of this client's."""
        headers = {"Content-Type": CONTENT_TYPE, "Host": "localhost"}
        by_connection: list[list[Posted]] = [[] for _ in range(CONNECTIONS)]
        for posted in uploads:
            by_connection[posted.number % CONNECTIONS].append(posted)
        client_s = time.process_time()
        seconds, used, answers = post_all(
            self.port, self.process.pid, EXCHANGE_PATH, headers, [[p.body for p in some] for some in by_connection]
        )
        client_s = time.process_time() - client_s  # checking the answers is not in it, nor in the clock's
        uploads = [posted for some in by_connection for posted in some]
        server = self.house.keys.server_identity().public_key()
        for posted, (status, body) in zip(uploads, answers, strict=True):
            answer = Answer.from_signed(body, server, posted.body) if status == 200 else None
            if answer is None or answer.result != "ok" or answer.quarantined or answer.want != posted.last + 1:
                raise RuntimeError(f"not taken: {status} {answer}")
        return seconds, used, client_s

    def rows_of(self, uploads: Sequence[Posted]) -> list[list[tuple[Any, ...]]]:
        """What the server made of *uploads*: a batch's rows each, as they lie in the table."""
        table = JournalRecord.__table__
        batches = []
        with self.house.database.reading() as reading:
            for posted in uploads:
                found = reading.execute(
                    select(table).where(
                        table.c.kiosk_id == posted.kiosk, table.c.sequence.between(posted.first, posted.last)
                    )
                )
                batches.append([tuple(row) for row in found])
                if len(batches[-1]) != posted.last - posted.first + 1:
                    raise RuntimeError("a receipted record is not in the table")
        return batches


@dataclass(frozen=True)
class Posted:
    """One upload, ready to send."""

    number: int  # of its sender
    body: bytes
    kiosk: bytes
    first: int
    last: int


@dataclass
class Sender:
    """A kiosk's key and journal head; makes uploads of passages as kiosks do."""

    number: int
    key: Ed25519PrivateKey
    sealer: EpochSealer
    kiosk: bytes
    sequence: int = 0
    head: bytes = b""
    boot: bytes = field(default_factory=lambda: secrets.token_bytes(8))
    mono_ms: int = 1000

    @staticmethod
    def make(site: Site, number: int) -> Sender:
        key = Ed25519PrivateKey.generate()
        kiosk = signed.key_id(key.public_key())
        with site.house.database.writing() as writing:
            writing.add(
                Kiosk(
                    id=kiosk,
                    venue_id=LIBRARY,
                    entrance=1,
                    name=f"bench {number}",
                    public_key=key.public_key().public_bytes_raw(),
                    state="active",
                    enrolled_at=utc_now(),
                )
            )
        return Sender(number, key, EpochSealer(kiosk, site.seal, os.urandom(48)), kiosk, head=genesis(kiosk))

    def upload(self, count: int) -> Posted:
        """The next *count* passages."""
        after, after_hash, records = self.sequence, self.head, []
        now_ms = to_ms(utc_now())
        for _ in range(count):
            self.sequence += 1
            stamp = Stamp(now_ms, self.mono_ms, self.boot, ClockConfidence.SYNCED)
            facts = dataclasses.replace(PASSAGE, method="infrared", issuer="510000-1")
            header = Header(self.sequence, Place(self.kiosk, LIBRARY, 1), stamp, facts).to_bytes()
            personal = Personal(
                name="欧**",
                pseudonym=secrets.token_bytes(8),
                cti=secrets.token_bytes(8),
                identity_sealed=secrets.token_bytes(140),
                temperature=Temperature("infrared", 35.1, 22.0, 36.61),
            )
            sealed = self.sealer.seal(self.sequence, header, personal.to_bytes())
            record = Record(
                self.sequence, self.sealer.epoch, self.sealer.wrapped if self.sequence == 1 else b"", header, sealed
            )
            self.head = record.hash_after(self.head)
            records.append(record)
        self.mono_ms += 30_000
        upload = Upload(
            kiosk=self.kiosk,
            exchange=secrets.token_bytes(16),
            sent_at_ms=now_ms,
            mono_ms=self.mono_ms,
            boot=self.boot,
            after_sequence=after,
            after_hash=after_hash,
            records=tuple(records),
            head_sequence=self.sequence,
            oldest_unsent_ms=now_ms,
            bundle_version=1,
            app_version="0.1",
            health=(("camera", "live"), ("thermometer", "live")),
        )
        return Posted(self.number, upload.to_bytes(self.key), self.kiosk, after + 1, self.sequence)


@contextmanager
def _site(folder: Path, cluster: Cluster | None) -> Iterator[Site]:
    url = cluster.url(cluster.create()) if cluster else ""
    settings = ServerSettings(public_url="http://localhost", data_dir=folder / "data", database_url=url)
    initialise(settings, now=utc_now())
    app = create_app(settings)
    house: House = app.extensions["gatehouse"]
    with app.app_context():
        furnish(house)
    vault = VaultKeyRing()
    settings.vault_public_path.write_bytes(vault.exported)
    port = free_port()
    command = [sys.executable, "-m", "bench", "ingest", "--serve", str(folder), url, str(port)]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_for(port, process)
        yield Site(house, port, process, vault.seal.load())
    finally:
        process.terminate()
        process.wait(30)
        house.database.engine.dispose()


def _serve(folder: Path, url: str, port: int) -> int:
    """`gatehouse server` as it comes, with its processes, threads, log and counters, until it is terminated."""
    settings = ServerSettings(public_url="http://localhost", data_dir=folder / "data", database_url=url)
    logs.start(settings.operations.log_format)
    metrics.share_between_processes()
    serving.serve(settings, "127.0.0.1", port)
    return 0


def _fill(house: House, held: int, count: int) -> None:
    """Store made-up records of other kiosks from number *held* up to *count*, 10,000 of each, over fourteen days."""
    is_postgresql = house.database.is_postgresql
    today = day_of(utc_now())
    if is_postgresql:
        ensure_days(house.database.engine, today - DAYS + 1, DAYS)

    def blob(size: int) -> str:
        if is_postgresql:
            return f"substring(decode(repeat(md5(n::text), {size // 16 + 1}), 'hex') FOR {size})"
        return f"randomblob({size})"

    number = "n / 10000"
    kiosk = f"int8send({number})" if is_postgresql else f"CAST(printf('%08d', {number}) AS BLOB)"
    venue = f"substring(int8send({number}) FROM 3)" if is_postgresql else f"CAST(printf('%06d', {number}) AS BLOB)"
    day = f"{today} - (n / 10000) % {DAYS}"
    values = {
        "kiosk_id": kiosk,
        "sequence": "n % 10000 + 1",
        "received_day": day,
        "received_at_ms": "1700000000000 + n",
        "kind": "1",
        "epoch": blob(16),
        "header": blob(60),
        "sealed": blob(80),
        "hash": blob(32),
        "venue_id": venue,
        "entrance": "1",
        "at_ms": "1700000000000 + n",
        "clock": "1",
        "outcome": "'admit'",
        "mode": "'scan'",
        "direction": "'in'",
        "credential": "'health_code'",
        "measured": "'normal'",
        "colour": "1",
    }
    step = 500_000
    for first in range(held, count, step):
        last = min(count, first + step) - 1
        source = f"SELECT generate_series({first}, {last})::int8 AS n"
        if not is_postgresql:
            source = (
                f"WITH RECURSIVE generated(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM generated"
                f" WHERE n < {last}) SELECT n FROM generated"
            )
        names, columns = ", ".join(values), ", ".join(values.values())
        with house.database.engine.execution_options(gatehouse_writes=True).begin() as connection:
            if is_postgresql:
                connection.execute(text("SET LOCAL statement_timeout = 0"))
                connection.execute(text("SET LOCAL synchronous_commit = off"))
            driver: Any = connection.connection.driver_connection  # with no values to give, a % is a %
            driver.execute(f"INSERT INTO journal_record ({names}) SELECT {columns} FROM ({source}) AS s")
    if is_postgresql and count:
        with house.database.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(text("SET statement_timeout = 0"))
            connection.execute(text("ANALYZE journal_record"))
            connection.execute(text("CHECKPOINT"))
            connection.execute(text("RESET statement_timeout"))


# -- the bare engines --------------------------------------------------------------------------------------------------


@contextmanager
def _raw(folder: Path, cluster: Cluster | None) -> Iterator[Callable[[list[tuple[Any, ...]]], None]]:
    """One batch of rows into a table like ours, committed; nothing else."""
    url = cluster.url(cluster.create()) if cluster else f"sqlite:///{folder / 'raw.db'}"
    database = Database(url)
    upgrade(database.engine)
    ensure_days(database.engine, day_of(utc_now()))
    database.engine.dispose()
    names = ", ".join(COLUMNS)
    if cluster is None:
        db = sqlite3.connect(folder / "raw.db", isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute(f"PRAGMA wal_autocheckpoint={LOG_PAGES}")
        statement = f"INSERT INTO journal_record ({names}) VALUES ({', '.join('?' * len(COLUMNS))})"

        def insert_rows(rows: list[tuple[Any, ...]]) -> None:
            db.execute("BEGIN IMMEDIATE")
            db.executemany(statement, rows)
            db.execute("COMMIT")

        yield insert_rows
        db.close()
        return
    with psycopg.connect(url.replace("+psycopg", "")) as connection:

        def copy_rows(rows: list[tuple[Any, ...]]) -> None:
            with connection.cursor() as cursor:
                with cursor.copy(f"COPY journal_record ({names}) FROM STDIN (FORMAT BINARY)".encode()) as copy:
                    copy.set_types(COPY_TYPES)
                    for row in rows:
                        copy.write_row(row)
            connection.commit()

        yield copy_rows


# -- the peer ----------------------------------------------------------------------------------------------------------


def _as_json(rows: list[tuple[Any, ...]]) -> bytes:
    """The body Datasette takes; made before the clock starts, as our uploads are."""

    def value(item: Any) -> Any:
        return {"$base64": True, "encoded": base64.b64encode(item).decode()} if isinstance(item, bytes) else item

    return json.dumps({"rows": [{k: value(v) for k, v in zip(COLUMNS, row, strict=True)} for row in rows]}).encode()


@contextmanager
def _datasette(folder: Path) -> Iterator[Callable[[list[bytes]], tuple[float, float]]]:
    database = Database(f"sqlite:///{folder / 'peer.db'}")
    upgrade(database.engine)  # the same table with the same indexes, and the file in WAL mode as ours is
    database.engine.dispose()
    config = folder / "datasette.json"
    config.write_text(json.dumps({"databases": {"peer": {"permissions": {"insert-row": True}}}}))
    port = free_port()
    command = [str(BENCH_PYTHON), "-m", "datasette", "serve", str(folder / "peer.db"), "-c", str(config)]
    command += ["--port", str(port), "--setting", "max_insert_rows", "1000"]
    with (folder / "datasette.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    path, headers = "/peer/journal_record/-/insert", {"Content-Type": "application/json", "Host": "localhost"}

    def post(bodies: list[bytes]) -> tuple[float, float]:
        shares = [bodies[n::CONNECTIONS] for n in range(CONNECTIONS)]
        seconds, used, answers = post_all(port, process.pid, path, headers, shares)
        for status, told in answers:
            if status != 201:
                raise RuntimeError(f"Datasette: {status} {told[:300]!r}")
        return seconds, used

    try:
        wait_for(port, process)
        yield post
    finally:
        process.terminate()
        process.wait(30)
