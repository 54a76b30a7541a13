"""A new version is believed, tried and left again by itself; power may go between any two steps; no record is lost."""

from __future__ import annotations

import sqlite3
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from config.errors import GatehouseError
from config.server import TrustSettings
from gatehouse.cli import main
from gatehouse.commands.kiosk_update import pack
from kiosk.carrying import CarryError, export_journal
from kiosk.doctor import examine
from kiosk.slots import CURRENT, GOOD, SLOT, UpdateError
from kiosk.verifying import verify_journal
from protocol.errors import ProtocolError
from protocol.trust import TrustList
from protocol.update import MAGIC, UpdateKind, version_key
from server.bundles.parts import IMPORTED_TRUST
from tests.kiosk.sync.house import Door, LiveServer
from tests.kiosk.updating.workshop import QUICK, TOP, Workshop

pytestmark = pytest.mark.slow

PROGRAM = """
import os, sys
def main():
    os.environ["PYTHONPATH"] = {top!r}
    os.execv({python!r}, [{python!r}, "-m", "gatehouse", *sys.argv[1:]])
"""


def make_wheel(folder: Path, version: str) -> None:
    """A wheel (PEP 427) whose command starts this program."""
    info = f"gatehouse-{version}.dist-info"
    files = {
        "gatehouse_started.py": PROGRAM.format(top=str(TOP), python=sys.executable),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: gatehouse\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\ngatehouse = gatehouse_started:main\n",
    }
    record = "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(folder / f"gatehouse-{version}-py3-none-any.whl", "w") as wheel:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(name, text)


