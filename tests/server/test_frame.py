"""The frame around every page: the gate, headers, limits and errors in words."""

from __future__ import annotations

import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import ModuleType

import pytest
from flask import Blueprint, Flask

import server.application
from config.errors import ConfigError
from config.server import ServerSettings, load_server_settings
from server import create_app
from server.setup import initialise
from server.web.access import check_all_declared
from tests.server.people import NOON, Browser

pytestmark = pytest.mark.stores("sqlite")  # about requests and pages, not the database

TOP = Path(__file__).resolve().parents[2]


def test_a_route_that_does_not_say_who_may_use_it_stops_the_start(app: Flask) -> None:
    app._got_first_request = False
    app.add_url_rule("/forgotten", "forgotten", lambda: "secret")
    with pytest.raises(LookupError, match="forgotten does not say who may use it"):
        check_all_declared(app)


def test_an_application_with_such_a_route_cannot_be_made(
    settings: ServerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten = ModuleType("server.forgotten.views")
    blueprint = Blueprint("forgotten", __name__)
    blueprint.add_url_rule("/forgotten", "page", lambda: "secret")
    forgotten.blueprint = blueprint  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "server.forgotten.views", forgotten)
    monkeypatch.setattr(server.application, "SUBJECTS", (*server.application.SUBJECTS, "forgotten"))
    initialise(settings, now=NOON)
    with pytest.raises(LookupError, match="forgotten.page"):
        create_app(settings)


def test_every_answer_carries_the_security_headers(stranger: Browser) -> None:
    for path in ("/sign-in", "/no-such-page", "/static/gatehouse.css", "/healthz"):
        with stranger.get(path) as answer:
            headers = answer.headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert "Referrer-Policy" in headers
    assert stranger.get("/sign-in").headers["Cache-Control"] == "no-store"


def test_https_makes_cookies_secure_and_sends_hsts(tmp_path: Path) -> None:
    settings = ServerSettings(public_url="https://codes.example.cn", data_dir=tmp_path)
    initialise(settings, now=NOON)
    answer = create_app(settings).test_client().get("/sign-in", base_url="https://codes.example.cn")
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-gatehouse=")
    assert "Secure" in cookie and "HttpOnly" in cookie and "SameSite=Lax" in cookie
    assert "max-age" in answer.headers["Strict-Transport-Security"]


def test_another_host_name_is_refused(stranger: Browser) -> None:
    assert stranger.client.get("/sign-in", base_url="http://evil.example").status_code == 400


def test_a_form_without_its_token_is_refused(stranger: Browser, as_person: Callable[[str], Browser]) -> None:
    assert stranger.client.post("/sign-in", data={"name": "street", "password": "x"}).status_code == 400
    assert as_person("street").client.post("/sign-out").status_code == 400


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}],
)
def test_a_form_sent_by_another_site_is_refused(as_person: Callable[[str], Browser], headers: dict[str, str]) -> None:
    street = as_person("street")
    form = {"csrf_token": street.token("/password")}
    assert street.client.post("/sign-out", data=form, headers=headers).status_code == 403
    assert street.client.post("/sign-out", data=form).status_code == 303


def test_a_body_that_is_too_large_is_refused(stranger: Browser) -> None:
    answer = stranger.client.post("/sign-in", data={"name": "x" * 300_000})
    assert answer.status_code == 413
    assert "What you sent is too large." in answer.text


def test_a_form_of_unknown_length_is_refused_and_never_cut_off(stranger: Browser) -> None:
    body = BytesIO(b"name=street&password=" + b"x" * 400_000)
    answer = stranger.client.post(
        "/sign-in",
        input_stream=body,
        headers={"Transfer-Encoding": "chunked", "Content-Type": "application/x-www-form-urlencoded"},
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert answer.status_code == 411


@pytest.mark.parametrize(("path", "status"), [("/no-such-page", 404), ("/sign-out", 405)])
def test_errors_are_pages_in_words(stranger: Browser, path: str, status: int) -> None:
    answer = stranger.get(path)
    assert answer.status_code == status
    assert '<html lang="zh-Hans">' in answer.text and "Traceback" not in answer.text


def test_machines_get_errors_for_machines(stranger: Browser) -> None:
    answer = stranger.client.post("/sync/v1/no-such-thing")
    assert answer.status_code == 404
    assert answer.json is not None and answer.json["code"] == "http_404"


def test_health_and_readiness(app: Flask, stranger: Browser) -> None:
    assert stranger.get("/healthz").json == {"alive": True}
    assert stranger.client.get("/readyz", environ_base={"REMOTE_ADDR": "192.0.2.7"}).json == {"ready": True}


def test_not_ready_without_tables(settings: ServerSettings, clock: Callable[[], object]) -> None:
    initialise(settings, now=NOON)
    (settings.data_dir / "server.db").unlink()
    answer = create_app(settings).test_client().get("/readyz")
    assert answer.status_code == 503 and answer.json is not None and answer.json["ready"] is False


def test_a_missing_or_short_secret_stops_the_start(settings: ServerSettings) -> None:
    with pytest.raises(ConfigError, match="no secret key"):
        create_app(settings)
    initialise(settings, now=NOON)
    settings.secret_key_path.write_text("short")
    with pytest.raises(ConfigError, match="needs 32"):
        create_app(settings)


def test_the_example_settings_load() -> None:
    assert load_server_settings(TOP / "config" / "server.example.toml").is_https


@pytest.mark.parametrize("url", ["codes.example.cn", "https://codes.example.cn/", "http://codes.example.cn", "ftp://x"])
def test_a_bad_public_url_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ValueError, match="public_url"):
        ServerSettings(public_url=url, data_dir=tmp_path)
