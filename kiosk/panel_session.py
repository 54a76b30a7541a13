"""Who is signed in at the staff panel: a PIN or a badge opens it, idleness closes it, guessing is slowed down."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass

from protocol.staff import StaffRole

IDLE_S = 300.0  # a panel that nobody touches closes itself
BADGE_S = 20.0  # a badge shown to the camera opens the panel once, within this time
FREE_TRIES = 4  # before waiting begins
FIRST_WAIT_S = 15.0  # doubles with each further wrong PIN
LONGEST_WAIT_S = 900.0


@dataclass(frozen=True, slots=True)
class Operator:
    """A member of staff as the panel names them; `id` goes into each record of theirs."""

    id: str
    name: str
    role: str = StaffRole.HELPER.value
    until_s: float | None = None  # steady seconds, after which nobody is signed in any more; None: until idle

    @property
    def only_inspects(self) -> bool:
        """Whether they register nobody and see the inspector's page alone."""
        return self.role == StaffRole.INSPECTOR.value

    @property
    def may_inspect(self) -> bool:
        """Whether the inspector's page is theirs to see."""
        return self.role in (StaffRole.INSPECTOR.value, StaffRole.KEEPER.value)


class PanelSessions:
    """At most one operator at a time. All times are steady seconds, given by the clock that is passed in."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._token: str | None = None
        self._operator: Operator | None = None
        self._seen_s = 0.0
        self._badge: tuple[Operator, float] | None = None
        self._wrong = 0
        self._wait_until_s = 0.0

    def wait_s(self) -> float:
        """How long no PIN is tried, after too many wrong ones; 0 when one may be tried now."""
        with self._lock:
            return max(0.0, self._wait_until_s - self._clock_s())

    def wrong_pin(self) -> None:
        """Count a wrong PIN."""
        with self._lock:
            self._wrong += 1
            over = self._wrong - FREE_TRIES
            if over >= 0:
                self._wait_until_s = self._clock_s() + min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**over)

    def open(self, operator: Operator) -> str:
        """Sign *operator* in instead of whoever was; returns the token for their cookie."""
        with self._lock:
            self._wrong, self._wait_until_s = 0, 0.0
            self._operator, self._seen_s = operator, self._clock_s()
            self._token = secrets.token_urlsafe(24)
            return self._token

    def badge_shown(self, operator: Operator) -> None:
        """A valid staff badge was read by the camera; the panel may be opened with it once."""
        with self._lock:
            self._badge = (operator, self._clock_s() + BADGE_S)

    def take_badge(self) -> Operator | None:
        """The operator whose badge was shown a moment ago; only once."""
        with self._lock:
            badge, self._badge = self._badge, None
            if badge is None or self._clock_s() > badge[1] or self._is_over(badge[0]):
                return None
            return badge[0]

    def operator(self, token: str | None) -> Operator | None:
        """Who *token* belongs to, while it is good; counts as a touch."""
        with self._lock:
            if token is None or self._token is None or not secrets.compare_digest(token.encode(), self._token.encode()):
                return None
            is_over = self._operator is not None and self._is_over(self._operator)
            if is_over or self._clock_s() - self._seen_s > IDLE_S:
                self._token = self._operator = None
                return None
            self._seen_s = self._clock_s()
            return self._operator

    def left_s(self, operator: Operator) -> float | None:
        """How long *operator* may stay at most; None when only idleness ends it."""
        return None if operator.until_s is None else max(0.0, operator.until_s - self._clock_s())

    def _is_over(self, operator: Operator) -> bool:
        return operator.until_s is not None and self._clock_s() >= operator.until_s

    def close(self) -> None:
        """Sign out."""
        with self._lock:
            self._token = self._operator = None
