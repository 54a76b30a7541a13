"""LCUS USB relay as a gate: off at start, at stop and on any exception; the pulse is timed by this thread."""

from __future__ import annotations

import time

from firmware_bridge.clock import SYSTEM_CLOCK, Clock
from firmware_bridge.codecs import lcus
from firmware_bridge.codecs.lcus import ContactState, Op
from firmware_bridge.device import HandshakeFailed, Mismatch
from firmware_bridge.gate import Gate, Pulse, PulseState
from firmware_bridge.port import Link, PortLost

ANSWER_WITHIN_S = 0.25
CHECK_EVERY_S = 2.0


class LcusGate(Gate):
    """A relay that stays as it is told: when this computer dies while it is on, it stays on (hardware.md 6.4).

    Use it with a door whose own controller times the opening, or put a hardware timer behind it. Toggle is never sent.
    """

    kind = "lcus"
    may_ask_elsewhere = False  # its handshake sends bytes that a silent device leaves unanswered: it recognises nobody

    def __init__(self, port: str, *, dialect: str = "A", channel: int = 1, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(port, clock=clock)
        self._dialect_name = dialect
        self._channel = channel
        self._next_command_at = 0.0

    def is_hardware_timed(self) -> bool:
        """No."""
        return False

    def handshake(self, link: Link) -> str:
        """Off first, whatever is there; then a status request. Only dialect A boards may stay silent on it."""
        decoder = lcus.dialect(self._dialect_name)
        self._send(link, Op.OFF)
        state = self._ask(link, decoder)
        if decoder.foreign:
            raise Mismatch(
                f"{self.port} sends bytes that no LCUS relay of dialect {self._dialect_name} sends.",
                hint="Check gate.dialect, and that the plug is the relay's.",
            )
        if state is not None and state.is_on:
            raise HandshakeFailed(
                f"The relay on {self.port} was told to be off and says it is on.", code="contact_stays_on"
            )
        if state is None and self._dialect_name != "A":
            raise HandshakeFailed(
                f"{self.port} does not answer as dialect {self._dialect_name}.", hint="Check gate.dialect."
            )
        return f"LCUS dialect={self._dialect_name} channel={self._channel} answers={'yes' if state else 'no'}"

    def serve(self, link: Link) -> None:
        """Run pulses as they are asked for; the contact is switched off on every way out of here."""
        decoder = lcus.dialect(self._dialect_name)
        answers = self.identity.endswith("yes")
        try:
            next_check = link.now() + CHECK_EVERY_S
            while True:
                pulse = self.take_asked()
                if pulse is not None:
                    self._run_pulse(link, decoder, pulse, answers)
                    continue
                if link.now() >= next_check:
                    # Off is idempotent, costs nothing, shows a vanished port, and ends what a lost command left on.
                    self._send(link, Op.OFF)
                    next_check = link.now() + CHECK_EVERY_S
                decoder.feed(link.read(next_check - link.now()))
        finally:
            self._release(link)

    def _run_pulse(self, link: Link, decoder: lcus.Dialect, pulse: Pulse, answers: bool) -> None:
        self._send(link, Op.ON)
        off_at = link.now() + pulse.open_ms / 1000
        pulse.move(PulseState.COMMANDED)
        verdict: ContactState | None = None
        if answers and off_at - link.now() >= 2 * lcus.MIN_GAP_S + ANSWER_WITHIN_S:
            verdict = self._ask(link, decoder)
            if verdict is not None and verdict.is_on:
                pulse.move(PulseState.VERIFIED)
        while (left := off_at - link.now()) > 0:
            decoder.feed(link.read(left))
        self._send(link, Op.OFF)
        if verdict is not None and not verdict.is_on:
            pulse.move(PulseState.FAILED, "contact_stays_off")
        pulse.move(PulseState.ENDED)

    def _ask(self, link: Link, decoder: lcus.Dialect) -> ContactState | None:
        """What the board says about our channel, or None when it says nothing."""
        self._pace(link)
        if isinstance(decoder, lcus.DialectC):
            link.discard_input()
            decoder.expect()
        link.write(lcus.command(self._channel, Op.QUERY) if isinstance(decoder, lcus.DialectB) else lcus.STATUS_REQUEST)
        self._next_command_at = link.now() + lcus.MIN_GAP_S
        deadline = link.now() + ANSWER_WITHIN_S
        while (left := deadline - link.now()) > 0:
            for state in decoder.feed(link.read(left)):
                if state.channel == self._channel:
                    return state
        return None

    def _send(self, link: Link, op: Op) -> None:
        self._pace(link)
        link.write(lcus.command(self._channel, op))
        self._next_command_at = link.now() + lcus.MIN_GAP_S

    def _pace(self, link: Link) -> None:
        while (left := self._next_command_at - link.now()) > 0:
            link.read(left)

    def _release(self, link: Link) -> None:
        """Off, also while stopping and when the line may be gone; the gap is kept: a faster one is dropped."""
        try:
            time.sleep(min(max(0.0, self._next_command_at - link.now()), lcus.MIN_GAP_S))
            link.write_last(lcus.command(self._channel, Op.OFF))
        except PortLost:
            return  # nothing more can be sent; on_lost says so, and the next handshake begins with off
