"""The demo's camera scene: a lobby into which people walk and hold up a phone or a sheet of paper with a code.

It plugs in below the kiosk's real camera code, as an MJPEG stream on loopback (`SceneServer`) or as a video file
(`render_video`), so that everything above - the reading thread, the watchdog, the decoder - is the product's own.
"""

from __future__ import annotations

import http.server
import math
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
import qrcode
from numpy.typing import NDArray

from config.errors import GatehouseError

Image = NDArray[np.uint8]

ARRIVES_S = 0.9  # from the edge of the picture to standing still
LEAVES_S = 0.7
CODE_PIXELS = 300  # the code's side on the phone as it is held, in pixels of a 1280x720 picture
UNFOCUSED = 0.9  # sigma in modules: of more than 0.75 nothing is left to read
BOUNDARY = b"gatehouse-frame"


class Style(Enum):
    """How the code is shown."""

    NORMAL = "normal"
    UNREADABLE = "unreadable"  # out of focus under a lamp's reflection: no decoder reads it
    DARK = "dark"  # dark mode: light modules on a dark screen
    PAPER = "paper"


@dataclass(frozen=True, slots=True)
class _Visit:
    """One person's stay: what they hold, since when, until when."""

    card: Image  # the phone or sheet, upright
    alpha: Image
    style: Style
    modules: int  # on a side of the code
    coat: tuple[int, int, int]
    from_left: bool
    began_s: float
    leaves_s: float  # inf while they stay


class Scene:
    """The view of the camera at any time; `show` may be called from any thread while frames are taken."""

    def __init__(self, width: int = 1280, height: int = 720, *, seed: int = 1) -> None:
        self.width, self.height = width, height
        self._random = np.random.default_rng(seed)
        self._lobby = _draw_lobby(width, height, self._random)
        noise = self._random.normal(0, 3.0, (height + 64, width + 64, 3))
        self._noise = np.clip(noise + 128, 0, 255).astype(np.uint8)
        self._lock = threading.Lock()
        self._visits: list[_Visit] = []
        self._people = 0

    def show(self, text: str | None, style: Style | str = Style.NORMAL, *, at_s: float | None = None) -> None:
        """A person walks in and holds up *text*, after the one before has gone; None: everybody leaves.

        *at_s* is the scene's time (monotonic seconds by default). Raises GatehouseError when *text* does not fit a
        QR code.
        """
        now_s = time.monotonic() if at_s is None else at_s
        style = Style(style)
        drawn = None if text is None else _draw_card(text, style)
        with self._lock:
            stays = [v for v in self._visits if v.leaves_s + LEAVES_S > now_s]
            free_s = now_s
            for i, visit in enumerate(stays):
                if math.isinf(visit.leaves_s):
                    leaves_s = max(now_s, visit.began_s)
                    stays[i] = replace(visit, leaves_s=leaves_s)
                    free_s = leaves_s + LEAVES_S * 0.6
                else:
                    free_s = max(free_s, visit.leaves_s + LEAVES_S * 0.6)
            if drawn is not None:
                card, alpha, modules = drawn
                coats = ((92, 64, 48), (58, 70, 128), (70, 92, 60), (40, 40, 46), (120, 96, 150))
                coat = coats[self._people % len(coats)]
                stays.append(_Visit(card, alpha, style, modules, coat, self._people % 2 == 0, free_s, math.inf))
                self._people += 1
            self._visits = stays

    def frame(self, at_s: float | None = None) -> Image:
        """The picture at *at_s* (monotonic seconds by default): (height, width, 3) BGR, new each time."""
        now_s = time.monotonic() if at_s is None else at_s
        picture = self._lobby.copy()
        with self._lock:
            visits = list(self._visits)
            dx, dy = (int(v) for v in self._random.integers(0, 64, 2))
        for visit in visits:
            if visit.began_s <= now_s < visit.leaves_s + LEAVES_S:
                self._draw_visit(picture, visit, now_s)
        noise = self._noise[dy : dy + self.height, dx : dx + self.width]
        return np.asarray(cv2.addWeighted(picture, 1.0, noise, 1.0, -128), np.uint8)

    def _draw_visit(self, picture: Image, visit: _Visit, now_s: float) -> None:
        here = min(1.0, (now_s - visit.began_s) / ARRIVES_S)
        gone = max(0.0, (now_s - visit.leaves_s) / LEAVES_S)
        here, gone = _ease(here), _ease(min(1.0, gone))
        side = -1 if visit.from_left else 1
        scale = self.height / 720
        x = self.width / 2 + side * (1 - here) * self.width * 0.72 - side * gone * self.width * 0.75
        age_s = now_s - visit.began_s
        sway = math.sin(age_s * 1.9) * 5 + math.sin(age_s * 5.3) * 1.5
        _draw_person(picture, x + sway * 0.5, scale, visit.coat)
        if visit.style is Style.UNREADABLE:
            age_s *= 1.7
        card_x = x + sway
        card_y = (478 + math.sin(age_s * 2.3) * 4 + (1 - here) * 120 + gone * 120) * scale
        turn = math.radians(math.sin(age_s * 1.1) * 2.5 + side * (1 - here) * 12 + gone * 15)
        lean = 1 - 0.06 * math.sin(age_s * 0.8) - 0.03
        _paste_card(picture, visit, card_x, card_y, turn, lean, scale)


