"""Our own controller: one port, from outside a thermometer and a gate whose pulse the controller ends itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from firmware_bridge.clock import SYSTEM_CLOCK, Clock
from firmware_bridge.codecs import mcu_link
from firmware_bridge.codecs.mcu_link import Decoder, GateResult, Heartbeat, Hello, Nak, SensorStatus, Telemetry, Type
from firmware_bridge.codecs.mcu_link import Frame as LinkFrame
from firmware_bridge.device import DeviceStatus, HandshakeFailed, Mismatch
from firmware_bridge.gate import Gate, Pulse, PulseState
from firmware_bridge.measuring import Correction, MeasuringRule
from firmware_bridge.port import Link, PortLost
from firmware_bridge.reading import Frame
from firmware_bridge.thermometer import Thermometer

HELLO_FOR_S = 3.0  # opening the port resets an Arduino; its boot loader takes up to two seconds (hardware.md 8.3)
HELLO_EVERY_S = 0.3
BEAT_EVERY_S = 0.5
RETRY_AFTER_S = 0.15  # a reply takes 10 ms at 57600
TRIES = 3
TELEMETRY_MS = 100
AGE_WHEN_SENT_S = 0.1  # the sensor's own filter, and the frame's way

FAULTS: dict[int, str] = {
    SensorStatus.NO_ANSWER: "sensor_no_answer",
    SensorStatus.BAD_PEC: "sensor_bad_pec",
    SensorStatus.ERROR_FLAG: "sensor_error_flag",
    SensorStatus.NONE_YET: "sensor_none_yet",
}

REFUSALS: dict[int, str] = {
    GateResult.IS_OPEN: "is_open",
    GateResult.REARMING: "rearming",
    GateResult.EMERGENCY: "emergency",
}


@dataclass(slots=True)
class _Command:
    """One command on its way; a retry repeats the same sequence number, so the controller acts once."""

    type: Type
    payload: bytes
    pulse: Pulse | None = None
    seq: int = 0
    tries: int = 0
    sent_mono_s: float = 0.0


class GatehouseMcu(Thermometer):
    """The line to the controller. `gate` is its other face; both share this thread and this port."""

    kind = "gatehouse_mcu"
    bauds = (57600,)

    def __init__(
        self,
        port: str,
        *,
        unique_id: str = "",
        bauds: Sequence[int] = (),
        rule: MeasuringRule | None = None,
        correction: Correction | None = None,
        warm_at_start: bool = False,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__(port, bauds=bauds, rule=rule, correction=correction, warm_at_start=warm_at_start, clock=clock)
        self._expected_id = unique_id
        self.gate = McuGate(self)
        self.hello: Hello | None = None  # who answered last
        self._decoder = Decoder()
        self._seq = 0
        self._waiting: deque[_Command] = deque()
        self._flags = 0

    @property
    def is_somebody_present(self) -> bool:
        """What the presence input says."""
        return bool(self._flags & mcu_link.FLAG_PRESENCE)

    @property
    def is_emergency_open(self) -> bool:
        """Whether the emergency loop holds the gate open."""
        return bool(self._flags & mcu_link.FLAG_EMERGENCY)

    def lamp(self, pattern: int) -> None:
        """0 off, 1 on, 2 blinking; returns at once."""
        self._queue(_Command(Type.LAMP, bytes((pattern,))))

    def buzz(self, ms: int) -> None:
        """Sound for *ms* (0 to 2000) milliseconds; returns at once."""
        self._queue(_Command(Type.BUZZ, ms.to_bytes(2, "little")))

    def open_gate(self, pulse: Pulse) -> None:
        """For `McuGate`: hand the pulse to the driver's thread."""
        self._queue(_Command(Type.GATE, pulse.open_ms.to_bytes(2, "little"), pulse))

    def _queue(self, command: _Command) -> None:
        with self._lock:
            if len(self._waiting) < 16:
                self._waiting.append(command)
        self._bell.ring()

    # -- the driver's thread -------------------------------------------------------------------------------------------

    def handshake(self, link: Link) -> str:
        """HELLO until it is answered; a boot banner is never relied on, its first byte may be lost."""
        self._decoder = Decoder()
        deadline, heard = link.now() + HELLO_FOR_S, 0
        while link.now() < deadline:
            self._seq = (self._seq + 1) & 0xFF
            link.write(LinkFrame(self._seq, Type.HELLO, bytes((mcu_link.VERSION, mcu_link.VERSION))).to_bytes())
            until = link.now() + HELLO_EVERY_S
            while (left := until - link.now()) > 0:
                data = link.read(left)
                heard += len(data)
                for frame in self._decoder.feed(data):
                    if frame.type == Type.NAK and frame.payload == bytes((Type.HELLO, Nak.VERSION)):
                        raise Mismatch(f"The controller on {self.port} speaks another version.", hint="Flash it anew.")
                    hello = Hello.from_payload(frame.payload) if frame.type == Type.HELLO | mcu_link.REPLY else None
                    if hello is not None and frame.seq == self._seq:
                        return self._settle(link, hello)
        if heard >= 32:
            raise Mismatch(f"{self.port} sends bytes, but no frame of our controller.", hint="Check the plug.")
        raise HandshakeFailed(f"No controller answers on {self.port}.", hint="Check the plug, and flash its firmware.")

    def _settle(self, link: Link, hello: Hello) -> str:
        number = f"{hello.unique_id:08x}"
        if self._expected_id and number != self._expected_id.lower():
            raise Mismatch(
                f"Controller {number} answers on {self.port}, where {self._expected_id} should be.",
                hint="Two controllers are swapped: exchange their plugs.",
                code="swapped",
            )
        self.hello = hello
        version = f"{hello.firmware >> 8}.{hello.firmware & 0xFF}"
        return f"Gatehouse controller {number} firmware={version} build={hello.build_hash:08x}"

    def serve(self, link: Link) -> None:
        """Heartbeats, commands with retries, telemetry; returns when three answers in a row were missed."""
        now = link.now()
        beat_at = now
        sending: _Command | None = _Command(Type.CONFIG, TELEMETRY_MS.to_bytes(2, "little"))
        closing: tuple[float, Pulse] | None = None  # when the running pulse is over
        while True:
            now = link.now()
            if sending is None:
                with self._lock:
                    sending = self._waiting.popleft() if self._waiting else None
            if sending is None and now >= beat_at:
                sending = _Command(Type.HEARTBEAT, b"")
            if sending is not None and sending.type is Type.HEARTBEAT:
                beat_at = now + BEAT_EVERY_S
            if sending is not None and (not sending.tries or now - sending.sent_mono_s >= RETRY_AFTER_S):
                if sending.tries == TRIES:
                    self._give_up(sending)
                    return
                self._transmit(link, sending)
            if closing is not None and now >= closing[0]:
                closing[1].move(PulseState.ENDED)
                closing = None
            wake_at = min(
                beat_at if sending is None else sending.sent_mono_s + RETRY_AFTER_S,
                float("inf") if closing is None else closing[0],
            )
            data = link.read(wake_at - link.now())
            damaged = self._decoder.damaged
            for frame in self._decoder.feed(data):
                if frame.type == Type.TELEMETRY:
                    self._measured(frame, link)
                elif sending is not None and frame.seq == sending.seq and self._is_answer(frame, sending):
                    closing = self._answered(frame, sending, link.now()) or closing
                    sending = None
            self.count_damaged(self._decoder.damaged - damaged, link.now())

    def _transmit(self, link: Link, command: _Command) -> None:
        if not command.tries:
            self._seq = command.seq = (self._seq + 1) & 0xFF
        command.tries += 1
        link.write(LinkFrame(command.seq, command.type, command.payload).to_bytes())
        command.sent_mono_s = link.now()
        if command.pulse is not None:
            command.pulse.move(PulseState.COMMANDED)

    def _is_answer(self, frame: LinkFrame, command: _Command) -> bool:
        if frame.type == Type.NAK:
            return frame.payload[:1] == bytes((command.type,))
        return frame.type == command.type | mcu_link.REPLY

    def _answered(self, frame: LinkFrame, command: _Command, now: float) -> tuple[float, Pulse] | None:
        if command.type is Type.HEARTBEAT:
            beat = Heartbeat.from_payload(frame.payload)
            if beat is not None:
                self._flags = beat.flags
                if self.hello is not None and beat.boot_nonce != self.hello.boot_nonce:
                    raise PortLost("The controller has started anew.", code="rebooted")
        pulse = command.pulse
        if pulse is None:
            return None
        if frame.type == Type.NAK:
            pulse.move(PulseState.FAILED, "refused")
        elif frame.payload == bytes((GateResult.OPENED,)):
            pulse.move(PulseState.VERIFIED)
            return (now + pulse.open_ms / 1000, pulse)
        else:
            pulse.move(PulseState.FAILED, REFUSALS.get(frame.payload[0], "refused") if frame.payload else "refused")
        return None

    def _give_up(self, command: _Command) -> None:
        if command.pulse is not None:
            command.pulse.move(PulseState.FAILED, "no_answer")

    def _measured(self, frame: LinkFrame, link: Link) -> None:
        said = Telemetry.from_payload(frame.payload)
        if said is None:
            return
        self._flags = said.flags
        fault = "" if said.status == SensorStatus.OK else FAULTS.get(said.status, "sensor_unknown")
        self.publish(
            Frame(
                object_celsius=mcu_link.celsius(said.object_raw),
                ambient_celsius=None if fault else mcu_link.celsius(said.ambient_raw),
                received_mono_s=link.now(),
                measured_from_mono_s=link.empty_at_mono_s - AGE_WHEN_SENT_S,
                words=(said.clock_ms,) if fault else (said.object_raw, said.ambient_raw),
                faults=(fault,) if fault else (),
                counter=said.counter,
            )
        )

    def on_lost(self) -> None:
        """Commands of before must not be obeyed after a restart."""
        super().on_lost()
        with self._lock:
            waiting = list(self._waiting)
            self._waiting.clear()
        for command in waiting:
            self._give_up(command)
        self.gate.on_lost()


