"""What a kiosk has counted and not yet moved to its table of counters: a few numbers that ride on each record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from protocol import cbor

MOST_DAYS = 2  # our day and the venue's; a third one means that a day has ended


class Tallies:
    """Counts by day and name, as changes since they were last moved; a value that never changes itself."""

    __slots__ = ("_by",)

    def __init__(self, by: Mapping[tuple[str, str], int] | None = None) -> None:
        self._by = dict(by or {})

    @staticmethod
    def from_bytes(data: bytes) -> Tallies:
        """Read what `to_bytes` wrote, nothing for none; raises ValueError for anything else."""
        if not data:
            return Tallies()
        try:
            flat = cbor.decode_strict(data)
        except cbor.CborError as error:
            raise ValueError("the counts are no CBOR") from error
        if not isinstance(flat, list) or len(flat) % 3:
            raise ValueError("the counts are not a list of day, name and number")
        by: dict[tuple[str, str], int] = {}
        for day, name, n in zip(flat[::3], flat[1::3], flat[2::3], strict=True):
            if not isinstance(day, str) or not isinstance(name, str) or type(n) is not int:
                raise ValueError("a count is not a day, a name and a number")
            by[day, name] = n
        return Tallies(by)

    def to_bytes(self) -> bytes:
        """For the journal's end: one list of day, name, number, day, name, number; empty when nothing was counted."""
        if not self._by:
            return b""
        flat: list[str | int] = []
        for (day, name), n in self._by.items():
            flat += (day, name, n)
        return cbor.encode_flat(flat)

    def plus(self, changes: Iterable[tuple[str, str, int]]) -> Tallies:
        """These and (day, name, by how much) besides."""
        grown = Tallies(self._by)
        for day, name, by in changes:
            grown._by[day, name] = grown._by.get((day, name), 0) + by
        return grown

    def of(self, day: str) -> dict[str, int]:
        """The changes of one day by name."""
        return {name: n for (counted_on, name), n in self._by.items() if counted_on == day}

    def last_day_of(self, name: str) -> str:
        """The newest day on which *name* was counted, "" when there is none."""
        return max((day for day, counted in self._by if counted == name), default="")

    def has_days_enough(self) -> bool:
        """Whether these are of more days than should ride on each record."""
        return len({day for day, _ in self._by}) > MOST_DAYS

    def rows(self) -> list[tuple[str, str, int]]:
        """Every (day, name, by how much)."""
        return [(day, name, n) for (day, name), n in self._by.items()]