STEPS = "checked cleared copied unpacked whole backed_up proved noted swapped tried good done".split()


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("maker") / "update.pem"
    assert main(["kiosk", "update", "key", "--out", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, key: Path) -> Iterator[LiveServer]:
    """A server whose trust list names the update key, put there as an administrator does it."""
    made = LiveServer(tmp_path_factory.mktemp("server"))
    listed = made.house.settings.data_dir / IMPORTED_TRUST
    assert (
        main(["trust", "import", str(key) + ".json", "--out", str(listed), "--key", str(key.with_name("trust"))]) == 0
    )
    signer = TrustList.from_signed(listed.read_bytes(), None).signer
    assert signer is not None
    object.__setattr__(made.house, "settings", replace(made.house.settings, trust=TrustSettings(signer.hex())))
    yield made
    made.stop()


@pytest.fixture
def workshop(tmp_path: Path, server: LiveServer) -> Workshop:
    return Workshop(tmp_path / "kiosk", server)


def refused(workshop: Workshop, package: Path, **how: Path) -> GatehouseError:
    """Why it was not installed; the old version stands as it stood."""
    with pytest.raises(GatehouseError) as error:
        workshop.updater().install(package, **how)
    assert (workshop.slots.linked(CURRENT), workshop.slots.linked(GOOD)) == ("a", "a")
    assert workshop.slots.version("a") == "1.0" and error.value.hint
    return error.value


def walk(workshop: Workshop, people: int = 2) -> None:
    door = Door.opened(workshop.data)
    door.walk(people)
    door.close()


def whole(workshop: Workshop) -> int:
    """The journal's last record; its chain holds."""
    report = verify_journal(workshop.settings.journal_path)
    assert report.is_chain_whole, report.findings
    return report.last


def on_proof(sql: str, then: str = "") -> str:
    """Lines of a program that changes the journal's copy when it is asked to prove itself."""
    change = f"import sqlite3, sys; sqlite3.connect(sys.argv[1], isolation_level=None).execute('{sql}')"
    return f'case "$*" in *prove*) {sys.executable} -c "{change}" "$7"; {then or "true"};; esac'


@pytest.mark.parametrize(
    ("lower", "higher"),
    [("0.9", "0.10"), ("1.0rc1", "1.0"), ("1.0a2", "1.0b1"), ("1.0", "1.0.1"), ("1.9.9", "2.0"), ("1.0rc2", "1.0rc10")],
)
def test_versions_are_ordered_as_people_count(lower: str, higher: str) -> None:
    assert version_key(lower) < version_key(higher)
    assert version_key("1.0") == version_key("1.0.0")


@pytest.mark.parametrize("version", ["", "1", "v1.0", "1.0-beta", "1..0", "9" * 9, "1.0+local", "１.０"])
def test_only_plain_versions_are_versions(version: str) -> None:
    if version == "1":
        assert version_key(version) == version_key("1.0")
        return
    with pytest.raises(ProtocolError):
        version_key(version)


def test_a_good_version_is_tried_on_the_real_entrance_and_stays(workshop: Workshop, key: Path) -> None:
    note = workshop.updater().install(workshop.package(key))
    assert (note.state, note.before, note.after, note.why) == ("done", "1.0", "1.1", "")
    assert (workshop.slots.linked(CURRENT), workshop.slots.linked(GOOD)) == ("b", "b")
    assert workshop.running() == "1.1" and workshop.slots.version("a") == "1.0", "the old one is kept"
    assert whole(workshop) > 0, "the trial itself stands in the journal"
    assert not list(workshop.data.glob("journal-before-*")), "its tables were not changed: no backup is due"
    assert [f.ok for f in examine(workshop.settings) if f.part == "update"] == [True]
    assert workshop.settle() == ""
    with pytest.raises(UpdateError) as older:
        workshop.updater().install(workshop.package(key, "1.1"))
    assert older.value.code == "older" and workshop.running() == "1.1"
    assert workshop.updater().install(workshop.package(key, "1.2")).state == "done"
    assert workshop.slots.linked(CURRENT) == "a" and workshop.slots.version("b") == "1.1", "turn about"


def test_an_older_or_equal_version_is_refused(workshop: Workshop, key: Path) -> None:
    for version in ("0.9", "1.0", "1.0.0", "1.0rc1"):
        assert refused(workshop, workshop.package(key, version)).code == "older"


def test_a_package_that_is_not_ours_is_refused(workshop: Workshop, key: Path, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger.pem"
    assert main(["kiosk", "update", "key", "--out", str(stranger)]) == 0
    assert refused(workshop, workshop.package(stranger)).code == "not_ours"
    good = workshop.package(key)
    whole_package = good.read_bytes()
    for at, code in ((10, "not_ours"), (60, "not_ours"), (len(whole_package) - 5, "damaged"), (0, "not_a_package")):
        data = bytearray(whole_package)
        data[at] ^= 1
        good.write_bytes(data)
        assert refused(workshop, good).code == code, at
    for cut in (0, 3, len(MAGIC) + 2, 50, len(whole_package) // 2, len(whole_package) - 1):
        good.write_bytes(whole_package[:cut])
        assert refused(workshop, good).code in ("not_a_package", "damaged", "not_ours"), cut
    good.write_bytes(whole_package + b"x")
    assert refused(workshop, good).code == "damaged"
    assert refused(workshop, tmp_path / "nothing.ghu").code == "not_a_package"
    assert workshop.slots.version("b") is None


def test_unsent_passages_stop_an_update_until_they_are_carried_off(
    workshop: Workshop, key: Path, tmp_path: Path
) -> None:
    walk(workshop, 3)
    package = workshop.package(key)
    told = refused(workshop, package)
    assert told.code == "unsent" and "3" in told.message and "--exported" in told.hint
    older = tmp_path / "older.ghj"
    export_journal(workshop.data, older)
    walk(workshop, 1)
    assert refused(workshop, package, exported=older).code == "unsent", "the newest passage is not in that file"
    newer = tmp_path / "newer.ghj"
    export_journal(workshop.data, newer)
    data = newer.read_bytes()
    newer.write_bytes(data[:-1])
    with pytest.raises(CarryError):
        workshop.updater().install(package, exported=newer)
    newer.write_bytes(data)
    assert workshop.updater().install(package, exported=newer).state == "done"
    assert whole(workshop) >= 4, "the unsent records are where they were"


def test_what_the_server_holds_stops_no_update(workshop: Workshop, key: Path) -> None:
    door = Door.opened(workshop.data)
    door.walk(2)
    assert door.problem() is None
    door.close()
    assert workshop.updater().install(workshop.package(key)).state == "done"


@pytest.mark.parametrize(
    ("first", "code"),
    [
        ("exit 3", "proof"),  # starts nothing at all
        ('[ "$3" = prove ] && exec sleep 600', "proof"),  # hangs in its self-test
        ('[ "$1" = doctor ] && exit 0', "proof"),  # a doctor that finds nothing to look at
        ('[ "$1" = doctor ] && echo \'{"part": "journal", "ok": false, "what": "gone"}\' && exit 1', "proof"),
        # changes the journal so that the old version could not go on
        ("spoil", "proof"),
    ],
)
def test_a_version_that_does_not_prove_itself_is_never_started(
    workshop: Workshop, key: Path, first: str, code: str
) -> None:
    if first == "spoil":
        first = on_proof("DROP VIEW record", "exit 0")
        door = Door.opened(workshop.data)
        door.walk(2)
        assert door.problem() is None
        door.close()
    last = whole(workshop) if workshop.settings.journal_path.exists() else 0
    package = workshop.package(key, first=first)
    quick = replace(QUICK, proof_s=3.0) if "sleep" in first else QUICK
    with pytest.raises(UpdateError) as error:
        workshop.updater(quick).install(package)
    assert error.value.code == code, error.value
    assert workshop.running() == "1.0" and workshop.slots.version("b") is None
    assert not (workshop.data / "update-proof").exists()
    assert whole(workshop) == last, "the journal was not touched"


@pytest.mark.parametrize(
    ("first", "why"),
    [
        ('[ "$2" = --config ] && exit 1', "ended"),
        ('[ "$2" = --config ] && exec sleep 600', "silent"),
    ],
)
def test_a_version_that_fails_at_the_real_entrance_is_left_by_itself(
    workshop: Workshop, key: Path, first: str, why: str
) -> None:
    note = workshop.updater(replace(QUICK, start_s=8.0)).install(workshop.package(key, first=first))
    assert (note.state, note.why, note.before) == ("went_back", why, "1.0")
    assert workshop.running() == "1.0" and workshop.slots.linked(GOOD) == "a"
    (told,) = [f for f in examine(workshop.settings) if f.part == "update"]
    assert not told.ok and "1.1" in told.what.zh and "1.0" in told.what.zh and told.do.zh
    assert workshop.slots.health() == (("update", f"went_back 1.1 {why}"),)
    assert workshop.updater().install(workshop.package(key, "1.2")).state == "done", "a better one may come"


def test_a_version_that_changes_the_tables_leaves_a_backup(workshop: Workshop, key: Path) -> None:
    change = on_proof("CREATE TABLE added (x INTEGER) STRICT")
    door = Door.opened(workshop.data)
    door.walk(2)
    assert door.problem() is None
    door.close()
    assert workshop.updater().install(workshop.package(key, first=change)).state == "done"
    backup = workshop.data / "journal-before-1.0.db"
    assert verify_journal(backup).is_chain_whole and verify_journal(backup).last >= 2
    assert backup.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(backup) as db:
        assert not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'added'").fetchall()


@pytest.mark.parametrize("step", STEPS)
def test_the_power_may_go_between_any_two_steps(workshop: Workshop, key: Path, step: str) -> None:
    """Killed after a step; then what the service does at its start, and then the same package once more."""
    door = Door.opened(workshop.data)
    door.walk(2)
    assert door.problem() is None
    door.close()
    package, last = workshop.package(key), whole(workshop)
    assert workshop.dies_after(package, step) == STEPS[: STEPS.index(step) + 1]
    workshop.settle()
    is_new = step in ("good", "done")
    assert workshop.running() == ("1.1" if is_new else "1.0")
    assert workshop.slots.linked(CURRENT) == workshop.slots.linked(GOOD)
    note = workshop.slots.note()
    was_tried = STEPS.index(step) >= STEPS.index("noted")
    assert (note.state if note else None) == ("done" if is_new else "went_back" if was_tried else None)
    assert whole(workshop) >= last, "no record is lost"
    assert workshop.settle() == "", "settled once, settled for good"
    if step in ("copied", "whole", "swapped"):  # whatever lay about is no hindrance
        assert workshop.updater().install(package).state == "done" and workshop.running() == "1.1"


def test_no_room_for_a_copy_of_the_journal_is_said_before_anything_runs(
    workshop: Workshop, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kiosk.update.LEAST_FREE_BYTES", 10**18)
    assert refused(workshop, workshop.package(key)).code == "no_room"
    assert not (workshop.data / "update-proof").exists() and workshop.slots.version("b") is None


@pytest.mark.parametrize("step", ["tried", "pointed_back"])
def test_the_lights_go_out_while_it_goes_back(workshop: Workshop, key: Path, step: str) -> None:
    workshop.dies_after(workshop.package(key, first='[ "$2" = --config ] && exit 1'), step)
    workshop.settle()
    assert workshop.running() == "1.0" and workshop.slots.linked(GOOD) == "a"
    note = workshop.slots.note()
    assert note is not None and (note.state, note.why) == ("went_back", "power")


def test_while_an_update_is_under_way_nobody_settles_it(workshop: Workshop) -> None:
    workshop.slots.point(CURRENT, "b")
    with workshop.slots.alone():
        assert workshop.settle() == "" and workshop.slots.linked(CURRENT) == "b"
        with pytest.raises(UpdateError) as busy:
            with workshop.slots.alone():
                pass
        assert busy.value.code == "busy"
    assert "went_back" in workshop.settle() and workshop.slots.linked(CURRENT) == "a"


def test_a_running_kiosk_is_not_updated(workshop: Workshop, key: Path) -> None:
    door = Door.opened(workshop.data)
    assert refused(workshop, workshop.package(key)).code == "busy"
    door.close()


def test_half_a_slot_never_looks_whole(workshop: Workshop) -> None:
    folder = workshop.slots.folder("b")
    (folder / "bin").mkdir(parents=True)
    assert workshop.slots.version("b") is None
    for nonsense in (b"", b"{", b"[]", b'{"version": 1}'):
        (folder / SLOT).write_bytes(nonsense)
        assert workshop.slots.version("b") is None


def test_wheels_become_an_environment_of_their_own(workshop: Workshop, key: Path, tmp_path: Path) -> None:
    """A real environment, filled from a real wheel without asking any network; this one's program is ours again."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    make_wheel(wheels, "1.1")
    package = tmp_path / "wheels.ghu"
    assert pack(key, "1.1", UpdateKind.WHEELS, wheels, package, made_at_ms=1) > 0
    assert workshop.updater().install(package).state == "done"
    program = workshop.slots.folder("b") / "bin"
    assert (program / "python").exists() and workshop.running() == "1.1"
    assert not list(workshop.slots.folder("b").rglob("*.whl"))
