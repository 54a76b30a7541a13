"""The screen as a program on the same machine sees it: events, state, camera, buttons, and who is refused."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import requests

from config.screen import ScreenSettings
from kiosk.actions import Acknowledge
from kiosk.screen import Screen, ScreenError
from kiosk.screen_feed import Feed
from kiosk.screen_preview import Preview, shrink
from kiosk.screen_state import Text
from kiosk.screen_view import sound_of, without_name
from kiosk.voice import Voice
from tests.kiosk.screen.conftest import Pressed
from tests.kiosk.screen.states import GALLERY, IDLE, NOTE, notice, verdict

TIMEOUT_S = 10


def origin(screen: Screen) -> str:
    return screen.address.rstrip("/")


def press(screen: Screen, name: str, body: Any = None, **headers: str) -> requests.Response:
    return requests.post(
        f"{screen.address}action/{name}",
        json={} if body is None else body,
        headers={"Origin": origin(screen), **headers},
        timeout=TIMEOUT_S,
    )


def events(answer: requests.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    kind = ""
    for line in answer.iter_lines(chunk_size=1):
        if line.startswith(b"event: "):
            kind = line[7:].decode()
        elif line.startswith(b"data: "):
            yield kind, json.loads(line[6:])


def wait_until(claim: Any) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not claim():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_a_page_gets_the_state_that_stands_when_it_connects_and_each_new_one(screen: Screen) -> None:
    screen.publish(IDLE)
    with requests.get(f"{screen.address}events", stream=True, timeout=TIMEOUT_S) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        news = events(answer)
        assert next(news)[1]["view"] == "idle"
        screen.publish(verdict("admitted"))
        kind, event = next(news)
        assert (kind, event["view"], event["face"]) == ("state", "verdict", "pass")
        assert "请进" in event["html"]["main"]
        assert event["sound"]["tone"] == "pass"


def test_a_slow_page_gets_the_newest_state_and_holds_up_nobody() -> None:
    feed = Feed(IDLE, max_subscribers=2)
    page = feed.subscribe(beat_s=60)
    assert next(page) == (0, IDLE)
    for code in ("admitted", "not_green", "fever"):
        feed.publish(verdict(code))
    assert next(page) == (3, verdict("fever"))


def test_a_page_hears_a_sign_of_life_while_nothing_changes() -> None:
    feed = Feed(IDLE, max_subscribers=1)
    page = feed.subscribe(beat_s=0.001)
    assert next(page) == (0, IDLE)
    assert next(page) is None


def test_a_newer_page_takes_the_place_of_the_oldest_one() -> None:
    feed = Feed(IDLE, max_subscribers=1)
    old, new = feed.subscribe(60), feed.subscribe(60)
    assert next(new) == (0, IDLE)
    with pytest.raises(StopIteration):
        next(old)


def test_the_page_reports_when_a_state_is_on_the_glass(screen: Screen) -> None:
    screen.publish(IDLE)
    assert screen.painted_ago_s() is None
    answer = requests.post(
        f"{screen.address}shown", json={"number": 1}, headers={"Origin": origin(screen)}, timeout=TIMEOUT_S
    )
    assert answer.status_code == 204
    (shown,) = screen.shown()
    assert shown.number == 1 and shown.delay_ms >= 0
    assert screen.painted_ago_s() is not None


def test_the_state_is_given_as_json(screen: Screen) -> None:
    screen.publish(verdict("fever"))
    state = requests.get(f"{screen.address}state", timeout=TIMEOUT_S).json()
    assert state == verdict("fever").to_json()


@pytest.mark.parametrize("name", GALLERY)
def test_the_page_stands_by_itself_without_a_script(screen: Screen, name: str) -> None:
    screen.publish(GALLERY[name])
    text = requests.get(screen.address, timeout=TIMEOUT_S).text
    assert 'http-equiv="refresh"' in text
    view = GALLERY[name].verdict
    shown = view.headline if view else GALLERY[name].note or GALLERY[name].venue
    assert shown.zh in text


def test_a_stop_screen_names_nobody_and_gives_no_figure(screen: Screen) -> None:
    state = verdict("fever")
    assert state.verdict is not None
    object.__setattr__(state.verdict, "masked_name", "王*明")
    screen.publish(state)
    page = requests.get(screen.address, timeout=TIMEOUT_S).text
    assert "体温偏高" in page and "王*明" not in page and "38.1" not in page


def test_what_the_station_writes_is_never_taken_for_markup(screen: Screen) -> None:
    state = verdict("admitted")
    assert state.verdict is not None
    object.__setattr__(state.verdict, "masked_name", "<script>x</script>")
    screen.publish(state)
    assert "<script>x" not in requests.get(screen.address, timeout=TIMEOUT_S).text


def test_a_notice_is_never_taken_for_markup_and_never_stands_on_a_verdict(screen: Screen) -> None:
    text = Text("<img src=x onerror=alert(1)>", "<script>alert(1)</script>")
    bad = notice("tip", text, text)
    screen.publish(replace(IDLE, notices=(bad,)))
    page = requests.get(screen.address, timeout=TIMEOUT_S).text
    assert "&lt;img src=x" in page and "<img src=x" not in page and "<script>alert" not in page
    screen.publish(replace(verdict("fever"), notices=(bad,)))
    assert "img src=x" not in requests.get(screen.address, timeout=TIMEOUT_S).text


def test_nothing_inline_and_nothing_from_elsewhere_is_allowed(screen: Screen) -> None:
    answer = requests.get(screen.address, timeout=TIMEOUT_S)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "*" not in policy
    assert "style=" not in answer.text and "onclick" not in answer.text


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:8460"])
@pytest.mark.parametrize("path", ["", "state", "events", "camera.mjpeg"])
def test_another_name_for_this_address_is_refused(screen: Screen, host: str, path: str) -> None:
    answer = requests.get(screen.address + path, headers={"Host": host}, timeout=TIMEOUT_S)
    assert answer.status_code == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_another_site_cannot_press_a_button(screen: Screen, pressed: Pressed, headers: dict[str, str]) -> None:
    assert press(screen, "acknowledge", **headers).status_code == 403
    assert not pressed.actions


def test_a_button_without_an_origin_is_refused(screen: Screen, pressed: Pressed) -> None:
    answer = requests.post(f"{screen.address}action/acknowledge", json={}, timeout=TIMEOUT_S)
    assert answer.status_code == 403
    assert not pressed.actions


def test_another_site_cannot_look_through_the_camera(screen: Screen) -> None:
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert requests.get(f"{screen.address}camera.mjpeg", headers=headers, timeout=TIMEOUT_S).status_code == 403


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"[]", 400), (b"nonsense", 400), (b"\xff\xfe", 400), (b"null", 400), (b'{"a":"' + b"x" * 20000 + b'"}', 413)],
)
def test_a_malformed_button_press_is_refused(screen: Screen, pressed: Pressed, body: bytes, status: int) -> None:
    answer = requests.post(
        f"{screen.address}action/acknowledge",
        data=body,
        headers={"Origin": origin(screen), "Content-Type": "application/json"},
        timeout=TIMEOUT_S,
    )
    assert answer.status_code == status
    assert not pressed.actions


def test_a_form_of_a_foreign_page_cannot_pose_as_json(screen: Screen, pressed: Pressed) -> None:
    answer = requests.post(
        f"{screen.address}action/acknowledge", data="{}", headers={"Origin": origin(screen)}, timeout=TIMEOUT_S
    )
    assert answer.status_code == 415
    assert not pressed.actions


def test_a_button_reaches_the_station_and_its_answer_comes_back(screen: Screen, pressed: Pressed) -> None:
    answer = press(screen, "acknowledge", {"number": 3})
    assert answer.json() == {"done": True, "message": {"zh": "好", "en": "Fine"}, "values": {}}
    assert pressed.actions == [Acknowledge()]


def test_a_port_in_use_is_named_with_a_way_out() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ScreenError, match=str(port)) as caught:
            Screen(ScreenSettings(port=port)).start()
    assert caught.value.code == "port_in_use"
    assert "screen.port" in caught.value.hint


def test_it_listens_on_loopback_only(screen: Screen) -> None:
    assert screen.address.startswith("http://127.0.0.1:")


def test_stopping_ends_every_stream_and_frees_the_port(screen: Screen) -> None:
    answer = requests.get(f"{screen.address}events", stream=True, timeout=TIMEOUT_S)
    news = events(answer)
    next(news)
    address = screen.address
    screen.stop()
    assert list(news) == []
    with pytest.raises(requests.ConnectionError):
        requests.get(address, timeout=TIMEOUT_S)
    wait_until(lambda: not [t for t in threading.enumerate() if t.name.startswith(("waitress", "screen"))])
    screen.stop()


def picture(width: int, shade: int = 120) -> bytes:
    done, data = cv2.imencode(".jpg", np.full((width * 3 // 4, width, 3), shade, np.uint8))
    assert done
    return data.tobytes()


def test_the_live_picture_is_sent_small(screen: Screen, frames: list[bytes | None]) -> None:
    frames.append(picture(1280))
    with requests.get(f"{screen.address}camera.mjpeg", stream=True, timeout=TIMEOUT_S) as answer:
        assert answer.headers["Content-Type"].startswith("multipart/x-mixed-replace; boundary=")
        raw = b""
        for piece in answer.iter_content(4096):
            raw += piece
            begin, end = raw.find(b"\xff\xd8"), raw.find(b"\xff\xd9")
            if begin >= 0 and end > begin:
                break
    image = cv2.imdecode(np.frombuffer(raw[begin : end + 2], np.uint8), cv2.IMREAD_COLOR)
    assert image is not None and image.shape[1] == 640


def test_an_old_picture_is_replaced_by_grey_when_the_camera_has_nothing() -> None:
    given: list[bytes | None] = [picture(64, shade=250)]
    preview = Preview(lambda: given[-1], fps=1000, width=64, max_watchers=1)
    watch = preview.watch()
    next(watch)
    assert picture(64, shade=250) in next(watch)
    given.append(None)
    assert picture(64, shade=250) not in next(watch)


def test_a_broken_frame_is_no_picture() -> None:
    assert shrink(b"\xff\xd8nonsense", 640) is None
    assert shrink(b"x", 640) is None


def test_watchers_are_few(screen: Screen) -> None:
    preview = Preview(lambda: None, fps=1000, width=64, max_watchers=2)
    first, second, third = preview.watch(), preview.watch(), preview.watch()
    next(second), next(third)
    assert preview.watchers == 2
    next(first)  # the opening boundary
    with pytest.raises(StopIteration):
        next(first)


def test_the_tone_follows_the_verdict_and_sounds_once_for_each() -> None:
    sounds = {code: sound_of(verdict(code)).tone for code in ("admitted", "not_green", "fever", "no_rules")}
    assert sounds == {"admitted": "pass", "not_green": "attention", "fever": "error", "no_rules": "attention"}
    assert sound_of(verdict("signed_out", direction="out")).tone == "exit"
    assert sound_of(NOTE).tone == "tick"
    assert sound_of(IDLE).tone is None
    assert sound_of(verdict("admitted")).key == sound_of(verdict("admitted")).key
    assert sound_of(verdict("admitted")).key != sound_of(verdict("admitted", reference="#000124")).key


@pytest.mark.parametrize("name", ["unknown", "note", "measuring"])
def test_the_same_answer_for_the_next_person_is_heard_again(name: str) -> None:
    unrecorded = verdict("journal_unavailable", reference="")  # no record: nothing but the person tells them apart
    state = unrecorded if name == "unknown" else GALLERY[name]
    heard = sound_of(replace(state, subject=7))
    assert heard.tone is not None
    assert heard.key == sound_of(replace(state, subject=7, revision=99)).key
    assert heard.key != sound_of(replace(state, subject=8)).key


def test_a_page_stays_silent_where_the_speaker_plays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ScreenSettings(port=0, voice_cache=tmp_path, voice=False, sound="speaker")
    played: list[tuple[str | None, str | None]] = []
    monkeypatch.setattr(Voice, "play", lambda self, tone, clip: played.append((tone, clip)))
    with Screen(settings) as screen:
        screen.publish(verdict("fever"))
        screen.publish(verdict("fever"))
        with requests.get(f"{screen.address}events", stream=True, timeout=TIMEOUT_S) as answer:
            assert next(events(answer))[1]["sound"]["tone"] is None
    assert played == [("error", "fever")]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (Text("摄像头正常", "Camera working"), Text("正常", "working")),
        (Text("摄像头：断开", "camera: lost"), Text("断开", "lost")),
        (Text("正常", "working"), Text("正常", "working")),
        (Text("摄像头", "Camera"), Text("摄像头", "Camera")),
    ],
)
def test_a_part_is_not_named_twice(said: Text, shown: Text) -> None:
    assert without_name(said, Text("摄像头", "Camera")) == shown