class McuGate(Gate):
    """The gate of a `GatehouseMcu`; start and stop are the controller's."""

    kind = "gatehouse_mcu"
    may_ask_elsewhere = False

    def __init__(self, controller: GatehouseMcu) -> None:
        super().__init__(controller.port, clock=controller.clock)
        self._controller = controller

    def start(self) -> None:
        """Start the controller's line, unless the thermometer did so already."""
        self._controller.start()

    def stop(self, wait_s: float = 5.0) -> None:
        """Stop the controller's line, for the thermometer too."""
        self._controller.stop(wait_s)
        super().stop(0)

    def wait_for(self, reached: Callable[[DeviceStatus], bool], timeout_s: float) -> bool:
        """The controller's."""
        return self._controller.wait_for(reached, timeout_s)

    @property
    def status(self) -> DeviceStatus:
        """The line's status: a gate does not warm up."""
        return self._controller.line_status

    def open_for(self, open_ms: int) -> Pulse:
        """See `Gate.open_for`; the controller ends the pulse."""
        with self._lock:
            self._status = self._controller.line_status
        pulse = super().open_for(open_ms)
        if self.take_asked() is pulse:
            with self._lock:
                is_new = pulse is not self._sent
                self._sent = pulse
            if is_new:
                self._controller.open_gate(pulse)
        return pulse

    _sent: Pulse | None = None

    def is_hardware_timed(self) -> bool:
        """Yes: it ends when this computer dies, too."""
        return True

    def handshake(self, link: Link) -> str:
        """The controller's."""
        return self._controller.handshake(link)

    def serve(self, link: Link) -> None:
        """The controller's."""
        self._controller.serve(link)
