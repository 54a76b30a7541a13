"""gatehouse admin for accounts: lost second factors, training passes, open sessions, the key of cookies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from config.server import load_server_settings
from gatehouse.cli import main
from server import create_app
from server.accounts.models import RecoveryCode, TrainingPass, User
from server.audit import AuditEvent
from server.context import House
from tests.server.people import PASSWORD, Browser


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "server.toml"
    path.write_text('public_url = "http://localhost"\ndata_dir = "data"\n', encoding="utf-8")
    (tmp_path / "password").write_text(PASSWORD)
    assert main(["admin", "init", "--config", str(path)]) == 0
    for name in ("wang", "zhao"):
        words = ["create-user", name, "--role", "resident", "--password-file", str(tmp_path / "password")]
        assert main(["admin", *words, "--config", str(path)]) == 0
    return path


@pytest.fixture
def running(config: Path) -> Iterator[Flask]:
    app = create_app(load_server_settings(config))
    yield app
    app.extensions["gatehouse"].database.engine.dispose()


@pytest.fixture
def stored(running: Flask) -> House:
    found: House = running.extensions["gatehouse"]
    return found


def enter(app: Flask, name: str) -> Browser:
    browser = Browser(app.test_client())
    assert browser.post("/sign-in", {"name": name, "password": PASSWORD}, page="/sign-in").status_code == 303
    assert is_in(browser)
    return browser


def is_in(browser: Browser) -> bool:
    return not (browser.get("/account/").location or "").startswith("/sign-in")


def trail(house: House, action: str) -> list[str]:
    with house.database.reading() as reading:
        return [event.reason for event in reading.query(AuditEvent).filter_by(action=action)]


def test_a_lost_second_factor_is_removed_with_its_reason_and_ends_sessions(
    config: Path, running: Flask, stored: House, capsys: pytest.CaptureFixture[str]
) -> None:
    wang, zhao = enter(running, "wang"), enter(running, "zhao")
    with stored.database.writing() as writing:
        user = writing.query(User).filter_by(name="wang").one()
        writing.add(RecoveryCode(user_id=user.id, key=bytes(32), made_at=stored.now()))
    reset = ["admin", "reset-second-factor", "wang", "--config", str(config)]
    with pytest.raises(SystemExit) as without_reason:
        main(reset)
    assert without_reason.value.code == 2 and is_in(wang)
    assert main([*reset, "--reason", "phone lost, seen in person"]) == 0
    assert "1 sessions ended" in capsys.readouterr().out
    with stored.database.reading() as reading:
        assert reading.query(RecoveryCode).count() == 0
    assert not is_in(wang) and is_in(zhao)
    assert trail(stored, "account.factor_reset") == ["phone lost, seen in person"]


def test_a_training_pass_is_recorded_by_nobody_and_only_when_passed(
    config: Path, stored: House, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["admin", "training-pass", "wang", "--score", "79", "--config", str(config)]) == 2
    capsys.readouterr()
    assert main(["admin", "training-pass", "wang", "--score", "91", "--config", str(config)]) == 0
    said = capsys.readouterr().out
    assert "valid until" in said and "agreement is not signed" in said
    with stored.database.reading() as reading:
        (row,) = reading.query(TrainingPass).all()
        assert (row.score, row.recorded_by) == (91, None)
    assert main(["admin", "training-pass", "nobody", "--score", "91", "--config", str(config)]) == 2


def test_sessions_are_listed_and_ended_for_one_and_for_all(
    config: Path, running: Flask, stored: House, capsys: pytest.CaptureFixture[str]
) -> None:
    wang, zhao = enter(running, "wang"), enter(running, "zhao")

    def sessions(*words: str) -> str:
        capsys.readouterr()
        assert main(["admin", "sessions", *words, "--config", str(config)]) == 0
        return capsys.readouterr().out

    said = sessions()
    assert "wang" in said and "zhao" in said and said.endswith("2 sessions\n")
    said = sessions("wang")
    assert "wang" in said and "zhao" not in said
    assert sessions("wang", "--end") == "1 sessions ended\n"
    assert not is_in(wang) and is_in(zhao)
    enter(running, "wang")
    assert sessions("--end") == "2 sessions ended\n"
    assert not is_in(zhao) and sessions() == "0 sessions\n"
    assert trail(stored, "account.sessions_ended") == ["1 sessions", "2 sessions"]


def test_a_new_session_key_signs_everybody_out_and_believes_no_old_cookie(config: Path, running: Flask) -> None:
    wang = enter(running, "wang")
    cookie = wang.client.get_cookie("gatehouse")
    assert cookie
    before = (config.parent / "data" / "secret-key").read_bytes()
    assert main(["admin", "rotate-session-key", "--config", str(config)]) == 0
    assert (config.parent / "data" / "secret-key").read_bytes() != before
    assert (config.parent / "data" / "secret-key").stat().st_mode & 0o077 == 0
    assert not is_in(wang), "also where the old key is still in use"
    restarted = create_app(load_server_settings(config))
    old = Browser(restarted.test_client())
    old.client.set_cookie("gatehouse", cookie.value)
    assert not is_in(old)
    enter(restarted, "wang")
    restarted.extensions["gatehouse"].database.engine.dispose()
