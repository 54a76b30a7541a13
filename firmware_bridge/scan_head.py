"""What the station asks of any reader of codes that is not the camera: one event per presentation."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from firmware_bridge.clock import SYSTEM_CLOCK, Clock
from firmware_bridge.codecs.text_codes import LineDecoder, to_text
from firmware_bridge.device import SerialDevice

SAME_CODE_AGAIN_AFTER_S = 2.0  # a continuous head repeats what lies in front of it; gone this long, it is a new showing
QUEUE = 8


@dataclass(frozen=True, slots=True)
class ScannedCode:
    """One presentation of one code. Its text may be personal: it is not shown by `repr` and never logged."""

    text: str = field(repr=False)
    received_mono_s: float


class ScanHead(SerialDevice):
    """Base of the scan heads; drivers call `take_bytes` and `line_is_silent` from their own thread."""

    zh_name = "扫码头"
    en_name = "scan head"
    ends_by_silence = False

    def __init__(
        self, port: str, *, bauds: Sequence[int] = (), max_code_bytes: int = 4096, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        super().__init__(port, bauds=bauds, clock=clock)
        self.lines = LineDecoder(max_code_bytes)
        self._codes: deque[ScannedCode] = deque(maxlen=QUEUE)
        self._code_lock = threading.Lock()
        self._last_text = ""
        self._last_seen_s = float("-inf")
        self._listener: Callable[[ScannedCode], None] | None = None
        self.repeats = 0  # suppressed repetitions
        self.unreadable = 0  # codes in no encoding we know
        self.overrun = 0  # codes that nobody took in time

    def on_code(self, listener: Callable[[ScannedCode], None] | None) -> None:
        """Call *listener* with each code, in the driver's thread; it must be quick. None ends that.

        While there is a listener nothing waits for `take`: a code may be personal and is kept in one place only.
        """
        self._listener = listener

    def take(self) -> ScannedCode | None:
        """The oldest code nobody took yet, or None; never blocks."""
        with self._code_lock:
            return self._codes.popleft() if self._codes else None

    def take_bytes(self, data: bytes) -> None:
        """For drivers: bytes of codes from the line."""
        for code in self.lines.feed(data):
            self._deliver(code)

    def line_is_silent(self) -> None:
        """For drivers: nothing came for a while."""
        code = self.lines.silence(ends_code=self.ends_by_silence)
        if code:
            self._deliver(code)

    def on_lost(self) -> None:
        """Half a code is no code."""
        self.lines.silence(ends_code=False)

    def _deliver(self, code: bytes) -> None:
        text = to_text(code)
        if text is None:
            self.unreadable += 1
            return
        now = self.clock.mono_s()
        is_repeat = text == self._last_text and now - self._last_seen_s < SAME_CODE_AGAIN_AFTER_S
        self._last_text, self._last_seen_s = text, now
        if is_repeat:
            self.repeats += 1
            return
        event = ScannedCode(text, now)
        if (listener := self._listener) is not None:
            listener(event)
            return
        with self._code_lock:
            self.overrun += len(self._codes) == QUEUE
            self._codes.append(event)
