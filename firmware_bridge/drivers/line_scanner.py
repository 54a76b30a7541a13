"""Any head or gun on a serial line that sends text with a tail; optional trigger bytes of Honeywell and Newland."""

from __future__ import annotations

from firmware_bridge.device import Mismatch
from firmware_bridge.port import Link
from firmware_bridge.scan_head import ScanHead

TRIGGERS = {  # on, off (hardware.md 4.3)
    "none": (b"", b""),
    "honeywell": (bytes((0x16, 0x54, 0x0D)), bytes((0x16, 0x55, 0x0D))),
    "newland": (bytes((0x1B, 0x31)), bytes((0x1B, 0x30))),
}
LISTEN_S = 0.3
CODE_SILENCE_S = 0.5
BAD_CODES_UNTIL_MISMATCH = 5


class LineScanner(ScanHead):
    """It cannot be asked who it is: it is believed until the line brings what no scanner sends."""

    kind = "line"
    may_ask_elsewhere = False

    def __init__(self, port: str, *, trigger: str = "none", **settings: object) -> None:
        super().__init__(port, **settings)  # type: ignore[arg-type]
        self._on, self._off = TRIGGERS[trigger]
        self._trigger_wanted = self._trigger_sent = False

    def trigger(self, is_on: bool) -> None:
        """Switch the aimer on or off, for heads in serial trigger mode; returns at once."""
        self._trigger_wanted = is_on
        self._bell.ring()

    def handshake(self, link: Link) -> str:
        """Silence is fine; a stream of bytes is another device."""
        deadline = link.now() + LISTEN_S
        while (left := deadline - link.now()) > 0:
            data = link.read(left)
            if any(byte < 0x20 and byte not in b"\r\n\t\x1d" for byte in data):
                raise Mismatch(f"{self.port} sends bytes that no scan head sends.", hint="Check the plug and the baud.")
            self.take_bytes(data)
        self._trigger_sent = False
        return "line scanner, not verifiable"

    def serve(self, link: Link) -> None:
        """Hand on codes; too many damaged ones in a row mean that something else is plugged in."""
        damaged_before = self.lines.damaged
        while True:
            if self._trigger_wanted != self._trigger_sent:
                self._trigger_sent = self._trigger_wanted
                link.write(self._on if self._trigger_sent else self._off)
            data = link.read(CODE_SILENCE_S)
            if data:
                self.take_bytes(data)
            else:
                self.line_is_silent()
            if self.lines.damaged - damaged_before >= BAD_CODES_UNTIL_MISMATCH:
                raise Mismatch(f"{self.port} sends bytes that no scan head sends.", hint="Check the plug and the baud.")
