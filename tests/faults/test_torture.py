"""A short torture: kills and faults below Python, and proof that the torture would notice."""

from __future__ import annotations

import errno
import random
import sqlite3
from pathlib import Path

import pytest

from tests.torture import disk, harness
from tests.torture.disk import Entry, Kind, Loss, cut_power
from tests.torture.lives import Life
from tests.torture.shim import EVER, Act, On, Plan
from tests.torture.town import Town, Violation

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.mark.parametrize("town", [11, 22], indirect=True)
def test_kills_and_faults_violate_nothing(town: Town) -> None:
    for _ in range(9):
        try:
            town.run()
        except Violation as violation:
            pytest.fail(town.explain(violation))
    assert town.kinds.total() >= 6


def test_a_kiosk_may_die_at_every_step_and_lose_all_that_was_not_synced(town: Town) -> None:
    """Every second boundary between two changes to its files; a power cut takes the most that it may."""
    before = town._snapshot("kiosk")
    whole = town._begin(Life("kiosk", town.folder, people=2))
    assert whole.ends(60) and whole.code == 0
    steps = sum(e.kind is not Kind.KNOWN for e in disk.entries(town.folder / "records" / "kiosk"))
    assert steps > 15, "the steps are not being counted"
    for at in range(1, steps, 2):
        before = town._snapshot("kiosk")
        life = Life("kiosk", town.folder, (Plan(Act.DIE_AFTER, at),), people=2)
        living = town._begin(life)
        assert living.ends(60) and living.code in (-9, 0)
        cut_power(life.folder, before, life.record, Loss.ALL, random.Random(at))
        town.check_kiosk()
    town._kiosk_goes_on()


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EROFS])
def test_a_disk_that_fails_for_good_shows_nothing_and_mends_without_help(town: Town, number: int) -> None:
    shown = len(_lines(town, "shown"))
    life = Life("kiosk", town.folder, (Plan(Act.FAIL, 14, EVER, number, On.WRITE),), people=6)
    living = town._begin(life)
    assert living.ends(60) and living.code in (0, 3)
    assert disk.faults(life.record)
    assert len(_lines(town, "shown")) < shown + 6 or living.code == 3
    town._kiosk_goes_on()


@pytest.mark.parametrize("sabotage", ["no_sync", "shown_first"])
def test_a_kiosk_that_does_not_sync_or_shows_too_early_is_found(town: Town, sabotage: str) -> None:
    town.sabotage = sabotage
    with pytest.raises(Violation):
        for _ in range(25):
            town._hurt_the_kiosk()


@pytest.mark.postgresql
def test_a_database_that_dies_at_any_instant_loses_no_receipt(postgresql_town: Town) -> None:
    for _ in range(3):
        try:
            postgresql_town._crash_postgresql()
        except Violation as violation:
            pytest.fail(postgresql_town.explain(violation))
    assert sum("PostgreSQL" in line for line in postgresql_town.story) == 3


@pytest.mark.postgresql
def test_receipts_from_before_the_database_has_written_are_found(postgresql_town: Town) -> None:
    postgresql_town.sabotage = "early_receipts"
    with pytest.raises(Violation, match="receipt"):
        for _ in range(10):
            postgresql_town._crash_postgresql()


def _lines(town: Town, word: str) -> list[str]:
    return [line for line in (town.folder / "trace").read_text().splitlines() if line.startswith(word)]


def test_without_a_compiler_the_command_says_so_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert harness.main(["--minutes", "0.01"]) == 2
    assert "apt-get install gcc" in capsys.readouterr().err


