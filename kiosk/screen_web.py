"""The screen's small web application: the page, its events, the camera picture, sounds, and buttons.

It is reached over loopback only, and a browser on this machine may open foreign pages all the same. So every request
must name this very address (against DNS rebinding), and none may come from another site.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from flask import Flask, Response, abort, jsonify, request, send_file
from flask.typing import ResponseReturnValue

from config.screen import ScreenSettings
from kiosk import texts
from kiosk.panel_session import PanelSessions
from kiosk.panel_web import OnAction, OnInspect, OnRecord, add_panel
from kiosk.screen_feed import Feed
from kiosk.screen_preview import MIMETYPE, Preview
from kiosk.screen_view import event_of, render_page
from kiosk.voice import TONE_NAMES, Voice

log = logging.getLogger("kiosk.screen")

HERE = Path(__file__).resolve().parent
BEAT_S = 5.0  # a sign of life at least this often; the page gives up after two missed ones
MAX_BODY_BYTES = 16 * 1024  # the longest form of the panel is below 2 kB

SAID_ON_REQUEST = ("called", "self_test", *(f"elder_{name}" for name in texts.ELDER))  # phrases that a page may ask for

SECURITY_HEADERS = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "img-src 'self'",
            "style-src 'self'",
            "script-src 'self'",
            "connect-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        )
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def build_mark() -> str:
    """A short mark of the page's own files; a page that sees another one loads itself anew after an update."""
    digest = hashlib.sha256()
    for path in sorted([*HERE.glob("static/**/*"), *HERE.glob("templates/**/*"), HERE / "texts.py"]):
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def create_screen_app(
    settings: ScreenSettings,
    *,
    feed: Feed,
    preview: Preview,
    voice: Voice,
    sessions: PanelSessions,
    on_action: OnAction | None,
    on_inspect: OnInspect = lambda: None,
    on_record: OnRecord = lambda number, before: None,
) -> Flask:
    """Build the application; it starts nothing. `app.config["SCREEN_PORT"]` must be set before the first request."""
    app = Flask("kiosk.screen", root_path=str(HERE), template_folder="templates", static_folder="static")
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.config["TEMPLATES_AUTO_RELOAD"] = False
    build = build_mark()

    @app.before_request
    def refuse_strangers() -> None:
        port = app.config["SCREEN_PORT"]
        own = {f"127.0.0.1:{port}", f"localhost:{port}"}
        if request.host not in own:
            abort(421)
        site = request.headers.get("Sec-Fetch-Site")
        origin = request.headers.get("Origin")
        if site not in (None, "same-origin", "none"):
            abort(403)
        if origin is not None and origin not in {f"http://{host}" for host in own}:
            abort(403)
        # a browser names the origin of every POST, so one without it is no button of ours
        if request.method not in ("GET", "HEAD") and origin is None:
            abort(403)

    @app.after_request
    def protect(response: Response) -> Response:
        for name, value in SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    @app.get("/")
    def page() -> str:
        number, state = feed.newest()
        return render_page(state, number, build, tones=sorted(TONE_NAMES) if settings.sound == "page" else ())

    @app.get("/state")
    def state() -> ResponseReturnValue:
        return jsonify(feed.newest()[1].to_json())

    @app.get("/events")
    def events() -> Response:
        def stream() -> Iterator[bytes]:
            yield b"retry: 1000\n\n"
            for news in feed.subscribe(BEAT_S):
                if news is None:
                    yield b"event: beat\ndata: {}\n\n"
                    continue
                number, newest = news
                volume = settings.volume_at(datetime.now().astimezone().time())
                event = event_of(app, newest, number, build, volume)
                heard = event["sound"]
                if settings.sound != "page":
                    heard["tone"] = heard["clip"] = None
                elif heard["clip"] is not None and voice.clip(heard["clip"]) is None:
                    heard["clip"] = None  # the tone alone
                yield b"event: state\ndata: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n"

        return Response(stream(), mimetype="text/event-stream", headers={"X-Accel-Buffering": "no"})

    @app.get("/camera.mjpeg")
    def camera() -> Response:
        return Response(preview.watch(), content_type=MIMETYPE)

    @app.get("/tone/<name>.wav")
    def tone(name: str) -> ResponseReturnValue:
        path = voice.tone(name) if name in TONE_NAMES else None
        return _sound(path)

    @app.get("/voice/<code>.wav")
    def spoken(code: str) -> ResponseReturnValue:
        return _sound(voice.clip(code))

    @app.post(f"/say/<any({', '.join(SAID_ON_REQUEST)}):code>")
    def say(code: str) -> ResponseReturnValue:
        if settings.sound == "speaker":
            voice.play(None, code)
        return "", 204

    @app.post("/shown")
    def shown() -> ResponseReturnValue:
        number = _json_object().get("number")
        if not isinstance(number, int) or isinstance(number, bool):
            abort(400)
        feed.painted(number)
        return "", 204

    add_panel(
        app,
        feed=feed,
        sessions=sessions,
        build=build,
        on_action=on_action,
        json_object=_json_object,
        sound=settings.sound,
        on_inspect=on_inspect,
        on_record=on_record,
    )
    return app


def _sound(path: Path | None) -> ResponseReturnValue:
    if path is None:
        abort(404)
    return send_file(path, mimetype="audio/wav", conditional=True)


def _json_object() -> dict[str, Any]:
    """The request's JSON object; anything else ends the request with 415 or 400."""
    if not request.is_json:
        abort(415)
    values = request.get_json(silent=True)
    if not isinstance(values, dict):
        abort(400)
    return values
