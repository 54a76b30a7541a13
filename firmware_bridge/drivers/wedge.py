"""A hand-held gun that types like a keyboard: its event node is grabbed, so nothing reaches the browser."""

from __future__ import annotations

from firmware_bridge.codecs import wedge
from firmware_bridge.port import InputLink, Link
from firmware_bridge.scan_head import ScanHead


class Wedge(ScanHead):
    """Give its own link below dev/input/by-id. It is believed because the kernel says that it is a keyboard."""

    kind = "wedge"
    bauds = (0,)
    may_ask_elsewhere = False

    def _open(self, baud: int) -> Link:
        return InputLink(self.port, baud, clock=self.clock, bell=self._bell, stopping=self._stopping)

    def handshake(self, link: Link) -> str:
        """The grab succeeded, or the port would not be open."""
        return "keyboard gun, grabbed"

    def serve(self, link: Link) -> None:
        """Hand on each code that Enter ends."""
        decoder = wedge.KeyDecoder()
        while True:
            for event in wedge.events(link.read(wedge.HALF_CODE_AFTER_S)):
                code = decoder.feed(event, link.now())
                if code is not None:
                    self.take_bytes(code.encode() + b"\r")
            decoder.silence(link.now())
