"""What watches the server learns: health, readiness, metrics, log lines; and strangers learn none of it."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import text

from config.errors import ConfigError
from config.server import OperationsSettings, ServerSettings
from server import create_app
from server.context import House
from server.web import logs
from tests.server.people import NOON, Browser, open_code, put_kiosk
from tests.server.vaults import TestVault

AsPerson = Callable[[str], Browser]
ELSEWHERE = {"REMOTE_ADDR": "192.0.2.7"}


def test_ready_names_what_fails_to_this_machine_and_to_nobody_else(app: Flask, house: House) -> None:
    client = app.test_client()
    checks = {"database": "ok", "migrations": "ok", "keys": "ok"}
    assert client.get("/readyz").json == {"ready": True, "checks": checks, "vault": "away"}
    assert client.get("/readyz", environ_base=ELSEWHERE).json == {"ready": True}
    assert client.get("/readyz", headers={"X-Forwarded-For": "127.0.0.1"}).json == {"ready": True}


def test_not_ready_while_the_tables_are_those_of_another_version(app: Flask, house: House) -> None:
    with house.database.writing() as writing:
        writing.execute(text("DELETE FROM alembic_version"))
    answer = app.test_client().get("/readyz")
    assert (answer.status_code, answer.json["checks"]["migrations"]) == (503, "failed")  # type: ignore[index]
    assert app.test_client().get("/readyz", environ_base=ELSEWHERE).json == {"ready": False}
    assert app.test_client().get("/healthz").status_code == 200


def test_metrics_count_requests_by_route_and_tell_how_the_fleet_is(app: Flask, house: House) -> None:
    put_kiosk(house, oldest_unsent_at=NOON - timedelta(hours=2), unsent_count=7)
    client = app.test_client()
    client.get("/healthz")
    client.get("/v/a-token-that-must-not-be-seen")
    page = client.get("/metrics").text
    assert 'gatehouse_requests_total{method="GET",route="web.alive",status="200"} 1.0' in page
    assert 'gatehouse_kiosks{condition="stuck"} 1.0' in page
    assert "gatehouse_oldest_unsent_seconds 7200.0" in page
    assert "gatehouse_unsent_records 7.0" in page
    assert 'gatehouse_request_seconds_count{route="web.alive"} 1.0' in page
    assert "a-token-that-must-not-be-seen" not in page


@pytest.mark.parametrize(
    ("environ", "headers"),
    [
        (ELSEWHERE, {}),
        ({}, {"X-Forwarded-For": "127.0.0.1"}),
        ({}, {"Forwarded": "for=127.0.0.1"}),
        (ELSEWHERE, {"Authorization": "Bearer "}),
        (ELSEWHERE, {"Authorization": "Bearer é"}),
        ({"REMOTE_ADDR": ""}, {}),
    ],
)
def test_metrics_are_not_for_others(app: Flask, environ: dict[str, str], headers: dict[str, str]) -> None:
    answer = app.test_client().get("/metrics", environ_base=environ, headers=headers)
    assert (answer.status_code, answer.json["code"]) == (403, "http_403")  # type: ignore[index]


def test_a_token_reads_the_metrics_from_elsewhere(app: Flask, settings: ServerSettings, tmp_path: Path) -> None:
    path = tmp_path / "token"
    with_token = replace(settings, operations=OperationsSettings(metrics_token_file=path))
    with pytest.raises(ConfigError, match="cannot be read"):
        create_app(with_token)
    path.write_text("short\n")
    with pytest.raises(ConfigError, match="needs 20"):
        create_app(with_token)
    path.write_text("a-token-of-enough-letters\n")
    guarded = create_app(with_token)
    get = guarded.test_client().get
    assert get("/metrics", environ_base=ELSEWHERE).status_code == 403
    right, wrong = ({"Authorization": f"Bearer a-token-of-enough-{word}"} for word in ("letters", "lettres"))
    assert get("/metrics", environ_base=ELSEWHERE, headers=wrong).status_code == 403
    assert get("/metrics", environ_base=ELSEWHERE, headers=right).status_code == 200
    guarded.extensions["gatehouse"].database.engine.dispose()


@pytest.mark.stores("sqlite")
def test_web_processes_count_together(app: Flask, settings: ServerSettings, tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    program = (
        "import sys; from pathlib import Path; from config.server import ServerSettings\n"
        "from server import create_app\n"
        "app = create_app(ServerSettings(public_url='http://localhost', data_dir=Path(sys.argv[1])))\n"
        "for _ in range(3): app.test_client().get('/healthz')\n"
        "print(app.test_client().get('/metrics').text)\n"
    )
    seen = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", program, str(settings.data_dir)],
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)},
            capture_output=True,
            text=True,
            check=True,
        )
        seen += re.findall(r'requests_total{method="GET",route="web.alive",status="200"} (\S+)', done.stdout)
    assert seen == ["3.0", "6.0"]


def test_each_request_has_a_number_in_its_answer_and_its_log_lines(
    app: Flask, as_person: AsPerson, caplog: pytest.LogCaptureFixture
) -> None:
    open_code(app)
    street = as_person("street")
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="gatehouse"):
        caplog.handler.setFormatter(logs.JsonLines())
        caplog.handler.addFilter(logs._note_request)
        answer = street.client.get("/search?q=锦江图书馆", headers={"X-Request-Id": "chosen-by-the-caller"})
    (line,) = [json.loads(line) for line in caplog.text.splitlines()]
    assert line["request_id"] == answer.headers["X-Request-Id"] != "chosen-by-the-caller"
    assert (line["route"], line["status"], line["level"]) == ("search.index", "200", "INFO")
    assert "锦江" not in caplog.text


def test_a_fault_is_one_json_line_with_its_traceback() -> None:
    try:
        raise ValueError("name=value\nsecond line")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "fault level=none at=never", (), sys.exc_info())
    line = logs.JsonLines().format(record)
    assert "\n" not in line
    told = json.loads(line)
    assert "ValueError" in told["fault"]
    assert (told["level"], told["message"]) == ("ERROR", "fault level=none at=never")


def test_the_vault_is_told_of_when_it_answers(app: Flask, vault: TestVault) -> None:
    assert app.test_client().get("/readyz").json["vault"] == "away"  # type: ignore[index]
