"""The twin of our controller's firmware: the same behaviour as firmware/core/core.c; a test compares them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from firmware_bridge.codecs import mcu_link as link
from firmware_bridge.codecs.mcu_link import Frame, GateResult, Heartbeat, Hello, Nak, SensorStatus, Telemetry, Type
from firmware_bridge.simulators.lcus import PulseRecord
from firmware_bridge.simulators.scene import Scene, SceneFeed, parse_scene
from firmware_bridge.simulators.shell import PtyShell

GATE_MIN_MS, GATE_MAX_MS, GATE_REARM_MS = 20, 5000, 200
LINK_SILENT_MS, DEBOUNCE_MS, BUZZ_MAX_MS, BLINK_MS = 2000, 20, 2000, 250
TX_BYTES = 255  # what fits into the controller's ring
FIRMWARE = 0x0100
_PAYLOAD_BYTES = {
    Type.HELLO: 2,
    Type.HEARTBEAT: 0,
    Type.CONFIG: 2,
    Type.GATE: 2,
    Type.GATE_CLOSE: 0,
    Type.LAMP: 1,
    Type.BUZZ: 2,
}


class Input:
    """A contact with 20 ms of debouncing."""

    def __init__(self) -> None:
        self.is_on = False
        self._raw = False
        self._since_ms = 0

    def see(self, raw: bool, now_ms: int) -> None:
        """The level at this moment."""
        if raw != self._raw:
            self._raw, self._since_ms = raw, now_ms
        elif raw != self.is_on and now_ms - self._since_ms >= DEBOUNCE_MS:
            self.is_on = raw


class Core:
    """The controller without its hardware: bytes, milliseconds and inputs in; bytes and pins out."""

    def __init__(self, build_hash: int, unique_id: int, boot_nonce: int, reset_cause: int) -> None:
        self._identity = (build_hash, unique_id, boot_nonce, reset_cause)
        self._decoder = link.Decoder()
        self._last: tuple[int, int, bytes] | None = None  # seq, type, reply payload
        self._tx = bytearray()
        self._dropped = 0
        self.now_ms = 0
        self._heard_ms: int | None = None
        self._pulse: tuple[int, int] | None = None  # from, length
        self._closed_ms: int | None = None
        self.presence = Input()
        self.emergency = Input()
        self._lamp = 0
        self._buzz: tuple[int, int] | None = None
        self.period_ms = 0
        self._counter = 0

    # -- pins --------------------------------------------------------------------------------------------------------

    @property
    def is_safe(self) -> bool:
        """No valid frame for two seconds."""
        return self._heard_ms is None or self.now_ms - self._heard_ms >= LINK_SILENT_MS

    def _is_pulse_on(self) -> bool:
        return self._pulse is not None and self.now_ms - self._pulse[0] < self._pulse[1]

    @property
    def gate(self) -> bool:
        """The relay's level; emergency wins over everything."""
        return self.emergency.is_on or (self._is_pulse_on() and not self.is_safe)

    @property
    def lamp(self) -> bool:
        """Blinks in the safe state."""
        if self.is_safe or self._lamp == 2:
            return self.now_ms // BLINK_MS % 2 == 0
        return self._lamp == 1

    @property
    def buzzer(self) -> bool:
        """Its level."""
        return self._buzz is not None and self.now_ms - self._buzz[0] < self._buzz[1] and not self.is_safe

    def _flags(self) -> int:
        return (
            (link.FLAG_GATE if self.gate else 0)
            | (link.FLAG_SAFE if self.is_safe else 0)
            | (link.FLAG_PRESENCE if self.presence.is_on else 0)
            | (link.FLAG_EMERGENCY if self.emergency.is_on else 0)
        )

    # -- time, measurements, bytes -------------------------------------------------------------------------------------

    def tick(self, now_ms: int, presence: bool, emergency: bool) -> None:
        """Time and raw inputs."""
        self.now_ms = now_ms
        self.presence.see(presence, now_ms)
        self.emergency.see(emergency, now_ms)
        if self._pulse is not None and (not self._is_pulse_on() or self.is_safe):
            self._close()
        if self._buzz is not None and now_ms - self._buzz[0] >= self._buzz[1]:
            self._buzz = None
        if self._heard_ms is not None and self.is_safe:
            self._heard_ms = None

    def measured(self, status: int, object_raw: int, ambient_raw: int) -> None:
        """Queue one TELEMETRY frame when telemetry is on."""
        if self.period_ms == 0:
            return
        said = Telemetry(self._counter, self.now_ms & 0xFFFFFFFF, status, self._flags(), object_raw, ambient_raw)
        self._counter = (self._counter + 1) & 0xFFFF
        self._send(0, Type.TELEMETRY, said.to_payload())

    def take_tx(self) -> bytes:
        """All bytes that wait to be sent."""
        data = bytes(self._tx)
        self._tx.clear()
        return data

    def receive(self, data: bytes) -> None:
        """Bytes from the host."""
        for frame in self._decoder.feed(data):
            self._accept(frame)

    def _send(self, seq: int, kind: int, payload: bytes) -> None:
        frame = Frame(seq, kind, payload).to_bytes()
        if len(self._tx) + len(frame) > TX_BYTES:
            self._dropped = (self._dropped + 1) & 0xFFFF
        else:
            self._tx += frame

    def _nak(self, frame: Frame, reason: Nak) -> None:
        self._send(frame.seq, Type.NAK, bytes((frame.type, reason)))

    def _answer(self, frame: Frame, payload: bytes = b"") -> None:
        self._last = (frame.seq, frame.type, payload)
        self._send(frame.seq, frame.type | link.REPLY, payload)

    def _accept(self, frame: Frame) -> None:
        if frame.version != link.VERSION:
            return self._nak(frame, Nak.VERSION)
        if frame.type not in _PAYLOAD_BYTES:
            return self._nak(frame, Nak.TYPE)
        if len(frame.payload) != _PAYLOAD_BYTES[Type(frame.type)]:
            return self._nak(frame, Nak.LENGTH)
        self._heard_ms = self.now_ms
        if frame.type != Type.HELLO and self._last is not None and self._last[0] == frame.seq:
            if self._last[1] != frame.type:
                return self._nak(frame, Nak.SEQUENCE)
            return self._send(frame.seq, frame.type | link.REPLY, self._last[2])
        return self._obey(frame)

    def _obey(self, frame: Frame) -> None:
        value = int.from_bytes(frame.payload, "little")
        match frame.type:
            case Type.HELLO:
                if frame.payload[0] > link.VERSION or frame.payload[1] < link.VERSION:
                    return self._nak(frame, Nak.VERSION)
                build, unique, nonce, cause = self._identity
                hello = Hello(
                    link.VERSION, link.VERSION, FIRMWARE, build, unique, cause, self.now_ms & 0xFFFFFFFF, nonce
                )
                return self._answer(frame, hello.to_payload())
            case Type.HEARTBEAT:
                beat = Heartbeat(self.now_ms & 0xFFFFFFFF, self._identity[2], self._flags(), self._dropped)
                return self._answer(frame, beat.to_payload())
            case Type.CONFIG:
                if value and not 50 <= value <= 1000:
                    return self._nak(frame, Nak.RANGE)
                self.period_ms = value
            case Type.GATE:
                if not GATE_MIN_MS <= value <= GATE_MAX_MS:
                    return self._nak(frame, Nak.RANGE)
                return self._answer(frame, bytes((self._open(value),)))
            case Type.GATE_CLOSE:
                self._close()
            case Type.LAMP:
                if value > 2:
                    return self._nak(frame, Nak.RANGE)
                self._lamp = value
            case Type.BUZZ:
                if value > BUZZ_MAX_MS:
                    return self._nak(frame, Nak.RANGE)
                self._buzz = (self.now_ms, value) if value else None
        return self._answer(frame)

    def _open(self, open_ms: int) -> GateResult:
        if self.emergency.is_on:
            return GateResult.EMERGENCY
        if self._is_pulse_on():
            return GateResult.IS_OPEN
        if self._closed_ms is not None and self.now_ms - self._closed_ms < GATE_REARM_MS:
            return GateResult.REARMING
        self._pulse = (self.now_ms, open_ms)
        return GateResult.OPENED

    def _close(self) -> None:
        if self._pulse is not None:
            self._pulse, self._closed_ms = None, self.now_ms


