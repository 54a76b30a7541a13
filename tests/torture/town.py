"""A town to torture: one kiosk, one server, one vault and their files; its runs, and what must hold after each.

A town is made from its number alone: which lives it sees, what is done to them, at which step and with which luck.
"""

from __future__ import annotations

import errno
import functools
import os
import pickle
import random
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from alembic import command
from sqlalchemy import select

from kiosk.enrol import enrol, load_identity
from kiosk.store import MIGRATIONS, Journal, JournalError
from kiosk.verifying import verify_journal
from protocol.credentials import enrolment_code
from protocol.journal import genesis
from protocol.vault_keys import vault_fingerprint
from server import create_app
from server.accounts import passwords
from server.audit import first_break as audit_break
from server.context import House, utc_now
from server.db import Database
from server.ingest.models import Journal as HeldJournal
from server.ingest.models import JournalRecord
from server.ingest.verifying import first_break
from server.migrations import _config, upgrade
from server.setup import initialise
from server.vault.errors import VaultError
from server.vault.log import LOG_FILE, Head, verified_lines, verify_log
from tests import victim
from tests.journeys.test_kill9 import Trace, check_invariants
from tests.postgres import LASTING, Cluster
from tests.server.conftest import QUICK
from tests.server.ingest.fleet import make_code
from tests.server.people import furnish
from tests.server.vault.world import World
from tests.torture import disk
from tests.torture.disk import Loss, cut_power
from tests.torture.lives import DATABASE_FILE, Life, free_port, settings_of
from tests.torture.shim import EVER, Act, On, Plan
from tests.torture.zygote import Living, Zygote, wait_for

RUNS_A_TOWN = 12
ERRNOS = (errno.EIO, errno.ENOSPC, errno.EROFS)
_EPOCHS_WITH_TAGS = "SELECT id FROM epoch WHERE no IN (SELECT epoch FROM tag)"
USUAL_STEPS = {"kiosk": 40, "server": 60, "vault": 24, "new_journal": 60, "new_server": 400}
JUMPS_MS = (-400_000_000_000, -86_400_000, -7_200_000, -6_000, 6_000, 7_200_000, 86_400_000, 40_000_000_000)


def own_cluster() -> Cluster:
    """A PostgreSQL to kill. It writes as in service, and nothing by luck: what no commit waits for stays unwritten."""
    return Cluster({**LASTING, "wal_writer_delay": "10s"}, in_memory=True)


class Violation(AssertionError):
    """A promise of the product that did not hold."""


@dataclass(frozen=True)
class Template:
    """What every town is a copy of."""

    folder: Path
    world: World
    cluster: Cluster | None = None  # where its server's database is, and each town's copy of it
    database: str = ""

    @staticmethod
    def make(folder: Path, zygote: Zygote, cluster: Cluster | None = None) -> Template:
        """A furnished server, a vault with an approver, and a kiosk that is enrolled and has exchanged once."""
        folder.mkdir(parents=True)
        database = cluster.create() if cluster else ""
        if cluster:
            (folder / DATABASE_FILE).write_text(cluster.url(database))
        settings = settings_of(folder)
        initialise(settings, now=utc_now())
        house: House = create_app(settings).extensions["gatehouse"]
        slow, passwords.hasher = passwords.hasher, QUICK
        try:
            furnish(house)
        finally:
            passwords.hasher = slow
        zygote.warm(folder)
        world = World.make(folder / "vault")
        shutil.copy(folder / "vault" / "vault-public.cbor", settings.vault_public_path)
        port = free_port()
        server = zygote.begin(Life("server", folder, port=port))
        wait_for(lambda: "alive server" in _lines(folder) or server.ends(0), "the template's server", 60)
        code = enrolment_code.EnrolmentCode(
            f"http://127.0.0.1:{port}",
            make_code(house),
            house.keys.server_identity().public_key().public_bytes_raw(),
            vault_fingerprint(world.secrets.signing_key().public_key()),
            utc_now().replace(year=utc_now().year + 1),
        )
        enrol(folder / "kiosk", enrolment_code.make(code))
        kiosk = zygote.begin(Life("kiosk", folder, people=1, port=port, extra={"until_sent": True}))
        if not kiosk.ends(60) or kiosk.code != 0:
            raise AssertionError(f"the template's kiosk ended with {kiosk.code}: {(folder / 'log').read_text()}")
        server.kill()
        house.database.engine.dispose()
        if cluster is None:
            _make_databases_to_migrate(folder)
        return Template(folder, world, cluster, database)


