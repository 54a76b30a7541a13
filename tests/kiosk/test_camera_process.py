"""The capture child: it is killed when it hangs, and its frames arrive whole."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from config.camera import CameraSettings
from gatehouse.demo.scene import Scene, SceneServer
from kiosk.camera import Camera, CameraState
from kiosk.capture import CameraError, CaptureProcess
from tests.kiosk.test_camera import wait_for


@contextmanager
def silent_server() -> Iterator[str]:
    """Accepts, reads the request, and never answers: the worst kind of network camera."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = []

        def accept() -> None:
            while True:
                try:
                    held.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/camera.mjpeg"
        server.shutdown(socket.SHUT_RDWR)
        for connection in held:
            connection.close()


def test_frames_of_a_stream_arrive_whole_and_stamped_where_they_were_read() -> None:
    with SceneServer(Scene(320, 180), fps=30) as server:
        with Camera(CameraSettings(source=server.url)) as camera:
            frame = camera.newest(timeout_s=20)
            assert frame is not None
            assert frame.image.shape == (180, 320, 3)
            assert frame.image.std() > 5
            assert 0 <= time.monotonic() - frame.stamp_s < 5
            wait_for(lambda: camera.status.applied.get("width") == 320)


def test_a_killed_child_is_replaced() -> None:
    with SceneServer(Scene(320, 180), fps=30) as server:
        with Camera(CameraSettings(source=server.url, reopen_min_s=0.05)) as camera:
            assert camera.newest(timeout_s=20)
            assert camera._reading is not None
            capture = camera._reading.capture
            assert isinstance(capture, CaptureProcess)
            os.kill(capture._child.pid, signal.SIGKILL)
            wait_for(lambda: camera.status.reopened >= 1)
            wait_for(lambda: camera.newest(timeout_s=0.1) is not None, within_s=20)


def test_a_stream_that_goes_silent_is_lost_and_never_blocks_the_asker() -> None:
    with silent_server() as address:
        settings = CameraSettings(source=address, open_within_s=0.5, silent_after_s=0.3, reopen_min_s=0.05)
        with Camera(settings) as camera:
            assert camera.newest(timeout_s=0.1) is None
            wait_for(lambda: camera.state is CameraState.LOST, within_s=20)


def test_a_released_child_is_gone_and_a_blocked_reader_wakes() -> None:
    with silent_server() as address:
        capture = CaptureProcess(CameraSettings(source=address), read_within_s=30)
        told: list[Exception] = []

        def read() -> None:
            try:
                capture.read()
            except CameraError as error:
                told.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        capture.release()
        capture.release()
        reader.join(timeout=10)
        assert not reader.is_alive() and told
        assert capture._child.returncode is not None


def test_the_child_ends_when_its_parent_is_gone() -> None:
    with silent_server() as address:
        capture = CaptureProcess(CameraSettings(source=address, open_within_s=60))
        assert capture._child.stdin is not None
        capture._child.stdin.close()  # what the system does when the parent dies
        capture._child.wait(timeout=20)
        capture.release()


def test_a_device_that_is_not_there_is_named() -> None:
    capture = CaptureProcess(CameraSettings(source="/dev/video-that-is-not-here"), read_within_s=20)
    with pytest.raises(CameraError) as told:
        capture.read()
    capture.release()
    assert "/dev/video-that-is-not-here" in told.value.message and told.value.hint


def test_pixels_are_the_senders_pixels(tmp_path: object) -> None:
    """A slot that is overwritten while it is copied is noticed, not shown."""
    with SceneServer(Scene(64, 48), fps=60) as server:
        capture = CaptureProcess(CameraSettings(source=server.url), read_within_s=20)
        ok, image = capture.read()
        assert ok and image.dtype == np.uint8 and image.flags.owndata is not None
        stale = (1, 0.0, 48, 64, 3)
        wait_for(lambda: capture.read()[0] and int(capture._pixels[:8].view(np.uint64)[0]) > 4)
        assert capture._copy(stale) is None
        capture.release()
