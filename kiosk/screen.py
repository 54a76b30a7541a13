"""The entrance screen: takes states from the station and serves them to the browser on this machine."""

from __future__ import annotations

import errno
import logging
import socket
import threading
import time
from types import TracebackType

import waitress
from waitress import wasyncore

from config.errors import GatehouseError
from config.screen import ScreenSettings
from kiosk.panel_session import Operator, PanelSessions
from kiosk.panel_web import OnAction, OnInspect, OnRecord
from kiosk.screen_feed import Feed, Shown
from kiosk.screen_preview import FrameSource, Preview
from kiosk.screen_state import ScreenState, Text
from kiosk.screen_view import sound_of, starting_state
from kiosk.screen_web import create_screen_app
from kiosk.voice import Voice, VoiceReport, speaker_finding

log = logging.getLogger("kiosk.screen")

MAX_PAGES = 4  # event streams: the kiosk's own browser, a service laptop's tunnel, and pages about to close
MAX_WATCHERS = 3  # camera streams
OTHER_THREADS = 4  # for everything short: the page, sounds, buttons


class ScreenError(GatehouseError):
    """The screen could not be served."""

    code = "screen"


class Screen:
    """The entrance screen on http://127.0.0.1:PORT/. Use as a context manager, or call `start` and `stop`.

    `publish` may be called from any thread, before `start` too; it never waits for a browser. `on_action` is called
    on a web thread with each parsed action (kiosk/actions.py); it should answer within a second. `on_inspect` is called
    on a web thread for the inspector's page. `frame_source` gives
    the newest camera picture as JPEG, or None when there is none to show; it is called at most `preview_fps` times a
    second a watcher.
    """

    def __init__(
        self,
        settings: ScreenSettings,
        *,
        on_action: OnAction | None = None,
        on_inspect: OnInspect = lambda: None,
        on_record: OnRecord = lambda number, before: None,
        frame_source: FrameSource = lambda: None,
        voice: Voice | None = None,
    ) -> None:
        self._settings = settings
        self._voice = voice or Voice(settings)
        self._feed = Feed(starting_state(), max_subscribers=MAX_PAGES)
        self._preview = Preview(
            frame_source, fps=settings.preview_fps, width=settings.preview_width, max_watchers=MAX_WATCHERS
        )
        self._sessions = PanelSessions(time.monotonic)
        self._app = create_screen_app(
            settings,
            feed=self._feed,
            preview=self._preview,
            voice=self._voice,
            sessions=self._sessions,
            on_action=on_action,
            on_inspect=on_inspect,
            on_record=on_record,
        )
        self._server: waitress.server.BaseWSGIServer | None = None
        self._thread: threading.Thread | None = None
        self._heard = ""
        self._prepared: VoiceReport | None = None
        self._preparing: threading.Thread | None = None

    def start(self) -> None:
        """Bind the port and serve. Raises ScreenError with code "port_in_use" when another program has it."""
        self._server = waitress.create_server(
            self._app,
            map={},
            sockets=[_listen(self._settings.port)],
            threads=MAX_PAGES + MAX_WATCHERS + OTHER_THREADS,
            ident=None,
            outbuf_high_watermark=256 * 1024,  # a page that stopped reading holds a few pictures, not 16 MB
            max_request_body_size=64 * 1024,
            connection_limit=64,
            clear_untrusted_proxy_headers=True,
        )
        self._app.config["SCREEN_PORT"] = self._server.effective_port
        self._thread = threading.Thread(target=self._server.run, name="screen", daemon=True)
        self._thread.start()
        self._preparing = threading.Thread(target=self._prepare_voice, name="voice-prepare", daemon=True)
        self._preparing.start()
        log.info("screen start address=%s", self.address)

    def stop(self) -> None:
        """End all streams and free the port. May be called twice, and without `start`."""
        self._feed.close()
        self._preview.stop()
        server, thread = self._server, self._thread
        self._server = self._thread = None
        if server is None or thread is None:
            return
        server.task_dispatcher.shutdown(timeout=5)  # the streams have just been told to end
        # Sockets belong to the loop's thread, so it closes them itself; its loop ends when none is left. The trigger
        # that wakes it goes last and alone: else it could be closed between our note and the byte that wakes the loop.
        closed = threading.Event()

        def close_connections() -> None:
            wasyncore.dispatcher.close(server)  # alone: server.close() takes the trigger along
            others = {fd: c for fd, c in server._map.items() if c is not server.trigger}
            wasyncore.close_all(others, ignore_all=True)
            closed.set()

        server.trigger.pull_trigger(close_connections)
        if closed.wait(timeout=5):
            server.trigger.pull_trigger(lambda: wasyncore.close_all(server._map, ignore_all=True))
            thread.join(timeout=5)
        self._voice.stop()
        if self._preparing is not None:
            self._preparing.join()
        log.info("screen stop")

    def _prepare_voice(self) -> None:
        self._prepared = self._voice.prepare()

    def __enter__(self) -> Screen:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def publish(self, state: ScreenState) -> None:
        """Show *state* instead of the one before. Returns when every connected page has been handed it."""
        self._feed.publish(state)
        if self._settings.sound == "speaker":
            sound = sound_of(state)
            if sound.key != self._heard:
                self._heard = sound.key
                self._voice.play(sound.tone, sound.clip)

    def badge_shown(self, operator: Operator) -> None:
        """A valid staff badge was read: for some seconds the panel opens for *operator* without a PIN, once."""
        self._sessions.badge_shown(operator)

    @property
    def address(self) -> str:
        """Where the page is, once started."""
        if self._server is None:
            raise ScreenError("The screen is not started.", hint="Call start() first.")
        return f"http://127.0.0.1:{self._server.effective_port}/"

    @property
    def pages(self) -> int:
        """How many pages listen now; 0 for a while means that the display or its browser is gone."""
        return self._feed.subscribers

    def sound_finding(self) -> Text | None:
        """What the device doctor should say about sound; None while all is well or not known yet."""
        if self._settings.sound == "none":
            return None
        if self._settings.sound == "speaker" and (silent := speaker_finding()) is not None:
            return silent
        return self._prepared.finding if self._prepared else None

    def shown(self) -> tuple[Shown, ...]:
        """The last states that a page has painted, with the delay from `publish` to the glass (for the bench)."""
        return self._feed.shown()

    def painted_ago_s(self) -> float | None:
        """Seconds since a page last painted anything; None when none ever did."""
        return self._feed.painted_ago_s()


def _listen(port: int) -> socket.socket:
    """A socket on loopback; our own, because a server that fails to bind leaves its half-made parts behind."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise ScreenError(
                f"The screen cannot use port {port}: {error.strerror}.",
                hint="Another kiosk may be running here. Stop it, or set screen.port to a free port above 1024.",
                code="port_in_use",
            ) from error
        raise
    return listener
