"""Who was at the same place at the same time: stays made from passages, and which of them touch. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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

    tag: bytes  # whose, at one venue on one day
    from_ms: int
    to_ms: int
    first: tuple[int, int]  # (kiosk's number, sequence) of the passage that began it
    last: tuple[int, int]


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


def stays(
    rows: Iterable[tuple[bytes, int, int, int, int]], start_ms: int, reach: tuple[int, int] = (-(2**60), 2**60)
) -> list[Stay]:
    """The stays that touch *reach*, from (tag, ms after *start_ms*, whether it went out, kiosk's number, sequence).

    *rows* come person by person (tag), each oldest first. Nobody is taken to have stayed on without a way out: most
    entrances read one way only, and a stay made up to the evening would touch everybody. Written for a station's day.
    """
    found: list[Stay] = []
    low, high = reach[0] - start_ms, reach[1] - start_ms
    who, came, at = b"", 0, (0, 0)
    is_inside = False
    for tag, ms, is_out, kiosk, sequence in rows:
        if is_inside:
            is_inside = False
            if is_out and tag == who and ms - came <= LONGEST_STAY_MS:
                if came <= high and ms >= low:
                    found.append(Stay(who, start_ms + came, start_ms + ms, at, (kiosk, sequence)))
                continue
            if low <= came <= high:
                found.append(Stay(who, start_ms + came, start_ms + came, at, at))
        if not is_out:
            is_inside, who, came, at = True, tag, ms, (kiosk, sequence)
        elif low <= ms <= high:
            found.append(Stay(tag, start_ms + ms, start_ms + ms, (kiosk, sequence), (kiosk, sequence)))
    if is_inside and low <= came <= high:
        found.append(Stay(who, start_ms + came, start_ms + came, at, at))
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
        for stay in stays([(b"", one.at_ms, one.is_out, 0, number) for number, one in enumerate(here)], 0):
            passages = [here[number] for number in sorted({stay.first[1], stay.last[1]})]
            own = tuple((one.kiosk, one.sequence) for one in passages)
            found.append(OwnStay(venue, stay.from_ms, stay.to_ms, own))
    return sorted(found, key=lambda stay: (stay.from_ms, stay.venue, stay.passages))
