"""The entry policy that travels in the bundle: every number the verdict depends on (requirements F)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from protocol import cbor
from protocol.errors import ProtocolError
from protocol.fields import Fields


@dataclass(frozen=True, slots=True)
class EntryPolicy:
    """What an entrance asks of a passage. Ages in seconds, temperatures in degrees Celsius after correction."""

    version: int = 1
    fever_from_celsius: float = 37.3  # F-04, V-14; compared unrounded with the corrected value
    plausible_from_celsius: float = 34.0  # below: not measurable, never "normal" (hardware.md 3.3)
    plausible_to_celsius: float = 45.0
    remeasure_count: int = 2  # F-04
    reading_wait_s: int = 8  # how long a person is asked to stand still before it counts as no reading
    health_code_max_age_s: int = 600  # F-05
    clock_skew_s: int = 60  # by how much a code's times may differ from the kiosk's clock
    status_max_age_s: int = 86400  # F-05: older status lists are stale
    bundle_max_age_s: int = 259200  # N-32: 3 days; older rules are stale
    stale_rules_hold: bool = False  # E-25: False warns and marks while people keep moving, True checks by hand
    typed_entries_admit: bool = True  # V-34: a person whom staff typed in may enter with a normal temperature
    accepts: tuple[str, ...] = (  # credential kinds that can admit without a colour of ours
        "health_code",
        "paper_code",
    )
    stale_holds_at: tuple[str, ...] = ()  # venue categories that check by hand whatever stale_rules_hold says

    def to_bytes(self) -> bytes:
        """Encode deterministically. The last field is left out while it is empty, so that older kiosks read it."""
        return cbor.encode(
            {
                1: self.version,
                2: self.fever_from_celsius,
                3: self.plausible_from_celsius,
                4: self.plausible_to_celsius,
                5: self.remeasure_count,
                6: self.reading_wait_s,
                7: self.health_code_max_age_s,
                8: self.clock_skew_s,
                9: self.status_max_age_s,
                10: self.bundle_max_age_s,
                11: self.stale_rules_hold,
                12: list(self.accepts),
                13: self.typed_entries_admit,
                **({14: list(self.stale_holds_at)} if self.stale_holds_at else {}),
            }
        )

    @staticmethod
    def from_bytes(data: bytes) -> EntryPolicy:
        """Decode; raises ProtocolError for unknown fields and for limits that cannot be meant."""
        f = Fields(cbor.decode_strict(data), "policy")
        policy = EntryPolicy(
            version=f.integer(1, 1),
            fever_from_celsius=_between(f.number(2), 36.5, 39.0, "fever limit"),
            plausible_from_celsius=_between(f.number(3), 30.0, 36.0, "lowest plausible temperature"),
            plausible_to_celsius=_between(f.number(4), 40.0, 50.0, "highest plausible temperature"),
            remeasure_count=f.integer(5, 0, 5),
            reading_wait_s=f.integer(6, 1, 60),
            health_code_max_age_s=f.integer(7, 60, 600),
            clock_skew_s=f.integer(8, 0, 600),
            status_max_age_s=f.integer(9, 60, 30 * 86400),
            bundle_max_age_s=f.integer(10, 60, 365 * 86400),
            stale_rules_hold=f.take(11, bool),
            accepts=f.texts(12),
            typed_entries_admit=f.take(13, bool),
            stale_holds_at=f.texts(14),
        )
        f.done()
        return policy

    def at_venue(self, category: str) -> EntryPolicy:
        """The policy as it holds at a venue of *category*; "" is of none."""
        return self.replace(stale_rules_hold=True) if category in self.stale_holds_at else self

    def replace(self, **changes: object) -> EntryPolicy:
        """A copy with some values changed."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


def _between(value: float | None, low: float, high: float, what: str) -> float:
    if value is None or not low <= value <= high:
        raise ProtocolError(f"policy: the {what} is {value}, expected {low} to {high}", code="out_of_range")
    return value
