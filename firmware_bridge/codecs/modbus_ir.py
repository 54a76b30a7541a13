"""Register maps of Modbus infrared sensors as data (hardware.md 2.6)."""

from __future__ import annotations

from dataclasses import dataclass

from firmware_bridge.codecs.modbus import READ_HOLDING, Reply, Request

CALEX_STATUS = ("measurement_error", "sensor_cold", "sensor_hot", "object_low", "object_high")  # bits 0 to 4


@dataclass(frozen=True, slots=True)
class Profile:
    """Where one family keeps what; registers are absolute, temperatures are `word / scale` degC."""

    name: str
    title: str
    first: int  # of the block that one poll reads
    count: int
    object_at: int
    ambient_at: int
    status_at: int | None
    scale: int
    resolution_celsius: float
    identity_at: int | None  # register that names the family
    identities: tuple[int, ...]
    serial_at: int | None  # two words
    averaging_at: int | None  # tenths of a second that the object value may look back
    emissivity_at: int | None  # x10000
    bauds: tuple[int, ...] = (9600,)

    def poll(self, address: int) -> Request:
        """The one request of a measurement."""
        return Request(address, READ_HOLDING, self.first, self.count)

    def object_word(self, reply: Reply) -> int:
        """The object word of a poll's reply."""
        return reply.word(self.object_at - self.first)

    def ambient_word(self, reply: Reply) -> int:
        """The word of the sensor's own temperature."""
        return reply.word(self.ambient_at - self.first)

    def celsius(self, word: int) -> float:
        """Two's complement; where a sheet means sign and magnitude, such a value is out of our range all the same."""
        return (word - 0x10000 if word >= 0x8000 else word) / self.scale

    def faults(self, reply: Reply) -> tuple[str, ...]:
        """The status bits that are set, by name; bits nobody documents count as a fault too."""
        if self.status_at is None:
            return ()
        status = reply.word(self.status_at - self.first)
        named = tuple(name for bit, name in enumerate(CALEX_STATUS) if status >> bit & 1)
        return (*named, "undocumented_status") if status >> len(CALEX_STATUS) else named


PROFILES = {
    "pyrominibus": Profile(
        name="pyrominibus",
        title="Calex PyroMiniBus / Omega OS-MINI",
        first=0x0B,
        count=7,
        object_at=0x0E,
        ambient_at=0x10,
        status_at=0x11,
        scale=10,
        resolution_celsius=0.1,
        identity_at=0x00,
        identities=(16, 17),
        serial_at=0x02,
        averaging_at=0x0A,
        emissivity_at=0x07,
    ),
    "pyrousb": Profile(
        name="pyrousb",
        title="Calex PyroUSB",
        first=0x12,
        count=4,
        object_at=0x12,
        ambient_at=0x14,
        status_at=0x15,
        scale=10,
        resolution_celsius=0.1,
        identity_at=0x00,
        identities=(21, 22, 23),
        serial_at=None,
        averaging_at=None,
        emissivity_at=0x08,
    ),
    "mq485a": Profile(
        name="mq485a",
        title="MQ485A",
        first=0x00,
        count=2,
        object_at=0x00,
        ambient_at=0x01,
        status_at=None,
        scale=100,
        resolution_celsius=0.1,
        identity_at=None,
        identities=(),
        serial_at=None,
        averaging_at=None,
        emissivity_at=None,
    ),
}
