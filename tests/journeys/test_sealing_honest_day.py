"""Sealing kept honest: after a day of passages of every kind, no file anywhere names anybody who passed.

Searched are the raw bytes of the kiosk's folder, the server's (SQLite with its WAL, or a dump of PostgreSQL), the
vault's, the backup as it is kept and as it is restored, every log and every temporary file; for what, see
tests/leaks.py.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyrage
import pytest
from flask import Flask
from werkzeug.serving import make_server

from config.server import BackupSettings, ServerSettings, VaultSettings
from firmware_bridge.device import DeviceState
from firmware_bridge.drivers.sam_v import IdCardReader
from firmware_bridge.simulators.sam_v import SamSimulator, resident_card
from kiosk.enrol import enrol, load_identity
from protocol.credentials import enrolment_code
from protocol.credentials.identity import Identity
from protocol.passage import Personal
from server import create_app
from server.backups.making import make_backup, unpack
from server.context import House
from server.setup import initialise
from server.vault.client import VaultClient
from server.vault.indexing import index_new
from server.worker.actions import follow_vault_log
from tests.kiosk.sync.house import Door
from tests.kiosk.test_id_card import Counter, with_check_digit
from tests.leaks import People, packed
from tests.postgres import MISSING, Cluster, programs
from tests.rig import Issuer, Rig
from tests.server.checkin.test_checkin_pages import Visitor, sealed_as_a_browser, token_of
from tests.server.ingest.fleet import make_code
from tests.server.people import PASSWORD_ALONE, furnish, open_code, sign_in
from tests.server.queries.conftest import form as query_form
from tests.server.queries.conftest import real_now
from tests.server.queries.test_query_pages import row_at, sign
from tests.server.vault.world import World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ON_CODE = Identity("欧阳小明", "11010519491231002X", "+8613800138001")
TYPED = {
    "name": "诸葛大海",
    "document": "resident_id",
    "number": with_check_digit("11010519770706001"),
    "phone": "13911112222",
}
HELPER, HELPED_BY_CARD, CARD_NUMBER = "司徒小红", "慕容测试", with_check_digit("11010519900307663")
BY_PHONE, WITHOUT_SCRIPT = ("上官云朵", "13722223333"), ("端木长风", "13644445555")
REGISTERED = {"name": "陈文文测", "id_number": with_check_digit("11010519880307123"), "phone": "13577778888"}
SECRETS = (
    *(ON_CODE.name, ON_CODE.id_number, str(ON_CODE.phone), TYPED["name"], TYPED["number"], TYPED["phone"], HELPER),
    *(HELPED_BY_CARD, CARD_NUMBER, *BY_PHONE, *WITHOUT_SCRIPT, *REGISTERED.values()),
)
PEOPLE = People(*SECRETS)
PAIR = pyrage.x25519.Identity.generate()


@dataclass
class Day:
    """A day that is over, and where its bytes lie."""

    folder: Path
    world: World
    kiosk: bytes
    passages: int
    records: int
    seen: dict[str, str] = field(default_factory=dict)  # what people were shown, which is no file


class Fixed:
    """What `Rig` asks of a kiosk's key and of the vault's."""

    def __init__(self, **parts: object) -> None:
        self.__dict__.update(parts)


@contextlib.contextmanager
def said_to(path: Path) -> Iterator[None]:
    """Everything that this process logs, at its most talkative, goes to *path*."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
        handler.close()


@contextlib.contextmanager
def temporary_files_in(folder: Path) -> Iterator[None]:
    """Every temporary file of this process and its children lies in *folder*."""
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        patch.setattr(tempfile, "tempdir", str(folder))
        yield


def at_the_entrance(folder: Path, issuer: Issuer, world: World) -> int:
    """A code with a sealed identity, a typed person, a helper with a code, an ID card, a fault; how many passed."""
    identity = load_identity(folder / "kiosk")
    assert identity is not None
    device = Fixed(id=identity.enrolment.kiosk, place=identity.enrolment.place)
    key = Fixed(public=identity.vault.seal[0].load())
    sealing = world.keys.identity[0].load()
    line = folder / "card-reader"
    with SamSimulator(line) as simulator, IdCardReader(str(line), bauds=(115200,)) as reader:
        assert reader.wait_for(lambda s: s.state is DeviceState.READY, 20)
        with Rig(
            folder / "kiosk", device=device, vault=key, issuer=issuer, readers={"id_card": reader}  # type: ignore[arg-type]
        ) as rig:  # fmt: skip
            reader.on_card(rig.lane.card_laid)
            counter = Counter(rig, simulator)
            now = datetime.now(UTC)
            assert all(rig.walk([issuer.code(now, 1, identity=ON_CODE, vault=sealing)]))
            assert counter.press("manual_entry", person=TYPED, why="no_phone", celsius="36.6").done
            counter.until(lambda: counter.passages() == 2)
            assert counter.press("fault_report", part="camera", what="broken").done
            assert counter.press(
                "proxy_entry", identify="paper_code", relation="child", helper_name=HELPER, consent=True
            ).done
            assert all(rig.walk([issuer.code(now, 2, identity=ON_CODE, vault=sealing)]))
            counter.expect(helper_name=HELPER)
            simulator.lay(resident_card(name=HELPED_BY_CARD, number=CARD_NUMBER, birth="19900307"))
            counter.until(lambda: counter.passages() == 4)
            passages = counter.passages()
    return passages


