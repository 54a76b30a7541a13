"""GY-614V: puts the module into query mode, then asks for a fresh measurement ten times a second."""

from __future__ import annotations

from firmware_bridge.codecs import gy614v
from firmware_bridge.codecs.gy614v import Register, Registers
from firmware_bridge.device import HandshakeFailed, Mismatch
from firmware_bridge.port import Link
from firmware_bridge.reading import Frame
from firmware_bridge.thermometer import Thermometer

RATE_10_HZ = 3
PERIOD_S = 0.1
REPLY_WITHIN_S = 0.3  # 12 bytes at 9600 take 13 ms, the module answers after about 10 ms (2.1)
MISSES_UNTIL_SILENT = 5


class Gy614v(Thermometer):
    """The default thermometer (hardware.md 2.1). Writes RAM registers only, and only when they differ; never saves."""

    kind = "gy614v"
    bauds = (9600, 115200)

    def handshake(self, link: Link) -> str:
        """Read all sixteen registers: nothing else answers with A4 03 00 10 and a right sum over 20 bytes."""
        decoder = gy614v.Decoder()
        seen = b""
        for _ in range(3):
            link.discard_input()
            link.write(gy614v.read_request(0, gy614v.REGISTERS))
            deadline = link.now() + REPLY_WITHIN_S
            while (left := deadline - link.now()) > 0:
                data = link.read(left)
                seen = (seen + data)[-256:]
                for frame in decoder.feed(data):
                    if frame.start == 0 and len(frame.values) == gy614v.REGISTERS:
                        return self._settle(link, frame)
        if b"\r\n" in seen and seen.isascii():
            raise Mismatch(
                f"{self.port} sends text lines.",
                hint="Set a GY-614V in character format back to binary (register 04); else it is another device.",
                code="text_mode",
            )
        if len(seen) >= 16:
            raise Mismatch(
                f"{self.port} sends bytes, but no frame of a GY-614V.", hint="Check the driver's name and baud."
            )
        raise HandshakeFailed(f"{self.port} does not answer.", hint="Check the plug and the supply.")

    def _settle(self, link: Link, page: Registers) -> str:
        """Bring mode, rate and format to what this driver needs, in RAM."""
        for register, value in ((Register.MODE, 1), (Register.RATE, RATE_10_HZ), (Register.FORMAT, 0)):
            if page.byte(register) != value:
                link.write(gy614v.write_request(register, value))
        offset = (page.byte(Register.OFFSET) - 100) / 10
        emissivity = page.byte(Register.EMISSIVITY) / 100
        # An installer may have changed these two, and they change every reading: they belong to the identity.
        return (
            f"GY-614V chip={page.byte(Register.CHIP)} firmware={page.byte(Register.FIRMWARE)} "
            f"emissivity={emissivity:.2f} offset={offset:+.1f}"
        )

    def serve(self, link: Link) -> None:
        """Ask, wait, hand on; returns after five questions without an answer."""
        decoder = gy614v.Decoder()
        misses = 0
        while misses < MISSES_UNTIL_SILENT:
            asked = link.now()
            link.write(gy614v.read_request(Register.EMISSIVITY, 7))
            answered = self._await_answer(link, decoder, asked)
            misses = 0 if answered else misses + 1
            while (left := asked + PERIOD_S - link.now()) > 0:
                self._take(link, decoder, link.read(left), asked=None)

    def _await_answer(self, link: Link, decoder: gy614v.Decoder, asked: float) -> bool:
        while (left := asked + REPLY_WITHIN_S - link.now()) > 0:
            if self._take(link, decoder, link.read(left), asked):
                return True
        return False

    def _take(self, link: Link, decoder: gy614v.Decoder, data: bytes, asked: float | None) -> bool:
        """Publish the answer to the question of moment *asked*; frames nobody asked for are dropped."""
        damaged = decoder.damaged
        frames = decoder.feed(data)
        now = link.now()
        self.count_damaged(decoder.damaged - damaged, now)
        for frame in frames:
            if asked is None or (frame.start, len(frame.values)) != (Register.EMISSIVITY, 7):
                continue
            words = (frame.word(Register.OBJECT), frame.word(Register.AMBIENT))
            self.publish(
                Frame(
                    object_celsius=gy614v.celsius(words[0]),
                    ambient_celsius=gy614v.celsius(words[1]),
                    device_body_celsius=gy614v.celsius(frame.word(Register.BODY)),
                    received_mono_s=now,
                    measured_from_mono_s=asked - PERIOD_S,  # the register may hold a value up to one period old
                    words=words,
                )
            )
            return True
        return False
