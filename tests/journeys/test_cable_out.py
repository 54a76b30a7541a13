"""No cable, no Wi-Fi, no names from power-on: the kiosk boots, scans, measures, types, logs and speaks all the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gatehouse.demo.scene import Showing, render_video
from kiosk.verifying import verify_journal
from protocol.credentials import health_code
from protocol.passage import Header
from protocol.staff import StaffRole
from protocol.words import Colour, EntryMode, Outcome
from server.bundles.publishing import publish_all
from server.bundles.staff import set_staff
from server.context import utc_now
from server.keystore import ALG, IssuerUse
from tests.journeys.cable_out import PERSON, PIN
from tests.kiosk.sync.house import Door, LiveServer
from tests.kiosk_process import TOP, free_port
from tests.server.people import LIBRARY

pytestmark = pytest.mark.slow

# root may do it without a user namespace, which a chroot does not give
AS_ROOT = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
ALONE = ["unshare", *AS_ROOT, "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]


def can_be_alone() -> bool:
    """Whether this machine lets us make a network namespace."""
    if not (shutil.which("unshare") and shutil.which("ip")):
        return False
    return subprocess.run([*ALONE, "true"], capture_output=True).returncode == 0


@pytest.fixture
def server(tmp_path: Path) -> LiveServer:
    """Somebody works at the door; the server is gone before the kiosk is switched on."""
    made = LiveServer(tmp_path / "server")
    with made.house.database.writing() as writing:
        set_staff(writing, LIBRARY, "wei", "卫门口", StaffRole.KEEPER, PIN, utc_now())
    publish_all(made.house, utc_now())
    return made


def code_of(server: LiveServer) -> str:
    now = datetime.now(UTC)
    key = server.house.keys.issuer_signing_key(IssuerUse.HEALTH_CODE, now)
    return health_code.issue(
        key=key.private_key, alg=ALG, kid=key.kid, colour=Colour.GREEN, issued_at=now, cti=os.urandom(8)
    )


@pytest.mark.skipif(not can_be_alone(), reason="this machine makes no network namespaces (unshare, ip)")
@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_with_the_cable_out_from_power_on_the_entrance_works(tmp_path: Path, server: LiveServer) -> None:
    folder = tmp_path / "kiosk"
    door = Door.enrolled(folder / "data", server)
    assert door.problem() is None
    door.close()
    film = folder / "lobby.avi"
    render_video(film, [Showing(1.0, None), Showing(60.0, code_of(server))], fps=8.0)
    server.stop()
    port = free_port()
    config = folder / "kiosk.toml"
    config.write_text(
        f'data_dir = "data"\n[camera]\nsource = "{film}"\nfps = 8.0\n'
        f'[thermometer]\ndriver = "gy614v"\nport = "{folder / "thermometer"}"\nwarm_at_start = true\n'
        f'[screen]\nport = {port}\nvoice_cache = "voice"\n[sync]\ninterval_s = 2.0\ntimeout_s = 2.0\n',
        encoding="utf-8",
    )
    done = subprocess.run(
        [*ALONE, sys.executable, "-m", "tests.journeys.cable_out", str(config), str(port)],
        cwd=TOP,
        env={**os.environ, "PYTHONPATH": str(TOP)},
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])

    assert (told["network"], told["names"]) == (False, False), "it is really alone"
    face, temperature = told["scanned"]
    assert face == "pass" and 36.0 <= float(temperature) <= 37.2, "scanned and measured"
    assert "离线" in told["banner"]["mode"]["zh"] and told["banner"]["unsent"] >= 1, "and it says so"
    assert told["typed"]["signed_in"] and told["typed"]["recorded"], told["typed"]
    assert told["heard"], "a page that listens gets the verdict"
    assert 0.3 < told["spoken"]["seconds"] < 20 and told["spoken"]["loudest"] > 0, "a voice, not silence"

    headers: list[Header] = []
    report = verify_journal(folder / "data" / "journal.db", headers.append)
    assert report.is_chain_whole and report.receipted < report.last
    passages = [h.facts for h in headers if h.facts is not None]
    assert (EntryMode.SCAN, Outcome.ADMIT) in {(p.mode, p.outcome) for p in passages}
    assert EntryMode.MANUAL in {p.mode for p in passages}
    written = b"".join(path.read_bytes() for path in (folder / "data").rglob("*") if path.is_file())
    for secret in (PERSON["name"], PERSON["number"], PERSON["phone"]):
        assert secret.encode() not in written, "and nobody can be read from its card"
