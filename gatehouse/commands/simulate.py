"""Be a headless kiosk: enrol with a code, write real sealed passages to a journal on disk, sync them with the server.

gatehouse simulate --server URL --enrol GHE1:... --passages 1000            as fast as disk and server go
gatehouse simulate --server URL --enrol GHE1:... --passages 600 --rate 10   ten passages a second
gatehouse simulate --dir DIR --passages 100                                 go on as a kiosk that was kept with --dir
gatehouse simulate --fleet --config server.toml --server URL --kiosks 3000  thousands at once (simulate_fleet.py)

The people are made up; they are sealed to the server's vault like real ones. Progress goes to standard error, the
counts to standard output (one JSON object with --json): passages written and receipted, and how long a passage took
from its commit on the kiosk's disk to the server's receipt. Exit codes: 0 every passage is receipted, 1 some are not,
2 wrong arguments or surroundings.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from config.errors import GatehouseError
from config.kiosk import SyncSettings
from gatehouse.commands.simulate_kiosks import PROVINCE_A_DAY
from kiosk.bundle_store import BundleStore
from kiosk.clock import KioskClock
from kiosk.enrol import Identity, enrol, load_identity
from kiosk.link_problems import NEED_PEOPLE
from kiosk.store import Journal
from kiosk.syncer import Syncer
from protocol.credentials import enrolment_code
from protocol.errors import ProtocolError
from protocol.exchange import Receipt
from protocol.passage import Facts, Personal, Temperature
from protocol.words import Colour, CredentialKind, Direction, EntryMode, Measured, Outcome

INTERVAL_S = 1.0  # between exchanges when nothing is new
PROGRESS_EVERY_S = 2.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--server", metavar="URL", help="the server's address; default: the one in the code")
    parser.add_argument("--enrol", metavar="CODE", help="the text of an enrolment code from the console, GHE1:...")
    parser.add_argument("--passages", type=int, default=0, metavar="N", help="how many people pass")
    parser.add_argument("--rate", type=float, default=0.0, metavar="R", help="passages a second (default: no limit)")
    parser.add_argument(
        "--dir", type=Path, help="keep the kiosk here (default: a folder that goes when all is receipted)"
    )
    parser.add_argument(
        "--patience", type=float, default=60.0, metavar="S", help="give up when nothing moves this long"
    )
    parser.add_argument("--json", action="store_true", help="the counts as one JSON object")
    _fleet_arguments(parser)


def _fleet_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("a fleet")
    group.add_argument("--fleet", action="store_true", help="many kiosks at once; needs --config and --server")
    group.add_argument("--config", type=Path, metavar="FILE", help="the server's settings, to register and to count")
    group.add_argument("--kiosks", type=int, default=100, metavar="N", help="how many (default: 100)")
    group.add_argument("--interval", type=float, default=30.0, metavar="S", help="between a kiosk's exchanges")
    group.add_argument("--minutes", type=float, default=2.0, metavar="N", help="how long (default: 2)")
    group.add_argument("--a-day", type=float, default=PROVINCE_A_DAY, metavar="N", help="passages a kiosk and day")
    group.add_argument("--from", dest="begin", default="08:00", metavar="HH:MM", help="the simulated time of day")
    group.add_argument("--speed", type=float, default=1.0, metavar="X", help="simulated seconds in one second")
    group.add_argument("--twice", type=float, default=0.01, metavar="SHARE", help="exchanges sent a second time")


@dataclass(frozen=True, slots=True)
class Report:
    """What a simulated kiosk did."""

    kiosk: str
    written: int
    receipted: int
    quarantined: int
    seconds: float
    p50_ms: float | None  # from commit to receipt
    p95_ms: float | None
    problem: str | None

    @property
    def is_whole(self) -> bool:
        """Whether every passage is receipted, and none kept apart."""
        return self.written == self.receipted and self.quarantined == 0


def run(args: argparse.Namespace) -> int:
    """Simulate, then print the counts; see the module's docstring."""
    if args.fleet:
        # imported here: it needs the server's packages, which an entrance does not have
        code: int = importlib.import_module("gatehouse.commands.simulate_fleet").run(args)
        return code
    if args.passages < 1 or args.rate < 0 or args.patience <= 0:
        raise GatehouseError(
            "--passages is at least 1, --rate not negative, --patience above 0.", hint="See: gatehouse simulate --help"
        )
    if args.dir is not None:
        report = _simulate(_identity(args.dir, args), args.dir, args)
    else:
        report = _in_passing(args)
    if args.json:
        print(json.dumps(dataclasses.asdict(report)))
    else:
        _print(report)
    return 0 if report.is_whole else 1


