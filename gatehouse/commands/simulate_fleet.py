"""Thousands of simulated kiosks against a real server over HTTP: how long exchanges take, and that nothing is lost.

gatehouse simulate --fleet --config server.toml --server URL --kiosks 3000 --interval 30 --minutes 5

Each kiosk exchanges every --interval seconds, on a new connection, with real signatures and sealed passages; a slow
answer never makes the others wait, and its latency counts from the moment it was due. --twice of the exchanges are sent
a second time, as after a receipt that got lost. How many people come follows each sort of venue's day from --from on;
--speed 60 lets an hour of that day pass in a minute.

--config names the server's settings: the kiosks are registered in its database (with venues of their own), and at
the end every receipt is compared with what the database holds. A server with kiosks of its own is refused: simulated
people do not belong among real ones.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import random
import ssl
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import func, select

from config.errors import GatehouseError
from config.server import load_server_settings
from gatehouse.commands.simulate_kiosks import (
    PROVINCE_A_DAY,
    SORTS,
    FleetKiosk,
    arrivals_a_second,
    percentile,
    some_arrivals,
)
from protocol.errors import ProtocolError
from protocol.exchange import CONTENT_TYPE, EXCHANGE_PATH
from server import create_app
from server.areas.models import Area
from server.context import House
from server.ingest.models import Journal, JournalRecord
from server.kiosks.models import Kiosk, KioskState
from server.migrations import check_current
from server.vault_keys import read_vault_keys
from server.venues.models import Entrance, Venue

KIOSKS_A_VENUE = 4
NAME = "simulated "  # what the names of simulated kiosks begin with; no real kiosk's does
TIMEOUT_S = 30.0  # of one exchange
AT_ONCE = 1000  # rows of one insert, ids of one count
OPEN_AT_ONCE = 800  # sockets; the usual limit is 1024 files
TOLD_EVERY_S = 10.0
DRAIN_ROUNDS = 5  # further exchanges for kiosks that still hold something at the end

_Says = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """How a fleet behaves."""

    server: str
    interval_s: float
    seconds: float
    a_day: float = PROVINCE_A_DAY
    begin_hour: float = 8.0
    speed: float = 1.0
    twice: float = 0.01
    seed: int = 1


@dataclass(frozen=True, slots=True)
class FleetReport:
    """What became of everything that was sent."""

    kiosks: int
    exchanges: int
    seconds: float
    exchanges_a_s: float
    passages: int  # written
    receipted: int
    held: int  # rows in the server's database
    lost: int  # receipted and not held, or written and still without a receipt at the end
    doubled: int  # rows beyond one for each sequence
    forged: int  # kiosks whose chain the server holds with another hash
    quarantined: int
    errors: dict[str, int]
    p50_ms: float
    p95_ms: float
    p99_ms: float
    most_ms: float

    @property
    def is_whole(self) -> bool:
        """Whether every exchange was answered, and every passage is held once."""
        return not (self.errors or self.lost or self.doubled or self.forged or self.quarantined)


@dataclass(slots=True)
class Tally:
    """What the exchanges of one run came to."""

    waits_s: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)


def run(args: argparse.Namespace) -> int:
    """Register, simulate, count; see the module's docstring."""
    if args.config is None or args.server is None:
        raise GatehouseError("A fleet needs --config FILE and --server URL.", hint="See: gatehouse simulate --help")
    if args.kiosks < 1 or args.interval <= 0 or args.minutes <= 0 or args.speed <= 0 or args.a_day < 0:
        raise GatehouseError(
            "--kiosks, --interval, --minutes and --speed must be above 0.", hint="See: gatehouse simulate --help"
        )
    if not 0 <= args.twice <= 1:
        raise GatehouseError("--twice is a share between 0 and 1.", hint="0.01 sends every hundredth again.")
    plan = FleetPlan(
        server=args.server,
        interval_s=args.interval,
        seconds=args.minutes * 60,
        a_day=args.a_day,
        begin_hour=_hour(args.begin),
        speed=args.speed,
        twice=args.twice,
    )
    app = create_app(load_server_settings(args.config))
    house: House = app.extensions["gatehouse"]
    check_current(house.database.engine)
    with app.app_context():
        fleet = register(house, args.kiosks)
    report = simulate(house, fleet, plan, says=lambda line: print(line, file=sys.stderr))
    print(json.dumps(dataclasses.asdict(report)) if args.json else described(report))
    return 0 if report.is_whole else 1


def _hour(text: str) -> float:
    hours, _, minutes = text.partition(":")
    if not (hours.isdecimal() and minutes.isdecimal() and int(hours) < 24 and int(minutes) < 60):
        raise GatehouseError(f"--from is {text!r}; expected HH:MM.", hint="For example: --from 07:30")
    return int(hours) + int(minutes) / 60