def _make_databases_to_migrate(folder: Path) -> None:
    (folder / "old-server").mkdir()
    database = Database(f"sqlite:///{folder / 'old-server' / 'gatehouse.db'}")
    config = _config()
    with database.engine.execution_options(gatehouse_writes=True).connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001_frame")
    database.engine.dispose()
    database = Database(f"sqlite:///{folder / 'fresh.db'}")
    upgrade(database.engine)
    database.engine.dispose()


@dataclass
class Told:
    """What the town's lives told the world."""

    shown: dict[int, str] = field(default_factory=dict)
    receipts: dict[int, str] = field(default_factory=dict)
    sealed: dict[tuple[str, int], str] = field(default_factory=dict)
    heads: dict[int, str] = field(default_factory=dict)
    destroyed: set[str] = field(default_factory=set)

    @staticmethod
    def read(town: Path) -> Told:
        told = Told()
        for line in _lines(town):
            word, *rest = line.split(" ")
            if word == "shown":
                _once(told.shown, int(rest[0]), rest[1], "a passage was shown as new twice under one number")
            elif word == "receipt":
                before = told.receipts.setdefault(int(rest[0]), rest[1])
                _must(before == rest[1], "two receipts for one number tell of two histories")
            elif word == "sealed":
                before = told.sealed.setdefault((rest[0], int(rest[1])), rest[2])
                _must(before == rest[2], "two records were sealed under one key and nonce")
            elif word == "head":
                before = told.heads.setdefault(int(rest[0]), rest[1])
                _must(before == rest[1], "the vault named two log lines of one number")
            elif word == "destroyed":
                told.destroyed.add(rest[0])
        return told


def _once(known: dict[int, str], key: int, value: str, words: str) -> None:
    _must(key not in known, f"{words}: {key}")
    known[key] = value


def _must(holds: bool, words: str) -> None:
    if not holds:
        raise Violation(words)


def _lines(town: Path) -> list[str]:
    path = town / "trace"
    return path.read_text().splitlines() if path.exists() else []


