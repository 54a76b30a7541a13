"""Who was at the same place at the same time: stays made from passages, and which of them touch. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

LONGEST_STAY_MS = 16 * 3_600_000  # a way out that comes later belongs to another way in


class Seen(NamedTuple):
    """One passage of the person that is looked for; sorts by time."""

    at_ms: int
    kiosk: bytes
    sequence: int
    venue: bytes
    is_out: bool
    indexed_ms: int


class Stay(NamedTuple):
    """From a way in to the way out that follows it; a passage without its other half is a moment."""

    from_ms: int
    to_ms: int
    first: int  # which of the passages began it
    last: int


@dataclass(frozen=True, slots=True)
class OwnStay:
    """One stay of the person that is looked for."""

    venue: bytes
    from_ms: int
    to_ms: int
    passages: tuple[tuple[bytes, int], ...]  # (kiosk, sequence); one or two


@dataclass(frozen=True, slots=True)
class Overlap:
    """Somebody else's stay that touches one of them."""

    stay: int  # which of the person's stays, from 0
    kiosk: bytes
    sequence: int  # the passage that began the other's stay
    together_ms: int  # how long both were there, as far as ways out are known
    apart_ms: int  # what lay between them; 0 when they were there together


def stays(passages: Sequence[tuple[int, bool]]) -> list[Stay]:
    """One person's stays at one venue, from (time, whether it went out), oldest first.

    Nobody is taken to have stayed on without a way out: most entrances read one way only, and a stay made up to the
    evening would touch everybody.
    """
    found: list[Stay] = []
    came: int | None = None
    for number, (at_ms, is_out) in enumerate(passages):
        if is_out and came is not None and at_ms - passages[came][0] <= LONGEST_STAY_MS:
            found.append(Stay(passages[came][0], at_ms, came, number))
            came = None
            continue
        if came is not None:
            found.append(_moment(passages[came][0], came))
        came = None
        if is_out:
            found.append(_moment(at_ms, number))
        else:
            came = number
    if came is not None:
        found.append(_moment(passages[came][0], came))
    return found


def touch(a_from: int, a_to: int, b_from: int, b_to: int, within_ms: int) -> tuple[int, int] | None:
    """How long two stays ran together and how far they lay apart, in ms; None when more than *within_ms* apart."""
    apart = max(a_from, b_from) - min(a_to, b_to)
    if apart > within_ms:
        return None
    return max(0, -apart), max(0, apart)


@dataclass(frozen=True, slots=True)
class Meetings:
    """Where the person stayed, and who else was there."""

    stays: tuple[OwnStay, ...]
    others: tuple[Overlap, ...]  # by stay, then by time
    is_cut: bool  # there are more than the query may open

    def passages(self) -> frozenset[tuple[bytes, int]]:
        """Every passage that the query may open: (kiosk, sequence)."""
        own = {passage for stay in self.stays for passage in stay.passages}
        return frozenset(own | {(other.kiosk, other.sequence) for other in self.others})


def own_stays(seen: Sequence[Seen]) -> list[OwnStay]:
    """The stays of the person who passed at *seen*, in order of time."""
    found = []
    for venue in {one.venue for one in seen}:
        here = [one for one in seen if one.venue == venue]
        for stay in stays([(one.at_ms, one.is_out) for one in here]):
            passages = tuple((here[n].kiosk, here[n].sequence) for n in sorted({stay.first, stay.last}))
            found.append(OwnStay(venue, stay.from_ms, stay.to_ms, passages))
    return sorted(found, key=lambda stay: (stay.from_ms, stay.venue, stay.passages))


def _moment(at_ms: int, number: int) -> Stay:
    return Stay(at_ms, at_ms, number, number)