def register(house: House, count: int) -> list[FleetKiosk]:
    """Make *count* kiosks in new venues and write them into the database as enrolled devices.

    Raises GatehouseError when the server has kiosks that are not simulated, no area, or no vault keys.
    """
    with house.database.reading() as reading:
        real = reading.scalars(select(Kiosk.id).where(~Kiosk.name.startswith(NAME)).limit(1)).first()
        area = reading.scalars(select(Area.code).order_by(func.length(Area.path).desc(), Area.code).limit(1)).first()
    if real is not None:
        raise GatehouseError(
            "This server has real kiosks; simulated people do not belong among theirs.",
            hint="Make a server of its own for the simulation: another data_dir or database_url.",
            code="real_kiosks",
        )
    if area is None:
        raise GatehouseError("This server has no area.", hint="gatehouse admin import-areas, or seed-demo, first.")
    vault = read_vault_keys(house.settings.vault_public_path, house.settings.vault.fingerprint)
    seal = vault.keys.seal[0].load()
    now, fleet = house.now(), []
    for first in range(0, count, AT_ONCE):
        with house.database.writing() as writing:
            for number in range(first, min(count, first + AT_ONCE)):
                if number % KIOSKS_A_VENUE == 0:
                    sort = SORTS[number // KIOSKS_A_VENUE % len(SORTS)]
                    venue = Venue(
                        area_code=area,
                        name_zh=f"模拟场所 {number:05d}",
                        name_en=f"Simulated venue {number:05d}",
                        address="—",
                        category=sort,
                        created_at=now,
                        entrances=[Entrance(number=1, name_zh="东门", name_en="East gate")],
                    )
                    writing.add(venue)
                    writing.flush()
                kiosk = FleetKiosk.make(venue.id, sort, seal)
                public = kiosk.key.public_key().public_bytes_raw()
                writing.add(
                    Kiosk(
                        id=kiosk.id,
                        venue_id=venue.id,
                        entrance=1,
                        name=f"{NAME}{number:05d}",
                        public_key=public,
                        state=KioskState.ACTIVE.value,
                        enrolled_at=now,
                    )
                )
                fleet.append(kiosk)
    return fleet


def simulate(
    house: House, fleet: Sequence[FleetKiosk], plan: FleetPlan, *, says: _Says = lambda line: None
) -> FleetReport:
    """Run *fleet* by *plan* against the server, then compare every receipt with what the database holds."""
    server = house.keys.server_identity().public_key()
    tally, seconds = asyncio.run(_Run(fleet, plan, server, says).run())
    waits_ms = sorted(wait * 1000 for wait in tally.waits_s)
    held = _held(house, fleet)
    lost = sum(max(0, kiosk.receipted - held[kiosk.id].distinct) + len(kiosk.unsent) for kiosk in fleet)
    return FleetReport(
        kiosks=len(fleet),
        exchanges=len(waits_ms) + tally.errors.total(),
        seconds=round(seconds, 1),
        exchanges_a_s=round(len(waits_ms) / seconds, 1),
        passages=sum(kiosk.written for kiosk in fleet),
        receipted=sum(kiosk.receipted for kiosk in fleet),
        held=sum(one.rows for one in held.values()),
        lost=lost,
        doubled=sum(one.rows - one.distinct for one in held.values()),
        forged=sum(1 for kiosk in fleet if not kiosk.unsent and held[kiosk.id].head != kiosk.head),
        quarantined=sum(kiosk.quarantined for kiosk in fleet),
        errors=dict(tally.errors),
        p50_ms=round(percentile(waits_ms, 50), 1),
        p95_ms=round(percentile(waits_ms, 95), 1),
        p99_ms=round(percentile(waits_ms, 99), 1),
        most_ms=round(waits_ms[-1], 1) if waits_ms else 0.0,
    )


@dataclass(frozen=True, slots=True)
class Held:
    """What the server's database holds of one kiosk."""

    rows: int = 0
    distinct: int = 0
    head: bytes = b""


def _held(house: House, fleet: Sequence[FleetKiosk]) -> dict[bytes, Held]:
    found = {kiosk.id: Held(head=kiosk.head if not kiosk.written else b"") for kiosk in fleet}
    with house.database.reading() as reading:
        for some in _pieces([kiosk.id for kiosk in fleet], AT_ONCE):
            journals = reading.execute(select(Journal.kiosk_id, Journal.head).where(Journal.kiosk_id.in_(some)))
            heads = {row.kiosk_id: row.head for row in journals}
            counted = (
                select(JournalRecord.kiosk_id, func.count(), func.count(JournalRecord.sequence.distinct()))
                .where(JournalRecord.kiosk_id.in_(some))
                .group_by(JournalRecord.kiosk_id)
            )
            for kiosk, rows, distinct in reading.execute(counted):
                found[kiosk] = Held(rows, distinct, heads[kiosk])
    return found


def _pieces(ids: list[bytes], size: int) -> Iterator[list[bytes]]:
    for first in range(0, len(ids), size):
        yield ids[first : first + size]


class _Run:
    """One run: every kiosk's exchanges at their times, on one event loop."""

    def __init__(self, fleet: Sequence[FleetKiosk], plan: FleetPlan, server: Ed25519PublicKey, says: _Says) -> None:
        self._fleet, self._plan, self._server, self._says = fleet, plan, server, says
        self._chance = random.Random(plan.seed)  # noqa: S311  people who come, not keys
        self._tally, self._sockets = Tally(), asyncio.Semaphore(OPEN_AT_ONCE)
        url = urlsplit(plan.server)
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise GatehouseError(f"--server is {plan.server!r}.", hint="Expected http://HOST:PORT or https://HOST.")
        self._host, self._tls = url.hostname, ssl.create_default_context() if url.scheme == "https" else None
        self._port = url.port or (443 if self._tls else 80)
        self._name = url.netloc

    async def run(self) -> tuple[Tally, float]:
        began = time.monotonic()
        teller = asyncio.create_task(self._tell(began))
        await asyncio.gather(*(self._live(n, kiosk, began) for n, kiosk in enumerate(self._fleet)))
        seconds = time.monotonic() - began
        for _ in range(DRAIN_ROUNDS):
            left = [kiosk for kiosk in self._fleet if kiosk.unsent]
            await asyncio.gather(*(self._exchange(kiosk, time.monotonic()) for kiosk in left))
        teller.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await teller
        return self._tally, seconds

    async def _tell(self, began: float) -> None:
        while True:
            await asyncio.sleep(TOLD_EVERY_S)
            waits_ms = sorted(wait * 1000 for wait in self._tally.waits_s)
            told = f"{time.monotonic() - began:.0f} s  exchanges {len(waits_ms)}  p99 {percentile(waits_ms, 99):.0f} ms"
            self._says(f"{told}  errors {self._tally.errors.total()}")

    async def _live(self, number: int, kiosk: FleetKiosk, began: float) -> None:
        """The exchanges of one kiosk; where in the interval they lie is its own, as in a real fleet."""
        plan = self._plan
        due = began + plan.interval_s * (number + self._chance.random()) / len(self._fleet)
        while due < began + plan.seconds:
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            hour = (plan.begin_hour + (due - began) * plan.speed / 3600) % 24
            mean = arrivals_a_second(kiosk.sort, plan.a_day, hour) * plan.interval_s * plan.speed
            kiosk.people_come(some_arrivals(mean, self._chance), _now_ms(), self._chance)
            await self._exchange(kiosk, due)
            due += plan.interval_s

    async def _exchange(self, kiosk: FleetKiosk, due: float) -> None:
        """One exchange, and now and then the same once more; what has no receipt goes with the next one."""
        body = kiosk.upload(_now_ms())
        for _ in range(2 if self._chance.random() < self._plan.twice else 1):
            try:
                async with self._sockets, asyncio.timeout(TIMEOUT_S):
                    status, answer = await self._post(body)
                if status != 200:
                    self._tally.errors[f"http_{status}"] += 1
                    return
                kiosk.take(answer, body, self._server)
            except ProtocolError as error:
                self._tally.errors[error.code] += 1
                return
            except TimeoutError:
                self._tally.errors["timeout"] += 1
                return
            except (OSError, asyncio.IncompleteReadError, ValueError) as error:
                self._tally.errors[type(error).__name__] += 1
                return
            self._tally.waits_s.append(time.monotonic() - due)
            due = time.monotonic()  # sent again at once: that one counts from now

    async def _post(self, body: bytes) -> tuple[int, bytes]:
        """Post on a connection of its own: kiosks speak once in 30 s, and no server keeps them that long."""
        reader, writer = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
        try:
            writer.write(
                f"POST {EXCHANGE_PATH} HTTP/1.1\r\nHost: {self._name}\r\nContent-Type: {CONTENT_TYPE}\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
                + body
            )
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            return int(head[0].split(" ")[1]), await reader.readexactly(int(fields["content-length"]))
        except (IndexError, KeyError) as error:
            raise ValueError("not an HTTP answer with a length") from error
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def described(report: FleetReport) -> str:
    """The report in a few lines."""
    errors = ", ".join(f"{name} {count}" for name, count in sorted(report.errors.items())) or "none"
    return "\n".join(
        (
            f"{report.kiosks} kiosks, {report.exchanges} exchanges in {report.seconds} s:"
            f" {report.exchanges_a_s} a second",
            f"latency  p50 {report.p50_ms} ms  p95 {report.p95_ms} ms  p99 {report.p99_ms} ms"
            f"  most {report.most_ms} ms",
            f"passages {report.passages}  receipted {report.receipted}  held {report.held}",
            f"lost {report.lost}  doubled {report.doubled}  other chain {report.forged}  quarantined"
            f" {report.quarantined}  errors {errors}",
        )
    )
