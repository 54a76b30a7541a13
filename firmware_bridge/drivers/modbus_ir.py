"""Modbus infrared sensors: one driver, the families are data; never writes a register."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from firmware_bridge.clock import SYSTEM_CLOCK, Clock
from firmware_bridge.codecs.modbus import READ_HOLDING, Refusal, Reply, Request
from firmware_bridge.codecs.modbus_ir import PROFILES, Profile
from firmware_bridge.device import HandshakeFailed, Mismatch
from firmware_bridge.drivers.modbus import Master
from firmware_bridge.measuring import Correction, MeasuringRule
from firmware_bridge.port import Link
from firmware_bridge.reading import Frame
from firmware_bridge.thermometer import Thermometer

PERIOD_S = 0.1
MISSES_UNTIL_SILENT = 5
TENTHS_STUCK_S = 600.0  # a filtered value in tenths of a degree may rest for minutes in front of a wall


class ModbusIr(Thermometer):
    """A sensor on RS-485 or its own USB adapter. Settings (emissivity ...) are made with the maker's tool: writes wear
    out the sensor's memory, so this driver only reads."""

    kind = "modbus_ir"

    def __init__(
        self,
        port: str,
        *,
        profile: str = "pyrominibus",
        address: int = 1,
        serial_number: str = "",
        bauds: Sequence[int] = (),
        rule: MeasuringRule | None = None,
        correction: Correction | None = None,
        warm_at_start: bool = False,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._profile: Profile = PROFILES[profile]
        rule = replace(
            rule or MeasuringRule(), resolution_celsius=self._profile.resolution_celsius, stuck_s=TENTHS_STUCK_S
        )
        super().__init__(
            port,
            bauds=tuple(bauds) or self._profile.bauds,
            rule=rule,
            correction=correction,
            warm_at_start=warm_at_start,
            clock=clock,
        )
        self._address = address
        self._serial_number = serial_number
        self._lookback_s = 0.0

    def handshake(self, link: Link) -> str:
        """The family's own number, the serial number when one is expected, and one whole poll."""
        profile = self._profile
        master = Master(link)
        parts = [profile.title]
        if profile.identity_at is not None:
            family = self._read(master, profile.identity_at, 1)
            if family is not None and family.word(0) not in profile.identities:
                named = [p.name for p in PROFILES.values() if family.word(0) in p.identities]
                raise Mismatch(
                    f"{self.port} answers as family {family.word(0)} ({', '.join(named) or 'unknown'}), "
                    f"not as {profile.name}.",
                    hint=f"Set thermometer.profile to {named[0]}." if named else "Check which sensor this is.",
                    code="profile",
                )
            if family is None:
                raise self._no_answer(master)
        if profile.serial_at is not None:
            words = self._read(master, profile.serial_at, 2)
            serial = "" if words is None else str(words.word(0) << 16 | words.word(1))
            if self._serial_number and serial != self._serial_number:
                raise Mismatch(
                    f"Sensor {serial or 'without number'} answers on {self.port}, where sensor {self._serial_number} "
                    "should be.",
                    hint="Two sensors of one kind are swapped: exchange their plugs.",
                    code="swapped",
                )
            parts.append(f"serial={serial}")
        if profile.emissivity_at is not None:
            emissivity = self._read(master, profile.emissivity_at, 1)
            if emissivity is not None:
                parts.append(f"emissivity={emissivity.word(0) / 10000:.2f}")
        if profile.averaging_at is not None:
            averaging = self._read(master, profile.averaging_at, 1)
            self._lookback_s = 0.0 if averaging is None else averaging.word(0) / 10
        if not isinstance(master.ask(profile.poll(self._address)), Reply):
            raise self._no_answer(master)
        return " ".join(parts)

    def _read(self, master: Master, register: int, count: int) -> Reply | None:
        answer = master.ask(Request(self._address, READ_HOLDING, register, count))
        return answer if isinstance(answer, Reply) else None

    def _no_answer(self, master: Master) -> HandshakeFailed:
        if master.heard >= 16:
            return Mismatch(f"{self.port} sends bytes, but no Modbus answer of this sensor.", hint="Check the driver.")
        return HandshakeFailed(
            f"{self.port} gives no Modbus answer.", hint="Check A and B, the supply and the address."
        )

    def serve(self, link: Link) -> None:
        """Poll ten times a second; returns after five polls without an answer."""
        master = Master(link, self.count_damaged)
        request = self._profile.poll(self._address)
        misses = 0
        while misses < MISSES_UNTIL_SILENT:
            asked = link.now()
            answer = master.ask(request)
            if isinstance(answer, Reply):
                misses = 0
                self._hand_on(answer, asked, link.now())
            elif isinstance(answer, Refusal):
                misses = 0
                self._refused(answer, link.now())
            else:
                misses += 1
            while (left := asked + PERIOD_S - link.now()) > 0:
                link.read(left)

    def _hand_on(self, reply: Reply, asked: float, now: float) -> None:
        profile = self._profile
        words = (profile.object_word(reply), profile.ambient_word(reply))
        self.publish(
            Frame(
                object_celsius=profile.celsius(words[0]),
                ambient_celsius=profile.celsius(words[1]),
                received_mono_s=now,
                measured_from_mono_s=asked - self._lookback_s,
                words=words,
                faults=profile.faults(reply),
            )
        )

    def _refused(self, refusal: Refusal, now: float) -> None:
        """A sensor that refuses the poll it answered at the handshake has a fault; no value is made of it."""
        self.publish(
            Frame(
                object_celsius=float("nan"),
                ambient_celsius=None,
                received_mono_s=now,
                measured_from_mono_s=now,
                words=(refusal.code, int(now * 1000)),
                faults=(f"modbus_exception_{refusal.code}",),
            )
        )