def by_phone(app: Flask, house: House) -> None:
    """Two visitors at a poster: one's browser seals, the other's has no script."""
    visitor = Visitor(app.test_client(), f"/v/{token_of(house, open_code(app))}")
    sealed = sealed_as_a_browser(visitor, house.settings, Personal(name=BY_PHONE[0], phone=f"+86{BY_PHONE[1]}"))
    for fields in (sealed, {"name": WITHOUT_SCRIPT[0], "phone": WITHOUT_SCRIPT[1]}):
        answer = app.test_client().post(visitor.path, data=fields) if fields is sealed else visitor.sends(**fields)
        assert answer.status_code in {200, 303}, answer.text


def at_the_desks(day: Day, app: Flask, house: House) -> None:
    """A registration, a query about a person that is approved and looked at, and one that is tried without approval."""
    worker = sign_in(app, "worker")
    answer = worker.post("/residents/new", {**REGISTERED, "area_code": "510104001001"}, page="/residents/new")
    assert answer.status_code == 303, answer.text
    assert worker.post("/residents/find", {"words": REGISTERED["id_number"]}).status_code < 500
    epi, district = sign_in(app, "epi"), sign_in(app, "district")
    for number, reveal in ((ON_CODE.id_number, "id_number"), (TYPED["number"], "name")):
        fields = {**query_form(house), "person_kind": "id_number", "person": number, "reveal": reveal}
        answer = epi.post("/queries/new", fields, page="/queries/new")
        assert answer.status_code == 303, answer.text
        address = answer.location
        if reveal == "name":
            assert epi.post(f"{address}/look", page=address).status_code >= 400
            reason = {"reason": f"the caller said {ON_CODE.phone}"}  # texts hold no numbers: this one is not taken
            district.post(f"{address}/refuse", reason, page=address)
            continue
        word = sign(day.world, row_at(house, address).query())
        district.post(f"{address}/approve", {"approval": word}, page=address)
        page = epi.post(f"{address}/look", page=address)
        day.seen["look"] = page.text
        made_up = base64.b64encode(b"made up").decode()
        district.post(f"{address}/approve", {"approval": made_up}, page=address)
    wrong = {**query_form(house), "person_kind": "id_number", "person": BY_PHONE[0]}  # a name where a number belongs
    assert epi.post("/queries/new", wrong, page="/queries/new").status_code < 500


def live_a_day(folder: Path, database_url: str) -> Day:
    """Everything once, with real processes where there are any; then everybody goes home."""
    world = World.make(folder / "vault")
    world.enrol("district", world.district_key)
    with contextlib.ExitStack() as stack:
        stack.enter_context(temporary_files_in(folder / "temporary"))
        stack.enter_context(said_to(folder / "server-and-kiosk.log"))
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        url = f"http://localhost:{listener.getsockname()[1]}"
        process = world.start("--origin", url)
        settings = ServerSettings(
            public_url=url,
            data_dir=folder / "server",
            database_url=database_url,
            accounts=PASSWORD_ALONE,
            backup=BackupSettings(recipients=(str(PAIR.to_public()),), folder=folder / "backups"),
            vault=VaultSettings(public_file=world.folder / "vault-public.cbor", socket=world.client().path),
        )
        initialise(settings, now=real_now())
        app = create_app(settings, now=real_now)
        app.testing = True
        house: House = app.extensions["gatehouse"]
        with app.app_context():
            furnish(house)
        server = make_server("127.0.0.1", 0, app, threaded=True, fd=listener.fileno())
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            code = enrolment_code.EnrolmentCode(
                url,
                make_code(house),
                house.keys.server_identity().public_key().public_bytes_raw(),
                world.secrets.fingerprint(),
                real_now() + timedelta(minutes=15),
            )
            enrol(folder / "kiosk", enrolment_code.make(code))
            passages = at_the_entrance(folder, Issuer(), world)
            door = Door.opened(folder / "kiosk")
            assert door.problem() is None
            by_phone(app, house)
            day = Day(folder, world, door.id, passages, door.journal.head()[0])
            with house.database.reading() as reading:
                assert index_new(reading, VaultClient(house.settings.vault_socket_path)).problems == 0
            at_the_desks(day, app, house)
            with app.app_context():
                follow_vault_log(house)
                row = make_backup(house)
            assert row.outcome == ""
            keep_copies(folder, house, row.file)
            door.close()
        finally:
            server.shutdown()
            thread.join()
            house.database.engine.dispose()
            process.terminate()
            output, _ = process.communicate(timeout=30)
            (folder / "vault.log").write_text(output, encoding="utf-8")
    return day


