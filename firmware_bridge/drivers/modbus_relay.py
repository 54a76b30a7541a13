"""Modbus relay boards (Waveshare V2 and clones) as a gate: single coils only (hardware.md 6.2)."""

from __future__ import annotations

from firmware_bridge.clock import SYSTEM_CLOCK, Clock
from firmware_bridge.codecs.modbus import COIL_OFF, COIL_ON, READ_COILS, WRITE_COIL, Reply, Request
from firmware_bridge.device import HandshakeFailed, Mismatch
from firmware_bridge.drivers.modbus import REPLY_WITHIN_S, Master
from firmware_bridge.drivers.relay import RelayGate
from firmware_bridge.port import Link, PortLost


class ModbusRelayGate(RelayGate):
    """ "All coils" is never used, since two generations of boards number it differently; nor is flip."""

    kind = "modbus_relay"

    def __init__(self, port: str, *, address: int = 1, channel: int = 1, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(port, clock=clock)
        self._address = address
        self._coil = channel - 1
        self._master: Master | None = None

    def handshake(self, link: Link) -> str:
        """Read the coils first, which also shows whether the adapter echoes; then off, confirmed by another read."""
        master = self._master = Master(link)
        if not isinstance(master.ask(self._read_request), Reply):
            if master.heard >= 16:
                raise Mismatch(f"{self.port} sends bytes, but no answer of a Modbus relay.", hint="Check the plug.")
            raise HandshakeFailed(f"No Modbus relay answers on {self.port}.", hint="Check A and B, supply and address.")
        self.switch(link, False)
        if self.contact(link, 10.0) is not False:
            raise HandshakeFailed(f"The relay on {self.port} does not switch off.", code="contact_stays_on")
        return f"Modbus relay address={self._address} coil={self._coil}"

    @property
    def _read_request(self) -> Request:
        return Request(self._address, READ_COILS, 0, 8 if self._coil < 8 else 16)

    def switch(self, link: Link, is_on: bool) -> None:
        """One coil; the board repeats the command as its answer."""
        assert self._master is not None
        request = Request(self._address, WRITE_COIL, self._coil, COIL_ON if is_on else COIL_OFF)
        # Setting a coil twice is setting it once; and "off" must not wait for a noisy line to fall silent.
        answer = self._master.ask(request, settle=False) or self._master.ask(request, settle=False)
        if not isinstance(answer, Reply):
            raise PortLost(f"The Modbus relay on {self.port} does not confirm.", code="silent")

    def contact(self, link: Link, within_s: float) -> bool | None:
        """Reads the coils."""
        if within_s < 3 * REPLY_WITHIN_S:
            return None
        assert self._master is not None
        if self._master.must_settle:
            return None  # the wait for silence would prolong the pulse
        answer = self._master.ask(self._read_request)
        if not isinstance(answer, Reply):
            return None
        return bool(answer.payload[self._coil // 8] >> self._coil % 8 & 1)

    def release(self, link: Link) -> None:
        """Off, without waiting for the answer."""
        link.write_last(Request(self._address, WRITE_COIL, self._coil, COIL_OFF).to_bytes())
