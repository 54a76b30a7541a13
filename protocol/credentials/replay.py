"""Pass-back: has this very code been shown here before, within its life? Bounded, and pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from protocol.credentials.model import Credential

GRACE: Final = timedelta(minutes=2)  # beyond the code's expiry: the tolerance for clocks, and the walk through the gate

LONGEST_LIFE: Final = timedelta(days=1)  # a dynamic code lives minutes; what claims more is not kept for it


@dataclass(frozen=True, slots=True)
class Seen:
    """When a code was first and last shown, and until when that matters."""

    first_at: datetime
    last_at: datetime
    until: datetime


@dataclass(slots=True)
class ReplayWindow:
    """The codes shown at one kiosk, each kept while it lives; at most *capacity*, the soonest to expire goes first.

    A person before the camera shows the same code thirty times a second: showings within *same_person* of the last
    one are the same showing and no pass-back.
    """

    capacity: int = 10_000
    same_person: timedelta = timedelta(seconds=20)
    dropped: int = 0  # how many were forgotten before their time, for the status page
    _seen: dict[tuple[bytes, bytes], Seen] = field(default_factory=dict)

    def show(self, credential: Credential, at: datetime) -> datetime | None:
        """Note that a dynamic code was shown at *at*; returns when it was first shown, if this is a second showing.

        None for a first showing, and for credentials without an id of their own. An entry is forgotten once its code
        has expired, since the code is refused from then on anyway.
        """
        if credential.cti is None or credential.expires_at is None or credential.kid is None:
            return None
        name = (credential.kid, credential.cti)
        self._forget(at)
        seen = self._seen.get(name)
        if seen is None:
            self._make_room()
            self._seen[name] = Seen(at, at, min(credential.expires_at, at + LONGEST_LIFE) + GRACE)
            return None
        self._seen[name] = replace(seen, last_at=at)
        return seen.first_at if at - seen.last_at > self.same_person else None

    def first_shown(self, credential: Credential, at: datetime) -> datetime | None:
        """When `show` first noted this very code, if its life is not over at *at*; notes nothing itself.

        For a door where only some showings count: `show` those (say, the admitted ones) and ask this of the others.
        """
        if credential.cti is None or credential.kid is None:
            return None
        seen = self._seen.get((credential.kid, credential.cti))
        return seen.first_at if seen is not None and seen.until >= at else None

    def _forget(self, at: datetime) -> None:
        """Drop what has expired; looked for among the oldest first, since dictionaries keep their order."""
        if any(entry.until < at for entry in islice(self._seen.values(), 8)):
            self._seen = {name: entry for name, entry in self._seen.items() if entry.until >= at}

    def _make_room(self) -> None:
        while len(self._seen) >= self.capacity:
            del self._seen[min(self._seen, key=lambda name: self._seen[name].until)]
            self.dropped += 1

    def __len__(self) -> int:
        return len(self._seen)