def keep_copies(folder: Path, house: House, backup: str) -> None:
    """The database as it lies there while the server runs, and the backup opened again."""
    (folder / "restored").mkdir()
    unpack(folder / "backups" / backup, PAIR, folder / "restored")
    if house.database.engine.dialect.name == "sqlite":
        for path in (folder / "server").glob("server.db*"):
            shutil.copyfile(path, folder / f"running-{path.name}")
        return
    tool = programs()
    assert tool is not None
    url = house.database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    for kind in ("plain", "custom"):
        with (folder / f"dump.{kind}").open("wb") as out:
            subprocess.run([tool / "pg_dump", f"--format={kind}", "--dbname", url], stdout=out, check=True)


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def day(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    folder = tmp_path_factory.mktemp("day")
    if request.param == "sqlite":
        yield live_a_day(folder, "")
        return
    if programs() is None:
        pytest.skip(MISSING)
    cluster = Cluster()
    try:
        yield live_a_day(folder, cluster.url(cluster.create()))
    finally:
        cluster.close()


def test_the_day_was_a_real_one(day: Day) -> None:
    """What follows would be worth nothing if nobody had been there: the approved look shows the person in full."""
    assert day.seen["look"].count(ON_CODE.id_number) >= 2  # the code that was scanned, and the one with a helper
    names = {path.name for path in day.folder.iterdir()}
    assert {"kiosk", "server", "vault", "backups", "restored", "temporary", "vault.log"} <= names
    assert (day.folder / "server-and-kiosk.log").stat().st_size > 1000


def test_no_file_anywhere_names_anybody(day: Day) -> None:
    assert PEOPLE.found_under(day.folder) == {}


def kiosk_database(folder: Path) -> Path:
    return folder / "kiosk" / "journal.db"


def plant_in_a_row(path: Path, value: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE planted (words TEXT)")
        database.execute("INSERT INTO planted VALUES (?)", (value,))
        database.commit()


def test_one_value_planted_in_any_place_is_found(day: Day, tmp_path: Path) -> None:
    """The search can fail: a value is put into each kind of place in turn, and is found there and nowhere else."""
    copy = tmp_path / "copy"
    shutil.copytree(day.folder, copy, ignore=lambda _, names: [n for n in names if n.endswith(".sock")], symlinks=True)
    places: dict[str, Callable[[Path], None]] = {
        "kiosk/journal.db": lambda path: plant_in_a_row(path, ON_CODE.name),
        "server-and-kiosk.log": lambda path: append(path, f"sync kiosk=east name={ON_CODE.name}\n".encode()),
        "vault.log": lambda path: append(path, ON_CODE.id_number.encode()),
        "vault/access.log": lambda path: append(path, b'{"who":"\\u6b27\\u9633\\u5c0f\\u660e"}\n'),
        "temporary/left": lambda path: append(path, b"x" + base64.b64encode(b"ab" + ON_CODE.name.encode() + b"c")),
        "restored/one": lambda path: append(path, packed("tar", "gzip", content=TYPED["number"].encode())),
    }
    for name in ("server/server.db", "running-server.db-wal", "dump.plain", "dump.custom"):
        if (copy / name).exists():
            places[name] = lambda path: append(path, zlib.compress(b"COPY " + BY_PHONE[1].encode()))
    for name, plant in places.items():
        path = copy / name
        before = path.read_bytes() if path.exists() else b""
        plant(path)
        assert list(PEOPLE.found_under(copy)) in ([name], [name, f"{name}-wal"], [f"{name}-wal"]), name
        path.write_bytes(before)
        for beside in ("-wal", "-shm"):
            if name == "kiosk/journal.db":
                path.with_name(path.name + beside).unlink(missing_ok=True)


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)
