"""A relay as a gate: off at start, at stop and on any exception; the pulse is timed by the driver's thread."""

from __future__ import annotations

from abc import abstractmethod

from firmware_bridge.gate import Gate, Pulse, PulseState
from firmware_bridge.port import Link, PortLost

CHECK_EVERY_S = 2.0
ASK_TIMES = 3  # a lost answer is asked for again while the pulse lasts
OFF_TIMES = 2  # off is idempotent, and a lost "off" would leave the gate open


class RelayGate(Gate):
    """A relay stays as it is told: when this computer dies while it is on, it stays on (hardware.md 6.4).

    Use it with a door whose own controller times the opening, or put a hardware timer behind it.
    """

    def is_hardware_timed(self) -> bool:
        """No."""
        return False

    @abstractmethod
    def switch(self, link: Link, is_on: bool) -> None:
        """Send the command, keeping the board's gap between commands."""

    @abstractmethod
    def contact(self, link: Link, within_s: float) -> bool | None:
        """What the board says about the contact, asked anew; None when it says nothing or *within_s* is too short."""

    @abstractmethod
    def release(self, link: Link) -> None:
        """Off, also while stopping: uses `link.write_last`. May raise PortLost."""

    def serve(self, link: Link) -> None:
        """Run pulses as they are asked for; the contact is switched off on every way out of here."""
        try:
            next_check = link.now() + CHECK_EVERY_S
            while True:
                pulse = self.take_asked()
                if pulse is not None:
                    self._open_and_close(link, pulse)
                elif link.now() >= next_check:
                    # Off is idempotent, costs nothing, shows a vanished port, and ends what a lost command left on.
                    self.switch(link, False)
                    next_check = link.now() + CHECK_EVERY_S
                else:
                    link.read(next_check - link.now())
        finally:
            try:
                self.release(link)
            except PortLost:
                pass  # nothing more can be sent; on_lost says so, and the next handshake begins with off

    def _open_and_close(self, link: Link, pulse: Pulse) -> None:
        self.switch(link, True)
        off_at = link.now() + pulse.open_ms / 1000
        pulse.move(PulseState.COMMANDED)
        is_on: bool | None = None
        for _ in range(ASK_TIMES):
            is_on = is_on if is_on is not None else self.contact(link, off_at - link.now())
        if is_on:
            pulse.move(PulseState.VERIFIED)
        while (left := off_at - link.now()) > 0:
            link.read(left)
        for _ in range(OFF_TIMES):
            self.switch(link, False)
        if is_on is False:
            pulse.move(PulseState.FAILED, "contact_stays_off")
        pulse.move(PulseState.ENDED)
