"""What the station asks of any thermometer: its state, its newest frame, and a window that ends in a reading."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from firmware_bridge.clock import SYSTEM_CLOCK, Clock
from firmware_bridge.device import DeviceState, DeviceStatus, SerialDevice
from firmware_bridge.measuring import Correction, MeasuringRule, SensorWatch, measure
from firmware_bridge.reading import Cause, Frame, NoReading, Reading

FORGOTTEN_AFTER_S = 60.0
MAX_WINDOW_FRAMES = 1024  # 10 s of the fastest module; older frames of an over-long window fall out
STORM_OVER_S = 10.0
STORM_MIN_BAD = 20  # damaged frames within STORM_OVER_S, more than the good ones: somebody else reads the port too


class Window:
    """The measurement of one person. `poll` never blocks; only frames measured after the window was opened count."""

    def __init__(self, thermometer: Thermometer, rule: MeasuringRule) -> None:
        self._thermometer = thermometer
        self._rule = rule
        self._lock = threading.Lock()
        self._frames: deque[Frame] = deque(maxlen=MAX_WINDOW_FRAMES)
        self._result: Reading | NoReading | None = None
        self.opened_mono_s = thermometer.clock.mono_s()
        self._unsubscribe = thermometer.subscribe(self._take)

    def _take(self, frame: Frame) -> None:
        with self._lock:
            if self._result is None and frame.measured_from_mono_s >= self.opened_mono_s:
                self._frames.append(frame)
        if frame.received_mono_s - self.opened_mono_s > FORGOTTEN_AFTER_S:
            self._unsubscribe()  # nobody polls this window any more

    def poll(self) -> Reading | NoReading | None:
        """The result as soon as there is one, else None; NoReading at the latest when the window's time is over.

        Cheap, from any thread, as often as wanted. Once it gave a result it gives the same one for ever.
        """
        with self._lock:
            if self._result is None:
                self._result = self._judge()
                if self._result is not None:
                    self._unsubscribe()
            return self._result

    def _judge(self) -> Reading | NoReading | None:
        trouble = self._thermometer.trouble()
        if trouble is not None:
            return trouble
        over = self._thermometer.clock.mono_s() - self.opened_mono_s >= self._rule.window_s
        result = measure(
            tuple(self._frames),
            self._rule,
            self._thermometer.correction,
            device=self._thermometer.identity,
            taken_at=self._thermometer.clock.utc(),
        )
        settled = isinstance(result, Reading) and abs(result.quality.trend_celsius) <= self._rule.settled_celsius
        return result if over or settled else None

    def close(self) -> Reading | NoReading:
        """End the window now (the person walked away, or time is up) and return its result."""
        with self._lock:
            if self._result is None:
                self._result = self._judge() or NoReading(Cause.SILENT, "closed_early", len(self._frames))
            self._unsubscribe()
            return self._result


class Thermometer(SerialDevice):
    """Base of the thermometer drivers; a driver calls `publish` and `count_damaged` from its own thread."""

    zh_name = "测温仪"
    en_name = "thermometer"

    def __init__(
        self,
        port: str,
        *,
        bauds: Sequence[int] = (),
        rule: MeasuringRule | None = None,
        correction: Correction | None = None,
        warm_at_start: bool = False,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__(port, bauds=bauds, clock=clock)
        self.rule = rule or MeasuringRule()
        self.correction = correction or Correction()
        self._watch = SensorWatch(self.rule, warm_at_start=warm_at_start)
        self._latest: Frame | None = None
        self._listeners: tuple[Callable[[Frame], None], ...] = ()
        self._good_at: deque[float] = deque(maxlen=1024)
        self._bad_at: deque[float] = deque(maxlen=1024)
        self.frames = 0  # good frames since start
        self.damaged = 0  # frames with a wrong checksum since start

    # -- for the station -------------------------------------------------------------------------------------------

    def begin_window(self, window_s: float | None = None) -> Window:
        """Start measuring one person now; *window_s* defaults to the rule's. Poll the returned window."""
        rule = self.rule if window_s is None else replace(self.rule, window_s=window_s)
        return Window(self, rule)

    def latest(self) -> Frame | None:
        """The newest frame of a connected device, or None; for displays, never for a verdict."""
        with self._lock:
            return self._latest

    def subscribe(self, listener: Callable[[Frame], None]) -> Callable[[], None]:
        """Call *listener* with every frame, in the driver's thread; it must be quick. Returns the way to end that."""
        with self._lock:
            self._listeners = (*self._listeners, listener)

        def unsubscribe() -> None:
            with self._lock:
                self._listeners = tuple(one for one in self._listeners if one is not listener)

        return unsubscribe

    @property
    def status(self) -> DeviceStatus:
        """The line's status, or for a ready line what the sensor itself suffers from."""
        with self._lock:
            status, watch, storm = self._status, self._watch.cause, self._is_storm()
        if status.state is not DeviceState.READY:
            return status
        if storm:
            return DeviceStatus(
                DeviceState.FAULT,
                "checksum_storm",
                "测温仪数据受损（可能有其他程序占用串口）",
                "thermometer: most frames arrive damaged; another program may read this port, or the cable is bad",
                status.since_mono_s,
            )
        if watch is None:
            return status
        state = DeviceState.WARMING_UP if watch.cause is Cause.WARMING_UP else DeviceState.FAULT
        zh, en = _WATCH_WORDS[watch.cause]
        return DeviceStatus(state, watch.detail, f"测温仪{zh}", f"thermometer: {en}", status.since_mono_s)

    def trouble(self) -> NoReading | None:
        """Why no window can succeed at this moment, or None."""
        status = self.status
        if status.state is DeviceState.READY:
            return None
        if status.state in (DeviceState.STOPPED, DeviceState.CONNECTING, DeviceState.LOST):
            return NoReading(Cause.NO_THERMOMETER, status.code)
        with self._lock:
            watch = self._watch.cause
        if watch is not None and status.code == watch.detail:
            return watch
        return NoReading(Cause.DEVICE_FAULT, status.code)

    # -- for drivers -----------------------------------------------------------------------------------------------

    def publish(self, frame: Frame) -> None:
        """Hand on one frame; called in the driver's thread, in order."""
        with self._lock:
            self._watch.feed(frame)
            self._latest = frame
            self._good_at.append(frame.received_mono_s)
            self.frames += 1
            listeners = self._listeners
        for listener in listeners:
            listener(frame)

    def count_damaged(self, number: int, now_mono_s: float) -> None:
        """Note *number* frames whose checksum was wrong."""
        if number:
            with self._lock:
                self.damaged += number
                self._bad_at.extend([now_mono_s] * min(number, STORM_MIN_BAD))

    def on_lost(self) -> None:
        """The device may have lost its supply, so the sensor's past counts no more."""
        with self._lock:
            self._latest = None
            self._watch.restart()
            self._good_at.clear()
            self._bad_at.clear()

    def _is_storm(self) -> bool:
        since = self.clock.mono_s() - STORM_OVER_S
        for stamps in (self._bad_at, self._good_at):
            while stamps and stamps[0] < since:
                stamps.popleft()
        return len(self._bad_at) >= STORM_MIN_BAD and len(self._bad_at) > len(self._good_at)


_WATCH_WORDS = {
    Cause.WARMING_UP: ("预热中", "warming up"),
    Cause.STUCK: ("读数卡死", "the value does not move; the sensor hangs"),
    Cause.DRIFTING: ("环境温度漂移", "the sensor body changes its temperature; keep sun and draught away"),
}