class Paper:
    """A record written by hand, over a folder with one file."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.before, self.record = folder / "disk", folder / "before", folder / "record"
        for made in (self.folder, self.before):
            made.mkdir()
            (made / "old").write_bytes(b"0123456789")
        self._log: list[Entry] = [
            Entry(Kind.KNOWN, 1, 1, 0, str(self.folder).encode()),
            Entry(Kind.KNOWN, 2, 0, 10, str(self.folder / "old").encode()),
        ]

    def add(self, kind: Kind, id_: int = 0, offset: int = 0, payload: bytes = b"") -> None:
        self._log.append(Entry(kind, id_, offset, len(payload), payload))

    def named(self, kind: Kind, id_: int, *names: str) -> None:
        paths = [str(self.folder / name).encode() for name in names]
        self.add(kind, id_, len(paths[0]) if kind is Kind.RENAME else 0, b"".join(paths))

    def cut(self, loss: Loss, seed: int = 1) -> dict[str, bytes]:
        with self.record.open("wb") as file:
            for e in self._log:
                file.write(disk._HEAD.pack(e.kind, e.id, e.offset, e.size, len(e.payload)) + e.payload)
        cut_power(self.folder, self.before, self.record, loss, random.Random(seed))
        return {path.name: path.read_bytes() for path in self.folder.iterdir()}


def test_what_was_synced_survives_and_what_was_not_may_go(tmp_path: Path) -> None:
    paper = Paper(tmp_path)
    paper.add(Kind.WRITE, 2, 0, b"AB")
    paper.add(Kind.SYNC, 2)
    paper.add(Kind.WRITE, 2, 4, b"CD")
    assert paper.cut(Loss.ALL) == {"old": b"AB23456789"}
    assert paper.cut(Loss.NOTHING) == {"old": b"AB23CD6789"}


def test_a_new_name_survives_when_its_folder_was_synced(tmp_path: Path) -> None:
    paper = Paper(tmp_path)
    paper.named(Kind.CREATE, 3, ".fresh")
    paper.add(Kind.WRITE, 3, 0, b"new")
    paper.add(Kind.SYNC, 3)
    paper.named(Kind.RENAME, 0, ".fresh", "old")
    assert paper.cut(Loss.ALL) == {"old": b"0123456789"}
    paper.add(Kind.SYNC, 1)
    assert paper.cut(Loss.ALL) == {"old": b"new"}


def test_a_file_renamed_before_it_was_synced_may_be_empty(tmp_path: Path) -> None:
    paper = Paper(tmp_path)
    paper.named(Kind.CREATE, 3, ".fresh")
    paper.add(Kind.WRITE, 3, 0, b"new")
    paper.named(Kind.RENAME, 0, ".fresh", "old")
    paper.add(Kind.SYNC, 1)
    assert paper.cut(Loss.ALL) == {"old": b""}


def test_pages_come_in_any_order_and_leave_holes(tmp_path: Path) -> None:
    paper = Paper(tmp_path)
    paper.add(Kind.WRITE, 2, 0, b"x" * 3 * disk.PAGE_BYTES)
    found = [paper.cut(Loss.PAGES, seed)["old"] for seed in range(40)]
    whole = b"x" * disk.PAGE_BYTES
    assert any(f[disk.PAGE_BYTES : 2 * disk.PAGE_BYTES] == whole and f[: disk.PAGE_BYTES] != whole for f in found)
    assert any(f.endswith(bytes(disk.PAGE_BYTES)) for f in found)
    assert len({len(f) for f in found}) > 2


def test_the_record_tells_what_sqlite_wrote(town: Town) -> None:
    """Laid out from its record with nothing lost, a dead kiosk's disk is the disk that it left."""
    before = town._snapshot("kiosk")
    life = Life("kiosk", town.folder, (Plan(Act.DIE_BEFORE, 25),), people=5)
    living = town._begin(life)
    assert living.ends(60) and living.code == -9
    left = {p.name: p.read_bytes() for p in life.folder.iterdir() if p.is_file() and not p.name.endswith("-shm")}
    cut_power(life.folder, before, life.record, Loss.NOTHING, random.Random(1))
    assert {p.name: p.read_bytes() for p in life.folder.iterdir() if p.is_file()} == left
    with sqlite3.connect(life.folder / "journal.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
