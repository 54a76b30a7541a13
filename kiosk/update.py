"""Installs a new version of the program beside the old one, tries it, and goes back by itself when it is no good.

What was recorded comes first: nothing begins while passages are unsent and were not carried off, and the journal's
files are only ever opened by a version that has shown, on a copy, that the one before can still read them afterwards.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import requests

from config.files import unpack
from config.kiosk import KioskSettings
from kiosk.bundle_store import BundleStore
from kiosk.carrying import carried_through, stopped_journal
from kiosk.clock import KioskClock
from kiosk.doctor import examine
from kiosk.enrol import Identity
from kiosk.slots import CURRENT, GOOD, Slots, UpdateError, UpdateNote
from kiosk.store import Journal, JournalError, journal_bytes
from kiosk.verifying import verify_journal
from protocol.errors import ProtocolError
from protocol.journal import header_of
from protocol.update import LENGTH_BYTES, MAGIC, MAX_STATEMENT_BYTES, UpdateKind, UpdatePackage, version_key

CHUNK_BYTES = 1 << 20
ROOM = 6  # an unpacked program takes so many times its package
COPIES = 2.2  # of the journal: one to try the new version on, one as a backup, and what SQLite writes beside them
LEAST_FREE_BYTES = 32 * 2**20
PROOF = "update-proof"  # in the data folder: copies that the new version is tried on
BACKUP = "journal-before-{version}.db"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long each step may take, by the steady clock."""

    install_s: float = 900.0
    proof_s: float = 180.0
    start_s: float = 120.0  # from starting the new version to its first signs of life
    watch_s: float = 15.0  # for which it must go on living
    stop_s: float = 30.0


