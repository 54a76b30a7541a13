"""gatehouse admin and gatehouse server, as a person at a terminal meets them."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from sqlalchemy import text

from gatehouse.cli import main
from server.db import Database

AREAS = """code,parent,level,name_zh,name_en
510000,,province,四川省,Sichuan
510100,510000,city_command,成都市,Chengdu
510104,510100,district_command,锦江区,Jinjiang
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "server.toml"
    path.write_text('public_url = "http://localhost:8470"\ndata_dir = "data"\n', encoding="utf-8")
    assert main(["admin", "init", "--config", str(path)]) == 0
    return path


def admin(config: Path, *words: str) -> int:
    return main(["admin", *words, "--config", str(config)])


def test_a_fresh_server_is_made_in_three_steps(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "areas.csv").write_text(AREAS, encoding="utf-8-sig")
    assert admin(config, "import-areas", str(tmp_path / "areas.csv"), "--dry-run") == 0
    assert "nothing was changed" in capsys.readouterr().out
    assert admin(config, "import-areas", str(tmp_path / "areas.csv")) == 0
    assert "3 added" in capsys.readouterr().out
    assert admin(config, "import-areas", str(tmp_path / "areas.csv")) == 0
    assert "3 unchanged" in capsys.readouterr().out
    assert admin(config, "create-user", "zheng", "--role", "district_command", "--area", "510104") == 0
    assert "first password: " in capsys.readouterr().out
    assert admin(config, "create-user", "shop", "--role", "applicant", "--area", "510104") == 0
    assert "first password: " in capsys.readouterr().out
    assert main(["server", "--config", str(config), "--check"]) == 0
    assert admin(config, "audit") == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("create-user", "Zheng", "--role", "resident"), "not a user name"),
        (("create-user", "zheng", "--role", "street_admin"), "belongs to an area"),
        (("create-user", "zheng", "--role", "street_admin", "--area", "999"), "no area 999"),
        (("create-user", "zheng", "--role", "venue_staff"), "belongs to a venue"),
        (("create-user", "zheng", "--role", "venue_staff", "--venue", "00"), "no venue 00"),
        (("create-user", "zheng", "--role", "resident", "--area", "510104"), "has no area"),
        (("set-password", "nobody"), "no user nobody"),
        (("keys", "rotate", "everything"), "is not a use"),
        (("keys", "retire", "00000000"), "no issuer key"),
        (("import-areas", "/nonexistent.csv"), "cannot be read"),
    ],
)
def test_a_wrong_command_says_what_is_wrong(
    config: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert admin(config, *words) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("510105,510199,street,街,", "parent 510199 is not known"),
        ("510105,510100,village,村,", "is not a level"),
        ("510105,510104,province,省,", "cannot lie in"),
        ("510105,510100,district_command,,", "no Chinese name"),
        ("51/05,510100,district_command,区,", "not an area code"),
        ("510104,510000,district_command,区,", "areas do not move"),
        ("510105,510100", "not 5 columns"),
    ],
)
def test_one_bad_line_and_no_area_is_imported(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, said: str
) -> None:
    path = tmp_path / "areas.csv"
    path.write_text(AREAS + line + "\n", encoding="utf-8")
    assert admin(config, "import-areas", str(path)) == 2
    assert said in capsys.readouterr().err
    database = Database(f"sqlite:///{tmp_path / 'data' / 'server.db'}")
    with database.reading() as reading:
        assert reading.execute(text("SELECT count(*) FROM area")).scalar_one() == 0
    database.engine.dispose()


def test_keys_rotate_with_an_overlap_and_at_once(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert admin(config, "keys", "rotate", "health_code") == 0
    assert "until then kiosks learn it" in capsys.readouterr().out
    assert admin(config, "keys", "rotate", "health_code", "--now") == 0
    capsys.readouterr()
    assert admin(config, "keys", "list") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if " health_code " in line]
    assert len(lines) == 3 and sum(line.endswith("signs") for line in lines) == 2


def test_a_changed_trail_is_told_with_exit_code_one(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert admin(config, "seed-demo") == 0
    database = Database(f"sqlite:///{tmp_path / 'data' / 'server.db'}")
    with database.writing() as writing:
        writing.execute(text("DROP TRIGGER audit_event_no_DELETE"))
        writing.execute(text("DELETE FROM audit_event WHERE sequence = 4"))
    database.engine.dispose()
    assert admin(config, "audit") == 1
    assert "line 4 does not fit" in capsys.readouterr().err


def test_the_demo_is_for_an_empty_database_on_localhost(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "password").write_text("demo pass phrase\n")
    assert admin(config, "seed-demo", "--json", "--password-file", str(tmp_path / "password")) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["password"] == "demo pass phrase" and {"name": "wang", "role": "resident"} in told["accounts"]
    assert admin(config, "seed-demo") == 2
    public = tmp_path / "public.toml"
    public.write_text('public_url = "https://codes.example.cn"\ndata_dir = "data"\n')
    assert admin(public, "seed-demo") == 2
    assert "not on localhost" in capsys.readouterr().err


def test_a_server_without_keys_does_not_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "server.toml"
    path.write_text('public_url = "http://localhost"\ndata_dir = "data"\n')
    assert main(["server", "--config", str(path)]) == 2
    assert "gatehouse admin init" in capsys.readouterr().err


@pytest.mark.slow
def test_the_server_serves_until_told_to_stop(config: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (tmp_path / "log").open("wb")
    command = [sys.executable, "-m", "gatehouse", "server", "--config", str(config), "--port", str(port)]
    server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        for _ in range(300):
            try:
                with urllib.request.urlopen(f"http://localhost:{port}/readyz", timeout=5) as answer:
                    assert json.load(answer)["ready"] is True
                break
            except OSError:
                assert server.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.1)
        else:
            pytest.fail("the server did not come up")
    finally:
        server.terminate()
        assert server.wait(timeout=30) == 0
        log.close()
    assert "route=web.ready status=200" in (tmp_path / "log").read_text()
