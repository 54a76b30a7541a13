"""LCUS USB relay boards as a gate, in the three dialects in which they answer (hardware.md 6.1)."""

from __future__ import annotations

import time

from firmware_bridge.clock import SYSTEM_CLOCK, Clock
from firmware_bridge.codecs import lcus
from firmware_bridge.codecs.lcus import Op
from firmware_bridge.device import HandshakeFailed, Mismatch
from firmware_bridge.drivers.relay import RelayGate
from firmware_bridge.port import Link

ANSWER_WITHIN_S = 0.25


class LcusGate(RelayGate):
    """Toggle is never sent: a retry would undo it."""

    kind = "lcus"
    may_ask_elsewhere = False  # a single-channel board of dialect A stays silent, so this handshake recognises nobody

    def __init__(self, port: str, *, dialect: str = "A", channel: int = 1, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(port, clock=clock)
        self._dialect_name = dialect
        self._channel = channel
        self._decoder = lcus.dialect(dialect)
        self._next_command_at = 0.0
        self._answers = False

    def handshake(self, link: Link) -> str:
        """Off first, whatever is there; then a status request. Only dialect A boards may stay silent on it."""
        self._decoder = lcus.dialect(self._dialect_name)
        self._answers = True
        self.switch(link, False)
        is_on = self.contact(link, 10.0)
        if self._decoder.foreign:
            raise Mismatch(
                f"{self.port} sends bytes that no LCUS relay of dialect {self._dialect_name} sends.",
                hint="Check gate.dialect, and that the plug is the relay's.",
            )
        if is_on:
            raise HandshakeFailed(f"The relay on {self.port} was told to be off and is on.", code="contact_stays_on")
        if is_on is None and self._dialect_name != "A":
            raise HandshakeFailed(
                f"{self.port} does not answer as dialect {self._dialect_name}.", hint="See gate.dialect."
            )
        self._answers = is_on is not None
        return f"LCUS dialect={self._dialect_name} channel={self._channel} answers={'yes' if self._answers else 'no'}"

    def switch(self, link: Link, is_on: bool) -> None:
        """On or off, at least 100 ms after the command before."""
        self._pace(link)
        link.write(lcus.command(self._channel, Op.ON if is_on else Op.OFF))
        self._next_command_at = link.now() + lcus.MIN_GAP_S

    def contact(self, link: Link, within_s: float) -> bool | None:
        """Asks with FF, dialect B with op 5."""
        if not self._answers or within_s < 2 * lcus.MIN_GAP_S + ANSWER_WITHIN_S:
            return None
        self._pace(link)
        if isinstance(self._decoder, lcus.DialectB):
            request = lcus.command(self._channel, Op.QUERY)
        else:
            request = lcus.STATUS_REQUEST
        if isinstance(self._decoder, lcus.DialectC):
            self._decoder.expect()
        link.write(request)
        self._next_command_at = link.now() + lcus.MIN_GAP_S
        deadline = link.now() + ANSWER_WITHIN_S
        while (left := deadline - link.now()) > 0:
            for state in self._decoder.feed(link.read(left)):
                if state.channel == self._channel:
                    return state.is_on
        return None

    def _pace(self, link: Link) -> None:
        while (left := self._next_command_at - link.now()) > 0:
            link.read(left)

    def release(self, link: Link) -> None:
        """The gap is kept: a faster command would be dropped."""
        time.sleep(min(max(0.0, self._next_command_at - link.now()), lcus.MIN_GAP_S))
        link.write_last(lcus.command(self._channel, Op.OFF))