def _ease(share: float) -> float:
    return share * share * (3 - 2 * share)


def _draw_lobby(width: int, height: int, random: np.random.Generator) -> Image:
    wall = np.linspace(150, 205, width, dtype=np.float32)
    picture = np.repeat(wall[None, :, None], height, 0).repeat(3, 2)
    picture *= np.array([0.92, 0.98, 1.0], np.float32)
    floor = int(height * 0.72)
    picture[floor:] = np.array([95, 105, 112], np.float32) + np.linspace(0, 40, height - floor)[:, None, None]
    lobby = picture.astype(np.uint8)
    scale = height / 720

    def box(x: int, y: int, w: int, h: int, colour: tuple[int, int, int], line: int = -1) -> None:
        a, b = (int(x * scale), int(y * scale)), (int((x + w) * scale), int((y + h) * scale))
        cv2.rectangle(lobby, a, b, colour, line)

    box(80, 90, 240, 430, (188, 176, 160))  # glass door
    box(80, 90, 240, 430, (90, 88, 84), 8)
    box(198, 90, 6, 430, (90, 88, 84))
    box(960, 120, 200, 150, (226, 224, 214))  # notice board
    for row in range(5):
        box(980, 142 + row * 24, int(90 + random.integers(0, 70)), 8, (120, 116, 110))
    box(1020, 330, 190, 190, (104, 130, 158))  # reception desk
    box(1000, 318, 230, 16, (84, 100, 120))
    lamp = (250, 250, 250)
    for x in range(200, 1200, 260):
        middle, size = (int(x * scale), int(26 * scale)), (int(64 * scale), int(12 * scale))
        cv2.ellipse(lobby, middle, size, 0, 0, 360, lamp, -1)
    return np.asarray(cv2.GaussianBlur(lobby, (0, 0), 4 * scale), np.uint8)


def _draw_person(picture: Image, x: float, scale: float, coat: tuple[int, int, int]) -> None:
    """Head, shoulders and arms, soft by anti-aliasing; drawn directly because it is cheaper than blending."""
    cx = int(x)
    skin, hair = (146, 172, 214), (38, 34, 32)

    def p(dx: float, y: float) -> tuple[int, int]:
        return cx + int(dx * scale), int(y * scale)

    cv2.ellipse(picture, p(0, 660), (int(270 * scale), int(330 * scale)), 0, 180, 360, coat, -1, cv2.LINE_AA)
    cv2.rectangle(picture, p(-46, 270), p(46, 350), skin, -1)
    cv2.ellipse(picture, p(0, 170), (int(92 * scale), int(118 * scale)), 0, 0, 360, skin, -1, cv2.LINE_AA)
    cv2.ellipse(picture, p(0, 118), (int(100 * scale), int(84 * scale)), 0, 180, 360, hair, -1, cv2.LINE_AA)
    cv2.rectangle(picture, p(-74, 188), p(74, 250), (222, 214, 200), -1)  # mask
    for side in (-1, 1):
        cv2.circle(picture, p(36 * side, 158), int(9 * scale), (40, 40, 44), -1, cv2.LINE_AA)