def _in_passing(args: argparse.Namespace) -> Report:
    """Simulate in a folder that goes again, unless it holds the only copy of something."""
    folder = Path(tempfile.mkdtemp(prefix="gatehouse-simulated-"))
    try:
        identity = _identity(folder, args)
    except GatehouseError:
        shutil.rmtree(folder)
        raise
    report = _simulate(identity, folder, args)
    if report.is_whole:
        shutil.rmtree(folder)
    else:
        print(f"the journal with what is unsent stays in {folder}", file=sys.stderr)
    return report


def _identity(folder: Path, args: argparse.Namespace) -> Identity:
    identity = load_identity(folder) if folder.exists() else None
    if identity is None:
        if not args.enrol:
            raise GatehouseError(
                f"{folder} is not an enrolled kiosk.", hint="Make a code in the console and give it with --enrol."
            )
        enrol(folder, _with_address(args.enrol, args.server))
        identity = load_identity(folder)
        if identity is None:
            raise GatehouseError(f"{folder} does not keep files.", hint="Choose another folder with --dir.")
    return identity


def _with_address(text: str, server: str | None) -> str:
    """The code, leading to *server* when one was given; its keys stay."""
    if not server:
        return text
    try:
        code = enrolment_code.parse(text.strip())
        return enrolment_code.make(dataclasses.replace(code, server_url=server.rstrip("/")))
    except ProtocolError as error:
        raise GatehouseError(f"{error}", hint="Check --enrol and --server.") from error


class _TimedJournal(Journal):
    """A journal that notes how long each passage waited for its receipt."""

    def watch(self) -> None:
        """Begin to take notes."""
        self.waits_s: list[float] = []
        self._committed_s: dict[int, float] = {}
        self._noted = self.head()[0]
        self._times = threading.Lock()

    def note(self, sequence: int) -> None:
        """A passage was committed just now."""
        with self._times:
            self._committed_s[sequence] = time.monotonic()

    def accept_receipt(self, receipt: Receipt, signed: bytes) -> None:
        """Take the receipt, and note the waits that it ends."""
        super().accept_receipt(receipt, signed)
        now_s = time.monotonic()
        with self._times:
            for sequence in range(self._noted + 1, receipt.sequence + 1):
                if sequence in self._committed_s:
                    self.waits_s.append(now_s - self._committed_s.pop(sequence))
            self._noted = max(self._noted, receipt.sequence)


