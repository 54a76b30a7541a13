"""The camera thread against cameras that stop, freeze, block, lie and come back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from config.camera import CameraSettings
from kiosk.camera import MAX_ABANDONED_READERS, Camera, CameraError, CameraState
from kiosk.capture import open_capture

QUICK = {
    "stale_after_s": 0.2,
    "frozen_after_s": 0.3,
    "silent_after_s": 0.4,
    "open_within_s": 0.5,
    "reopen_min_s": 0.02,
    "reopen_max_s": 0.05,
}


def wait_for(truth: Callable[[], bool], within_s: float = 10.0) -> None:
    until_s = time.monotonic() + within_s
    while not truth():
        assert time.monotonic() < until_s, "the condition did not come true"
        time.sleep(0.005)


class FakeCamera:
    """A camera in cv2's shape whose behaviour the test switches while it runs."""

    def __init__(self) -> None:
        self.mode = "live"
        self.opened = 0
        self.released = 0
        self.unblock = threading.Event()
        self._random = np.random.default_rng(1)
        self._still = self._picture()

    def _picture(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        return self._random.integers(0, 255, (72, 128, 3), np.uint8)

    def open(self) -> FakeCamera:
        self.opened += 1
        if self.mode == "absent":
            raise CameraError("There is no camera.", hint="Plug it in.")
        return self

    def read(self) -> tuple[bool, Any]:
        time.sleep(0.005)
        match self.mode:
            case "frozen":
                return True, self._still
            case "failing":
                return False, None
            case "blocked":
                self.unblock.wait()
                return False, None
            case "throwing":
                raise RuntimeError("driver")
            case "odd":
                return True, np.zeros((4, 4), np.uint16)
        return True, self._picture()

    def release(self) -> None:
        self.released += 1


@pytest.fixture
def fake() -> Iterator[FakeCamera]:
    camera = FakeCamera()
    yield camera
    camera.unblock.set()


@pytest.fixture
def camera(fake: FakeCamera) -> Iterator[Camera]:
    with Camera(CameraSettings(**QUICK), fake.open) as camera:
        yield camera


def test_the_newest_frame_wins_and_the_others_are_counted(camera: Camera) -> None:
    first = camera.newest(timeout_s=5)
    assert first is not None
    wait_for(lambda: camera.status.frames >= first.number + 5)
    second = camera.newest(first.number, timeout_s=5)
    assert second is not None and second.number >= first.number + 5
    assert second.stamp_s > first.stamp_s
    assert camera.status.dropped >= 3
    assert camera.state is CameraState.LIVE


def test_the_same_frame_is_never_given_twice_to_the_same_reader(camera: Camera) -> None:
    numbers = []
    last = 0
    while len(numbers) < 20:
        frame = camera.newest(last, timeout_s=5)
        assert frame is not None
        last = frame.number
        numbers.append(last)
    assert numbers == sorted(set(numbers))


def test_a_frozen_picture_is_refused_and_the_camera_opened_again(fake: FakeCamera, camera: Camera) -> None:
    assert camera.newest(timeout_s=5)
    fake.mode = "frozen"
    wait_for(lambda: camera.state is CameraState.FROZEN)
    assert camera.newest(timeout_s=0) is None
    wait_for(lambda: fake.opened >= 2)
    fake.mode = "live"
    wait_for(lambda: camera.newest(timeout_s=0.1) is not None)


def test_a_frame_that_has_grown_old_is_refused(fake: FakeCamera, camera: Camera) -> None:
    assert camera.newest(timeout_s=5)
    fake.mode = "blocked"
    wait_for(lambda: camera.state is CameraState.STALE)
    assert camera.newest(timeout_s=0) is None


@pytest.mark.parametrize("fault", ["absent", "failing", "throwing", "odd"])
def test_a_camera_that_goes_comes_back_by_itself(fake: FakeCamera, camera: Camera, fault: str) -> None:
    assert camera.newest(timeout_s=5)
    if fault == "absent":
        fake.mode = "throwing"
        wait_for(lambda: camera.state is CameraState.LOST)
    fake.mode = fault
    wait_for(lambda: camera.status.reopened >= 2)
    assert camera.newest(timeout_s=0) is None
    assert camera.status.reason
    fake.mode = "live"
    wait_for(lambda: camera.newest(timeout_s=0.1) is not None)
    assert camera.state is CameraState.LIVE
    assert camera.status.reason == ""


def test_numbers_go_on_rising_over_a_reconnection(fake: FakeCamera, camera: Camera) -> None:
    before = camera.newest(timeout_s=5)
    assert before is not None
    fake.mode = "throwing"
    wait_for(lambda: camera.status.reopened >= 1)
    fake.mode = "live"
    after = None
    while after is None:
        after = camera.newest(before.number, timeout_s=0.2)
    assert after.number > before.number


@pytest.mark.slow
def test_a_read_that_blocks_holds_up_nobody_and_leaves_a_bounded_number_of_threads(
    fake: FakeCamera, camera: Camera
) -> None:
    assert camera.newest(timeout_s=5)
    fake.mode = "blocked"
    wait_for(lambda: camera.status.stuck_readers == MAX_ABANDONED_READERS, within_s=30)
    opened = fake.opened
    assert camera.newest(timeout_s=0.2) is None
    assert camera.state is CameraState.LOST
    wait_for(lambda: "restart" in camera.status.reason)
    assert fake.opened == opened
    fake.mode = "live"
    fake.unblock.set()
    wait_for(lambda: camera.newest(timeout_s=0.1) is not None)
    wait_for(lambda: camera.status.stuck_readers == 0)


@pytest.mark.slow
def test_many_unplugs_leave_no_thread_behind(fake: FakeCamera, camera: Camera) -> None:
    assert camera.newest(timeout_s=5)
    threads = threading.active_count()
    fake.mode = "throwing"
    wait_for(lambda: camera.status.reopened >= 30, within_s=30)
    assert threading.active_count() <= threads + 1
    assert fake.released >= 29


def test_closing_ends_the_threads_and_the_waiting(fake: FakeCamera) -> None:
    fake.mode = "failing"
    camera = Camera(CameraSettings(**QUICK | {"silent_after_s": 60, "open_within_s": 60}), fake.open).start()
    answers: list[object] = []
    waiting = threading.Thread(target=lambda: answers.append(camera.newest(timeout_s=60)))
    waiting.start()
    camera.close()
    waiting.join(timeout=10)
    assert answers == [None]
    assert camera.state is CameraState.OFF
    wait_for(lambda: fake.released == fake.opened)


def test_a_nudge_ends_the_waiting_also_when_it_came_first(fake: FakeCamera, camera: Camera) -> None:
    newest = camera.newest(0, 5.0)
    assert newest is not None
    camera.nudge()
    far_ahead = newest.number + 10**9
    assert camera.newest(far_ahead, 60.0) is None  # the test's own time limit is below that
    answers: list[object] = []
    waiting = threading.Thread(target=lambda: answers.append(camera.newest(far_ahead, 60.0)))
    waiting.start()
    wait_for(lambda: bool(camera._changed._waiters) or bool(answers))
    camera.nudge()
    waiting.join(20)
    assert answers == [None]


def test_no_camera_is_a_state_and_not_an_error() -> None:
    with Camera(CameraSettings(source="none")) as camera:
        assert camera.newest(timeout_s=0) is None
        assert camera.status.words_zh == "未使用摄像头"


def test_a_grey_camera_is_taken_as_it_is() -> None:
    class Grey:
        def read(self) -> tuple[bool, Any]:
            time.sleep(0.005)
            return True, np.random.default_rng().integers(0, 255, (40, 60), np.uint8)

        def release(self) -> None:
            pass

    with Camera(CameraSettings(**QUICK), Grey) as camera:
        frame = camera.newest(timeout_s=5)
        assert frame is not None and frame.image.shape == (40, 60)


def write_pictures(folder: Path, n: int = 3) -> None:
    for i in range(n):
        cv2.imwrite(str(folder / f"{i}.png"), np.full((48, 64, 3), 40 * i, np.uint8))


def test_a_folder_of_pictures_is_shown_over_and_over(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    with Camera(CameraSettings(source=str(tmp_path), fps=100, **QUICK)) as camera:
        wait_for(lambda: camera.status.frames >= 10)
        frame = camera.newest(timeout_s=5)
        assert frame is not None and frame.image.shape == (48, 64, 3)


def test_one_picture_shown_for_ever_is_not_a_frozen_camera(tmp_path: Path) -> None:
    write_pictures(tmp_path, 1)
    settings = CameraSettings(source=str(tmp_path), fps=60, **QUICK | {"frozen_after_s": 0.05})
    with Camera(settings) as camera:
        wait_for(lambda: camera.status.frames >= 30)
        assert camera.state is CameraState.LIVE


def test_a_video_file_starts_over_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "film.avi"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 60, (64, 48))
    for i in range(6):
        video.write(np.full((48, 64, 3), 30 * i, np.uint8))
    video.release()
    capture = open_capture(CameraSettings(source=str(path)))
    levels = [int(capture.read()[1].mean()) for _ in range(12)]
    capture.release()
    assert levels[:6] == levels[6:] and len(set(levels)) == 6


@pytest.mark.parametrize("name", ["empty", "notes.txt"])
def test_a_source_without_pictures_says_so(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "empty":
        path.mkdir()
    else:
        path.write_text("hello")
    with pytest.raises(CameraError) as told:
        open_capture(CameraSettings(source=str(path)))
    assert told.value.hint


@pytest.mark.parametrize(
    "wrong",
    [{"source": ""}, {"width": 4}, {"fps": 0}, {"fourcc": "MJPEG"}, {"stale_after_s": 0}, {"reopen_max_s": 0.1}],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"camera"):
        CameraSettings(**wrong)
