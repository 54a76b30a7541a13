"""A GY-MCU90614: streams about 14 frames a second, or answers one at a time; some add a tenth byte."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from firmware_bridge.codecs import gymcu90614 as codec
from firmware_bridge.simulators.scene import Scene, SceneFeed, parse_scene
from firmware_bridge.simulators.shell import PtyShell

PERIOD_S = 1 / 14


class Gymcu90614Model:
    """The module without its cable; a new speed counts from the next power cycle on."""

    def __init__(self, feed: SceneFeed, *, baud: int = 9600, auto: bool = True, tenth_byte: int | None = None) -> None:
        self.feed = feed
        self.auto = auto  # starts to stream at power-up
        self.tenth_byte = tenth_byte
        self._baud = self._next_baud = baud
        self._streaming = auto
        self._next_s = 0.0
        self._buffer = bytearray()

    @property
    def baud(self) -> int:
        """The speed since the last power-up."""
        return self._baud

    def power_cycle(self, now_s: float) -> None:
        """Take over the stored speed and start mode."""
        self._baud, self._streaming, self._next_s = self._next_baud, self.auto, now_s
        self._buffer.clear()

    def receive(self, data: bytes, now_s: float) -> bytes:
        """Handle three-byte commands; anything else is passed over."""
        self._buffer += data
        answer = b""
        while len(self._buffer) >= 3:
            command = bytes(self._buffer[:3])
            if command == codec.CONTINUOUS:
                self._streaming, self._next_s = True, now_s
            elif command == codec.ONE_READING:
                self._streaming = False
                answer += self._frame(now_s)
            elif command in (codec.USE_9600, codec.USE_115200):
                self._next_baud = 9600 if command == codec.USE_9600 else 115200
            elif command in (codec.AUTO_ON, codec.AUTO_OFF):
                self.auto = command == codec.AUTO_ON
            else:
                del self._buffer[0]
                continue
            del self._buffer[:3]
        return answer

    def tick(self, now_s: float) -> bytes:
        """The frame that is due."""
        if not self._streaming or now_s < self._next_s:
            return b""
        self._next_s = max(self._next_s + PERIOD_S, now_s)
        return self._frame(now_s)

    def next_tick_s(self, now_s: float) -> float | None:
        """None while it waits for questions."""
        return self._next_s if self._streaming else None

    def _frame(self, now_s: float) -> bytes:
        seen, ambient = self.feed.sample(now_s)
        frame = codec.Temperatures(round(seen * 100) & 0xFFFF, round(ambient * 100) & 0xFFFF).to_bytes()
        return frame if self.tenth_byte is None else frame + bytes((self.tenth_byte,))


class Gymcu90614Simulator(PtyShell):
    """A GY-MCU90614 on a pty."""

    def __init__(
        self,
        link: Path,
        *,
        scene: Scene | str = "empty",
        seed: int = 1,
        baud: int = 9600,
        auto: bool = True,
        tenth_byte: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.scene = SceneFeed(parse_scene(scene) if isinstance(scene, str) else scene, seed=seed)
        model = Gymcu90614Model(self.scene, baud=baud, auto=auto, tenth_byte=tenth_byte)
        super().__init__(model, link, clock=clock)