class Town:
    """One town with its runs."""

    def __init__(self, number: int, folder: Path, template: Template, zygote: Zygote) -> None:
        self.folder, self._zygote = folder, zygote
        self.chance = random.Random(number)
        shutil.copytree(
            template.folder, folder, ignore=shutil.ignore_patterns("*-shm", "*.sock", "old-server", "fresh.db*")
        )
        self._template = template
        self.database = ""
        if template.cluster is not None:
            self.database = template.cluster.create(template.database)
            (folder / DATABASE_FILE).write_text(template.cluster.url(self.database))
        self.world = World(folder / "vault", template.world.secrets, template.world.approval_key)
        self.port = free_port()
        self.sabotage = ""  # what the kiosk does wrong, to see that it is found
        self._alive: dict[str, Living] = {}
        self.kinds: Counter[str] = Counter()
        self.missed = self.lives = 0
        self.story: list[str] = []
        identity = load_identity(folder / "kiosk")
        assert identity is not None
        self.kiosk_id, self.seal = identity.enrolment.kiosk, identity.vault.seal[0]

    # -- lives ---------------------------------------------------------------------------------------------------------

    def _life(self, kind: str, plans: tuple[Plan, ...] = (), **changes: object) -> Life:
        extra: dict[str, object] = {"sabotage": self.sabotage, **changes.pop("extra", {})}  # type: ignore[dict-item]
        if kind == "vault":
            extra["secrets"] = self.world.secrets
        elif kind == "worker":
            extra |= {"secrets": self.world.secrets, "approval_key": self.world.approval_key.private_bytes_raw()}
        port = self.port if kind in ("kiosk", "server") else 0
        return Life(kind, self.folder, plans, port=port, extra=extra, **changes)  # type: ignore[arg-type]

    def _begin(self, life: Life) -> Living:
        self.lives += 1
        return self._zygote.begin(life)

    def _ensure(self, kind: str) -> None:
        """Have an unhurt server or vault running."""
        running = self._alive.get(kind)
        if running is None or running.ends(0):
            if kind == "server":
                self.port = free_port()
            self._alive[kind] = self._up(self._life(kind))

    def _up(self, life: Life, *, may_die: bool = False) -> Living:
        """Begin a server or a vault and wait until it serves."""
        word = f"alive {life.kind}"
        before = _lines(self.folder).count(word)
        living = self._begin(life)
        wait_for(lambda: _lines(self.folder).count(word) > before or living.ends(0), word, 60)
        if living.code is not None and not may_die:
            raise Violation(f"the {life.kind} does not start again (code {living.code})")
        return living

    def _down(self, *kinds: str) -> None:
        for kind in kinds:
            if (living := self._alive.pop(kind, None)) is not None:
                living.kill()

    def _snapshot(self, kind: str) -> Path:
        before = self.folder / "before" / kind
        shutil.rmtree(before, ignore_errors=True)
        if (self.folder / kind).exists():
            shutil.copytree(self.folder / kind, before)
        else:
            before.mkdir(parents=True)
        return before

    def _cut(self, life: Life, before: Path) -> str:
        loss = self.chance.choice(list(Loss))
        cut_power(life.folder, before, life.record, loss, self.chance)
        return f"power cut, loses {loss.name.lower()}"

    def _plan(self, kind: str) -> tuple[str, tuple[Plan, ...]]:
        """What is done to a life of this kind, by chance: a name for the table, and the plans."""
        at = self.chance.randint(1, USUAL_STEPS[kind])
        what = self.chance.choice(
            ("before", "after", "tear", "tear", "error", "error", "full", "short", "read", "clock")
        )
        if what == "before":
            return "killed before a step", (Plan(Act.DIE_BEFORE, at),)
        if what == "after":
            return "killed after a step", (Plan(Act.DIE_AFTER, at),)
        if what == "tear":
            return "torn write", (Plan(Act.TEAR, at, arg=self.chance.randint(0, 1000)),)
        if what == "short":
            return "short writes", (Plan(Act.SHORT, at, self.chance.choice((1, 5, EVER))),)
        if what == "full":
            return "disk full", (Plan(Act.FILL, at, self.chance.choice((2, 9, EVER))),)
        if what == "read":
            return "EIO on read", (Plan(Act.FAIL_READ, at, self.chance.choice((1, 3, EVER))),)
        if what == "clock":
            return "clock jump", (Plan(Act.CLOCK, at, arg=self.chance.choice(JUMPS_MS)),)
        number = self.chance.choice(ERRNOS)
        on = self.chance.choice((On.ANY, On.WRITE, On.SYNC, On.SYNC, On.NAME, On.TRUNCATE))
        count = self.chance.choice((1, 2, 8, EVER))
        plans = (Plan(Act.FAIL, at, count, number, on),)
        if self.chance.random() < 0.5:
            plans = (*plans, Plan(Act.DIE_BEFORE, at + self.chance.randint(1, 12)))
        return errno.errorcode[number], plans

    # -- runs ----------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """One run: hurt a life, start again on what it left, and check. Raises Violation."""
        on_files: tuple[tuple[int, Callable[[], str | None]], ...] = (
            (34, self._hurt_the_kiosk),
            (8, self._kill_the_kiosk_at_random),
            (14, self._hurt_the_server),
            (4, self._kill_the_server_at_random),
            (18, self._hurt_the_vault),
            (6, self._power_cut_of_the_town),
            (8, self._power_cut_while_a_journal_is_made),
            (4, self._power_cut_while_tables_are_migrated),
            (4, self._kill_an_entrance),
            (5, self._fill_a_small_disk),
        )
        on_postgresql: tuple[tuple[int, Callable[[], str | None]], ...] = (
            (5, self._crash_postgresql),
            (2, self._kill_the_server_at_random),
            (1, self._kill_the_kiosk_at_random),
        )
        runs = on_postgresql if self.database else on_files
        what = self.chance.choices([run for _, run in runs], [weight for weight, _ in runs])[0]
        kind = what()
        if kind is None:
            self.missed += 1
        else:
            self.kinds[f"PostgreSQL: {kind}" if self.database else kind] += 1

    def close(self) -> None:
        """Kill what is alive."""
        self._down(*list(self._alive))
        if self.database:
            self._cluster.start_again()
            self._cluster.drop(self.database)
            self.database = ""

    @property
    def _cluster(self) -> Cluster:
        assert self._template.cluster is not None
        return self._template.cluster

    def _tell(self, *words: object) -> None:
        self.story.append(" ".join(map(str, words)))

    def _hurt_the_kiosk(self) -> str | None:
        is_cut = self.chance.random() < 0.5
        name, plans = self._plan("kiosk")
        if self.chance.random() < 0.7:
            self._ensure("server")
            port = self.port
        else:
            port = 0  # no network in this life
        before = self._snapshot("kiosk") if is_cut else None
        keep_h = 0.0 if self.chance.random() < 0.3 else 24.0
        extra = {"keep_h": keep_h, "sabotage": self.sabotage}
        life = Life("kiosk", self.folder, plans, self.chance.randint(2, 7), port, extra=extra)
        self._tell("kiosk", name, *plans)
        living = self._begin(life)
        if not living.ends(60):
            raise Violation("the kiosk hangs")
        hits = disk.faults(life.record)
        after = self._cut(life, before) if before is not None else "killed" if living.code == -9 else "ended"
        self._tell(f"  code {living.code}, {after}")
        self._must_not_be_confused(living)
        self._kiosk_goes_on()
        if not hits and before is None:
            return None
        return f"kiosk: {name if hits else 'no fault'}{', then power cut' if before is not None else ''}"

    def _must_not_be_confused(self, living: Living) -> None:
        """A life may die or give up with a sentence; a traceback of its own is a defect."""
        _must(living.code in (-9, 0, 3, 4, 5, 6), f"it ended with {living.code}, see the log")

    def _kill_the_kiosk_at_random(self) -> str | None:
        self._ensure("server")
        living = self._begin(self._life("kiosk", people=10_000))
        is_ended = living.ends(self.chance.uniform(0.005, 0.25))
        living.kill()
        self._tell("kiosk killed at a random instant")
        _must(not is_ended, "the kiosk ended by itself")
        self._kiosk_goes_on()
        return "kiosk: killed at a random instant"

    def _hurt_the_server(self) -> str | None:
        self._down("server")
        self.port = free_port()
        name, plans = self._plan("server")
        is_cut = self.chance.random() < 0.5
        before = self._snapshot("server") if is_cut else None
        life = self._life("server", plans)
        self._tell("server", name, *plans)
        server = self._up(life, may_die=True)
        kiosk = self._begin(Life("kiosk", self.folder, people=self.chance.randint(2, 6), port=self.port))
        if not kiosk.ends(60):
            raise Violation("the kiosk hangs while the server is hurt")
        self._must_not_be_confused(kiosk)
        code = server.kill()
        hits = disk.faults(life.record)
        after = self._cut(life, before) if before is not None else "killed"
        self._tell(f"  code {code}, {after}")
        self._kiosk_goes_on()
        return f"server: {name if hits else 'killed'}{', then power cut' if is_cut else ''}"

    def _kill_the_server_at_random(self) -> str | None:
        self._ensure("server")
        kiosk = self._begin(Life("kiosk", self.folder, people=60, port=self.port))
        kiosk.ends(self.chance.uniform(0.02, 0.4))
        self._down("server")
        self._tell("server killed at a random instant")
        if not kiosk.ends(60):
            raise Violation("the kiosk hangs when its server dies")
        self._must_not_be_confused(kiosk)
        self._kiosk_goes_on()
        return "server: killed at a random instant"

    def _crash_postgresql(self) -> str | None:
        """The database dies while passages come in: its postmaster, by an immediate stop, or one of its sessions."""
        how = self.chance.choice(("killed", "killed", "stopped at once", "a session killed"))
        takes_the_server = self.chance.random() < 0.3
        self._ensure("server")
        kiosk = self._begin(Life("kiosk", self.folder, people=60, port=self.port))
        kiosk.ends(self.chance.uniform(0.02, 0.5))
        if how == "a session killed":
            is_hit = self._cluster.crash_one_session(self.database)
        else:
            is_hit = True
            self._cluster.crash(signal.SIGKILL if how == "killed" else signal.SIGQUIT)
        if takes_the_server:
            self._down("server")
        self._tell(f"PostgreSQL: {how}", "and the server with it" if takes_the_server else "")
        if self.chance.random() < 0.5:  # half of the kiosks go on without it for a while
            kiosk.ends(self.chance.uniform(0.0, 0.5))
        self._cluster.start_again()
        if not kiosk.ends(60):
            raise Violation("the kiosk hangs while its server's database is away")
        self._must_not_be_confused(kiosk)
        self._kiosk_goes_on()  # with the same server process, unless it was killed, too
        return f"{how}{', and the server' if takes_the_server else ''}" if is_hit else None

    def _hurt_the_vault(self) -> str | None:
        self._down("vault")
        name, plans = self._plan("vault")
        is_random = self.chance.random() < 0.2
        is_cut = self.chance.random() < 0.5
        before = self._snapshot("vault") if is_cut else None
        life = self._life("vault", () if is_random else plans)
        self._tell("vault", "random instant" if is_random else name, *life.plans)
        vault = self._up(life, may_die=True)
        worker = self._begin(self._life("worker"))
        if is_random:
            worker.ends(self.chance.uniform(0.0, 0.2))
            vault.kill()
        if not worker.ends(60):
            raise Violation("the worker hangs while the vault is hurt")
        self._must_not_be_confused(worker)
        if vault.ends(0):
            self._must_not_be_confused(vault)
        code = vault.kill()
        hits = disk.faults(life.record)
        after = self._cut(life, before) if before is not None else "killed"
        self._tell(f"  code {code}, {after}")
        self._alive["vault"] = self._up(self._life("vault"))
        again = self._begin(self._life("worker"))
        if not again.ends(60) or again.code != 0:
            raise Violation("the vault does not work after a restart")
        self.check_vault()
        if is_random:
            return "vault: killed at a random instant"
        return f"vault: {name if hits else 'killed'}{', then power cut' if is_cut else ''}"

    def _power_cut_of_the_town(self) -> str | None:
        self._down("server", "vault")
        self.port = free_port()
        befores = {kind: self._snapshot(kind) for kind in ("kiosk", "server", "vault")}
        lives = {kind: self._life(kind, people=500) for kind in befores}
        living = {"server": self._up(lives["server"]), "vault": self._up(lives["vault"])}
        living["kiosk"] = self._begin(lives["kiosk"])
        # a copy: the server's own files are changed by the server alone, else its record would not tell all
        database = shutil.copytree(befores["server"], self.folder / "copy", dirs_exist_ok=True) / "server.db"
        worker = self._begin(self._life("worker", extra={"database": database}))
        living["kiosk"].ends(self.chance.uniform(0.01, 0.5))
        for one in living.values():
            one.kill()
        self._tell("power cut of the whole town")
        for kind, before in befores.items():
            self._tell(f"  {kind} {self._cut(lives[kind], before)}")
        if not worker.ends(60):
            raise Violation("the worker hangs while the vault is gone")
        self._must_not_be_confused(worker)
        self._alive["vault"] = self._up(self._life("vault"))
        self._kiosk_goes_on()
        self.check_vault()
        return "all three: power cut at a random instant"

    def _power_cut_while_a_journal_is_made(self) -> str | None:
        folder = self.folder / "new_journal"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        names = [migration.name for migration in MIGRATIONS._migrations]
        done = self.chance.randrange(len(names))
        if done:
            _journal_at(folder / "journal.db", names[done])
        return self._migrated("new_journal", {"device": self.kiosk_id, "seal": self.seal}, self._check_new_journal)

    def _power_cut_while_tables_are_migrated(self) -> str | None:
        folder = self.folder / "new_server"
        shutil.rmtree(folder, ignore_errors=True)
        if self.chance.random() < 0.5:
            folder.mkdir()
        else:
            shutil.copytree(self._template.folder / "old-server", folder)
        return self._migrated("new_server", {}, self._check_new_server)

    def _migrated(self, kind: str, extra: dict[str, object], check: Callable[[], None]) -> str | None:
        before = self._snapshot(kind)
        at = self.chance.randint(1, USUAL_STEPS[kind])
        plan = Plan(self.chance.choice((Act.DIE_BEFORE, Act.DIE_AFTER, Act.TEAR)), at, arg=self.chance.randint(0, 1000))
        life = self._life(kind, (plan,), extra=extra)
        living = self._begin(life)
        if not living.ends(120):
            raise Violation("the migration hangs")
        hits = disk.faults(life.record)
        self._tell(kind, plan, f"code {living.code}", self._cut(life, before))
        again = self._begin(self._life(kind, extra=extra))
        if not again.ends(120) or again.code != 0:
            raise Violation(f"the migration does not go on after a power cut (code {again.code})")
        check()
        return f"{kind.replace('new_', '')} migration: power cut" if hits else None

    def _fill_a_small_disk(self) -> str | None:
        """A real full file system (and a real read-only one): a small tmpfs, which takes root."""
        if not can_mount():
            return None
        folder, aside = self.folder / "kiosk", self.folder / "kiosk.aside"
        size_kb = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) // 1024
        folder.rename(aside)
        folder.mkdir()
        limit_kb = size_kb + self.chance.randint(60, 160)
        _mount("-t", "tmpfs", "-o", f"size={limit_kb}k", "tmpfs", str(folder))
        try:
            shutil.copytree(aside, folder, dirs_exist_ok=True)
            living = self._begin(Life("kiosk", self.folder, people=300))
            if not living.ends(60):
                raise Violation("the kiosk hangs on a full disk")
            self._must_not_be_confused(living)
            is_read_only = self.chance.random() < 0.5
            if is_read_only:
                _mount("-o", "remount,ro", str(folder))
                living = self._begin(Life("kiosk", self.folder, people=2))
                if not living.ends(60):
                    raise Violation("the kiosk hangs on a read-only disk")
                _must(living.code == 3, f"on a read-only disk the kiosk ended with {living.code}")
                _mount("-o", "remount,rw", str(folder))
            _mount("-o", f"remount,size={limit_kb + 4096}k", str(folder))
            self._kiosk_goes_on()
        finally:
            shutil.rmtree(aside)
            shutil.copytree(folder, aside)
            subprocess.run(["umount", "-l", str(folder)], check=True)
            folder.rmdir()
            aside.rename(folder)
        self._tell(f"small disk of {limit_kb} KiB", "and read-only" if is_read_only else "")
        return f"kiosk: real full disk{', then read-only' if is_read_only else ''}"

    def _kill_an_entrance(self) -> str | None:
        folder = self.folder / "entrance"
        folder.mkdir(exist_ok=True)
        if not (folder / "keys").exists():
            (folder / "keys").write_bytes(pickle.dumps(victim.Keys.make()))
        packed = (folder / "keys").read_bytes()
        living = self._begin(self._life("entrance", people=1000, extra={"keys": packed}))
        is_ended = living.ends(self.chance.uniform(0.05, 2.5))
        living.kill()
        self._tell("entrance killed at a random instant")
        _must(not is_ended, "the entrance ended by itself")
        if (folder / "trace").exists() and Trace.read(folder).sealed:  # else it died before it had a journal
            check_invariants(folder, pickle.loads(packed))
        return "entrance: killed at a random instant"

    # -- what must hold ------------------------------------------------------------------------------------------------

    def _kiosk_goes_on(self) -> None:
        """Check what is left, start everything unhurt, let more people pass, and check again with all sent."""
        self.check_kiosk()
        self._ensure("server")
        self.check_receipts()  # now: a kiosk that is asked to would send again what the server has lost
        # a damaged journal must not be: the kiosk starts on what is left, records, and sends everything
        life = self._life("kiosk", people=1, extra={"until_sent": True})
        living = self._begin(life)
        if not living.ends(90) or living.code != 0:
            raise Violation(f"the kiosk does not go on (code {living.code})")
        self.check_kiosk()
        self.check_server()

    def check_kiosk(self) -> None:
        """Everything shown is in the journal, once, unchanged, or was receipted and purged; the chain is whole."""
        told = Told.read(self.folder)
        try:
            report = verify_journal(self.folder / "kiosk" / "journal.db")
        except JournalError as error:
            raise Violation(f"the journal cannot be read: {error.message}") from error
        _must(report.is_chain_whole, f"the chain is broken: {report.findings}")
        held, head, through = self._journal_rows()
        for sequence, chain_hash in told.shown.items():
            _must(sequence <= head, f"passage {sequence} was shown, and the journal ends at {head}")
            if sequence in held:
                _must(held[sequence] == chain_hash, f"passage {sequence} is not the one that was shown")
            else:
                _must(sequence <= through, f"passage {sequence} was shown and is gone without a receipt")

    def _journal_rows(self) -> tuple[dict[int, str], int, int]:
        """The journal's records by number, its head, and how far it was receipted."""
        with sqlite3.connect(f"{(self.folder / 'kiosk' / 'journal.db').as_uri()}?mode=ro", uri=True) as db:
            held = {row[0]: row[1].hex() for row in db.execute("SELECT sequence, hash FROM record")}
            (head,) = db.execute("SELECT sequence FROM head").fetchone()
            (through,) = db.execute("SELECT coalesce(max(sequence), 0) FROM receipt").fetchone()
        db.close()
        return held, head, through

    def check_receipts(self) -> None:
        """The newest receipt that anybody was given is honoured by the server that has just started again."""
        receipts = Told.read(self.folder).receipts
        newest = max(receipts, default=0)
        if not newest:
            return
        database = Database(settings_of(self.folder).database)
        try:
            with database.reading() as reading:
                held = reading.scalar(
                    select(JournalRecord.hash).where(
                        JournalRecord.kiosk_id == self.kiosk_id, JournalRecord.sequence == newest
                    )
                )
        finally:
            database.engine.dispose()
        _must(held is not None and held.hex() == receipts[newest], f"the receipt for {newest} was given and is lost")

    def check_server(self) -> None:
        """All was sent: each receipt is honoured, each passage held once and as it was shown; both chains verify."""
        told = Told.read(self.folder)
        database = Database(settings_of(self.folder).database)
        try:
            with database.reading() as reading:
                rows = reading.execute(
                    select(JournalRecord.sequence, JournalRecord.hash).where(JournalRecord.kiosk_id == self.kiosk_id)
                ).all()
                head = reading.get(HeldJournal, self.kiosk_id)
                broken, audit_broken = first_break(reading, self.kiosk_id), audit_break(reading)
        finally:
            database.engine.dispose()
        assert head is not None
        _must(broken is None, f"the server's copy of the chain breaks at {broken}")
        _must(audit_broken is None, f"the server's audit chain breaks at {audit_broken}")
        held = {row.sequence: row.hash.hex() for row in rows}
        _must(len(held) == len(rows), "a record is held twice")
        _must(sorted(held) == list(range(1, head.sequence + 1)), "the server's records have a gap")
        for sequence, chain_hash in told.receipts.items():
            told_of = genesis(self.kiosk_id).hex() if sequence == 0 else held.get(sequence)
            _must(told_of == chain_hash, f"the receipt for {sequence} is not honoured")
        for sequence, chain_hash in told.shown.items():
            _must(sequence in held, f"passage {sequence} was shown and never arrived")
            _must(held[sequence] == chain_hash, f"passage {sequence} arrived as another one")

    def check_vault(self) -> None:
        """The access log verifies, holds every line that was answered, and what was destroyed has no tag left."""
        told = Told.read(self.folder)
        path, key = self.folder / "vault" / LOG_FILE, self.world.secrets.signing_key().public_key()
        noted = max(told.heads, default=0)
        try:
            verify_log(path, key, Head(noted, told.heads[noted]) if noted else None)
            lines, destroyed = {}, set(told.destroyed)
            for line in verified_lines(path, key):
                lines[line.sequence] = line.hash
                if line.event == "destroyed":  # promised, whether or not the answer left
                    destroyed.update(line.facts["epochs"])
        except VaultError as error:
            raise Violation(f"the access log does not verify: {error.message}") from error
        for sequence, line_hash in told.heads.items():
            _must(lines.get(sequence) == line_hash, f"the log line {sequence} was answered and is not there")
        with sqlite3.connect(f"{(self.folder / 'vault' / 'index.db').as_uri()}?mode=ro", uri=True) as db:
            (integrity,) = db.execute("PRAGMA integrity_check").fetchone()
            left = {row[0].hex() for row in db.execute(_EPOCHS_WITH_TAGS)} & destroyed
        db.close()
        _must(integrity == "ok", f"the index is damaged: {integrity}")
        _must(not left, "a destroyed epoch still has tags")

    def _check_new_journal(self) -> None:
        fresh = self.folder / "fresh"
        shutil.rmtree(fresh, ignore_errors=True)
        Journal(fresh / "journal.db", self.kiosk_id, self.seal.load()).close()
        differs = _schema(fresh / "journal.db") ^ _schema(self.folder / "new_journal" / "journal.db")
        _must(not differs, f"a journal migrated over a power cut is not like a fresh one: {sorted(differs)[:5]}")

    def _check_new_server(self) -> None:
        found = _schema(self.folder / "new_server" / "gatehouse.db")
        differs = found ^ _schema(self._template.folder / "fresh.db")
        _must(not differs, f"a database migrated over a power cut is not like a fresh one: {sorted(differs)[:5]}")

    def keep_database(self) -> None:
        """Put what PostgreSQL holds beside the town's files, for whoever looks into a violation."""
        if self.database:
            self._cluster.start_again()
            self._cluster.dump(self.database, self.folder / "database.sql")

    def explain(self, error: BaseException) -> str:
        """What happened here, for whoever reads it."""
        log = (self.folder / "log").read_text(errors="replace")[-3000:] if (self.folder / "log").exists() else ""
        return "\n".join(["".join(traceback.format_exception(error)), *self.story[-12:], "-- log --", log])


@functools.cache
def can_mount() -> bool:
    """Whether this process may mount a tmpfs."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    with tempfile.TemporaryDirectory() as place:
        try:
            _mount("-t", "tmpfs", "-o", "size=64k", "tmpfs", place)
        except subprocess.CalledProcessError:
            return False
        subprocess.run(["umount", place], check=True)
    return True


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


def _journal_at(path: Path, stop_before: str) -> None:
    import sqlite_utils

    with sqlite3.connect(path, isolation_level=None) as db:
        MIGRATIONS.apply(sqlite_utils.Database(db), stop_before=stop_before)
    db.close()


def _schema(path: Path) -> set[tuple[str, ...]]:
    with sqlite3.connect(path) as db:
        found = set(db.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
    db.close()
    return found
