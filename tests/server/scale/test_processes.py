"""Two web servers, two vaults and two workers as real processes on one database: nothing is done twice or forgotten."""

from __future__ import annotations

import http.cookiejar
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from config.server import load_server_settings
from server import create_app
from server.context import House
from server.vault.client import VaultAway, VaultClient
from server.vault.keyfile import new_secrets, write_keys, write_public
from server.vault.log import LOG_FILE, verified_lines
from tests.postgres import Cluster
from tests.server.ingest.fleet import PaperKiosk
from tests.server.people import PASSWORD
from tests.server.scale.standby import until

pytestmark = [pytest.mark.slow, pytest.mark.postgresql]
PASSPHRASE = b"a long passphrase for tests"


@dataclass
class Balancer:
    """Takes the next of two web servers for each request, as `PaperKiosk` and a browser would not know."""

    ports: list[int]
    cookies: http.cookiejar.CookieJar = field(default_factory=http.cookiejar.CookieJar)
    turn: int = 0

    def send(self, path: str, body: bytes | None = None, content_type: str = "") -> tuple[int, bytes]:
        self.turn += 1
        url = f"http://localhost:{self.ports[self.turn % 2]}{path}"
        headers = {"Content-Type": content_type} if content_type else {}
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies), _Stay())
        try:
            with opener.open(urllib.request.Request(url, body, headers), timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def post(self, path: str, data: bytes, content_type: str = "application/cbor") -> Answered:
        return Answered(*self.send(path, data, content_type))

    def fill_in(self, page: str, path: str, **fields: str) -> int:
        token = re.search(r'name="csrf_token" value="([^"]+)"', self.send(page)[1].decode())
        assert token
        form = urllib.parse.urlencode({"csrf_token": token[1], **fields}).encode()
        return self.send(path, form, "application/x-www-form-urlencoded")[0]


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: object) -> None:
        return None


@dataclass
class Answered:
    status_code: int
    data: bytes


@dataclass
class Site:
    house: House
    balancer: Balancer
    vaults: list[subprocess.Popen[bytes]]
    client: VaultClient
    folder: Path
    keys: object

    def seal_key(self):  # type: ignore[no-untyped-def]
        return self.keys.seal[0].public()  # type: ignore[attr-defined]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def site(tmp_path: Path, cluster: Cluster, furnished: Path, furnished_database: str) -> Iterator[Site]:
    name = cluster.create(furnished_database)
    data, vault = tmp_path / "data", tmp_path / "v"
    shutil.copytree(furnished, data)
    vault.mkdir(mode=0o700)
    keys = new_secrets(time.time_ns() // 1_000_000)
    write_keys(vault, keys, PASSPHRASE)
    write_public(vault, keys, time.time_ns() // 1_000_000)
    (data / "vault-public.cbor").write_bytes(keys.exported(time.time_ns() // 1_000_000))
    (tmp_path / "pass").write_bytes(PASSPHRASE)
    config = tmp_path / "server.toml"
    config.write_text(
        f'public_url = "http://localhost"\ndata_dir = "{data}"\ndatabase_url = "{cluster.url(name)}"\n'
        f'[accounts]\nsecond_factor_roles = []\n[vault]\nsocket = "{vault}/s"\n[listen]\nworkers = 1\nthreads = 2\n'
    )
    ports = [_free_port(), _free_port()]
    run_vault = ["vault", "run", "--dir", str(vault), "--socket", f"{vault}/s"]
    run_vault += ["--passphrase-file", str(tmp_path / "pass")]
    commands = [["server", "--config", str(config), "--port", str(port)] for port in ports]
    commands += [["worker", "--config", str(config)]] * 2 + [run_vault]
    with (tmp_path / "log").open("wb") as log:
        started = [subprocess.Popen([sys.executable, "-m", "gatehouse", *c], stdout=log, stderr=log) for c in commands]
        until((vault / LOG_FILE).exists, "the first vault did not come up", 120)
        until(lambda: any(line.split()[5].endswith(_inode(vault)) for line in _locks()), "it has no lock", 120)
        second = [sys.executable, "-m", "gatehouse", *run_vault, "--standby"]
        started.append(subprocess.Popen(second, stdout=log, stderr=log))
    app = create_app(load_server_settings(config))
    house: House = app.extensions["gatehouse"]
    made = Site(house, Balancer(ports), started[4:], VaultClient(vault / "s"), vault, keys)

    def is_up() -> bool:
        assert all(p.poll() is None for p in started), (tmp_path / "log").read_text()
        try:
            made.client.status()
            return all(urllib.request.urlopen(f"http://localhost:{p}/healthz", timeout=9).status == 200 for p in ports)
        except (VaultAway, urllib.error.URLError):
            return False

    try:
        until(is_up, "not everything came up", 120)
        yield made
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
        for process in started:
            process.wait(60)
        house.database.close()
        cluster.drop(name)


def test_two_of_each_do_everything_once(site: Site) -> None:
    # (1) kiosks: uploads go to either web server, some to both
    ring = type("Ring", (), {"seal": site.seal_key()})()
    kiosks = [PaperKiosk(site.house, site.balancer, ring) for _ in range(3)]  # type: ignore[arg-type]
    for kiosk in kiosks:
        assert kiosk.enrol().status_code == 200
        kiosk.walk(20)
        body = kiosk.upload()
        for _ in range(2):
            assert kiosk.answer(kiosk.post(body), body).want == 21  # type: ignore[arg-type]
    # (2) the vault that runs indexes each of them once, whichever worker brings it
    ids = [kiosk.id for kiosk in kiosks]
    until(lambda: set(site.client.marks(ids).values()) == {20}, "not everything is indexed", 120)
    assert _indexed(site) == 60
    # (3) the active vault is killed; the other takes its place, and goes on where it was
    holder = int(next(line.split()[4] for line in _locks() if line.split()[5].endswith(_inode(site.folder))))
    active = next(vault for vault in site.vaults if vault.pid == holder)
    active.kill()
    active.wait()
    for kiosk in kiosks:
        kiosk.walk(5)
        assert kiosk.exchange(20).want == 26
    until(lambda: _marks(site, ids) == {25}, "the standby did not take over", 120)
    assert _indexed(site) == 75
    # (4) people: a session begun at one server counts at the other, and ends for both
    browser = Balancer(site.balancer.ports)
    assert browser.fill_in("/sign-in", "/sign-in", name="street", password=PASSWORD) == 303
    assert [browser.send("/venues")[0] for _ in range(2)] == [200, 200]
    assert browser.fill_in("/password", "/sign-out") == 303
    assert 200 not in [browser.send("/venues")[0] for _ in range(2)]
    # (5) who guesses is slowed down by both together
    guesser = Balancer(site.balancer.ports)
    said = [guesser.fill_in("/sign-in", "/sign-in", name="district", password=f"wrong {n}") for n in range(12)]
    assert 429 in said and set(said) <= {401, 429}


def _indexed(site: Site) -> int:
    """How many records the vault's own log says were handed over, by one vault or the other."""
    key = site.keys.signing_key().public_key()  # type: ignore[attr-defined]
    return sum(line.facts["records"] for line in verified_lines(site.folder / LOG_FILE, key) if line.event == "indexed")


def _marks(site: Site, ids: list[bytes]) -> set[int]:
    try:
        return set(site.client.marks(ids).values())
    except VaultAway:
        return set()


def _inode(folder: Path) -> str:
    return f":{(folder / LOG_FILE).stat().st_ino}"


def _locks() -> list[str]:
    return [line for line in Path("/proc/locks").read_text().splitlines() if "FLOCK" in line and "->" not in line]
