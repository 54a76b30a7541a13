"""GM65 family: reads its settings, writes only what differs, and looks every minute whether a visitor changed them."""

from __future__ import annotations

import logging

from firmware_bridge.codecs import gm65
from firmware_bridge.codecs.gm65 import ZoneReply
from firmware_bridge.device import HandshakeFailed, Mismatch
from firmware_bridge.port import Link, PortLost
from firmware_bridge.scan_head import ScanHead

log = logging.getLogger("gatehouse.devices")

REPLY_WITHIN_S = 0.5  # the head answers at once or, after 400 ms, never
CHECK_EVERY_S = 60.0
CODE_SILENCE_S = 0.5  # longer than any pause inside a code; then a code without tail can only be half of one
WANTED = {gm65.ZONE_MODE: gm65.MODE_CONTINUOUS, gm65.ZONE_TAIL: 0x00}  # LED, sound, normal aim and light; CR, no wrap
OUTPUT_MASK = 0b11  # of ZONE_OUTPUT: 00 = serial; the text encoding in the other bits stays as it is


class Gm65(ScanHead):
    """Printed setup codes can change a head (hardware.md 4.1), and which value of zone 0003 forbids them differs
    between sources; so the three zones that matter are read again every minute and put right in RAM."""

    kind = "gm65"
    bauds = (9600, 115200)

    def __init__(self, port: str, *, zones: str = "gm65", **settings: object) -> None:
        super().__init__(port, **settings)  # type: ignore[arg-type]
        self._may_write = zones == "gm65"  # the meaning of zones above 000D differs between models
        self._splitter = gm65.Splitter()
        self.resets = 0  # times that somebody had changed the settings

    def handshake(self, link: Link) -> str:
        """A zone reply with a right CRC; then settings that differ are written and saved once."""
        self._splitter = gm65.Splitter()
        mode = None
        for _ in range(2):
            mode = mode or self._ask(link, gm65.read_zones(gm65.ZONE_MODE), 1)
        if mode is None:
            if self._heard >= 8:
                raise Mismatch(f"{self.port} sends bytes, but no reply of a GM65.", hint="Check driver and baud.")
            raise HandshakeFailed(f"{self.port} gives no reply of a GM65.", hint="Check the plug and the supply.")
        if self._put_right(link):
            self._ask(link, gm65.save(), 1)
        firmware = self._ask(link, gm65.read_zones(gm65.ZONE_FIRMWARE), 1)
        return f"GM65 firmware={'unknown' if firmware is None else f'{firmware.data[0]:#04x}'}"

    _heard = 0

    def _ask(self, link: Link, request: bytes, data_bytes: int) -> ZoneReply | None:
        """The reply to one request; codes that arrive meanwhile are handed on."""
        self._splitter.expect(data_bytes)
        link.write(request)
        deadline = link.now() + REPLY_WITHIN_S
        self._heard = 0
        while (left := deadline - link.now()) > 0:
            data = link.read(left)
            self._heard += len(data)
            text, reply = self._splitter.feed(data)
            self.take_bytes(text)
            if reply is not None:
                return reply
        self.take_bytes(self._splitter.give_up())
        return None

    def _put_right(self, link: Link) -> bool:
        """Write the zones that differ, in RAM; True when one did. Raises PortLost when the head no longer answers."""
        if not self._may_write:
            return False
        changed = False
        output = self._zone(link, gm65.ZONE_OUTPUT)
        wanted = {**WANTED, gm65.ZONE_OUTPUT: output & ~OUTPUT_MASK}
        for zone, value in wanted.items():
            found = output if zone == gm65.ZONE_OUTPUT else self._zone(link, zone)
            if found == value:
                continue
            changed = True
            self._ask(link, gm65.write_zones(zone, bytes((value,))), 1)
            if self._zone(link, zone) != value:
                raise PortLost(f"The head on {self.port} does not take setting {zone:04X}.", code="settings_refused")
        return changed

    def _zone(self, link: Link, zone: int) -> int:
        reply = self._ask(link, gm65.read_zones(zone), 1) or self._ask(link, gm65.read_zones(zone), 1)
        if reply is None:
            raise PortLost(f"The head on {self.port} no longer answers.", code="silent")
        return reply.data[0]

    def serve(self, link: Link) -> None:
        """Hand on codes; every minute look at the settings, which also shows a head that went quiet."""
        next_check = link.now() + CHECK_EVERY_S
        while True:
            text, _ = self._splitter.feed(link.read(CODE_SILENCE_S))
            if text:
                self.take_bytes(text)
            else:
                self.line_is_silent()
            if link.now() >= next_check and self.lines.is_empty:
                if self._put_right(link):
                    self.resets += 1
                    log.warning(
                        "scan head settings were changed and put right port=%s times=%d", self.port, self.resets
                    )
                next_check = link.now() + CHECK_EVERY_S