class GatehouseMcuModel:
    """The twin with a sensor in front of a scene, for the shell."""

    baud: int = 57600

    def __init__(self, feed: SceneFeed, *, unique_id: int = 0x0A0B0C0D) -> None:
        self.feed = feed
        self.unique_id = unique_id
        self.starts = 0
        self.presence = self.emergency = False
        self.sensor_status = SensorStatus.OK
        self.frozen = False  # the main loop hangs: nothing moves until the watchdog bites
        self.lose_replies = 0  # how many of the next bursts get lost
        self.pulses: list[PulseRecord] = []
        self.core = Core(0, unique_id, 0, 1)
        self._began_s = 0.0
        self._next_s = self._measured_s = 0.0

    def power_cycle(self, now_s: float) -> None:
        """Start the firmware again."""
        self._restart(now_s, 1)

    def _restart(self, now_s: float, cause: int) -> None:
        self.starts += 1
        self._close_record(now_s)
        self.core = Core(0x7115, self.unique_id, (self.starts * 2654435761) & 0xFFFFFFFF, cause)
        self._began_s = self._next_s = self._measured_s = now_s

    def bite(self, now_s: float) -> None:
        """The watchdog resets the controller."""
        self.frozen = False
        self._restart(now_s, 8)

    def receive(self, data: bytes, now_s: float) -> bytes:
        """Bytes from the host."""
        if self.frozen:
            return b""
        self._tick(now_s)
        self.core.receive(data)
        self._record(now_s)
        return self._take()

    def tick(self, now_s: float) -> bytes:
        """Time passes: pulses end, measurements are made."""
        if self.frozen:
            return b""
        self._tick(now_s)
        period_s = self.core.period_ms / 1000
        if period_s and now_s - self._measured_s >= period_s:
            self._measured_s = now_s
            seen, ambient = self.feed.sample(now_s)
            good = self.sensor_status is SensorStatus.OK
            self.core.measured(self.sensor_status, link.raw(seen) if good else 0, link.raw(ambient) if good else 0)
        self._record(now_s)
        self._next_s = now_s + 0.01
        return self._take()

    def _take(self) -> bytes:
        data = self.core.take_tx()
        if data and self.lose_replies:
            self.lose_replies -= 1
            return b""
        return data

    def _tick(self, now_s: float) -> None:
        self.core.tick(round((now_s - self._began_s) * 1000), self.presence, self.emergency)

    def _record(self, now_s: float) -> None:
        is_open = bool(self.pulses) and self.pulses[-1].closed_mono_s is None
        if self.core.gate and not is_open:
            self.pulses.append(PulseRecord(now_s, None))
        elif is_open and not self.core.gate:
            self._close_record(now_s)

    def _close_record(self, now_s: float) -> None:
        if self.pulses and self.pulses[-1].closed_mono_s is None:
            self.pulses[-1] = PulseRecord(self.pulses[-1].opened_mono_s, now_s)

    def next_tick_s(self, now_s: float) -> float | None:
        """Every 10 ms."""
        return self._next_s


class GatehouseMcuSimulator(PtyShell):
    """Our controller on a pty, without a processor: for the demo and where simavr is absent."""

    def __init__(
        self,
        link: Path,
        *,
        scene: Scene | str = "empty",
        seed: int = 1,
        unique_id: int = 0x0A0B0C0D,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.scene = SceneFeed(parse_scene(scene) if isinstance(scene, str) else scene, seed=seed)
        self.board = GatehouseMcuModel(self.scene, unique_id=unique_id)
        super().__init__(self.board, link, clock=clock)

    @property
    def pulses(self) -> tuple[PulseRecord, ...]:
        """Openings of the gate, oldest first."""
        with self._lock:
            return tuple(self.board.pulses)

    def reboot(self) -> None:
        """The watchdog bites now."""
        with self._lock:
            self.board.bite(self._clock())
