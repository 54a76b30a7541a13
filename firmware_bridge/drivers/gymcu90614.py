"""GY-MCU90614 and 90615: listens to the module's own stream and starts it when it is quiet."""

from __future__ import annotations

from firmware_bridge.codecs import gymcu90614
from firmware_bridge.device import HandshakeFailed, Mismatch
from firmware_bridge.port import Link
from firmware_bridge.reading import Frame
from firmware_bridge.thermometer import Thermometer

LISTEN_S = 0.5
SILENT_AFTER_S = 2.0
AGE_WHEN_SENT_S = 0.1  # about 14 Hz by default (S4): what is sent was measured within the last period, plus 9 bytes


class Gymcu90614(Thermometer):
    """The most cloned module; its sheets disagree about the speed, so both are tried (hardware.md 2.2)."""

    kind = "gymcu90614"
    bauds = (9600, 115200)

    def handshake(self, link: Link) -> str:
        """Two whole frames with a right sum; one could be chance."""
        decoder = gymcu90614.Decoder()
        frames, heard = 0, 0
        for command in (b"", gymcu90614.CONTINUOUS, gymcu90614.CONTINUOUS):
            if command:
                link.write(command)
            deadline = link.now() + LISTEN_S
            while (left := deadline - link.now()) > 0:
                data = link.read(left)
                heard += len(data)
                frames += len(decoder.feed(data))
                if frames >= 2:
                    return "GY-MCU90614"
        if decoder.array_heads:
            raise Mismatch(
                f"{self.port} sends frames of a 32x24 array module.",
                hint="This driver is for single-point modules; use another thermometer.",
                code="array_module",
            )
        if heard >= 2 * gymcu90614.FRAME_BYTES:
            raise Mismatch(f"{self.port} sends bytes, but no frame of a GY-MCU90614.", hint="Check driver and baud.")
        raise HandshakeFailed(f"{self.port} sends nothing.", hint="Check the plug and the supply.")

    def serve(self, link: Link) -> None:
        """Hand on every frame; returns after two seconds without one."""
        decoder = gymcu90614.Decoder()
        began = link.empty_at_mono_s  # not before this moment did the first byte of the waiting part arrive
        heard_at = link.now()
        while link.now() - heard_at < SILENT_AFTER_S:
            data = link.read(0.5)
            if not data:
                continue
            if decoder.is_empty:
                began = link.empty_at_mono_s
            damaged = decoder.damaged
            now = link.now()
            for frame in decoder.feed(data):
                heard_at = now
                self.publish(
                    Frame(
                        object_celsius=frame.object_celsius,
                        ambient_celsius=frame.ambient_celsius,
                        received_mono_s=now,
                        measured_from_mono_s=began - AGE_WHEN_SENT_S,
                        words=(frame.object_word, frame.ambient_word),
                    )
                )
                began = link.empty_at_mono_s
            self.count_damaged(decoder.damaged - damaged, now)