def _simulate(identity: Identity, folder: Path, args: argparse.Namespace) -> Report:
    journal = _TimedJournal(folder / "journal.db", identity.enrolment.kiosk, identity.vault.seal[0].load())
    journal.watch()
    before, clock = journal.head()[0], KioskClock(journal.last_stamp_ms())
    bundles = BundleStore(folder / "bundle", identity.enrolment)
    syncer = Syncer(identity, journal, bundles, clock, SyncSettings(interval_s=INTERVAL_S))
    journal.on_append = lambda stored: syncer.wake()
    began_s = time.monotonic()
    syncer.start()
    try:
        for number, person in zip(range(args.passages), _people(), strict=False):
            if args.rate:
                _sleep_until(began_s + number / args.rate)
            facts = dataclasses.replace(
                person[0], bundle_version=bundles.version, bundle_age_s=bundles.age_s(), operator=None
            )
            stored = journal.append(identity.enrolment.place, clock.stamp(), facts, person[1], day=clock.day())
            journal.note(stored.sequence)
            if syncer.status().problem in NEED_PEOPLE:
                break
        _wait(journal, syncer, args.patience)
    finally:
        seconds = time.monotonic() - began_s
        syncer.stop()
    written, receipt = journal.head()[0] - before, journal.receipt()
    waits_ms = sorted(wait_s * 1000 for wait_s in journal.waits_s)
    report = Report(
        kiosk=identity.enrolment.kiosk.hex(),
        written=written,
        receipted=max(0, (receipt.sequence if receipt else 0) - before),
        quarantined=sum(sequence > before for sequence, _ in journal.quarantined()),
        seconds=round(seconds, 3),
        p50_ms=_percentile(waits_ms, 50),
        p95_ms=_percentile(waits_ms, 95),
        problem=syncer.status().problem,
    )
    journal.close()
    return report


def _wait(journal: Journal, syncer: Syncer, patience_s: float) -> None:
    """Wait until all is receipted; give up when nothing moves for *patience_s*, or when only people can help."""
    unsent, moved_s, told_s = journal.unsent_count(), time.monotonic(), time.monotonic()
    while unsent:
        time.sleep(0.02)
        now_s, before, unsent = time.monotonic(), unsent, journal.unsent_count()
        if unsent < before:
            moved_s = now_s
        problem = syncer.status().problem
        if problem in NEED_PEOPLE or now_s - moved_s > patience_s:
            return
        if now_s - told_s > PROGRESS_EVERY_S:
            told_s = now_s
            print(f"unsent {unsent}" + (f", {problem}" if problem else ""), file=sys.stderr)


def _sleep_until(at_s: float) -> None:
    wait_s = at_s - time.monotonic()
    if wait_s > 0:
        time.sleep(wait_s)


def _people() -> Iterator[tuple[Facts, Personal]]:
    """Made-up people for ever: mostly green and well, some not."""
    scan, card, manual = EntryMode.SCAN, EntryMode.ID_CARD, EntryMode.MANUAL
    kinds = (
        *((scan, Colour.GREEN, 36.4, Outcome.ADMIT, ()),) * 16,
        (card, None, 36.6, Outcome.HOLD, ("no_credential",)),
        (manual, None, 36.5, Outcome.HOLD, ("no_credential",)),
        (scan, Colour.GREEN, 38.1, Outcome.DENY, ("fever",)),
        (scan, Colour.RED, 36.5, Outcome.DENY, ("colour_red",)),
    )
    for number, (mode, colour, celsius, outcome, reasons) in enumerate(cycle(kinds)):
        facts = Facts(
            direction=Direction.IN,
            mode=mode,
            credential=CredentialKind.HEALTH_CODE if colour else CredentialKind.UNKNOWN,
            colour=colour,
            measured=Measured.FEVER if celsius > 37.3 else Measured.NORMAL,
            outcome=outcome,
            reasons=reasons,
            bundle_version=0,
            bundle_age_s=0,
            method="infrared",
        )
        personal = Personal(
            name=f"模拟{number % 10_000:04d}",
            phone=f"+861990000{number % 10_000:04d}",
            temperature=Temperature("infrared", celsius - 2, 24.0, celsius),
        )
        yield facts, personal


def _percentile(ordered: list[float], percent: int) -> float | None:
    return round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], 1) if ordered else None


def _print(report: Report) -> None:
    rate = report.receipted / report.seconds if report.seconds else 0
    print(f"kiosk {report.kiosk}")
    print(f"written {report.written}  receipted {report.receipted}  quarantined {report.quarantined}")
    if report.p50_ms is not None:
        print(f"commit to receipt  p50 {report.p50_ms} ms  p95 {report.p95_ms} ms")
    print(f"{report.seconds} s, {rate:.0f} passages a second")
    if report.problem:
        print(f"the last trouble was: {report.problem}")
