"""The demo's scene shows what it is told to, and the product's own decoder reads it (or cannot)."""

from __future__ import annotations

import http.client
from pathlib import Path

import cv2
import numpy as np
import pytest

from config.camera import CameraSettings
from config.errors import GatehouseError
from gatehouse.demo.scene import Scene, SceneServer, Showing, Style, render_video
from kiosk.camera import Camera
from kiosk.decoder import Decoder

CODE = "JK1:" + "NCFOXN%TS3DHOQC07J$BRABGZOEA.Q/R8" * 8


@pytest.mark.parametrize("style", [Style.NORMAL, Style.DARK, Style.PAPER])
def test_a_shown_code_is_read_once_its_holder_stands_still(style: Style) -> None:
    scene = Scene()
    scene.show(CODE, style, at_s=0.0)
    read = [bool([c for c in Decoder().read(scene.frame(1.5 + i / 12)) if c.text == CODE]) for i in range(12)]
    assert sum(read) >= 10


def test_an_unreadable_code_stays_unread() -> None:
    scene = Scene()
    scene.show(CODE, Style.UNREADABLE, at_s=0.0)
    decoder = Decoder()
    assert not any(decoder.read(scene.frame(1.5 + i / 12)) for i in range(12))


def test_people_come_and_go() -> None:
    scene = Scene()
    lobby = scene.frame(0.0)
    scene.show(CODE, at_s=1.0)
    standing = scene.frame(3.0)
    scene.show(None, at_s=4.0)
    assert np.abs(standing.astype(int) - lobby).mean() > 10
    assert np.abs(scene.frame(6.0).astype(int) - lobby).mean() < 5
    scene.show("first", at_s=10.0)
    scene.show("second", at_s=13.0)
    assert {c.text for c in Decoder().read(scene.frame(16.0))} == {"second"}


def test_two_frames_of_a_quiet_lobby_differ_as_a_real_cameras_do() -> None:
    scene = Scene(320, 180)
    assert (scene.frame(0.0) != scene.frame(0.0)).any()


def test_a_text_that_does_not_fit_is_refused() -> None:
    with pytest.raises(GatehouseError):
        Scene(320, 180).show("x" * 4000)


def test_the_stream_shows_a_text_switched_at_run_time() -> None:
    scene = Scene()
    decoder = Decoder()
    with SceneServer(scene) as server, Camera(CameraSettings(source=server.url)) as camera:
        for text in ("JK1:ONE", "JK1:TWO"):
            scene.show(text)
            seen: set[str] = set()
            number = 0
            for _ in range(400):
                frame = camera.newest(number, timeout_s=1)
                if frame is not None:
                    number = frame.number
                    seen |= {c.text for c in decoder.read(frame.image)}
                if text in seen:
                    break
            assert text in seen


def test_the_server_answers_404_elsewhere_and_closes_while_watched() -> None:
    with SceneServer(Scene(320, 180)) as server:
        port = int(server.url.split(":")[2].split("/")[0])
        other = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        other.request("GET", "/")
        assert other.getresponse().status == 404
        watcher = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        watcher.request("GET", "/camera.mjpeg")
        answer = watcher.getresponse()
        assert b"gatehouse-frame" in answer.read(100)
    other.close()
    watcher.close()
    with pytest.raises(GatehouseError), SceneServer(Scene(320, 180)) as first:
        SceneServer(Scene(320, 180), port=int(first.url.split(":")[2].split("/")[0]))


def test_a_script_becomes_a_video_that_a_camera_can_play(tmp_path: Path) -> None:
    path = tmp_path / "demo.avi"
    frames = render_video(path, [Showing(1.5, CODE), Showing(0.5, None)], fps=6)
    assert frames == 12
    video = cv2.VideoCapture(str(path))
    texts = set()
    while (got := video.read())[0]:
        texts |= {c.text for c in Decoder().read(np.asarray(got[1], np.uint8))}
    video.release()
    assert texts == {CODE}