def _paste_card(picture: Image, visit: _Visit, x: float, y: float, turn: float, lean: float, scale: float) -> None:
    card_h, card_w = visit.card.shape[:2]
    half_w, half_h = card_w / 2 * scale, card_h / 2 * scale
    corners = np.array([[-half_w * lean, -half_h], [half_w * lean, -half_h], [half_w, half_h], [-half_w, half_h]])
    spin = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    corners = corners @ spin + (x, y)
    low = np.floor(corners.min(0)).astype(int) - 1
    high = np.ceil(corners.max(0)).astype(int) + 2
    left, top = max(0, low[0]), max(0, low[1])
    right, bottom = min(picture.shape[1], high[0]), min(picture.shape[0], high[1])
    if right <= left or bottom <= top:
        return
    source = np.array([[0, 0], [card_w, 0], [card_w, card_h], [0, card_h]], np.float32)
    matrix = cv2.getPerspectiveTransform(source, (corners - (left, top)).astype(np.float32))
    size = (right - left, bottom - top)
    card = cv2.warpPerspective(visit.card, matrix, size, flags=cv2.INTER_AREA)
    alpha = cv2.warpPerspective(visit.alpha, matrix, size, flags=cv2.INTER_LINEAR)
    if visit.style is Style.UNREADABLE:
        # out of focus by a module: the code is seen to be one, and nothing in it can be told any more
        card = cv2.GaussianBlur(card, (0, 0), UNFOCUSED * CODE_PIXELS / visit.modules * scale)
        glare = np.zeros(card.shape, np.uint8)
        middle = (size[0] * 50 // 100, size[1] * 53 // 100)
        cv2.ellipse(glare, middle, (size[0] // 4, size[1] // 9), 25, 0, 360, (255, 255, 255), -1)
        card = cv2.add(card, cv2.blur(glare, (31, 31)))
    place = picture[top:bottom, left:right]
    cv2.copyTo(np.asarray(card, np.uint8), np.asarray(alpha, np.uint8), place)
    hand = (146, 172, 214)
    for side in (-1, 1):  # thumbs at the lower edge, clear of the code
        at = (int(x + side * half_w * 0.95), int(y + half_h * 0.8))
        cv2.ellipse(picture, at, (int(26 * scale), int(44 * scale)), side * -18, 0, 360, hand, -1, cv2.LINE_AA)


def _draw_card(text: str, style: Style) -> tuple[Image, Image, int]:
    level = qrcode.ERROR_CORRECT_M if len(text) < 400 else qrcode.ERROR_CORRECT_L
    code = qrcode.QRCode(error_correction=level, border=0)
    code.add_data(text)
    try:
        code.make(fit=True)
    except (ValueError, qrcode.exceptions.DataOverflowError) as error:
        raise GatehouseError(
            f"A text of {len(text)} characters does not fit a QR code.", hint="Show at most about 2,000."
        ) from error
    modules = np.array(code.get_matrix(), np.uint8)
    paper, ink = ((24, 22, 20), (235, 238, 240)) if style is Style.DARK else ((246, 247, 248), (16, 16, 18))
    symbol = np.where(modules[:, :, None] > 0, np.array(ink, np.uint8), np.array(paper, np.uint8)).astype(np.uint8)
    symbol = np.asarray(cv2.resize(symbol, (CODE_PIXELS, CODE_PIXELS), interpolation=cv2.INTER_AREA), np.uint8)
    if modules.shape[0] * 8 < CODE_PIXELS:  # few modules: sharp edges, as a phone draws them
        times = CODE_PIXELS // modules.shape[0] + 1
        nearest = modules.repeat(times, 0).repeat(times, 1)
        dark = cv2.resize(nearest * 255, (CODE_PIXELS, CODE_PIXELS), interpolation=cv2.INTER_AREA)[:, :, None] / 255
        symbol = (dark * ink + (1 - dark) * paper).astype(np.uint8)
    margin = 34
    width, height = CODE_PIXELS + 2 * margin, CODE_PIXELS + 4 * margin + 64
    card = np.full((height, width, 3), paper, np.uint8)
    alpha = np.full((height, width), 255, np.uint8)
    top = margin + 64
    card[top : top + CODE_PIXELS, margin : margin + CODE_PIXELS] = symbol
    if style is Style.PAPER:
        for row in range(3):
            cv2.rectangle(card, (margin, 24 + row * 18), (margin + 150 + 60 * (row % 2), 30 + row * 18), (110,) * 3, -1)
        return card, alpha, modules.shape[0]
    accent = (96, 150, 60) if style is not Style.DARK else (60, 96, 40)
    cv2.rectangle(card, (0, 0), (width, 54), accent, -1)
    cv2.rectangle(card, (24, 20), (150, 32), (245, 245, 245), -1)
    cv2.rectangle(card, (margin, height - 58), (width - margin, height - 44), (150, 150, 150), -1)
    cv2.rectangle(card, (margin, height - 34), (width - margin - 120, height - 22), (170, 170, 170), -1)
    bezel = np.full((height + 36, width + 24, 3), (28, 26, 26), np.uint8)
    bezel[18:-18, 12:-12] = card
    return bezel, np.full(bezel.shape[:2], 255, np.uint8), modules.shape[0]


class SceneServer:
    """Serves a scene as `http://127.0.0.1:PORT/camera.mjpeg`; renders only while somebody looks."""

    def __init__(self, scene: Scene, *, fps: float = 12.0, port: int = 0, quality: int = 80) -> None:
        self._scene = scene
        self._period_s = 1 / fps
        self._quality = quality
        self._new = threading.Condition()
        self._jpeg = b""
        self._number = 0
        self._watchers = 0
        self._closing = threading.Event()
        try:
            self._http = http.server.ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        except OSError as error:
            raise GatehouseError(
                f"Port {port} on this machine cannot be used for the camera scene: {error.strerror}.",
                hint="Give another port, or 0 for any free one.",
            ) from error
        self._http.daemon_threads = True
        self._threads = [
            threading.Thread(target=self._serve, name="scene-http", daemon=True),
            threading.Thread(target=self._render, name="scene-render", daemon=True),
        ]

    @property
    def url(self) -> str:
        """The address to put into `camera.source`."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/camera.mjpeg"

    def start(self) -> SceneServer:
        """Begin to serve; returns at once."""
        for thread in self._threads:
            thread.start()
        return self

    def close(self) -> None:
        """Stop and close every stream; a second call does nothing."""
        if self._closing.is_set():
            return
        self._closing.set()
        with self._new:
            self._new.notify_all()
        if self._threads[0].is_alive():
            self._http.shutdown()
        self._http.server_close()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=2)

    def __enter__(self) -> SceneServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _serve(self) -> None:
        self._http.serve_forever(poll_interval=0.1)

    def _render(self) -> None:
        due_s = time.monotonic()
        while not self._closing.is_set():
            with self._new:
                while self._watchers == 0 and not self._closing.is_set():
                    self._new.wait()
            ok, jpeg = cv2.imencode(".jpg", self._scene.frame(), [cv2.IMWRITE_JPEG_QUALITY, self._quality])
            assert ok
            with self._new:
                self._jpeg = jpeg.tobytes()
                self._number += 1
                self._new.notify_all()
            due_s = max(due_s + self._period_s, time.monotonic())
            self._closing.wait(due_s - time.monotonic())

    def _frames(self) -> Iterable[bytes]:
        number = 0
        with self._new:
            self._watchers += 1
            self._new.notify_all()
        try:
            while not self._closing.is_set():
                with self._new:
                    while self._number <= number and not self._closing.is_set():
                        self._new.wait(5)
                    number, jpeg = self._number, self._jpeg
                yield jpeg
        finally:
            with self._new:
                self._watchers -= 1

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = 10

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing: the demo's terminal is for people."""

            def do_GET(self) -> None:
                if self.path.split("?")[0] != "/camera.mjpeg":
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY.decode()}")
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                try:
                    for jpeg in outer._frames():
                        head = b"--%s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % (BOUNDARY, len(jpeg))
                        self.wfile.write(head + jpeg + b"\r\n")
                except OSError:
                    self.close_connection = True  # the camera went away, as cameras' readers do

        return Handler


@dataclass(frozen=True, slots=True)
class Showing:
    """One entry of a video's script: who stands there for how long."""

    seconds: float
    text: str | None
    style: Style = Style.NORMAL


def render_video(path: Path, script: Iterable[Showing], *, fps: float = 15.0, seed: int = 1) -> int:
    """Write the scene with *script* as an MJPG .avi file; returns the number of frames.

    Raises GatehouseError when the file cannot be written.
    """
    scene = Scene(seed=seed)
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (scene.width, scene.height))
    if not video.isOpened():
        raise GatehouseError(f"The video {path} cannot be written.", hint="Give a path that ends in .avi.")
    number = 0
    try:
        start_s = 0.0
        for showing in script:
            scene.show(showing.text, showing.style, at_s=start_s)
            start_s += showing.seconds
            while number / fps < start_s:
                video.write(scene.frame(number / fps))
                number += 1
    finally:
        video.release()
    return number