class Updater:
    """One update of one kiosk. *on_step* is told the name of each step that is over (for tests that cut the power)."""

    def __init__(
        self,
        settings: KioskSettings,
        config: Path,
        slots: Slots,
        *,
        patience: Patience | None = None,
        on_step: Callable[[str], None] = lambda step: None,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._settings, self._config, self._slots = settings, config.resolve(), slots
        self._patience, self._step, self._wall_ms = patience or Patience(), on_step, wall_ms

    def install(self, package: Path, *, exported: Path | None = None) -> UpdateNote:
        """Install *package*; returns what became of it ("done" or "went_back"). The steps:

        (1) the package is ours, whole and newer, (2) no passage would be lost, (3) the version goes into the spare
        slot, (4) it proves itself on copies, (5) the journal is backed up if that version changes its tables, (6) a
        note, (7) `current` leads to it, (8) it runs for a while with the real entrance, (9) `good` leads to it, (10)
        the note says so. Power lost before (9): `Slots.settle` leaves it for the old version at the next start.

        Raises UpdateError, and whatever stands in the way of reading journal and identity; then nothing was changed
        but the spare slot.
        """
        slots = self._slots
        if not slots.is_laid_out:
            raise UpdateError(
                f"{slots.root} holds no versions.",
                hint="Lay it out once with: gatehouse kiosk update init (docs/install-pi.md).",
                code="no_slots",
            )
        with slots.alone():
            spare, good = slots.spare(), slots.linked(GOOD)
            assert good is not None
            with stopped_journal(self._settings.data_dir) as (identity, journal):
                told = self._checked(package, identity, journal, slots.version(good))  # (1)
                self._refuse_unsent(identity, journal, exported)  # (2)
            self._step("checked")
            before = slots.version(good) or "unknown"
            try:
                self._unpack(package, told, spare)  # (3)
                self._prove(spare, identity, told)  # (4) (5)
            except BaseException:
                slots.clear(spare)
                raise
            finally:
                shutil.rmtree(self._settings.data_dir / PROOF, ignore_errors=True)
            self._step("proved")
            slots.keep_note(UpdateNote("trying", before, told.version, "", self._wall_ms()))  # (6)
            self._step("noted")
            slots.point(CURRENT, spare)  # (7)
            self._step("swapped")
            why = self._try()  # (8)
            self._step("tried")
            if why:
                slots.point(CURRENT, good)
                self._step("pointed_back")
                note = UpdateNote("went_back", before, told.version, why, self._wall_ms())
            else:
                slots.point(GOOD, spare)  # (9)
                self._step("good")
                note = UpdateNote("done", before, told.version, "", self._wall_ms())
            slots.keep_note(note)  # (10)
            self._step("done")
            return note

    # -- (1) the package -----------------------------------------------------------------------------------------------

    def _checked(self, path: Path, identity: Identity, journal: Journal, running: str | None) -> UpdatePackage:
        held = BundleStore(self._settings.data_dir / "bundle", identity.enrolment).held
        if held is None:
            raise UpdateError(
                "This kiosk has no rules yet, so it does not know whose updates to believe.",
                hint="Let it reach its server once.",
                code="no_rules",
            )
        with _opened(path) as file:
            statement, _ = _read_statement(file, path)
        try:
            told = UpdatePackage.from_signed(statement, held.trust, KioskClock(journal.last_stamp_ms()).now())
            if running is not None and version_key(told.version) <= version_key(running):
                raise UpdateError(
                    f"The package is version {told.version}; version {running} runs here.",
                    hint="Only a newer version is installed.",
                    code="older",
                )
        except ProtocolError as error:
            raise UpdateError(
                f"{path} is not an update that this kiosk believes ({error.code}).",
                hint="Is its key on the server's trust list with the use update? Is the clock right?",
                code="not_ours",
            ) from error
        if shutil.disk_usage(self._slots.root).free < ROOM * told.size:
            raise UpdateError(
                f"There is no room for the new version in {self._slots.root}.",
                hint=f"Free {ROOM * told.size // 2**20} MB.",
                code="no_room",
            )
        return told

    # -- (2) what was recorded -----------------------------------------------------------------------------------------

    def _refuse_unsent(self, identity: Identity, journal: Journal, exported: Path | None) -> None:
        newest, count = _newest_unsent_passage(journal)
        if newest == 0:
            return
        if exported is None:
            raise UpdateError(
                f"{count} passages on this kiosk were not sent yet.",
                hint="Let the kiosk send them, or export the journal to a stick and name that file with --exported.",
                code="unsent",
            )
        after, through = carried_through(exported, identity)
        if after > journal.held()[0] or through < newest:
            raise UpdateError(
                f"{exported} holds records {after + 1} to {through}; passages up to {newest} are unsent.",
                hint="Export the journal again, with the kiosk stopped, and name that file.",
                code="unsent",
            )

    # -- (3) the new version -------------------------------------------------------------------------------------------

    def _unpack(self, path: Path, told: UpdatePackage, spare: str) -> None:
        slots = self._slots
        folder = slots.folder(spare)
        slots.clear(spare)
        self._step("cleared")
        try:
            folder.mkdir(parents=True)
            payload = folder / ".payload"
            _copy_payload(path, payload, told)  # first our own copy, then its digest: a stick may change its mind
            self._step("copied")
            if told.kind is UpdateKind.FOLDER:
                _untar(payload, folder)
            else:
                _untar(payload, folder / ".wheels")
                self._make_environment(folder)
                shutil.rmtree(folder / ".wheels")
            payload.unlink()
        except OSError as error:
            raise UpdateError(
                f"The new version cannot be written: {error.strerror or error}.",
                hint=f"Look at the disk that holds {slots.root}.",
                code="disk",
            ) from error
        if not (folder / "bin" / "gatehouse").is_file():
            raise UpdateError("The package holds no program.", hint="Ask whoever made it.", code="damaged")
        self._step("unpacked")
        slots.seal(spare, told.version, told.digest)
        self._step("whole")

    def _make_environment(self, folder: Path) -> None:
        """An environment of its own, from the package's wheels alone: no network is asked."""
        make = [sys.executable, "-m", "venv", str(folder)]
        fill = [str(folder / "bin" / "python"), "-m", "pip", "install", "--no-index", "--no-deps", "--no-compile"]
        wheels = sorted(str(wheel) for wheel in (folder / ".wheels").rglob("*.whl"))
        if not wheels:
            raise UpdateError("The package holds no wheels.", hint="Ask whoever made it.", code="damaged")
        for command in (make, [*fill, *wheels]):
            done = _run(command, self._patience.install_s)
            if done.code != 0:
                raise UpdateError("The new version cannot be installed.", hint=done.last_line, code="install")

    # -- (4), (5) proof on copies --------------------------------------------------------------------------------------

    def _prove(self, spare: str, identity: Identity, told: UpdatePackage) -> None:
        data = self._settings.data_dir
        program = str(self._slots.folder(spare) / "bin" / "gatehouse")
        shutil.rmtree(data / PROOF, ignore_errors=True)
        (data / PROOF).mkdir(mode=0o700)
        copy = data / PROOF / "journal.db"
        needed = journal_bytes(self._settings.journal_path) * COPIES + LEAST_FREE_BYTES
        if shutil.disk_usage(data).free < needed:
            raise UpdateError(
                f"There is no room in {data} to try the new version on a copy of the journal.",
                hint=f"Free {int(needed) // 2**20} MB, or send the journal first.",
                code="no_room",
            )
        schema = _copy_journal(self._settings.journal_path, copy)
        proof = [program, "kiosk", "update", "prove", "--config", str(self._config), "--journal", str(copy)]
        done = _run(proof, self._patience.proof_s)
        if done.code != 0:
            raise UpdateError("A first scan does not work with the new version.", hint=done.last_line, code="proof")
        self._compare_doctors(program)
        try:
            _go_on_with(copy, identity)
        except (JournalError, ProtocolError) as error:
            raise UpdateError(
                "The new version changes the journal so that there would be no way back.",
                hint=f"Send everything, then install this version on a fresh kiosk ({error}).",
                code="proof",
            ) from error
        if _schema_of(copy) != schema:
            backup = data / BACKUP.format(version=self._version_of(GOOD))
            for old in data.glob(BACKUP.format(version="*")):
                old.unlink()
            _copy_journal(self._settings.journal_path, backup)  # nobody has touched it: the kiosk is stopped
            os.sync()
        self._step("backed_up")

    def _version_of(self, link: str) -> str:
        name = self._slots.linked(link)
        return (self._slots.version(name) if name else None) or "unknown"

    def _compare_doctors(self, program: str) -> None:
        """What is well with this version must be well with the new one; what is broken anyway is no fault of it."""
        well = {finding.part for finding in examine(self._settings) if finding.ok}
        done = _run([program, "doctor", "--look", "--json", "--config", str(self._config)], self._patience.proof_s)
        try:
            told = [json.loads(line) for line in done.output.splitlines() if line.startswith("{")]
            worse = [(str(row["part"]), str(row["what"])) for row in told if not row["ok"] and row["part"] in well]
        except (ValueError, KeyError, TypeError) as error:
            raise UpdateError(
                "The new version's doctor cannot be understood.", hint=done.last_line, code="proof"
            ) from error
        if not told or done.code not in (0, 1):
            raise UpdateError("The new version's doctor does not run.", hint=done.last_line, code="proof")
        if worse:
            raise UpdateError(
                f"With the new version this is not well: {', '.join(part for part, _ in worse)}.",
                hint="; ".join(what for _, what in worse),
                code="proof",
            )

    # -- (8) the real entrance -----------------------------------------------------------------------------------------

    def _try(self) -> str:
        """Start the new version on the real entrance and watch it; "" when it is well, else a code that says why not.

        Well means: the journal took its start, and its screen goes on being made anew, which the lane does that
        serves people.
        """
        last = verify_journal(self._settings.journal_path).last if self._settings.journal_path.exists() else 0
        program = str(self._slots.root / CURRENT / "bin" / "gatehouse")
        environment = {
            name: value for name, value in os.environ.items() if name not in {"NOTIFY_SOCKET", "WATCHDOG_USEC"}
        }
        with subprocess.Popen(
            [program, "kiosk", "--config", str(self._config)],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=environment,
        ) as process:
            try:
                return self._watch(process, last)
            finally:
                _end(process, self._patience.stop_s)

    def _watch(self, process: subprocess.Popen[bytes], last: int) -> str:
        url = f"http://127.0.0.1:{self._settings.screen.port}/state"
        until_s, first, well_since_s = time.monotonic() + self._patience.start_s, -1, None
        newest = -1
        while True:
            if process.poll() is not None:
                return "ended"
            revision = _revision(url)
            now_s = time.monotonic()
            if revision > newest and revision > 0:
                newest = revision
                if well_since_s is None and _has_grown(self._settings.journal_path, last):
                    first, well_since_s = revision, now_s
                    until_s = now_s + 2 * self._patience.watch_s + 5
            if well_since_s is not None and now_s - well_since_s >= self._patience.watch_s and newest > first:
                return ""
            if now_s > until_s:
                return "silent" if well_since_s is None else "stuck"
            time.sleep(0.1)


# -- pieces ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Done:
    code: int
    output: str

    @property
    def last_line(self) -> str:
        """What it said last, for people."""
        lines = [line for line in self.output.splitlines() if line.strip()]
        return lines[-1].strip()[:300] if lines else f"it ended with {self.code} and said nothing"


def _run(command: list[str], within_s: float) -> _Done:
    """Run to the end, or to the end of our patience (code -1); output and errors together."""
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
    except OSError as error:
        return _Done(-1, f"{command[0]}: {error.strerror}")
    with process:
        try:
            output, _ = process.communicate(timeout=within_s)
            return _Done(process.returncode, output.decode("utf-8", "replace"))
        except subprocess.TimeoutExpired:
            _end(process, 0)
            return _Done(-1, f"it did not end within {within_s:.0f} s")


def _end(process: subprocess.Popen[bytes], within_s: float) -> None:
    """End a process and everything it started."""
    with contextlib.suppress(ProcessLookupError):
        if within_s and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(within_s)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[_Reader]:
    try:
        with path.open("rb") as file:
            yield _Reader(file.read)
    except OSError as error:
        raise UpdateError(
            f"{path} cannot be read: {error.strerror}.", hint="Is the stick in?", code="not_a_package"
        ) from error


@dataclass(frozen=True, slots=True)
class _Reader:
    read: Callable[[int], bytes]


def _read_statement(file: _Reader, path: Path) -> tuple[bytes, int]:
    """The signed statement at the start of a package, and where the payload begins."""
    length = int.from_bytes(file.read(LENGTH_BYTES), "big") if file.read(len(MAGIC)) == MAGIC else 0
    statement = file.read(length) if 0 < length <= MAX_STATEMENT_BYTES else b""
    if not statement or len(statement) != length:
        raise UpdateError(
            f"{path} is no update package.", hint="Its name ends in .ghu; was it copied whole?", code="not_a_package"
        )
    return statement, len(MAGIC) + LENGTH_BYTES + length


def _copy_payload(path: Path, to: Path, told: UpdatePackage) -> None:
    """Copy what the statement speaks of, and believe the copy only."""
    digest, size = hashlib.sha256(), 0
    with _opened(path) as file, to.open("wb") as copy:
        _read_statement(file, path)
        while chunk := file.read(CHUNK_BYTES):
            size += len(chunk)
            if size > told.size:
                break
            digest.update(chunk)
            copy.write(chunk)
    if size != told.size or digest.digest() != told.digest:
        raise UpdateError(
            f"{path} is damaged: its payload is not the one that was signed.",
            hint="Copy it again, from a stick that is sound.",
            code="damaged",
        )


def _untar(payload: Path, folder: Path) -> None:
    try:
        with tarfile.open(payload, "r:gz") as archive:
            unpack(archive, folder)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise UpdateError(
            f"The package cannot be unpacked: {error}.", hint="Ask whoever made it.", code="damaged"
        ) from error


def _newest_unsent_passage(journal: Journal) -> tuple[int, int]:
    """Sequence of the newest passage that the server does not hold, and how many such there are; 0 and 0 for none."""
    after, newest, count = journal.held()[0], 0, 0
    while records := journal.records_after(after, 1000):
        after = records[-1].sequence
        passages = [r.sequence for r in records if header_of(r, journal.kiosk).facts is not None]
        newest, count = (passages[-1] if passages else newest), count + len(passages)
    return newest, count


def _copy_journal(path: Path, to: Path) -> list[str]:
    """Copy a journal as one snapshot, write-ahead log included; returns its tables. An absent one stays absent."""
    if not path.exists():
        return []
    to.touch(0o600)
    with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as source:
        with contextlib.closing(sqlite3.connect(to)) as target:
            source.backup(target)
    return _schema_of(to)


def _schema_of(path: Path) -> list[str]:
    if not path.exists():
        return []
    with contextlib.closing(sqlite3.connect(path)) as db:
        return [str(row[0]) for row in db.execute("SELECT sql FROM sqlite_master WHERE sql NOT NULL ORDER BY sql")]


def _go_on_with(copy: Path, identity: Identity) -> None:
    """Write one more record, as this version, into the journal that the new version has had in its hands."""
    journal = Journal(copy, identity.enrolment.kiosk, identity.vault.seal[0].load())
    try:
        clock = KioskClock(journal.last_stamp_ms())
        journal.append(identity.enrolment.place, clock.stamp(), "update_proof", day=clock.day())
    finally:
        journal.close()
    report = verify_journal(copy)
    if not report.is_chain_whole:
        raise JournalError(report.findings[0])


def _revision(url: str) -> int:
    """The number of the screen's newest state, 0 for the first screen of a kiosk that is none; -1: no answer."""
    try:
        told = requests.get(url, timeout=2, allow_redirects=False).json()
        return 0 if told.get("view") == "setup" else int(told["revision"])
    except (requests.RequestException, ValueError, KeyError, TypeError, AttributeError):
        return -1


def _has_grown(path: Path, last: int) -> bool:
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
            return int(db.execute("SELECT sequence FROM head").fetchone()[0]) > last
    except (sqlite3.Error, TypeError):
        return False
